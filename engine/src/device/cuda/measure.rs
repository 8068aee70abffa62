//! Measuring one operation on a device: time between two events, with a cold cache.

use super::driver::failed;
use super::memory::{Buffer, Memory};
use super::{Cuda, matrix::padded};
use crate::Result;
use crate::device::Device;
use cudarc::driver::sys::{CUdevice_attribute, CUevent_flags};
use half::bf16;

/// What bounds a kernel, from the device's clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roof {
    /// Bytes per second of the memory.
    pub bytes: f64,
    /// bf16 operations per second of the tensor cores, accumulating in f32. Cards whose name says GeForce do half of it.
    pub flops: f64,
}

impl Cuda {
    /// What the device could do at most.
    pub fn roof(&self) -> Result<Roof> {
        use CUdevice_attribute::*;
        let context = &self.shared.driver.context;
        let attribute = |a| context.attribute(a).map(f64::from).map_err(|e| failed("device attributes", e));
        let clock = attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE)? * 1e3;
        let memory_clock = attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)? * 1e3;
        let bus_bytes = attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)? / 8.0;
        // Operations of one multiprocessor in a cycle, dense.
        let cycle = match self.info().capability {
            (8, 0) => 2048.0,
            (9 | 10, _) => 4096.0,
            _ => 1024.0,
        };
        let half = if self.info().name.contains("GeForce") { 0.5 } else { 1.0 };
        let flops = clock * cycle * half * f64::from(self.info().multiprocessors);
        // Two transfers a cycle.
        Ok(Roof { bytes: 2.0 * memory_clock * bus_bytes, flops })
    }

    /// Milliseconds that `run` takes on the device, all its data out of the cache at first.
    pub fn milliseconds(&self, run: impl FnOnce() -> Result<()>) -> Result<f64> {
        let driver = &self.shared.driver;
        let cache = driver.context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
        let cache = cache.map_err(|e| failed("device attributes", e))?.max(0) as usize;
        let scrub = Memory::zeroed(&self.shared, "a buffer to empty the cache with", 2 * cache + 1, false)?;
        let event = || driver.context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        let (start, end) = (event(), event());
        let (start, end) = start.and_then(|s| Ok((s, end?))).map_err(|e| failed("an event", e))?;
        start.record(&driver.stream).map_err(|e| failed("an event", e))?;
        run()?;
        self.shared.flush()?;
        end.record(&driver.stream).map_err(|e| failed("an event", e))?;
        drop(scrub);
        start.elapsed_ms(&end).map(f64::from).map_err(|e| failed("an event", e))
    }

    /// Writes `[T, columns]` as an operation that makes matrix inputs leaves it: rows padded to whole cache lines.
    pub fn write_rows(&self, buffer: &mut Buffer<bf16>, values: &[bf16], columns: usize) -> Result<()> {
        let mut rows = vec![bf16::ZERO; values.len() / columns.max(1) * padded(columns)];
        for (to, from) in rows.chunks_exact_mut(padded(columns)).zip(values.chunks_exact(columns)) {
            to[..columns].copy_from_slice(from);
        }
        self.reserve(buffer, rows.len())?;
        self.write(buffer, 0, &rows)
    }

    /// Row `row` of `[T, columns]` written by an operation.
    pub fn read_row(&self, buffer: &Buffer<bf16>, row: usize, columns: usize) -> Result<Vec<bf16>> {
        let mut values = vec![bf16::ZERO; columns];
        self.read(buffer, row * padded(columns), &mut values)?;
        Ok(values)
    }
}
