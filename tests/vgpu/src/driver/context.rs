//! Contexts: the primary one by count of its users, others by hand; the error that stays once a kernel has failed.

use super::args::{In, Out};
use super::errors::{
    CudaError, INVALID_CONTEXT, INVALID_VALUE, PRIMARY_CONTEXT_ACTIVE, Result, UNKNOWN, UNSUPPORTED_LIMIT,
};
use super::handles::Table;
use super::state::state;
use super::stream::{self, Stream};
use super::{capture, event, graph, memory, module, pool};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

static CONTEXTS: Table<Context> = Table::new(1);
static PRIMARY: Mutex<Primary> = Mutex::new(Primary { users: 0, context: None, flags: 0 });

thread_local! {
    /// This thread's stack of contexts, current one last.
    static STACK: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The device's primary context while somebody retains it.
struct Primary {
    users: usize,
    context: Option<Arc<Context>>,
    flags: c_uint,
}

/// One context: owner of streams, events, modules, graphs and memory, all gone when it goes.
pub struct Context {
    /// What callers know it by.
    pub handle: u64,
    fault: AtomicU32,
    flags: AtomicU32,
    cache: AtomicI32,
    limits: Mutex<HashMap<c_int, usize>>,
    legacy: Mutex<Option<Arc<Stream>>>,
    threads: Mutex<HashMap<ThreadId, Arc<Stream>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    fn new(flags: c_uint) -> Arc<Context> {
        CONTEXTS.insert(|handle| Context {
            handle,
            fault: AtomicU32::new(0),
            flags: AtomicU32::new(flags),
            cache: AtomicI32::new(0),
            limits: Mutex::default(),
            legacy: Mutex::default(),
            threads: Mutex::default(),
        })
    }

    /// That nothing executed in this context has failed, and the device is there.
    pub fn healthy(&self) -> Result {
        match CudaError::known(self.fault.load(Ordering::SeqCst)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// From now on every call in this context answers `error`, unless it has one already.
    pub fn poison(&self, error: CudaError) {
        let _ = self.fault.compare_exchange(0, error.0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The stream of handle 0, which orders itself with every blocking stream.
    pub fn legacy_stream(self: &Arc<Context>) -> Arc<Stream> {
        locked(&self.legacy).get_or_insert_with(|| stream::make(self, stream::Kind::Legacy, 0)).clone()
    }

    /// The legacy stream, if anything was ever done in it.
    pub fn used_legacy_stream(&self) -> Option<Arc<Stream>> {
        locked(&self.legacy).clone()
    }

    /// The calling thread's own default stream.
    pub fn thread_stream(self: &Arc<Context>) -> Arc<Stream> {
        let mut threads = locked(&self.threads);
        threads
            .entry(std::thread::current().id())
            .or_insert_with(|| stream::make(self, stream::Kind::Blocking, 0))
            .clone()
    }

    /// Waits for everything in every stream.
    pub fn drain(&self) {
        for stream in stream::of(self.handle) {
            stream.drain();
        }
    }

    fn destroy(&self) {
        self.drain();
        stream::destroy_all(self.handle);
        event::destroy_all(self.handle);
        graph::destroy_all(self.handle);
        module::destroy_all(self.handle);
        pool::destroy_all(self.handle);
        memory::free_all(self.handle);
        // The context holds its default streams and they hold it.
        locked(&self.legacy).take();
        locked(&self.threads).clear();
        let _ = CONTEXTS.remove(self.handle, INVALID_CONTEXT);
    }
}

/// The calling thread's context, whatever state it is in.
pub fn current_even_faulty() -> Result<Arc<Context>> {
    state().initialised()?;
    let handle =
        STACK.with_borrow(|stack| stack.last().copied()).filter(|handle| *handle != 0).ok_or(INVALID_CONTEXT)?;
    CONTEXTS.get(handle, super::errors::CONTEXT_IS_DESTROYED)
}

/// The calling thread's context; the error that stays, if it has one.
pub fn current() -> Result<Arc<Context>> {
    let context = current_even_faulty()?;
    context.healthy()?;
    Ok(context)
}

/// The context behind a handle, which must be alive.
pub fn by_handle(handle: u64) -> Result<Arc<Context>> {
    CONTEXTS.get(handle, INVALID_CONTEXT)
}

/// The device is lost: no context works any more.
pub fn poison_all() {
    for context in CONTEXTS.all(|_| true) {
        context.poison(UNKNOWN);
    }
}

fn create(place: Out<u64>, flags: c_uint, device: c_int) -> Result {
    state().device(device)?;
    state().present()?;
    let context = Context::new(flags);
    STACK.with_borrow_mut(|stack| stack.push(context.handle));
    place.set(context.handle)
}

/// Lets go of the primary context if it has no user, or whatever its users when it is reset.
fn let_go(primary: &mut Primary) {
    if let Some(context) = primary.context.take() {
        context.destroy();
    }
}

const LIMIT_STACK: c_int = 0;
const LIMIT_PRINTF: c_int = 1;
const LIMIT_HEAP: c_int = 2;

/// Live contexts.
pub fn count() -> usize {
    CONTEXTS.all(|_| true).len()
}

api! {
    fn cuDevicePrimaryCtxRetain(place: Out<u64>, device: c_int) {
        state().device(device)?;
        state().present()?;
        let mut primary = locked(&PRIMARY);
        let flags = primary.flags;
        let context = primary.context.get_or_insert_with(|| Context::new(flags)).clone();
        primary.users += 1;
        place.set(context.handle)
    }

    /// Succeeds whatever happened in the context: this is the way out of an error that stays.
    fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        state().device(device)?;
        let mut primary = locked(&PRIMARY);
        primary.users = primary.users.checked_sub(1).ok_or(INVALID_CONTEXT)?;
        if primary.users == 0 {
            let_go(&mut primary);
        }
        Ok(())
    }

    /// Destroys what is in the context; users keep their count, and the next of them to retain it gets a fresh one.
    fn cuDevicePrimaryCtxReset_v2(device: c_int) {
        state().device(device)?;
        let_go(&mut locked(&PRIMARY));
        Ok(())
    }

    fn cuDevicePrimaryCtxGetState(device: c_int, flags: Out<c_uint>, active: Out<c_int>) {
        state().device(device)?;
        let primary = locked(&PRIMARY);
        flags.set(primary.flags)?;
        active.set(c_int::from(primary.context.is_some()))
    }

    fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) {
        state().device(device)?;
        let mut primary = locked(&PRIMARY);
        if primary.context.is_some() && primary.flags != flags {
            return Err(PRIMARY_CONTEXT_ACTIVE);
        }
        primary.flags = flags;
        Ok(())
    }

    fn cuCtxCreate_v2(place: Out<u64>, flags: c_uint, device: c_int) { create(place, flags, device) }
    fn cuCtxCreate_v3(place: Out<u64>, _affinity: In<u8>, _affinities: c_int, flags: c_uint, device: c_int) {
        create(place, flags, device)
    }
    fn cuCtxCreate_v4(place: Out<u64>, _params: In<u8>, flags: c_uint, device: c_int) { create(place, flags, device) }

    fn cuCtxDestroy_v2(handle: u64) {
        let context = by_handle(handle)?;
        if locked(&PRIMARY).context.as_ref().is_some_and(|primary| primary.handle == handle) {
            return Err(INVALID_CONTEXT);
        }
        STACK.with_borrow_mut(|stack| {
            if stack.last() == Some(&handle) {
                stack.pop();
            }
        });
        context.destroy();
        Ok(())
    }

    fn cuCtxGetCurrent(place: Out<u64>) {
        state().initialised()?;
        place.set(STACK.with_borrow(|stack| stack.last().copied().unwrap_or(0)))
    }

    fn cuCtxSetCurrent(handle: u64) {
        state().initialised()?;
        if handle != 0 {
            by_handle(handle)?;
        }
        STACK.with_borrow_mut(|stack| {
            stack.pop();
            if handle != 0 {
                stack.push(handle);
            }
        });
        Ok(())
    }

    fn cuCtxPushCurrent_v2(handle: u64) {
        by_handle(handle)?;
        STACK.with_borrow_mut(|stack| stack.push(handle));
        Ok(())
    }

    fn cuCtxPopCurrent_v2(place: Out<u64>) {
        let handle = STACK.with_borrow_mut(Vec::pop).ok_or(INVALID_CONTEXT)?;
        place.set_if_wanted(handle)
    }

    fn cuCtxGetDevice(device: Out<c_int>) {
        current_even_faulty()?;
        device.set(0)
    }

    fn cuCtxSynchronize() {
        let context = current()?;
        capture::refuse_in_context(&context)?;
        context.drain();
        context.healthy()
    }

    fn cuCtxSetFlags(flags: c_uint) {
        current()?.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }

    fn cuCtxGetFlags(flags: Out<c_uint>) { flags.set(current()?.flags.load(Ordering::Relaxed)) }

    fn cuCtxGetApiVersion(handle: u64, version: Out<c_uint>) {
        by_handle(handle)?;
        version.set(3020)
    }

    fn cuCtxGetLimit(value: Out<usize>, limit: c_int) {
        let usual = match limit {
            LIMIT_STACK => 1 << 10,
            LIMIT_PRINTF => 1 << 20,
            LIMIT_HEAP => 8 << 20,
            3..=6 => 0,
            _ => return Err(UNSUPPORTED_LIMIT),
        };
        value.set(locked(&current()?.limits).get(&limit).copied().unwrap_or(usual))
    }

    fn cuCtxSetLimit(limit: c_int, value: usize) {
        if !(0..=6).contains(&limit) {
            return Err(UNSUPPORTED_LIMIT);
        }
        locked(&current()?.limits).insert(limit, value);
        Ok(())
    }

    fn cuCtxGetCacheConfig(value: Out<c_int>) { value.set(current()?.cache.load(Ordering::Relaxed)) }

    fn cuCtxSetCacheConfig(value: c_int) {
        if !(0..=3).contains(&value) {
            return Err(INVALID_VALUE);
        }
        current()?.cache.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Lower is more urgent.
    fn cuCtxGetStreamPriorityRange(least: Out<c_int>, greatest: Out<c_int>) {
        current()?;
        least.set_if_wanted(*stream::PRIORITIES.end())?;
        greatest.set_if_wanted(*stream::PRIORITIES.start())
    }
}
