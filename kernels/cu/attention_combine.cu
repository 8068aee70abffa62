// attention_combine.cu — o = merged splits of a row, normalised.
//
// Shapes   partial_o : [., D] f32     partial_ml : [., 2] f32     o : [T, H, D] bf16
// Grid     a warp per row and query head
// Traffic  partials once, o once
// Numerics `merge` of attention.cuh in ascending order of split, as the prompt kernel does in registers
#include "attention.cuh"

extern "C" __global__ void __launch_bounds__(128) attention_combine(const CombineParams p) {
    constexpr int kWarps = 4, kPairs = 4;  // a lane holds up to 4 pairs of columns, 64 apart: D <= 256
    const i64 index = static_cast<i64>(blockIdx.x) * kWarps + threadIdx.x / 32;
    if (index >= static_cast<i64>(p.row_count) * p.heads) return;
    const CombineRow row = reinterpret_cast<const CombineRow*>(p.rows)[index / p.heads];
    if (row.splits == 0) return;
    const u32 head = index % p.heads, ratio = p.heads / p.kv_heads, lane = threadIdx.x % 32;
    i64 partial = static_cast<i64>(row.partial) + static_cast<i64>(head / ratio) * row.head_stride + head % ratio;

    float reference = attention::kUnseen, sum = 0.0f, o[kPairs][2] = {};
    for (u32 split = 0; split < row.splits; split++, partial += row.split_stride) {
        const float2 next = reinterpret_cast<const float2*>(p.partial_ml)[partial];
        const attention::Merge by = attention::merge_factors(reference, next.x);
        reference = by.reference;
        sum = attention::merge(by, sum, next.y);
        const float2* from = reinterpret_cast<const float2*>(reinterpret_cast<const float*>(p.partial_o) + partial * p.head_dim);
#pragma unroll
        for (int i = 0; i < kPairs; i++) {
            if (2 * (lane + i * 32) >= p.head_dim) break;
            const float2 pair = from[lane + i * 32];
            o[i][0] = attention::merge(by, o[i][0], pair.x);
            o[i][1] = attention::merge(by, o[i][1], pair.y);
        }
    }
    const float by = attention::inverse(sum);
    u32* out = reinterpret_cast<u32*>(reinterpret_cast<bf16*>(p.out) + static_cast<i64>(row.row) * p.ldo +
                                      static_cast<i64>(head) * p.head_dim);
#pragma unroll
    for (int i = 0; i < kPairs; i++)
        if (2 * (lane + i * 32) < p.head_dim)
            out[lane + i * 32] = pack_bf16(attention::normalise(o[i][0], by), attention::normalise(o[i][1], by));
}
