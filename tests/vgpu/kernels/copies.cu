// Asynchronous copies that are not waited for, or not by those who read.
#include "args.h"

// <<<1, 32>>>
extern "C" __global__ void no_wait(Args a) {
    __shared__ __align__(16) float s[128];
    copy_async(s + 4 * threadIdx.x, a.in + 4 * threadIdx.x);
    copy_commit();
    __syncthreads();
    a.out[threadIdx.x] = s[threadIdx.x]; // FAULT pending_copy
}

// <<<1, 32>>>
extern "C" __global__ void waits_for_too_few(Args a) {
    __shared__ __align__(16) float s[256];
    copy_async(s + 4 * threadIdx.x, a.in + 4 * threadIdx.x);
    copy_commit();
    copy_async(s + 128 + 4 * threadIdx.x, a.in + 128 + 4 * threadIdx.x);
    copy_commit();
    copy_wait<1>();
    __syncthreads();
    float x = s[threadIdx.x];
    a.out[threadIdx.x] = x + s[128 + threadIdx.x]; // FAULT pending_copy
}

// <<<1, 32>>>
extern "C" __global__ void not_committed(Args a) {
    __shared__ __align__(16) float s[128];
    copy_async(s + 4 * threadIdx.x, a.in + 4 * threadIdx.x);
    copy_wait<0>();
    __syncthreads();
    a.out[threadIdx.x] = s[threadIdx.x]; // FAULT pending_copy
}

// <<<1, 64>>>
extern "C" __global__ void waits_without_a_barrier(Args a) {
    __shared__ __align__(16) float s[256];
    for (int k = 0; k < 4; k++) s[4 * threadIdx.x + k] = 0.f;
    __syncthreads();
    copy_async(s + 4 * threadIdx.x, a.in + 4 * threadIdx.x); // OTHER-INLINED
    copy_commit();
    copy_wait<0>();
    a.out[threadIdx.x] = s[4 * (threadIdx.x ^ 32)]; // FAULT shared_race
}

// <<<1, 64>>>
extern "C" __global__ void only_half_of_the_block_waits(Args a) {
    __shared__ __align__(16) float s[256];
    copy_async(s + 4 * threadIdx.x, a.in + 4 * threadIdx.x);
    copy_commit();
    if (threadIdx.x < 32) copy_wait<0>();
    __syncthreads();
    a.out[threadIdx.x] = s[4 * (threadIdx.x ^ 32)]; // FAULT pending_copy
}

// <<<1, 64>>>
extern "C" __global__ void overwrites_what_is_read(Args a) {
    __shared__ __align__(16) float s[256];
    for (int k = 0; k < 3; k++) {
        copy_async(s + 4 * threadIdx.x, a.in + 256 * k + 4 * threadIdx.x); // FAULT-INLINED shared_race
        copy_commit();
        copy_wait<0>();
        __syncthreads();
        a.out[64 * k + threadIdx.x] = s[4 * (threadIdx.x ^ 32)]; // OTHER
    }
}

// <<<1, 32>>>
extern "C" __global__ void stores_into_a_pending_copy(Args a) {
    __shared__ __align__(16) float s[128];
    copy_async(s + 4 * threadIdx.x, a.in + 4 * threadIdx.x);
    copy_commit();
    s[threadIdx.x] = 0.f; // FAULT pending_copy
    copy_wait<0>();
    __syncthreads();
    a.out[threadIdx.x] = s[threadIdx.x];
}

// <<<1, 32>>>
extern "C" __global__ void source_outside(Args a) {
    __shared__ __align__(16) float s[128];
    copy_async(s + 4 * threadIdx.x, a.odd + 4 * threadIdx.x); // FAULT-INLINED out_of_bounds
    copy_commit();
    copy_wait<0>();
    a.out[threadIdx.x] = s[4 * threadIdx.x];
}

// <<<1, 32>>>
extern "C" __global__ void destination_outside(Args a) {
    __shared__ __align__(16) float s[124];
    copy_async(s + 4 * threadIdx.x, a.in + 4 * threadIdx.x); // FAULT-INLINED out_of_bounds
    copy_commit();
    copy_wait<0>();
    a.out[threadIdx.x] = s[threadIdx.x];
}
