// Undefined data: where it may go, and where it must not.
#include "args.h"

// <<<1, 32>>>
extern "C" __global__ void stored(Args a) {
    float x = a.blank[threadIdx.x];
    a.out[threadIdx.x] = x * 2.f; // FAULT undefined_store
}

// <<<1, 64>>>
extern "C" __global__ void through_shared(Args a) {
    __shared__ float s[64];
    s[threadIdx.x] = a.blank[threadIdx.x];
    __syncthreads();
    a.out[threadIdx.x] = s[63 - threadIdx.x]; // FAULT undefined_store
}

// <<<1, 64>>>
extern "C" __global__ void shared_never_written(Args a) {
    __shared__ float s[64];
    if (threadIdx.x < 63) s[threadIdx.x] = 1.f;
    __syncthreads();
    a.out[threadIdx.x] = s[63 - threadIdx.x]; // FAULT undefined_store
}

// <<<2, 32>>>
extern "C" __global__ void shared_of_the_block_before(Args a) {
    __shared__ float s[32];
    if (blockIdx.x == 0) s[threadIdx.x] = 1.f;
    __syncwarp();
    if (blockIdx.x == 1) {
        a.out[threadIdx.x] = s[threadIdx.x ^ 1]; // FAULT undefined_store
    }
}

// <<<1, 32>>>
extern "C" __global__ void local_never_written(Args a) {
    float values[8];
    for (int k = 0; k < a.n - 993; k++) values[k] = a.in[k];
    a.out[threadIdx.x] = values[threadIdx.x & 7]; // FAULT undefined_store
}

// <<<1, 32>>>
extern "C" __global__ void branch(Args a) {
    float x = a.blank[threadIdx.x];
    float y = 0.f;
    if (x > 0.f) { // FAULT undefined_branch
        for (int k = 0; k < a.n; k++) y += a.in[k] * y;
        a.zero[threadIdx.x] = 1;
    }
}

// <<<1, 32>>>
extern "C" __global__ void address(Args a) {
    int i = __float_as_int(a.blank[threadIdx.x]) & 7;
    a.out[threadIdx.x] = a.in[i]; // FAULT undefined_address
}

// <<<1, 32>>>
extern "C" __global__ void through_shuffle(Args a) {
    float x = threadIdx.x == 5 ? a.blank[0] : 1.f;
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    if (threadIdx.x != 5) {
        a.out[threadIdx.x] = x; // FAULT undefined_store
    }
}

// <<<1, 32>>>
extern "C" __global__ void from_a_lane_that_left(Args a) {
    if (threadIdx.x == 31) return;
    float x = a.in[threadIdx.x];
    x += __shfl_down_sync(0x7fffffffu, x, 1);
    a.out[threadIdx.x] = x; // FAULT undefined_store
}

// <<<1, 32>>>
extern "C" __global__ void added_atomically(Args a) {
    atomicAdd(a.zero, __float_as_uint(a.blank[threadIdx.x])); // FAULT undefined_atomic
}

// <<<1, 32>>>
extern "C" __global__ void atomic_on_undefined_memory(Args a) {
    atomicAdd(a.blank, 1.f); // FAULT undefined_atomic
}

// <<<1, 32>>>
extern "C" __global__ void through_a_copy(Args a) {
    __shared__ __align__(16) float s[128];
    copy_async(s + 4 * threadIdx.x, a.blank + 4 * threadIdx.x);
    copy_commit();
    copy_wait<0>();
    a.out[threadIdx.x] = s[4 * threadIdx.x]; // FAULT undefined_store
}

// <<<1, 32>>>
extern "C" __global__ void one_byte_of_four(Args a) {
    __shared__ unsigned words[32];
    unsigned char* bytes = reinterpret_cast<unsigned char*>(words + threadIdx.x);
    bytes[0] = 1;
    bytes[1] = 2;
    bytes[3] = 4;
    unsigned word = words[threadIdx.x];
    a.zero[threadIdx.x] = word; // FAULT undefined_store
}

// <<<1, 32>>>
extern "C" __global__ void one_operand_of_mma(Args a) {
    unsigned x = __float_as_uint(threadIdx.x == 7 ? a.blank[0] : 0.f);
    unsigned y = __float_as_uint(a.in[0]);
    float d[4] = {0.f, 0.f, 0.f, 0.f};
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(x), "r"(y), "r"(y));
    a.out[threadIdx.x] = d[0]; // FAULT undefined_store
}
