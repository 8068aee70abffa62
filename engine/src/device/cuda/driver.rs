//! The driver: whether one is there and new enough, the context and stream of a device, and what its codes mean.

use super::CudaOptions;
use crate::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaStream, DriverError};
use std::sync::Arc;

/// Oldest driver API that the embedded machine code loads on: CUDA 12.0 (R525); 12.8 (R570) for Blackwell.
const OLDEST: i32 = 12_000;
const OLDEST_BLACKWELL: i32 = 12_080;
/// Oldest compute capability that the kernels are written for.
const OLDEST_CAPABILITY: (i32, i32) = (8, 0);

/// What there is to know of a CUDA device before it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaInfo {
    /// Number in the driver's order.
    pub ordinal: usize,
    /// Name as the driver gives it.
    pub name: String,
    /// Major and minor compute capability.
    pub capability: (i32, i32),
    /// Version of the driver API, `1000 * major + 10 * minor`.
    pub driver: i32,
    /// Multiprocessors.
    pub multiprocessors: i32,
    /// Bytes free now.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A device's primary context and the one stream that everything runs on.
pub(super) struct Driver {
    pub context: Arc<CudaContext>,
    pub stream: Arc<CudaStream>,
    pub info: CudaInfo,
}

impl Driver {
    /// Retains the primary context of the device and creates the stream.
    pub fn open(options: &CudaOptions) -> Result<Self> {
        let driver = driver_version()?;
        let ordinal = options.ordinal;
        let count = CudaContext::device_count().map_err(|e| opening(ordinal, e))?;
        if ordinal >= count.max(0) as usize {
            return Err(Error::NoDevice { what: format!("cuda:{ordinal}, the driver has {count} devices") });
        }
        let context = CudaContext::new(ordinal).map_err(|e| opening(ordinal, e))?;
        // SAFETY: one stream orders all work on every buffer, so there is nothing for events to order. Nothing has been
        // allocated yet.
        unsafe { context.disable_event_tracking() };
        let info = CudaInfo { driver, ..info(&context).map_err(|e| opening(ordinal, e))? };
        info.check()?;
        // A created stream and not the default one: only that can be captured into graphs.
        let stream = context.new_stream().map_err(|e| opening(ordinal, e))?;
        Ok(Self { context, stream, info })
    }

    /// Waits until all work is done; what failed in the meantime, a release in some `Drop` included, is told here.
    pub fn synchronize(&self, op: &str) -> Result<()> {
        self.context.check_err().and_then(|()| self.stream.synchronize()).map_err(|e| failed(op, e))
    }

    /// What a `Drop` stored since the last check.
    pub fn check(&self, op: &str) -> Result<()> {
        self.context.check_err().map_err(|e| failed(op, e))
    }

    /// Bytes free and in all.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let (free, total) = self.context.mem_get_info().map_err(|e| failed("memory query", e))?;
        Ok((free as u64, total as u64))
    }
}

impl CudaInfo {
    /// Refuses a device that the kernels do not run on.
    pub fn check(&self) -> Result<()> {
        let (major, minor) = self.capability;
        let name = format!("cuda:{} ({}, compute capability {major}.{minor})", self.ordinal, self.name);
        if self.capability < OLDEST_CAPABILITY {
            let (a, b) = OLDEST_CAPABILITY;
            return Err(Error::unsupported(format!("{name}, the kernels need {a}.{b} or higher")));
        }
        let oldest = if major >= 10 { OLDEST_BLACKWELL } else { OLDEST };
        if self.driver < oldest {
            return Err(Error::unsupported(format!(
                "{name} with a driver for CUDA {}, the kernels need one for CUDA {} or newer",
                version(self.driver),
                version(oldest)
            )));
        }
        Ok(())
    }
}

/// All devices of the driver, also those that the kernels do not run on.
///
/// # Errors
/// [`Error::NoDevice`] where there is no driver, [`Error::Unsupported`] where it is too old.
pub fn devices() -> Result<Vec<CudaInfo>> {
    let driver = driver_version()?;
    let count = CudaContext::device_count().map_err(|e| opening(0, e))?.max(0) as usize;
    let of = |ordinal| {
        let context = CudaContext::new(ordinal).map_err(|e| opening(ordinal, e))?;
        Ok(CudaInfo { driver, ..info(&context).map_err(|e| opening(ordinal, e))? })
    };
    (0..count).map(of).collect()
}

/// `12.9` of 12090.
pub fn version(api: i32) -> String {
    format!("{}.{}", api / 1000, api % 1000 / 10)
}

/// The version of the driver API, once it is known that there is a driver and that it is not too old.
fn driver_version() -> Result<i32> {
    // SAFETY: loads the driver's library, whose initialisers ask for nothing. cudarc would panic at its first call without it.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::NoDevice { what: "CUDA on this machine, which has no NVIDIA driver (libcuda.so.1)".into() });
    }
    let mut version = 0;
    // SAFETY: writes one integer; callable before the driver is initialised.
    let code = unsafe { sys::cuDriverGetVersion(&mut version) };
    code.result().map_err(|e| opening(0, e))?;
    if version < OLDEST {
        return Err(Error::unsupported(format!(
            "the NVIDIA driver, which is for CUDA {}: the kernels need one for CUDA {} (R525) or newer",
            self::version(version),
            self::version(OLDEST)
        )));
    }
    Ok(version)
}

fn info(context: &CudaContext) -> std::result::Result<CudaInfo, DriverError> {
    let (free, total) = context.mem_get_info()?;
    Ok(CudaInfo {
        ordinal: context.ordinal(),
        name: context.name()?,
        capability: context.compute_capability()?,
        driver: 0,
        multiprocessors: context.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        free: free as u64,
        total: total as u64,
    })
}

/// A failure while a device is opened, in words where the reason is the machine's and not ours.
fn opening(ordinal: usize, error: DriverError) -> Error {
    use CUresult::*;
    let what = match error.0 {
        CUDA_ERROR_NO_DEVICE => "CUDA on this machine, whose driver finds no device".to_owned(),
        CUDA_ERROR_INVALID_DEVICE => format!("cuda:{ordinal}, which the driver does not have"),
        CUDA_ERROR_SYSTEM_DRIVER_MISMATCH | CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "CUDA on this machine, whose driver library and kernel module differ in version".to_owned()
        }
        CUDA_ERROR_STUB_LIBRARY => "CUDA on this machine, whose libcuda is a stub without a driver".to_owned(),
        CUDA_ERROR_OUT_OF_MEMORY => {
            return Error::OutOfMemory { what: format!("the context of cuda:{ordinal}"), want: 0, free: 0 };
        }
        _ => return failed(&format!("opening cuda:{ordinal}"), error),
    };
    Error::NoDevice { what }
}

/// A failed operation with the driver's name for the failure.
pub(super) fn failed(op: &str, error: DriverError) -> Error {
    Error::Device { op: format!("{op} ({:?})", error.0), code: error.0 as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(capability: (i32, i32), driver: i32) -> CudaInfo {
        let name = "Test".to_owned();
        CudaInfo { ordinal: 0, name, capability, driver, multiprocessors: 1, free: 0, total: 0 }
    }

    #[test]
    fn devices_that_the_kernels_do_not_run_on_are_refused_by_name() {
        for (capability, driver) in [((8, 0), 12_000), ((8, 9), 12_040), ((9, 0), 13_000), ((12, 0), 12_080)] {
            assert!(device(capability, driver).check().is_ok());
        }
        for (capability, driver, why) in
            [((7, 5), 12_090, "8.0"), ((10, 0), 12_060, "12.8"), ((12, 0), 12_070, "12.8"), ((8, 0), 11_080, "12.0")]
        {
            let error = device(capability, driver).check().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("cuda:0 (Test"), "{error}");
        }
        assert_eq!((version(12_090), version(11_040)), ("12.9".into(), "11.4".into()));
    }
}
