// skinny_kernel.cuh — the kernel around skinny_mainloop.cuh: weight rows, int8 scales, LoRA, epilogues.
//
// A warp's 16 rows of W are 8 pairs: rows 0..7 are lo, 8..15 hi, so lane (g, t) holds both sides of pair g for tokens 2t, 2t+1.
#pragma once
#include "common/epilogue.cuh"
#include "common/skinny_mainloop.cuh"

__device__ __forceinline__ const GemmParams& gemm_of(const GemmParams& p) { return p; }
__device__ __forceinline__ const GemmParams& gemm_of(const QkvParams& p) { return p.gemm; }

// out = scale * acc, bf16
struct SkinnyStore {
    using Params = GemmParams;
    using Pairs = PlainPairs;
    static __device__ __forceinline__ void pair(const Params& p, i64 token, int pair, float lo, float hi) {
        bf16* to = reinterpret_cast<bf16*>(p.out) + token * p.ldo + 2 * pair;
        lo *= p.scale, hi *= p.scale;
        if (2 * pair + 1 < p.n && p.ldo % 2 == 0) *reinterpret_cast<u32*>(to) = pack_bf16(lo, hi);
        else {
            to[0] = to_bf16(lo);
            if (2 * pair + 1 < p.n) to[1] = to_bf16(hi);
        }
    }
};

// out += acc, f32
struct SkinnyAdd {
    using Params = GemmParams;
    using Pairs = PlainPairs;
    static __device__ __forceinline__ void pair(const Params& p, i64 token, int pair, float lo, float hi) {
        float* h = reinterpret_cast<float*>(p.out) + token * p.ldo + 2 * pair;
        if (2 * pair + 1 < p.n && p.ldo % 2 == 0) {
            float2 v = *reinterpret_cast<float2*>(h);
            v.x += lo, v.y += hi;
            *reinterpret_cast<float2*>(h) = v;
        } else {
            h[0] += lo;
            if (2 * pair + 1 < p.n) h[1] += hi;
        }
    }
};

// out = acc, f32
struct SkinnyLogits {
    using Params = GemmParams;
    using Pairs = PlainPairs;
    static __device__ __forceinline__ void pair(const Params& p, i64 token, int pair, float lo, float hi) {
        float* to = reinterpret_cast<float*>(p.out) + token * p.ldo + 2 * pair;
        if (2 * pair + 1 < p.n && p.ldo % 2 == 0) *reinterpret_cast<float2*>(to) = make_float2(lo, hi);
        else {
            to[0] = lo;
            if (2 * pair + 1 < p.n) to[1] = hi;
        }
    }
};

// out = silu(gate) * up, bf16
struct SkinnySwiglu {
    using Params = GemmParams;
    using Pairs = GatePairs;
    static __device__ __forceinline__ void pair(const Params& p, i64 token, int pair, float gate, float up) {
        reinterpret_cast<bf16*>(p.out)[token * p.ldo + pair] = to_bf16(swiglu(gate, up));
    }
};

// q, k turned and v as it is; q to out, k and v to the cache
struct SkinnyQkv {
    using Params = QkvParams;
    using Pairs = RopePairs;
    static __device__ __forceinline__ void pair(const Params& p, i64 token, int pair, float lo, float hi) {
        const int half = p.head_dim / 2;
        const QkvColumn at(p, pair);
        if (at.weight < 2) {
            const i64 angle = static_cast<i64>(reinterpret_cast<const u32*>(p.positions)[token]) * half + at.within;
            rotate(lo, hi, reinterpret_cast<const float*>(p.cos)[angle], reinterpret_cast<const float*>(p.sin)[angle]);
        }
        bf16* to = at.row(p, token, reinterpret_cast<const u32*>(p.slots)[token]) + at.within;
        store_global(to, to_bf16(lo));
        store_global(to + half, to_bf16(hi));
    }
};

template <class Shape, class Epilogue, int kBytes>
__device__ __forceinline__ void skinny_kernel(const typename Epilogue::Params& params) {
    using Pairs = typename Epilogue::Pairs;
    extern __shared__ __align__(128) u8 memory[];
    const GemmParams& p = gemm_of(params);
    const int pairs = Pairs::count(params), pair0 = blockIdx.x * (Shape::kRows / 2), token0 = blockIdx.y * Shape::kTokens;
    auto weight_row = [&](int r) { return Pairs::row(params, min(pair0 + r / 16 * 8 + r % 8, pairs - 1), r / 8 % 2); };

    typename Shape::Acc acc = {};
    {
        typename Shape::X x;
        typename Shape::template W<kBytes> w;
        x.start(threadIdx.x, [&](int r, bool&) {
            return reinterpret_cast<const bf16*>(p.x) + min(token0 + r, p.m - 1) * p.ldx;
        });
        w.start(threadIdx.x, [&](int r, bool&) { return weight_address(p, weight_row(r), kBytes); });
        skinny_mainloop<Shape, kBytes>(acc, x, w, p.k, shared_address(memory));
    }
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if constexpr (kBytes == 1) {
        const float lo = weight_scale(p, weight_row(warp * 16 + lane / 4)), hi = weight_scale(p, weight_row(warp * 16 + lane / 4 + 8));
#pragma unroll
        for (int j = 0; j < Shape::kTokens / 8; j++) acc[j][0] *= lo, acc[j][1] *= lo, acc[j][2] *= hi, acc[j][3] *= hi;
    }

    const LoraPart* parts = reinterpret_cast<const LoraPart*>(p.lora);
#pragma unroll 1
    for (int s = 0; s < p.lora_count; s++) {
        const LoraPart part = parts[s];
        if (part.row_end <= token0 || part.row_begin >= token0 + Shape::kTokens) continue;
        if (part.weight < weight_row(0).weight || part.weight > weight_row(Shape::kRows - 1).weight) continue;
        typename Shape::X x;
        typename Shape::template W<2> w;
        x.start(threadIdx.x, [&](int r, bool& live) {
            live = token0 + r >= part.row_begin && token0 + r < part.row_end;
            return reinterpret_cast<const bf16*>(part.u) + (live ? token0 + r : part.row_begin) * part.ldu;
        });
        w.start(threadIdx.x, [&](int r, bool& live) {
            const WeightRow at = weight_row(r);
            live = at.weight == part.weight;
            return reinterpret_cast<const bf16*>(part.b) + (live ? at.row : 0) * part.ldb;
        });
#pragma unroll 1
        for (int tile = 0; tile * kSkinnyK < part.rank; tile++)
            skinny_edge<Shape, 2>(acc, x, w, tile, min(part.rank - tile * kSkinnyK, kSkinnyK), shared_address(memory));
    }

    const int pair = pair0 + warp * 8 + lane / 4;
    if (pair >= pairs) return;
#pragma unroll
    for (int j = 0; j < Shape::kTokens / 8; j++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int token = token0 + j * 8 + lane % 4 * 2 + i;
            if (token < p.m) Epilogue::pair(params, token, pair, acc[j][i], acc[j][2 + i]);
        }
    }
}

// out[first + i] = x[row] · head[ids[first + i]]: one token, rows of the head by name.
template <class Shape, int kBytes>
__device__ __forceinline__ void head_some_kernel(const HeadSomeParams& p) {
    extern __shared__ __align__(128) u8 memory[];
    const HeadAsk ask = reinterpret_cast<const HeadAsk*>(p.ask)[blockIdx.y];
    const u32 id0 = blockIdx.x * Shape::kRows;
    if (id0 >= ask.count) return;
    auto id_of = [&](int r) { return reinterpret_cast<const u32*>(p.ids)[ask.first + min(id0 + r, ask.count - 1)]; };
    typename Shape::Acc acc = {};
    typename Shape::X x;
    typename Shape::template W<kBytes> w;
    x.start(threadIdx.x, [&](int, bool&) { // eight times the same token
        return reinterpret_cast<const bf16*>(p.x) + ask.row * p.ldx;
    });
    w.start(threadIdx.x, [&](int r, bool&) { return reinterpret_cast<const u8*>(p.head.data) + id_of(r) * p.head.ld * kBytes; });
    skinny_mainloop<Shape, kBytes>(acc, x, w, p.k, shared_address(memory));
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
    if (lane % 4) return; // token 0 is lane 4g's
#pragma unroll
    for (int side = 0; side < 2; side++) {
        const int r = row + 8 * side;
        if (id0 + r >= ask.count) continue;
        const float scale = kBytes == 1 ? reinterpret_cast<const float*>(p.head.scale)[id_of(r)] : 1.0f;
        reinterpret_cast<float*>(p.out)[ask.first + id0 + r] = kBytes == 1 ? acc[0][2 * side] * scale : acc[0][2 * side];
    }
}

// Two blocks fit 100 KiB of shared memory, of the last shape one. Table: kernels/src/table.rs.
using Skinny8 = SkinnyShape<2, 8, 45 * 1024>;
using Skinny16 = SkinnyShape<2, 16, 48 * 1024>;
using Skinny32 = SkinnyShape<4, 32, 48 * 1024>;
using Skinny64 = SkinnyShape<4, 64, 96 * 1024>;
