// adamw.cu — one step of AdamW of any number of parameters, and sums of squares of their gradients.
//
// Shapes   gradient, m, v, master : [length] dense, f32; m, v bf16 in adamw_half     weight : [., columns] bf16, rows ld apart
// Grid     blocks of 1024 elements of one parameter, which each block looks up in a table     sum_squares: blocks of 16384
// Traffic  30 bytes per element with state in f32, 14 in bf16; sum_squares 4; 72 a block for its parameter
// Numerics every operation is rounded once and in the order of the processor's: both devices compute the same bits.
//          Random bits are those of the element's index under the step's key, whatever the grid
#include "common/random.cuh"
#include "params.h"

constexpr int kThreads = 256;
constexpr int kEach = 4;  // elements of a thread, kThreads apart
constexpr int kChunk = 16384;

struct Adam {
    float m, v, w;
};

// The entry whose block this is: the last that begins at it or before.
template <typename Tensor>
static __device__ __forceinline__ Tensor own(u64 table, u32 count) {
    const Tensor* tensors = reinterpret_cast<const Tensor*>(table);
    u32 low = 0, high = count;
    while (low + 1 < high) {
        const u32 middle = (low + high) / 2;
        (tensors[middle].first <= blockIdx.x ? low : high) = middle;
    }
    return tensors[low];
}

static __device__ __forceinline__ Adam adam(const AdamParams& p, float decay, float gradient, float m, float v, float w) {
    const float g = __fmul_rn(gradient, p.scale);
    m = __fadd_rn(__fmul_rn(p.beta[0], m), __fmul_rn(p.rest[0], g));
    v = __fadd_rn(__fmul_rn(p.beta[1], v), __fmul_rn(__fmul_rn(p.rest[1], g), g));
    const float root = __fsqrt_rn(__fmul_rn(v, p.correction[1]));
    const float move = __fdiv_rn(__fmul_rn(m, p.correction[0]), __fadd_rn(root, p.epsilon));
    return {m, v, __fsub_rn(__fsub_rn(w, __fmul_rn(decay, w)), __fmul_rn(p.rate, move))};
}

// x rounded to one of its two neighbours in bf16, up with the probability of the distance from the lower one.
static __device__ __forceinline__ bf16 stochastic(float x, u32 random) {
    const u32 bits = __float_as_uint(x);
    if (x != x) return 0x7fc0;
    // A carry into an exponent of ones would make infinity of a finite number.
    const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    return static_cast<bf16>((finite ? bits + (random & 0xffffu) : bits) >> 16);
}

static __device__ __forceinline__ bf16* weight(const AdamTensor& t, u32 i) {
    return reinterpret_cast<bf16*>(t.weight) + static_cast<i64>(i / t.columns) * t.ld + i % t.columns;
}

extern "C" __global__ void __launch_bounds__(kThreads) adamw(const AdamParams p) {
    const AdamTensor t = own<AdamTensor>(p.tensors, p.count);
    const float* gradient = reinterpret_cast<const float*>(t.gradient);
    float* m = reinterpret_cast<float*>(t.m);
    float* v = reinterpret_cast<float*>(t.v);
    float* master = reinterpret_cast<float*>(t.master);
#pragma unroll
    for (int each = 0; each < kEach; each++) {
        const u32 i = ((blockIdx.x - t.first) * kEach + each) * kThreads + threadIdx.x;
        if (i >= t.length) return;
        const Adam to = adam(p, t.decay, gradient[i], m[i], v[i], master[i]);
        m[i] = to.m, v[i] = to.v, master[i] = to.w;
        if (t.weight) *weight(t, i) = to_bf16(to.w);
    }
}

extern "C" __global__ void __launch_bounds__(kThreads) adamw_half(const AdamParams p) {
    const AdamTensor t = own<AdamTensor>(p.tensors, p.count);
    const float* gradient = reinterpret_cast<const float*>(t.gradient);
    bf16* m = reinterpret_cast<bf16*>(t.m);
    bf16* v = reinterpret_cast<bf16*>(t.v);
#pragma unroll
    for (int each = 0; each < kEach; each++) {
        const u32 i = ((blockIdx.x - t.first) * kEach + each) * kThreads + threadIdx.x;
        if (i >= t.length) return;
        bf16* w = weight(t, i);
        const Adam to = adam(p, t.decay, gradient[i], from_bf16(m[i]), from_bf16(v[i]), from_bf16(*w));
        // Three draws of two counters: 16 bits each.
        const u32 draw = uniform(t.key, 2ull * i), other = uniform(t.key, 2ull * i + 1);
        m[i] = stochastic(to.m, draw), v[i] = stochastic(to.v, draw >> 16), *w = stochastic(to.w, other);
    }
}

// out[first + b] = Σ x² of the b-th 16384 elements, f64.
extern "C" __global__ void __launch_bounds__(kThreads) sum_squares(const SumSquaresParams p) {
    __shared__ double warps[kThreads / 32];
    const SquaresTensor t = own<SquaresTensor>(p.tensors, p.count);
    const float* x = reinterpret_cast<const float*>(t.x);
    const u32 first = (blockIdx.x - t.first) * kChunk, end = min(first + kChunk, t.length);
    double sum = 0.0;
#pragma unroll 4
    for (u32 i = first + threadIdx.x; i < end; i += kThreads) {
        const double value = x[i];
        sum = __fma_rn(value, value, sum);
    }
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) sum = __dadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, mask));
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int w = 1; w < kThreads / 32; w++) sum = __dadd_rn(sum, warps[w]);
    reinterpret_cast<double*>(p.out)[blockIdx.x] = sum;
}
