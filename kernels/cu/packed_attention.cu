// packed_attention.cu — o = softmax(q kᵀ / sqrt(D) + mask) v of packed examples, and the log of each softmax's denominator.
//
// Shapes   q, o : [T, H, D] bf16     k, v : [T, G, D] bf16     lse : [T, H] f32     D even, at most the kernel's
// Grid     (heads fastest, items): an item is 64 rows of an example, 32 if D > 128 (kernels/src/packed_work.rs)
// Traffic  per block: q and o once, k and v of the blocks its rows see once
// Numerics scores, weights and sums as in attention.cuh, in one online softmax; lse to 2^-20 relative to max(1, |lse|)
#include "packed_attention.cuh"

namespace packed {

template <int kD>
__device__ __forceinline__ void forward(const PackedAttentionParams& p) {
    using T = Tile<kD>;
    constexpr int kTiles = T::kColumns / 8;
    extern __shared__ __align__(128) u8 dynamic[];
    const u32 head = blockIdx.x % p.heads, kv_head = head / (p.heads / p.kv_heads);
    const PackedItem item = reinterpret_cast<const PackedItem*>(p.items)[blockIdx.x / p.heads];
    const Head q(p.q, p.ldq, item, head * p.head_dim);
    const Head k(p.k, p.ldk, item, kv_head * p.head_dim), v(p.v, p.ldk, item, kv_head * p.head_dim);
    const u32 last = min(item.first + T::kRows, item.length) - 1;  // row
    const u32 queries = shared_address(dynamic), keys = queries + T::kBytesQ, values = keys + T::kBytesKv;

    const Span all = {met<false>(p, item.length, item.first).start, last + 1};
    const Span whole = {met<false>(p, item.length, last).start, item.first + 1};  // every row sees these
    u32 block = all.start / kBlock;
    copy_rows<kD, T::kRows>(queries, q, item.first, item.length, p.head_dim);
    copy_rows<kD, kBlock>(keys, k, block * kBlock, item.length, p.head_dim);
    cp_async_commit();

    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 row = warp / T::kParts * 16, part = warp % T::kParts;  // the warp's rows and columns
    const bool busy = item.first + row <= last;
    Seen seen[2];
    lanes_span<false>(seen, p, item.length, item.first + row);
    Running<kTiles> running;
    running.clear();
    const auto step = [] {
        cp_async_wait<0>();
        __syncthreads();
    };
    for (; block * kBlock < all.end; block++) {
        const u32 low = block * kBlock;
        float s[8][4];
        step();
        copy_rows<kD, kBlock>(values, v, low, item.length, p.head_dim);
        cp_async_commit();
        if (busy) {
            scores(s, Queries<kD>{queries + row * T::kStride + left<kD>()}, 0, keys + right_along<kD>());
            if (low < whole.start || low + kBlock > whole.end) attention::mask(s, seen, low);
            running.weigh(s, p.scale);
        }
        step();
        if (low + kBlock < all.end) copy_rows<kD, kBlock>(keys, k, low + kBlock, item.length, p.head_dim);
        cp_async_commit();
        if (busy) add<kD>(running.o, s, values + left<kD>() + part * kTiles * 16);
    }
    running.reduce();
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 i = item.first + row + lane / 4 + r * 8;
        if (i > last) break;
        const i64 token = static_cast<i64>(item.start) + i;
        const float by = attention::inverse(running.sum[r]);
        bf16* o = reinterpret_cast<bf16*>(p.o) + token * p.ldq + head * p.head_dim;
#pragma unroll
        for (int n = 0; n < kTiles; n++) {
            const int column = (part * kTiles + n) * 8 + lane % 4 * 2;
            if (column < p.head_dim)
                *reinterpret_cast<u32*>(o + column) = pack_bf16(running.o[n][2 * r] * by, running.o[n][2 * r + 1] * by);
        }
        if (lane % 4 == 0 && part == 0)
            reinterpret_cast<float*>(p.lse)[token * p.heads + head] =
                __fmul_rn(__fmaf_rn(running.max[r], p.scale, lg2(running.sum[r])), kLn2);
    }
}

}  // namespace packed

#define FORWARD(D)                                                                                                      \
    extern "C" __global__ void __launch_bounds__(packed::kThreads, 2) packed_attention_##D(const PackedAttentionParams p) { \
        packed::forward<D>(p);                                                                                          \
    }
FORWARD(16)
FORWARD(64)
FORWARD(128)
FORWARD(256)
