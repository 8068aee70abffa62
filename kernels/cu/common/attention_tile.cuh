// attention_tile.cuh — what attention and its training share: tiles in shared memory, scores, masks and the softmax of 16 rows.
#pragma once
#include "ptx.cuh"

namespace attention {

constexpr int kThreads = 128;
constexpr u32 kBlock = 64;  // keys per block and per page
__device__ __forceinline__ float none() { return __uint_as_float(0xff800000u); }  // -inf: the score of a key that is not seen

// A matrix of kD bf16 columns in shared memory. Its 16-byte chunks are exchanged within groups of kGroup so that eight
// rows of one column of chunks, and eight chunks of one copy, lie in different banks.
template <int kD>
struct Tile {
    static constexpr int kChunks = kD / 8;
    static constexpr int kGroup = kChunks % 8 == 0 ? 8 : kChunks % 4 == 0 ? 4 : 2;
    static constexpr u32 kStride = kD * 2;  // bytes
    static constexpr int kParts = kD > 128 ? 2 : 1;  // warps that share 16 rows, each with its keys and columns of the output
    static constexpr int kRows = 64 / kParts;
    static constexpr int kColumns = kD / kParts;
    static constexpr int kScores = 8 / kParts;  // n8 tiles of a warp's scores
    static constexpr u32 kBytesQ = kRows * kStride;
    static constexpr u32 kBytesKv = kBlock * kStride;
    static constexpr int kRowStep = 32 / kGroup;  // rows that a warp copies at once

    // What the chunk's place within its group is exchanged with; depends on row % 8 alone.
    static __device__ __forceinline__ u32 exchange(u32 row) { return (row & 7) / (8 / kGroup); }
    // Byte offset of a chunk.
    static __device__ __forceinline__ u32 at(u32 row, u32 chunk) { return row * kStride + (chunk ^ exchange(row)) * 16; }
    // From the address of chunk 0 or 1 of a row to that of the chunk an even number of chunks further.
    static __device__ __forceinline__ u32 along(u32 address, int chunks) {
        constexpr int kSpan = kGroup * 16;
        return (address ^ (chunks * 16 & (kSpan - 1))) + (chunks * 16 & ~(kSpan - 1));
    }
};

// Copies the chunk of `count` bf16 (0 to 8; the rest becomes zero) to `shared`. Rows of a head dim that is not a multiple of 8 lie
// at multiples of 4 bytes only.
__device__ __forceinline__ void copy_chunk(u32 shared, const bf16* global, int count, bool wide) {
    const int bytes = 2 * min(max(count, 0), 8);
    if (wide) {
        cp_async_16(shared, global, bytes);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool some = 4 * i < bytes;
            cp_async_4(shared + 4 * i, global + (some ? 2 * i : 0), some ? 4 : 0);
        }
    }
}

// What a row sees: `length` positions from `start` on.
struct Seen {
    u32 start, length;
    __device__ __forceinline__ bool operator()(u32 key) const { return key - start < length; }
};

// 16 rows of kD as operand A, from the lane's address: in registers from `load` on if kHeld, else read when they are needed.
template <int kD, bool kHeld = false>
struct Queries {
    u32 address;
    u32 held[kHeld ? kD / 16 : 1][4];

    __device__ __forceinline__ void load() {
#pragma unroll
        for (int step = 0; step < kD / 16; step++) ldmatrix_x4(held[step], Tile<kD>::along(address, 2 * step));
    }
    __device__ __forceinline__ void get(u32 (&a)[4], int step) const {
        if (!kHeld) return ldmatrix_x4(a, Tile<kD>::along(address, 2 * step));
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = held[kHeld ? step : 0][i];
    }
};

// s = q kᵀ: 16 rows by 8 kN keys. `lane_k` is the lane's place in the tile at `k`.
template <int kD, bool kHeld, int kN>
__device__ __forceinline__ void scores(float (&s)[kN][4], const Queries<kD, kHeld>& q, u32 k, u32 lane_k) {
    using T = Tile<kD>;
#pragma unroll
    for (int j = 0; j < kN; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[j][e] = 0.0f;
#pragma unroll
    for (int step = 0; step < kD / 16; step++) {
        u32 a[4];
        q.get(a, step);
#pragma unroll
        for (int j = 0; j < kN; j += 2) {
            u32 b[4];
            ldmatrix_x4(b, k + T::along(lane_k, 2 * step) + j * 8 * T::kStride);
            mma_bf16(s[j], a, b[0], b[1]);
            mma_bf16(s[j + 1], a, b[2], b[3]);
        }
    }
}

// Scores of keys that a row does not see become -inf. `seen` is what the lane's two rows see, `key` the warp's first key.
template <int kN>
__device__ __forceinline__ void mask(float (&s)[kN][4], const Seen (&seen)[2], u32 key) {
    const u32 column = key + threadIdx.x % 4 * 2;
#pragma unroll
    for (int j = 0; j < kN; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[j][e] = seen[e / 2](column + j * 8 + e % 2) ? s[j][e] : none();
}

// The greatest of a row's scores, and of `top`: the quad's four lanes get the same.
template <int kN>
__device__ __forceinline__ float greatest(const float (&s)[kN][4], int r, float top) {
#pragma unroll
    for (int j = 0; j < kN; j++) top = fmaxf(top, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
    top = fmaxf(top, shuffle_xor(top, 1));
    return fmaxf(top, shuffle_xor(top, 2));
}

// Turns a row's scores into weights 2^(scale s + shift). The lane's sum of them, in a tree.
template <int kN>
__device__ __forceinline__ float exponentials(float (&s)[kN][4], int r, float scale, float shift) {
    float sums[kN];
#pragma unroll
    for (int j = 0; j < kN; j++) {
        s[j][2 * r] = ex2(__fmaf_rn(s[j][2 * r], scale, shift));
        s[j][2 * r + 1] = ex2(__fmaf_rn(s[j][2 * r + 1], scale, shift));
        sums[j] = __fadd_rn(s[j][2 * r], s[j][2 * r + 1]);
    }
#pragma unroll
    for (int n = kN / 2; n; n /= 2)
#pragma unroll
        for (int j = 0; j < n; j++) sums[j] = __fadd_rn(sums[j], sums[j + n]);
    return sums[0];
}

// A row's sum over the quad's lanes, which get the same bits.
__device__ __forceinline__ float quad_sum(float sum) {
    sum = __fadd_rn(sum, shuffle_xor(sum, 1));
    return __fadd_rn(sum, shuffle_xor(sum, 2));
}

__device__ __forceinline__ float inverse(float sum) { return __frcp_rn(sum); }

}  // namespace attention
