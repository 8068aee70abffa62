// cross_entropy.cu — loss of a row's logits against its target, and the logits turned into their gradient in place.
//
//   loss = max - z[target] + ln Σ exp(z - max); the ln is the host's
//   dz   = weight (softmax(z) - onehot(target)), bf16, in the first half of the row's memory
//
// Shapes   logits: [M, V] f32, dz: [M, V] bf16 with rows twice as far apart     out: [M, 2] f64
// Grid     a block per row
// Traffic  8 V bytes read, 2 V written per row, mostly from the second-level cache: rows are a chunk's
// Numerics f32; which thread sums which logits, and the tree of the sum, depend on V alone. The target is left out of the
//          sum: 1 - p of a target that is almost certain keeps its digits
#include "common/reduce.cuh"
#include "params.h"

constexpr int kThreads = 512, kPiece = kThreads * 4; // logits of a row that the block holds at a time
constexpr float kLog2E = 1.4426950408889634f;

static __device__ __forceinline__ float none() { return __uint_as_float(0xff800000u); }

// exp(z - max)
static __device__ __forceinline__ float weight(float z, float max) { return ex2(__fmul_rn(__fsub_rn(z, max), kLog2E)); }

// Logits c..c+3 of the row, of which those below `count` exist.
static __device__ __forceinline__ void load(float (&z)[4], const float* row, int c, int count) {
    if (c + 4 <= count) {
        const float4 v = *reinterpret_cast<const float4*>(row + c);
        z[0] = v.x, z[1] = v.y, z[2] = v.z, z[3] = v.w;
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) z[i] = c + i < count ? row[c + i] : none();
    }
}

extern "C" __global__ void __launch_bounds__(kThreads) cross_entropy(const CrossEntropyParams p) {
    __shared__ float scratch[2][kThreads / 32];
    const i64 row = blockIdx.x;
    float* logits = reinterpret_cast<float*>(p.logits) + row * p.ld;
    const int target = reinterpret_cast<const int*>(p.targets)[row], mine = threadIdx.x * 4;
    const float chosen = logits[target];

    float max = none(), rest = 0.0f;
    for (int c = mine; c < p.n; c += kPiece) {
        float z[4];
        load(z, logits, c, p.n);
        const float most = fmaxf(fmaxf(z[0], z[1]), fmaxf(z[2], z[3]));
        if (most > max) rest = __fmul_rn(rest, weight(max, most)), max = most;
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (c + i != target) rest = __fadd_rn(rest, weight(z[i], max));
    }
    const float own = max;
    max = warp_max(max);
    if (threadIdx.x % 32 == 0) scratch[0][threadIdx.x / 32] = max;
    __syncthreads();
#pragma unroll
    for (int w = 0; w < kThreads / 32; w++) max = fmaxf(max, scratch[0][w]);
    rest = block_sum<kThreads / 32>(__fmul_rn(rest, weight(own, max)), scratch[1]);
    const float hit = weight(chosen, max), sum = __fadd_rn(rest, hit);
    if (threadIdx.x == 0)
        reinterpret_cast<double2*>(p.out)[row] = make_double2(static_cast<double>(max) - static_cast<double>(chosen),
                                                              static_cast<double>(rest) + static_cast<double>(hit));
    if (!p.gradient) return;

    const float scale = __fdiv_rn(p.weight, sum);
    bf16* gradient = reinterpret_cast<bf16*>(logits);
    for (int start = 0; start < p.n; start += kPiece) {
        const int c = start + mine;
        float z[4];
        if (c < p.n) load(z, logits, c, p.n);
        __syncthreads(); // what is written now lies where this piece and those before were read
        if (c >= p.n) continue;
#pragma unroll
        for (int i = 0; i < 4; i++) z[i] = c + i == target ? -__fmul_rn(rest, scale) : __fmul_rn(weight(z[i], max), scale);
        if (c + 4 <= p.n) {
            *reinterpret_cast<uint2*>(gradient + c) = make_uint2(pack_bf16(z[0], z[1]), pack_bf16(z[2], z[3]));
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (c + i < p.n) gradient[c + i] = to_bf16(z[i]);
        }
    }
}
