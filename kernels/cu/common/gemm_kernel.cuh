// gemm_kernel.cuh — the kernel around gemm_mainloop.cuh: raster, weight rows, int8 scales, LoRA, epilogues.
//
// A warp's 64 columns are 8 n8 tiles. Which weight row goes to which tile row is free, so it is chosen such that a thread's
// values of neighbouring tiles are neighbours in memory: 16-byte stores straight from the accumulators, whole sectors.
#pragma once
#include "common/epilogue.cuh"
#include "common/gemm_mainloop.cuh"
#include "common/raster.cuh"

// Tile row r (n8 tile e = r / 8 of its warp, column c = r % 8) to pair and side. Thread t of a quad owns columns 2t, 2t+1.
// Pairs whose sides lie apart, kRun adjacent ones per thread: tiles 0..3 are lo, 4..7 hi.
template <int kRun>
struct SplitPairs {
    static constexpr int kTiles = kRun / 2;
    static __device__ __forceinline__ int pair(int r) {
        return r / 64 * 32 + r / 8 % 4 / kTiles * (4 * kRun) + r % 8 / 2 * kRun + r / 8 % kTiles * 2 + r % 2;
    }
    static __device__ __forceinline__ int hi(int r) { return r / 32 % 2; }
};
// Adjacent columns, kRun of them per thread: 8 for bf16, 4 for f32.
template <int kRun>
struct AdjacentPairs {
    static constexpr int kTiles = kRun / 2;
    static __device__ __forceinline__ int pair(int r) {
        return (r / 64 * 64 + r / 8 % 8 / kTiles * (4 * kRun) + r % 8 / 2 * kRun + r / 8 % kTiles * 2) / 2;
    }
    static __device__ __forceinline__ int hi(int r) { return r % 2; }
};

__device__ __forceinline__ const GemmParams& gemm_of(const GemmParams& p) { return p; }
__device__ __forceinline__ const GemmParams& gemm_of(const QkvParams& p) { return p.gemm; }

// Stores kRun adjacent bf16, of which `count` exist, at p; `wide` if p is 16-byte aligned.
__device__ __forceinline__ void store_run(bf16* p, const float (&v)[8], int count, bool wide) {
    if (wide && count >= 8) {
        *reinterpret_cast<uint4*>(p) =
            make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (i < count) p[i] = to_bf16(v[i]);
    }
}

// out = scale * acc, bf16
struct GemmStore {
    using Params = GemmParams;
    using Pairs = PlainPairs;
    using Map = AdjacentPairs<8>;
    static __device__ __forceinline__ void row(const Params& p, i64 token, int column0, const float (&acc)[8][2]) {
        const int t = threadIdx.x % 4;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int n = column0 + half * 32 + t * 8;
            float v[8];
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] = acc[half * 4 + i / 2][i % 2] * p.scale;
            store_run(reinterpret_cast<bf16*>(p.out) + token * p.ldo + n, v, p.n - n, p.ldo % 8 == 0);
        }
    }
};

// out += acc, f32
struct GemmAdd {
    using Params = GemmParams;
    using Pairs = PlainPairs;
    using Map = AdjacentPairs<4>;
    static __device__ __forceinline__ void row(const Params& p, i64 token, int column0, const float (&acc)[8][2]) {
        const int t = threadIdx.x % 4;
        const bool wide = p.ldo % 4 == 0;
#pragma unroll
        for (int q = 0; q < 4; q++) {
            const int n = column0 + q * 16 + t * 4;
            float* h = reinterpret_cast<float*>(p.out) + token * p.ldo + n;
            if (wide && n + 4 <= p.n) {
                float4 v = *reinterpret_cast<float4*>(h);
                v.x += acc[2 * q][0], v.y += acc[2 * q][1], v.z += acc[2 * q + 1][0], v.w += acc[2 * q + 1][1];
                *reinterpret_cast<float4*>(h) = v;
            } else {
#pragma unroll
                for (int i = 0; i < 4; i++)
                    if (n + i < p.n) h[i] += acc[2 * q + i / 2][i % 2];
            }
        }
    }
};

// out = silu(gate) * up, bf16
struct GemmSwiglu {
    using Params = GemmParams;
    using Pairs = GatePairs;
    using Map = SplitPairs<8>;
    static __device__ __forceinline__ void row(const Params& p, i64 token, int column0, const float (&acc)[8][2]) {
        const int n = column0 / 2 + threadIdx.x % 4 * 8;
        float v[8];
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = swiglu(acc[i / 2][i % 2], acc[4 + i / 2][i % 2]);
        store_run(reinterpret_cast<bf16*>(p.out) + token * p.ldo + n, v, p.n - n, p.ldo % 8 == 0);
    }
};

// q, k turned and v as it is; q to out, k and v to the cache
struct GemmQkv {
    using Params = QkvParams;
    using Pairs = RopePairs;
    using Map = SplitPairs<4>; // four angles are 16 bytes
    static __device__ __forceinline__ void row(const Params& p, i64 token, int column0, const float (&acc)[8][2]) {
        const int half = p.head_dim / 2, pairs = RopePairs::count(p);
        const u32 slot = reinterpret_cast<const u32*>(p.slots)[token];
        const i64 angles = static_cast<i64>(reinterpret_cast<const u32*>(p.positions)[token]) * half;
        const float* cosines = reinterpret_cast<const float*>(p.cos) + angles;
        const float* sines = reinterpret_cast<const float*>(p.sin) + angles;
#pragma unroll
        for (int run = 0; run < 2; run++) {
            const int first = column0 / 2 + run * 16 + threadIdx.x % 4 * 4;
            if (first >= pairs) continue;
            QkvColumn at(p, first);
            float lo[4], hi[4];
#pragma unroll
            for (int i = 0; i < 4; i++) lo[i] = acc[run * 2 + i / 2][i % 2], hi[i] = acc[4 + run * 2 + i / 2][i % 2];
            if (half % 4 == 0 && p.gemm.ldo % 4 == 0) { // four pairs of one head
                if (at.weight < 2) {
                    const float4 cos = *reinterpret_cast<const float4*>(cosines + at.within);
                    const float4 sin = *reinterpret_cast<const float4*>(sines + at.within);
                    rotate(lo[0], hi[0], cos.x, sin.x), rotate(lo[1], hi[1], cos.y, sin.y);
                    rotate(lo[2], hi[2], cos.z, sin.z), rotate(lo[3], hi[3], cos.w, sin.w);
                }
                bf16* to = at.row(p, token, slot) + at.within;
                store_global(to, pack_bf16(lo[0], lo[1]), pack_bf16(lo[2], lo[3]));
                store_global(to + half, pack_bf16(hi[0], hi[1]), pack_bf16(hi[2], hi[3]));
            } else {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    if (first + i >= pairs) break;
                    if (at.weight < 2) rotate(lo[i], hi[i], cosines[at.within], sines[at.within]);
                    bf16* to = at.row(p, token, slot) + at.within;
                    store_global(to, to_bf16(lo[i]));
                    store_global(to + half, to_bf16(hi[i]));
                    at.next(p);
                }
            }
        }
    }
};

template <class Epilogue, int kBytes>
__device__ __forceinline__ void gemm_kernel(const typename Epilogue::Params& params) {
    using Pairs = typename Epilogue::Pairs;
    using Map = typename Epilogue::Map;
    extern __shared__ __align__(128) u8 memory[];
    const GemmParams& p = gemm_of(params);
    const int pairs = Pairs::count(params);
    const int2 tile = gemm_tile((p.m + kGemmTile - 1) / kGemmTile, (pairs + kGemmTile / 2 - 1) / (kGemmTile / 2));
    const int row0 = tile.x * kGemmTile, pair0 = tile.y * (kGemmTile / 2);
    auto weight_row = [&](int r) { return Pairs::row(params, min(pair0 + Map::pair(r), pairs - 1), Map::hi(r)); };

    GemmAcc acc = {};
    {
        XLoader x;
        WLoader<kBytes> w;
        x.start(threadIdx.x, [&](int r, bool&) {
            return reinterpret_cast<const bf16*>(p.x) + min(row0 + r, p.m - 1) * p.ldx;
        });
        w.start(threadIdx.x, [&](int r, bool&) {
            return weight_address(p, weight_row(r), kBytes);
        });
        gemm_mainloop<kBytes>(acc, x, w, p.k, shared_address(memory));
    }
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if constexpr (kBytes == 1) {
#pragma unroll
        for (int j = 0; j < 16; j++) {
            const float scale = weight_scale(p, weight_row(warp % 2 * 64 + j / 2 * 8 + lane % 4 * 2 + j % 2));
#pragma unroll
            for (int i = 0; i < 4; i++) acc[i][j / 2][j % 2] *= scale, acc[i][j / 2][2 + j % 2] *= scale;
        }
    }

    const LoraPart* parts = reinterpret_cast<const LoraPart*>(p.lora);
#pragma unroll 1
    for (int s = 0; s < p.lora_count; s++) {
        const LoraPart part = parts[s];
        if (part.row_end <= row0 || part.row_begin >= row0 + kGemmTile) continue;
        if (part.weight < weight_row(0).weight || part.weight > weight_row(kGemmTile - 1).weight) continue;
        XLoader x;
        WLoader<2> w;
        x.start(threadIdx.x, [&](int r, bool& live) {
            live = row0 + r >= part.row_begin && row0 + r < part.row_end;
            return reinterpret_cast<const bf16*>(part.u) + (live ? row0 + r : part.row_begin) * part.ldu;
        });
        w.start(threadIdx.x, [&](int r, bool& live) {
            const WeightRow at = weight_row(r);
            live = at.weight == part.weight;
            return reinterpret_cast<const bf16*>(part.b) + (live ? at.row : 0) * part.ldb;
        });
#pragma unroll 1
        for (int tile = 0; tile * kGemmK < part.rank; tile++)
            gemm_edge<2>(acc, x, w, tile, min(part.rank - tile * kGemmK, kGemmK), shared_address(memory));
    }

#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int token = row0 + warp / 2 * 64 + i / 2 * 16 + i % 2 * 8 + lane / 4;
        if (token >= p.m) continue;
        float row[8][2];
#pragma unroll
        for (int j = 0; j < 8; j++) row[j][0] = acc[i / 2][j][i % 2 * 2], row[j][1] = acc[i / 2][j][i % 2 * 2 + 1];
        Epilogue::row(params, token, 2 * pair0 + warp % 2 * 64, row);
    }
}
