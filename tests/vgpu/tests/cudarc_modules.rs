//! Modules, functions, launches and devices through cudarc: what is accepted, what is refused and with which code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::{KERNELS, code, gpu, module, vadd, virtual_gpu};
use cudarc::driver::sys::{self, CUdevice_attribute, CUfunction_attribute, CUresult};
use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg, result};
use cudarc::nvrtc::Ptx;
use std::ffi::{CStr, CString, c_void};
use std::sync::Arc;

/// What loading `image` answers.
fn load(context: &Arc<CudaContext>, image: &[u8]) -> CUresult {
    context.bind_to_thread().unwrap();
    // SAFETY: images here are text with a NUL, or begin with the mark of a binary.
    match unsafe { result::module::load_data(image.as_ptr().cast()) } {
        // SAFETY: just loaded.
        Ok(module) => code(unsafe { result::module::unload(module) }),
        Err(error) => error.0,
    }
}

fn load_text(context: &Arc<CudaContext>, text: &str) -> CUresult {
    load(context, CString::new(text).unwrap().as_bytes_with_nul())
}

#[test]
fn vadd_is_exact_at_odd_sizes() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let function = module(&context).load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    for n in [1usize, 7, 127, 128, 129, 10_007] {
        let a: Vec<f32> = (0..n).map(|index| index as f32 * 0.37 - 5.0).collect();
        let b: Vec<f32> = (0..n).map(|index| 1e3 / (index as f32 + 1.0)).collect();
        let (there, beside) = (stream.clone_htod(&a).unwrap(), stream.clone_htod(&b).unwrap());
        // SAFETY: the kernel writes all of it.
        let mut sum = unsafe { stream.alloc::<f32>(n) }.unwrap();
        vadd(&stream, &function, &there, &beside, &mut sum, n as u32).unwrap();
        let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        assert_eq!(stream.clone_dtoh(&sum).unwrap(), expected, "n = {n}");
    }
}

#[test]
fn functions_and_variables_are_found_by_name() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let module = module(&context);
    assert_eq!(code(module.load_function("absent")), CUresult::CUDA_ERROR_NOT_FOUND);
    let stream = context.default_stream();
    let mut answer = module.get_global("answer", &stream).unwrap();
    assert_eq!(answer.len(), 4);
    assert_eq!(stream.clone_dtoh(&answer).unwrap(), 42u32.to_le_bytes());
    stream.memcpy_htod(&7u32.to_le_bytes(), &mut answer).unwrap();
    assert_eq!(stream.clone_dtoh(&answer).unwrap(), 7u32.to_le_bytes());
    assert_eq!(code(module.get_global("absent", &stream)), CUresult::CUDA_ERROR_NOT_FOUND);
}

#[test]
fn dynamic_shared_memory_needs_leave_above_48_kib() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let function = module(&context).load_function("reverse").unwrap();
    let stream = context.new_stream().unwrap();
    let data: Vec<u32> = (0..256).collect();
    let mut there = stream.clone_htod(&data).unwrap();
    let mut launch = |bytes: u32| {
        let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: bytes };
        // SAFETY: the kernel's arguments; it uses the first KiB of shared memory.
        code(unsafe { stream.launch_builder(&function).arg(&mut there).launch(config) })
    };
    assert_eq!(launch(1024), CUresult::CUDA_SUCCESS);
    assert_eq!(launch(48 << 10), CUresult::CUDA_SUCCESS);
    assert_eq!(launch((48 << 10) + 1), CUresult::CUDA_ERROR_INVALID_VALUE);
    let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    function.set_attribute(most, 64 << 10).unwrap();
    assert_eq!(launch(64 << 10), CUresult::CUDA_SUCCESS);
    let limit = context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN).unwrap();
    function.set_attribute(most, limit).unwrap();
    assert_eq!(code(function.set_attribute(most, limit + 1)), CUresult::CUDA_ERROR_INVALID_VALUE);
    // Three reversals that ran.
    let mut expected = data;
    expected.reverse();
    assert_eq!(stream.clone_dtoh(&there).unwrap(), expected);
}

#[test]
fn launches_of_impossible_shapes_are_refused() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let module = module(&context);
    let (bounded, any) = (module.load_function("bounded").unwrap(), module.load_function("count").unwrap());
    let stream = context.new_stream().unwrap();
    let launch = |function, grid_dim, block_dim| {
        let config = LaunchConfig { grid_dim, block_dim, shared_mem_bytes: 0 };
        // SAFETY: the kernel's argument, which it does not read.
        code(unsafe { stream.launch_builder(function).arg(&0u32).launch(config) })
    };
    assert_eq!(launch(&bounded, (2, 2, 2), (32, 2, 2)), CUresult::CUDA_SUCCESS);
    for (function, grid, block) in [
        (&bounded, (0, 1, 1), (32, 1, 1)),
        (&bounded, (1, 1, 1), (32, 0, 1)),
        (&bounded, (1, 1, 1), (129, 1, 1)),
        (&bounded, (1, 65536, 1), (32, 1, 1)),
        (&bounded, (1, 1, 65536), (32, 1, 1)),
        (&bounded, (1, 1, 1), (1, 1, 65)),
        (&any, (1, 1, 1), (1025, 1, 1)),
        (&any, (1, 1, 1), (32, 33, 1)),
    ] {
        assert_eq!(launch(function, grid, block), CUresult::CUDA_ERROR_INVALID_VALUE, "{grid:?} {block:?}");
    }
    stream.synchronize().unwrap();
}

#[test]
fn parameters_may_come_in_one_buffer() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let function = module(&context).load_function("count").unwrap();
    let stream = context.new_stream().unwrap();
    let count = stream.alloc_zeros::<u32>(1).unwrap();
    stream.synchronize().unwrap();
    let address = {
        use cudarc::driver::DevicePtr;
        count.device_ptr(&stream).0
    };
    let mut packed = [address, 77];
    let mut launch = |mut bytes: usize| {
        let (buffer, size) =
            (std::ptr::without_provenance_mut::<c_void>(1), std::ptr::without_provenance_mut::<c_void>(2));
        let mut extra =
            [buffer, packed.as_mut_ptr().cast(), size, (&raw mut bytes).cast(), std::ptr::null_mut::<c_void>()];
        let (raw, none) = (function.cu_function(), std::ptr::null_mut());
        // SAFETY: the buffer has the kernel's parameters.
        unsafe { sys::cuLaunchKernel(raw, 1, 1, 1, 32, 1, 1, 0, stream.cu_stream(), none, extra.as_mut_ptr()) }
    };
    assert_eq!(launch(12), CUresult::CUDA_SUCCESS);
    assert_eq!(stream.clone_dtoh(&count).unwrap(), [77]);
    assert_eq!(launch(8), CUresult::CUDA_ERROR_INVALID_VALUE);
}

#[test]
fn occupancy_follows_threads_and_shared_memory() {
    let Some((_gpu, control)) = virtual_gpu("occupancy_follows_threads_and_shared_memory") else { return };
    control.configure(r#"{"compute_capability": [8, 0]}"#).unwrap();
    let context = CudaContext::new(0).unwrap();
    let function = module(&context).load_function("bounded").unwrap();
    let blocks =
        |threads, shared| function.occupancy_max_active_blocks_per_multiprocessor(threads, shared, None).unwrap();
    // 128 threads of 255 registers, which is all that launch bounds of 128 promise: 65536 / (4 * 32 * 256) = 2.
    assert_eq!(blocks(128, 0), 2);
    assert_eq!(blocks(32, 0), 8);
    // 164 KiB in parts of 100 KiB and the system's 1 KiB.
    assert_eq!(blocks(32, 100 << 10), 1);
    assert_eq!(blocks(32, 30 << 10), 5);
    assert_eq!(blocks(256, 0), 0, "more threads than the launch bounds allow");
    assert_eq!(function.get_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK).unwrap(), 128);
    let unknown = code(function.occupancy_max_active_blocks_per_multiprocessor(0, 0, None));
    assert_eq!(unknown, CUresult::CUDA_ERROR_INVALID_VALUE);
}

#[test]
fn images_that_are_not_ptx_are_refused_each_in_its_way() {
    let Some((_gpu, control)) = virtual_gpu("images_that_are_not_ptx_are_refused_each_in_its_way") else { return };
    let context = CudaContext::new(0).unwrap();
    assert_eq!(load_text(&context, KERNELS), CUresult::CUDA_SUCCESS);
    assert_eq!(load_text(&context, ""), CUresult::CUDA_ERROR_INVALID_IMAGE);
    assert_eq!(load_text(&context, "not a module"), CUresult::CUDA_ERROR_INVALID_IMAGE);
    let cut = &KERNELS[..KERNELS.len() / 2];
    assert_eq!(load_text(&context, cut), CUresult::CUDA_ERROR_INVALID_PTX);
    assert!(control.last_report().contains("line"), "{}", control.last_report());
    assert_eq!(load_text(&context, &KERNELS.replace("[vadd_a]", "[vadd_a")), CUresult::CUDA_ERROR_INVALID_PTX);

    let cubin = cubin();
    assert_eq!(load(&context, &cubin), CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    for cut in [5, 40, 64, 100, cubin.len() - 64] {
        let mut image = vec![0; cubin.len()];
        image[..cut].copy_from_slice(&cubin[..cut]);
        assert_eq!(load(&context, &image), CUresult::CUDA_ERROR_INVALID_IMAGE, "{cut} bytes of {}", cubin.len());
    }
    let mut other = cubin;
    other[18] = 62;
    assert_eq!(load(&context, &other), CUresult::CUDA_ERROR_INVALID_IMAGE, "machine code of another machine");
    assert_eq!(load(&context, &[0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0]), CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
}

/// The least that is a cubin: a header, a string table, and two section headers.
fn cubin() -> Vec<u8> {
    let mut image = vec![0u8; 64 + 16 + 128];
    image[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x33");
    image[18..20].copy_from_slice(&190u16.to_le_bytes());
    image[40..48].copy_from_slice(&80u64.to_le_bytes());
    image[58..64].copy_from_slice(&[64, 0, 2, 0, 1, 0]);
    image[64..75].copy_from_slice(b"\0.shstrtab\0");
    let names = 80 + 64;
    image[names + 4..names + 8].copy_from_slice(&3u32.to_le_bytes());
    image[names + 24..names + 32].copy_from_slice(&64u64.to_le_bytes());
    image[names + 32..names + 40].copy_from_slice(&11u64.to_le_bytes());
    image
}

#[test]
fn drivers_and_devices_refuse_what_is_newer_than_they_are() {
    let Some((_gpu, control)) = virtual_gpu("drivers_and_devices_refuse_what_is_newer_than_they_are") else { return };
    let context = CudaContext::new(0).unwrap();
    let newer = KERNELS.replace(".version 7.0", ".version 8.8");
    assert_eq!(load_text(&context, &newer), CUresult::CUDA_SUCCESS);
    control.configure(r#"{"driver_version": 12080}"#).unwrap();
    assert_eq!(load_text(&context, &newer), CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    assert_eq!(load_text(&context, KERNELS), CUresult::CUDA_SUCCESS);
    control.configure(r#"{"compute_capability": [7, 5]}"#).unwrap();
    assert_eq!(load_text(&context, KERNELS), CUresult::CUDA_ERROR_INVALID_PTX);
    control.configure(r#"{"compute_capability": [12, 0], "fail_module": {"at": 2, "code": 200}}"#).unwrap();
    let codes = [0; 3].map(|_| load_text(&context, KERNELS));
    let injected = CUresult::CUDA_ERROR_INVALID_IMAGE;
    assert_eq!(codes, [CUresult::CUDA_SUCCESS, injected, CUresult::CUDA_SUCCESS]);
}

#[test]
fn files_are_loaded_by_path() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.ptx");
    assert_eq!(code(context.load_module(Ptx::from_file(&path))), CUresult::CUDA_ERROR_FILE_NOT_FOUND);
    std::fs::write(&path, KERNELS).unwrap();
    context.load_module(Ptx::from_file(&path)).unwrap().load_function("vadd").unwrap();
}

#[test]
fn devices_are_what_the_settings_say() {
    let Some((_gpu, control)) = virtual_gpu("devices_are_what_the_settings_say") else { return };
    for (capability, shared, name) in [((8, 0), 166_912, "A100"), ((8, 6), 101_376, "A4000"), ((9, 0), 232_448, "H100")]
    {
        control.configure(&format!(r#"{{"compute_capability": [{}, {}]}}"#, capability.0, capability.1)).unwrap();
        let context = CudaContext::new(0).unwrap();
        assert_eq!(context.compute_capability().unwrap(), capability);
        let optin = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        assert_eq!(context.attribute(optin).unwrap(), shared);
        assert!(context.name().unwrap().contains(name));
    }
    control.configure(r#"{"driver_version": 12020}"#).unwrap();
    let mut version = 0;
    // SAFETY: a place for the version.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().unwrap();
    assert_eq!(version, 12020);
    assert_eq!(code(CudaContext::new(1)), CUresult::CUDA_ERROR_INVALID_DEVICE);
    control.configure(r#"{"devices": 0}"#).unwrap();
    assert_eq!(code(CudaContext::new(0)), CUresult::CUDA_ERROR_NO_DEVICE);
    control.configure(r#"{"devices": 1, "init_error": 803}"#).unwrap();
    assert_eq!(code(CudaContext::new(0)), CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
}

#[test]
fn errors_have_names_and_texts() {
    let _gpu = gpu();
    let error = cudarc::driver::DriverError(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(error.error_name().unwrap(), c"CUDA_ERROR_ILLEGAL_ADDRESS");
    assert_eq!(error.error_string().unwrap(), c"an illegal memory access was encountered");
    let mut text = std::ptr::null();
    // SAFETY: a place for the text.
    unsafe { sys::cuGetErrorString(CUresult::CUDA_SUCCESS, &mut text) }.result().unwrap();
    // SAFETY: the text is a constant.
    assert_eq!(unsafe { CStr::from_ptr(text) }, c"no error");
}
