// embed_backward.cu — dtable[token, :] += Σ dh[t, :] over the rows t of a token, in order.
//
// Shapes   dh : [T, C] f32     dtable : [V, C] f32     rows : [T] u32, grouped by token     segments : one per token
// Grid     (segments, tiles of 256 channels)
// Traffic  dh once, the rows of dtable that are there twice
// Numerics f32 sums in the order of the rows: each element of dtable has one thread
#include "common/ptx.cuh"
#include "params.h"

extern "C" __global__ void __launch_bounds__(256) embed_backward(const EmbedBackwardParams p) {
    const int c = blockIdx.y * 256 + threadIdx.x;
    if (c >= p.channels) return;
    const EmbedSegment segment = reinterpret_cast<const EmbedSegment*>(p.segments)[blockIdx.x];
    const u32* rows = reinterpret_cast<const u32*>(p.rows);
    const float* dh = reinterpret_cast<const float*>(p.dh) + c;
    float* to = reinterpret_cast<float*>(p.dtable) + static_cast<i64>(segment.token) * p.channels + c;
    float sum = *to;
#pragma unroll 4
    for (u32 i = segment.begin; i < segment.end; i++) sum = __fadd_rn(sum, dh[rows[i] * p.ldh]);
    *to = sum;
}
