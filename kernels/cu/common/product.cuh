// product.cuh — acc += Σᵢ Aᵢ Bᵢᵀ for a tile, of operands that lie either way in memory.
//
// An operand is `outer` by what is summed over. It lies *along* where element (o, k) stands at o * ld + k, *across* where it
// stands at k * ld + o: then ldmatrix turns it on its way to the registers, and no transposed copy exists.
//
// Numerics one f32 accumulator per element takes mma.m16n8k16 steps in ascending k, term after term: the bits of an element
//          depend on its row of A and its row of B alone, not on the tile, and are those of gemm.cu and skinny.cu
// Shared   per stage 32 k of both operands: an along panel has rows of 64 bytes, an across panel 32 rows of its columns
// Edges    what lies beyond an operand is zero in shared memory and not read
#pragma once
#include "common/panel.cuh"
#include "params.h"

constexpr int kProductThreads = 128, kProductK = 32, kProductMemory = 48 * 1024;

// One operand's panel: kOuter rows or columns of it by 32 k.
template <int kOuter, bool kAcross>
struct ProductPanel {
    static constexpr int kRowBytes = 2 * (kAcross ? kOuter : kProductK), kRows = kAcross ? kProductK : kOuter;
    static constexpr int kBytes = kRowBytes * kRows, kChunks = kRowBytes / 16;
    static constexpr int kStep = kProductThreads / kChunks, kPasses = kRows / kStep;
    static_assert(kRows % kStep == 0, "every thread loads equally many chunks");
    const bf16* from; // this thread's first chunk
    i64 ld;
    int left; // across: bytes of the chunk that exist; along: rows of the operand from the thread's first on
    int k0;   // across: row of the thread's first chunk; along: first element of the chunk

    __device__ __forceinline__ ProductPanel(u64 data, i64 distance, int outer0, int outers) {
        const int chunk = threadIdx.x % kChunks * 8, row = threadIdx.x / kChunks;
        ld = distance;
        left = kAcross ? min(max(outers - outer0 - chunk, 0), 8) * 2 : outers - outer0 - row;
        k0 = kAcross ? row : chunk;
        from = reinterpret_cast<const bf16*>(data) + (kAcross ? row * ld + outer0 + chunk : (outer0 + row) * ld + chunk);
    }

    // Loads the 32 k from `first` on, of which those below `k` exist.
    __device__ __forceinline__ void load(u32 panel, int first, int k) const {
        const u32 to = panel + panel_offset<kRowBytes>(threadIdx.x / kChunks, threadIdx.x % kChunks);
        const int rest = k - first - k0;
        const bf16* at = from + (kAcross ? first * ld : first);
#pragma unroll
        for (int i = 0; i < kPasses; i++) {
            const int bytes = kAcross ? (i * kStep < rest ? left : 0) : (i * kStep < left ? min(max(rest, 0), 8) * 2 : 0);
            // Rows kStep apart have equal swizzles, since kStep is a multiple of the swizzle's period.
            cp_async_16(to + i * kStep * kRowBytes, at + i * kStep * ld, static_cast<u32>(bytes));
        }
    }
};

// kWarpsM x kWarpsN warps of (16 kM) x (16 kN) elements.
template <int kWarpsMCount, int kWarpsNCount, int kMCount, int kNCount>
struct ProductShape {
    static constexpr int kWarpsN = kWarpsNCount, kM = kMCount, kN = kNCount;
    static constexpr int kWarpM = 16 * kM, kWarpN = 16 * kN, kTileM = kWarpsMCount * kWarpM, kTileN = kWarpsNCount * kWarpN;
    static constexpr int kStage = (kTileM + kTileN) * kProductK * 2, kStages = kProductMemory / kStage;
    static_assert(kWarpsMCount * kWarpsNCount * 32 == kProductThreads, "all warps");
    using Acc = float[kM][2 * kN][4];
};

// A lane's ldmatrix address in the panel of A or B, of the warp whose part begins at `first`.
template <int kOuter, bool kAcross, bool kIsB>
__device__ __forceinline__ u32 product_lane(int first) {
    const u32 lane = threadIdx.x % 32;
    // Which half of the 16 outer elements and of the 16 k the lane's matrix is.
    const u32 outer = kIsB ? lane / 16 : lane / 8 % 2, k = kIsB ? lane / 8 % 2 : lane / 16;
    if constexpr (kAcross) return panel_offset<2 * kOuter>(k * 8 + lane % 8, first / 8 + outer);
    else return panel_offset<2 * kProductK>(first + outer * 8 + lane % 8, k);
}

// Step `step` (16 k) of the 16 outer elements number `tile` behind the lane's address.
template <int kOuter, bool kAcross>
__device__ __forceinline__ void product_fragment(u32 (&r)[4], u32 panel, u32 lane, int tile, int step) {
    if constexpr (kAcross) ldmatrix_x4_trans(r, panel + (lane ^ tile * 32) + step * 16 * 2 * kOuter);
    else ldmatrix_x4(r, panel + (lane ^ step * 32) + tile * 16 * 2 * kProductK);
}

// acc += A Bᵀ over k elements.
template <class Shape, bool kA, bool kB>
__device__ __forceinline__ void product_mainloop(typename Shape::Acc& acc, const ProductPanel<Shape::kTileM, kA>& a,
                                                 const ProductPanel<Shape::kTileN, kB>& b, int k, u32 shared) {
    constexpr u32 kPanelB = Shape::kTileM * kProductK * 2, kLast = (Shape::kStages - 1) * Shape::kStage;
    const int warp = threadIdx.x / 32;
    const u32 lane_a = product_lane<Shape::kTileM, kA, false>(warp / Shape::kWarpsN * Shape::kWarpM);
    const u32 lane_b = product_lane<Shape::kTileN, kB, true>(warp % Shape::kWarpsN * Shape::kWarpN);
    u32 reading = shared, writing = shared;
    int loaded = 0;
    auto load = [&] {
        if (loaded < k) {
            a.load(writing, loaded, k);
            b.load(writing + kPanelB, loaded, k);
        }
        loaded += kProductK;
        writing = writing == shared + kLast ? shared : writing + Shape::kStage;
        cp_async_commit();
    };

    __syncthreads(); // the term before has been read
#pragma unroll 1
    for (int s = 0; s < Shape::kStages - 1; s++) load();
#pragma unroll 1
    for (int first = 0; first < k; first += kProductK) {
        cp_async_wait<Shape::kStages - 2>();
        __syncthreads(); // the stage is there for all, and all have done with the one before
        load();
#pragma unroll
        for (int step = 0; step < 2; step++) {
            u32 x[Shape::kM][4];
#pragma unroll
            for (int i = 0; i < Shape::kM; i++) product_fragment<Shape::kTileM, kA>(x[i], reading, lane_a, i, step);
#pragma unroll
            for (int j = 0; j < Shape::kN; j++) {
                u32 w[4];
                product_fragment<Shape::kTileN, kB>(w, reading + kPanelB, lane_b, j, step);
#pragma unroll
                for (int i = 0; i < Shape::kM; i++) {
                    mma_bf16(acc[i][2 * j], x[i], w[0], w[1]);
                    mma_bf16(acc[i][2 * j + 1], x[i], w[2], w[3]);
                }
            }
        }
        reading = reading == shared + kLast ? shared : reading + Shape::kStage;
    }
}
