//! What the devices of each compute capability can do.
//!
//! Source: CUDA C++ Programming Guide, "Compute Capabilities", tables of technical specifications.

/// Limits of one compute capability; per SM where it does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Major and minor.
    pub capability: (i32, i32),
    /// A device of this kind, for `cuDeviceGetName` and the number of SMs.
    pub example: &'static str,
    /// SMs of the example.
    pub multiprocessors: i32,
    /// Resident threads.
    pub threads: i32,
    /// Resident blocks.
    pub blocks: i32,
    /// Shared memory, bytes.
    pub shared: i32,
    /// Shared memory that one block may have after `cuFuncSetAttribute`, bytes.
    pub shared_block: i32,
    /// L2 cache of the device, bytes.
    pub l2: i32,
}

/// Shared memory that the system keeps of each block, bytes (compute capability 8.0 on).
pub const SHARED_RESERVED: i32 = 1024;
/// Shared memory that a block may have without being asked for, bytes.
pub const SHARED_DEFAULT: i32 = 48 << 10;
/// Registers of an SM, and the most that a block may have.
pub const REGISTERS: i32 = 65536;
/// Most threads of a block.
pub const BLOCK_THREADS: i32 = 1024;

const KIB: i32 = 1 << 10;

const TABLE: [Limits; 6] = [
    row((8, 0), "A100", 108, 2048, 32, 164 * KIB, 40 << 20),
    row((8, 6), "RTX A4000", 48, 1536, 16, 100 * KIB, 4 << 20),
    row((8, 9), "L4", 58, 1536, 24, 100 * KIB, 48 << 20),
    row((9, 0), "H100", 132, 2048, 32, 228 * KIB, 50 << 20),
    row((10, 0), "B200", 148, 2048, 32, 228 * KIB, 126 << 20),
    row((12, 0), "RTX 5090", 170, 1536, 24, 100 * KIB, 96 << 20),
];

const fn row(
    capability: (i32, i32),
    example: &'static str,
    multiprocessors: i32,
    threads: i32,
    blocks: i32,
    shared: i32,
    l2: i32,
) -> Limits {
    Limits { capability, example, multiprocessors, threads, blocks, shared, shared_block: shared - SHARED_RESERVED, l2 }
}

impl Limits {
    /// Limits of the nearest capability in the table that is not above `capability`; of the lowest one for older devices,
    /// which only say no to the product.
    pub fn of(capability: (i32, i32)) -> Limits {
        let best = TABLE.iter().rev().find(|row| row.capability <= capability).unwrap_or(&TABLE[0]);
        Limits { capability, ..*best }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_between_rows_take_the_row_below() {
        assert_eq!(Limits::of((8, 7)).threads, 1536);
        assert_eq!(Limits::of((8, 0)).shared_block, 163 * KIB);
        assert_eq!(Limits::of((8, 6)).shared_block, 99 * KIB);
        assert_eq!(Limits::of((9, 0)).shared_block, 232_448);
        assert_eq!(Limits::of((11, 0)).shared_block, 227 * KIB);
        assert_eq!(Limits::of((7, 5)).capability, (7, 5));
    }
}
