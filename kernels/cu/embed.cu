// embed.cu — h[t, :] = table[tokens[t], :]
//
// Shapes   table : [V, C] bf16     tokens : [T] u32     h : [T, C] f32
// Grid     (rows, tiles of 2048 channels)
// Traffic  6 C bytes per row
// Numerics exact
#include "common/ptx.cuh"
#include "params.h"

extern "C" __global__ void __launch_bounds__(256) embed(const EmbedParams p) {
    const i64 token = reinterpret_cast<const u32*>(p.tokens)[blockIdx.x];
    const bf16* row = reinterpret_cast<const bf16*>(p.table) + token * p.ld;
    float* h = reinterpret_cast<float*>(p.h) + static_cast<i64>(blockIdx.x) * p.ldh;
    const bool vector = p.channels % 4 == 0 && p.ldh % 4 == 0;
#pragma unroll
    for (int pass = 0; pass < 2; pass++) { // four channels each, so that a warp writes whole sectors
        const int c = ((blockIdx.y * 2 + pass) * 256 + threadIdx.x) * 4;
        if (c >= p.channels) return;
        if (vector) {
            const uint2 v = *reinterpret_cast<const uint2*>(row + c);
            *reinterpret_cast<float4*>(h + c) = make_float4(bf16_low(v.x), bf16_high(v.x), bf16_low(v.y), bf16_high(v.y));
        } else {
            for (int i = 0; i < 4 && c + i < p.channels; i++) h[c + i] = from_bf16(row[c + i]);
        }
    }
}
