// packed_attention.cuh — attention of examples packed one after the other, for training: a block owns 64 rows (or keys) of one
// head of one example (32 if D > 128) and meets the keys (or rows) of its example in blocks of 64.
//
// Positions count from the example's beginning, and so do blocks: no bit of an example depends on what it is packed with.
// A row sees the keys [start, end) of `met`; what no one sees is masked. Beyond the example's end zeros stand for its rows.
#pragma once
#include "common/attention_tile.cuh"
#include "params.h"

namespace packed {

using attention::kBlock;
using attention::kThreads;
using attention::Tile;

using attention::none;
using attention::Queries;
using attention::scores;
using attention::Seen;

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
__device__ __forceinline__ void lanes_span(Seen (&seen)[2], const PackedAttentionParams& p, u32 length, u32 row) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 i = row + threadIdx.x % 32 / 4 + r * 8;
        const Span span = met<kKeys>(p, length, i);
        seen[r] = {span.start, i < length ? span.end - span.start : 0};
    }
}

// Where the lane's rows of ldmatrix begin: of a left operand, of a right one summed along its rows, of one summed across them.
template <int kD>
__device__ __forceinline__ u32 left() { return Tile<kD>::at(threadIdx.x % 16, threadIdx.x % 32 / 16); }
template <int kD>
__device__ __forceinline__ u32 right_along() {
    const u32 lane = threadIdx.x % 32;
    return Tile<kD>::at(lane % 8 + lane / 16 * 8, lane / 8 % 2);
}

// o += p v: 8 kN keys by 8 kTiles columns; `v` is the lane's address in the tile.
template <int kD, int kTiles, int kN>
__device__ __forceinline__ void add(float (&o)[kTiles][4], const float (&p)[kN][4], u32 v) {
    using T = Tile<kD>;
#pragma unroll
    for (int step = 0; step < kN / 2; step++) {
        const u32 a[4] = {pack_bf16(p[2 * step][0], p[2 * step][1]), pack_bf16(p[2 * step][2], p[2 * step][3]),
                          pack_bf16(p[2 * step + 1][0], p[2 * step + 1][1]),
                          pack_bf16(p[2 * step + 1][2], p[2 * step + 1][3])};
#pragma unroll
        for (int n = 0; n < kTiles; n += 2) {
            u32 b[4];
            ldmatrix_x4_trans(b, T::along(v, n) + step * 16 * T::kStride);
            mma_bf16(o[n], a, b[0], b[1]);
            mma_bf16(o[n + 1], a, b[2], b[3]);
        }
    }
}

// Maximum, sum (this lane's columns only until `reduce`) and output of two rows over the keys of a split so far.
template <int kTiles>
struct Running {
    float max[2];
    float sum[2];
    float o[kTiles][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < 2; r++) max[r] = none(), sum[r] = 0.0f;
#pragma unroll
        for (int n = 0; n < kTiles; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[n][e] = 0.0f;
    }

    // Takes a block's scores and turns them into weights: 2^(scale (s - max)).
    __device__ __forceinline__ void weigh(float (&s)[8][4], float scale) {
        float shrink[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float top = attention::greatest(s, r, max[r]);
            // Where nothing is seen yet, any finite reference gives weights of 0.
            const float reference = top == none() ? 0.0f : top;
            shrink[r] = ex2(__fmul_rn(__fsub_rn(max[r], reference), scale));
            max[r] = top;
            const float part = attention::exponentials(s, r, scale, -__fmul_rn(reference, scale));
            sum[r] = __fmaf_rn(sum[r], shrink[r], part);
        }
#pragma unroll
        for (int n = 0; n < kTiles; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[n][e] = __fmul_rn(o[n][e], shrink[e / 2]);
    }

    // The rows' sums over all columns: the quad's four lanes get the same bits.
    __device__ __forceinline__ void reduce() {
#pragma unroll
        for (int r = 0; r < 2; r++) sum[r] = attention::quad_sum(sum[r]);
    }
};

}  // namespace packed
