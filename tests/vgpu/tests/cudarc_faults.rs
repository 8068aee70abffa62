//! Faults through cudarc: when they show, how long they stay, and how a process gets out of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::{code, module, vadd, virtual_gpu};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, result};
use std::sync::Arc;

/// A context whose launches record no events: a launch that fails at once would show there already.
fn context() -> Arc<CudaContext> {
    let context = CudaContext::new(0).unwrap();
    // SAFETY: one stream only.
    unsafe { context.disable_event_tracking() };
    context
}

/// One launch of `vadd` that is right, and its result.
fn works() -> bool {
    let Ok(context) = CudaContext::new(0) else { return false };
    let function = module(&context).load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 100]).unwrap();
    let mut sum = stream.alloc_zeros(100).unwrap();
    vadd(&stream, &function, &one, &one, &mut sum, 100).unwrap();
    stream.clone_dtoh(&sum).is_ok_and(|sum| sum == [2.0; 100])
}

#[test]
fn an_access_out_of_bounds_shows_when_waited_for_and_stays() {
    let Some((_gpu, control)) = virtual_gpu("an_access_out_of_bounds_shows_when_waited_for_and_stays") else { return };
    let context = context();
    let function = module(&context).load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 300]).unwrap();
    let mut short = stream.alloc_zeros::<f32>(299).unwrap();
    vadd(&stream, &function, &one, &one, &mut short, 300).expect("the launch itself has no fault");
    let illegal = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
    assert_eq!(code(stream.synchronize()), illegal);
    let report = control.last_report();
    for part in ["vadd", "out-of-bounds", "st.global.f32", "block (2,0,0)", "thread (43,0,0)", "1196-byte allocation"] {
        assert!(report.contains(part), "{part} in: {report}");
    }
    // Everything answers the same from here on.
    assert_eq!(code(stream.clone_dtoh(&one)), illegal);
    assert_eq!(code(stream.alloc_zeros::<u8>(4)), illegal);
    assert_eq!(code(context.synchronize()), illegal);
    assert_eq!(code(context.new_stream()), illegal);
    assert_eq!(code(module_again(&context)), illegal);
    assert_eq!(code(vadd(&stream, &function, &one, &one, &mut short, 10)), illegal);
    // A second user of the primary context is in the same boat; it is the context that is broken.
    let other = CudaContext::new(0).unwrap();
    assert_eq!(code(other.synchronize()), illegal);
    drop(other);
    drop((one, short, function, stream));
    drop(context);
    assert!(works(), "a fresh context after the last user is gone");
}

fn module_again(context: &Arc<CudaContext>) -> Result<(), cudarc::driver::DriverError> {
    context.load_module(cudarc::nvrtc::Ptx::from_src(common::KERNELS)).map(|_| ())
}

#[test]
fn what_is_queued_behind_a_fault_is_not_done() {
    let Some((_gpu, control)) = virtual_gpu("what_is_queued_behind_a_fault_is_not_done") else { return };
    control.configure(r#"{"fail_launch": 2}"#).unwrap();
    let context = context();
    let function = module(&context).load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 10]).unwrap();
    let mut sum = stream.alloc_zeros(10).unwrap();
    let event = context.new_event(None).unwrap();
    let mut codes = Vec::new();
    for _ in 0..2 {
        codes.push(code(vadd(&stream, &function, &one, &one, &mut sum, 10)));
    }
    assert_eq!(codes, [CUresult::CUDA_SUCCESS; 2]);
    // Events behind the fault are reached: nobody waits for ever.
    let recorded = code(event.record(&stream));
    let failed = CUresult::CUDA_ERROR_LAUNCH_FAILED;
    assert!(recorded == CUresult::CUDA_SUCCESS || recorded == failed, "{recorded:?}");
    assert_eq!(code(stream.synchronize()), failed);
    assert_eq!(code(event.synchronize()), failed);
    assert!(control.last_report().contains("as asked for"));
}

#[test]
fn launch_failures_of_the_call_do_not_stay() {
    let Some((_gpu, control)) = virtual_gpu("launch_failures_of_the_call_do_not_stay") else { return };
    control.configure(r#"{"fail_launch": {"at": 1, "code": 701}}"#).unwrap();
    let context = context();
    let function = module(&context).load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 10]).unwrap();
    let mut sum = stream.alloc_zeros(10).unwrap();
    let refused = vadd(&stream, &function, &one, &one, &mut sum, 10);
    assert_eq!(code(refused), CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    vadd(&stream, &function, &one, &one, &mut sum, 10).unwrap();
    assert_eq!(stream.clone_dtoh(&sum).unwrap(), [2.0; 10]);
}

#[test]
fn launches_of_a_graph_count_and_fail_too() {
    let Some((_gpu, control)) = virtual_gpu("launches_of_a_graph_count_and_fail_too") else { return };
    let context = context();
    let function = module(&context).load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 10]).unwrap();
    let mut sum = stream.alloc_zeros(10).unwrap();
    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    vadd(&stream, &function, &one, &one, &mut sum, 10).unwrap();
    let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    let graph = stream.end_capture(flags).unwrap().unwrap();
    control.configure(r#"{"fail_launch": {"at": 3, "code": 700}}"#).unwrap();
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(code(graph.launch().and_then(|()| stream.synchronize())));
    }
    let (good, bad) = (CUresult::CUDA_SUCCESS, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(codes, [good, good, bad, bad]);
}

#[test]
fn a_lost_device_stays_lost() {
    let Some((_gpu, control)) = virtual_gpu("a_lost_device_stays_lost") else { return };
    control.configure(r#"{"lose_device": 1}"#).unwrap();
    let context = context();
    let function = module(&context).load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 10]).unwrap();
    let mut sum = stream.alloc_zeros(10).unwrap();
    vadd(&stream, &function, &one, &one, &mut sum, 10).unwrap();
    assert_eq!(code(stream.synchronize()), CUresult::CUDA_ERROR_UNKNOWN);
    drop((one, sum, function, stream));
    drop(context);
    assert_eq!(code(CudaContext::new(0)), CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE);
    control.configure("{}").unwrap();
    assert!(works(), "the device is back");
}

#[test]
fn a_context_takes_everything_with_it() {
    let Some((_gpu, control)) = virtual_gpu("a_context_takes_everything_with_it") else { return };
    let left = || {
        let counters: serde_json::Value = serde_json::from_str(&control.counters()).unwrap();
        ["used", "pinned", "contexts", "streams", "events", "modules"]
            .map(|what| counters["device"][what].as_u64().unwrap())
    };
    let context = context();
    let module = module(&context);
    let stream = context.new_stream().unwrap();
    let event = context.new_event(None).unwrap();
    let there = stream.alloc_zeros::<u8>(1000).unwrap();
    // SAFETY: never read.
    let pinned = unsafe { context.alloc_pinned::<u8>(50) }.unwrap();
    assert!(left().iter().all(|count| *count > 0), "{:?}", left());
    // Leaked on purpose: only the context knows them now.
    std::mem::forget((there, pinned, module, event, stream.clone()));
    drop(stream);
    // SAFETY: the users that were forgotten never come back.
    unsafe { result::primary_ctx::release(context.cu_device()) }.unwrap();
    assert_eq!(left(), [0; 6]);
    std::mem::forget(context);
    assert!(works());
}

#[test]
fn contexts_of_ones_own_fail_alone() {
    let Some((_gpu, control)) = virtual_gpu("contexts_of_ones_own_fail_alone") else { return };
    let good = CudaContext::new(0).unwrap();
    let bad = CudaContext::new_non_primary(0, 0).unwrap();
    // SAFETY: one stream only.
    unsafe { bad.disable_event_tracking() };
    let function = module(&bad).load_function("vadd").unwrap();
    let stream = bad.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 10]).unwrap();
    let mut sum = stream.alloc_zeros(10).unwrap();
    control.configure(r#"{"fail_launch": 1}"#).unwrap();
    vadd(&stream, &function, &one, &one, &mut sum, 10).unwrap();
    assert_eq!(code(bad.synchronize()), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    good.synchronize().unwrap();
    assert!(works());
}

#[test]
fn settings_that_make_no_sense_are_refused_and_change_nothing() {
    let Some((_gpu, control)) = virtual_gpu("settings_that_make_no_sense_are_refused_and_change_nothing") else {
        return;
    };
    control.configure(r#"{"memory": 123456}"#).unwrap();
    let error = control.configure(r#"{"memory": 1, "memry": 2}"#).unwrap_err();
    assert!(error.to_string().contains("memry"), "{error}");
    assert_eq!(CudaContext::new(0).unwrap().total_mem().unwrap(), 123_456);
}
