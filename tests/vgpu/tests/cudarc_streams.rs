//! Streams and events through cudarc: order, waiting, what is pending, timing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::{code, gpu, hold, module, vadd};
use cudarc::driver::sys::{self, CUevent_flags, CUresult};
use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg, result};
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ONE_WARP: LaunchConfig = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };

#[test]
fn events_are_pending_behind_what_holds_their_stream() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let event = context.new_event(None).unwrap();
    assert!(event.is_complete(), "an event that was never recorded counts as reached");
    let held = hold(&stream);
    event.record(&stream).unwrap();
    assert_eq!(event.try_is_complete(), Ok(false));
    // SAFETY: the stream is alive.
    let query = || unsafe { sys::cuStreamQuery(stream.cu_stream()) };
    assert_eq!(query(), CUresult::CUDA_ERROR_NOT_READY);
    drop(held);
    event.synchronize().unwrap();
    assert_eq!(event.try_is_complete(), Ok(true));
    stream.synchronize().unwrap();
    assert_eq!(query(), CUresult::CUDA_SUCCESS);
}

#[test]
fn a_stream_waits_for_the_event_as_it_was_recorded_then() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let event = context.new_event(None).unwrap();
    let held = hold(&first);
    event.record(&first).unwrap();
    second.wait(&event).unwrap();
    let after = second.record_event(None).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(after.try_is_complete(), Ok(false));
    drop(held);
    after.synchronize().unwrap();
    assert!(event.is_complete());

    // Recorded anew, the event holds back only what waits for it from then on.
    let held = hold(&first);
    let free = second.record_event(None).unwrap();
    event.record(&first).unwrap();
    free.synchronize().unwrap();
    assert_eq!(event.try_is_complete(), Ok(false));
    drop(held);
    first.synchronize().unwrap();
}

#[test]
fn streams_of_their_own_go_on_while_another_is_held() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let held = hold(&first);
    let there = second.clone_htod(&[1u32, 2, 3]).unwrap();
    assert_eq!(second.clone_dtoh(&there).unwrap(), [1, 2, 3]);
    drop(held);
}

#[test]
fn the_legacy_stream_orders_itself_with_blocking_streams_only() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    let blocking = result::stream::create(result::stream::StreamKind::Default).unwrap();
    // SAFETY: destroyed below, after the wrapper is gone.
    let stream = unsafe { context.wrap_borrowed_stream(blocking) };
    let free = context.new_stream().unwrap();
    let legacy = context.default_stream();

    let held = hold(&free);
    legacy.record_event(None).unwrap().synchronize().unwrap();
    drop(held);

    let held = hold(&stream);
    let behind = legacy.record_event(None).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(behind.try_is_complete(), Ok(false), "the legacy stream waits for a blocking one");
    drop(held);
    behind.synchronize().unwrap();

    let held = hold(&legacy);
    let behind = stream.record_event(None).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(behind.try_is_complete(), Ok(false), "a blocking stream waits for the legacy one");
    drop(held);
    behind.synchronize().unwrap();
    drop(behind);
    drop(stream);
    // SAFETY: made above.
    unsafe { result::stream::destroy(blocking) }.unwrap();
}

#[test]
fn elapsed_time_covers_what_lies_between() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let timed = || context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).unwrap();
    let (start, end) = (timed(), timed());
    // SAFETY: both events are alive.
    let elapsed = || unsafe { result::event::elapsed(start.cu_event(), end.cu_event()) };
    assert_eq!(code(elapsed()), CUresult::CUDA_ERROR_INVALID_HANDLE, "never recorded");
    let begun = Instant::now();
    start.record(&stream).unwrap();
    start.synchronize().unwrap();
    let held = hold(&stream);
    end.record(&stream).unwrap();
    assert_eq!(code(elapsed()), CUresult::CUDA_ERROR_NOT_READY);
    std::thread::sleep(Duration::from_millis(30));
    drop(held);
    end.synchronize().unwrap();
    let milliseconds = elapsed().unwrap();
    assert!((30.0..=begun.elapsed().as_secs_f32() * 1e3).contains(&milliseconds), "{milliseconds}");

    let untimed = context.new_event(None).unwrap();
    untimed.record(&stream).unwrap();
    stream.synchronize().unwrap();
    // SAFETY: as above.
    let refused = unsafe { result::event::elapsed(start.cu_event(), untimed.cu_event()) };
    assert_eq!(code(refused), CUresult::CUDA_ERROR_INVALID_HANDLE);
}

#[test]
fn host_functions_are_called_in_order_and_once() {
    let _gpu = gpu();
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn expect(data: *mut c_void) {
        let _ = CALLS.compare_exchange(data as usize, data as usize + 1, Ordering::SeqCst, Ordering::SeqCst);
    }
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    for call in 0..100 {
        // SAFETY: the data is a number.
        unsafe { sys::cuLaunchHostFunc(stream.cu_stream(), Some(expect), call as *mut c_void) }.result().unwrap();
    }
    stream.synchronize().unwrap();
    assert_eq!(CALLS.load(Ordering::SeqCst), 100);
}

#[test]
fn kernels_run_in_the_order_of_their_stream() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let module = module(&context);
    let function = module.load_function("vadd").unwrap();
    let stream = context.new_stream().unwrap();
    let one = stream.clone_htod(&[1.0f32; 300]).unwrap();
    let mut sums = [stream.clone_htod(&[0.0f32; 300]).unwrap(), stream.alloc_zeros(300).unwrap()];
    for _ in 0..20 {
        let [from, to] = &mut sums;
        vadd(&stream, &function, from, &one, to, 300).unwrap();
        sums.swap(0, 1);
    }
    assert_eq!(stream.clone_dtoh(&sums[0]).unwrap(), [20.0; 300]);
}

#[test]
fn forked_streams_join_again() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    let module = module(&context);
    let function = module.load_function("count").unwrap();
    let stream = context.new_stream().unwrap();
    let mut counts: Vec<_> = (0..3).map(|_| stream.alloc_zeros::<u32>(1).unwrap()).collect();
    let streams: Vec<_> = (0..3).map(|_| stream.fork().unwrap()).collect();
    for (index, (fork, count)) in streams.iter().zip(&mut counts).enumerate() {
        let times = 1000 * (index as u32 + 1);
        let mut launch = fork.launch_builder(&function);
        launch.arg(count).arg(&times);
        // SAFETY: the kernel's arguments.
        unsafe { launch.launch(ONE_WARP) }.unwrap();
    }
    for fork in &streams {
        stream.join(fork).unwrap();
    }
    let read: Vec<u32> = counts.iter().map(|count| stream.clone_dtoh(count).unwrap()[0]).collect();
    assert_eq!(read, [1000, 2000, 3000]);
}

#[test]
fn kernels_of_two_streams_run_at_the_same_time() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    // SAFETY: the two streams share the flag on purpose.
    unsafe { context.disable_event_tracking() };
    let module = module(&context);
    let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let flag = first.alloc_zeros::<u32>(1).unwrap();
    first.synchronize().unwrap();
    let one_thread = LaunchConfig { block_dim: (1, 1, 1), ..ONE_WARP };
    // The first kernel ends only when the second has run.
    for (stream, name) in [(&first, "wait"), (&second, "signal")] {
        let function = module.load_function(name).unwrap();
        // SAFETY: the kernel's argument.
        unsafe { stream.launch_builder(&function).arg(&flag).launch(one_thread) }.unwrap();
    }
    first.synchronize().unwrap();
    assert_eq!(first.clone_dtoh(&flag).unwrap(), [1]);
}

#[test]
fn threads_share_a_context() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let context: Arc<_> = context.clone();
            scope.spawn(move || {
                let stream = context.new_stream().unwrap();
                let there = stream.clone_htod(&[thread; 1000]).unwrap();
                assert_eq!(stream.clone_dtoh(&there).unwrap(), [thread; 1000]);
            });
        }
    });
}

#[test]
fn destroyed_handles_are_invalid() {
    let gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    let stream = result::stream::create(result::stream::StreamKind::NonBlocking).unwrap();
    let event = result::event::create(CUevent_flags::CU_EVENT_DEFAULT).unwrap();
    // SAFETY: a destroyed handle is looked up, not followed, on the virtual GPU; a real one is not asked.
    unsafe {
        result::stream::destroy(stream).unwrap();
        result::event::destroy(event).unwrap();
        if gpu.control.is_some() {
            assert_eq!(code(result::stream::synchronize(stream)), CUresult::CUDA_ERROR_INVALID_HANDLE);
            assert_eq!(code(result::event::query(event)), CUresult::CUDA_ERROR_INVALID_HANDLE);
            assert_eq!(code(result::stream::destroy(stream)), CUresult::CUDA_ERROR_INVALID_HANDLE);
        }
    }
}

#[test]
fn priorities_are_kept_within_their_range() {
    let _gpu = gpu();
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    let (least, greatest) = result::stream::get_priority_range().unwrap();
    assert!(greatest < least);
    let stream = context.new_stream_with_priority(greatest - 10).unwrap();
    let mut priority = 1;
    // SAFETY: the stream is alive.
    unsafe { sys::cuStreamGetPriority(stream.cu_stream(), &mut priority) }.result().unwrap();
    assert_eq!(priority, greatest);
}
