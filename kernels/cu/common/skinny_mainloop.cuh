// skinny_mainloop.cuh — acc += W Xᵀ for few rows of X: weights are operand A (m16), tokens operand B (n8).
//
// Traffic  W once per kTokens rows, in as many stages of 64 k as fit: what is under way hides latency without splitting K
// Numerics the same mma.m16n8k16 steps in ascending k as gemm_mainloop.cuh, products commuted: the same bits
// Shared   per stage 16 rows of W per warp, 128 bytes (bf16) or 64 (int8) each, and kTokens rows of X, swizzled (panel.cuh)
#pragma once
#include "common/panel.cuh"

constexpr int kSkinnyK = 64;

// kMemory: bytes of shared memory for the stages. kBytes: bytes of a weight, 2 for bf16, 1 for int8.
template <int kWarpCount, int kTokenCount, int kMemory>
struct SkinnyShape {
    static constexpr int kWarps = kWarpCount, kTokens = kTokenCount;
    static constexpr int kThreads = kWarps * 32, kRows = kWarps * 16;
    using X = PanelLoader<kTokens, kSkinnyK * 2, kThreads>;
    template <int kBytes>
    using W = PanelLoader<kRows, kSkinnyK * kBytes, kThreads>;
    using Acc = float[kTokens / 8][4];
    template <int kBytes>
    static constexpr int kStage = (kRows * kBytes + kTokens * 2) * kSkinnyK;
    template <int kBytes>
    static constexpr int kStages = kMemory / kStage<kBytes>;
};

// acc += W Xᵀ over the 64 k of the stage at `stage`.
template <class Shape, int kBytes>
__device__ __forceinline__ void skinny_stage(typename Shape::Acc& acc, u32 stage) {
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 w_row = panel_offset<kSkinnyK * kBytes>(warp * 16 + lane % 16, lane / 16);
    const u32 x_row = Shape::kRows * kSkinnyK * kBytes + panel_offset<128>(lane % 8, lane / 8);
    u32 a[4][4];
    if constexpr (kBytes == 2) {
#pragma unroll
        for (int step = 0; step < 4; step++) ldmatrix_x4(a[step], stage + (w_row ^ step * 32));
    } else {
        // One ldmatrix.x4 covers 16 rows of two steps; the lane's registers are a0 a2 and a1 a3 of each.
#pragma unroll
        for (int step = 0; step < 4; step += 2) {
            u32 raw[4];
            ldmatrix_x4(raw, stage + (w_row ^ step * 16));
#pragma unroll
            for (int s = 0; s < 2; s++) {
                int8_to_bf16(raw[2 * s], a[step + s][0], a[step + s][2]);
                int8_to_bf16(raw[2 * s + 1], a[step + s][1], a[step + s][3]);
            }
        }
    }
#pragma unroll
    for (int step = 0; step < 4; step += 2) {
#pragma unroll
        for (int j = 0; j < Shape::kTokens / 8; j++) {
            u32 b[4];
            ldmatrix_x4(b, stage + (x_row ^ step * 32) + j * 8 * 128);
            mma_bf16(acc[j], a[step], b[0], b[1]);
            mma_bf16(acc[j], a[step + 1], b[2], b[3]);
        }
    }
}

// acc += W Xᵀ over tile `tile` of 64 k, of which the first `left` exist, without a pipeline: the tail of K, and LoRA.
template <class Shape, int kBytes>
__device__ __forceinline__ void skinny_edge(typename Shape::Acc& acc, const typename Shape::X& x,
                                            const typename Shape::template W<kBytes>& w, int tile, int left, u32 shared) {
    __syncthreads(); // the last use of shared memory
    // An int8 chunk permutes its 16 k, so it is read whole; X is zero beyond k.
    w.load_edge(shared, tile, threadIdx.x, kBytes == 2 ? left * 2 : (left + 15) / 16 * 16);
    x.load_edge(shared + Shape::kRows * kSkinnyK * kBytes, tile, threadIdx.x, left * 2);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    skinny_stage<Shape, kBytes>(acc, shared);
}

// acc += W Xᵀ over k columns. `shared` is 128-byte aligned and of the shape's kMemory bytes.
template <class Shape, int kBytes>
__device__ __forceinline__ void skinny_mainloop(typename Shape::Acc& acc, const typename Shape::X& x,
                                                const typename Shape::template W<kBytes>& w, int k, u32 shared) {
    constexpr int kStage = Shape::template kStage<kBytes>, kStages = Shape::template kStages<kBytes>;
    const int tiles = k / kSkinnyK;
    int loaded = 0;
    u32 reading = shared, writing = shared;
    auto next = [&](u32 stage) { return stage == shared + (kStages - 1) * kStage ? shared : stage + kStage; };
    auto load = [&] {
        if (loaded < tiles) {
            w.load(writing, loaded);
            x.load(writing + Shape::kRows * kSkinnyK * kBytes, loaded);
        }
        loaded++;
        writing = next(writing);
        cp_async_commit();
    };

#pragma unroll 1
    for (int s = 0; s < kStages - 1; s++) load();
#pragma unroll 1
    for (int tile = 0; tile < tiles; tile++) {
        cp_async_wait<kStages - 2>();
        __syncthreads(); // the stage is there for all, and all have done with the one before
        load();
        skinny_stage<Shape, kBytes>(acc, reading);
        reading = next(reading);
    }
    if (k % kSkinnyK) skinny_edge<Shape, kBytes>(acc, x, w, tiles, k % kSkinnyK, shared);
}
