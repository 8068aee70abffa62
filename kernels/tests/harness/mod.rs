//! What every kernel test needs: a device, guarded buffers, random numbers and the rule of comparison.
//!
//! What runs is what the engine would load: on the virtual GPU the crate's PTX, on a real one its machine code for that device;
//! or with `BMN_KERNELS_PTX` the PTX of a folder (`make mutants` puts mutants there).

#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // each test binary uses a part

use biomistral_nlu_kernels::Code;
use biomistral_nlu_kernels::table::{Kernel, Symbol};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg,
    sys::{CUfunction_attribute, CUresult},
};
use cudarc::nvrtc::Ptx;
use half::bf16;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The device of one test, which no other test of the process uses meanwhile: the virtual GPU's settings are global.
pub struct Device {
    /// The virtual GPU's settings and counters; none on a real one (`BMN_TEST_GPU=1`).
    pub control: Option<&'static vgpu::Control>,
    stream: Arc<CudaStream>,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    _alone: MutexGuard<'static, ()>,
}

/// A parameter struct as a launch argument.
#[repr(transparent)]
struct Argument<P>(P);
// SAFETY: parameter structs are plain data defined for both sides by params.h.
unsafe impl<P: Copy> DeviceRepr for Argument<P> {}

impl Device {
    /// The device, or none after saying why the test is skipped.
    pub fn open(test: &str) -> Option<Self> {
        if let Some(why) = biomistral_nlu_kernels::why_none() {
            println!("SKIPPED {test}: {why}");
            return None;
        }
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let control = vgpu::load().unwrap();
        if let Some(control) = control {
            control.reset();
        }
        let context = CudaContext::new(0).unwrap();
        // SAFETY: all work goes to one stream.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().unwrap();
        Some(Self { control, stream, modules: Mutex::default(), functions: Mutex::default(), _alone: alone })
    }

    /// Runs `test` under every setting of the virtual GPU that may change bits or order: accumulation models, approximate
    /// math, schedules. On a real GPU, once.
    pub fn under_all(&self, test: impl Fn(&str)) {
        let Some(control) = self.control else { return test("the device") };
        for settings in [
            r#"{"tensor": "sequential", "schedule": "in_order", "approx": "exact"}"#,
            r#"{"tensor": "a100", "schedule": "shuffled", "approx": "perturbed", "seed": 1}"#,
            r#"{"tensor": "h100", "schedule": "shuffled", "approx": "perturbed", "seed": 2, "resident_blocks": 2}"#,
        ] {
            control.configure(settings).unwrap();
            test(settings);
        }
    }

    fn module(&self, file: &str) -> Arc<CudaModule> {
        let context = self.stream.context();
        if let Ok(folder) = std::env::var("BMN_KERNELS_PTX") {
            println!("loaded {file}.ptx");
            let ptx = std::fs::read_to_string(format!("{folder}/{file}.ptx")).unwrap();
            return context.load_module(Ptx::from_src(ptx)).unwrap();
        }
        let image = biomistral_nlu_kernels::image(file).unwrap();
        if self.control.is_none() {
            let (major, minor) = context.compute_capability().unwrap();
            if let Some(Code::Cubin(bytes)) = image.code(major as u32, minor as u32) {
                match context.load_module(Ptx::from_binary(bytes.to_vec())) {
                    // The virtual GPU in the place of the real one.
                    Err(error) if error.0 == CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => {}
                    loaded => return loaded.unwrap(),
                }
            }
        }
        context.load_module(Ptx::from_src(image.ptx)).unwrap()
    }

    fn function(&self, symbol: &Symbol) -> CudaFunction {
        let mut modules = self.modules.lock().unwrap();
        let module = modules.entry(symbol.file).or_insert_with(|| self.module(symbol.file));
        let mut functions = self.functions.lock().unwrap();
        let function = functions.entry(symbol.name).or_insert_with(|| {
            let function = module.load_function(symbol.name).unwrap();
            let limit = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            if symbol.shared > 48 << 10 {
                function.set_attribute(limit, symbol.shared as i32).unwrap();
            }
            function
        });
        function.clone()
    }

    /// Launches and waits.
    pub fn launch<P: Copy>(&self, kernel: &Kernel<P>, params: &P) {
        let launch = kernel.launch(params);
        if launch.grid.contains(&0) {
            return;
        }
        let function = self.function(&kernel.symbol);
        let argument = Argument(*params);
        let mut builder = self.stream.launch_builder(&function);
        builder.arg(&argument);
        let [x, y, z] = launch.grid;
        let shape =
            LaunchConfig { grid_dim: (x, y, z), block_dim: (launch.threads, 1, 1), shared_mem_bytes: launch.shared };
        // SAFETY: the table pairs the kernel with its parameter struct; addresses come from live buffers of the test.
        unsafe { builder.launch(shape) }.unwrap_or_else(|e| panic!("{}: {e:?}", kernel.symbol.name));
        self.stream.synchronize().unwrap_or_else(|e| panic!("{}: {e:?}", kernel.symbol.name));
    }

    /// What a kernel reads: `rows` rows of `columns` elements, `ld` apart, NaN between them. The allocation ends with the
    /// last element, so that reading one more is a fault.
    pub fn input<T: bytemuck::Pod>(&self, values: &[T], columns: usize, ld: usize) -> Input {
        let rows = values.len() / columns.max(1);
        let mut bytes = vec![0xffu8; (rows.max(1) - 1) * ld * size_of::<T>() + columns * size_of::<T>()];
        for (row, values) in values.chunks_exact(columns).enumerate() {
            let at = row * ld * size_of::<T>();
            bytes[at..at + size_of_val(values)].copy_from_slice(bytemuck::cast_slice(values));
        }
        Input(self.upload(&bytes))
    }

    /// A dense array that a kernel reads.
    pub fn array<T: bytemuck::Pod>(&self, values: &[T]) -> Input {
        Input(self.upload(bytemuck::cast_slice(values)))
    }

    fn upload(&self, bytes: &[u8]) -> CudaSlice<u8> {
        self.stream.clone_htod(if bytes.is_empty() { &[0u8; 16][..] } else { bytes }).unwrap()
    }

    /// What a kernel writes: a matrix with NaN between its rows and a guard of 1 KiB before and after.
    pub fn output<T: bytemuck::Pod>(&self, values: &[T], columns: usize, ld: usize) -> Output<T> {
        let rows = values.len() / columns;
        let mut host = vec![GUARD; 2 * MARGIN + rows * ld * size_of::<T>()];
        for (row, values) in values.chunks_exact(columns).enumerate() {
            let at = MARGIN + row * ld * size_of::<T>();
            host[at..at + size_of_val(values)].copy_from_slice(bytemuck::cast_slice(values));
        }
        Output { slice: self.upload(&host), before: host, columns, ld, marker: std::marker::PhantomData }
    }

    /// The written matrix; panics where anything but its rows' columns was touched.
    pub fn read<T: bytemuck::Pod>(&self, output: &Output<T>) -> Vec<T> {
        let after = self.stream.clone_dtoh(&output.slice).unwrap();
        let (row, width) = (output.ld * size_of::<T>(), output.columns * size_of::<T>());
        let inside = MARGIN..after.len() - MARGIN;
        let mut values = Vec::new();
        for (at, (&was, &is)) in output.before.iter().zip(&after).enumerate() {
            if inside.contains(&at) && (at - MARGIN) % row < width {
                values.push(is);
            } else {
                assert_eq!(
                    was,
                    is,
                    "byte {} of the output lies outside the matrix and was written",
                    at as i64 - MARGIN as i64
                );
            }
        }
        bytemuck::pod_collect_to_vec(&values)
    }
}

const MARGIN: usize = 1024;
const GUARD: u8 = 0xff;

/// A buffer that a kernel reads.
pub struct Input(CudaSlice<u8>);

/// A guarded matrix that a kernel writes.
pub struct Output<T> {
    slice: CudaSlice<u8>,
    before: Vec<u8>,
    columns: usize,
    ld: usize,
    marker: std::marker::PhantomData<T>,
}

/// Address of the first element.
pub trait Address {
    /// As a kernel takes it.
    fn address(&self) -> u64;
}
impl Address for Input {
    fn address(&self) -> u64 {
        self.0.device_ptr(self.0.stream()).0
    }
}
impl<T> Address for Output<T> {
    fn address(&self) -> u64 {
        self.slice.device_ptr(self.slice.stream()).0 + MARGIN as u64
    }
}

/// Numbers that depend on the seed alone (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Uniform in [-1, 1).
    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
    pub fn bf16s(&mut self, n: usize) -> Vec<bf16> {
        (0..n).map(|_| bf16::from_f32(self.uniform())).collect()
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// What an output may be: the exact value and how far from it.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub value: f64,
    pub within: f64,
}

/// Panics at the first output outside its bound; NaN is outside.
pub fn check(what: &str, columns: usize, found: &[f32], expected: &[Expected]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&y, e)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(y) - e.value).abs();
        assert!(
            off <= e.within,
            "{what}: row {} column {}: {y}, expected {} within {:e}",
            i / columns,
            i % columns,
            e.value,
            e.within
        );
    }
}

/// Bits of every value, to compare with `==`.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}
