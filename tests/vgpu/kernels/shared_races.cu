// Races in shared memory, between the warps of a block and between the lanes of a warp.
#include "args.h"

// <<<1, 256>>>
extern "C" __global__ void read_after_write(Args a) {
    __shared__ float s[256];
    s[threadIdx.x] = 0.f;
    __syncthreads();
    s[threadIdx.x] = a.in[threadIdx.x]; // OTHER
    a.out[threadIdx.x] = s[threadIdx.x ^ 96]; // FAULT shared_race
}

// <<<1, 64>>>
extern "C" __global__ void write_after_read(Args a) {
    __shared__ float s[64];
    for (int k = 0; k < 4; k++) {
        s[threadIdx.x] = a.in[threadIdx.x + k]; // FAULT shared_race
        __syncthreads();
        a.out[64 * k + threadIdx.x] = s[threadIdx.x ^ 32]; // OTHER
    }
}

// <<<1, 64>>>
extern "C" __global__ void write_after_write(Args a) {
    __shared__ float s[64];
    s[threadIdx.x & 31] = a.in[threadIdx.x]; // FAULT shared_race
    __syncthreads();
    a.out[threadIdx.x] = s[threadIdx.x & 31];
}

// <<<1, 64>>>
extern "C" __global__ void one_common_byte(Args a) {
    __shared__ unsigned s[64];
    unsigned char* bytes = reinterpret_cast<unsigned char*>(s);
    s[threadIdx.x] = 0;
    __syncthreads();
    if (threadIdx.x == 0) bytes[131] = 1; // OTHER
    if (threadIdx.x >= 32) {
        a.zero[threadIdx.x] = s[threadIdx.x]; // FAULT shared_race
    }
}

// <<<1, 64>>>
extern "C" __global__ void plain_read_of_an_atomic(Args a) {
    __shared__ unsigned count;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    atomicAdd(&count, 1u); // OTHER
    __syncwarp();
    a.zero[threadIdx.x] = count; // FAULT shared_race
}

// <<<1, 96>>>
extern "C" __global__ void wrong_named_barrier(Args a) {
    __shared__ float s[32];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (warp == 0) {
        s[lane] = a.in[lane]; // OTHER
        barrier_arrive(1, 64);
    }
    if (warp == 1) {
        barrier_sync(1, 64);
        a.out[lane] = s[lane ^ 1];
    }
    if (warp == 2) {
        a.out[32 + lane] = s[lane]; // FAULT shared_race
    }
}

// <<<1, 64>>>
extern "C" __global__ void arrives_before_writing(Args a) {
    __shared__ float s[64];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (warp == 0) {
        s[lane] = a.in[lane];
        barrier_arrive(1, 64);
        s[32 + lane] = a.in[lane]; // OTHER
    } else {
        barrier_sync(1, 64);
        a.out[lane] = s[lane ^ 1];
        a.out[32 + lane] = s[32 + lane]; // FAULT shared_race
    }
}

// <<<1, 32>>>
extern "C" __global__ void lanes_read_after_write(Args a) {
    __shared__ float s[32];
    s[threadIdx.x] = a.in[threadIdx.x]; // OTHER
    a.out[threadIdx.x] = s[threadIdx.x ^ 1]; // FAULT warp_race
}

// <<<1, 32>>>
extern "C" __global__ void lanes_write_after_read(Args a) {
    __shared__ float s[32];
    s[threadIdx.x] = a.in[threadIdx.x];
    __syncwarp();
    float x = s[threadIdx.x ^ 1]; // OTHER
    s[threadIdx.x] = x; // FAULT warp_race
    a.out[threadIdx.x] = x;
}

// <<<1, 32>>>
extern "C" __global__ void synchronises_other_lanes(Args a) {
    __shared__ float s[32];
    s[threadIdx.x] = a.in[threadIdx.x]; // OTHER
    if (threadIdx.x < 16) {
        __syncwarp(0xffffu);
    } else {
        __syncwarp(0xffff0000u);
    }
    a.out[threadIdx.x] = s[31 - threadIdx.x]; // FAULT warp_race
}

// <<<1, 32>>>
extern "C" __global__ void lanes_store_different_values(Args a) {
    __shared__ float s[16];
    s[threadIdx.x & 15] = a.in[threadIdx.x]; // FAULT warp_race
    __syncwarp();
    a.out[threadIdx.x] = s[threadIdx.x & 15];
}

// <<<1, 32>>>
extern "C" __global__ void matrix_before_the_warp_is_in_step(Args a) {
    __shared__ __align__(16) float s[128];
    for (int k = 0; k < 4; k++) s[threadIdx.x + 32 * k] = a.in[threadIdx.x]; // OTHER
    unsigned x, y, z, w;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x), "=r"(y), "=r"(z), "=r"(w)
                 : "r"(shared_address(s + 4 * threadIdx.x)) // FAULT warp_race
                 : "memory");
    a.zero[threadIdx.x] = x + y + z + w;
}
