// pointwise.cu — what training does to single elements: copies, rounding, rotary embedding, SwiGLU and its gradient.
//
// Shapes   [rows, columns], f32 and bf16
// Grid     (rows, tiles of 2048 columns); rope: (rows, tiles of 256 pairs)
// Traffic  each element once
// Numerics f32, rounded once; silu(g) = g / (1 + exp(-g)) and the rotation are those of the forward products
#include "common/epilogue.cuh"
#include "params.h"

// The eight columns of this thread, and whether they are there as whole vectors.
struct Place {
    i64 row;
    int column, count;
    bool vector;

    __device__ __forceinline__ Place(int columns)
        : row(blockIdx.x), column((blockIdx.y * 256 + threadIdx.x) * 8), count(min(columns - column, 8)), vector(columns % 8 == 0) {}
};

static __device__ __forceinline__ void load(const Place& at, DevicePtr matrix, i64 ld, float (&x)[8]) {
    const bf16* from = reinterpret_cast<const bf16*>(matrix) + at.row * ld + at.column;
    if (at.vector) {
        const uint4 v = *reinterpret_cast<const uint4*>(from);
        x[0] = bf16_low(v.x), x[1] = bf16_high(v.x), x[2] = bf16_low(v.y), x[3] = bf16_high(v.y);
        x[4] = bf16_low(v.z), x[5] = bf16_high(v.z), x[6] = bf16_low(v.w), x[7] = bf16_high(v.w);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = i < at.count ? from_bf16(from[i]) : 0.0f;
    }
}
static __device__ __forceinline__ void store(const Place& at, DevicePtr matrix, i64 ld, const float (&x)[8]) {
    bf16* to = reinterpret_cast<bf16*>(matrix) + at.row * ld + at.column;
    if (at.vector) {
        *reinterpret_cast<uint4*>(to) =
            make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7]));
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (i < at.count) to[i] = to_bf16(x[i]);
    }
}
static __device__ __forceinline__ void load_f32(const Place& at, DevicePtr matrix, i64 ld, float (&x)[8]) {
    const float* from = reinterpret_cast<const float*>(matrix) + at.row * ld + at.column;
    if (at.vector) {
        const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = i < at.count ? from[i] : 0.0f;
    }
}

// out = bf16(x)
extern "C" __global__ void __launch_bounds__(256) round_rows(const CopyParams p) {
    const Place at(p.columns);
    if (at.count <= 0) return;
    float x[8];
    load_f32(at, p.x, p.ldx, x);
    store(at, p.out, p.ldo, x);
}

// out = x
extern "C" __global__ void __launch_bounds__(256) copy_rows(const CopyParams p) {
    const Place at(p.columns);
    if (at.count <= 0) return;
    float x[8];
    load_f32(at, p.x, p.ldx, x);
    float* to = reinterpret_cast<float*>(p.out) + at.row * p.ldo + at.column;
    if (at.vector) {
        reinterpret_cast<float4*>(to)[0] = make_float4(x[0], x[1], x[2], x[3]);
        reinterpret_cast<float4*>(to)[1] = make_float4(x[4], x[5], x[6], x[7]);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (i < at.count) to[i] = x[i];
    }
}

// out = silu(gate) ∘ up
extern "C" __global__ void __launch_bounds__(256) swiglu_rows(const SwigluParams p) {
    const Place at(p.columns);
    if (at.count <= 0) return;
    float gate[8], up[8];
    load(at, p.gate, p.ld, gate);
    load(at, p.up, p.ld, up);
#pragma unroll
    for (int i = 0; i < 8; i++) gate[i] = swiglu(gate[i], up[i]);
    store(at, p.out, p.ld, gate);
}

// dup = dout ∘ silu(gate), dgate = dout ∘ up ∘ silu'(gate), silu'(g) = σ (1 + g (1 - σ))
extern "C" __global__ void __launch_bounds__(256) swiglu_backward(const SwigluParams p) {
    const Place at(p.columns);
    if (at.count <= 0) return;
    float gate[8], up[8], dout[8];
    load(at, p.gate, p.ld, gate);
    load(at, p.up, p.ld, up);
    load(at, p.dout, p.ld, dout);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float g = gate[i], sigmoid = rcp(__fadd_rn(1.0f, ex2(__fmul_rn(g, -1.44269504088896340736f))));
        gate[i] = dout[i] * up[i] * sigmoid * __fmaf_rn(g, 1.0f - sigmoid, 1.0f);
        up[i] = dout[i] * g * sigmoid;
    }
    store(at, p.dgate, p.ld, gate);
    store(at, p.dup, p.ld, up);
}

// Heads of x turned by the angles of their row's position, back where inverse; a thread has the pair (i, i + D/2).
extern "C" __global__ void __launch_bounds__(256) rope_rows(const RopeParams p) {
    const int half = p.head_dim / 2, pair = blockIdx.y * 256 + threadIdx.x;
    if (pair >= p.columns / 2) return;
    const int within = pair % half, column = pair / half * p.head_dim + within;
    const i64 row = blockIdx.x, angle = static_cast<i64>(reinterpret_cast<const u32*>(p.positions)[row]) * half + within;
    const float* x = reinterpret_cast<const float*>(p.x) + row * p.ldx + column;
    bf16* out = reinterpret_cast<bf16*>(p.out) + row * p.ldo + column;
    const float sin = reinterpret_cast<const float*>(p.sin)[angle];
    float lo = x[0], hi = x[half];
    rotate(lo, hi, reinterpret_cast<const float*>(p.cos)[angle], p.inverse ? -sin : sin);
    out[0] = to_bf16(lo), out[half] = to_bf16(hi);
}
