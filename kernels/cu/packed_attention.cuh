// packed_attention.cuh — attention of examples packed one after the other, for training: a block owns 64 rows (or keys) of one
// head of one example (32 if D > 128) and meets the keys (or rows) of its example in blocks of 64.
//
// Positions count from the example's beginning, and so do blocks: no bit of an example depends on what it is packed with.
// A row sees the keys [start, end) of `met`; what no one sees is masked. Beyond the example's end zeros stand for its rows.
#pragma once
#include "attention.cuh"

namespace packed {

using attention::kBlock;
using attention::kThreads;
using attention::Seen;
using attention::Tile;

constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLn2 = 0.693147180559945309417f;

struct Span {
    u32 start, end;
};

// What position i of an example meets: the keys that row i sees, or (kKeys) the rows that see key i.
template <bool kKeys>
__device__ __forceinline__ Span met(const PackedAttentionParams& p, u32 length, u32 i) {
    if (kKeys) return {i, p.window != 0 && p.window < length - i ? i + p.window : length};
    return {p.window != 0 && i + 1 > p.window ? i + 1 - p.window : 0, i + 1};
}

// One head of a bf16 matrix of one example.
struct Head {
    const bf16* data;
    i64 ld;

    __device__ __forceinline__ Head(DevicePtr matrix, i64 ld, const PackedItem& item, i64 column)
        : data(reinterpret_cast<const bf16*>(matrix) + item.start * ld + column), ld(ld) {}
};

// Copies rows first, first + 1... of an example of `length` rows to a tile of kRows; zeros beyond the example and the head dim.
template <int kD, u32 kRows>
__device__ __forceinline__ void copy_rows(u32 tile, const Head& from, u32 first, u32 length, int head_dim) {
    using T = Tile<kD>;
    constexpr u32 kStep = kThreads / T::kGroup;
    const u32 row = threadIdx.x / T::kGroup, chunk = threadIdx.x % T::kGroup;
    tile += T::at(row, chunk);
    const bf16* data = from.data + static_cast<i64>(first + row) * from.ld + chunk * 8;
    if (head_dim == kD && first + kRows <= length) {
#pragma unroll
        for (u32 i = 0; i < kRows; i += kStep, data += kStep * from.ld)
            if (kRows >= kStep || row < kRows)
#pragma unroll
                for (int j = 0; j < T::kChunks; j += T::kGroup) cp_async_16(tile + i * T::kStride + j * 16, data + j * 8);
        return;
    }
#pragma unroll 1
    for (u32 place = row; place < kRows; place += kStep, tile += kStep * T::kStride, data += kStep * from.ld)
#pragma unroll 1
        for (int j = 0; j < T::kChunks; j += T::kGroup) {
            const int count = first + place < length ? head_dim - static_cast<int>(chunk + j) * 8 : 0;
            attention::copy_chunk(tile + j * 16, count > 0 ? data + j * 8 : from.data, count, head_dim % 8 == 0);
        }
}

// The lane's two rows of 16 from `row` on.
template <bool kKeys>
__device__ __forceinline__ Seen lanes_span(const PackedAttentionParams& p, u32 length, u32 row) {
    Seen seen;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 i = row + threadIdx.x % 32 / 4 + r * 8;
        const Span span = met<kKeys>(p, length, i);
        seen.start[r] = span.start, seen.length[r] = i < length ? span.end - span.start : 0;
    }
    return seen;
}

// Where the lane's rows of ldmatrix begin: of a left operand, of a right one summed along its rows, of one summed across them.
template <int kD>
__device__ __forceinline__ u32 left() { return Tile<kD>::at(threadIdx.x % 16, threadIdx.x % 32 / 16); }
template <int kD>
__device__ __forceinline__ u32 right_along() {
    const u32 lane = threadIdx.x % 32;
    return Tile<kD>::at(lane % 8 + lane / 16 * 8, lane / 8 % 2);
}

}  // namespace packed
