// attention.cuh — a tile of flash attention: up to 64 rows of one kv head against blocks of keys, online softmax.
//
// Rows     the query heads of a kv head, token by token: packed row r is head r % (H/G) of token r / (H/G), so one token
//          of a group fills several rows of m16, and all rows of a tile read the same keys and values.
// Keys     in blocks of 64 at absolute positions (a block is a page), in splits of 256. A split starts afresh; splits are
//          merged in ascending order by `merge_*`. The prompt kernel merges in registers, the split kernel leaves partials
//          for attention_combine: the same operations on the same numbers, so a row has the same bits either way.
// Masks    a row sees positions [start, end). Blocks that every row of the tile sees whole are not masked. A key that no
//          row of the tile sees is not read: zeros stand for it, so whatever lies there (NaN, too) cannot get into a sum.
//          A value that is not finite, once a row of the tile sees it, does reach the tile's other rows (0 * NaN).
//          To a row, a block or split that it does not see is an exact identity.
// Trees    a node of a tree gets tiles of its own for the keys from `base` on: they are gathered from the slots of its
//          ancestors, in order of position, so the node computes the bits of a causal row.
// Pipeline K0 V0 K1 V1 ... through a ring of kStages buffers: one wait, one barrier, one copy ahead per step.
// Numerics f32 scores, maxima, sums and outputs; weights are bf16 in the second product. Contraction into fma is spelled
//          out, because the two kernels must agree.
#pragma once
#include "common/ptx.cuh"
#include "params.h"

namespace attention {

constexpr int kThreads = 128;
constexpr u32 kBlock = 64;       // keys per block and per page
constexpr u32 kSplitBlocks = 4;  // blocks per split
__device__ __forceinline__ float none() { return __uint_as_float(0xff800000u); }  // -inf: the maximum of no scores

// A matrix of kD bf16 columns in shared memory. Its 16-byte chunks are exchanged within groups of kGroup so that eight
// rows of one column of chunks, and eight chunks of one copy, lie in different banks.
template <int kD>
struct Tile {
    static constexpr int kChunks = kD / 8;
    static constexpr int kGroup = kChunks % 8 == 0 ? 8 : kChunks % 4 == 0 ? 4 : 2;
    static constexpr u32 kStride = kD * 2;  // bytes
    static constexpr int kParts = kD > 128 ? 2 : 1;  // warps that share 16 rows, each with its columns of the output
    static constexpr int kRows = 64 / kParts;
    static constexpr int kColumns = kD / kParts;
    static constexpr u32 kBytesQ = kRows * kStride;
    static constexpr u32 kBytesKv = kBlock * kStride;

    // What the chunk's place within its group is exchanged with; depends on row % 8 alone.
    static __device__ __forceinline__ u32 exchange(u32 row) { return (row & 7) / (8 / kGroup); }
    // Byte offset of a chunk.
    static __device__ __forceinline__ u32 at(u32 row, u32 chunk) { return row * kStride + (chunk ^ exchange(row)) * 16; }
    // From the address of chunk 0 or 1 of a row to that of the chunk an even number of chunks further.
    static __device__ __forceinline__ u32 along(u32 address, int chunks) {
        constexpr int kSpan = kGroup * 16;
        return (address ^ (chunks * 16 & (kSpan - 1))) + (chunks * 16 & ~(kSpan - 1));
    }
};

// Copies the chunk of `count` bf16 (0 to 8; the rest becomes zero) to `shared`. Rows of a head dim that is not a multiple of 8 lie
// at multiples of 4 bytes only.
__device__ __forceinline__ void copy_chunk(u32 shared, const bf16* global, int count, bool wide) {
    const int bytes = 2 * min(max(count, 0), 8);
    if (wide) {
        cp_async_16(shared, global, bytes);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool some = 4 * i < bytes;
            cp_async_4(shared + 4 * i, global + (some ? 2 * i : 0), some ? 4 : 0);
        }
    }
}

// What a thread needs to know of its two rows: they see `length` positions from `start` on.
struct Seen {
    u32 start[2];
    u32 length[2];
};

// Copies of the tile's keys and values, one step (K or V of a block) at a time.
template <int kD>
struct Loader {
    using T = Tile<kD>;
    static constexpr int kRowStep = kThreads / T::kGroup;

    const AttentionParams& p;
    const AttentionItem& item;
    const u8* ancestors;  // offsets of the tree node's ancestors, in order of position
    u32 block;            // next to be issued
    u32 page;             // of the block

    __device__ __forceinline__ Loader(const AttentionParams& p, const AttentionItem& item, const u8* ancestors)
        : p(p), item(item), ancestors(ancestors), block(item.block_begin), page(number(item.block_begin)) {}

    __device__ __forceinline__ u32 number(u32 block) const {
        return reinterpret_cast<const u32*>(p.pages)[item.pages + block];
    }
    // First element of the head's part of a page.
    __device__ __forceinline__ i64 head(u32 page) const {
        return (static_cast<i64>(page) * p.kv_heads + item.head) * kBlock * p.head_dim;
    }

    // Issues the next block's keys, or after them its values, into `buffer`, if there is one.
    template <bool kValues>
    __device__ __forceinline__ void issue(u32 buffer) {
        const u32 low = block * kBlock;
        if (block < item.block_end) {
            const bf16* from = reinterpret_cast<const bf16*>(kValues ? p.v : p.k);
            const bool gather = item.tree != 0 && low + kBlock > item.base;
            const u32 row = threadIdx.x / T::kGroup, chunk = threadIdx.x % T::kGroup;
            buffer += T::at(row, chunk);
            const i64 first = head(page);
            if (p.head_dim == kD && !gather && low >= item.key_begin && low + kBlock <= item.key_end) {
                from += first + row * kD + chunk * 8;
#pragma unroll
                for (int i = 0; i < kBlock / kRowStep; i++)
#pragma unroll
                    for (int j = 0; j < T::kChunks / T::kGroup; j++)
                        cp_async_16(buffer + i * kRowStep * T::kStride + j * T::kGroup * 16,
                                    from + i * kRowStep * kD + j * T::kGroup * 8, 16);
            } else {
#pragma unroll 1
                for (u32 place = row; place < kBlock; place += kRowStep, buffer += kRowStep * T::kStride) {
                    const u32 position = low + place;
                    const bool read = position - item.key_begin < item.key_end - item.key_begin;
                    i64 offset = first + static_cast<i64>(place) * p.head_dim;
                    if (gather && read && position >= item.base) {
                        const u32 slot = item.base + ancestors[position - item.base];
                        offset = head(number(slot / kBlock)) + static_cast<i64>(slot % kBlock) * p.head_dim;
                    }
                    copy_row(buffer, from, offset, read);
                }
            }
            // The next block's page number arrives while this one is computed.
            if (kValues && ++block < item.block_end) page = number(block);
        }
        cp_async_commit();
    }

    // This thread's chunks of the row at `offset`; zeros if it is not to be read, and beyond the head dim.
    __device__ __forceinline__ void copy_row(u32 buffer, const bf16* from, i64 offset, bool read) const {
#pragma unroll 1
        for (int column = threadIdx.x % T::kGroup * 8; column < kD; column += T::kGroup * 8, buffer += T::kGroup * 16) {
            const int count = read ? p.head_dim - column : 0;
            copy_chunk(buffer, from + (count > 0 ? offset + column : 0), count, p.head_dim % 8 == 0);
        }
    }

    // Issues the copy of the queries, into the same group as the first step.
    __device__ __forceinline__ void issue_queries(u32 buffer) const {
        const u32 ratio = p.heads / p.kv_heads, row = threadIdx.x / T::kGroup;
        buffer += T::at(row, threadIdx.x % T::kGroup);
#pragma unroll 1
        for (u32 place = row; place < T::kRows; place += kRowStep, buffer += kRowStep * T::kStride) {
            const u32 packed = item.first + place;
            const i64 offset = static_cast<i64>(item.row + packed / ratio) * p.ldq +
                               static_cast<i64>(item.head * ratio + packed % ratio) * p.head_dim;
            copy_row(buffer, reinterpret_cast<const bf16*>(p.q), offset, place < item.rows);
        }
    }
};

// s = q kᵀ: 16 rows by 8 kN keys. `q` and `k` are the lane's addresses in the tiles (see `run`).
template <int kD, int kN>
__device__ __forceinline__ void scores(float (&s)[kN][4], u32 q, u32 k) {
    using T = Tile<kD>;
#pragma unroll
    for (int j = 0; j < kN; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[j][e] = 0.0f;
#pragma unroll
    for (int step = 0; step < kD / 16; step++) {
        u32 a[4];
        ldmatrix_x4(a, T::along(q, 2 * step));
#pragma unroll
        for (int j = 0; j < kN; j += 2) {
            u32 b[4];
            ldmatrix_x4(b, T::along(k, 2 * step) + j * 8 * T::kStride);
            mma_bf16(s[j], a, b[0], b[1]);
            mma_bf16(s[j + 1], a, b[2], b[3]);
        }
    }
}

// Scores of keys that a row does not see become -inf. The row's keys are [start, start + length).
__device__ __forceinline__ void mask(float (&s)[8][4], const Seen& seen, u32 block) {
    const u32 column = block * kBlock + threadIdx.x % 4 * 2;
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const bool see = column + j * 8 + e % 2 - seen.start[e / 2] < seen.length[e / 2];
            s[j][e] = see ? s[j][e] : none();
        }
}

// o += p v: 8 kN keys by 8 kTiles columns; `v` is the lane's address in the tile.
template <int kD, int kTiles, int kN>
__device__ __forceinline__ void add(float (&o)[kTiles][4], const float (&p)[kN][4], u32 v) {
    using T = Tile<kD>;
#pragma unroll
    for (int step = 0; step < kN / 2; step++) {
        const u32 a[4] = {pack_bf16(p[2 * step][0], p[2 * step][1]), pack_bf16(p[2 * step][2], p[2 * step][3]),
                          pack_bf16(p[2 * step + 1][0], p[2 * step + 1][1]),
                          pack_bf16(p[2 * step + 1][2], p[2 * step + 1][3])};
#pragma unroll
        for (int n = 0; n < kTiles; n += 2) {
            u32 b[4];
            ldmatrix_x4_trans(b, T::along(v, n) + step * 16 * T::kStride);
            mma_bf16(o[n], a, b[0], b[1]);
            mma_bf16(o[n + 1], a, b[2], b[3]);
        }
    }
}

// Maximum, sum (this lane's columns only until `reduce`) and output of two rows over the keys of a split so far.
template <int kTiles>
struct Running {
    float max[2];
    float sum[2];
    float o[kTiles][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < 2; r++) max[r] = none(), sum[r] = 0.0f;
#pragma unroll
        for (int n = 0; n < kTiles; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[n][e] = 0.0f;
    }

    // Takes a block's scores and turns them into weights: 2^(scale (s - max)).
    __device__ __forceinline__ void weigh(float (&s)[8][4], float scale) {
        float shrink[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float top = max[r];
#pragma unroll
            for (int j = 0; j < 8; j++) top = fmaxf(top, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
            top = fmaxf(top, shuffle_xor(top, 1));
            top = fmaxf(top, shuffle_xor(top, 2));
            // Where nothing is seen yet, any finite reference gives weights of 0.
            const float reference = top == none() ? 0.0f : top;
            shrink[r] = ex2(__fmul_rn(__fsub_rn(max[r], reference), scale));
            max[r] = top;
            const float shift = -__fmul_rn(reference, scale);
            float part[8];
#pragma unroll
            for (int j = 0; j < 8; j++) {
                s[j][2 * r] = ex2(__fmaf_rn(s[j][2 * r], scale, shift));
                s[j][2 * r + 1] = ex2(__fmaf_rn(s[j][2 * r + 1], scale, shift));
                part[j] = __fadd_rn(s[j][2 * r], s[j][2 * r + 1]);
            }
#pragma unroll
            for (int n = 4; n; n /= 2)
#pragma unroll
                for (int j = 0; j < n; j++) part[j] = __fadd_rn(part[j], part[j + n]);
            sum[r] = __fmaf_rn(sum[r], shrink[r], part[0]);
        }
#pragma unroll
        for (int n = 0; n < kTiles; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[n][e] = __fmul_rn(o[n][e], shrink[e / 2]);
    }

    // The rows' sums over all columns: the quad's four lanes get the same bits.
    __device__ __forceinline__ void reduce() {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            sum[r] = __fadd_rn(sum[r], shuffle_xor(sum[r], 1));
            sum[r] = __fadd_rn(sum[r], shuffle_xor(sum[r], 2));
        }
    }
};

// How a row's total and its next split shrink to their common maximum.
struct Merge {
    float total;
    float next;
    float max;
};
__device__ __forceinline__ Merge merge_factors(float total_max, float next_max, float scale) {
    const float max = fmaxf(total_max, next_max);
    const float reference = max == none() ? 0.0f : max;
    return {ex2(__fmul_rn(__fsub_rn(total_max, reference), scale)), ex2(__fmul_rn(__fsub_rn(next_max, reference), scale)),
            max};
}
__device__ __forceinline__ float merge(const Merge& by, float total, float next) {
    return __fmaf_rn(next, by.next, __fmul_rn(total, by.total));
}
// The result, o / sum. Adding 0 makes one zero of two: to skip a split and to add its zeros may differ in their sign.
__device__ __forceinline__ float normalise(float o, float inverse) { return __fmaf_rn(o, inverse, 0.0f); }
__device__ __forceinline__ float inverse(float sum) { return __frcp_rn(sum); }

// One tile. kPartial: the blocks are those of one split, and max, sum and output go to the partials.
template <int kD, int kStages, bool kPartial>
__device__ __forceinline__ void run(const AttentionParams& p) {
    using T = Tile<kD>;
    constexpr int kTiles = T::kColumns / 8, kPairs = kStages / 2;
    static_assert(kStages % 2 == 0, "keys and values take turns");
    extern __shared__ __align__(128) u8 dynamic[];
    u8* ancestors = dynamic + T::kBytesQ + kStages * T::kBytesKv;

    const AttentionItem item = reinterpret_cast<const AttentionItem*>(p.items)[blockIdx.x];
    if (item.rows == 0) return;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 row = warp / T::kParts * 16, part = warp % T::kParts;  // the warp's rows and columns
    const u32 ratio = p.heads / p.kv_heads;
    const u32 queries = shared_address(dynamic), ring = queries + T::kBytesQ;

    if (item.tree != 0) {
        const u64 bit = 1ull << (threadIdx.x % 64);
        if (threadIdx.x < 64 && (item.tree & bit)) ancestors[__popcll(item.tree & (bit - 1))] = threadIdx.x;
        __syncthreads();
    }

    Loader<kD> loader(p, item, ancestors);
    loader.issue_queries(queries);
    loader.template issue<false>(ring);
#pragma unroll
    for (int pair = 1; pair < kPairs; pair++) {
        loader.template issue<true>(ring + (2 * pair - 1) * T::kBytesKv);
        loader.template issue<false>(ring + 2 * pair * T::kBytesKv);
    }

    Seen seen;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const u32 place = row + lane / 4 + r * 8;
        u32 end = 0;
        if (place < item.rows) end = reinterpret_cast<const u32*>(p.positions)[item.row + (item.first + place) / ratio] + 1;
        seen.start[r] = p.window != 0 && end > p.window ? end - p.window : 0;
        seen.length[r] = end - seen.start[r];
    }

    // Where the lane's rows of ldmatrix begin: of q and v row-major matrices side by side, of k two below each other.
    const u32 q_lane = queries + row * T::kStride + T::at(lane % 16, lane / 16);
    const u32 k_lane = T::at(lane % 8 + lane / 16 * 8, lane / 8 % 2);
    const u32 v_lane = T::at(lane % 16, lane / 16) + part * kTiles * 16;

    Running<kTiles> total, split;
    if (!kPartial) total.clear();
    u32 pair = 0;  // of the ring's buffers: keys, values
    // A step's copy is complete and visible to all; what the step before read is free for the copy ahead.
    const auto step = [] {
        cp_async_wait<kStages - 2>();
        __syncthreads();
    };
    for (u32 block = item.block_begin; block < item.block_end;) {
        const u32 stop = min(item.block_end, (block / kSplitBlocks + 1) * kSplitBlocks);
        split.clear();
        for (; block < stop; block++) {
            float s[8][4];
            const u32 k = ring + 2 * pair * T::kBytesKv, v = k + T::kBytesKv;
            step();
            loader.template issue<true>(ring + ((pair + kPairs - 1) % kPairs * 2 + 1) * T::kBytesKv);
            if (row < item.rows) {
                scores<kD>(s, q_lane, k + k_lane);
                if (block < item.full_begin || block >= item.full_end) mask(s, seen, block);
                split.weigh(s, p.scale);
            }
            step();
            loader.template issue<false>(k);
            if (row < item.rows) add<kD>(split.o, s, v + v_lane);
            pair = (pair + 1) % kPairs;
        }
        split.reduce();
        if (!kPartial) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const Merge by = merge_factors(total.max[r], split.max[r], p.scale);
                total.max[r] = by.max;
                total.sum[r] = merge(by, total.sum[r], split.sum[r]);
#pragma unroll
                for (int n = 0; n < kTiles; n++) {
                    total.o[n][2 * r] = merge(by, total.o[n][2 * r], split.o[n][2 * r]);
                    total.o[n][2 * r + 1] = merge(by, total.o[n][2 * r + 1], split.o[n][2 * r + 1]);
                }
            }
        }
    }

    if (kPartial) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const u32 place = row + lane / 4 + r * 8;
            if (place >= item.rows) break;
            const i64 index = static_cast<i64>(item.partial) + place;
            float* o = reinterpret_cast<float*>(p.partial_o) + index * p.head_dim;
#pragma unroll
            for (int n = 0; n < kTiles; n++) {
                const int column = (part * kTiles + n) * 8 + lane % 4 * 2;
                if (column < p.head_dim)
                    *reinterpret_cast<float2*>(o + column) = make_float2(split.o[n][2 * r], split.o[n][2 * r + 1]);
            }
            if (lane % 4 == 0 && part == 0)
                reinterpret_cast<float2*>(p.partial_ml)[index] = make_float2(split.max[r], split.sum[r]);
        }
        return;
    }

    // Through shared memory to whole rows: the queries' place is free, each row's once its own warps are done with it.
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const float by = inverse(total.sum[r]);
#pragma unroll
        for (int n = 0; n < kTiles; n++)
            *reinterpret_cast<u32*>(dynamic + T::at(row + lane / 4 + r * 8, part * kTiles + n) + lane % 4 * 4) =
                pack_bf16(normalise(total.o[n][2 * r], by), normalise(total.o[n][2 * r + 1], by));
    }
    __syncthreads();
    const u32 chunk = threadIdx.x % T::kGroup;
    for (u32 place = threadIdx.x / T::kGroup; place < item.rows; place += kThreads / T::kGroup) {
        const u32 packed = item.first + place;
        bf16* o = reinterpret_cast<bf16*>(p.out) + static_cast<i64>(item.row + packed / ratio) * p.ldo +
                  static_cast<i64>(item.head * ratio + packed % ratio) * p.head_dim;
#pragma unroll
        for (int j = 0; j < T::kChunks / T::kGroup; j++) {
            const int column = (chunk + j * T::kGroup) * 8;
            const u8* from = dynamic + T::at(place, chunk + j * T::kGroup);
            if (p.head_dim % 8 == 0) {
                if (column < p.head_dim) *reinterpret_cast<uint4*>(o + column) = *reinterpret_cast<const uint4*>(from);
            } else {
#pragma unroll
                for (int i = 0; i < 4; i++)
                    if (column + 2 * i < p.head_dim)
                        reinterpret_cast<u32*>(o + column)[i] = reinterpret_cast<const u32*>(from)[i];
            }
        }
    }
}

}  // namespace attention
