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

/// One term of a product: `A` is `[m, k]`, or `[k, m]` for `linear_dw`; `B` is `[n, k]`, or `[k, n]` for all but `linear`.
struct ProductTerm {
    /// bf16.
    DevicePtr a;
    /// bf16.
    DevicePtr b;
    /// Elements from row to row of `A`, a multiple of 8.
    long long lda;
    /// Elements from row to row of `B`, a multiple of 8.
    long long ldb;
    /// What is summed over, any.
    int k;
    /// 0.
    int reserved;
};

/// `linear*`: a sum of products, as training has them.
struct ProductParams {
    /// The first `term_count` count.
    struct ProductTerm terms[6];
    /// `[m, n]`, f32 or bf16; one after the other for each slice.
    DevicePtr out;
    /// Elements from row to row of `out`.
    long long ldo;
    /// Rows of the result.
    int m;
    /// Columns of the result.
    int n;
    /// From 1 to 6.
    int term_count;
    /// 0: bf16, 1: f32, 2: added to f32.
    int output;
    /// Elements of the sum that a slice takes. More slices than one are for one term only, and not for bf16.
    int slice;
    /// What the sum is multiplied by.
    float scale;
};

/// `add_slices`: `out[i] += Σ slices[s, i]`.
struct AddSlicesParams {
    /// f32 `[slice_count, count]`.
    DevicePtr slices;
    /// f32 `[count]`.
    DevicePtr out;
    /// Elements.
    long long count;
    /// Slices.
    int slice_count;
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

/// A tile of attention: packed rows of one sequence and kv head against blocks of 64 keys. An array of these lies in device
/// memory; `attention_work.rs` builds it. All zero: nothing happens.
struct AttentionItem {
    /// The tree node's set of ancestors, bit i for the one in slot `base + i`; 0 if slots are positions.
    unsigned long long tree;
    /// Position and slot from which on the keys of a node are its ancestors'.
    unsigned int base;
    /// Packed row of the pass that the tile's first token is.
    unsigned int row;
    /// Heads of the group and token to be skipped before the tile's first row.
    unsigned int first;
    /// Rows, at most 64 (32 if D > 128): head `(first + r) % (H/G)` of token `row + (first + r) / (H/G)`.
    unsigned int rows;
    /// The kv head.
    unsigned int head;
    /// Where the sequence's page numbers begin in `AttentionParams::pages`.
    unsigned int pages;
    /// First block to visit.
    unsigned int block_begin;
    /// One past the last block to visit.
    unsigned int block_end;
    /// First of the blocks that every row sees whole.
    unsigned int full_begin;
    /// One past the last of them.
    unsigned int full_end;
    /// First position that some row sees.
    unsigned int key_begin;
    /// One past the last of them.
    unsigned int key_end;
    /// Where the first row's partial goes; row r's is `partial + r`.
    unsigned int partial;
    /// 0.
    unsigned int reserved;
};

/// `attention_prompt_*` (writes `out`) and `attention_split_*` (writes the partials).
struct AttentionParams {
    /// bf16 `[T, H, D]`.
    DevicePtr q;
    /// This layer's key cache, bf16 `[page][G][64][D]`.
    DevicePtr k;
    /// This layer's value cache, bf16 `[page][G][64][D]`.
    DevicePtr v;
    /// bf16 `[T, H, D]`; unused by split.
    DevicePtr out;
    /// Elements from token to token of `q`, a multiple of 8.
    long long ldq;
    /// Elements from token to token of `out`, a multiple of 8.
    long long ldo;
    /// `AttentionItem[item_count]`.
    DevicePtr items;
    /// u32 `[T]`: position of each row.
    DevicePtr positions;
    /// u32, page numbers of all sequences.
    DevicePtr pages;
    /// f32 `[., D]`: output not yet divided by the sum; unused by prompt.
    DevicePtr partial_o;
    /// f32 `[., 2]`: binary logarithm that the weights refer to, and their sum; unused by prompt.
    DevicePtr partial_ml;
    /// Blocks of the grid.
    int item_count;
    /// `H`.
    int heads;
    /// `G`, divides `H`.
    int kv_heads;
    /// `D`, even, at most the kernel's.
    int head_dim;
    /// `W`: a row at position i sees `i - W < j <= i`; 0 for all.
    unsigned int window;
    /// `log2(e) / sqrt(D)`.
    float scale;
};

/// The splits of one row. An array of these lies in device memory. All zero: nothing happens.
struct CombineRow {
    /// Packed row of the pass.
    unsigned int row;
    /// Partial of the first split, head 0.
    unsigned int partial;
    /// Partials from split to split.
    unsigned int split_stride;
    /// Partials from kv head to kv head.
    unsigned int head_stride;
    /// Number of splits the row sees.
    unsigned int splits;
};

/// `attention_combine`.
struct CombineParams {
    /// `CombineRow[row_count]`.
    DevicePtr rows;
    /// f32 `[., D]`.
    DevicePtr partial_o;
    /// f32 `[., 2]`.
    DevicePtr partial_ml;
    /// bf16 `[T, H, D]`.
    DevicePtr out;
    /// Elements from token to token of `out`.
    long long ldo;
    /// Rows.
    int row_count;
    /// `H`.
    int heads;
    /// `G`.
    int kv_heads;
    /// `D`.
    int head_dim;
};

/// `rms_norm`: `x[x_row + i, :] = h[rows[i], :] · rsqrt(mean(h[rows[i], :]²) + eps) ∘ w`.
struct RmsNormParams {
    /// f32 `[., C]`.
    DevicePtr h;
    /// f32 `[C]`.
    DevicePtr w;
    /// u32 `[row_count]`, or 0 for rows 0, 1, 2...
    DevicePtr rows;
    /// bf16 `[., C]`.
    DevicePtr x;
    /// Elements from row to row of `h`.
    long long ldh;
    /// Elements from row to row of `x`.
    long long ldx;
    /// Rows to make.
    int row_count;
    /// `C`.
    int channels;
    /// First row of `x` to be written.
    int x_row;
    /// Added to the mean square.
    float eps;
};

/// `embed`: `h[t, :] = table[tokens[t], :]`.
struct EmbedParams {
    /// bf16 `[V, C]`.
    DevicePtr table;
    /// u32 `[row_count]`.
    DevicePtr tokens;
    /// f32 `[row_count, C]`.
    DevicePtr h;
    /// Elements from row to row of `table`, a multiple of 8.
    long long ld;
    /// Elements from row to row of `h`.
    long long ldh;
    /// Rows.
    int row_count;
    /// `C`.
    int channels;
};

/// `kv_copy`: the first `keys` keys of page `from` to page `to`, in every array.
struct KvCopyParams {
    /// u64 `[array_count]`: addresses of the key and value caches of all layers, bf16 `[page][G][64][D]` each.
    DevicePtr arrays;
    /// Their number.
    int array_count;
    /// `G`.
    int kv_heads;
    /// `D`.
    int head_dim;
    /// Keys to copy, at most 64.
    int keys;
    /// Page to read.
    unsigned int from;
    /// Page to write.
    unsigned int to;
};

/// `kv_move`: keys from slot to slot, one move after the other, in every array.
struct KvMoveParams {
    /// u64 `[array_count]`: addresses of the key and value caches of all layers, bf16 `[page][G][64][D]` each.
    DevicePtr arrays;
    /// u32 `[2 * count]`: from and to, each `page * 64 + slot in page`.
    DevicePtr moves;
    /// Number of arrays.
    int array_count;
    /// `G`.
    int kv_heads;
    /// `D`.
    int head_dim;
    /// Number of moves.
    int count;
};

/// `head_lse`, `head_lse_int8` (write `partials`), then `head_lse_fold` (writes `out`).
struct HeadLseParams {
    /// bf16 `[., k]`.
    DevicePtr x;
    /// Elements from row to row of `x`, a multiple of 8.
    long long ldx;
    /// u32 `[m]`: rows of `x`, or 0 for rows 0, 1, 2...
    DevicePtr rows;
    /// `[n, k]`.
    struct Weight head;
    /// f32 `[m, ceil(n / 64), 2]`.
    DevicePtr partials;
    /// f64 `[m, 2]`: maximum and sum of `exp(z - maximum)`: the log-sum-exp is `max + ln(sum)`.
    DevicePtr out;
    /// Rows to answer.
    int m;
    /// `V`.
    int n;
    /// Inner dimension.
    int k;
    /// 0.
    int reserved;
};

/// `cross_entropy`.
struct CrossEntropyParams {
    /// f32 `[m, n]`; with `gradient`, bf16 `[m, n]` with rows `2 · ld` apart afterwards.
    DevicePtr logits;
    /// u32 `[m]`, below `n`.
    DevicePtr targets;
    /// f64 `[m, 2]`: `max - z[target]` and `Σ exp(z - max)`: the loss is the first plus the log of the second.
    DevicePtr out;
    /// Elements from row to row of `logits`, a multiple of 4.
    long long ld;
    /// Rows.
    int m;
    /// `V`.
    int n;
    /// What each row's loss counts.
    float weight;
    /// Whether the gradient is asked for.
    int gradient;
};

/// `dropout` (bf16) and `dropout_backward` (f32).
struct DropoutParams {
    /// `x`, or `dz`.
    DevicePtr x;
    /// What is written, or for backward added to.
    DevicePtr out;
    /// Elements from row to row of `x`, a multiple of 4.
    long long ldx;
    /// Elements from row to row of `out`, a multiple of 4.
    long long ldo;
    /// Of the mask.
    unsigned long long key;
    /// Rows.
    int rows;
    /// Columns: element `(i, j)` is number `i · columns + j` of the mask.
    int columns;
    /// Probability of dropping.
    float p;
    /// `1 / (1 - p)`.
    float keep;
};

/// What `argmax` found in a row.
struct ArgmaxResult {
    /// The logit.
    float value;
    /// Its id; 0xffffffff if none is allowed.
    unsigned int index;
};

/// `argmax`.
struct ArgmaxParams {
    /// f32 `[m, n]`.
    DevicePtr logits;
    /// u32 `[m, ceil(n / 32)]`: bit i of word w allows id `32 w + i`; 0 for all.
    DevicePtr mask;
    /// `ArgmaxResult[m]`.
    DevicePtr out;
    /// Elements from row to row of `logits`.
    long long ld;
    /// Words from row to row of `mask`; 0 for one mask.
    long long mask_ld;
    /// Rows.
    int m;
    /// `V`.
    int n;
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

/// A tile of attention over packed examples. An array of these lies in device memory; `packed_work.rs` builds it.
struct PackedItem {
    /// Packed row of the pass that the example begins at.
    unsigned int start;
    /// Rows of the example.
    unsigned int length;
    /// First of the tile's rows or keys, counted from the example's beginning.
    unsigned int first;
    /// 0.
    unsigned int reserved;
};

/// `packed_attention_*` (writes `o` and `lse`), `packed_delta` (writes `delta`), `packed_dq_*`, `packed_dkv_*`.
struct PackedAttentionParams {
    /// bf16 `[T, H, D]`.
    DevicePtr q;
    /// bf16 `[T, G, D]`.
    DevicePtr k;
    /// bf16 `[T, G, D]`.
    DevicePtr v;
    /// bf16 `[T, H, D]`.
    DevicePtr o;
    /// bf16 `[T, H, D]`; unused by forward.
    DevicePtr d_o;
    /// f32 `[T, H]`: natural log of each softmax's denominator.
    DevicePtr lse;
    /// f32 `[T, H]`: `Σ dO ∘ O`; unused by forward.
    DevicePtr delta;
    /// f32 `[T, H, D]`.
    DevicePtr dq;
    /// f32 `[T, G, D]`.
    DevicePtr dk;
    /// f32 `[T, G, D]`.
    DevicePtr dv;
    /// Elements from row to row of `q`, `o` and `d_o`, a multiple of 8.
    long long ldq;
    /// Elements from row to row of `k` and `v`, a multiple of 8.
    long long ldk;
    /// Elements from row to row of `dq`, even.
    long long ld_dq;
    /// Elements from row to row of `dk` and `dv`, even.
    long long ld_dk;
    /// `PackedItem[item_count]`, those that see most first.
    DevicePtr items;
    /// Number of items.
    int item_count;
    /// `T`.
    int rows;
    /// `H`.
    int heads;
    /// `G`, divides `H`.
    int kv_heads;
    /// `D`, even, at most the kernel's.
    int head_dim;
    /// `W`: row i sees `i - W < j <= i`; 0 for all.
    unsigned int window;
    /// `log2(e) / sqrt(D)`.
    float scale;
    /// `1 / sqrt(D)`.
    float root;
};

/// `round_rows`, `copy_rows`.
struct CopyParams {
    /// f32 `[rows, columns]`.
    DevicePtr x;
    /// The same in bf16 or f32.
    DevicePtr out;
    /// Elements from row to row of `x`.
    long long ldx;
    /// Elements from row to row of `out`.
    long long ldo;
    /// Rows.
    int row_count;
    /// Columns; where they are a multiple of 8, rows start at 16 bytes.
    int columns;
};

/// `swiglu_rows` (writes `out`), `swiglu_backward` (writes `dgate` and `dup`). All bf16 `[rows, columns]`.
struct SwigluParams {
    /// Gate.
    DevicePtr gate;
    /// Up.
    DevicePtr up;
    /// `silu(gate) ∘ up`.
    DevicePtr out;
    /// Gradient of `out`.
    DevicePtr dout;
    /// Gradient of `gate`.
    DevicePtr dgate;
    /// Gradient of `up`.
    DevicePtr dup;
    /// Elements from row to row.
    long long ld;
    /// Rows.
    int row_count;
    /// Columns; where they are a multiple of 8, rows start at 16 bytes.
    int columns;
};

/// `rope_rows`.
struct RopeParams {
    /// f32 `[rows, columns]`.
    DevicePtr x;
    /// bf16 `[rows, columns]`.
    DevicePtr out;
    /// u32 `[rows]`.
    DevicePtr positions;
    /// f32 `[positions, D/2]`.
    DevicePtr cos;
    /// f32 `[positions, D/2]`.
    DevicePtr sin;
    /// Elements from row to row of `x`.
    long long ldx;
    /// Elements from row to row of `out`.
    long long ldo;
    /// Rows.
    int row_count;
    /// Columns: heads times `D`.
    int columns;
    /// `D`, even.
    int head_dim;
    /// 1 to turn back.
    int inverse;
};

/// `rms_norm_backward` (adds to `dh`, writes `r`), then, for `dw`, `rms_norm_dw` (writes `partials`) and `rms_norm_dw_fold`.
struct RmsNormBackwardParams {
    /// f32 `[row_count, C]`.
    DevicePtr dx;
    /// f32 `[., C]`.
    DevicePtr h;
    /// f32 `[C]`.
    DevicePtr w;
    /// u32 `[row_count]`, all different, or 0 for rows 0, 1, 2...
    DevicePtr rows;
    /// f32 `[., C]`, added to.
    DevicePtr dh;
    /// f32 `[row_count]`: `rsqrt(mean(h²) + eps)`; 0 if nobody asks.
    DevicePtr r;
    /// f32 `[⌈row_count / 64⌉, C]`.
    DevicePtr partials;
    /// f32 `[C]`, added to.
    DevicePtr dw;
    /// Elements from row to row of `dx`, `h` and `dh`.
    long long ld;
    /// Rows.
    int row_count;
    /// `C`.
    int channels;
    /// Added to the mean square.
    float eps;
    /// 0.
    int reserved;
};

/// The rows of one token. An array of these lies in device memory.
struct EmbedSegment {
    /// The token.
    unsigned int token;
    /// First of its rows in `EmbedBackwardParams::rows`.
    unsigned int begin;
    /// One past the last of them.
    unsigned int end;
};

/// `embed_backward`: `dtable[token, :] += Σ dh[t, :]` over the rows of each token, in order.
struct EmbedBackwardParams {
    /// f32 `[., C]`.
    DevicePtr dh;
    /// u32, rows of `dh`, those of a token side by side.
    DevicePtr rows;
    /// `EmbedSegment[segment_count]`, tokens all different.
    DevicePtr segments;
    /// f32 `[V, C]`, dense.
    DevicePtr dtable;
    /// Elements from row to row of `dh`.
    long long ldh;
    /// Tokens that occur.
    int segment_count;
    /// `C`.
    int channels;
};

/// One parameter of a step of AdamW.
struct AdamTensor {
    /// f32 `[length]`.
    DevicePtr gradient;
    /// Mean.
    DevicePtr m;
    /// Mean square.
    DevicePtr v;
    /// The parameter in f32; unused by `adamw_half`.
    DevicePtr master;
    /// The parameter in bf16 `[., columns]`; 0 where `master` is all there is.
    DevicePtr weight;
    /// Elements from row to row of `weight`.
    long long ld;
    /// Key of stochastic rounding.
    unsigned long long key;
    /// Elements, fewer than 2^31.
    unsigned int length;
    /// Elements of a row.
    unsigned int columns;
    /// Learning rate times weight decay.
    float decay;
    /// Blocks of the parameters before it: its own are the `⌈length / 1024⌉` from here on.
    unsigned int first;
};

/// `adamw` (state in f32), `adamw_half` (state in bf16, stochastic rounding), all parameters at once.
struct AdamParams {
    /// `AdamTensor [count]`, at least one, ascending by `first` from 0.
    DevicePtr tensors;
    /// Decay of the mean and of the mean square.
    float beta[2];
    /// `1 - beta`.
    float rest[2];
    /// `1 / (1 - betaᵗ)`.
    float correction[2];
    /// Added to the root of the mean square.
    float epsilon;
    /// Learning rate.
    float rate;
    /// What the gradient is multiplied by first.
    float scale;
    /// Parameters.
    unsigned int count;
    /// Blocks of all of them.
    unsigned int blocks;
    /// 0.
    unsigned int reserved;
};

/// One of the vectors of `sum_squares`.
struct SquaresTensor {
    /// f32 `[length]`.
    DevicePtr x;
    /// Elements, fewer than 2^31.
    unsigned int length;
    /// Sums of the vectors before it: its own are the `⌈length / 16384⌉` from here on.
    unsigned int first;
};

/// `sum_squares`: `out[first + b] = Σ x²` of elements `16384 b` to `16384 b + 16383` of each vector.
struct SumSquaresParams {
    /// `SquaresTensor [count]`, at least one, ascending by `first` from 0.
    DevicePtr tensors;
    /// f64 `[blocks]`.
    DevicePtr out;
    /// Vectors.
    unsigned int count;
    /// Sums of all of them.
    unsigned int blocks;
};
