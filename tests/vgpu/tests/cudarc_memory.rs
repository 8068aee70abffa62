//! Memory through cudarc: allocation, copies, fills, pinned and managed memory, pools, what is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::{code, gpu, hold, virtual_gpu};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, result};

#[test]
fn copies_there_and_back_are_exact() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    for stream in [context.default_stream(), context.new_stream().unwrap()] {
        for count in [1usize, 7, 1000, 100_003] {
            let data: Vec<u32> = (0..count as u32).map(|index| index.wrapping_mul(2_654_435_761)).collect();
            let there = stream.clone_htod(&data).unwrap();
            let beside = stream.clone_dtod(&there).unwrap();
            assert_eq!(stream.clone_dtoh(&beside).unwrap(), data);
            assert_eq!(stream.clone_dtoh(&stream.alloc_zeros::<u16>(count).unwrap()).unwrap(), vec![0; count]);
        }
    }
}

#[test]
fn pageable_sources_may_be_overwritten_after_the_call() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let mut there = stream.alloc_zeros::<u8>(4096).unwrap();
    for round in 0..50u8 {
        let mut data = vec![round; 4096];
        stream.memcpy_htod(&data, &mut there).unwrap();
        data.fill(255);
        assert_eq!(stream.clone_dtoh(&there).unwrap(), vec![round; 4096]);
    }
}

#[test]
fn pinned_memory_is_read_when_the_stream_comes_to_it() {
    let Some(_gpu) = virtual_gpu("pinned_memory_is_read_when_the_stream_comes_to_it") else { return };
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    // SAFETY: cudarc's pinned memory is written before it is read.
    let mut pinned = unsafe { context.alloc_pinned::<u32>(16) }.unwrap();
    pinned.as_mut_slice().unwrap().fill(1);
    let there = stream.alloc_zeros::<u32>(16).unwrap();
    stream.synchronize().unwrap();
    let held = hold(&stream);
    let from = pinned.as_slice().unwrap().as_ptr();
    let address = {
        use cudarc::driver::DevicePtr;
        there.device_ptr(&stream).0
    };
    // SAFETY: both sides have 64 bytes, and live until the stream is waited for.
    unsafe { sys::cuMemcpyHtoDAsync_v2(address, from.cast(), 64, stream.cu_stream()) }.result().unwrap();
    // SAFETY: a host that writes too early is what this is about.
    unsafe { from.cast_mut().write_volatile(7) };
    drop(held);
    assert_eq!(stream.clone_dtoh(&there).unwrap()[..2], [7, 1]);
}

#[test]
fn fills_write_whole_elements() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let stream = context.default_stream();
    // SAFETY: 64 bytes are allocated, filled and freed, and every copy is of at most as many.
    unsafe {
        let at = result::malloc_sync(64).unwrap();
        sys::cuMemsetD32_v2(at, 0x0102_0304, 8).result().unwrap();
        sys::cuMemsetD16_v2(at + 32, 0x0506, 8).result().unwrap();
        sys::cuMemsetD8Async(at + 48, 7, 16, stream.cu_stream()).result().unwrap();
        let mut bytes = [0u8; 64];
        result::memcpy_dtoh_sync(&mut bytes, at).unwrap();
        assert_eq!(bytes[..32], [4, 3, 2, 1].repeat(8));
        assert_eq!(bytes[32..48], [6, 5].repeat(8));
        assert_eq!(bytes[48..], [7; 16]);
        assert_eq!(sys::cuMemsetD32_v2(at + 2, 0, 1), CUresult::CUDA_ERROR_INVALID_VALUE);
        result::free_sync(at).unwrap();
    }
}

#[test]
fn wrong_ranges_and_frees_are_invalid_values() {
    let Some((_gpu, control)) = virtual_gpu("wrong_ranges_and_frees_are_invalid_values") else { return };
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    // SAFETY: every wrong call is refused before memory is touched.
    unsafe {
        let at = result::malloc_sync(100).unwrap();
        let mut bytes = [0u8; 128];
        assert_eq!(code(result::memcpy_htod_sync(at, &bytes)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert!(control.last_report().contains("100-byte allocation"), "{}", control.last_report());
        assert_eq!(code(result::memcpy_dtoh_sync(&mut bytes[..8], at + 96)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::memset_d8_sync(at + 1, 0, 100)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::free_sync(at + 4)), CUresult::CUDA_ERROR_INVALID_VALUE);
        result::free_sync(at).unwrap();
        assert_eq!(code(result::free_sync(at)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::memcpy_htod_sync(at, &bytes[..4])), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::malloc_sync(0)), CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // None of these is an error that stays.
    context.synchronize().unwrap();
}

#[test]
fn reading_back_what_nothing_wrote_is_a_fault() {
    let Some((_gpu, control)) = virtual_gpu("reading_back_what_nothing_wrote_is_a_fault") else { return };
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    // SAFETY: reading it is what the check is for.
    let mut there = unsafe { stream.alloc::<u32>(8) }.unwrap();
    stream.memcpy_htod(&[1; 7], &mut there.slice_mut(0..7)).unwrap();
    assert_eq!(stream.clone_dtoh(&there.slice(0..7)).unwrap(), [1; 7]);
    assert_eq!(code(stream.clone_dtoh(&there)), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    assert!(control.last_report().contains("byte 28 of a 32-byte allocation"), "{}", control.last_report());
}

#[test]
fn copies_within_the_device_carry_what_is_undefined() {
    let Some((_gpu, control)) = virtual_gpu("copies_within_the_device_carry_what_is_undefined") else { return };
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    // SAFETY: as above.
    let there = unsafe { stream.alloc::<u32>(8) }.unwrap();
    let beside = stream.clone_dtod(&there).unwrap();
    control.configure(r#"{"definedness": "lenient"}"#).unwrap();
    stream.clone_dtoh(&beside).unwrap();
    control.configure(r#"{"definedness": null}"#).unwrap();
    assert_eq!(code(stream.clone_dtoh(&beside)), CUresult::CUDA_ERROR_LAUNCH_FAILED);
}

#[test]
fn memory_is_counted_and_runs_out() {
    let Some((_gpu, control)) = virtual_gpu("memory_is_counted_and_runs_out") else { return };
    control.configure(r#"{"memory": 1048576}"#).unwrap();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    assert_eq!((context.mem_get_info().unwrap(), context.total_mem().unwrap()), ((1 << 20, 1 << 20), 1 << 20));
    let half = stream.alloc_zeros::<u8>(600_000).unwrap();
    assert_eq!(context.mem_get_info().unwrap().0, (1 << 20) - 600_000);
    assert_eq!(code(stream.alloc_zeros::<u8>(600_000)), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    // Pinned memory is the host's.
    // SAFETY: never read.
    let pinned = unsafe { context.alloc_pinned::<u8>(2 << 20) }.unwrap();
    assert_eq!(context.mem_get_info().unwrap().0, (1 << 20) - 600_000);
    drop(pinned);
    // A free that the stream has not come to yet still makes room for what comes after it.
    let held = hold(&stream);
    drop(half);
    drop(held);
    let again = stream.alloc_zeros::<u8>(1 << 20).unwrap();
    assert_eq!(context.mem_get_info().unwrap().0, 0);
    drop(again);
    stream.synchronize().unwrap();
    assert_eq!(context.mem_get_info().unwrap().0, 1 << 20);
}

#[test]
fn devices_without_pools_allocate_all_the_same() {
    let Some((_gpu, control)) = virtual_gpu("devices_without_pools_allocate_all_the_same") else { return };
    control.configure(r#"{"memory_pools": false}"#).unwrap();
    let context = CudaContext::new(0).unwrap();
    assert!(!context.has_async_alloc());
    let stream = context.new_stream().unwrap();
    let there = stream.clone_htod(&[1u8, 2, 3]).unwrap();
    assert_eq!(stream.clone_dtoh(&there).unwrap(), [1, 2, 3]);
    let mut address = 0;
    // SAFETY: the place is there; nothing is allocated.
    let refused = unsafe { sys::cuMemAllocAsync(&mut address, 4, stream.cu_stream()) };
    assert_eq!(refused, CUresult::CUDA_ERROR_NOT_SUPPORTED);
}

#[test]
fn pools_count_what_is_taken_from_them() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    // SAFETY: the pool lives until it is destroyed below; attributes are 64 bits wide.
    unsafe {
        let properties: sys::CUmemPoolProps = std::mem::zeroed();
        let pool = result::mem_pool::create(&sys::CUmemPoolProps {
            allocType: sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
            location: sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: 0 },
            ..properties
        })
        .unwrap();
        let used = || {
            let mut bytes = 0u64;
            let current = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT;
            result::mem_pool::get_attribute(pool, current, (&raw mut bytes).cast()).unwrap();
            bytes
        };
        let at = result::mem_pool::alloc_async(pool, 1000, stream.cu_stream()).unwrap();
        assert_eq!(used(), 1000);
        result::free_async(at, stream.cu_stream()).unwrap();
        stream.synchronize().unwrap();
        assert_eq!(used(), 0);
        assert_eq!(code(result::free_async(at, stream.cu_stream())), CUresult::CUDA_ERROR_INVALID_VALUE);
        result::mem_pool::destroy(pool).unwrap();
    }
}

#[test]
fn the_nth_allocation_fails_and_only_that_one() {
    let Some((_gpu, control)) = virtual_gpu("the_nth_allocation_fails_and_only_that_one") else { return };
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    control.configure(r#"{"fail_allocation": 3, "fail_pinned": 1}"#).unwrap();
    let codes: Vec<_> = (0..5).map(|_| code(stream.alloc_zeros::<u8>(10))).collect();
    let mut expected = [CUresult::CUDA_SUCCESS; 5];
    expected[2] = CUresult::CUDA_ERROR_OUT_OF_MEMORY;
    assert_eq!(codes, expected);
    // SAFETY: never read.
    let pinned = || code(unsafe { context.alloc_pinned::<u8>(10) });
    assert_eq!([pinned(), pinned()], [CUresult::CUDA_ERROR_OUT_OF_MEMORY, CUresult::CUDA_SUCCESS]);
}

#[test]
fn freed_memory_that_still_holds_a_text_is_counted() {
    let Some((_gpu, control)) = virtual_gpu("freed_memory_that_still_holds_a_text_is_counted") else { return };
    control.configure(r#"{"watch": "fever since Monday"}"#).unwrap();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let traces = || {
        stream.synchronize().unwrap();
        let counters: serde_json::Value = serde_json::from_str(&control.counters()).unwrap();
        counters["device"]["traces"].as_u64().unwrap()
    };
    let mut wiped = stream.clone_htod(b"note: fever since Monday, no cough").unwrap();
    let left = stream.clone_dtod(&wiped).unwrap();
    stream.memset_zeros(&mut wiped).unwrap();
    drop(wiped);
    assert_eq!(traces(), 0);
    drop(left);
    assert_eq!(traces(), 1);
}
