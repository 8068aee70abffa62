// reduce.cuh — reductions whose tree is fixed by the block size alone.
#pragma once
#include "common/ptx.cuh"

// Sum over the warp; every lane gets it. The tree is symmetric, so all lanes get the same bits.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) x += shuffle_xor(x, mask);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) x = fmaxf(x, shuffle_xor(x, mask));
    return x;
}

// Sum over a block of kWarps warps; every thread gets it. `scratch` holds kWarps floats and may be reused after the next barrier.
template <int kWarps>
__device__ __forceinline__ float block_sum(float x, float* scratch) {
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = scratch[0];
#pragma unroll
    for (int w = 1; w < kWarps; w++) sum += scratch[w];
    return sum;
}
