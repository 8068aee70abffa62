//! The parameter structs of the kernels: what bindgen makes of `cu/params.h`. Not edited by hand.

/// An address in device memory.
pub type DevicePtr = core::ffi::c_ulonglong;
/// A weight matrix `[rows, K]`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct Weight {
    /// bf16, or int8 in the order of `int8_position`.
    pub data: DevicePtr,
    /// f32 `[rows]`, what the row of an int8 matrix is multiplied by; 0 for bf16.
    pub scale: DevicePtr,
    /// Elements from row to row: a multiple of 8 (bf16) or 16 (int8).
    pub ld: core::ffi::c_longlong,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Weight"][::core::mem::size_of::<Weight>() - 24usize];
    ["Alignment of Weight"][::core::mem::align_of::<Weight>() - 8usize];
    ["Offset of field: Weight::data"][::core::mem::offset_of!(Weight, data) - 0usize];
    ["Offset of field: Weight::scale"][::core::mem::offset_of!(Weight, scale) - 8usize];
    ["Offset of field: Weight::ld"][::core::mem::offset_of!(Weight, ld) - 16usize];
};
/// A low-rank update of one weight for a range of packed rows: `y[t, :] += u[t, :] Bᵀ`. An array of these lies in device memory.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct LoraPart {
    /// bf16 `[T, rank]`, `u = scale · x Aᵀ`, indexed by packed row.
    pub u: DevicePtr,
    /// bf16 `[rows of the weight, rank]`.
    pub b: DevicePtr,
    /// Elements from row to row of `u`, a multiple of 8.
    pub ldu: core::ffi::c_longlong,
    /// Elements from row to row of `b`, a multiple of 8.
    pub ldb: core::ffi::c_longlong,
    /// First packed row.
    pub row_begin: core::ffi::c_int,
    /// One past the last packed row.
    pub row_end: core::ffi::c_int,
    /// `R`, any.
    pub rank: core::ffi::c_int,
    /// Index into `GemmParams::weights`.
    pub weight: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LoraPart"][::core::mem::size_of::<LoraPart>() - 48usize];
    ["Alignment of LoraPart"][::core::mem::align_of::<LoraPart>() - 8usize];
    ["Offset of field: LoraPart::u"][::core::mem::offset_of!(LoraPart, u) - 0usize];
    ["Offset of field: LoraPart::b"][::core::mem::offset_of!(LoraPart, b) - 8usize];
    ["Offset of field: LoraPart::ldu"][::core::mem::offset_of!(LoraPart, ldu) - 16usize];
    ["Offset of field: LoraPart::ldb"][::core::mem::offset_of!(LoraPart, ldb) - 24usize];
    [
        "Offset of field: LoraPart::row_begin",
    ][::core::mem::offset_of!(LoraPart, row_begin) - 32usize];
    [
        "Offset of field: LoraPart::row_end",
    ][::core::mem::offset_of!(LoraPart, row_end) - 36usize];
    [
        "Offset of field: LoraPart::rank",
    ][::core::mem::offset_of!(LoraPart, rank) - 40usize];
    [
        "Offset of field: LoraPart::weight",
    ][::core::mem::offset_of!(LoraPart, weight) - 44usize];
};
/// `x Wᵀ` with an epilogue: gemm_* and skinny_*.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct GemmParams {
    /// bf16 `[m, k]`.
    pub x: DevicePtr,
    /// Elements from row to row of `x`, a multiple of 8.
    pub ldx: core::ffi::c_longlong,
    /// `[0]`; gate and up; or q, k and v.
    pub weights: [Weight; 3usize],
    /// `LoraPart[lora_count]` in device memory, ranges of one weight disjoint, in any order.
    pub lora: DevicePtr,
    /// Number of updates, 0 for none.
    pub lora_count: core::ffi::c_int,
    /// Rows of `x`.
    pub m: core::ffi::c_int,
    /// Columns of the product: rows of `weights[0]`; for SwiGLU `F`; for QKV `(H + 2G) · D`.
    pub n: core::ffi::c_int,
    /// Inner dimension, any.
    pub k: core::ffi::c_int,
    /// The result: bf16 for store, SwiGLU and QKV (q), f32 for add and logits. Row 0 is that of `x`.
    pub out: DevicePtr,
    /// Elements from row to row of `out`.
    pub ldo: core::ffi::c_longlong,
    /// What `*_store` multiplies the product by.
    pub scale: f32,
    /// 0.
    pub reserved: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GemmParams"][::core::mem::size_of::<GemmParams>() - 136usize];
    ["Alignment of GemmParams"][::core::mem::align_of::<GemmParams>() - 8usize];
    ["Offset of field: GemmParams::x"][::core::mem::offset_of!(GemmParams, x) - 0usize];
    [
        "Offset of field: GemmParams::ldx",
    ][::core::mem::offset_of!(GemmParams, ldx) - 8usize];
    [
        "Offset of field: GemmParams::weights",
    ][::core::mem::offset_of!(GemmParams, weights) - 16usize];
    [
        "Offset of field: GemmParams::lora",
    ][::core::mem::offset_of!(GemmParams, lora) - 88usize];
    [
        "Offset of field: GemmParams::lora_count",
    ][::core::mem::offset_of!(GemmParams, lora_count) - 96usize];
    [
        "Offset of field: GemmParams::m",
    ][::core::mem::offset_of!(GemmParams, m) - 100usize];
    [
        "Offset of field: GemmParams::n",
    ][::core::mem::offset_of!(GemmParams, n) - 104usize];
    [
        "Offset of field: GemmParams::k",
    ][::core::mem::offset_of!(GemmParams, k) - 108usize];
    [
        "Offset of field: GemmParams::out",
    ][::core::mem::offset_of!(GemmParams, out) - 112usize];
    [
        "Offset of field: GemmParams::ldo",
    ][::core::mem::offset_of!(GemmParams, ldo) - 120usize];
    [
        "Offset of field: GemmParams::scale",
    ][::core::mem::offset_of!(GemmParams, scale) - 128usize];
    [
        "Offset of field: GemmParams::reserved",
    ][::core::mem::offset_of!(GemmParams, reserved) - 132usize];
};
/// `gemm_qkv`, `skinny_qkv`: rotary embedding of q and k, q to `gemm.out`, k and v to the cache.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct QkvParams {
    /// `weights` are those of q, k and v.
    pub gemm: GemmParams,
    /// This layer's key cache, bf16 `[page][G][64][D]`.
    pub k_cache: DevicePtr,
    /// This layer's value cache, bf16 `[page][G][64][D]`.
    pub v_cache: DevicePtr,
    /// u32 `[m]`: where row t goes, `page * 64 + slot in page`.
    pub slots: DevicePtr,
    /// u32 `[m]`: position of row t.
    pub positions: DevicePtr,
    /// f32 `[positions, D/2]`.
    pub cos: DevicePtr,
    /// f32 `[positions, D/2]`.
    pub sin: DevicePtr,
    /// `H`.
    pub heads: core::ffi::c_int,
    /// `G`.
    pub kv_heads: core::ffi::c_int,
    /// `D`, even.
    pub head_dim: core::ffi::c_int,
    /// 0.
    pub reserved: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of QkvParams"][::core::mem::size_of::<QkvParams>() - 200usize];
    ["Alignment of QkvParams"][::core::mem::align_of::<QkvParams>() - 8usize];
    [
        "Offset of field: QkvParams::gemm",
    ][::core::mem::offset_of!(QkvParams, gemm) - 0usize];
    [
        "Offset of field: QkvParams::k_cache",
    ][::core::mem::offset_of!(QkvParams, k_cache) - 136usize];
    [
        "Offset of field: QkvParams::v_cache",
    ][::core::mem::offset_of!(QkvParams, v_cache) - 144usize];
    [
        "Offset of field: QkvParams::slots",
    ][::core::mem::offset_of!(QkvParams, slots) - 152usize];
    [
        "Offset of field: QkvParams::positions",
    ][::core::mem::offset_of!(QkvParams, positions) - 160usize];
    [
        "Offset of field: QkvParams::cos",
    ][::core::mem::offset_of!(QkvParams, cos) - 168usize];
    [
        "Offset of field: QkvParams::sin",
    ][::core::mem::offset_of!(QkvParams, sin) - 176usize];
    [
        "Offset of field: QkvParams::heads",
    ][::core::mem::offset_of!(QkvParams, heads) - 184usize];
    [
        "Offset of field: QkvParams::kv_heads",
    ][::core::mem::offset_of!(QkvParams, kv_heads) - 188usize];
    [
        "Offset of field: QkvParams::head_dim",
    ][::core::mem::offset_of!(QkvParams, head_dim) - 192usize];
    [
        "Offset of field: QkvParams::reserved",
    ][::core::mem::offset_of!(QkvParams, reserved) - 196usize];
};
/// One term of a product: `A` is `[m, k]`, or `[k, m]` for `linear_dw`; `B` is `[n, k]`, or `[k, n]` for all but `linear`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct ProductTerm {
    /// bf16.
    pub a: DevicePtr,
    /// bf16.
    pub b: DevicePtr,
    /// Elements from row to row of `A`, a multiple of 8.
    pub lda: core::ffi::c_longlong,
    /// Elements from row to row of `B`, a multiple of 8.
    pub ldb: core::ffi::c_longlong,
    /// What is summed over, any.
    pub k: core::ffi::c_int,
    /// 0.
    pub reserved: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ProductTerm"][::core::mem::size_of::<ProductTerm>() - 40usize];
    ["Alignment of ProductTerm"][::core::mem::align_of::<ProductTerm>() - 8usize];
    [
        "Offset of field: ProductTerm::a",
    ][::core::mem::offset_of!(ProductTerm, a) - 0usize];
    [
        "Offset of field: ProductTerm::b",
    ][::core::mem::offset_of!(ProductTerm, b) - 8usize];
    [
        "Offset of field: ProductTerm::lda",
    ][::core::mem::offset_of!(ProductTerm, lda) - 16usize];
    [
        "Offset of field: ProductTerm::ldb",
    ][::core::mem::offset_of!(ProductTerm, ldb) - 24usize];
    [
        "Offset of field: ProductTerm::k",
    ][::core::mem::offset_of!(ProductTerm, k) - 32usize];
    [
        "Offset of field: ProductTerm::reserved",
    ][::core::mem::offset_of!(ProductTerm, reserved) - 36usize];
};
/// `linear*`: a sum of products, as training has them.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct ProductParams {
    /// The first `term_count` count.
    pub terms: [ProductTerm; 6usize],
    /// `[m, n]`, f32 or bf16; one after the other for each slice.
    pub out: DevicePtr,
    /// Elements from row to row of `out`.
    pub ldo: core::ffi::c_longlong,
    /// Rows of the result.
    pub m: core::ffi::c_int,
    /// Columns of the result.
    pub n: core::ffi::c_int,
    /// From 1 to 6.
    pub term_count: core::ffi::c_int,
    /// 0: bf16, 1: f32, 2: added to f32.
    pub output: core::ffi::c_int,
    /// Elements of the sum that a slice takes. More slices than one are for one term only, and not for bf16.
    pub slice: core::ffi::c_int,
    /// What the sum is multiplied by.
    pub scale: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ProductParams"][::core::mem::size_of::<ProductParams>() - 280usize];
    ["Alignment of ProductParams"][::core::mem::align_of::<ProductParams>() - 8usize];
    [
        "Offset of field: ProductParams::terms",
    ][::core::mem::offset_of!(ProductParams, terms) - 0usize];
    [
        "Offset of field: ProductParams::out",
    ][::core::mem::offset_of!(ProductParams, out) - 240usize];
    [
        "Offset of field: ProductParams::ldo",
    ][::core::mem::offset_of!(ProductParams, ldo) - 248usize];
    [
        "Offset of field: ProductParams::m",
    ][::core::mem::offset_of!(ProductParams, m) - 256usize];
    [
        "Offset of field: ProductParams::n",
    ][::core::mem::offset_of!(ProductParams, n) - 260usize];
    [
        "Offset of field: ProductParams::term_count",
    ][::core::mem::offset_of!(ProductParams, term_count) - 264usize];
    [
        "Offset of field: ProductParams::output",
    ][::core::mem::offset_of!(ProductParams, output) - 268usize];
    [
        "Offset of field: ProductParams::slice",
    ][::core::mem::offset_of!(ProductParams, slice) - 272usize];
    [
        "Offset of field: ProductParams::scale",
    ][::core::mem::offset_of!(ProductParams, scale) - 276usize];
};
/// `add_slices`: `out[i] += Σ slices[s, i]`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct AddSlicesParams {
    /// f32 `[slice_count, count]`.
    pub slices: DevicePtr,
    /// f32 `[count]`.
    pub out: DevicePtr,
    /// Elements.
    pub count: core::ffi::c_longlong,
    /// Slices.
    pub slice_count: core::ffi::c_int,
    /// 0.
    pub reserved: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AddSlicesParams"][::core::mem::size_of::<AddSlicesParams>() - 32usize];
    [
        "Alignment of AddSlicesParams",
    ][::core::mem::align_of::<AddSlicesParams>() - 8usize];
    [
        "Offset of field: AddSlicesParams::slices",
    ][::core::mem::offset_of!(AddSlicesParams, slices) - 0usize];
    [
        "Offset of field: AddSlicesParams::out",
    ][::core::mem::offset_of!(AddSlicesParams, out) - 8usize];
    [
        "Offset of field: AddSlicesParams::count",
    ][::core::mem::offset_of!(AddSlicesParams, count) - 16usize];
    [
        "Offset of field: AddSlicesParams::slice_count",
    ][::core::mem::offset_of!(AddSlicesParams, slice_count) - 24usize];
    [
        "Offset of field: AddSlicesParams::reserved",
    ][::core::mem::offset_of!(AddSlicesParams, reserved) - 28usize];
};
/// One question of `head_some`: logits of one row of x at some ids. An array of these lies in device memory.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct HeadAsk {
    /// First element of this ask in `HeadSomeParams::ids` and in `out`.
    pub first: core::ffi::c_uint,
    /// Number of ids.
    pub count: core::ffi::c_uint,
    /// Row of `x`.
    pub row: core::ffi::c_uint,
    /// 0.
    pub reserved: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of HeadAsk"][::core::mem::size_of::<HeadAsk>() - 16usize];
    ["Alignment of HeadAsk"][::core::mem::align_of::<HeadAsk>() - 4usize];
    [
        "Offset of field: HeadAsk::first",
    ][::core::mem::offset_of!(HeadAsk, first) - 0usize];
    [
        "Offset of field: HeadAsk::count",
    ][::core::mem::offset_of!(HeadAsk, count) - 4usize];
    ["Offset of field: HeadAsk::row"][::core::mem::offset_of!(HeadAsk, row) - 8usize];
    [
        "Offset of field: HeadAsk::reserved",
    ][::core::mem::offset_of!(HeadAsk, reserved) - 12usize];
};
/// `head_some`: `out[first + i] = x[row] · head[ids[first + i]]`, the same bits as every other product gives.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct HeadSomeParams {
    /// bf16 `[rows, k]`.
    pub x: DevicePtr,
    /// Elements from row to row of `x`, a multiple of 8.
    pub ldx: core::ffi::c_longlong,
    /// `[V, k]`.
    pub head: Weight,
    /// `HeadAsk[asks]` in device memory.
    pub ask: DevicePtr,
    /// u32, vocabulary ids of all asks.
    pub ids: DevicePtr,
    /// f32, logits of all asks.
    pub out: DevicePtr,
    /// Number of asks.
    pub asks: core::ffi::c_int,
    /// Largest `count` of an ask.
    pub longest: core::ffi::c_int,
    /// Inner dimension.
    pub k: core::ffi::c_int,
    /// 0.
    pub reserved: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of HeadSomeParams"][::core::mem::size_of::<HeadSomeParams>() - 80usize];
    ["Alignment of HeadSomeParams"][::core::mem::align_of::<HeadSomeParams>() - 8usize];
    [
        "Offset of field: HeadSomeParams::x",
    ][::core::mem::offset_of!(HeadSomeParams, x) - 0usize];
    [
        "Offset of field: HeadSomeParams::ldx",
    ][::core::mem::offset_of!(HeadSomeParams, ldx) - 8usize];
    [
        "Offset of field: HeadSomeParams::head",
    ][::core::mem::offset_of!(HeadSomeParams, head) - 16usize];
    [
        "Offset of field: HeadSomeParams::ask",
    ][::core::mem::offset_of!(HeadSomeParams, ask) - 40usize];
    [
        "Offset of field: HeadSomeParams::ids",
    ][::core::mem::offset_of!(HeadSomeParams, ids) - 48usize];
    [
        "Offset of field: HeadSomeParams::out",
    ][::core::mem::offset_of!(HeadSomeParams, out) - 56usize];
    [
        "Offset of field: HeadSomeParams::asks",
    ][::core::mem::offset_of!(HeadSomeParams, asks) - 64usize];
    [
        "Offset of field: HeadSomeParams::longest",
    ][::core::mem::offset_of!(HeadSomeParams, longest) - 68usize];
    [
        "Offset of field: HeadSomeParams::k",
    ][::core::mem::offset_of!(HeadSomeParams, k) - 72usize];
    [
        "Offset of field: HeadSomeParams::reserved",
    ][::core::mem::offset_of!(HeadSomeParams, reserved) - 76usize];
};
/** A tile of attention: packed rows of one sequence and kv head against blocks of 64 keys. An array of these lies in device
 memory; `attention_work.rs` builds it. All zero: nothing happens.*/
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct AttentionItem {
    /// The tree node's set of ancestors, bit i for the one in slot `base + i`; 0 if slots are positions.
    pub tree: core::ffi::c_ulonglong,
    /// Position and slot from which on the keys of a node are its ancestors'.
    pub base: core::ffi::c_uint,
    /// Packed row of the pass that the tile's first token is.
    pub row: core::ffi::c_uint,
    /// Heads of the group and token to be skipped before the tile's first row.
    pub first: core::ffi::c_uint,
    /// Rows, at most 64 (32 if D > 128): head `(first + r) % (H/G)` of token `row + (first + r) / (H/G)`.
    pub rows: core::ffi::c_uint,
    /// The kv head.
    pub head: core::ffi::c_uint,
    /// Where the sequence's page numbers begin in `AttentionParams::pages`.
    pub pages: core::ffi::c_uint,
    /// First block to visit.
    pub block_begin: core::ffi::c_uint,
    /// One past the last block to visit.
    pub block_end: core::ffi::c_uint,
    /// First of the blocks that every row sees whole.
    pub full_begin: core::ffi::c_uint,
    /// One past the last of them.
    pub full_end: core::ffi::c_uint,
    /// First position that some row sees.
    pub key_begin: core::ffi::c_uint,
    /// One past the last of them.
    pub key_end: core::ffi::c_uint,
    /// Where the first row's partial goes; row r's is `partial + r`.
    pub partial: core::ffi::c_uint,
    /// 0.
    pub reserved: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionItem"][::core::mem::size_of::<AttentionItem>() - 64usize];
    ["Alignment of AttentionItem"][::core::mem::align_of::<AttentionItem>() - 8usize];
    [
        "Offset of field: AttentionItem::tree",
    ][::core::mem::offset_of!(AttentionItem, tree) - 0usize];
    [
        "Offset of field: AttentionItem::base",
    ][::core::mem::offset_of!(AttentionItem, base) - 8usize];
    [
        "Offset of field: AttentionItem::row",
    ][::core::mem::offset_of!(AttentionItem, row) - 12usize];
    [
        "Offset of field: AttentionItem::first",
    ][::core::mem::offset_of!(AttentionItem, first) - 16usize];
    [
        "Offset of field: AttentionItem::rows",
    ][::core::mem::offset_of!(AttentionItem, rows) - 20usize];
    [
        "Offset of field: AttentionItem::head",
    ][::core::mem::offset_of!(AttentionItem, head) - 24usize];
    [
        "Offset of field: AttentionItem::pages",
    ][::core::mem::offset_of!(AttentionItem, pages) - 28usize];
    [
        "Offset of field: AttentionItem::block_begin",
    ][::core::mem::offset_of!(AttentionItem, block_begin) - 32usize];
    [
        "Offset of field: AttentionItem::block_end",
    ][::core::mem::offset_of!(AttentionItem, block_end) - 36usize];
    [
        "Offset of field: AttentionItem::full_begin",
    ][::core::mem::offset_of!(AttentionItem, full_begin) - 40usize];
    [
        "Offset of field: AttentionItem::full_end",
    ][::core::mem::offset_of!(AttentionItem, full_end) - 44usize];
    [
        "Offset of field: AttentionItem::key_begin",
    ][::core::mem::offset_of!(AttentionItem, key_begin) - 48usize];
    [
        "Offset of field: AttentionItem::key_end",
    ][::core::mem::offset_of!(AttentionItem, key_end) - 52usize];
    [
        "Offset of field: AttentionItem::partial",
    ][::core::mem::offset_of!(AttentionItem, partial) - 56usize];
    [
        "Offset of field: AttentionItem::reserved",
    ][::core::mem::offset_of!(AttentionItem, reserved) - 60usize];
};
/// `attention_prompt_*` (writes `out`) and `attention_split_*` (writes the partials).
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct AttentionParams {
    /// bf16 `[T, H, D]`.
    pub q: DevicePtr,
    /// This layer's key cache, bf16 `[page][G][64][D]`.
    pub k: DevicePtr,
    /// This layer's value cache, bf16 `[page][G][64][D]`.
    pub v: DevicePtr,
    /// bf16 `[T, H, D]`; unused by split.
    pub out: DevicePtr,
    /// Elements from token to token of `q`, a multiple of 8.
    pub ldq: core::ffi::c_longlong,
    /// Elements from token to token of `out`, a multiple of 8.
    pub ldo: core::ffi::c_longlong,
    /// `AttentionItem[item_count]`.
    pub items: DevicePtr,
    /// u32 `[T]`: position of each row.
    pub positions: DevicePtr,
    /// u32, page numbers of all sequences.
    pub pages: DevicePtr,
    /// f32 `[., D]`: output not yet divided by the sum; unused by prompt.
    pub partial_o: DevicePtr,
    /// f32 `[., 2]`: binary logarithm that the weights refer to, and their sum; unused by prompt.
    pub partial_ml: DevicePtr,
    /// Blocks of the grid.
    pub item_count: core::ffi::c_int,
    /// `H`.
    pub heads: core::ffi::c_int,
    /// `G`, divides `H`.
    pub kv_heads: core::ffi::c_int,
    /// `D`, even, at most the kernel's.
    pub head_dim: core::ffi::c_int,
    /// `W`: a row at position i sees `i - W < j <= i`; 0 for all.
    pub window: core::ffi::c_uint,
    /// `log2(e) / sqrt(D)`.
    pub scale: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionParams"][::core::mem::size_of::<AttentionParams>() - 112usize];
    [
        "Alignment of AttentionParams",
    ][::core::mem::align_of::<AttentionParams>() - 8usize];
    [
        "Offset of field: AttentionParams::q",
    ][::core::mem::offset_of!(AttentionParams, q) - 0usize];
    [
        "Offset of field: AttentionParams::k",
    ][::core::mem::offset_of!(AttentionParams, k) - 8usize];
    [
        "Offset of field: AttentionParams::v",
    ][::core::mem::offset_of!(AttentionParams, v) - 16usize];
    [
        "Offset of field: AttentionParams::out",
    ][::core::mem::offset_of!(AttentionParams, out) - 24usize];
    [
        "Offset of field: AttentionParams::ldq",
    ][::core::mem::offset_of!(AttentionParams, ldq) - 32usize];
    [
        "Offset of field: AttentionParams::ldo",
    ][::core::mem::offset_of!(AttentionParams, ldo) - 40usize];
    [
        "Offset of field: AttentionParams::items",
    ][::core::mem::offset_of!(AttentionParams, items) - 48usize];
    [
        "Offset of field: AttentionParams::positions",
    ][::core::mem::offset_of!(AttentionParams, positions) - 56usize];
    [
        "Offset of field: AttentionParams::pages",
    ][::core::mem::offset_of!(AttentionParams, pages) - 64usize];
    [
        "Offset of field: AttentionParams::partial_o",
    ][::core::mem::offset_of!(AttentionParams, partial_o) - 72usize];
    [
        "Offset of field: AttentionParams::partial_ml",
    ][::core::mem::offset_of!(AttentionParams, partial_ml) - 80usize];
    [
        "Offset of field: AttentionParams::item_count",
    ][::core::mem::offset_of!(AttentionParams, item_count) - 88usize];
    [
        "Offset of field: AttentionParams::heads",
    ][::core::mem::offset_of!(AttentionParams, heads) - 92usize];
    [
        "Offset of field: AttentionParams::kv_heads",
    ][::core::mem::offset_of!(AttentionParams, kv_heads) - 96usize];
    [
        "Offset of field: AttentionParams::head_dim",
    ][::core::mem::offset_of!(AttentionParams, head_dim) - 100usize];
    [
        "Offset of field: AttentionParams::window",
    ][::core::mem::offset_of!(AttentionParams, window) - 104usize];
    [
        "Offset of field: AttentionParams::scale",
    ][::core::mem::offset_of!(AttentionParams, scale) - 108usize];
};
/// The splits of one row. An array of these lies in device memory. All zero: nothing happens.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct CombineRow {
    /// Packed row of the pass.
    pub row: core::ffi::c_uint,
    /// Partial of the first split, head 0.
    pub partial: core::ffi::c_uint,
    /// Partials from split to split.
    pub split_stride: core::ffi::c_uint,
    /// Partials from kv head to kv head.
    pub head_stride: core::ffi::c_uint,
    /// Number of splits the row sees.
    pub splits: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CombineRow"][::core::mem::size_of::<CombineRow>() - 20usize];
    ["Alignment of CombineRow"][::core::mem::align_of::<CombineRow>() - 4usize];
    [
        "Offset of field: CombineRow::row",
    ][::core::mem::offset_of!(CombineRow, row) - 0usize];
    [
        "Offset of field: CombineRow::partial",
    ][::core::mem::offset_of!(CombineRow, partial) - 4usize];
    [
        "Offset of field: CombineRow::split_stride",
    ][::core::mem::offset_of!(CombineRow, split_stride) - 8usize];
    [
        "Offset of field: CombineRow::head_stride",
    ][::core::mem::offset_of!(CombineRow, head_stride) - 12usize];
    [
        "Offset of field: CombineRow::splits",
    ][::core::mem::offset_of!(CombineRow, splits) - 16usize];
};
/// `attention_combine`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct CombineParams {
    /// `CombineRow[row_count]`.
    pub rows: DevicePtr,
    /// f32 `[., D]`.
    pub partial_o: DevicePtr,
    /// f32 `[., 2]`.
    pub partial_ml: DevicePtr,
    /// bf16 `[T, H, D]`.
    pub out: DevicePtr,
    /// Elements from token to token of `out`.
    pub ldo: core::ffi::c_longlong,
    /// Rows.
    pub row_count: core::ffi::c_int,
    /// `H`.
    pub heads: core::ffi::c_int,
    /// `G`.
    pub kv_heads: core::ffi::c_int,
    /// `D`.
    pub head_dim: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CombineParams"][::core::mem::size_of::<CombineParams>() - 56usize];
    ["Alignment of CombineParams"][::core::mem::align_of::<CombineParams>() - 8usize];
    [
        "Offset of field: CombineParams::rows",
    ][::core::mem::offset_of!(CombineParams, rows) - 0usize];
    [
        "Offset of field: CombineParams::partial_o",
    ][::core::mem::offset_of!(CombineParams, partial_o) - 8usize];
    [
        "Offset of field: CombineParams::partial_ml",
    ][::core::mem::offset_of!(CombineParams, partial_ml) - 16usize];
    [
        "Offset of field: CombineParams::out",
    ][::core::mem::offset_of!(CombineParams, out) - 24usize];
    [
        "Offset of field: CombineParams::ldo",
    ][::core::mem::offset_of!(CombineParams, ldo) - 32usize];
    [
        "Offset of field: CombineParams::row_count",
    ][::core::mem::offset_of!(CombineParams, row_count) - 40usize];
    [
        "Offset of field: CombineParams::heads",
    ][::core::mem::offset_of!(CombineParams, heads) - 44usize];
    [
        "Offset of field: CombineParams::kv_heads",
    ][::core::mem::offset_of!(CombineParams, kv_heads) - 48usize];
    [
        "Offset of field: CombineParams::head_dim",
    ][::core::mem::offset_of!(CombineParams, head_dim) - 52usize];
};
/// `rms_norm`: `x[x_row + i, :] = h[rows[i], :] · rsqrt(mean(h[rows[i], :]²) + eps) ∘ w`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct RmsNormParams {
    /// f32 `[., C]`.
    pub h: DevicePtr,
    /// f32 `[C]`.
    pub w: DevicePtr,
    /// u32 `[row_count]`, or 0 for rows 0, 1, 2...
    pub rows: DevicePtr,
    /// bf16 `[., C]`.
    pub x: DevicePtr,
    /// Elements from row to row of `h`.
    pub ldh: core::ffi::c_longlong,
    /// Elements from row to row of `x`.
    pub ldx: core::ffi::c_longlong,
    /// Rows to make.
    pub row_count: core::ffi::c_int,
    /// `C`.
    pub channels: core::ffi::c_int,
    /// First row of `x` to be written.
    pub x_row: core::ffi::c_int,
    /// Added to the mean square.
    pub eps: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RmsNormParams"][::core::mem::size_of::<RmsNormParams>() - 64usize];
    ["Alignment of RmsNormParams"][::core::mem::align_of::<RmsNormParams>() - 8usize];
    [
        "Offset of field: RmsNormParams::h",
    ][::core::mem::offset_of!(RmsNormParams, h) - 0usize];
    [
        "Offset of field: RmsNormParams::w",
    ][::core::mem::offset_of!(RmsNormParams, w) - 8usize];
    [
        "Offset of field: RmsNormParams::rows",
    ][::core::mem::offset_of!(RmsNormParams, rows) - 16usize];
    [
        "Offset of field: RmsNormParams::x",
    ][::core::mem::offset_of!(RmsNormParams, x) - 24usize];
    [
        "Offset of field: RmsNormParams::ldh",
    ][::core::mem::offset_of!(RmsNormParams, ldh) - 32usize];
    [
        "Offset of field: RmsNormParams::ldx",
    ][::core::mem::offset_of!(RmsNormParams, ldx) - 40usize];
    [
        "Offset of field: RmsNormParams::row_count",
    ][::core::mem::offset_of!(RmsNormParams, row_count) - 48usize];
    [
        "Offset of field: RmsNormParams::channels",
    ][::core::mem::offset_of!(RmsNormParams, channels) - 52usize];
    [
        "Offset of field: RmsNormParams::x_row",
    ][::core::mem::offset_of!(RmsNormParams, x_row) - 56usize];
    [
        "Offset of field: RmsNormParams::eps",
    ][::core::mem::offset_of!(RmsNormParams, eps) - 60usize];
};
/// `embed`: `h[t, :] = table[tokens[t], :]`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct EmbedParams {
    /// bf16 `[V, C]`.
    pub table: DevicePtr,
    /// u32 `[row_count]`.
    pub tokens: DevicePtr,
    /// f32 `[row_count, C]`.
    pub h: DevicePtr,
    /// Elements from row to row of `table`, a multiple of 8.
    pub ld: core::ffi::c_longlong,
    /// Elements from row to row of `h`.
    pub ldh: core::ffi::c_longlong,
    /// Rows.
    pub row_count: core::ffi::c_int,
    /// `C`.
    pub channels: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of EmbedParams"][::core::mem::size_of::<EmbedParams>() - 48usize];
    ["Alignment of EmbedParams"][::core::mem::align_of::<EmbedParams>() - 8usize];
    [
        "Offset of field: EmbedParams::table",
    ][::core::mem::offset_of!(EmbedParams, table) - 0usize];
    [
        "Offset of field: EmbedParams::tokens",
    ][::core::mem::offset_of!(EmbedParams, tokens) - 8usize];
    [
        "Offset of field: EmbedParams::h",
    ][::core::mem::offset_of!(EmbedParams, h) - 16usize];
    [
        "Offset of field: EmbedParams::ld",
    ][::core::mem::offset_of!(EmbedParams, ld) - 24usize];
    [
        "Offset of field: EmbedParams::ldh",
    ][::core::mem::offset_of!(EmbedParams, ldh) - 32usize];
    [
        "Offset of field: EmbedParams::row_count",
    ][::core::mem::offset_of!(EmbedParams, row_count) - 40usize];
    [
        "Offset of field: EmbedParams::channels",
    ][::core::mem::offset_of!(EmbedParams, channels) - 44usize];
};
/// `kv_copy`: the first `keys` keys of page `from` to page `to`, in every array.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct KvCopyParams {
    /// u64 `[array_count]`: addresses of the key and value caches of all layers, bf16 `[page][G][64][D]` each.
    pub arrays: DevicePtr,
    /// Their number.
    pub array_count: core::ffi::c_int,
    /// `G`.
    pub kv_heads: core::ffi::c_int,
    /// `D`.
    pub head_dim: core::ffi::c_int,
    /// Keys to copy, at most 64.
    pub keys: core::ffi::c_int,
    /// Page to read.
    pub from: core::ffi::c_uint,
    /// Page to write.
    pub to: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of KvCopyParams"][::core::mem::size_of::<KvCopyParams>() - 32usize];
    ["Alignment of KvCopyParams"][::core::mem::align_of::<KvCopyParams>() - 8usize];
    [
        "Offset of field: KvCopyParams::arrays",
    ][::core::mem::offset_of!(KvCopyParams, arrays) - 0usize];
    [
        "Offset of field: KvCopyParams::array_count",
    ][::core::mem::offset_of!(KvCopyParams, array_count) - 8usize];
    [
        "Offset of field: KvCopyParams::kv_heads",
    ][::core::mem::offset_of!(KvCopyParams, kv_heads) - 12usize];
    [
        "Offset of field: KvCopyParams::head_dim",
    ][::core::mem::offset_of!(KvCopyParams, head_dim) - 16usize];
    [
        "Offset of field: KvCopyParams::keys",
    ][::core::mem::offset_of!(KvCopyParams, keys) - 20usize];
    [
        "Offset of field: KvCopyParams::from",
    ][::core::mem::offset_of!(KvCopyParams, from) - 24usize];
    [
        "Offset of field: KvCopyParams::to",
    ][::core::mem::offset_of!(KvCopyParams, to) - 28usize];
};
/// `kv_move`: keys from slot to slot, one move after the other, in every array.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct KvMoveParams {
    /// u64 `[array_count]`: addresses of the key and value caches of all layers, bf16 `[page][G][64][D]` each.
    pub arrays: DevicePtr,
    /// u32 `[2 * count]`: from and to, each `page * 64 + slot in page`.
    pub moves: DevicePtr,
    /// Number of arrays.
    pub array_count: core::ffi::c_int,
    /// `G`.
    pub kv_heads: core::ffi::c_int,
    /// `D`.
    pub head_dim: core::ffi::c_int,
    /// Number of moves.
    pub count: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of KvMoveParams"][::core::mem::size_of::<KvMoveParams>() - 32usize];
    ["Alignment of KvMoveParams"][::core::mem::align_of::<KvMoveParams>() - 8usize];
    [
        "Offset of field: KvMoveParams::arrays",
    ][::core::mem::offset_of!(KvMoveParams, arrays) - 0usize];
    [
        "Offset of field: KvMoveParams::moves",
    ][::core::mem::offset_of!(KvMoveParams, moves) - 8usize];
    [
        "Offset of field: KvMoveParams::array_count",
    ][::core::mem::offset_of!(KvMoveParams, array_count) - 16usize];
    [
        "Offset of field: KvMoveParams::kv_heads",
    ][::core::mem::offset_of!(KvMoveParams, kv_heads) - 20usize];
    [
        "Offset of field: KvMoveParams::head_dim",
    ][::core::mem::offset_of!(KvMoveParams, head_dim) - 24usize];
    [
        "Offset of field: KvMoveParams::count",
    ][::core::mem::offset_of!(KvMoveParams, count) - 28usize];
};
/// `head_lse`, `head_lse_int8` (write `partials`), then `head_lse_fold` (writes `out`).
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct HeadLseParams {
    /// bf16 `[., k]`.
    pub x: DevicePtr,
    /// Elements from row to row of `x`, a multiple of 8.
    pub ldx: core::ffi::c_longlong,
    /// u32 `[m]`: rows of `x`, or 0 for rows 0, 1, 2...
    pub rows: DevicePtr,
    /// `[n, k]`.
    pub head: Weight,
    /// f32 `[m, ceil(n / 64), 2]`.
    pub partials: DevicePtr,
    /// f64 `[m, 2]`: maximum and sum of `exp(z - maximum)`: the log-sum-exp is `max + ln(sum)`.
    pub out: DevicePtr,
    /// Rows to answer.
    pub m: core::ffi::c_int,
    /// `V`.
    pub n: core::ffi::c_int,
    /// Inner dimension.
    pub k: core::ffi::c_int,
    /// 0.
    pub reserved: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of HeadLseParams"][::core::mem::size_of::<HeadLseParams>() - 80usize];
    ["Alignment of HeadLseParams"][::core::mem::align_of::<HeadLseParams>() - 8usize];
    [
        "Offset of field: HeadLseParams::x",
    ][::core::mem::offset_of!(HeadLseParams, x) - 0usize];
    [
        "Offset of field: HeadLseParams::ldx",
    ][::core::mem::offset_of!(HeadLseParams, ldx) - 8usize];
    [
        "Offset of field: HeadLseParams::rows",
    ][::core::mem::offset_of!(HeadLseParams, rows) - 16usize];
    [
        "Offset of field: HeadLseParams::head",
    ][::core::mem::offset_of!(HeadLseParams, head) - 24usize];
    [
        "Offset of field: HeadLseParams::partials",
    ][::core::mem::offset_of!(HeadLseParams, partials) - 48usize];
    [
        "Offset of field: HeadLseParams::out",
    ][::core::mem::offset_of!(HeadLseParams, out) - 56usize];
    [
        "Offset of field: HeadLseParams::m",
    ][::core::mem::offset_of!(HeadLseParams, m) - 64usize];
    [
        "Offset of field: HeadLseParams::n",
    ][::core::mem::offset_of!(HeadLseParams, n) - 68usize];
    [
        "Offset of field: HeadLseParams::k",
    ][::core::mem::offset_of!(HeadLseParams, k) - 72usize];
    [
        "Offset of field: HeadLseParams::reserved",
    ][::core::mem::offset_of!(HeadLseParams, reserved) - 76usize];
};
/// `cross_entropy`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct CrossEntropyParams {
    /// f32 `[m, n]`; with `gradient`, bf16 `[m, n]` with rows `2 · ld` apart afterwards.
    pub logits: DevicePtr,
    /// u32 `[m]`, below `n`.
    pub targets: DevicePtr,
    /// f64 `[m, 2]`: `max - z[target]` and `Σ exp(z - max)`: the loss is the first plus the log of the second.
    pub out: DevicePtr,
    /// Elements from row to row of `logits`, a multiple of 4.
    pub ld: core::ffi::c_longlong,
    /// Rows.
    pub m: core::ffi::c_int,
    /// `V`.
    pub n: core::ffi::c_int,
    /// What each row's loss counts.
    pub weight: f32,
    /// Whether the gradient is asked for.
    pub gradient: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of CrossEntropyParams",
    ][::core::mem::size_of::<CrossEntropyParams>() - 48usize];
    [
        "Alignment of CrossEntropyParams",
    ][::core::mem::align_of::<CrossEntropyParams>() - 8usize];
    [
        "Offset of field: CrossEntropyParams::logits",
    ][::core::mem::offset_of!(CrossEntropyParams, logits) - 0usize];
    [
        "Offset of field: CrossEntropyParams::targets",
    ][::core::mem::offset_of!(CrossEntropyParams, targets) - 8usize];
    [
        "Offset of field: CrossEntropyParams::out",
    ][::core::mem::offset_of!(CrossEntropyParams, out) - 16usize];
    [
        "Offset of field: CrossEntropyParams::ld",
    ][::core::mem::offset_of!(CrossEntropyParams, ld) - 24usize];
    [
        "Offset of field: CrossEntropyParams::m",
    ][::core::mem::offset_of!(CrossEntropyParams, m) - 32usize];
    [
        "Offset of field: CrossEntropyParams::n",
    ][::core::mem::offset_of!(CrossEntropyParams, n) - 36usize];
    [
        "Offset of field: CrossEntropyParams::weight",
    ][::core::mem::offset_of!(CrossEntropyParams, weight) - 40usize];
    [
        "Offset of field: CrossEntropyParams::gradient",
    ][::core::mem::offset_of!(CrossEntropyParams, gradient) - 44usize];
};
/// `dropout` (bf16) and `dropout_backward` (f32).
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct DropoutParams {
    /// `x`, or `dz`.
    pub x: DevicePtr,
    /// What is written, or for backward added to.
    pub out: DevicePtr,
    /// Elements from row to row of `x`, a multiple of 4.
    pub ldx: core::ffi::c_longlong,
    /// Elements from row to row of `out`, a multiple of 4.
    pub ldo: core::ffi::c_longlong,
    /// Of the mask.
    pub key: core::ffi::c_ulonglong,
    /// Rows.
    pub rows: core::ffi::c_int,
    /// Columns: element `(i, j)` is number `i · columns + j` of the mask.
    pub columns: core::ffi::c_int,
    /// Probability of dropping.
    pub p: f32,
    /// `1 / (1 - p)`.
    pub keep: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of DropoutParams"][::core::mem::size_of::<DropoutParams>() - 56usize];
    ["Alignment of DropoutParams"][::core::mem::align_of::<DropoutParams>() - 8usize];
    [
        "Offset of field: DropoutParams::x",
    ][::core::mem::offset_of!(DropoutParams, x) - 0usize];
    [
        "Offset of field: DropoutParams::out",
    ][::core::mem::offset_of!(DropoutParams, out) - 8usize];
    [
        "Offset of field: DropoutParams::ldx",
    ][::core::mem::offset_of!(DropoutParams, ldx) - 16usize];
    [
        "Offset of field: DropoutParams::ldo",
    ][::core::mem::offset_of!(DropoutParams, ldo) - 24usize];
    [
        "Offset of field: DropoutParams::key",
    ][::core::mem::offset_of!(DropoutParams, key) - 32usize];
    [
        "Offset of field: DropoutParams::rows",
    ][::core::mem::offset_of!(DropoutParams, rows) - 40usize];
    [
        "Offset of field: DropoutParams::columns",
    ][::core::mem::offset_of!(DropoutParams, columns) - 44usize];
    [
        "Offset of field: DropoutParams::p",
    ][::core::mem::offset_of!(DropoutParams, p) - 48usize];
    [
        "Offset of field: DropoutParams::keep",
    ][::core::mem::offset_of!(DropoutParams, keep) - 52usize];
};
/// What `argmax` found in a row.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct ArgmaxResult {
    /// The logit.
    pub value: f32,
    /// Its id; 0xffffffff if none is allowed.
    pub index: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ArgmaxResult"][::core::mem::size_of::<ArgmaxResult>() - 8usize];
    ["Alignment of ArgmaxResult"][::core::mem::align_of::<ArgmaxResult>() - 4usize];
    [
        "Offset of field: ArgmaxResult::value",
    ][::core::mem::offset_of!(ArgmaxResult, value) - 0usize];
    [
        "Offset of field: ArgmaxResult::index",
    ][::core::mem::offset_of!(ArgmaxResult, index) - 4usize];
};
/// `argmax`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct ArgmaxParams {
    /// f32 `[m, n]`.
    pub logits: DevicePtr,
    /// u32 `[m, ceil(n / 32)]`: bit i of word w allows id `32 w + i`; 0 for all.
    pub mask: DevicePtr,
    /// `ArgmaxResult[m]`.
    pub out: DevicePtr,
    /// Elements from row to row of `logits`.
    pub ld: core::ffi::c_longlong,
    /// Words from row to row of `mask`; 0 for one mask.
    pub mask_ld: core::ffi::c_longlong,
    /// Rows.
    pub m: core::ffi::c_int,
    /// `V`.
    pub n: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ArgmaxParams"][::core::mem::size_of::<ArgmaxParams>() - 48usize];
    ["Alignment of ArgmaxParams"][::core::mem::align_of::<ArgmaxParams>() - 8usize];
    [
        "Offset of field: ArgmaxParams::logits",
    ][::core::mem::offset_of!(ArgmaxParams, logits) - 0usize];
    [
        "Offset of field: ArgmaxParams::mask",
    ][::core::mem::offset_of!(ArgmaxParams, mask) - 8usize];
    [
        "Offset of field: ArgmaxParams::out",
    ][::core::mem::offset_of!(ArgmaxParams, out) - 16usize];
    [
        "Offset of field: ArgmaxParams::ld",
    ][::core::mem::offset_of!(ArgmaxParams, ld) - 24usize];
    [
        "Offset of field: ArgmaxParams::mask_ld",
    ][::core::mem::offset_of!(ArgmaxParams, mask_ld) - 32usize];
    [
        "Offset of field: ArgmaxParams::m",
    ][::core::mem::offset_of!(ArgmaxParams, m) - 40usize];
    [
        "Offset of field: ArgmaxParams::n",
    ][::core::mem::offset_of!(ArgmaxParams, n) - 44usize];
};
/// `probe`: `out[i] = i + base` for `i < n`, u32; what a check of a fresh device runs.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct ProbeParams {
    /// u32 `[n]`.
    pub out: DevicePtr,
    /// Elements.
    pub n: core::ffi::c_int,
    /// First value.
    pub base: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ProbeParams"][::core::mem::size_of::<ProbeParams>() - 16usize];
    ["Alignment of ProbeParams"][::core::mem::align_of::<ProbeParams>() - 8usize];
    [
        "Offset of field: ProbeParams::out",
    ][::core::mem::offset_of!(ProbeParams, out) - 0usize];
    [
        "Offset of field: ProbeParams::n",
    ][::core::mem::offset_of!(ProbeParams, n) - 8usize];
    [
        "Offset of field: ProbeParams::base",
    ][::core::mem::offset_of!(ProbeParams, base) - 12usize];
};
/// A tile of attention over packed examples. An array of these lies in device memory; `packed_work.rs` builds it.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct PackedItem {
    /// Packed row of the pass that the example begins at.
    pub start: core::ffi::c_uint,
    /// Rows of the example.
    pub length: core::ffi::c_uint,
    /// First of the tile's rows or keys, counted from the example's beginning.
    pub first: core::ffi::c_uint,
    /// 0.
    pub reserved: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PackedItem"][::core::mem::size_of::<PackedItem>() - 16usize];
    ["Alignment of PackedItem"][::core::mem::align_of::<PackedItem>() - 4usize];
    [
        "Offset of field: PackedItem::start",
    ][::core::mem::offset_of!(PackedItem, start) - 0usize];
    [
        "Offset of field: PackedItem::length",
    ][::core::mem::offset_of!(PackedItem, length) - 4usize];
    [
        "Offset of field: PackedItem::first",
    ][::core::mem::offset_of!(PackedItem, first) - 8usize];
    [
        "Offset of field: PackedItem::reserved",
    ][::core::mem::offset_of!(PackedItem, reserved) - 12usize];
};
/// `packed_attention_*` (writes `o` and `lse`), `packed_delta` (writes `delta`), `packed_dq_*`, `packed_dkv_*`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct PackedAttentionParams {
    /// bf16 `[T, H, D]`.
    pub q: DevicePtr,
    /// bf16 `[T, G, D]`.
    pub k: DevicePtr,
    /// bf16 `[T, G, D]`.
    pub v: DevicePtr,
    /// bf16 `[T, H, D]`.
    pub o: DevicePtr,
    /// bf16 `[T, H, D]`; unused by forward.
    pub d_o: DevicePtr,
    /// f32 `[T, H]`: natural log of each softmax's denominator.
    pub lse: DevicePtr,
    /// f32 `[T, H]`: `Σ dO ∘ O`; unused by forward.
    pub delta: DevicePtr,
    /// f32 `[T, H, D]`.
    pub dq: DevicePtr,
    /// f32 `[T, G, D]`.
    pub dk: DevicePtr,
    /// f32 `[T, G, D]`.
    pub dv: DevicePtr,
    /// Elements from row to row of `q`, `o` and `d_o`, a multiple of 8.
    pub ldq: core::ffi::c_longlong,
    /// Elements from row to row of `k` and `v`, a multiple of 8.
    pub ldk: core::ffi::c_longlong,
    /// Elements from row to row of `dq`, even.
    pub ld_dq: core::ffi::c_longlong,
    /// Elements from row to row of `dk` and `dv`, even.
    pub ld_dk: core::ffi::c_longlong,
    /// `PackedItem[item_count]`, those that see most first.
    pub items: DevicePtr,
    /// Number of items.
    pub item_count: core::ffi::c_int,
    /// `T`.
    pub rows: core::ffi::c_int,
    /// `H`.
    pub heads: core::ffi::c_int,
    /// `G`, divides `H`.
    pub kv_heads: core::ffi::c_int,
    /// `D`, even, at most the kernel's.
    pub head_dim: core::ffi::c_int,
    /// `W`: row i sees `i - W < j <= i`; 0 for all.
    pub window: core::ffi::c_uint,
    /// `log2(e) / sqrt(D)`.
    pub scale: f32,
    /// `1 / sqrt(D)`.
    pub root: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of PackedAttentionParams",
    ][::core::mem::size_of::<PackedAttentionParams>() - 152usize];
    [
        "Alignment of PackedAttentionParams",
    ][::core::mem::align_of::<PackedAttentionParams>() - 8usize];
    [
        "Offset of field: PackedAttentionParams::q",
    ][::core::mem::offset_of!(PackedAttentionParams, q) - 0usize];
    [
        "Offset of field: PackedAttentionParams::k",
    ][::core::mem::offset_of!(PackedAttentionParams, k) - 8usize];
    [
        "Offset of field: PackedAttentionParams::v",
    ][::core::mem::offset_of!(PackedAttentionParams, v) - 16usize];
    [
        "Offset of field: PackedAttentionParams::o",
    ][::core::mem::offset_of!(PackedAttentionParams, o) - 24usize];
    [
        "Offset of field: PackedAttentionParams::d_o",
    ][::core::mem::offset_of!(PackedAttentionParams, d_o) - 32usize];
    [
        "Offset of field: PackedAttentionParams::lse",
    ][::core::mem::offset_of!(PackedAttentionParams, lse) - 40usize];
    [
        "Offset of field: PackedAttentionParams::delta",
    ][::core::mem::offset_of!(PackedAttentionParams, delta) - 48usize];
    [
        "Offset of field: PackedAttentionParams::dq",
    ][::core::mem::offset_of!(PackedAttentionParams, dq) - 56usize];
    [
        "Offset of field: PackedAttentionParams::dk",
    ][::core::mem::offset_of!(PackedAttentionParams, dk) - 64usize];
    [
        "Offset of field: PackedAttentionParams::dv",
    ][::core::mem::offset_of!(PackedAttentionParams, dv) - 72usize];
    [
        "Offset of field: PackedAttentionParams::ldq",
    ][::core::mem::offset_of!(PackedAttentionParams, ldq) - 80usize];
    [
        "Offset of field: PackedAttentionParams::ldk",
    ][::core::mem::offset_of!(PackedAttentionParams, ldk) - 88usize];
    [
        "Offset of field: PackedAttentionParams::ld_dq",
    ][::core::mem::offset_of!(PackedAttentionParams, ld_dq) - 96usize];
    [
        "Offset of field: PackedAttentionParams::ld_dk",
    ][::core::mem::offset_of!(PackedAttentionParams, ld_dk) - 104usize];
    [
        "Offset of field: PackedAttentionParams::items",
    ][::core::mem::offset_of!(PackedAttentionParams, items) - 112usize];
    [
        "Offset of field: PackedAttentionParams::item_count",
    ][::core::mem::offset_of!(PackedAttentionParams, item_count) - 120usize];
    [
        "Offset of field: PackedAttentionParams::rows",
    ][::core::mem::offset_of!(PackedAttentionParams, rows) - 124usize];
    [
        "Offset of field: PackedAttentionParams::heads",
    ][::core::mem::offset_of!(PackedAttentionParams, heads) - 128usize];
    [
        "Offset of field: PackedAttentionParams::kv_heads",
    ][::core::mem::offset_of!(PackedAttentionParams, kv_heads) - 132usize];
    [
        "Offset of field: PackedAttentionParams::head_dim",
    ][::core::mem::offset_of!(PackedAttentionParams, head_dim) - 136usize];
    [
        "Offset of field: PackedAttentionParams::window",
    ][::core::mem::offset_of!(PackedAttentionParams, window) - 140usize];
    [
        "Offset of field: PackedAttentionParams::scale",
    ][::core::mem::offset_of!(PackedAttentionParams, scale) - 144usize];
    [
        "Offset of field: PackedAttentionParams::root",
    ][::core::mem::offset_of!(PackedAttentionParams, root) - 148usize];
};
/// `round_rows`, `copy_rows`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct CopyParams {
    /// f32 `[rows, columns]`.
    pub x: DevicePtr,
    /// The same in bf16 or f32.
    pub out: DevicePtr,
    /// Elements from row to row of `x`.
    pub ldx: core::ffi::c_longlong,
    /// Elements from row to row of `out`.
    pub ldo: core::ffi::c_longlong,
    /// Rows.
    pub row_count: core::ffi::c_int,
    /// Columns; where they are a multiple of 8, rows start at 16 bytes.
    pub columns: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CopyParams"][::core::mem::size_of::<CopyParams>() - 40usize];
    ["Alignment of CopyParams"][::core::mem::align_of::<CopyParams>() - 8usize];
    ["Offset of field: CopyParams::x"][::core::mem::offset_of!(CopyParams, x) - 0usize];
    [
        "Offset of field: CopyParams::out",
    ][::core::mem::offset_of!(CopyParams, out) - 8usize];
    [
        "Offset of field: CopyParams::ldx",
    ][::core::mem::offset_of!(CopyParams, ldx) - 16usize];
    [
        "Offset of field: CopyParams::ldo",
    ][::core::mem::offset_of!(CopyParams, ldo) - 24usize];
    [
        "Offset of field: CopyParams::row_count",
    ][::core::mem::offset_of!(CopyParams, row_count) - 32usize];
    [
        "Offset of field: CopyParams::columns",
    ][::core::mem::offset_of!(CopyParams, columns) - 36usize];
};
/// `swiglu_rows` (writes `out`), `swiglu_backward` (writes `dgate` and `dup`). All bf16 `[rows, columns]`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct SwigluParams {
    /// Gate.
    pub gate: DevicePtr,
    /// Up.
    pub up: DevicePtr,
    /// `silu(gate) ∘ up`.
    pub out: DevicePtr,
    /// Gradient of `out`.
    pub dout: DevicePtr,
    /// Gradient of `gate`.
    pub dgate: DevicePtr,
    /// Gradient of `up`.
    pub dup: DevicePtr,
    /// Elements from row to row.
    pub ld: core::ffi::c_longlong,
    /// Rows.
    pub row_count: core::ffi::c_int,
    /// Columns; where they are a multiple of 8, rows start at 16 bytes.
    pub columns: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SwigluParams"][::core::mem::size_of::<SwigluParams>() - 64usize];
    ["Alignment of SwigluParams"][::core::mem::align_of::<SwigluParams>() - 8usize];
    [
        "Offset of field: SwigluParams::gate",
    ][::core::mem::offset_of!(SwigluParams, gate) - 0usize];
    [
        "Offset of field: SwigluParams::up",
    ][::core::mem::offset_of!(SwigluParams, up) - 8usize];
    [
        "Offset of field: SwigluParams::out",
    ][::core::mem::offset_of!(SwigluParams, out) - 16usize];
    [
        "Offset of field: SwigluParams::dout",
    ][::core::mem::offset_of!(SwigluParams, dout) - 24usize];
    [
        "Offset of field: SwigluParams::dgate",
    ][::core::mem::offset_of!(SwigluParams, dgate) - 32usize];
    [
        "Offset of field: SwigluParams::dup",
    ][::core::mem::offset_of!(SwigluParams, dup) - 40usize];
    [
        "Offset of field: SwigluParams::ld",
    ][::core::mem::offset_of!(SwigluParams, ld) - 48usize];
    [
        "Offset of field: SwigluParams::row_count",
    ][::core::mem::offset_of!(SwigluParams, row_count) - 56usize];
    [
        "Offset of field: SwigluParams::columns",
    ][::core::mem::offset_of!(SwigluParams, columns) - 60usize];
};
/// `rope_rows`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct RopeParams {
    /// f32 `[rows, columns]`.
    pub x: DevicePtr,
    /// bf16 `[rows, columns]`.
    pub out: DevicePtr,
    /// u32 `[rows]`.
    pub positions: DevicePtr,
    /// f32 `[positions, D/2]`.
    pub cos: DevicePtr,
    /// f32 `[positions, D/2]`.
    pub sin: DevicePtr,
    /// Elements from row to row of `x`.
    pub ldx: core::ffi::c_longlong,
    /// Elements from row to row of `out`.
    pub ldo: core::ffi::c_longlong,
    /// Rows.
    pub row_count: core::ffi::c_int,
    /// Columns: heads times `D`.
    pub columns: core::ffi::c_int,
    /// `D`, even.
    pub head_dim: core::ffi::c_int,
    /// 1 to turn back.
    pub inverse: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RopeParams"][::core::mem::size_of::<RopeParams>() - 72usize];
    ["Alignment of RopeParams"][::core::mem::align_of::<RopeParams>() - 8usize];
    ["Offset of field: RopeParams::x"][::core::mem::offset_of!(RopeParams, x) - 0usize];
    [
        "Offset of field: RopeParams::out",
    ][::core::mem::offset_of!(RopeParams, out) - 8usize];
    [
        "Offset of field: RopeParams::positions",
    ][::core::mem::offset_of!(RopeParams, positions) - 16usize];
    [
        "Offset of field: RopeParams::cos",
    ][::core::mem::offset_of!(RopeParams, cos) - 24usize];
    [
        "Offset of field: RopeParams::sin",
    ][::core::mem::offset_of!(RopeParams, sin) - 32usize];
    [
        "Offset of field: RopeParams::ldx",
    ][::core::mem::offset_of!(RopeParams, ldx) - 40usize];
    [
        "Offset of field: RopeParams::ldo",
    ][::core::mem::offset_of!(RopeParams, ldo) - 48usize];
    [
        "Offset of field: RopeParams::row_count",
    ][::core::mem::offset_of!(RopeParams, row_count) - 56usize];
    [
        "Offset of field: RopeParams::columns",
    ][::core::mem::offset_of!(RopeParams, columns) - 60usize];
    [
        "Offset of field: RopeParams::head_dim",
    ][::core::mem::offset_of!(RopeParams, head_dim) - 64usize];
    [
        "Offset of field: RopeParams::inverse",
    ][::core::mem::offset_of!(RopeParams, inverse) - 68usize];
};
/// `rms_norm_backward` (adds to `dh`, writes `r`), then, for `dw`, `rms_norm_dw` (writes `partials`) and `rms_norm_dw_fold`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct RmsNormBackwardParams {
    /// f32 `[row_count, C]`.
    pub dx: DevicePtr,
    /// f32 `[., C]`.
    pub h: DevicePtr,
    /// f32 `[C]`.
    pub w: DevicePtr,
    /// u32 `[row_count]`, all different, or 0 for rows 0, 1, 2...
    pub rows: DevicePtr,
    /// f32 `[., C]`, added to.
    pub dh: DevicePtr,
    /// f32 `[row_count]`: `rsqrt(mean(h²) + eps)`; 0 if nobody asks.
    pub r: DevicePtr,
    /// f32 `[⌈row_count / 64⌉, C]`.
    pub partials: DevicePtr,
    /// f32 `[C]`, added to.
    pub dw: DevicePtr,
    /// Elements from row to row of `dx`, `h` and `dh`.
    pub ld: core::ffi::c_longlong,
    /// Rows.
    pub row_count: core::ffi::c_int,
    /// `C`.
    pub channels: core::ffi::c_int,
    /// Added to the mean square.
    pub eps: f32,
    /// 0.
    pub reserved: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of RmsNormBackwardParams",
    ][::core::mem::size_of::<RmsNormBackwardParams>() - 88usize];
    [
        "Alignment of RmsNormBackwardParams",
    ][::core::mem::align_of::<RmsNormBackwardParams>() - 8usize];
    [
        "Offset of field: RmsNormBackwardParams::dx",
    ][::core::mem::offset_of!(RmsNormBackwardParams, dx) - 0usize];
    [
        "Offset of field: RmsNormBackwardParams::h",
    ][::core::mem::offset_of!(RmsNormBackwardParams, h) - 8usize];
    [
        "Offset of field: RmsNormBackwardParams::w",
    ][::core::mem::offset_of!(RmsNormBackwardParams, w) - 16usize];
    [
        "Offset of field: RmsNormBackwardParams::rows",
    ][::core::mem::offset_of!(RmsNormBackwardParams, rows) - 24usize];
    [
        "Offset of field: RmsNormBackwardParams::dh",
    ][::core::mem::offset_of!(RmsNormBackwardParams, dh) - 32usize];
    [
        "Offset of field: RmsNormBackwardParams::r",
    ][::core::mem::offset_of!(RmsNormBackwardParams, r) - 40usize];
    [
        "Offset of field: RmsNormBackwardParams::partials",
    ][::core::mem::offset_of!(RmsNormBackwardParams, partials) - 48usize];
    [
        "Offset of field: RmsNormBackwardParams::dw",
    ][::core::mem::offset_of!(RmsNormBackwardParams, dw) - 56usize];
    [
        "Offset of field: RmsNormBackwardParams::ld",
    ][::core::mem::offset_of!(RmsNormBackwardParams, ld) - 64usize];
    [
        "Offset of field: RmsNormBackwardParams::row_count",
    ][::core::mem::offset_of!(RmsNormBackwardParams, row_count) - 72usize];
    [
        "Offset of field: RmsNormBackwardParams::channels",
    ][::core::mem::offset_of!(RmsNormBackwardParams, channels) - 76usize];
    [
        "Offset of field: RmsNormBackwardParams::eps",
    ][::core::mem::offset_of!(RmsNormBackwardParams, eps) - 80usize];
    [
        "Offset of field: RmsNormBackwardParams::reserved",
    ][::core::mem::offset_of!(RmsNormBackwardParams, reserved) - 84usize];
};
/// The rows of one token. An array of these lies in device memory.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct EmbedSegment {
    /// The token.
    pub token: core::ffi::c_uint,
    /// First of its rows in `EmbedBackwardParams::rows`.
    pub begin: core::ffi::c_uint,
    /// One past the last of them.
    pub end: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of EmbedSegment"][::core::mem::size_of::<EmbedSegment>() - 12usize];
    ["Alignment of EmbedSegment"][::core::mem::align_of::<EmbedSegment>() - 4usize];
    [
        "Offset of field: EmbedSegment::token",
    ][::core::mem::offset_of!(EmbedSegment, token) - 0usize];
    [
        "Offset of field: EmbedSegment::begin",
    ][::core::mem::offset_of!(EmbedSegment, begin) - 4usize];
    [
        "Offset of field: EmbedSegment::end",
    ][::core::mem::offset_of!(EmbedSegment, end) - 8usize];
};
/// `embed_backward`: `dtable[token, :] += Σ dh[t, :]` over the rows of each token, in order.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct EmbedBackwardParams {
    /// f32 `[., C]`.
    pub dh: DevicePtr,
    /// u32, rows of `dh`, those of a token side by side.
    pub rows: DevicePtr,
    /// `EmbedSegment[segment_count]`, tokens all different.
    pub segments: DevicePtr,
    /// f32 `[V, C]`, dense.
    pub dtable: DevicePtr,
    /// Elements from row to row of `dh`.
    pub ldh: core::ffi::c_longlong,
    /// Tokens that occur.
    pub segment_count: core::ffi::c_int,
    /// `C`.
    pub channels: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of EmbedBackwardParams",
    ][::core::mem::size_of::<EmbedBackwardParams>() - 48usize];
    [
        "Alignment of EmbedBackwardParams",
    ][::core::mem::align_of::<EmbedBackwardParams>() - 8usize];
    [
        "Offset of field: EmbedBackwardParams::dh",
    ][::core::mem::offset_of!(EmbedBackwardParams, dh) - 0usize];
    [
        "Offset of field: EmbedBackwardParams::rows",
    ][::core::mem::offset_of!(EmbedBackwardParams, rows) - 8usize];
    [
        "Offset of field: EmbedBackwardParams::segments",
    ][::core::mem::offset_of!(EmbedBackwardParams, segments) - 16usize];
    [
        "Offset of field: EmbedBackwardParams::dtable",
    ][::core::mem::offset_of!(EmbedBackwardParams, dtable) - 24usize];
    [
        "Offset of field: EmbedBackwardParams::ldh",
    ][::core::mem::offset_of!(EmbedBackwardParams, ldh) - 32usize];
    [
        "Offset of field: EmbedBackwardParams::segment_count",
    ][::core::mem::offset_of!(EmbedBackwardParams, segment_count) - 40usize];
    [
        "Offset of field: EmbedBackwardParams::channels",
    ][::core::mem::offset_of!(EmbedBackwardParams, channels) - 44usize];
};
/// One parameter of a step of AdamW.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct AdamTensor {
    /// f32 `[length]`.
    pub gradient: DevicePtr,
    /// Mean.
    pub m: DevicePtr,
    /// Mean square.
    pub v: DevicePtr,
    /// The parameter in f32; unused by `adamw_half`.
    pub master: DevicePtr,
    /// The parameter in bf16 `[., columns]`; 0 where `master` is all there is.
    pub weight: DevicePtr,
    /// Elements from row to row of `weight`.
    pub ld: core::ffi::c_longlong,
    /// Key of stochastic rounding.
    pub key: core::ffi::c_ulonglong,
    /// Elements, fewer than 2^31.
    pub length: core::ffi::c_uint,
    /// Elements of a row.
    pub columns: core::ffi::c_uint,
    /// Learning rate times weight decay.
    pub decay: f32,
    /// Blocks of the parameters before it: its own are the `⌈length / 1024⌉` from here on.
    pub first: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamTensor"][::core::mem::size_of::<AdamTensor>() - 72usize];
    ["Alignment of AdamTensor"][::core::mem::align_of::<AdamTensor>() - 8usize];
    [
        "Offset of field: AdamTensor::gradient",
    ][::core::mem::offset_of!(AdamTensor, gradient) - 0usize];
    ["Offset of field: AdamTensor::m"][::core::mem::offset_of!(AdamTensor, m) - 8usize];
    ["Offset of field: AdamTensor::v"][::core::mem::offset_of!(AdamTensor, v) - 16usize];
    [
        "Offset of field: AdamTensor::master",
    ][::core::mem::offset_of!(AdamTensor, master) - 24usize];
    [
        "Offset of field: AdamTensor::weight",
    ][::core::mem::offset_of!(AdamTensor, weight) - 32usize];
    [
        "Offset of field: AdamTensor::ld",
    ][::core::mem::offset_of!(AdamTensor, ld) - 40usize];
    [
        "Offset of field: AdamTensor::key",
    ][::core::mem::offset_of!(AdamTensor, key) - 48usize];
    [
        "Offset of field: AdamTensor::length",
    ][::core::mem::offset_of!(AdamTensor, length) - 56usize];
    [
        "Offset of field: AdamTensor::columns",
    ][::core::mem::offset_of!(AdamTensor, columns) - 60usize];
    [
        "Offset of field: AdamTensor::decay",
    ][::core::mem::offset_of!(AdamTensor, decay) - 64usize];
    [
        "Offset of field: AdamTensor::first",
    ][::core::mem::offset_of!(AdamTensor, first) - 68usize];
};
/// `adamw` (state in f32), `adamw_half` (state in bf16, stochastic rounding), all parameters at once.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct AdamParams {
    /// `AdamTensor [count]`, at least one, ascending by `first` from 0.
    pub tensors: DevicePtr,
    /// Decay of the mean and of the mean square.
    pub beta: [f32; 2usize],
    /// `1 - beta`.
    pub rest: [f32; 2usize],
    /// `1 / (1 - betaᵗ)`.
    pub correction: [f32; 2usize],
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// Learning rate.
    pub rate: f32,
    /// What the gradient is multiplied by first.
    pub scale: f32,
    /// Parameters.
    pub count: core::ffi::c_uint,
    /// Blocks of all of them.
    pub blocks: core::ffi::c_uint,
    /// 0.
    pub reserved: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamParams"][::core::mem::size_of::<AdamParams>() - 56usize];
    ["Alignment of AdamParams"][::core::mem::align_of::<AdamParams>() - 8usize];
    [
        "Offset of field: AdamParams::tensors",
    ][::core::mem::offset_of!(AdamParams, tensors) - 0usize];
    [
        "Offset of field: AdamParams::beta",
    ][::core::mem::offset_of!(AdamParams, beta) - 8usize];
    [
        "Offset of field: AdamParams::rest",
    ][::core::mem::offset_of!(AdamParams, rest) - 16usize];
    [
        "Offset of field: AdamParams::correction",
    ][::core::mem::offset_of!(AdamParams, correction) - 24usize];
    [
        "Offset of field: AdamParams::epsilon",
    ][::core::mem::offset_of!(AdamParams, epsilon) - 32usize];
    [
        "Offset of field: AdamParams::rate",
    ][::core::mem::offset_of!(AdamParams, rate) - 36usize];
    [
        "Offset of field: AdamParams::scale",
    ][::core::mem::offset_of!(AdamParams, scale) - 40usize];
    [
        "Offset of field: AdamParams::count",
    ][::core::mem::offset_of!(AdamParams, count) - 44usize];
    [
        "Offset of field: AdamParams::blocks",
    ][::core::mem::offset_of!(AdamParams, blocks) - 48usize];
    [
        "Offset of field: AdamParams::reserved",
    ][::core::mem::offset_of!(AdamParams, reserved) - 52usize];
};
/// One of the vectors of `sum_squares`.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct SquaresTensor {
    /// f32 `[length]`.
    pub x: DevicePtr,
    /// Elements, fewer than 2^31.
    pub length: core::ffi::c_uint,
    /// Sums of the vectors before it: its own are the `⌈length / 16384⌉` from here on.
    pub first: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SquaresTensor"][::core::mem::size_of::<SquaresTensor>() - 16usize];
    ["Alignment of SquaresTensor"][::core::mem::align_of::<SquaresTensor>() - 8usize];
    [
        "Offset of field: SquaresTensor::x",
    ][::core::mem::offset_of!(SquaresTensor, x) - 0usize];
    [
        "Offset of field: SquaresTensor::length",
    ][::core::mem::offset_of!(SquaresTensor, length) - 8usize];
    [
        "Offset of field: SquaresTensor::first",
    ][::core::mem::offset_of!(SquaresTensor, first) - 12usize];
};
/// `sum_squares`: `out[first + b] = Σ x²` of elements `16384 b` to `16384 b + 16383` of each vector.
#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq)]
pub struct SumSquaresParams {
    /// `SquaresTensor [count]`, at least one, ascending by `first` from 0.
    pub tensors: DevicePtr,
    /// f64 `[blocks]`.
    pub out: DevicePtr,
    /// Vectors.
    pub count: core::ffi::c_uint,
    /// Sums of all of them.
    pub blocks: core::ffi::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SumSquaresParams"][::core::mem::size_of::<SumSquaresParams>() - 24usize];
    [
        "Alignment of SumSquaresParams",
    ][::core::mem::align_of::<SumSquaresParams>() - 8usize];
    [
        "Offset of field: SumSquaresParams::tensors",
    ][::core::mem::offset_of!(SumSquaresParams, tensors) - 0usize];
    [
        "Offset of field: SumSquaresParams::out",
    ][::core::mem::offset_of!(SumSquaresParams, out) - 8usize];
    [
        "Offset of field: SumSquaresParams::count",
    ][::core::mem::offset_of!(SumSquaresParams, count) - 16usize];
    [
        "Offset of field: SumSquaresParams::blocks",
    ][::core::mem::offset_of!(SumSquaresParams, blocks) - 20usize];
};
