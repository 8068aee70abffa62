// embed.cu — h[t, :] = table[tokens[t], :]
//
// Shapes   table : [V, C] bf16     tokens : [T] u32     h : [T, C] f32
// Grid     (rows, tiles of 2048 channels)
// Traffic  6 C bytes per row
// Numerics exact
#include "common/ptx.cuh"
#include "params.h"

extern "C" __global__ void __launch_bounds__(256) embed(const EmbedParams p) {
    const int c = (blockIdx.y * 256 + threadIdx.x) * 8;
    if (c >= p.channels) return;
    const i64 token = reinterpret_cast<const u32*>(p.tokens)[blockIdx.x];
    const bf16* from = reinterpret_cast<const bf16*>(p.table) + token * p.ld + c;
    float* to = reinterpret_cast<float*>(p.h) + static_cast<i64>(blockIdx.x) * p.ldh + c;
    if (p.channels % 8 == 0 && p.ldh % 4 == 0) {
        const uint4 v = *reinterpret_cast<const uint4*>(from);
        reinterpret_cast<float4*>(to)[0] = make_float4(bf16_low(v.x), bf16_high(v.x), bf16_low(v.y), bf16_high(v.y));
        reinterpret_cast<float4*>(to)[1] = make_float4(bf16_low(v.z), bf16_high(v.z), bf16_low(v.w), bf16_high(v.w));
    } else {
        for (int i = 0; i < 8 && c + i < p.channels; i++) to[i] = from_bf16(from[i]);
    }
}
