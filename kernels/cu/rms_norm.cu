// rms_norm.cu — x[x_row + i, :] = h[r_i, :] * rsqrt(mean(h[r_i, :]^2) + eps) * w; r is 0, 1, 2... or the given rows.
//
// Shapes   h : [., C] f32     w : [C] f32     x : [., C] bf16
// Grid     a block per row
// Traffic  6 C bytes per row, h read once up to C = 8192 (beyond, twice); w from the second-level cache
// Numerics f32; which thread sums which channels, and the tree of the sum, depend on C alone
#include "common/reduce.cuh"
#include "params.h"

constexpr int kThreads = 256;
constexpr int kHeld = 8;  // vectors of 4 that a thread keeps in registers

// Four channels from `c` on; zeros beyond `count`. `vector`: rows are 16-byte aligned.
static __device__ __forceinline__ float4 load(const float* row, int c, int count, bool vector) {
    if (vector) return *reinterpret_cast<const float4*>(row + c);
    return make_float4(row[c], c + 1 < count ? row[c + 1] : 0.0f, c + 2 < count ? row[c + 2] : 0.0f,
                       c + 3 < count ? row[c + 3] : 0.0f);
}
static __device__ __forceinline__ float squares(float sum, const float4& v) {
    sum = __fmaf_rn(v.x, v.x, sum);
    sum = __fmaf_rn(v.y, v.y, sum);
    sum = __fmaf_rn(v.z, v.z, sum);
    return __fmaf_rn(v.w, v.w, sum);
}

extern "C" __global__ void __launch_bounds__(kThreads) rms_norm(const RmsNormParams p) {
    __shared__ float scratch[kThreads / 32];
    const i64 from = p.rows ? reinterpret_cast<const u32*>(p.rows)[blockIdx.x] : blockIdx.x;
    const float* h = reinterpret_cast<const float*>(p.h) + from * p.ldh;
    const float* w = reinterpret_cast<const float*>(p.w);
    bf16* x = reinterpret_cast<bf16*>(p.x) + (static_cast<i64>(p.x_row) + blockIdx.x) * p.ldx;
    const int count = p.channels, first = threadIdx.x * 4;
    const bool vector = count % 4 == 0 && p.ldh % 4 == 0;

    float sum = 0.0f;
    float4 held[kHeld];
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
        const int c = first + i * kThreads * 4;
        if (c < count) held[i] = load(h, c, count, vector), sum = squares(sum, held[i]);
    }
    for (int c = first + kHeld * kThreads * 4; c < count; c += kThreads * 4) sum = squares(sum, load(h, c, count, vector));
    sum = block_sum<kThreads / 32>(sum, scratch);
    const float scale = rsqrt(__fadd_rn(__fdiv_rn(sum, static_cast<float>(count)), p.eps));

    const auto store = [&](int c, const float4& v) {
        const float4 by = load(w, c, count, vector);
        const u32 low = pack_bf16(v.x * scale * by.x, v.y * scale * by.y), high = pack_bf16(v.z * scale * by.z, v.w * scale * by.w);
        if (vector) {
            *reinterpret_cast<uint2*>(x + c) = make_uint2(low, high);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (c + i < count) x[c + i] = static_cast<bf16>((i < 2 ? low : high) >> (i % 2 * 16));
        }
    };
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
        const int c = first + i * kThreads * 4;
        if (c < count) store(c, held[i]);
    }
    for (int c = first + kHeld * kThreads * 4; c < count; c += kThreads * 4) store(c, load(h, c, count, vector));
}
