// Correct kernels that look like broken ones. Each checks its own result and traps where it is wrong.
#include "args.h"

__device__ __forceinline__ void expect(bool holds) {
    if (!holds) asm volatile("trap;");
}

// The counting block needs a fence before and none after; the last one resets the counter with a plain store.
// <<<6, 64>>>
extern "C" __global__ void last_block_reduces(Args a) {
    __shared__ bool last;
    a.out[blockIdx.x * 64 + threadIdx.x] = a.in[blockIdx.x];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(a.zero, 1u) == gridDim.x - 1;
    __syncthreads();
    if (last) {
        float sum = 0.f;
        for (int k = 0; k < gridDim.x; k++) sum += a.out[k * 64 + (threadIdx.x ^ 33)];
        expect(sum == 15.f);
        a.blank[threadIdx.x] = sum;
        if (threadIdx.x == 0) a.zero[0] = 0;
    }
}

// As above, with the fence in the counting thread only.
// <<<6, 64>>>
extern "C" __global__ void one_thread_fences(Args a) {
    __shared__ bool last;
    a.out[blockIdx.x * 64 + threadIdx.x] = a.in[blockIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(a.zero, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last) a.blank[threadIdx.x] = a.out[threadIdx.x] + a.out[320 + (threadIdx.x ^ 32)];
}

// A chain through global memory: each block waits for the one before.
// <<<4, 32>>>
extern "C" __global__ void blocks_in_a_chain(Args a) {
    unsigned* ready = a.zero + 512;
    float sum = a.in[blockIdx.x];
    if (blockIdx.x > 0) {
        while (load_acquire(ready + blockIdx.x - 1) == 0) {
        }
        sum += a.out[32 * (blockIdx.x - 1) + threadIdx.x];
    }
    a.out[32 * blockIdx.x + threadIdx.x] = sum;
    __syncwarp();
    if (threadIdx.x == 0) store_release(ready + blockIdx.x, 1);
    if (blockIdx.x == 3) expect(sum == 6.f);
}

// <<<2, 256>>>
extern "C" __global__ void histogram(Args a) {
    __shared__ unsigned bins[16];
    if (threadIdx.x < 16) bins[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&bins[threadIdx.x * 7 % 16], 1u);
    __syncthreads();
    if (threadIdx.x < 16) {
        expect(bins[threadIdx.x] == 16);
        atomicAdd(a.zero + threadIdx.x, bins[threadIdx.x]);
    }
}

// Two warps fill two buffers in turn, two others empty them: full and empty barriers of each.
// <<<1, 128>>>
extern "C" __global__ void producers_and_consumers(Args a) {
    __shared__ float buffer[2][64];
    int i = threadIdx.x % 64;
    if (threadIdx.x < 64) {
        for (int k = 0; k < 8; k++) {
            if (k >= 2) barrier_sync(3 + k % 2, 128);
            buffer[k % 2][i] = a.in[64 * k + i];
            barrier_arrive(1 + k % 2, 128);
        }
    } else {
        for (int k = 0; k < 8; k++) {
            barrier_sync(1 + k % 2, 128);
            float x = buffer[k % 2][63 - i];
            expect(x == 64 * k + 63 - i);
            a.out[64 * k + i] = x;
            if (k < 6) barrier_arrive(3 + k % 2, 128);
        }
    }
}

// <<<1, 96>>>
extern "C" __global__ void warps_reduce_in_shared_memory(Args a) {
    __shared__ float s[96];
    int lane = threadIdx.x % 32;
    s[threadIdx.x] = a.in[lane];
    __syncwarp();
    for (int step = 16; step > 0; step /= 2) {
        float x = lane < step ? s[threadIdx.x + step] : 0.f;
        __syncwarp();
        if (lane < step) s[threadIdx.x] += x;
        __syncwarp();
    }
    expect(s[threadIdx.x - lane] == 496.f);
    if (lane == 0) a.out[threadIdx.x] = s[threadIdx.x];
}

// Halves of a warp synchronise on their own.
// <<<1, 32>>>
extern "C" __global__ void halves_of_a_warp(Args a) {
    __shared__ float s[32];
    unsigned half = threadIdx.x < 16 ? 0xffffu : 0xffff0000u;
    s[threadIdx.x] = a.in[threadIdx.x];
    if (threadIdx.x < 16) {
        __syncwarp(half);
        a.out[threadIdx.x] = s[15 - threadIdx.x];
    } else {
        __syncwarp(half);
        a.out[threadIdx.x] = s[47 - threadIdx.x];
    }
    __syncwarp();
    expect(s[31 - threadIdx.x] == 31 - threadIdx.x);
}

// Three stages; the barrier before a stage is filled again is the one that publishes the next.
// <<<1, 64>>>
extern "C" __global__ void three_stages(Args a) {
    __shared__ __align__(16) float s[3][256];
    for (int k = 0; k < 2; k++) {
        copy_async(&s[k][4 * threadIdx.x], a.in + 256 * (k % 4) + 4 * threadIdx.x);
        copy_commit();
    }
    for (int k = 0; k < 8; k++) {
        copy_wait<1>();
        __syncthreads();
        if (k + 2 < 8) copy_async(&s[(k + 2) % 3][4 * threadIdx.x], a.in + 256 * ((k + 2) % 4) + 4 * threadIdx.x);
        copy_commit();
        float x = s[k % 3][255 - threadIdx.x];
        expect(x == 256 * (k % 4) + 255 - threadIdx.x);
        a.out[64 * k + threadIdx.x] = x;
    }
}

// Nothing is read past the end: these lanes' copies read no bytes and write zeros.
// <<<1, 32>>>
extern "C" __global__ void copies_fill_up_with_zeros(Args a) {
    __shared__ __align__(16) float s[128];
    int rest = 25 - 4 * static_cast<int>(threadIdx.x);
    copy_async_up_to(s + 4 * threadIdx.x, a.odd + 4 * threadIdx.x, rest <= 0 ? 0 : rest >= 4 ? 16 : 4 * rest);
    copy_commit();
    copy_wait<0>();
    __syncwarp();
    for (int k = threadIdx.x; k < 128; k += 32) {
        expect(s[k] == (k < 25 ? k : 0));
        a.out[k] = s[k];
    }
}

// Undefined values that no result depends on.
// <<<1, 32>>>
extern "C" __global__ void undefined_values_are_masked(Args a) {
    float x = a.blank[threadIdx.x];
    float y = threadIdx.x < 32 ? a.in[threadIdx.x] : x;
    y = a.n > 0 ? y : x * 2.f;
    a.out[threadIdx.x] = y;
}

// <<<1, 64>>>
extern "C" __global__ void all_store_the_same(Args a) {
    __shared__ float s;
    if (threadIdx.x < 32) s = a.in[5];
    __syncthreads();
    expect(s == 5.f);
    if (threadIdx.x < 32) a.out[7] = s;
}

// Each lane has two bytes of a word to itself.
// <<<1, 64>>>
extern "C" __global__ void halves_of_words(Args a) {
    __shared__ unsigned words[32];
    unsigned short* halves = reinterpret_cast<unsigned short*>(words);
    halves[threadIdx.x] = threadIdx.x;
    halves[threadIdx.x] = halves[threadIdx.x] * 2;
    __syncthreads();
    if (threadIdx.x < 32) {
        expect(words[threadIdx.x] == (4 * threadIdx.x | (4 * threadIdx.x + 2) << 16));
        a.zero[threadIdx.x] = words[threadIdx.x];
    }
}

// <<<1, 64>>>
extern "C" __global__ void lanes_leave_a_loop_one_by_one(Args a) {
    unsigned sum = 0;
    for (unsigned k = 0; k <= threadIdx.x % 32; k++) {
        sum += __popc(__ballot_sync(__activemask(), true));
    }
    expect(sum > 0);
    unsigned all = __reduce_add_sync(0xffffffffu, 1u);
    expect(all == 32);
    a.zero[threadIdx.x] = sum;
}

// Whole warps leave, and nobody waits for them.
// <<<3, 128>>>
extern "C" __global__ void warps_leave_early(Args a) {
    __shared__ float s[128];
    if (threadIdx.x >= 64) return;
    s[threadIdx.x] = a.in[threadIdx.x];
    barrier_sync(1, 64);
    a.out[64 * blockIdx.x + threadIdx.x] = s[63 - threadIdx.x];
}

// <<<1, 128>>>
extern "C" __global__ void transposes_padded(Args a) {
    __shared__ float s[32][33];
    int x = threadIdx.x % 32, y = threadIdx.x / 32;
    for (int k = y; k < 32; k += 4) s[k][x] = a.in[32 * k + x];
    __syncthreads();
    for (int k = y; k < 32; k += 4) {
        expect(s[x][k] == 32 * x + k);
        a.out[32 * k + x] = s[x][k];
    }
}

// The same memory for three purposes, a barrier between each.
// <<<1, 64>>>
extern "C" __global__ void reuses_memory(Args a) {
    __shared__ __align__(16) unsigned char s[512];
    float* floats = reinterpret_cast<float*>(s);
    floats[threadIdx.x] = a.in[threadIdx.x];
    __syncthreads();
    float x = floats[63 - threadIdx.x];
    __syncthreads();
    s[threadIdx.x] = static_cast<unsigned char>(x);
    __syncthreads();
    unsigned char y = s[63 - threadIdx.x];
    __syncthreads();
    reinterpret_cast<double*>(s)[threadIdx.x] = y;
    expect(y == threadIdx.x);
    a.out[threadIdx.x] = y;
}

// A flag in shared memory between two warps, ordered by fences.
// <<<1, 64>>>
extern "C" __global__ void flag_in_shared_memory(Args a) {
    __shared__ float value;
    __shared__ unsigned flag;
    volatile unsigned* look = &flag;
    if (threadIdx.x == 0) flag = 0;
    __syncthreads();
    if (threadIdx.x == 0) {
        value = a.in[9];
        __threadfence_block();
        *look = 1;
    }
    if (threadIdx.x == 32) {
        while (*look == 0) {
        }
        __threadfence_block();
        expect(value == 9.f);
        a.out[0] = value;
    }
}

// <<<1, 96>>>
extern "C" __global__ void counts_at_the_barrier(Args a) {
    int above = __syncthreads_count(a.in[threadIdx.x] > 40.f);
    expect(above == 55);
    expect(__syncthreads_or(threadIdx.x == 95) != 0);
    expect(__syncthreads_and(threadIdx.x < 95) == 0);
    a.zero[threadIdx.x] = above;
}

// <<<1, 32>>>
extern "C" __global__ void local_array(Args a) {
    float values[16];
    for (int k = 0; k < a.n - 984; k++) values[k] = a.in[k + threadIdx.x];
    float sum = 0.f;
    for (int k = 0; k < 16; k++) sum += values[(k * 5 + threadIdx.x) & 15];
    expect(sum == 120 + 16 * threadIdx.x);
    a.out[threadIdx.x] = sum;
}

// Eight rows of eight halves each, transposed by the load.
// <<<1, 32>>>
extern "C" __global__ void matrix_after_the_warp_is_in_step(Args a) {
    __shared__ __align__(16) unsigned short s[64];
    s[threadIdx.x] = threadIdx.x;
    s[threadIdx.x + 32] = threadIdx.x + 32;
    __syncwarp();
    unsigned x;
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(x)
                 : "r"(shared_address(s + 8 * (threadIdx.x % 8)))
                 : "memory");
    unsigned row = 2 * (threadIdx.x % 4), column = threadIdx.x / 4;
    expect(x == (8 * row + column | (8 * (row + 1) + column) << 16));
    a.zero[threadIdx.x] = x;
}

// A lock: the loser of the exchange tries again.
// <<<3, 32>>>
extern "C" __global__ void one_at_a_time(Args a) {
    unsigned* lock = a.zero + 256;
    if (threadIdx.x == 0) {
        while (atomicCAS(lock, 0u, 1u) != 0) {
        }
        __threadfence();
        a.zero[0] = a.zero[0] + 1;
        __threadfence();
        atomicExch(lock, 0u);
    }
}
