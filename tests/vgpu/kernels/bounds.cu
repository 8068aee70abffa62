// Accesses outside of what is allocated, and misaligned ones.
#include "args.h"

__device__ float table[10];

// <<<2, 512>>>
extern "C" __global__ void read_past_end(Args a) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    a.out[i] = a.in[i + 1]; // FAULT out_of_bounds
}

// <<<9, 128>>>
extern "C" __global__ void write_past_end(Args a) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    a.out[i] = 1.f; // FAULT out_of_bounds
}

// <<<1, 32>>>
extern "C" __global__ void read_before(Args a) {
    int i = threadIdx.x;
    float left = a.in[i - 1]; // FAULT out_of_bounds
    a.out[i] = left;
}

// <<<1, 32>>>
extern "C" __global__ void last_vector_is_half_outside(Args a) {
    int i = threadIdx.x;
    if (i < 7) {
        float4 v = reinterpret_cast<const float4*>(a.odd)[i]; // FAULT out_of_bounds
        a.out[i] = v.x + v.y + v.z + v.w;
    }
}

// <<<1, 64>>>
extern "C" __global__ void far_away(Args a) {
    const float* p = a.in + 100000000000ull * threadIdx.x;
    a.out[threadIdx.x] = *p; // FAULT out_of_bounds
}

// <<<1, 32>>>
extern "C" __global__ void null_pointer(Args a) {
    float* p = reinterpret_cast<float*>(static_cast<unsigned long long>(a.n - 1000));
    p[threadIdx.x] = 1.f; // FAULT out_of_bounds
}

// <<<1, 64>>>
extern "C" __global__ void between_allocations(Args a) {
    const float* p = threadIdx.x == 40 ? a.in + 1024 + 4096 : a.in;
    a.out[threadIdx.x] = *p; // FAULT out_of_bounds
}

// <<<1, 32>>>
extern "C" __global__ void module_variable(Args a) {
    table[threadIdx.x % 11] = a.in[threadIdx.x]; // FAULT out_of_bounds
}

// <<<1, 64>>>
extern "C" __global__ void static_shared(Args a) {
    __shared__ float first[60];
    __shared__ float second[64];
    second[threadIdx.x] = 0.f;
    first[threadIdx.x] = a.in[threadIdx.x]; // FAULT out_of_bounds
    __syncthreads();
    a.out[threadIdx.x] = first[59 - threadIdx.x % 60] + second[threadIdx.x];
}

// <<<1, 64, 252>>>
extern "C" __global__ void dynamic_shared(Args a) {
    extern __shared__ float values[];
    values[threadIdx.x] = a.in[threadIdx.x]; // FAULT out_of_bounds
    __syncthreads();
    a.out[threadIdx.x] = values[62 - threadIdx.x % 63];
}

// <<<1, 32>>>
extern "C" __global__ void local_memory(Args a) {
    float values[8];
    for (int k = 0; k < 8; k++) values[k] = a.in[k];
    int last = a.n - 1000 + threadIdx.x % 9;
    a.out[threadIdx.x] = values[last]; // FAULT out_of_bounds
}

// <<<1, 32>>>
extern "C" __global__ void atomic(Args a) {
    atomicAdd(a.zero + 1000 + threadIdx.x, 1u); // FAULT out_of_bounds
}

// <<<1, 32>>>
extern "C" __global__ void freed(Args a) {
    a.out[threadIdx.x] = a.freed[threadIdx.x]; // FAULT use_after_free
}

// <<<1, 32>>>
extern "C" __global__ void misaligned_word(Args a) {
    const char* p = reinterpret_cast<const char*>(a.in);
    a.out[threadIdx.x] = *reinterpret_cast<const float*>(p + 4 * threadIdx.x + (threadIdx.x == 9 ? 2 : 0)); // FAULT misaligned
}

// <<<1, 32>>>
extern "C" __global__ void misaligned_vector(Args a) {
    float4 v = *reinterpret_cast<const float4*>(a.in + 4 * threadIdx.x + 2); // FAULT misaligned
    a.out[threadIdx.x] = v.x + v.y + v.z + v.w;
}

// <<<1, 32>>>
extern "C" __global__ void misaligned_shared(Args a) {
    __shared__ __align__(16) char bytes[256];
    *reinterpret_cast<double*>(bytes + 4 + 4 * threadIdx.x) = 1.; // FAULT misaligned
    __syncwarp();
    a.out[threadIdx.x] = bytes[threadIdx.x];
}

__device__ __forceinline__ float element(const float* p, int i) {
    return p[i]; // FAULT out_of_bounds
}
__device__ __forceinline__ float neighbours(const float* p, int i) {
    return element(p, i) + element(p, i + 1);
}

// <<<1, 32>>>
extern "C" __global__ void through_inlined_functions(Args a) {
    a.out[threadIdx.x] = neighbours(a.odd, min(threadIdx.x, 24)); // CALLER
}
