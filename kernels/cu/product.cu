// product.cu — out (=|+=) scale · Σᵢ Aᵢ Bᵢᵀ: the products of training.
//
//   linear     y  = Σ xᵢ Wᵢᵀ    x along,  W along     LoRA is a second term: [x | u] · [W | B]ᵀ
//   linear_dx  dx = Σ dyᵢ Wᵢ    dy along, W across    [dy | du] · [W ; A]
//   linear_dw  dw += dyᵀ x      dy across, x across   rows in order, in slices of fixed length where there are few outputs
//
// Shapes   A: [m, k] or [k, m] bf16    B: [n, k] or [k, n] bf16    out: [m, n] bf16 or f32
// Work     2 m n Σk flops; 128x128 tiles, 64x32 where n is a LoRA rank, 32x128 where m is
// Traffic  an operand once per tile through a multi-stage cp.async pipeline
// Numerics product.cuh; a sum that is added to `out` is added once
// Launch   a block of 128 threads per tile and slice, 48 KiB of shared memory
#include "common/product.cuh"
#include "common/raster.cuh"

// The term by selects: a parameter array indexed at run time would be copied to local memory.
static __device__ __forceinline__ ProductTerm term_of(const ProductParams& p, int index) {
    ProductTerm term = p.terms[0];
#pragma unroll
    for (int i = 1; i < 6; i++)
        if (i == index) term = p.terms[i];
    return term;
}

// Two neighbouring columns of a row, of which the second may not exist.
static __device__ __forceinline__ void put(const ProductParams& p, i64 at, float lo, float hi, bool both) {
    lo = lo * p.scale, hi = hi * p.scale;
    if (p.output == 0) {
        bf16* out = reinterpret_cast<bf16*>(p.out) + at;
        if (both && p.ldo % 2 == 0) *reinterpret_cast<u32*>(out) = pack_bf16(lo, hi);
        else {
            out[0] = to_bf16(lo);
            if (both) out[1] = to_bf16(hi);
        }
        return;
    }
    float* out = reinterpret_cast<float*>(p.out) + at;
    if (both && p.ldo % 2 == 0) {
        float2 v = make_float2(lo, hi);
        if (p.output == 2) {
            const float2 old = *reinterpret_cast<float2*>(out);
            v = make_float2(__fadd_rn(old.x, lo), __fadd_rn(old.y, hi));
        }
        *reinterpret_cast<float2*>(out) = v;
    } else {
        out[0] = p.output == 2 ? __fadd_rn(out[0], lo) : lo;
        if (both) out[1] = p.output == 2 ? __fadd_rn(out[1], hi) : hi;
    }
}

template <class Shape, bool kA, bool kB>
static __device__ __forceinline__ void product(const ProductParams& p) {
    extern __shared__ __align__(128) u8 memory[];
    const int2 tile = gemm_tile((p.m + Shape::kTileM - 1) / Shape::kTileM, (p.n + Shape::kTileN - 1) / Shape::kTileN);
    const int row0 = tile.x * Shape::kTileM, column0 = tile.y * Shape::kTileN;
    typename Shape::Acc acc = {};
#pragma unroll 1
    for (int s = 0; s < p.term_count; s++) {
        const ProductTerm term = term_of(p, s);
        // The block's slice of the summed elements.
        const int first = blockIdx.y * p.slice, k = min(term.k - first, p.slice);
        const ProductPanel<Shape::kTileM, kA> a(term.a + 2 * (kA ? first * term.lda : first), term.lda, row0, p.m);
        const ProductPanel<Shape::kTileN, kB> b(term.b + 2 * (kB ? first * term.ldb : first), term.ldb, column0, p.n);
        product_mainloop<Shape, kA, kB>(acc, a, b, k, shared_address(memory));
    }
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = row0 + warp / Shape::kWarpsN * Shape::kWarpM + lane / 4;
    const int column = column0 + warp % Shape::kWarpsN * Shape::kWarpN + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 2 * Shape::kM; i++) {
        if (row + i * 8 >= p.m) continue;
        const i64 at = (static_cast<i64>(blockIdx.y) * p.m + row + i * 8) * p.ldo;
#pragma unroll
        for (int j = 0; j < 2 * Shape::kN; j++) {
            const int c = column + j * 8;
            if (c < p.n) put(p, at + c, acc[i / 2][j][i % 2 * 2], acc[i / 2][j][i % 2 * 2 + 1], c + 1 < p.n);
        }
    }
}

using Square = ProductShape<2, 2, 4, 4>; // 128 x 128
using Tall = ProductShape<4, 1, 1, 2>;   // 64 x 32
using Wide = ProductShape<1, 4, 2, 2>;   // 32 x 128

#define PRODUCT(name, Shape, across_a, across_b)                                                \
    extern "C" __global__ void __launch_bounds__(kProductThreads, 2) name(const ProductParams p) { \
        product<Shape, across_a, across_b>(p);                                                  \
    }

PRODUCT(linear, Square, false, false)
PRODUCT(linear_tall, Tall, false, false)
PRODUCT(linear_dx, Square, false, true)
PRODUCT(linear_dx_tall, Tall, false, true)
PRODUCT(linear_dw, Square, true, true)
PRODUCT(linear_dw_tall, Tall, true, true)
PRODUCT(linear_dw_wide, Wide, true, true)

// out += Σ slices in order, [m, n] dense.
extern "C" __global__ void __launch_bounds__(256) add_slices(const AddSlicesParams p) {
    const i64 i = static_cast<i64>(blockIdx.x) * 256 + threadIdx.x;
    if (i >= p.count) return;
    const float* slices = reinterpret_cast<const float*>(p.slices) + i;
    float* out = reinterpret_cast<float*>(p.out) + i;
    float sum = 0.0f;
    for (int s = 0; s < p.slice_count; s++) sum = __fadd_rn(sum, slices[s * p.count]);
    *out = __fadd_rn(*out, sum);
}
