// argmax.cu — the largest allowed logit of each row; of equal ones the first.
//
// Shapes   logits : [m, V] f32     mask : [m, ceil(V / 32)] u32, bit i of word w allows id 32 w + i; none: all     out : ArgmaxResult[m]
// Grid     a block per row
// Traffic  logits once, mask twice: a warp reads half a sector of it at a time
// Numerics exact; NaN is never the largest. No id allowed: index 0xffffffff
#include "common/ptx.cuh"
#include "params.h"

constexpr int kThreads = 512;

struct Best {
    float value;
    u32 index;

    __device__ __forceinline__ void take(float other, u32 at) {
        if (at != ~0u && (index == ~0u || other > value || (other == value && at < index))) value = other, index = at;
    }
    __device__ __forceinline__ void reduce_warp() {
#pragma unroll
        for (int mask = 16; mask; mask >>= 1) {
            const float other = shuffle_xor(value, mask);
            const u32 at = __shfl_xor_sync(0xffffffffu, index, mask);
            take(other, at);
        }
    }
};

extern "C" __global__ void __launch_bounds__(kThreads) argmax(const ArgmaxParams p) {
    __shared__ Best warps[kThreads / 32];
    const float* logits = reinterpret_cast<const float*>(p.logits) + static_cast<i64>(blockIdx.x) * p.ld;
    const u32* mask = reinterpret_cast<const u32*>(p.mask) + static_cast<i64>(blockIdx.x) * p.mask_ld;
    Best best = {0.0f, ~0u};
    const bool vector = p.ld % 4 == 0;
    for (u32 first = threadIdx.x * 4; first < p.n; first += kThreads * 4) {
        float z[4];
        if (vector && first + 4 <= p.n) {
            const float4 v = *reinterpret_cast<const float4*>(logits + first);
            z[0] = v.x, z[1] = v.y, z[2] = v.z, z[3] = v.w;
        } else {
#pragma unroll
            for (u32 i = 0; i < 4; i++) z[i] = first + i < p.n ? logits[first + i] : __uint_as_float(0x7fffffffu);
        }
        const u32 allowed = p.mask == 0 ? ~0u : mask[first / 32] >> first % 32;
#pragma unroll
        for (u32 i = 0; i < 4; i++)
            if ((allowed >> i & 1) && z[i] == z[i]) best.take(z[i], first + i);
    }
    best.reduce_warp();
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = best;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    best = threadIdx.x < kThreads / 32 ? warps[threadIdx.x] : Best{0.0f, ~0u};
    best.reduce_warp();
    if (threadIdx.x == 0) reinterpret_cast<ArgmaxResult*>(p.out)[blockIdx.x] = {best.value, best.index};
}
