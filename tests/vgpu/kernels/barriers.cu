// Barriers and .sync instructions that not everybody reaches; kernels that do not end.
#include "args.h"

// <<<1, 64>>>
extern "C" __global__ void half_a_warp(Args a) {
    __shared__ float s[64];
    s[threadIdx.x] = a.in[threadIdx.x];
    if (threadIdx.x < 40) {
        __syncthreads(); // FAULT barrier_divergence
        a.out[threadIdx.x] = s[39 - threadIdx.x];
    }
}

// <<<1, 64>>>
extern "C" __global__ void lanes_that_left(Args a) {
    __shared__ float s[64];
    if (threadIdx.x >= 50) return;
    s[threadIdx.x] = a.in[threadIdx.x];
    __syncthreads(); // FAULT barrier_divergence
    a.out[threadIdx.x] = s[49 - threadIdx.x];
}

// <<<1, 96>>>
extern "C" __global__ void a_warp_that_left(Args a) {
    __shared__ float s[96];
    if (threadIdx.x >= 64) return;
    s[threadIdx.x] = a.in[threadIdx.x];
    __syncthreads(); // FAULT barrier_divergence
    a.out[threadIdx.x] = s[63 - threadIdx.x];
}

// <<<1, 64>>>
extern "C" __global__ void two_barriers_cross(Args a) {
    if (threadIdx.x < 32) {
        barrier_sync(1, 64); // FAULT-INLINED barrier_divergence
        barrier_sync(2, 64);
    } else {
        barrier_sync(2, 64);
        barrier_sync(1, 64);
    }
    a.out[threadIdx.x] = 1.f;
}

// <<<1, 64>>>
extern "C" __global__ void more_threads_than_there_are(Args a) {
    barrier_sync(1, 96); // FAULT-INLINED barrier_count
    a.out[threadIdx.x] = 1.f;
}

// <<<1, 64>>>
extern "C" __global__ void count_that_is_no_warps(Args a) {
    barrier_sync(1, 48); // FAULT-INLINED barrier_count
    a.out[threadIdx.x] = 1.f;
}

// <<<1, 96>>>
extern "C" __global__ void counts_that_differ(Args a) {
    if (threadIdx.x < 32) {
        barrier_sync(1, 96);
    } else {
        barrier_sync(1, 64); // FAULT-INLINED barrier_count
    }
    a.out[threadIdx.x] = 1.f;
}

// <<<1, 96>>>
extern "C" __global__ void arrives_twice(Args a) {
    if (threadIdx.x < 32) {
        barrier_arrive(1, 96);
        barrier_arrive(1, 96); // FAULT-INLINED barrier_divergence
    } else if (threadIdx.x < 64) {
        barrier_sync(1, 96);
    }
    a.out[threadIdx.x] = 1.f;
}

// <<<1, 32>>>
extern "C" __global__ void shuffle_in_half_a_warp(Args a) {
    float x = a.in[threadIdx.x];
    if (threadIdx.x & 1) {
        x += __shfl_xor_sync(0xffffffffu, x, 2); // FAULT absent_lanes
    }
    __syncthreads();
    a.out[threadIdx.x] = x;
}

// <<<1, 32>>>
extern "C" __global__ void not_a_member(Args a) {
    unsigned all = __ballot_sync(0xffffu, a.in[threadIdx.x] > 0.f); // FAULT invalid_instruction
    a.zero[threadIdx.x] = all;
}

// <<<1, 32>>>
extern "C" __global__ void syncwarp_without_the_others(Args a) {
    if (threadIdx.x < 16) {
        a.zero[threadIdx.x] = 1;
        __syncwarp(); // FAULT absent_lanes
        a.zero[threadIdx.x] += 1;
    }
    __syncthreads();
    a.out[threadIdx.x] = 1.f;
}

// <<<1, 48>>>
extern "C" __global__ void mma_with_half_a_warp(Args a) {
    unsigned x = __float_as_uint(a.in[0]);
    float d[4] = {0.f, 0.f, 0.f, 0.f};
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%4}, {%4}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(x)); // FAULT absent_lanes
    a.out[threadIdx.x] = d[0];
}

// <<<1, 32>>>
extern "C" __global__ void waits_forever(Args a) {
    volatile unsigned* flag = a.zero;
    while (*flag == 0) { // FAULT hang
    }
    a.out[threadIdx.x] = 1.f;
}

// <<<1, 64>>>
extern "C" __global__ void counts_forever(Args a) {
    __shared__ float s[1];
    if (threadIdx.x >= 32) {
        unsigned x = threadIdx.x;
        while (x != 0) { // FAULT hang
            asm volatile("xor.b32 %0, %0, 0;" : "+r"(x)); // FAULT hang
        }
        s[0] = 1.f;
    }
    __syncthreads();
    a.out[threadIdx.x] = s[0];
}

// <<<1, 32>>>
extern "C" __global__ void traps(Args a) {
    if (a.in[threadIdx.x] > 1000000.f) a.out[threadIdx.x] = 1.f;
    if (a.n == 1000) {
        asm volatile("trap;"); // FAULT trap
    }
}
