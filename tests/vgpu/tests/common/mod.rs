//! What the tests through cudarc share: the virtual GPU, one test at a time, and kernels in PTX.
#![allow(dead_code, reason = "every test binary uses another part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DriverError, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use std::ffi::c_void;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vgpu::Control;

/// `vadd`: c = a + b. `count`: n times around a loop, then writes n. `reverse`: through dynamic shared memory. `bounded`: at
/// most 128 threads. `wait`: until the flag that `signal` sets is not 0. `answer`: a variable of the module.
pub const KERNELS: &str = include_str!("kernels.ptx");

/// The device of one test, which no other test uses meanwhile: settings and faults belong to the process.
pub struct Gpu {
    /// The virtual GPU's settings and reports; none on a real one.
    pub control: Option<&'static Control>,
    _alone: MutexGuard<'static, ()>,
}

/// The device in the state that the process began with.
pub fn gpu() -> Gpu {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let control = vgpu::load().unwrap();
    if let Some(control) = control {
        control.reset();
        control.configure(r#"{"quiet": true}"#).unwrap();
    }
    Gpu { control, _alone: alone }
}

/// The virtual device, or a word that the test is skipped on a real one.
pub fn virtual_gpu(test: &str) -> Option<(Gpu, &'static Control)> {
    let gpu = gpu();
    match gpu.control {
        Some(control) => Some((gpu, control)),
        None => {
            println!("SKIPPED {test}: it is about the virtual GPU");
            None
        }
    }
}

/// The kernels, loaded.
pub fn module(context: &Arc<CudaContext>) -> Arc<CudaModule> {
    context.load_module(Ptx::from_src(KERNELS)).unwrap()
}

/// Launches `vadd` over `n` elements.
pub fn vadd(
    stream: &Arc<CudaStream>,
    function: &CudaFunction,
    a: &CudaSlice<f32>,
    b: &CudaSlice<f32>,
    c: &mut CudaSlice<f32>,
    n: u32,
) -> Result<(), DriverError> {
    let mut launch = stream.launch_builder(function);
    launch.arg(a).arg(b).arg(c).arg(&n);
    let config = LaunchConfig { grid_dim: (n.div_ceil(128).max(1), 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the arguments are those of the kernel; what it must not touch is what the virtual GPU checks.
    unsafe { launch.launch(config) }.map(|_| ())
}

/// Keeps what comes next in `stream` waiting until the value is dropped, or 10 seconds have passed.
pub fn hold(stream: &Arc<CudaStream>) -> Sender<()> {
    extern "C" fn wait(data: *mut c_void) {
        // SAFETY: the pointer is the box made below, handed over once.
        let released = unsafe { Box::from_raw(data.cast::<Receiver<()>>()) };
        let _ = released.recv_timeout(Duration::from_secs(10));
    }
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released: *mut Receiver<()> = Box::into_raw(Box::new(released));
    // SAFETY: the function takes the box back, and calls nothing of CUDA.
    unsafe { sys::cuLaunchHostFunc(stream.cu_stream(), Some(wait), released.cast()) }.result().unwrap();
    release
}

/// The code that a call failed with.
pub fn code<T>(result: Result<T, DriverError>) -> CUresult {
    match result {
        Ok(_) => CUresult::CUDA_SUCCESS,
        Err(error) => error.0,
    }
}
