// packed_backward.cu — gradients of packed_attention: dq by rows, dk and dv by keys, so that nothing is added by two blocks.
//
// With p = e^(s / sqrt(D) - lse) and ds = p (dO vᵀ - delta), delta = Σ dO ∘ O:  dq = ds k / sqrt(D),  dk = dsᵀ q / sqrt(D),
// dv = pᵀ dO. A block owns two tiles (q and dO, or k and v) and streams the other two past them; their products are the scores
// and what ds needs, transposed where keys are owned, so weights go from accumulators to operands within a warp.
//
// Shapes   q, o, d_o : [T, H, D] bf16     k, v : [T, G, D] bf16     lse, delta : [T, H] f32     dq, dk, dv : f32
// Grid     packed_delta: 4 (row, head) per block     packed_dq: (heads, items)     packed_dkv: (kv heads, items, shortest first)
// Traffic  per block: its own tiles once, the streamed ones of what it meets; dk and dv of each query head of the group
// Numerics f32 sums, blocks in ascending order, for keys head by head of the group; p and ds are bf16 in their products
#include "common/reduce.cuh"
#include "packed_attention.cuh"

namespace packed {

template <int kD, int kStages, bool kKeys>
struct Stage {
    // Two tiles, and lse and delta of the rows where rows are streamed.
    static constexpr u32 kBytes = 2 * Tile<kD>::kBytesKv + (kKeys ? 2 * kBlock * 4 : 0);
};

// kN: streamed positions at a time are 8 kN.
template <int kD, int kStages, int kN, bool kKeys>
__device__ __forceinline__ void backward(const PackedAttentionParams& p) {
    using T = Tile<kD>;
    constexpr int kTiles = T::kColumns / 8, kOutputs = kKeys ? 2 : 1;
    constexpr u32 kStage = Stage<kD, kStages, kKeys>::kBytes;
    extern __shared__ __align__(128) u8 dynamic[];
    const u32 ratio = p.heads / p.kv_heads, heads = kKeys ? p.kv_heads : p.heads;
    const u32 head = blockIdx.x % heads, number = blockIdx.x / heads;
    const PackedItem item = reinterpret_cast<const PackedItem*>(p.items)[kKeys ? p.item_count - 1 - number : number];
    const u32 q_head = kKeys ? head * ratio : head, kv_head = kKeys ? head : head / ratio;
    const Head q(p.q, p.ldq, item, q_head * p.head_dim), d_o(p.d_o, p.ldq, item, q_head * p.head_dim);
    const Head k(p.k, p.ldk, item, kv_head * p.head_dim), v(p.v, p.ldk, item, kv_head * p.head_dim);
    const float* lse = reinterpret_cast<const float*>(p.lse) + static_cast<i64>(item.start) * p.heads + q_head;
    const float* delta = reinterpret_cast<const float*>(p.delta) + static_cast<i64>(item.start) * p.heads + q_head;
    const u32 own = shared_address(dynamic), ring = own + 2 * T::kBytesQ;

    const u32 last = min(item.first + T::kRows, item.length) - 1;
    const Span of_first = met<kKeys>(p, item.length, item.first), of_last = met<kKeys>(p, item.length, last);
    const u32 begin = of_first.start / kBlock, end = (of_last.end + kBlock - 1) / kBlock;

    // What is issued next: a block of streamed positions under one query head.
    u32 next = begin, next_head = 0, buffer = ring;
    const auto issue = [&] {
        if (next_head < (kKeys ? ratio : 1)) {
            const u32 low = next * kBlock;
            Head first = kKeys ? q : k, second = kKeys ? d_o : v;
            first.data += next_head * p.head_dim, second.data += next_head * p.head_dim;
            copy_rows<kD, kBlock>(buffer, first, low, item.length, p.head_dim);
            copy_rows<kD, kBlock>(buffer + T::kBytesKv, second, low, item.length, p.head_dim);
            if (kKeys) {
                const u32 i = low + threadIdx.x % kBlock;
                const bool there = i < item.length;
                const float* from = threadIdx.x < kBlock ? lse : delta;
                cp_async_4(buffer + 2 * T::kBytesKv + threadIdx.x * 4,
                           from + (there ? static_cast<i64>(i) * p.heads + next_head : 0), there ? 4 : 0);
            }
            if (++next == end) next = begin, next_head++;
            if (kStages > 1) buffer = buffer == ring ? ring + kStage : ring;
        }
        cp_async_commit();
    };
    copy_rows<kD, T::kRows>(own, kKeys ? k : q, item.first, item.length, p.head_dim);
    copy_rows<kD, T::kRows>(own + T::kBytesQ, kKeys ? v : d_o, item.first, item.length, p.head_dim);
    issue();

    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 row = warp / T::kParts * 16, part = warp % T::kParts;  // the warp's rows and columns
    Seen seen[2];
    lanes_span<kKeys>(seen, p, item.length, item.first + row);
    // What the warp's rows meet at all.
    const bool busy = item.first + row <= last;
    const u32 warp_start = met<kKeys>(p, item.length, item.first + row).start;
    const u32 warp_end = met<kKeys>(p, item.length, min(item.first + row + 15, last)).end;
    float row_lse[2], row_delta[2];
    if (!kKeys) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const i64 at = static_cast<i64>(min(item.first + row + lane / 4 + r * 8, last)) * p.heads;
            row_lse[r] = lse[at] * kLog2E, row_delta[r] = delta[at];
        }
    }
    float sums[kOutputs][kTiles][4];
#pragma unroll
    for (int o = 0; o < kOutputs; o++)
#pragma unroll
        for (int n = 0; n < kTiles; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) sums[o][n][e] = 0.0f;

    u32 stage = 0;
#pragma unroll 1
    for (u32 h = 0; h < (kKeys ? ratio : 1); h++) {
#pragma unroll 1
        for (u32 block = begin; block < end; block++) {
            cp_async_wait<0>();
            __syncthreads();
            if (kStages > 1) issue();
            const u32 low = block * kBlock, first = ring + stage * kStage, second = first + T::kBytesKv;
            if (busy && low < warp_end && low + kBlock > warp_start) {
                const bool masked = low < of_last.start || low + kBlock > of_first.end;
#pragma unroll 1
                for (int j = 0; j < 8; j += kN) {
                    float s[kN][4], ds[kN][4];
                    const u32 mine = own + row * T::kStride + left<kD>(), keys = right_along<kD>() + j * 8 * T::kStride;
                    scores(s, Queries<kD>{mine}, 0, first + keys);
                    scores(ds, Queries<kD>{mine + T::kBytesQ}, 0, second + keys);
#pragma unroll
                    for (int n = 0; n < kN; n++)
#pragma unroll
                        for (int e = 0; e < 4; e++) {
                            const u32 column = (j + n) * 8 + lane % 4 * 2 + e % 2;
                            float log, mean;
                            if (kKeys) {
                                const float* stats = reinterpret_cast<const float*>(dynamic + 2 * T::kBytesQ + stage * kStage + 2 * T::kBytesKv);
                                log = stats[column] * kLog2E, mean = stats[kBlock + column];
                            } else {
                                log = row_lse[e / 2], mean = row_delta[e / 2];
                            }
                            const float weight = ex2(__fmaf_rn(s[n][e], p.scale, -log));
                            const bool see = !masked || seen[e / 2](low + column);
                            s[n][e] = see ? weight : 0.0f;
                            ds[n][e] = see ? __fmul_rn(weight, __fsub_rn(ds[n][e], mean)) : 0.0f;
                        }
                    add<kD>(sums[0], ds, first + j * 8 * T::kStride + left<kD>() + part * kTiles * 16);
                    if (kKeys)
                        add<kD>(sums[kOutputs - 1], s, second + j * 8 * T::kStride + left<kD>() + part * kTiles * 16);
                }
            }
            if (kStages > 1) {
                stage ^= 1;
            } else {
                __syncthreads();
                issue();
            }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 i = item.first + row + lane / 4 + r * 8;
        if (i > last) break;
        const i64 at = (static_cast<i64>(item.start) + i) * (kKeys ? p.ld_dk : p.ld_dq) + head * p.head_dim;
#pragma unroll
        for (int o = 0; o < kOutputs; o++) {
            float* out = reinterpret_cast<float*>(!kKeys ? p.dq : o == 0 ? p.dk : p.dv) + at;
            const float by = o == 0 ? p.root : 1.0f;
#pragma unroll
            for (int n = 0; n < kTiles; n++) {
                const int column = (part * kTiles + n) * 8 + lane % 4 * 2;
                if (column < p.head_dim)
                    *reinterpret_cast<float2*>(out + column) =
                        make_float2(__fmul_rn(sums[o][n][2 * r], by), __fmul_rn(sums[o][n][2 * r + 1], by));
            }
        }
    }
}

}  // namespace packed

#define BACKWARD(D, STAGES, N)                                                                                             \
    extern "C" __global__ void __launch_bounds__(packed::kThreads) packed_dq_##D(const PackedAttentionParams p) {          \
        packed::backward<D, STAGES, 8, false>(p);                                                                          \
    }                                                                                                                      \
    extern "C" __global__ void __launch_bounds__(packed::kThreads) packed_dkv_##D(const PackedAttentionParams p) {         \
        packed::backward<D, STAGES, N, true>(p);                                                                           \
    }
BACKWARD(16, 2, 8)
BACKWARD(64, 2, 8)
BACKWARD(128, 2, 4)
BACKWARD(256, 1, 4)

// delta[t, h] = Σ dO ∘ O of the head: a warp each.
extern "C" __global__ void __launch_bounds__(128) packed_delta(const PackedAttentionParams p) {
    const i64 index = static_cast<i64>(blockIdx.x) * 4 + threadIdx.x / 32;
    if (index >= static_cast<i64>(p.rows) * p.heads) return;
    const i64 at = index / p.heads * p.ldq + index % p.heads * p.head_dim;
    const u32* o = reinterpret_cast<const u32*>(reinterpret_cast<const bf16*>(p.o) + at);
    const u32* d_o = reinterpret_cast<const u32*>(reinterpret_cast<const bf16*>(p.d_o) + at);
    float sum = 0.0f;
    for (int i = threadIdx.x % 32; i < p.head_dim / 2; i += 32) {
        sum = __fmaf_rn(bf16_low(o[i]), bf16_low(d_o[i]), sum);
        sum = __fmaf_rn(bf16_high(o[i]), bf16_high(d_o[i]), sum);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) reinterpret_cast<float*>(p.delta)[index] = sum;
}
