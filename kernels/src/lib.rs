//! CUDA kernels of biomistral-nlu: images per architecture, parameter structs, and the table of launches.
//!
//! The sources are `cu/*.cu`; `build.rs` makes of each one PTX (`compute_80`) and one cubin per architecture. The PTX is
//! executed by the tests on the virtual GPU, assembled into the cubins, and embedded as the image of last resort. Nothing
//! here talks to a driver: the engine launches, with [`table::Kernel`] saying how.

pub mod attention_work;
mod int8;
mod packed_work;
#[rustfmt::skip]
#[allow(missing_docs)] // bindgen drops some of the header's comments
pub mod params;
pub mod table;
mod usage;

pub use int8::{int8_position, int8_row, quantize_row};
pub use packed_work::packed_items;
pub use usage::Usage;

/// Code of one `.cu` file for every architecture.
#[derive(Debug)]
pub struct Image {
    /// Name of the file without its extension.
    pub file: &'static str,
    /// PTX for `compute_80`, with line information.
    pub ptx: &'static str,
    /// Machine code, in ascending order of architecture.
    pub cubins: &'static [Cubin],
}

/// Machine code for one architecture.
#[derive(Debug)]
pub struct Cubin {
    /// Compute capability, `10 * major + minor`.
    pub arch: u32,
    /// What `cuModuleLoadData` takes.
    pub bytes: &'static [u8],
    /// What `ptxas -v` said, see [`Cubin::usage`].
    pub resources: &'static str,
}

/// What to give to `cuModuleLoadData`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Machine code.
    Cubin(&'static [u8]),
    /// PTX, compiled by the driver; null-terminate it.
    Ptx(&'static str),
}

include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// All images, empty in a build without CUDA.
pub fn images() -> &'static [Image] {
    IMAGES
}

/// One sentence on why there are no images, if there are none.
pub fn why_none() -> Option<&'static str> {
    WHY_NONE
}

/// The image that holds `file`'s kernels.
pub fn image(file: &str) -> Option<&'static Image> {
    IMAGES.iter().find(|i| i.file == file)
}

impl Image {
    /// The newest cubin of the device's major capability that is not newer than the device, else the PTX; none below 8.0.
    pub fn code(&self, major: u32, minor: u32) -> Option<Code> {
        if major < 8 {
            return None;
        }
        let device = 10 * major + minor;
        let cubin = self.cubins.iter().rev().find(|c| c.arch / 10 == major && c.arch <= device);
        Some(cubin.map_or(Code::Ptx(self.ptx), |c| Code::Cubin(c.bytes)))
    }
}

#[cfg(test)]
mod tests;
