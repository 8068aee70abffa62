// panel.cuh — rows of a matrix in shared memory: swizzle, asynchronous loads, int8 to bf16.
//
// A panel is kRows rows of kRowBytes bytes, in 16-byte chunks. Chunk c of row r lies at chunk c ^ swizzle(r), so that the
// eight rows of an ldmatrix and the 16-byte writes of a warp each touch all 32 banks once.
#pragma once
#include "common/ptx.cuh"

template <int kRowBytes>
__device__ __forceinline__ u32 panel_offset(u32 row, u32 chunk) {
    static_assert(kRowBytes == 256 || kRowBytes == 128 || kRowBytes == 64 || kRowBytes == 32, "a row spans the banks twice, once, half or a quarter");
    const u32 swizzle = kRowBytes >= 128 ? row & 7 : kRowBytes == 64 ? (row >> 1) & 3 : (row >> 2) & 1;
    return row * kRowBytes + ((chunk ^ swizzle) << 4);
}

// This thread's share of the loads of a panel: the chunk it always loads, of rows kThreads / chunks apart.
// Rows beyond a matrix are to be clamped to one that exists (their products are never stored); a row that must count as
// zero is not `live`.
template <int kRows, int kRowBytes, int kThreads>
struct PanelLoader {
    static constexpr int kChunks = kRowBytes / 16, kStep = kThreads / kChunks, kPasses = kRows / kStep;
    static_assert(kRows % kStep == 0, "every thread loads equally many chunks");
    const u8* from[kPasses];
    u32 live;
    u32 to;

    // row_at(r, live) is the address of row r; it may clear `live`.
    template <class RowAt>
    __device__ __forceinline__ void start(u32 thread, RowAt row_at) {
        const u32 chunk = thread % kChunks, row = thread / kChunks;
        to = panel_offset<kRowBytes>(row, chunk);
        live = 0;
#pragma unroll
        for (int i = 0; i < kPasses; i++) {
            bool alive = true;
            from[i] = reinterpret_cast<const u8*>(row_at(row + i * kStep, alive)) + chunk * 16;
            live |= static_cast<u32>(alive) << i;
        }
    }

    // Loads bytes [tile * kRowBytes, (tile + 1) * kRowBytes) of every row.
    __device__ __forceinline__ void load(u32 panel, u32 tile) const {
        // Rows kStep apart have equal swizzles, since kStep is a multiple of the swizzle's period.
#pragma unroll
        for (int i = 0; i < kPasses; i++) cp_async_16(panel + to + i * kStep * kRowBytes, advance<kRowBytes>(from[i], tile));
    }
    // The same where only the first `left` of these bytes exist and rows may be dead: zero stands for the others.
    __device__ __forceinline__ void load_edge(u32 panel, u32 tile, u32 thread, int left) const {
        const int mine = left - static_cast<int>(thread % kChunks) * 16;
        const u32 bytes = mine < 0 ? 0 : mine > 16 ? 16 : mine;
#pragma unroll
        for (int i = 0; i < kPasses; i++)
            cp_async_16(panel + to + i * kStep * kRowBytes, advance<kRowBytes>(from[i], tile), live >> i & 1 ? bytes : 0);
    }
};

// Four int8 of one k16 step, as `int8_position` orders them (k = 2t, 2t+8, 2t+1, 2t+9), to two packed bf16 pairs, exactly:
// 128 + low seven bits, minus 128 or 256 by the sign bit, are bf16 numbers that differ in one OR.
__device__ __forceinline__ void int8_to_bf16(u32 four, u32& low, u32& high) {
    constexpr u32 k128 = 0x43004300u, kMinusOne = 0xbf80bf80u;
    low = fma_bf16x2(four & 0x00800080u | k128, kMinusOne, four & 0x007f007fu | k128);
    four >>= 8;
    high = fma_bf16x2(four & 0x00800080u | k128, kMinusOne, four & 0x007f007fu | k128);
}
