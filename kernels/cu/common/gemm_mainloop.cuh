// gemm_mainloop.cuh — acc += X Wᵀ for a 128x128 tile: 4 warps of 64x64, stages of 32 k in 48 KiB.
//
// Numerics one f32 accumulator per element takes mma.m16n8k16 steps in ascending k: the bits of an element depend on its row
//          of X and its row of W alone, not on the tile, M, or N. skinny.cu keeps the same order.
// Shared   per stage 128 rows of X and 128 of W, 64 bytes (bf16) or 32 (int8) each, swizzled (panel.cuh)
// Pipeline fragments of step s+1 are read while step s multiplies; one barrier per 32 k
#pragma once
#include "common/panel.cuh"

constexpr int kGemmTile = 128, kGemmThreads = 128, kGemmK = 32, kGemmMemory = 48 * 1024;

// kBytes: bytes of a weight, 2 for bf16, 1 for int8.
template <int kBytes>
struct GemmShared {
    static constexpr int kX = kGemmTile * kGemmK * 2, kW = kGemmTile * kGemmK * kBytes, kStage = kX + kW;
    static constexpr int kStages = kGemmMemory / kStage; // 3 for bf16, 4 for int8
};
using XLoader = PanelLoader<kGemmTile, kGemmK * 2, kGemmThreads>;
template <int kBytes>
using WLoader = PanelLoader<kGemmTile, kGemmK * kBytes, kGemmThreads>;

// Accumulators of a warp: [m16 tile][n8 tile][the lane's four].
using GemmAcc = float[4][8][4];

template <int kBytes>
struct GemmFragments {
    u32 x[4][4];
    u32 w[8 * kBytes];

    // Step `step` (16 k) of the stage at `stage`; `x_row`, `w_row` are the lane's addresses of step 0 in stage 0.
    __device__ __forceinline__ void load(u32 x_row, u32 w_row, u32 stage, int step) {
#pragma unroll
        for (int i = 0; i < 4; i++) ldmatrix_x4(x[i], stage + (x_row ^ step * 32) + i * 16 * 64);
        constexpr int kRowsOfOne = kBytes == 2 ? 16 : 32; // rows of W behind one ldmatrix.x4
#pragma unroll
        for (int j = 0; j < 2 * kBytes; j++)
            ldmatrix_x4(reinterpret_cast<u32(&)[4]>(w[4 * j]), stage + (w_row ^ step * 16 * kBytes) + j * kRowsOfOne * kGemmK * kBytes);
    }

    __device__ __forceinline__ void multiply(GemmAcc& acc) const {
#pragma unroll
        for (int j = 0; j < 8; j++) {
            u32 b0, b1;
            if constexpr (kBytes == 2) b0 = w[2 * j], b1 = w[2 * j + 1];
            else int8_to_bf16(w[j], b0, b1);
#pragma unroll
            for (int i = 0; i < 4; i++) mma_bf16(acc[i][j], x[i], b0, b1);
        }
    }
};

// A lane's ldmatrix addresses in the stage at 0.
template <int kBytes>
struct GemmLane {
    u32 x_row, w_row;
    __device__ __forceinline__ GemmLane() {
        const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        x_row = panel_offset<64>(warp / 2 * 64 + lane % 16, lane / 16);
        w_row = GemmShared<kBytes>::kX + (kBytes == 2 ? panel_offset<64>(warp % 2 * 64 + lane / 16 * 8 + lane % 8, lane / 8 % 2)
                                                      : panel_offset<32>(warp % 2 * 64 + lane, 0));
    }
};

// acc += X Wᵀ over tile `tile` of 32 k, of which the first `left` exist, without a pipeline: the tail of K, and LoRA.
template <int kBytes>
__device__ __forceinline__ void gemm_edge(GemmAcc& acc, const XLoader& x, const WLoader<kBytes>& w, int tile, int left, u32 shared) {
    __syncthreads(); // the last use of shared memory
    x.load_edge(shared, tile, threadIdx.x, left * 2);
    // An int8 chunk permutes its 16 k, so it is read whole; X is zero beyond k.
    w.load_edge(shared + GemmShared<kBytes>::kX, tile, threadIdx.x, kBytes == 2 ? left * 2 : (left + 15) / 16 * 16);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    const GemmLane<kBytes> lane;
#pragma unroll
    for (int step = 0; step < 2; step++) {
        GemmFragments<kBytes> fragments;
        fragments.load(lane.x_row, lane.w_row, shared, step);
        fragments.multiply(acc);
    }
}

// acc += X Wᵀ over k columns. `shared` is 128-byte aligned and of kGemmMemory bytes.
template <int kBytes>
__device__ __forceinline__ void gemm_mainloop(GemmAcc& acc, const XLoader& x, const WLoader<kBytes>& w, int k, u32 shared) {
    using Shared = GemmShared<kBytes>;
    const GemmLane<kBytes> lane;
    const int tiles = k / kGemmK;
    int loaded = 0;
    auto load = [&](u32 stage) {
        if (loaded < tiles) {
            x.load(shared + stage, loaded);
            w.load(shared + stage + Shared::kX, loaded);
        }
        loaded++;
        cp_async_commit();
    };

#pragma unroll
    for (int s = 0; s < Shared::kStages - 1; s++) load(s * Shared::kStage);
    cp_async_wait<Shared::kStages - 2>();
    __syncthreads();

    GemmFragments<kBytes> fragments[2];
    u32 reading = 0, writing = (Shared::kStages - 1) * Shared::kStage;
    if (tiles) fragments[0].load(lane.x_row, lane.w_row, shared, 0);
#pragma unroll 1
    for (int tile = 0; tile < tiles; tile++) {
        fragments[1].load(lane.x_row, lane.w_row, shared + reading, 1);
        load(writing);
        writing = reading;
        fragments[0].multiply(acc);
        reading = reading == (Shared::kStages - 1) * Shared::kStage ? 0 : reading + Shared::kStage;
        cp_async_wait<Shared::kStages - 2>();
        __syncthreads();
        if (tile + 1 < tiles) fragments[0].load(lane.x_row, lane.w_row, shared + reading, 0);
        fragments[1].multiply(acc);
    }
    if (k % kGemmK) gemm_edge<kBytes>(acc, x, w, tiles, k % kGemmK, shared);
}
