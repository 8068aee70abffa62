// skinny_int8.cu — Y = X Wᵀ with fused epilogues, int8 weights with a scale per row, few rows (decoding, verification, choice trees).
//
// Shapes   X: [M, K] bf16    W: [N, K] int8, scale [N] f32    Y: bf16 or f32    LoRA: u [M, R], B [N, R] bf16, added inside the accumulators
// Traffic  W once per 8, 16, 32 or 64 rows of X, which is the time: N K bytes / bandwidth
// Numerics the bits of gemm_int8.cu (skinny_mainloop.cuh), whatever the bucket
// Launch   one block of 64 or 128 threads per 32 or 64 rows of W and bucket of tokens
#include "common/skinny_kernel.cuh"

#define SKINNY(name, Shape, Epilogue)                                                          \
    extern "C" __global__ void __launch_bounds__(Shape::kThreads) name(const Epilogue::Params p) { \
        skinny_kernel<Shape, Epilogue, 1>(p);                                                  \
    }
#define SKINNY_BUCKETS(name, Epilogue)     \
    SKINNY(name##_8, Skinny8, Epilogue)    \
    SKINNY(name##_16, Skinny16, Epilogue)  \
    SKINNY(name##_32, Skinny32, Epilogue)  \
    SKINNY(name##_64, Skinny64, Epilogue)

SKINNY_BUCKETS(skinny_int8_add, SkinnyAdd)
SKINNY_BUCKETS(skinny_int8_swiglu, SkinnySwiglu)
SKINNY_BUCKETS(skinny_int8_qkv, SkinnyQkv)
SKINNY_BUCKETS(skinny_int8_logits, SkinnyLogits)

extern "C" __global__ void __launch_bounds__(Skinny8::kThreads) head_some_int8(const HeadSomeParams p) {
    head_some_kernel<Skinny8, 1>(p);
}
