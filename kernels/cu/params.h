// params.h — the parameter struct of every kernel, passed by value: one definition for CUDA and Rust.
//
// bindgen turns this file into ../src/params.rs (`scripts/params.sh`; a test checks that they agree). Plain fixed-width
// types only. A pointer is an address in device memory. Matrices are row-major; `ld` is the number of elements from one
// row to the next. Row starts are 16-byte aligned, nothing else is asked of padding: it is never read into a result.
#pragma once

/// An address in device memory.
typedef unsigned long long DevicePtr;

/// A weight matrix `[rows, K]`.
struct Weight {
    /// bf16, or int8 in the order of `int8_position`.
    DevicePtr data;
    /// f32 `[rows]`, what the row of an int8 matrix is multiplied by; 0 for bf16.
    DevicePtr scale;
    /// Elements from row to row: a multiple of 8 (bf16) or 16 (int8).
    long long ld;
};

/// A low-rank update of one weight for a range of packed rows: `y[t, :] += u[t, :] Bᵀ`. An array of these lies in device memory.
struct LoraPart {
    /// bf16 `[T, rank]`, `u = scale · x Aᵀ`, indexed by packed row.
    DevicePtr u;
    /// bf16 `[rows of the weight, rank]`.
    DevicePtr b;
    /// Elements from row to row of `u`, a multiple of 8.
    long long ldu;
    /// Elements from row to row of `b`, a multiple of 8.
    long long ldb;
    /// First packed row.
    int row_begin;
    /// One past the last packed row.
    int row_end;
    /// `R`, any.
    int rank;
    /// Index into `GemmParams::weights`.
    int weight;
};

/// `x Wᵀ` with an epilogue: gemm_* and skinny_*.
struct GemmParams {
    /// bf16 `[m, k]`.
    DevicePtr x;
    /// Elements from row to row of `x`, a multiple of 8.
    long long ldx;
    /// `[0]`; gate and up; or q, k and v.
    struct Weight weights[3];
    /// `LoraPart[lora_count]` in device memory, ranges of one weight disjoint, in any order.
    DevicePtr lora;
    /// Number of updates, 0 for none.
    int lora_count;
    /// Rows of `x`.
    int m;
    /// Columns of the product: rows of `weights[0]`; for SwiGLU `F`; for QKV `(H + 2G) · D`.
    int n;
    /// Inner dimension, any.
    int k;
    /// The result: bf16 for store, SwiGLU and QKV (q), f32 for add and logits. Row 0 is that of `x`.
    DevicePtr out;
    /// Elements from row to row of `out`.
    long long ldo;
    /// What `*_store` multiplies the product by.
    float scale;
    /// 0.
    int reserved;
};

/// `gemm_qkv`, `skinny_qkv`: rotary embedding of q and k, q to `gemm.out`, k and v to the cache.
struct QkvParams {
    /// `weights` are those of q, k and v.
    struct GemmParams gemm;
    /// This layer's key cache, bf16 `[page][G][64][D]`.
    DevicePtr k_cache;
    /// This layer's value cache, bf16 `[page][G][64][D]`.
    DevicePtr v_cache;
    /// u32 `[m]`: where row t goes, `page * 64 + slot in page`.
    DevicePtr slots;
    /// u32 `[m]`: position of row t.
    DevicePtr positions;
    /// f32 `[positions, D/2]`.
    DevicePtr cos;
    /// f32 `[positions, D/2]`.
    DevicePtr sin;
    /// `H`.
    int heads;
    /// `G`.
    int kv_heads;
    /// `D`, even.
    int head_dim;
    /// 0.
    int reserved;
};

/// One question of `head_some`: logits of one row of x at some ids. An array of these lies in device memory.
struct HeadAsk {
    /// First element of this ask in `HeadSomeParams::ids` and in `out`.
    unsigned int first;
    /// Number of ids.
    unsigned int count;
    /// Row of `x`.
    unsigned int row;
    /// 0.
    unsigned int reserved;
};

/// `head_some`: `out[first + i] = x[row] · head[ids[first + i]]`, the same bits as every other product gives.
struct HeadSomeParams {
    /// bf16 `[rows, k]`.
    DevicePtr x;
    /// Elements from row to row of `x`, a multiple of 8.
    long long ldx;
    /// `[V, k]`.
    struct Weight head;
    /// `HeadAsk[asks]` in device memory.
    DevicePtr ask;
    /// u32, vocabulary ids of all asks.
    DevicePtr ids;
    /// f32, logits of all asks.
    DevicePtr out;
    /// Number of asks.
    int asks;
    /// Largest `count` of an ask.
    int longest;
    /// Inner dimension.
    int k;
    /// 0.
    int reserved;
};

/// `probe`: `out[i] = i + base` for `i < n`, u32; what a check of a fresh device runs.
struct ProbeParams {
    /// u32 `[n]`.
    DevicePtr out;
    /// Elements.
    int n;
    /// First value.
    unsigned int base;
};
