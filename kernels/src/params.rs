//! The parameter structs of the kernels: what bindgen makes of `cu/params.h`. Not edited by hand.

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
