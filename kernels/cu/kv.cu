// kv.cu — keys and values from page to page and from slot to slot, in the caches of all layers.
//
// Shapes   arrays : [2 L] addresses of bf16 [page][G][64][D]
// Grid     kv_copy: (tiles of the page, arrays)     kv_move: (kv heads, arrays)
// Traffic  each element read and written once
// Numerics exact
#include "common/ptx.cuh"
#include "params.h"

static __device__ __forceinline__ u32* cache(DevicePtr arrays) {
    return reinterpret_cast<u32*>(reinterpret_cast<const u64*>(arrays)[blockIdx.y]);
}

// D is even, so pairs of elements are the common unit; 16 bytes where D allows.
extern "C" __global__ void __launch_bounds__(256) kv_copy(const KvCopyParams p) {
    const int pairs = p.head_dim / 2, head = 64 * pairs, used = p.keys * pairs;  // of a head: its part of a page, what of it is copied
    u32* base = cache(p.arrays);
    const i64 page = static_cast<i64>(p.kv_heads) * head;
    const int unit = p.head_dim % 8 == 0 ? 4 : 1;
    const int index = (blockIdx.x * 256 + threadIdx.x) * unit;
    if (index >= p.kv_heads * used) return;
    const i64 at = static_cast<i64>(index / used) * head + index % used;
    const u32* from = base + p.from * page + at;
    u32* to = base + p.to * page + at;
    if (unit == 4)
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
    else
        *to = *from;
}

// A thread keeps to its pair of columns, so that a later move reads what an earlier one wrote without a barrier.
extern "C" __global__ void __launch_bounds__(128) kv_move(const KvMoveParams p) {
    const int pair = threadIdx.x, pairs = p.head_dim / 2;
    if (pair >= pairs) return;
    u32* base = cache(p.arrays);
    const u32* moves = reinterpret_cast<const u32*>(p.moves);
    const auto at = [&](u32 slot) -> u32* {
        return base + ((static_cast<i64>(slot / 64) * p.kv_heads + blockIdx.x) * 64 + slot % 64) * pairs + pair;
    };
    for (int i = 0; i < p.count; i++) *at(moves[2 * i + 1]) = *at(moves[2 * i]);
}
