// rms_norm_backward.cu — gradients of x = h r ∘ w, r = rsqrt(mean(h²) + eps), of the rows 0, 1, 2... or the given ones:
// dh += r (w ∘ dx - h r mean(w ∘ dx ∘ h r)), dw += Σ dx ∘ h r.
//
// Shapes   dx : [T, C] f32     h, dh : [., C] f32     w, dw : [C] f32     r : [T] f32     partials : [⌈T/64⌉, C] f32
// Grid     rms_norm_backward: a block per row     rms_norm_dw: (tiles of 256 channels, 64 rows)     rms_norm_dw_fold: tiles
// Traffic  16 C bytes per row, and 8 C where dw is asked for
// Numerics f32; sums over channels by a tree fixed by C, over rows in order, 64 at a time
#include "common/reduce.cuh"
#include "params.h"

constexpr int kThreads = 256;
constexpr int kRows = 64;

static __device__ __forceinline__ i64 row_of(const RmsNormBackwardParams& p, int i) {
    return p.rows ? reinterpret_cast<const u32*>(p.rows)[i] : i;
}

extern "C" __global__ void __launch_bounds__(kThreads) rms_norm_backward(const RmsNormBackwardParams p) {
    __shared__ float scratch[2][kThreads / 32];
    const i64 row = row_of(p, blockIdx.x);
    const float* h = reinterpret_cast<const float*>(p.h) + row * p.ld;
    const float* dx = reinterpret_cast<const float*>(p.dx) + blockIdx.x * p.ld;
    const float* w = reinterpret_cast<const float*>(p.w);
    float* dh = reinterpret_cast<float*>(p.dh) + row * p.ld;

    float squares = 0.0f, products = 0.0f;
#pragma unroll 4
    for (int c = threadIdx.x; c < p.channels; c += kThreads) {
        squares = __fmaf_rn(h[c], h[c], squares);
        products = __fmaf_rn(__fmul_rn(w[c], dx[c]), h[c], products);
    }
    squares = block_sum<kThreads / 32>(squares, scratch[0]);
    products = block_sum<kThreads / 32>(products, scratch[1]);
    const float count = static_cast<float>(p.channels);
    const float r = rsqrt(__fadd_rn(__fdiv_rn(squares, count), p.eps));
    const float by = __fmul_rn(__fmul_rn(r, r), __fdiv_rn(products, count));
#pragma unroll 4
    for (int c = threadIdx.x; c < p.channels; c += kThreads)
        dh[c] = __fmaf_rn(r, __fmaf_rn(-h[c], by, __fmul_rn(w[c], dx[c])), dh[c]);
    if (threadIdx.x == 0 && p.r) reinterpret_cast<float*>(p.r)[blockIdx.x] = r;
}

// partials[b, c] = Σ dx ∘ h r over rows 64 b to 64 b + 63
extern "C" __global__ void __launch_bounds__(kThreads) rms_norm_dw(const RmsNormBackwardParams p) {
    const int c = blockIdx.x * kThreads + threadIdx.x;
    if (c >= p.channels) return;
    const int first = blockIdx.y * kRows, end = min(first + kRows, p.row_count);
    const float* dx = reinterpret_cast<const float*>(p.dx) + c;
    const float* h = reinterpret_cast<const float*>(p.h) + c;
    const float* r = reinterpret_cast<const float*>(p.r);
    float sum = 0.0f;
#pragma unroll 4
    for (int i = first; i < end; i++) sum = __fmaf_rn(dx[i * p.ld], __fmul_rn(h[row_of(p, i) * p.ld], r[i]), sum);
    reinterpret_cast<float*>(p.partials)[static_cast<i64>(blockIdx.y) * p.channels + c] = sum;
}

// dw += the partials in order
extern "C" __global__ void __launch_bounds__(kThreads) rms_norm_dw_fold(const RmsNormBackwardParams p) {
    const int c = blockIdx.x * kThreads + threadIdx.x, blocks = (p.row_count + kRows - 1) / kRows;
    if (c >= p.channels) return;
    float* dw = reinterpret_cast<float*>(p.dw) + c;
    const float* partials = reinterpret_cast<const float*>(p.partials) + c;
    float sum = *dw;
    for (int b = 0; b < blocks; b++) sum = __fadd_rn(sum, partials[static_cast<i64>(b) * p.channels]);
    *dw = sum;
}
