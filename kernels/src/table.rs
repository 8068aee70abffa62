//! The table of kernels: name, file, parameter struct and launch rule of each.
//!
//! A [`Kernel<P>`] takes no other struct than its own `P`, so a launch with wrong parameters does not compile. What a
//! kernel computes is written at the head of its `.cu` file; what its parameters mean, in `params.h`.

use crate::params::*;
use std::marker::PhantomData;

/// What a driver needs to know of a kernel before it has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// `extern "C"` name.
    pub name: &'static str,
    /// The `.cu` file, see [`crate::image`].
    pub file: &'static str,
    /// Threads per block.
    pub threads: u32,
    /// Most dynamic shared memory that a launch asks for, bytes: above 48 KiB the function's attribute must be raised to it.
    pub shared: u32,
}

/// The shape of one launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Blocks; nothing is to be launched if one is 0.
    pub grid: [u32; 3],
    /// Threads per block.
    pub threads: u32,
    /// Dynamic shared memory, bytes.
    pub shared: u32,
}

/// A kernel that takes `P`.
#[derive(Debug)]
pub struct Kernel<P> {
    /// Its untyped part.
    pub symbol: Symbol,
    grid: fn(&P) -> [u32; 3],
    params: PhantomData<fn(&P)>,
}

impl<P> Kernel<P> {
    /// Blocks, threads and shared memory for these parameters.
    pub fn launch(&self, params: &P) -> Launch {
        Launch { grid: (self.grid)(params), threads: self.symbol.threads, shared: self.symbol.shared }
    }
}

/// Declares the kernels and lists their symbols: `NAME: Params = "symbol" in "file", threads, shared bytes, grid;`.
macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident: $params:ty = $symbol:literal in $file:literal, $threads:expr, $shared:expr, $grid:expr;)*) => {
        $($(#[$doc])* pub static $name: Kernel<$params> = Kernel {
            symbol: Symbol { name: $symbol, file: $file, threads: $threads, shared: $shared },
            grid: $grid,
            params: PhantomData,
        };)*
        /// Every kernel of the table.
        pub static ALL: &[&Symbol] = &[$(&$name.symbol),*];
    };
}

kernels! {
    /// `out[i] = i + base`.
    PROBE: ProbeParams = "probe" in "probe", 256, 0, |p| [blocks(p.n, 256), 1, 1];
}

/// `⌈n / per⌉` as a grid extent, 0 for none.
fn blocks(n: i32, per: u32) -> u32 {
    n.max(0).cast_unsigned().div_ceil(per)
}
