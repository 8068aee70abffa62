// gemm_int8.cu — Y = X Wᵀ with fused epilogues, int8 weights with a scale per row, many rows.
//
// Shapes   X: [M, K] bf16    W: [N, K] int8, scale [N] f32    Y: bf16 or f32    LoRA: u [M, R], B [N, R] bf16, added inside the accumulators
// Work     2 M N K flops; 128x128 tiles; X and W tiles come once per tile through a multi-stage cp.async pipeline
// Numerics f32 accumulators, k ascending, no split of K: bits independent of M, N and the tile (gemm_mainloop.cuh)
// Launch   one block of 128 threads per tile, 48 KiB of shared memory
#include "common/gemm_kernel.cuh"

#define GEMM(name, Epilogue)                                                                        \
    extern "C" __global__ void __launch_bounds__(kGemmThreads, 2) name(const Epilogue::Params p) { \
        gemm_kernel<Epilogue, 1>(p);                                                               \
    }

GEMM(gemm_int8_add, GemmAdd)
GEMM(gemm_int8_swiglu, GemmSwiglu)
GEMM(gemm_int8_qkv, GemmQkv)
