// dropout.cu — out = x ∘ mask / (1 - p), and dx += dz ∘ mask / (1 - p) with the same mask, never stored.
//
// Shapes   x, out: [T, C] bf16     dz, dx: [T, C] f32
// Grid     (rows, tiles of 1024 columns)
// Traffic  4 C bytes per row forward, 12 C backward
// Numerics element (i, j) is dropped where its 24 random bits, by `key` and i C + j, are below p: the processor's mask, bit
//          for bit, and its arithmetic
#include "common/random.cuh"
#include "params.h"

static __device__ __forceinline__ float mask(const DropoutParams& p, u64 index) {
    const float drawn = __fmul_rn(static_cast<float>(uniform(p.key, index) >> 8), 1.0f / (1 << 24));
    return drawn < p.p ? 0.0f : p.keep;
}

extern "C" __global__ void __launch_bounds__(256) dropout(const DropoutParams p) {
    const int c = (blockIdx.y * 256 + threadIdx.x) * 4;
    if (c >= p.columns) return;
    const i64 row = blockIdx.x;
    const u64 index = row * p.columns + c;
    const bf16* x = reinterpret_cast<const bf16*>(p.x) + row * p.ldx + c;
    bf16* out = reinterpret_cast<bf16*>(p.out) + row * p.ldo + c;
    if (c + 4 <= p.columns) {
        const uint2 v = *reinterpret_cast<const uint2*>(x);
        const u32 low = pack_bf16(bf16_low(v.x) * mask(p, index), bf16_high(v.x) * mask(p, index + 1));
        const u32 high = pack_bf16(bf16_low(v.y) * mask(p, index + 2), bf16_high(v.y) * mask(p, index + 3));
        *reinterpret_cast<uint2*>(out) = make_uint2(low, high);
    } else {
        for (int i = 0; c + i < p.columns; i++) out[i] = to_bf16(from_bf16(x[i]) * mask(p, index + i));
    }
}

extern "C" __global__ void __launch_bounds__(256) dropout_backward(const DropoutParams p) {
    const int c = (blockIdx.y * 256 + threadIdx.x) * 4;
    if (c >= p.columns) return;
    const i64 row = blockIdx.x;
    const u64 index = row * p.columns + c;
    const float* dz = reinterpret_cast<const float*>(p.x) + row * p.ldx + c;
    float* dx = reinterpret_cast<float*>(p.out) + row * p.ldo + c;
    // Two roundings, as on the processor: not fused.
    if (c + 4 <= p.columns) {
        const float4 z = *reinterpret_cast<const float4*>(dz);
        float4 v = *reinterpret_cast<float4*>(dx);
        v.x = __fadd_rn(v.x, __fmul_rn(z.x, mask(p, index)));
        v.y = __fadd_rn(v.y, __fmul_rn(z.y, mask(p, index + 1)));
        v.z = __fadd_rn(v.z, __fmul_rn(z.z, mask(p, index + 2)));
        v.w = __fadd_rn(v.w, __fmul_rn(z.w, mask(p, index + 3)));
        *reinterpret_cast<float4*>(dx) = v;
    } else {
        for (int i = 0; c + i < p.columns; i++) dx[i] = __fadd_rn(dx[i], __fmul_rn(dz[i], mask(p, index + i)));
    }
}
