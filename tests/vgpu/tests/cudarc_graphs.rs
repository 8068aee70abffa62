//! Graphs by stream capture through cudarc: replay, forks, and the rules on what a capture forbids.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::{code, gpu, module, vadd, virtual_gpu};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode, CUstreamCaptureStatus};
use cudarc::driver::{CudaContext, CudaStream, result};
use std::sync::Arc;

const GLOBAL: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
const THREAD: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
const RELAXED: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
const FLAGS: CUgraphInstantiate_flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;

/// A context whose buffers have no events of their own: these would tie a capture to what happened before it.
fn context() -> Arc<CudaContext> {
    let context = CudaContext::new(0).unwrap();
    // SAFETY: every buffer is used in one stream, or ordered by events by hand.
    unsafe { context.disable_event_tracking() };
    context
}

/// Ends a capture that cannot come to anything.
fn abandon(stream: &Arc<CudaStream>) -> CUresult {
    code(stream.end_capture(FLAGS))
}

#[test]
fn a_graph_does_at_every_launch_what_was_captured() {
    let _gpu = gpu();
    let context = context();
    let function = module(&context).load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 200]).unwrap();
    let mut sum = stream.clone_htod(&[0.0f32; 200]).unwrap();
    let mut next = stream.clone_htod(&[0.0f32; 200]).unwrap();
    stream.synchronize().unwrap();
    stream.begin_capture(THREAD).unwrap();
    assert_eq!(stream.capture_status().unwrap(), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE);
    vadd(&stream, &function, &sum, &one, &mut next, 200).unwrap();
    stream.memcpy_dtod(&next, &mut sum).unwrap();
    let graph = stream.end_capture(FLAGS).unwrap().unwrap();
    assert_eq!(stream.clone_dtoh(&sum).unwrap(), [0.0; 200], "a capture does nothing");
    graph.upload().unwrap();
    for _ in 0..5 {
        graph.launch().unwrap();
    }
    assert_eq!(stream.clone_dtoh(&sum).unwrap(), [5.0; 200]);
    // What it reads is what is there at the launch.
    stream.memcpy_htod(&[10.0f32; 200], &mut sum).unwrap();
    graph.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&sum).unwrap(), [11.0; 200]);
}

#[test]
fn forks_are_captured_by_events_and_must_be_joined() {
    let _gpu = gpu();
    let context = context();
    let (stream, side) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let mut left = stream.clone_htod(&[0u8; 64]).unwrap();
    let mut right = side.clone_htod(&[0u8; 64]).unwrap();
    context.synchronize().unwrap();
    for joined in [true, false] {
        stream.begin_capture(RELAXED).unwrap();
        side.wait(&stream.record_event(None).unwrap()).unwrap();
        assert_eq!(side.capture_status().unwrap(), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE);
        stream.memset_zeros(&mut left).unwrap();
        side.memset_zeros(&mut right).unwrap();
        if joined {
            stream.wait(&side.record_event(None).unwrap()).unwrap();
            stream.end_capture(FLAGS).unwrap().unwrap().launch().unwrap();
        } else {
            assert_eq!(abandon(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        }
        assert_eq!(side.capture_status().unwrap(), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE);
    }
    stream.synchronize().unwrap();
}

#[test]
fn work_without_order_is_shuffled_by_the_seed() {
    let Some((_gpu, control)) = virtual_gpu("work_without_order_is_shuffled_by_the_seed") else { return };
    let context = context();
    let (stream, side) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let (zeros, ones) = (stream.clone_htod(&[0u8; 64]).unwrap(), stream.clone_htod(&[1u8; 64]).unwrap());
    let mut target = stream.clone_htod(&[2u8; 64]).unwrap();
    context.synchronize().unwrap();
    stream.begin_capture(RELAXED).unwrap();
    side.wait(&stream.record_event(None).unwrap()).unwrap();
    // Both write the target: an event between them is missing.
    stream.memcpy_dtod(&zeros, &mut target).unwrap();
    side.memcpy_dtod(&ones, &mut target).unwrap();
    stream.wait(&side.record_event(None).unwrap()).unwrap();
    let graph = stream.end_capture(FLAGS).unwrap().unwrap();
    let last = |seed: u32| {
        control.configure(&format!(r#"{{"seed": {seed}}}"#)).unwrap();
        graph.launch().unwrap();
        stream.clone_dtoh(&target).unwrap()[0]
    };
    assert_eq!(last(0), 1, "without a seed, as captured");
    let seen: std::collections::BTreeSet<u8> = (1..30).map(last).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn captured_events_cannot_be_asked_after() {
    let _gpu = gpu();
    let context = context();
    let stream = context.new_stream().unwrap();
    let event = context.new_event(None).unwrap();
    stream.begin_capture(THREAD).unwrap();
    event.record(&stream).unwrap();
    assert_eq!(code(event.try_is_complete()), CUresult::CUDA_ERROR_CAPTURED_EVENT);
    assert_eq!(abandon(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    event.record(&stream).unwrap();
    event.synchronize().unwrap();
}

#[test]
fn a_capture_may_not_wait_for_what_is_outside_it() {
    let _gpu = gpu();
    let context = context();
    let (stream, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let event = other.record_event(None).unwrap();
    stream.begin_capture(THREAD).unwrap();
    assert_eq!(code(stream.wait(&event)), CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    assert_eq!(abandon(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

#[test]
fn waiting_or_allocating_spoils_a_capture() {
    let _gpu = gpu();
    let context = context();
    let stream = context.new_stream().unwrap();
    let unsupported = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    let invalidated = CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    stream.begin_capture(THREAD).unwrap();
    assert_eq!(code(stream.synchronize()), unsupported);
    assert_eq!(stream.capture_status().unwrap(), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    assert_eq!(abandon(&stream), invalidated);
    assert_eq!(stream.capture_status().unwrap(), CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE);

    stream.begin_capture(THREAD).unwrap();
    assert_eq!(code(context.synchronize()), unsupported);
    assert_eq!(abandon(&stream), invalidated);

    // SAFETY: what is allocated is freed.
    let allocate = || unsafe { result::malloc_sync(16).map(|at| result::free_sync(at).unwrap()) };
    for (mode, same, other) in [
        (GLOBAL, unsupported, unsupported),
        (THREAD, unsupported, CUresult::CUDA_SUCCESS),
        (RELAXED, CUresult::CUDA_SUCCESS, CUresult::CUDA_SUCCESS),
    ] {
        stream.begin_capture(mode).unwrap();
        assert_eq!(code(allocate()), same, "{mode:?}");
        assert_eq!(abandon(&stream), if same == unsupported { invalidated } else { same }, "{mode:?}");

        stream.begin_capture(mode).unwrap();
        let elsewhere = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                context.bind_to_thread().unwrap();
                code(allocate())
            });
            thread.join().unwrap()
        });
        assert_eq!(elsewhere, other, "{mode:?}");
        assert_eq!(abandon(&stream), if other == unsupported { invalidated } else { other }, "{mode:?}");
    }
}

#[test]
fn captures_begin_and_end_where_they_may() {
    let _gpu = gpu();
    let context = context();
    let (stream, side) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    assert_eq!(code(context.default_stream().begin_capture(THREAD)), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_eq!(abandon(&stream), CUresult::CUDA_ERROR_ILLEGAL_STATE);
    stream.begin_capture(THREAD).unwrap();
    assert_eq!(code(stream.begin_capture(THREAD)), CUresult::CUDA_ERROR_ILLEGAL_STATE);
    std::thread::scope(|scope| {
        let elsewhere = scope.spawn(|| abandon(&stream)).join().unwrap();
        assert_eq!(elsewhere, CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    });
    side.wait(&stream.record_event(None).unwrap()).unwrap();
    assert_eq!(abandon(&side), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    assert_eq!(abandon(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

#[test]
fn the_legacy_stream_may_not_depend_on_a_capture() {
    let _gpu = gpu();
    let context = context();
    context.bind_to_thread().unwrap();
    let blocking = result::stream::create(result::stream::StreamKind::Default).unwrap();
    // SAFETY: destroyed below, after the wrapper is gone.
    let stream = unsafe { context.wrap_borrowed_stream(blocking) };
    let mut there = context.default_stream().alloc_zeros::<u8>(8).unwrap();
    context.synchronize().unwrap();
    stream.begin_capture(RELAXED).unwrap();
    let refused = context.default_stream().memset_zeros(&mut there);
    assert_eq!(code(refused), CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    assert_eq!(abandon(&stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    drop(stream);
    // SAFETY: made above.
    unsafe { result::stream::destroy(blocking) }.unwrap();
}
