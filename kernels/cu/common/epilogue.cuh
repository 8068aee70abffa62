// epilogue.cuh — which row of which weight a tile's row is, and the arithmetic that every shape of product shares.
//
// Columns are handled in pairs (lo, hi) that one thread holds side by side: SwiGLU (gate f, up f), rotary embedding
// (i, i + D/2), plain (2p, 2p + 1). One definition serves gemm.cu and skinny.cu, so they agree to the bit.
#pragma once
#include "common/ptx.cuh"
#include "params.h"

// A row of one of the weights.
struct WeightRow {
    int weight;
    int row;
};

// A pair of adjacent columns of one weight.
struct PlainPairs {
    static __device__ __forceinline__ int count(const GemmParams& p) { return (p.n + 1) / 2; }
    static __device__ __forceinline__ WeightRow row(const GemmParams& p, int pair, int hi) {
        return {0, min(2 * pair + hi, p.n - 1)};
    }
};

// Gate and up of one feed-forward column.
struct GatePairs {
    static __device__ __forceinline__ int count(const GemmParams& p) { return p.n; }
    static __device__ __forceinline__ WeightRow row(const GemmParams&, int pair, int hi) { return {hi, pair}; }
};

// A pair of coordinates (i, i + D/2) of a head of q, k or v.
struct QkvColumn {
    int weight, head, within;

    __device__ __forceinline__ QkvColumn(const QkvParams& p, int pair) {
        const int half = p.head_dim / 2;
        weight = 0, head = pair / half, within = pair - head * half;
        carry(p);
    }
    __device__ __forceinline__ void next(const QkvParams& p) {
        if (++within == p.head_dim / 2) within = 0, head++, carry(p);
    }
    __device__ __forceinline__ void carry(const QkvParams& p) {
        if (weight == 0 && head >= p.heads) weight = 1, head -= p.heads;
        if (weight == 1 && head >= p.kv_heads) weight = 2, head -= p.kv_heads;
    }
    // Where the head's D values of a token go.
    __device__ __forceinline__ bf16* row(const QkvParams& p, i64 token, u32 slot) const {
        if (weight == 0) return reinterpret_cast<bf16*>(p.gemm.out) + token * p.gemm.ldo + static_cast<i64>(head) * p.head_dim;
        const i64 key = (static_cast<i64>(slot / 64) * p.kv_heads + head) * 64 + slot % 64;
        return reinterpret_cast<bf16*>(weight == 1 ? p.k_cache : p.v_cache) + key * p.head_dim;
    }
};

// The two coordinates that a rotation mixes; heads of q, then of k, then of v.
struct RopePairs {
    static __device__ __forceinline__ int count(const QkvParams& p) { return (p.heads + 2 * p.kv_heads) * (p.head_dim / 2); }
    static __device__ __forceinline__ WeightRow row(const QkvParams& p, int pair, int hi) {
        const QkvColumn at(p, pair);
        return {at.weight, at.head * p.head_dim + at.within + hi * (p.head_dim / 2)};
    }
};

// Selects instead of an index: a parameter array indexed at run time would be copied to local memory.
__device__ __forceinline__ const u8* weight_address(const GemmParams& p, WeightRow at, int bytes) {
    const u64 data = at.weight == 0 ? p.weights[0].data : at.weight == 1 ? p.weights[1].data : p.weights[2].data;
    const i64 ld = at.weight == 0 ? p.weights[0].ld : at.weight == 1 ? p.weights[1].ld : p.weights[2].ld;
    return reinterpret_cast<const u8*>(data) + at.row * ld * bytes;
}
__device__ __forceinline__ float weight_scale(const GemmParams& p, WeightRow at) {
    const u64 scale = at.weight == 0 ? p.weights[0].scale : at.weight == 1 ? p.weights[1].scale : p.weights[2].scale;
    return load_global(reinterpret_cast<const float*>(scale) + at.row);
}

// silu(gate) * up, silu(g) = g / (1 + exp(-g)).
__device__ __forceinline__ float swiglu(float gate, float up) {
    const float e = ex2(__fmul_rn(gate, -1.44269504088896340736f));
    return __fmul_rn(__fmul_rn(gate, rcp(__fadd_rn(1.0f, e))), up);
}

// (lo, hi) turned by the angle whose cosine and sine are given.
__device__ __forceinline__ void rotate(float& lo, float& hi, float cos, float sin) {
    const float a = __fmaf_rn(lo, cos, -__fmul_rn(hi, sin));
    hi = __fmaf_rn(hi, cos, __fmul_rn(lo, sin));
    lo = a;
}
