//! Places of kept rows in the buffer of final hidden states.

use std::ops::Range;

/// Which rows of the buffer are taken. Runs of rows are taken first-fit and given back one by one.
#[derive(Debug, Default)]
pub(super) struct KeptRows {
    taken: Vec<bool>,
}

impl KeptRows {
    /// Rows that the buffer must hold.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// First row of a free run of `count`, now taken.
    pub(super) fn take(&mut self, count: usize) -> usize {
        let mut run: Range<usize> = 0..0;
        for (row, taken) in self.taken.iter().enumerate() {
            run = if *taken { row + 1..row + 1 } else { run.start..row + 1 };
            if run.len() == count {
                break;
            }
        }
        let end = run.start + count;
        if end > self.taken.len() {
            self.taken.resize(end, false);
        }
        self.taken[run.start..end].fill(true);
        run.start
    }

    pub(super) fn holds(&self, row: u32) -> bool {
        self.taken.get(row as usize).copied().unwrap_or(false)
    }

    pub(super) fn release(&mut self, rows: impl Iterator<Item = u32>) {
        for row in rows {
            if let Some(taken) = self.taken.get_mut(row as usize) {
                *taken = false;
            }
        }
    }
}
