// Races in global memory, between blocks and between the warps of one.
#include "args.h"

// <<<4, 32>>>
extern "C" __global__ void blocks_write_the_same(Args a) {
    a.out[threadIdx.x] = a.in[blockIdx.x]; // FAULT global_race
}

// <<<4, 32>>>
extern "C" __global__ void reads_the_next_block_too(Args a) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float left = i == 0 ? 0.f : __uint_as_float(a.zero[i - 1]); // FAULT global_race
    a.zero[i] = __float_as_uint(left + 1.f); // OTHER
}

// <<<1, 64>>>
extern "C" __global__ void warps_of_one_block(Args a) {
    a.zero[threadIdx.x] = threadIdx.x; // OTHER
    a.out[threadIdx.x] = a.zero[threadIdx.x ^ 32]; // FAULT global_race
}

// <<<2, 32>>>
extern "C" __global__ void plain_write_of_an_atomic(Args a) {
    if (blockIdx.x == 0) {
        atomicAdd(a.zero, 1u); // OTHER
    } else if (threadIdx.x == 0) {
        a.zero[0] = 7; // FAULT global_race
    }
}

// <<<4, 64>>>
extern "C" __global__ void last_block_without_fence(Args a) {
    __shared__ bool last;
    a.out[blockIdx.x * 64 + threadIdx.x] = a.in[threadIdx.x]; // OTHER
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(a.zero, 1u) == gridDim.x - 1;
    __syncthreads();
    if (last) {
        float sum = 0.f;
        for (int k = 0; k < gridDim.x; k++) {
            sum += a.out[k * 64 + threadIdx.x]; // FAULT global_race
        }
        a.blank[threadIdx.x] = sum;
    }
}

// <<<4, 64>>>
extern "C" __global__ void last_block_without_barrier(Args a) {
    __shared__ bool last;
    a.out[blockIdx.x * 64 + threadIdx.x] = a.in[threadIdx.x]; // OTHER
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(a.zero, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last) {
        float sum = 0.f;
        for (int k = 0; k < gridDim.x; k++) {
            sum += a.out[k * 64 + (threadIdx.x ^ 32)]; // FAULT global_race
        }
        a.blank[threadIdx.x] = sum;
    }
}

// <<<4, 64>>>
extern "C" __global__ void last_block_with_a_block_fence(Args a) {
    __shared__ bool last;
    a.out[blockIdx.x * 64 + threadIdx.x] = a.in[threadIdx.x]; // OTHER
    __threadfence_block();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(a.zero, 1u) == gridDim.x - 1;
    __syncthreads();
    if (last) {
        float sum = 0.f;
        for (int k = 0; k < gridDim.x; k++) {
            sum += a.out[k * 64 + threadIdx.x]; // FAULT global_race
        }
        a.blank[threadIdx.x] = sum;
    }
}

// <<<2, 32>>>
extern "C" __global__ void atomics_of_the_blocks_only(Args a) {
    atomicAdd_block(a.zero, 1u); // FAULT global_race
}
