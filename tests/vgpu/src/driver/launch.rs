//! Launches: what the call itself checks, what is executed when the stream comes to it.

use super::arch::BLOCK_THREADS;
use super::args::In;
use super::context;
use super::errors::{
    COOPERATIVE_LAUNCH_TOO_LARGE, CudaError, INVALID_VALUE, LAUNCH_FAILED, NOT_SUPPORTED, Result, UNKNOWN,
};
use super::function::{self, Function};
use super::occupancy;
use super::state::state;
use super::stream;
use crate::exec;
use std::ffi::{c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Grid and block of a launch, and how its blocks stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Dynamic shared memory, bytes.
    pub dynamic: usize,
    cooperative: bool,
}

/// What the caller gave for parameters: addresses of values, or one packed buffer.
struct Params {
    values: In<*const u8>,
    extra: In<*const c_void>,
}

const EXTRA_END: usize = 0;
const EXTRA_BUFFER: usize = 1;
const EXTRA_BYTES: usize = 2;

impl Params {
    /// The parameter block of `function`.
    fn packed(&self, function: &Function) -> Result<Vec<u8>> {
        let mut packed = vec![0; function.code.param_bytes()];
        if !self.extra.is_null() {
            return self.buffer(packed);
        }
        for (index, param) in function.code.params().iter().enumerate() {
            let value = self.values.get_at(index)?;
            let place = packed.get_mut(param.offset..param.offset + param.size).ok_or(INVALID_VALUE)?;
            if value.is_null() {
                return Err(INVALID_VALUE);
            }
            // SAFETY: the API's contract: each entry points to a value of its parameter's size.
            place.copy_from_slice(unsafe { std::slice::from_raw_parts(value, param.size) });
        }
        Ok(packed)
    }

    fn buffer(&self, mut packed: Vec<u8>) -> Result<Vec<u8>> {
        let (mut buffer, mut bytes, mut index) = (std::ptr::null(), 0, 0);
        loop {
            match self.extra.get_at(index)? as usize {
                EXTRA_END => break,
                EXTRA_BUFFER => buffer = self.extra.get_at(index + 1)?,
                EXTRA_BYTES => bytes = In::<usize>::at(self.extra.get_at(index + 1)?).get()?,
                _ => return Err(INVALID_VALUE),
            }
            index += 2;
        }
        if buffer.is_null() || bytes != packed.len() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the API's contract: the buffer has as many bytes as the caller says.
        packed.copy_from_slice(unsafe { std::slice::from_raw_parts(buffer.cast(), bytes) });
        Ok(packed)
    }
}

/// Why a launch of this shape is refused.
fn refusal(function: &Function, shape: &Shape) -> Option<String> {
    let Shape { grid, block, dynamic, .. } = *shape;
    let threads = block.iter().map(|size| u64::from(*size)).product::<u64>();
    let most = u64::from(function.code.max_threads()).min(BLOCK_THREADS as u64);
    if grid.contains(&0) || block.contains(&0) {
        Some(format!("grid {grid:?} of blocks {block:?} is empty"))
    } else if grid[0] > i32::MAX as u32 || grid[1] > 65535 || grid[2] > 65535 {
        Some(format!("grid {grid:?} exceeds 2147483647, 65535, 65535"))
    } else if block[0] > 1024 || block[1] > 1024 || block[2] > 64 || threads > most {
        Some(format!("block {block:?} has {threads} threads; the kernel takes {most}"))
    } else if function.code.required_block().is_some_and(|required| required != block) {
        Some(format!("block {block:?} is not the one that .reqntid asks for"))
    } else if dynamic > function.dynamic() {
        Some(format!(
            "{dynamic} bytes of dynamic shared memory; {} are allowed (cuFuncSetAttribute raises that)",
            function.dynamic()
        ))
    } else {
        None
    }
}

fn launch(function: u64, shape: Shape, stream: u64, params: &Params) -> Result {
    let stream = stream::by_handle(stream)?;
    let function = function::by_handle(function)?;
    if let Some(why) = refusal(&function, &shape) {
        state().report(format!("vgpu: launch of {} refused: {why}", function.code.name()));
        return Err(INVALID_VALUE);
    }
    if shape.cooperative {
        let threads = shape.block.iter().product::<u32>() as i32;
        let resident = occupancy::blocks(&function, threads, shape.dynamic) * state().limits().multiprocessors;
        if shape.grid.iter().map(|size| u64::from(*size)).product::<u64>() > resident as u64 {
            return Err(COOPERATIVE_LAUNCH_TOO_LARGE);
        }
    }
    let packed = params.packed(&function)?;
    state().traps.launch.step_if(|code| !code.is_sticky()).map_or(Ok(()), Err)?;
    stream.submit(Arc::new(move || execute(&function, &shape, &packed)))
}

/// The launch itself, on the stream's thread.
fn execute(function: &Function, shape: &Shape, params: &[u8]) -> Result {
    let state = state();
    state.present()?;
    state.launches.fetch_add(1, Ordering::Relaxed);
    if state.traps.device.step().is_some() {
        state.lose();
        context::poison_all();
        return Err(UNKNOWN);
    }
    if let Some(error) = state.traps.launch.step_if(CudaError::is_sticky) {
        state.report(format!("vgpu: launch of {} failed, as asked for", function.code.name()));
        return Err(error);
    }
    let launch = exec::Launch {
        grid: shape.grid,
        block: shape.block,
        shared_dynamic: shape.dynamic,
        params,
        cooperative: shape.cooperative,
    };
    let config = state.config();
    let counts = config.counts(function.code.name());
    match exec::launch(&function.code, &launch, &exec::Options { profile: counts, ..config.options() }) {
        Ok(profile) => {
            if counts {
                state.count(&profile, shape);
            }
            Ok(())
        }
        Err(fault) => {
            let code = CudaError::known(fault.code()).unwrap_or(LAUNCH_FAILED);
            state.report(format!("vgpu: {fault}"));
            Err(code)
        }
    }
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    dynamic: c_uint,
    stream: u64,
    attributes: *const LaunchAttribute,
    count: c_uint,
}

/// `CUlaunchAttribute`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LaunchAttribute {
    id: c_uint,
    padding: [u8; 4],
    value: [u32; 16],
}

const ATTRIBUTE_COOPERATIVE: c_uint = 2;
const ATTRIBUTE_CLUSTER: c_uint = 4;
const ATTRIBUTE_OVERLAP: c_uint = 6;

api! {
    fn cuLaunchKernel(
        function: u64, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint,
        dynamic: c_uint, stream: u64, values: In<*const u8>, extra: In<*const c_void>,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let shape = Shape { grid, block, dynamic: dynamic as usize, cooperative: false };
        launch(function, shape, stream, &Params { values, extra })
    }

    fn cuLaunchCooperativeKernel(
        function: u64, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint,
        dynamic: c_uint, stream: u64, values: In<*const u8>,
    ) {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let shape = Shape { grid, block, dynamic: dynamic as usize, cooperative: true };
        launch(function, shape, stream, &Params { values, extra: In::at(std::ptr::null()) })
    }

    /// Clusters of more than one block are not supported; programmatic overlap is taken and ignored.
    fn cuLaunchKernelEx(config: In<LaunchConfig>, function: u64, values: In<*const u8>, extra: In<*const c_void>) {
        let LaunchConfig { grid, block, dynamic, stream, attributes, count } = config.get()?;
        let mut cooperative = false;
        for index in 0..count as usize {
            let LaunchAttribute { id, value, .. } = In::at(attributes.cast()).get_at(index)?;
            match id {
                ATTRIBUTE_COOPERATIVE => cooperative = value[0] != 0,
                ATTRIBUTE_CLUSTER if value[..3] == [1; 3] => {}
                ATTRIBUTE_CLUSTER => return Err(NOT_SUPPORTED),
                0 | ATTRIBUTE_OVERLAP => {}
                _ => return Err(NOT_SUPPORTED),
            }
        }
        launch(function, Shape { grid, block, dynamic: dynamic as usize, cooperative }, stream, &Params { values, extra })
    }
}
