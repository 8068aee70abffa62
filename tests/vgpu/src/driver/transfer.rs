//! Copies and fills. Pageable host memory is copied at the call, as drivers stage it; pinned memory when the stream comes to
//! it, so that a host which writes to it too early is found out.

use super::context;
use super::errors::{ILLEGAL_ADDRESS, INVALID_VALUE, LAUNCH_FAILED, Result};
use super::memory::is_pinned;
use super::state::state;
use super::stream::{self, Stream};
use crate::memory::{Definedness, arena};
use std::ffi::{c_uint, c_void};
use std::sync::Arc;

/// Reports a range of device memory that is not all allocated.
fn checked(what: &str, address: u64, bytes: usize) -> Result {
    arena().check(address, bytes).map_err(|why| {
        state().report(format!("vgpu: {what} of {bytes} bytes: {why}"));
        ILLEGAL_ADDRESS
    })
}

/// The same at the call, where it is an invalid argument and nothing worse.
fn valid(what: &str, address: u64, bytes: usize) -> Result {
    checked(what, address, bytes).map_err(|_| INVALID_VALUE)
}

/// # Safety
/// `bytes` bytes at `from` are readable, and writable at `to`.
unsafe fn move_bytes(to: u64, from: u64, bytes: usize) {
    // SAFETY: the caller's promise; the ranges may overlap.
    unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
}

/// What the host reads must have been written.
fn defined(address: u64, bytes: usize) -> Result {
    let strict = matches!(state().config().options().definedness, Definedness::Strict);
    if !strict || arena().is_initialised(address, bytes) {
        return Ok(());
    }
    let is_undefined = |byte: &usize| !arena().is_initialised(address + *byte as u64, 1);
    let first = (0..bytes).find(is_undefined).unwrap_or(0);
    let place = arena().describe(address + first as u64);
    state().report(format!("vgpu: copy of {bytes} bytes to the host reads what nothing wrote, first at {place}"));
    Err(LAUNCH_FAILED)
}

fn to_device(to: u64, from: u64, bytes: usize, stream: &Arc<Stream>, wait: bool) -> Result {
    if bytes == 0 {
        return Ok(());
    }
    if from == 0 {
        return Err(INVALID_VALUE);
    }
    valid("copy to the device", to, bytes)?;
    let arrive = move |from: u64| {
        checked("copy to the device", to, bytes)?;
        // SAFETY: `to` was just checked; `from` is the caller's memory under the API's contract, or our copy of it.
        unsafe { move_bytes(to, from, bytes) };
        arena().mark_initialised(to, bytes);
        Ok(())
    };
    if wait {
        stream.submit_and_wait(Arc::new(move || arrive(from)))
    } else if stream.capture().is_some() || is_pinned(from, bytes) {
        stream.submit(Arc::new(move || arrive(from)))
    } else {
        // SAFETY: the API's contract: `bytes` bytes at `from` are readable during the call.
        let staged = unsafe { std::slice::from_raw_parts(from as *const u8, bytes) }.to_vec();
        stream.submit(Arc::new(move || arrive(staged.as_ptr() as u64)))
    }
}

fn to_host(to: u64, from: u64, bytes: usize, stream: &Arc<Stream>, wait: bool) -> Result {
    if bytes == 0 {
        return Ok(());
    }
    if to == 0 {
        return Err(INVALID_VALUE);
    }
    valid("copy to the host", from, bytes)?;
    let arrive = Arc::new(move || {
        checked("copy to the host", from, bytes)?;
        defined(from, bytes)?;
        // SAFETY: `from` was just checked; `to` is the caller's memory under the API's contract.
        unsafe { move_bytes(to, from, bytes) };
        Ok(())
    });
    // Into pageable memory the call returns when the data is there.
    if wait || stream.capture().is_none() && !is_pinned(to, bytes) {
        stream.submit_and_wait(arrive)
    } else {
        stream.submit(arrive)
    }
}

fn within_device(to: u64, from: u64, bytes: usize, stream: &Arc<Stream>, wait: bool) -> Result {
    if bytes == 0 {
        return Ok(());
    }
    valid("copy within the device, its end", to, bytes)?;
    valid("copy within the device, its start", from, bytes)?;
    let arrive = Arc::new(move || {
        checked("copy within the device, its end", to, bytes)?;
        checked("copy within the device, its start", from, bytes)?;
        // SAFETY: both ranges were just checked.
        unsafe { move_bytes(to, from, bytes) };
        arena().copy_definedness(to, from, bytes);
        Ok(())
    });
    if wait { stream.submit_and_wait(arrive) } else { stream.submit(arrive) }
}

/// `cuMemcpy`: the addresses say which way.
fn either_way(to: u64, from: u64, bytes: usize, stream: &Arc<Stream>, wait: bool) -> Result {
    match (arena().contains(to), arena().contains(from)) {
        (true, true) => within_device(to, from, bytes, stream, wait),
        (true, false) => to_device(to, from, bytes, stream, wait),
        (false, true) => to_host(to, from, bytes, stream, wait),
        (false, false) => Err(INVALID_VALUE),
    }
}

/// Writes `count` times the `width` low bytes of `value`.
fn fill(to: u64, value: u32, width: usize, count: usize, stream: &Arc<Stream>, wait: bool) -> Result {
    let bytes = count.checked_mul(width).ok_or(INVALID_VALUE)?;
    if bytes == 0 {
        return Ok(());
    }
    if !to.is_multiple_of(width as u64) {
        return Err(INVALID_VALUE);
    }
    valid("fill", to, bytes)?;
    let arrive = Arc::new(move || {
        checked("fill", to, bytes)?;
        // SAFETY: the range was just checked, and nothing but device code and copies of ours touches it.
        let range = unsafe { std::slice::from_raw_parts_mut(to as *mut u8, bytes) };
        let pattern = value.to_le_bytes();
        if pattern[..width].iter().all(|byte| *byte == pattern[0]) {
            range.fill(pattern[0]);
        } else {
            range.chunks_exact_mut(width).for_each(|place| place.copy_from_slice(&pattern[..width]));
        }
        arena().mark_initialised(to, bytes);
        Ok(())
    });
    if wait { stream.submit_and_wait(arrive) } else { stream.submit(arrive) }
}

fn legacy() -> Result<Arc<Stream>> {
    Ok(context::current()?.legacy_stream())
}

api! {
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) { to_device(to, from as u64, bytes, &legacy()?, true) }
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) { to_host(to as u64, from, bytes, &legacy()?, true) }
    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) { within_device(to, from, bytes, &legacy()?, true) }
    fn cuMemcpy(to: u64, from: u64, bytes: usize) { either_way(to, from, bytes, &legacy()?, true) }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: u64) {
        to_device(to, from as u64, bytes, &stream::by_handle(stream)?, false)
    }
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: u64) {
        to_host(to as u64, from, bytes, &stream::by_handle(stream)?, false)
    }
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) {
        within_device(to, from, bytes, &stream::by_handle(stream)?, false)
    }
    fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: u64) {
        either_way(to, from, bytes, &stream::by_handle(stream)?, false)
    }
    fn cuMemcpyPeerAsync(to: u64, to_context: u64, from: u64, from_context: u64, bytes: usize, stream: u64) {
        context::by_handle(to_context)?;
        context::by_handle(from_context)?;
        within_device(to, from, bytes, &stream::by_handle(stream)?, false)
    }

    fn cuMemsetD8_v2(to: u64, value: u8, count: usize) { fill(to, value.into(), 1, count, &legacy()?, true) }
    fn cuMemsetD16_v2(to: u64, value: u16, count: usize) { fill(to, value.into(), 2, count, &legacy()?, true) }
    fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) { fill(to, value, 4, count, &legacy()?, true) }
    fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: u64) {
        fill(to, value.into(), 1, count, &stream::by_handle(stream)?, false)
    }
    fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: u64) {
        fill(to, value.into(), 2, count, &stream::by_handle(stream)?, false)
    }
    fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: u64) {
        fill(to, value, 4, count, &stream::by_handle(stream)?, false)
    }
}
