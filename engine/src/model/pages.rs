//! Which cache pages belong to which sequence: reference counts, sharing by fork, copy on write.

use crate::{Error, Result};

/// Reference counts of the pages of one cache. A page is free when its count is zero.
#[derive(Debug, Default)]
pub(super) struct PagePool {
    counts: Vec<u32>,
    free: Vec<u32>,
}

impl PagePool {
    /// Pages that exist, used or free.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Pages in use.
    pub(super) fn used(&self) -> usize {
        self.counts.len() - self.free.len()
    }

    /// A page with count one. A fresh number means that the device has to reserve it.
    pub(super) fn take(&mut self) -> Result<u32> {
        if let Some(page) = self.free.pop() {
            self.counts[page as usize] = 1;
            return Ok(page);
        }
        let page = u32::try_from(self.counts.len()).map_err(|_| Error::internal("more than 2^32 cache pages"))?;
        self.counts.push(1);
        Ok(page)
    }

    /// One more holder of `page`.
    pub(super) fn share(&mut self, page: u32) {
        self.counts[page as usize] += 1;
    }

    /// One holder less; the page becomes free with the last one.
    pub(super) fn drop(&mut self, page: u32) {
        let count = &mut self.counts[page as usize];
        *count -= 1;
        if *count == 0 {
            self.free.push(page);
        }
    }

    /// Whether somebody else holds `page` too.
    pub(super) fn shared(&self, page: u32) -> bool {
        self.counts[page as usize] > 1
    }
}
