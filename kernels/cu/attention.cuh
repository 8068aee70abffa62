// attention.cuh — a tile of flash attention: up to 64 rows of one kv head against blocks of keys, online softmax.
//
// Rows     the query heads of a kv head, token by token: packed row r is head r % (H/G) of token r / (H/G), so one token
//          of a group fills several rows of m16, and all rows of a tile read the same keys and values.
// Keys     in blocks of 64 at absolute positions (a block is a page), in splits of 256. A split starts afresh; splits are
//          merged in ascending order by `merge_*`. The prompt kernel merges in registers, the split kernel leaves partials
//          for attention_combine: the same operations on the same numbers, so a row has the same bits either way.
// Masks    a row sees positions [start, end). Blocks that every row of the tile sees whole are not masked. A key that no
//          row of the tile sees is not read: zeros stand for it, so whatever lies there (NaN, too) cannot get into a sum.
//          Where tokens of a tile see different keys of a block and one of its values is not finite, the tile begins again,
//          token by token, lest 0 * NaN reach a row that does not see the key.
//          To a row, a block or split that it does not see is an exact identity.
// Scale    weights are 2^(scale s - reference). The reference follows the row's maximum when that outgrows it by 8: until then
//          weights are at most 2^8, as exact as those below 1, and sum and output stay as they are. Maxima are looked for
//          where a row sees its first keys of a split, and again where a lane's sum of a block's weights says that one may
//          have outgrown its reference: the block is then done once more.
// Trees    a node of a tree gets tiles of its own for the keys from `base` on: they are gathered from the slots of its
//          ancestors, in order of position, so the node computes the bits of a causal row.
// Pipeline K0 V0 K1 V1 ... through a ring of kStages buffers: one wait, one barrier, one copy ahead per step.
// Wide     beyond D = 128 two warps share 16 rows: each makes the scores of 32 keys and the output of half of the columns;
//          weights, and maxima where they are looked for, are exchanged through shared memory.
// Numerics f32 scores, references, sums and outputs; weights are bf16 in the second product. Contraction into fma is spelled
//          out, because the two kernels must agree.
#pragma once
#include "common/attention_tile.cuh"
#include "params.h"

namespace attention {

constexpr u32 kSplitBlocks = 4;  // blocks per split
constexpr float kUnseen = -0x1p127f;  // the reference before a key is seen: 2^(kUnseen - any other) is 0
constexpr float kSlack = 8.0f;        // how far a maximum may outgrow its reference
constexpr float kSafe = 255.0f;       // the sum of weights up to which none is beyond 2^kSlack, approximate as it may be
__device__ __forceinline__ float any() { return __uint_as_float(0x7f800000u); }

// What row `place` of a tile sees. Looked up where it is needed, which is at the edges alone.
__device__ __forceinline__ Seen seen_by(const AttentionParams& p, const AttentionItem& item, u32 place) {
    const u32 token = item.row + (item.first + place) / (p.heads / p.kv_heads);
    const u32 end = place < item.rows ? reinterpret_cast<const u32*>(p.positions)[token] + 1 : 0;
    const u32 start = p.window != 0 && end > p.window ? end - p.window : 0;
    return {start, end - start};
}

// Copies of the tile's keys and values, one step (K or V of a block) at a time. Each warp copies adjacent rows.
template <int kD>
struct Loader {
    using T = Tile<kD>;

    const AttentionParams& p;
    const AttentionItem* item;
    const u8* ancestors;        // offsets of the tree node's ancestors, in order of position
    u32 block, end;             // next to be issued, one past the last
    u32 page;                   // of the block
    u64 place;                  // this thread's first chunk of it, in a plain block: byte of the cache
    u32 plain, plain_count;     // blocks whose keys are copied all, from one page, by whole rows of kD
    u32 from, to;               // this thread's first chunk of such a block: byte in the page, byte in the buffer

    __device__ __forceinline__ Loader(const AttentionParams& p, const AttentionItem* item, const u8* ancestors)
        : p(p), item(item), ancestors(ancestors), block(item->block_begin), end(item->block_end), page(number(block)) {
        const u32 last = item->tree ? min(item->key_end, item->base) : item->key_end;
        plain = (item->key_begin + kBlock - 1) / kBlock;
        plain_count = p.head_dim == kD && last / kBlock > plain ? last / kBlock - plain : 0;
        from = item->head * kBlock * T::kStride + first_row(16) * T::kStride + chunk() * 16;
        to = T::at(first_row(16), chunk());
    }

    // The first row that this thread copies if each warp copies `rows`, and its first chunk.
    static __device__ __forceinline__ u32 first_row(u32 rows) {
        return threadIdx.x / 32 * rows + threadIdx.x % 32 / T::kGroup;
    }
    static __device__ __forceinline__ u32 chunk() { return threadIdx.x % T::kGroup; }

    __device__ __forceinline__ u32 number(u32 block) const {
        return reinterpret_cast<const u32*>(p.pages)[item->pages + block];
    }
    // First element of the head's part of a page.
    __device__ __forceinline__ i64 head(u32 page) const {
        return (static_cast<i64>(page) * p.kv_heads + item->head) * kBlock * p.head_dim;
    }

    // f(byte of this thread's chunk in `buffer`, its distance in memory from the thread's first), for all of them.
    template <class F>
    __device__ __forceinline__ void chunks(u32 buffer, F f) const {
#pragma unroll
        for (int i = 0; i < 16 / T::kRowStep; i++) {
            // Four rows on, a chunk's place in its group of eight changes by four.
            const u32 first = buffer + (to ^ (T::kGroup == 8 && i % 2 ? 64 : 0));
#pragma unroll
            for (int j = 0; j < T::kChunks / T::kGroup; j++) {
                constexpr u32 kRow = T::kRowStep * T::kStride, kColumn = T::kGroup * 16;
                f(first + i * kRow + j * kColumn, i * kRow + j * kColumn);
            }
        }
    }

    // Issues the next block's keys, or after them its values, into `buffer`, if there is one.
    template <bool kValues>
    __device__ __forceinline__ void issue(u32 buffer) {
        if (block - plain < plain_count) {
            if (!kValues) place = from + static_cast<u64>(page) * (p.kv_heads * T::kBytesKv);
            const u8* source = reinterpret_cast<const u8*>(kValues ? p.v : p.k) + place;
            chunks(buffer, [&](u32 shared, u32 offset) { cp_async_16(shared, source + offset); });
        } else if (block < end) {
            issue_rows(buffer, reinterpret_cast<const bf16*>(kValues ? p.v : p.k));
        }
        // The next block's page number arrives while this one is computed.
        if (kValues && ++block < end) page = number(block);
        cp_async_commit();
    }

    // A block at the edge of what is seen, behind a tree, or of shorter rows: row by row.
    __device__ __forceinline__ void issue_rows(u32 buffer, const bf16* cache) const {
        const u32 low = block * kBlock, begin = item->key_begin, count = item->key_end - begin, base = item->base;
        const bool gather = item->tree != 0 && low + kBlock > base;
        const i64 first = head(page);
#pragma unroll 1
        for (u32 place = first_row(16), stop = place + 16; place < stop; place += T::kRowStep) {
            const u32 position = low + place;
            const bool read = position - begin < count;
            i64 offset = first + static_cast<i64>(place) * p.head_dim;
            if (gather && read && position >= base) {
                const u32 slot = base + ancestors[position - base];
                offset = head(number(slot / kBlock)) + static_cast<i64>(slot % kBlock) * p.head_dim;
            }
            copy_row(buffer + T::at(place, chunk()), cache, offset, read);
        }
    }

    // This thread's chunks of the row at `offset`; zeros if it is not to be read, and beyond the head dim.
    __device__ __forceinline__ void copy_row(u32 buffer, const bf16* cache, i64 offset, bool read) const {
#pragma unroll 1
        for (int column = chunk() * 8; column < kD; column += T::kGroup * 8, buffer += T::kGroup * 16) {
            const int count = read ? p.head_dim - column : 0;
            copy_chunk(buffer, cache + (count > 0 ? offset + column : 0), count, p.head_dim % 8 == 0);
        }
    }

    // Issues the copy of the queries, into the same group as the first step.
    __device__ __forceinline__ void issue_queries(u32 buffer) const {
        const u32 ratio = p.heads / p.kv_heads;
#pragma unroll 1
        for (u32 place = first_row(T::kRows / 4), stop = place + T::kRows / 4; place < stop; place += T::kRowStep) {
            const u32 packed = item->first + place;
            const i64 offset = static_cast<i64>(item->row + packed / ratio) * p.ldq +
                               static_cast<i64>(item->head * ratio + packed % ratio) * p.head_dim;
            copy_row(buffer + T::at(place, chunk()), reinterpret_cast<const bf16*>(p.q), offset, place < item->rows);
        }
    }

    // Whether among the values that this thread copied into `buffer`, and has waited for, one is not finite.
    __device__ __forceinline__ bool odd(u32 buffer) const {
        u32 found = 0;
        chunks(buffer, [&](u32 shared, u32) {
            u32 words[4];
            load_shared(words, shared);
            // An exponent of ones carries into the sign's place.
#pragma unroll
            for (int i = 0; i < 4; i++) found |= (words[i] & 0x7f807f80u) + 0x00800080u;
        });
        return found & 0x80008000u;
    }
};

// What two warps that share rows tell each other, in shared memory: the weights and a number per row.
struct Exchange {
    u32 weights, rows;

    __device__ __forceinline__ Exchange(u32 shared)
        : weights(shared + threadIdx.x / 64 * 2048 + threadIdx.x % 32 * 16), rows(shared + 4096 + threadIdx.x / 64 * 128) {}

    // The other warp's values for this lane's rows, of which a quad has the same.
    __device__ __forceinline__ void swap(float (&mine)[2], float (&other)[2]) const {
        const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
        for (int r = 0; r < 2; r++)
            if (lane % 4 == 0) store_shared(rows + warp % 2 * 64 + (lane / 4 + r * 8) * 4, mine[r]);
        barrier<64>(1 + warp / 2);
#pragma unroll
        for (int r = 0; r < 2; r++) other[r] = load_shared(rows + (warp + 1) % 2 * 64 + (lane / 4 + r * 8) * 4);
    }
};

// A warp's scores: [n8 tile][the lane's four].
template <int kD>
using Scores = float[Tile<kD>::kScores][4];
// Weights of 16 rows and 64 keys as operand A of the second product.
using Weights = u32[4][4];

// Reference, sum (this lane's columns only until `reduce`) and output of two rows over the keys of a split so far.
template <int kD>
struct Running {
    using T = Tile<kD>;
    static constexpr int kTiles = T::kColumns / 8;
    float reference[2];
    float sum[2];
    float o[kTiles][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < 2; r++) reference[r] = kUnseen, sum[r] = 0.0f;
#pragma unroll
        for (int n = 0; n < kTiles; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[n][e] = 0.0f;
    }

    // Lets the references of rows follow that a block's scores outgrow.
    __device__ __forceinline__ void follow(const Scores<kD>& s, float scale, const Exchange& exchange) {
        float top[2];
#pragma unroll
        for (int r = 0; r < 2; r++) top[r] = greatest(s, r, none());
        if (T::kParts == 2) {
            float other[2];
            exchange.swap(top, other);
#pragma unroll
            for (int r = 0; r < 2; r++) top[r] = fmaxf(top[r], other[r]);
        }
        // Whether another row's reference grows changes nothing for a row: it is multiplied by 1.
        bool grows[2];
#pragma unroll
        for (int r = 0; r < 2; r++) grows[r] = __fmaf_rn(top[r], scale, -reference[r]) > kSlack;
        if (!__any_sync(0xffffffffu, grows[0] || grows[1])) return;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float next = grows[r] ? __fmul_rn(top[r], scale) : reference[r];
            const float shrink = grows[r] ? ex2(__fsub_rn(reference[r], next)) : 1.0f;
            reference[r] = next;
            sum[r] = __fmul_rn(sum[r], shrink);
#pragma unroll
            for (int n = 0; n < kTiles; n++) {
                o[n][2 * r] = __fmul_rn(o[n][2 * r], shrink);
                o[n][2 * r + 1] = __fmul_rn(o[n][2 * r + 1], shrink);
            }
        }
    }

    // Turns a block's scores into weights. `part` becomes the lane's sums of them.
    __device__ __forceinline__ void weigh(Scores<kD>& s, Weights& weights, float (&part)[2], float scale,
                                          const Exchange& exchange) const {
#pragma unroll
        for (int r = 0; r < 2; r++) part[r] = exponentials(s, r, scale, -reference[r]);
#pragma unroll
        for (int step = 0; step < T::kScores / 2; step++) {
            const float(&low)[4] = s[2 * step], (&high)[4] = s[2 * step + 1];
            weights[step][0] = pack_bf16(low[0], low[1]), weights[step][1] = pack_bf16(low[2], low[3]);
            weights[step][2] = pack_bf16(high[0], high[1]), weights[step][3] = pack_bf16(high[2], high[3]);
            if (T::kParts == 2) store_shared(exchange.weights + (threadIdx.x / 32 % 2 * 2 + step) * 512, weights[step]);
        }
    }

    // o += p v: 64 keys by the warp's columns; `lane_v` is the lane's place in the tile at `v`.
    __device__ __forceinline__ void add(const Weights& weights, u32 v, u32 lane_v) {
#pragma unroll
        for (int step = 0; step < 4; step++)
#pragma unroll
            for (int n = 0; n < kTiles; n += 2) {
                u32 b[4];
                ldmatrix_x4_trans(b, v + T::along(lane_v, n) + step * 16 * T::kStride);
                mma_bf16(o[n], weights[step], b[0], b[1]);
                mma_bf16(o[n + 1], weights[step], b[2], b[3]);
            }
    }

    // The rows' sums over all columns: the quad's four lanes, and both warps that share the rows, get the same bits.
    __device__ __forceinline__ void reduce(const Exchange& exchange) {
#pragma unroll
        for (int r = 0; r < 2; r++) sum[r] = quad_sum(sum[r]);
        if (T::kParts == 2) {
            float other[2];
            exchange.swap(sum, other);
#pragma unroll
            for (int r = 0; r < 2; r++) sum[r] = __fadd_rn(sum[r], other[r]);
        }
    }
};

// How a row's total and its next split shrink to their common reference.
struct Merge {
    float total;
    float next;
    float reference;
};
__device__ __forceinline__ Merge merge_factors(float total, float next) {
    const float reference = fmaxf(total, next);
    return {ex2(__fsub_rn(total, reference)), ex2(__fsub_rn(next, reference)), reference};
}
__device__ __forceinline__ float merge(const Merge& by, float total, float next) {
    return __fmaf_rn(next, by.next, __fmul_rn(total, by.total));
}
// The result, o / sum. Adding 0 makes one zero of two: to skip a split and to add its zeros may differ in their sign.
__device__ __forceinline__ float normalise(float o, float inverse) { return __fmaf_rn(o, inverse, 0.0f); }

// What of a tile is its token number `token`; no rows if there is nothing of it.
__device__ __forceinline__ AttentionItem one_token(const AttentionParams& p, AttentionItem item, u32 token) {
    const u32 ratio = p.heads / p.kv_heads, before = token == 0 ? 0 : token * ratio - item.first;
    if (token != 0) item.first = 0;
    item.row += token, item.partial += before;
    item.rows = min(item.rows - before, ratio - item.first);
    const Seen seen = seen_by(p, item, 0);
    item.key_begin = max(item.key_begin, seen.start), item.key_end = min(item.key_end, seen.start + seen.length);
    if (item.key_begin >= item.key_end) item.rows = 0;
    item.block_begin = item.key_begin / kBlock, item.block_end = (item.key_end + kBlock - 1) / kBlock;
    item.full_begin = (item.key_begin + kBlock - 1) / kBlock, item.full_end = max(item.key_end / kBlock, item.full_begin);
    return item;
}

// One tile. kPartial: the blocks are those of one split, and reference, sum and output go to the partials.
// Whether it has to be done again token by token: then nothing is written.
template <int kD, int kStages, bool kPartial>
__device__ __forceinline__ bool tile(const AttentionParams& p, const AttentionItem& item, u8* dynamic, u8* ancestors) {
    using T = Tile<kD>;
    constexpr int kTiles = T::kColumns / 8, kPairs = kStages / 2;
    constexpr bool kHeld = kD <= 64;  // queries, in registers
    static_assert(kStages % 2 == 0, "keys and values take turns");
    const u32 rows = item.rows;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 row = warp / T::kParts * 16, side = warp % T::kParts;  // the warp's rows, and its keys and columns
    const u32 ratio = p.heads / p.kv_heads;
    const u32 queries = shared_address(dynamic), ring = queries + T::kBytesQ;
    const Exchange exchange(ring + kStages * T::kBytesKv + 128);
    const bool active = __any_sync(0xffffffffu, row < rows);  // as a vote, so that the compiler knows it to be the warp's

    if (item.tree != 0) {
        const u64 bit = 1ull << (threadIdx.x % 64);
        if (threadIdx.x < 64 && (item.tree & bit)) ancestors[__popcll(item.tree & (bit - 1))] = threadIdx.x;
        __syncthreads();
    }

    Loader<kD> loader(p, &item, ancestors);
    loader.issue_queries(queries);
    loader.template issue<false>(ring);
#pragma unroll
    for (int pair = 1; pair < kPairs; pair++) {
        loader.template issue<true>(ring + (2 * pair - 1) * T::kBytesKv);
        loader.template issue<false>(ring + 2 * pair * T::kBytesKv);
    }

    // The blocks that every row sees whole, as the loader's number behind the copy ahead.
    const u32 full = item.full_begin + kPairs, full_count = max(item.full_end, item.full_begin) - item.full_begin;
    const bool several = item.first + rows > ratio;  // tokens, that may see different keys

    // Where the lane's rows of ldmatrix begin: of q and v row-major matrices side by side, of k two below each other.
    const u32 keys = side * T::kScores * 8;
    Queries<kD, kHeld> q;
    q.address = queries + row * T::kStride + T::at(lane % 16, lane / 16);
    const u32 k_lane = T::at(lane % 8 + lane / 16 * 8, lane / 8 % 2) + keys * T::kStride;
    const u32 v_lane = T::at(lane % 16, lane / 16) + side * kTiles * 16;

    Running<kD> total, split;
    if (!kPartial) total.clear();
    if (kHeld) {
        cp_async_wait<kStages - 2>();
        __syncthreads();
        if (active) q.load();
    }
    float part[2] = {0.0f, 0.0f};
    u32 pair = 0;  // of the ring's buffers: keys, values
    for (u32 block; (block = loader.block - (kPairs - 1)) < loader.end;) {
        split.clear();
        float safe = any();  // beyond it, maxima are looked for: at the edges and in a split's first block at once
        for (u32 left = min(loader.end - block, kSplitBlocks - block % kSplitBlocks); left != 0; left--) {
            const u32 k = ring + 2 * pair * T::kBytesKv, v = k + T::kBytesKv;
            Weights weights;
            // A step's copy is complete and visible to all; what the step before read is free for the copy ahead.
            cp_async_wait<kStages - 2>();
            __syncthreads();
            loader.template issue<true>(ring + ((pair + kPairs - 1) % kPairs * 2 + 1) * T::kBytesKv);
            const bool masked = loader.block - full >= full_count;
            for (;;) {
                if (active) {
                    Scores<kD> s;
                    scores(s, q, k, k_lane);
                    if (masked) {
                        const u32 place = row + lane / 4;
                        const Seen seen[2] = {seen_by(p, item, place), seen_by(p, item, place + 8)};
                        mask(s, seen, (loader.block - kPairs) * kBlock + keys);
                        safe = any();
                    }
                    if (safe > kSafe) split.follow(s, p.scale, exchange);
                    split.weigh(s, weights, part, p.scale, exchange);
                }
                cp_async_wait<kStages - 2>();
                const bool odd = masked && several && loader.odd(v);
                const bool again = __syncthreads_or(part[0] > safe || part[1] > safe || odd);
                safe = kSafe;
                if (!again) break;
                if (__syncthreads_or(odd)) {
                    cp_async_wait<0>();
                    return true;
                }
                safe = any();
            }
            loader.template issue<false>(k);
            if (active) {
#pragma unroll
                for (int r = 0; r < 2; r++) split.sum[r] = __fadd_rn(split.sum[r], part[r]);
                if (T::kParts == 2) {
#pragma unroll
                    for (int step = 0; step < 4; step++) load_shared(weights[step], exchange.weights + step * 512);
                }
                split.add(weights, v, v_lane);
            }
            pair = (pair + 1) % kPairs;
        }
        if (active) split.reduce(exchange);
        if (!kPartial) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const Merge by = merge_factors(total.reference[r], split.reference[r]);
                total.reference[r] = by.reference;
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
            if (place >= rows) break;
            const i64 index = static_cast<i64>(item.partial) + place;
            float* o = reinterpret_cast<float*>(p.partial_o) + index * p.head_dim;
#pragma unroll
            for (int n = 0; n < kTiles; n++) {
                const int column = (side * kTiles + n) * 8 + lane % 4 * 2;
                if (column < p.head_dim)
                    *reinterpret_cast<float2*>(o + column) = make_float2(split.o[n][2 * r], split.o[n][2 * r + 1]);
            }
            if (lane % 4 == 0 && side == 0)
                reinterpret_cast<float2*>(p.partial_ml)[index] = make_float2(split.reference[r], split.sum[r]);
        }
        return false;
    }

    // Through shared memory to whole rows: the queries' place is free, each row's once its own warps are done with it.
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const float by = inverse(total.sum[r]);
#pragma unroll
        for (int n = 0; n < kTiles; n++)
            *reinterpret_cast<u32*>(dynamic + T::at(row + lane / 4 + r * 8, side * kTiles + n) + lane % 4 * 4) =
                pack_bf16(normalise(total.o[n][2 * r], by), normalise(total.o[n][2 * r + 1], by));
    }
    __syncthreads();
    const u32 chunk = threadIdx.x % T::kGroup;
    for (u32 place = threadIdx.x / T::kGroup; place < rows; place += kThreads / T::kGroup) {
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
    return false;
}

// The work of a block.
template <int kD, int kStages, bool kPartial>
__device__ __forceinline__ void run(const AttentionParams& p) {
    extern __shared__ __align__(128) u8 dynamic[];
    u8* ancestors = dynamic + Tile<kD>::kBytesQ + kStages * Tile<kD>::kBytesKv;
    AttentionItem& item = *reinterpret_cast<AttentionItem*>(ancestors + 64);
    const AttentionItem& whole = reinterpret_cast<const AttentionItem*>(p.items)[blockIdx.x];
    const u32 ratio = p.heads / p.kv_heads;
    u32 token = ~0u;  // all of them
    bool again;
    do {
        if (threadIdx.x == 0) item = token == ~0u ? whole : one_token(p, whole, token);
        __syncthreads();
        again = item.rows != 0 && tile<kD, kStages, kPartial>(p, item, dynamic, ancestors);
        __syncthreads();
    } while ((again || token != ~0u) && ++token * ratio < whole.first + whole.rows);
}

}  // namespace attention
