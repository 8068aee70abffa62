//! Device, managed and pinned memory. Copies and fills stand in `transfer`.

use super::args::Out;
use super::capture;
use super::context::{self, Context};
use super::errors::{INVALID_VALUE, NOT_FOUND, NOT_SUPPORTED, OUT_OF_MEMORY, Result};
use super::pool::{self, Pool};
use super::state::state;
use super::stream::{self, Stream};
use crate::memory::arena;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Live memory by its first address.
static OWNED: Mutex<BTreeMap<u64, Owned>> = Mutex::new(BTreeMap::new());

/// Host memory that was registered: first address and bytes.
static REGISTERED: Mutex<BTreeMap<u64, usize>> = Mutex::new(BTreeMap::new());

/// What an address was allocated as.
#[derive(Clone)]
enum Kind {
    /// `cuMemAlloc`, `cuMemAllocManaged`.
    Device,
    /// `cuMemAllocAsync`; `freed` once `cuMemFreeAsync` was called, before its stream comes to it.
    Pooled { pool: Arc<Pool>, freed: bool },
    /// `cuMemHostAlloc`: in the arena, so that kernels reach it, but no part of the device's memory.
    Pinned,
}

struct Owned {
    context: u64,
    bytes: usize,
    kind: Kind,
}

fn owned() -> MutexGuard<'static, BTreeMap<u64, Owned>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn own(address: u64, context: &Context, bytes: usize, kind: Kind) {
    owned().insert(address, Owned { context: context.handle, bytes, kind });
}

fn injected() -> Result {
    state().traps.allocation.step().map_or(Ok(()), Err)
}

/// Gives memory back to the arena; looks first whether it holds what a test said must not be left in it.
fn release(address: u64, owned: &Owned) {
    state().look_for_traces(address, owned.bytes);
    arena().free(address);
    match &owned.kind {
        Kind::Pooled { pool, .. } => pool.give_back(owned.bytes),
        Kind::Pinned => state().unpin(owned.bytes),
        Kind::Device => {}
    }
}

/// The context dies, and its memory with it.
pub fn free_all(context: u64) {
    let mut all = owned();
    let gone: Vec<u64> =
        all.iter().filter(|(_, owned)| owned.context == context).map(|(address, _)| *address).collect();
    for address in gone {
        if let Some(owned) = all.remove(&address) {
            release(address, &owned);
        }
    }
}

/// Whether host memory is pinned or registered, so that copies of it may come after the call that asks for them.
pub fn is_pinned(address: u64, bytes: usize) -> bool {
    let within = |start: u64, size: usize| address + bytes as u64 <= start + size as u64;
    if arena().contains(address) {
        return true;
    }
    let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.range(..=address).next_back().is_some_and(|(start, size)| within(*start, *size))
}

fn allocate(place: Out<u64>, bytes: usize) -> Result<u64> {
    let context = context::current()?;
    capture::refuse_unsafe_call()?;
    if bytes == 0 || !place.is_wanted() {
        return Err(INVALID_VALUE);
    }
    injected()?;
    let address = arena().allocate(bytes).ok_or(OUT_OF_MEMORY)?;
    own(address, &context, bytes, Kind::Device);
    place.set(address)?;
    Ok(address)
}

/// Memory in the order of a stream: there at once here, but freed only when the stream comes to it, so what is short now may
/// be there once the streams are through.
pub fn allocate_pooled(place: Out<u64>, bytes: usize, pool: &Arc<Pool>, stream: &Arc<Stream>) -> Result {
    if stream.capture().is_some() {
        state().report("vgpu: allocations in a graph are not supported; allocate before the capture".into());
        return Err(NOT_SUPPORTED);
    }
    if bytes == 0 || !place.is_wanted() {
        return Err(INVALID_VALUE);
    }
    injected()?;
    let context = &stream.context;
    let address = arena().allocate(bytes).or_else(|| {
        context.drain();
        arena().allocate(bytes)
    });
    let address = address.ok_or(OUT_OF_MEMORY)?;
    pool.take(bytes);
    own(address, context, bytes, Kind::Pooled { pool: pool.clone(), freed: false });
    place.set(address)
}

fn free_pooled(address: u64, stream: &Arc<Stream>) -> Result {
    if stream.capture().is_some() {
        state().report("vgpu: frees in a graph are not supported".into());
        return Err(NOT_SUPPORTED);
    }
    match owned().get_mut(&address) {
        Some(Owned { kind: Kind::Pooled { freed, .. }, .. }) if !*freed => *freed = true,
        _ => return bad_free("cuMemFreeAsync", address),
    }
    stream.submit(Arc::new(move || {
        if let Some(owned) = owned().remove(&address) {
            release(address, &owned);
        }
        Ok(())
    }))
}

fn bad_free(name: &str, address: u64) -> Result {
    state().report(format!("vgpu: {name} of what it did not allocate: {}", arena().describe(address)));
    Err(INVALID_VALUE)
}

fn free_pinned(address: u64) -> Result {
    let context = context::current()?;
    capture::refuse_unsafe_call()?;
    context.drain();
    let mut all = owned();
    if !matches!(all.get(&address), Some(Owned { kind: Kind::Pinned, .. })) {
        drop(all);
        return bad_free("cuMemFreeHost", address);
    }
    if let Some(owned) = all.remove(&address) {
        release(address, &owned);
    }
    Ok(())
}

fn allocate_pinned(place: Out<*mut c_void>, bytes: usize) -> Result {
    let context = context::current()?;
    capture::refuse_unsafe_call()?;
    if bytes == 0 || !place.is_wanted() {
        return Err(INVALID_VALUE);
    }
    state().traps.pinned.step().map_or(Ok(()), Err)?;
    state().pin(bytes);
    let Some(address) = arena().allocate(bytes) else {
        state().unpin(bytes);
        return Err(OUT_OF_MEMORY);
    };
    // The host writes there without telling the shadow.
    arena().mark_initialised(address, bytes);
    own(address, &context, bytes, Kind::Pinned);
    place.set(address as *mut c_void)
}

api! {
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
        context::current()?;
        let memory = state().config().memory;
        free.set(memory.saturating_sub(state().used()))?;
        total.set(memory)
    }

    fn cuMemAlloc_v2(place: Out<u64>, bytes: usize) { allocate(place, bytes).map(|_| ()) }

    /// Managed memory is one with the host's, so it counts as written from the start.
    fn cuMemAllocManaged(place: Out<u64>, bytes: usize, flags: c_uint) {
        if !matches!(flags, 1 | 2) {
            return Err(INVALID_VALUE);
        }
        let address = allocate(place, bytes)?;
        arena().mark_initialised(address, bytes);
        Ok(())
    }

    /// Waits for the context, as real drivers do.
    fn cuMemFree_v2(address: u64) {
        let context = context::current()?;
        capture::refuse_unsafe_call()?;
        if address == 0 {
            return Ok(());
        }
        context.drain();
        context.healthy()?;
        let mut all = owned();
        if !matches!(all.get(&address).map(|owned| &owned.kind), Some(Kind::Device | Kind::Pooled { freed: false, .. })) {
            drop(all);
            return bad_free("cuMemFree", address);
        }
        if let Some(owned) = all.remove(&address) {
            release(address, &owned);
        }
        Ok(())
    }

    fn cuMemAllocAsync(place: Out<u64>, bytes: usize, stream: u64) {
        let stream = stream::by_handle(stream)?;
        if !state().config().memory_pools {
            return Err(NOT_SUPPORTED);
        }
        allocate_pooled(place, bytes, &pool::current(), &stream)
    }

    fn cuMemFreeAsync(address: u64, stream: u64) {
        let stream = stream::by_handle(stream)?;
        free_pooled(address, &stream)
    }

    fn cuMemHostAlloc(place: Out<*mut c_void>, bytes: usize, flags: c_uint) {
        if flags > 7 {
            return Err(INVALID_VALUE);
        }
        allocate_pinned(place, bytes)
    }

    fn cuMemAllocHost_v2(place: Out<*mut c_void>, bytes: usize) { allocate_pinned(place, bytes) }

    /// Waits for the context, as real drivers do.
    fn cuMemFreeHost(address: u64) { free_pinned(address) }

    /// Registered memory may be copied from and to at any time, but kernels do not reach it here.
    fn cuMemHostRegister_v2(address: u64, bytes: usize, _flags: c_uint) {
        context::current()?;
        if address == 0 || bytes == 0 {
            return Err(INVALID_VALUE);
        }
        REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).insert(address, bytes);
        Ok(())
    }

    fn cuMemHostUnregister(address: u64) {
        context::current()?.drain();
        let gone = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
        gone.map(|_| ()).ok_or(INVALID_VALUE)
    }

    fn cuMemHostGetDevicePointer_v2(place: Out<u64>, address: u64, _flags: c_uint) {
        context::current()?;
        if !arena().contains(address) {
            return Err(INVALID_VALUE);
        }
        place.set(address)
    }

    fn cuMemGetAddressRange_v2(start: Out<u64>, bytes: Out<usize>, address: u64) {
        context::current()?;
        let (from, size) = arena().allocation(address).ok_or(NOT_FOUND)?;
        start.set_if_wanted(from)?;
        bytes.set_if_wanted(size)
    }

    fn cuMemAdvise(_address: u64, _bytes: usize, _advice: c_int, _device: c_int) { context::current().map(|_| ()) }
    fn cuMemAdvise_v2(_address: u64, _bytes: usize, _advice: c_int, _location: u64) { context::current().map(|_| ()) }
    fn cuMemPrefetchAsync(_address: u64, _bytes: usize, _device: c_int, stream: u64) {
        stream::by_handle(stream).map(|_| ())
    }
    fn cuMemPrefetchAsync_v2(_address: u64, _bytes: usize, _location: u64, _flags: c_uint, stream: u64) {
        stream::by_handle(stream).map(|_| ())
    }
}
