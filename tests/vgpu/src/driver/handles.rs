//! Handles that the driver hands out: numbers that are never reused, so that a destroyed object is found out by its handle.

use super::errors::{CudaError, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Live objects of one kind by handle.
pub struct Table<T> {
    kind: u64,
    made: AtomicU64,
    live: RwLock<Option<HashMap<u64, Arc<T>>>>,
}

impl<T> Table<T> {
    /// `kind` (1 to 255) tells handles of one table from those of another.
    pub const fn new(kind: u64) -> Table<T> {
        Table { kind, made: AtomicU64::new(0), live: RwLock::new(None) }
    }

    /// Makes an object that knows its own handle.
    pub fn insert(&self, make: impl FnOnce(u64) -> T) -> Arc<T> {
        // Above every user-space address: a caller that follows a handle as a pointer faults at once.
        let handle = self.kind << 48 | (self.made.fetch_add(1, Ordering::Relaxed) + 1) << 4;
        let object = Arc::new(make(handle));
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.get_or_insert_default().insert(handle, object.clone());
        object
    }

    /// The object of a handle; `missing` when there is none, or no longer.
    pub fn get(&self, handle: u64, missing: CudaError) -> Result<Arc<T>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().and_then(|live| live.get(&handle)).cloned().ok_or(missing)
    }

    /// Takes the object of a handle out.
    pub fn remove(&self, handle: u64, missing: CudaError) -> Result<Arc<T>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.as_mut().and_then(|live| live.remove(&handle)).ok_or(missing)
    }

    /// Takes out every object that `gone` names, as when their context dies.
    pub fn remove_all(&self, gone: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let Some(live) = live.as_mut() else { return Vec::new() };
        let handles: Vec<u64> = live.iter().filter(|(_, object)| gone(object)).map(|(handle, _)| *handle).collect();
        handles.iter().filter_map(|handle| live.remove(handle)).collect()
    }

    /// Every live object that `wanted` names.
    pub fn all(&self, wanted: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.iter().flat_map(|live| live.values()).filter(|object| wanted(object)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::errors::INVALID_HANDLE;
    use super::*;

    #[test]
    fn a_removed_handle_stays_unknown() {
        let table = Table::new(3);
        let first = table.insert(|handle| handle);
        assert_eq!(*table.get(*first, INVALID_HANDLE).unwrap(), *first);
        assert!(table.remove(*first, INVALID_HANDLE).is_ok());
        let second = table.insert(|handle| handle);
        assert_ne!(*first, *second, "a handle is never given out twice");
        assert_eq!(table.get(*first, INVALID_HANDLE).err(), Some(INVALID_HANDLE));
        assert_eq!(table.remove_all(|_| true).len(), 1);
        assert!(table.all(|_| true).is_empty());
    }
}
