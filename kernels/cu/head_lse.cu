// head_lse.cu — log-sum-exp of a row's logits over the whole vocabulary; logits are never stored.
//
// Shapes   x: [., K] bf16, rows chosen by `rows`    head: [V, K] bf16 or int8    partials: [m, groups, 2] f32    out: [m, 2] f64
// Work     head_lse: 2 M V K flops in 128x128 tiles; a warp leaves (max, Σ exp(z - max)) of each row's 64 logits.
//          head_lse_fold: a warp per row adds the groups up. ln of the sum, plus the maximum, is the host's.
// Traffic  the head once per 128 rows. Few rows, too, take whole tiles: they cost no more time than the head's bytes.
// Numerics the logits' bits are those of every other product (gemm_mainloop.cuh). Which 64 logits make a group, and the
//          orders of both sums, depend on V alone; the second is f64
#include "common/epilogue.cuh"
#include "common/gemm_mainloop.cuh"

constexpr float kLog2E = 1.4426950408889634f;
constexpr int kGroup = kGemmTile / 2; // logits of a row that a warp holds

static __device__ __forceinline__ float none() { return __uint_as_float(0xff800000u); }
// Exchange with a neighbour of the quad, whose lanes have the same row.
static __device__ __forceinline__ float quad_xor(float x, int mask) {
    return __shfl_xor_sync(0xfu << (threadIdx.x & 28), x, mask);
}

// exp(z - max)
static __device__ __forceinline__ float weight(float z, float max) { return ex2(__fmul_rn(__fsub_rn(z, max), kLog2E)); }

template <int kBytes>
static __device__ __forceinline__ void head_lse_kernel(const HeadLseParams& p) {
    extern __shared__ __align__(128) u8 memory[];
    const int groups = (p.n + kGroup - 1) / kGroup;
    // Blocks that share a tile of the head are neighbours.
    const int tiles = (p.m + kGemmTile - 1) / kGemmTile;
    const int row0 = blockIdx.x % tiles * kGemmTile, id0 = blockIdx.x / tiles * kGemmTile;
    GemmAcc acc = {};
    XLoader x;
    WLoader<kBytes> w;
    x.start(threadIdx.x, [&](int r, bool&) {
        const int i = min(row0 + r, p.m - 1);
        const i64 row = p.rows ? reinterpret_cast<const u32*>(p.rows)[i] : i;
        return reinterpret_cast<const bf16*>(p.x) + row * p.ldx;
    });
    w.start(threadIdx.x, [&](int r, bool&) {
        return reinterpret_cast<const u8*>(p.head.data) + min(id0 + r, p.n - 1) * p.head.ld * kBytes;
    });
    gemm_mainloop<kBytes>(acc, x, w, p.k, shared_address(memory));

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int column0 = id0 + warp % 2 * kGroup + lane % 4 * 2;
    if constexpr (kBytes == 1) {
#pragma unroll
        for (int j = 0; j < 16; j++) {
            const float scale = reinterpret_cast<const float*>(p.head.scale)[min(column0 + j / 2 * 8 + j % 2, p.n - 1)];
#pragma unroll
            for (int i = 0; i < 4; i++) acc[i][j / 2][j % 2] *= scale, acc[i][j / 2][2 + j % 2] *= scale;
        }
    }
    const int group = id0 / kGroup + warp % 2;
    if (group >= groups) return;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int row = row0 + warp / 2 * 64 + i / 2 * 16 + i % 2 * 8 + lane / 4;
        if (row >= p.m) continue;
        float max = none();
#pragma unroll
        for (int j = 0; j < 16; j++) {
            float& z = acc[i / 2][j / 2][i % 2 * 2 + j % 2];
            z = column0 + j / 2 * 8 + j % 2 < p.n ? z : none();
            max = fmaxf(max, z);
        }
        max = fmaxf(max, quad_xor(max, 1));
        max = fmaxf(max, quad_xor(max, 2));
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < 16; j++) sum = __fadd_rn(sum, weight(acc[i / 2][j / 2][i % 2 * 2 + j % 2], max));
        sum = __fadd_rn(sum, quad_xor(sum, 1));
        sum = __fadd_rn(sum, quad_xor(sum, 2));
        if (lane % 4 == 0)
            reinterpret_cast<float2*>(p.partials)[static_cast<i64>(row) * groups + group] = make_float2(max, sum);
    }
}

extern "C" __global__ void __launch_bounds__(kGemmThreads, 2) head_lse(const HeadLseParams p) { head_lse_kernel<2>(p); }
extern "C" __global__ void __launch_bounds__(kGemmThreads, 2) head_lse_int8(const HeadLseParams p) { head_lse_kernel<1>(p); }

// out[row] = (max, sum): the row's log-sum-exp is max + ln(sum).
extern "C" __global__ void __launch_bounds__(128) head_lse_fold(const HeadLseParams p) {
    const i64 row = static_cast<i64>(blockIdx.x) * 4 + threadIdx.x / 32;
    if (row >= p.m) return;
    const int lane = threadIdx.x % 32, groups = (p.n + kGroup - 1) / kGroup;
    const float2* partials = reinterpret_cast<const float2*>(p.partials) + row * groups;
    float max = none();
    for (int i = lane; i < groups; i += 32) max = fmaxf(max, partials[i].x);
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) max = fmaxf(max, shuffle_xor(max, mask));
    double sum = 0.0;
    for (int i = lane; i < groups; i += 32) {
        const float2 part = partials[i];
        sum = __fma_rn(static_cast<double>(part.y), static_cast<double>(weight(part.x, max)), sum);
    }
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) sum = __dadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, mask));
    if (lane == 0) reinterpret_cast<double2*>(p.out)[row] = make_double2(max, sum);
}
