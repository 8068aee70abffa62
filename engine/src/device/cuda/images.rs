//! Machine code for the device at hand: found, loaded, and its kernels looked up.

use super::driver::{Driver, failed, version};
use crate::{Error, Result};
use biomistral_nlu_kernels::{Code, Image, images, table, why_none};
use cudarc::driver::sys::{CUfunction_attribute_enum, CUresult};
use cudarc::driver::{CudaFunction, CudaModule, DriverError};
use cudarc::nvrtc::Ptx;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// Every kernel of the table by its name.
pub(super) type Functions = HashMap<&'static str, CudaFunction>;

/// Loads all images.
///
/// # Errors
/// [`Error::Unsupported`] where there are none, or none that this device or driver takes; [`Error::Format`] for a damaged one.
pub(super) fn load(driver: &Driver) -> Result<Functions> {
    if let Some(why) = why_none() {
        return Err(Error::unsupported(format!("CUDA in this library: {why}")));
    }
    let mut modules = HashMap::new();
    for image in images() {
        modules.insert(image.file, load_image(driver, image)?);
    }
    let mut functions = Functions::new();
    for symbol in table::ALL {
        let module = modules.get(symbol.file).ok_or_else(|| Error::internal(format!("no image {}", symbol.file)))?;
        let function = module.load_function(symbol.name).map_err(|e| failed(symbol.name, e))?;
        // Above 48 KiB together with the kernel's static part it must be announced; below it may.
        if symbol.shared > 0 {
            let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, symbol.shared as i32).map_err(|e| failed(symbol.name, e))?;
        }
        functions.insert(symbol.name, function);
    }
    Ok(functions)
}

/// Machine code where there is some for this device, else PTX, which the driver compiles.
fn load_image(driver: &Driver, image: &Image) -> Result<Arc<CudaModule>> {
    let (major, minor) = driver.info.capability;
    let code = image.code(major.max(0) as u32, minor.max(0) as u32);
    let loaded = match code {
        None => Err(DriverError(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU)),
        Some(Code::Ptx(text)) => load_ptx(driver, text),
        Some(Code::Cubin(bytes)) => match driver.context.load_module(Ptx::from_binary(bytes.to_vec())) {
            Err(e) if e.0 == CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => load_ptx(driver, image.ptx),
            loaded => loaded,
        },
    };
    loaded.map_err(|e| refused(driver, image.file, e))
}

fn load_ptx(driver: &Driver, text: &str) -> std::result::Result<Arc<CudaModule>, DriverError> {
    driver.context.load_module(Ptx::from_binary([text.as_bytes(), &[0]].concat()))
}

fn refused(driver: &Driver, file: &str, error: DriverError) -> Error {
    use CUresult::*;
    let (major, minor) = driver.info.capability;
    let api = version(driver.info.driver);
    match error.0 {
        CUDA_ERROR_NO_BINARY_FOR_GPU => {
            Error::unsupported(format!("compute capability {major}.{minor}, for which there is no image of {file}"))
        }
        CUDA_ERROR_UNSUPPORTED_PTX_VERSION => Error::unsupported(format!(
            "the NVIDIA driver, which is for CUDA {api} and too old for the image of {file}: update the driver"
        )),
        CUDA_ERROR_INVALID_IMAGE | CUDA_ERROR_INVALID_SOURCE | CUDA_ERROR_INVALID_PTX => {
            Error::format(format!("CUDA image {file}"), format!("the driver cannot read it ({:?})", error.0))
        }
        _ => failed(&format!("loading the CUDA image {file}"), error),
    }
}

/// What kernels this library holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernels {
    /// Part of the fingerprint: the hash of all PTX, of which all machine code is made.
    pub hash: String,
    /// `sm_80` and so on, in ascending order, then `ptx`.
    pub architectures: Vec<String>,
}

/// The kernels in this library, or one sentence on why there are none.
///
/// # Errors
/// That sentence.
pub fn kernels() -> std::result::Result<Kernels, &'static str> {
    match (why_none(), images().first()) {
        (Some(why), _) => Err(why),
        (None, None) => Err("built without kernels"),
        (None, Some(image)) => {
            let cubins = image.cubins.iter().map(|cubin| format!("sm_{}", cubin.arch));
            Ok(Kernels { hash: hash(), architectures: cubins.chain(["ptx".to_owned()]).collect() })
        }
    }
}

/// The first 12 digits of the hash of all PTX, of which all machine code is made.
pub(super) fn hash() -> String {
    let mut hash = Sha256::new();
    for image in images() {
        hash.update(image.file.as_bytes());
        hash.update(image.ptx.as_bytes());
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
