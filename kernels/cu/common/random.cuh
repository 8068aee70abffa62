// random.cuh — the random numbers of engine/src/random.rs, bit for bit: a number depends on its key and index alone.
#pragma once
#include "common/ptx.cuh"

// The finaliser of SplitMix64: a counter becomes 64 random bits.
__device__ __forceinline__ u64 mix(u64 counter) {
    u64 x = counter * 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// 32 random bits of element `index` under `key`.
__device__ __forceinline__ u32 uniform(u64 key, u64 index) { return static_cast<u32>(mix(key + index) >> 32); }
