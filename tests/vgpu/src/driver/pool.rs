//! Memory pools: what was allocated in the order of a stream, counted. Nothing is kept back for reuse.

use super::args::{In, Out};
use super::context;
use super::errors::{INVALID_VALUE, NOT_PERMITTED, NOT_SUPPORTED, Result};
use super::handles::Table;
use super::memory;
use super::state::state;
use super::stream;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

static POOLS: Table<Pool> = Table::new(8);
static DEFAULT: LazyLock<Arc<Pool>> = LazyLock::new(|| POOLS.insert(|handle| Pool::new(handle, 0)));
static CURRENT: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

/// One pool.
pub struct Pool {
    handle: u64,
    context: u64,
    used: AtomicU64,
    used_most: AtomicU64,
    /// What is set and read and has no effect: reuse policies and the release threshold, by attribute.
    settings: [AtomicU64; 5],
}

const RELEASE_THRESHOLD: c_int = 4;
const RESERVED_NOW: c_int = 5;
const RESERVED_MOST: c_int = 6;
const USED_NOW: c_int = 7;
const USED_MOST: c_int = 8;

impl Pool {
    fn new(handle: u64, context: u64) -> Pool {
        let settings = [0, 1, 1, 1, 0].map(AtomicU64::new);
        Pool { handle, context, used: AtomicU64::new(0), used_most: AtomicU64::new(0), settings }
    }

    /// `bytes` were allocated from it.
    pub fn take(&self, bytes: usize) {
        let used = self.used.fetch_add(bytes as u64, Ordering::SeqCst) + bytes as u64;
        self.used_most.fetch_max(used, Ordering::SeqCst);
    }

    /// `bytes` of it were freed.
    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::SeqCst);
    }
}

/// The pool that the device allocates from unless it is told another.
pub fn current() -> Arc<Pool> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_else(|| DEFAULT.clone())
}

/// The context dies, and pools made in it with it.
pub fn destroy_all(context: u64) {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    for pool in POOLS.remove_all(|pool| pool.context == context) {
        current.take_if(|current| current.handle == pool.handle);
    }
}

fn supported(device: c_int) -> Result {
    state().device(device)?;
    if state().config().memory_pools { Ok(()) } else { Err(NOT_SUPPORTED) }
}

api! {
    fn cuDeviceGetDefaultMemPool(place: Out<u64>, device: c_int) {
        supported(device)?;
        place.set(DEFAULT.handle)
    }

    fn cuDeviceGetMemPool(place: Out<u64>, device: c_int) {
        supported(device)?;
        place.set(current().handle)
    }

    fn cuDeviceSetMemPool(device: c_int, pool: u64) {
        supported(device)?;
        *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(POOLS.get(pool, INVALID_VALUE)?);
        Ok(())
    }

    fn cuMemPoolCreate(place: Out<u64>, _properties: In<u8>) {
        supported(0)?;
        let context = context::current()?.handle;
        place.set(POOLS.insert(|handle| Pool::new(handle, context)).handle)
    }

    fn cuMemPoolDestroy(handle: u64) {
        if handle == DEFAULT.handle {
            return Err(NOT_PERMITTED);
        }
        POOLS.remove(handle, INVALID_VALUE)?;
        CURRENT.lock().unwrap_or_else(PoisonError::into_inner).take_if(|current| current.handle == handle);
        Ok(())
    }

    fn cuMemPoolTrimTo(handle: u64, _keep: usize) { POOLS.get(handle, INVALID_VALUE).map(|_| ()) }

    /// Reuse policies are `int`s, the rest `cuuint64_t`.
    fn cuMemPoolGetAttribute(handle: u64, attribute: c_int, value: *mut c_void) {
        let pool = POOLS.get(handle, INVALID_VALUE)?;
        let wide = Out::at(value);
        match attribute {
            1..=3 => Out::at(value).set(pool.settings[attribute as usize].load(Ordering::SeqCst) as c_int),
            RELEASE_THRESHOLD => wide.set(pool.settings[4].load(Ordering::SeqCst)),
            RESERVED_NOW | USED_NOW => wide.set(pool.used.load(Ordering::SeqCst)),
            RESERVED_MOST | USED_MOST => wide.set(pool.used_most.load(Ordering::SeqCst)),
            _ => Err(INVALID_VALUE),
        }
    }

    fn cuMemPoolSetAttribute(handle: u64, attribute: c_int, value: *const c_void) {
        let pool = POOLS.get(handle, INVALID_VALUE)?;
        match attribute {
            1..=3 => pool.settings[attribute as usize].store(In::<c_int>::at(value).get()? as u64, Ordering::SeqCst),
            RELEASE_THRESHOLD => pool.settings[4].store(In::<u64>::at(value).get()?, Ordering::SeqCst),
            // The marks of most memory may only be put back.
            RESERVED_MOST | USED_MOST if In::<u64>::at(value).get()? == 0 => {
                pool.used_most.store(pool.used.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            _ => return Err(INVALID_VALUE),
        }
        Ok(())
    }

    fn cuMemAllocFromPoolAsync(place: Out<u64>, bytes: usize, pool: u64, stream: u64) {
        let stream = stream::by_handle(stream)?;
        supported(0)?;
        memory::allocate_pooled(place, bytes, &POOLS.get(pool, INVALID_VALUE)?, &stream)
    }
}
