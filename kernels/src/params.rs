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
    /// f32 `[., 2]`: maximum of the scores and sum of the weights; unused by prompt.
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
    /// `log2(e) / sqrt(D)`.
    pub scale: f32,
    /// 0.
    pub reserved: core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CombineParams"][::core::mem::size_of::<CombineParams>() - 64usize];
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
    [
        "Offset of field: CombineParams::scale",
    ][::core::mem::offset_of!(CombineParams, scale) - 56usize];
    [
        "Offset of field: CombineParams::reserved",
    ][::core::mem::offset_of!(CombineParams, reserved) - 60usize];
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
