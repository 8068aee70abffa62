//! Launches: the one place that hands parameters to kernels.
//!
//! Outside a pass a launch goes to the stream at once. Within one it is collected until something else needs the stream, and
//! then compared, byte by byte, with what was launched before: an equal run of launches is replayed as one CUDA graph. So a
//! graph never runs with parameters other than those it was captured with.

use super::Shared;
use super::driver::failed;
use super::ranges::range;
use crate::Result;
use biomistral_nlu_kernels::table::{Kernel, Launch};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, DriverError, result};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{MutexGuard, PoisonError};

/// Graphs kept, and runs of launches remembered that have no graph yet.
const KEPT: usize = 8;
/// Runs of launches that are worth a graph: shorter ones take no time, kernels of longer ones outlast their launching.
const GRAPH: std::ops::Range<usize> = 8..4096;

/// A collected launch. Its parameters lie in the words of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    name: &'static str,
    launch: Launch,
    /// First word and number of words of the parameters.
    params: (usize, usize),
}

/// Launches in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Run {
    launches: Vec<Pending>,
    words: Vec<u64>,
}

struct Graph {
    of: Run,
    graph: CudaGraph,
}

// SAFETY: a graph is used by the thread that holds the queue's lock; the driver asks for no more.
unsafe impl Send for Graph {}

/// Launches that wait, and what was launched before.
#[derive(Default)]
pub(super) struct Queue {
    collecting: bool,
    waiting: Run,
    seen: VecDeque<Run>,
    graphs: VecDeque<Graph>,
    replays: u64,
}

/// What failed and how.
type Failure = (&'static str, DriverError);

/// The parameters of kernels as bytes.
pub(super) fn bytes_of<P: Copy + 'static>(params: &[P]) -> &[u8] {
    // SAFETY: structs of `params.h` are plain integers and floats without padding (`reserved` fills it), so all bytes are
    // initialised; a slice of bytes asks for no alignment.
    unsafe { std::slice::from_raw_parts(params.as_ptr().cast(), size_of_val(params)) }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Launches `kernel` with `params` in stream order; nothing happens for an empty grid.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the driver refuses the launch. What the kernel itself does wrong shows at a later boundary.
    pub fn launch<P: Copy + 'static>(&self, kernel: &Kernel<P>, params: &P) -> Result<()> {
        let launch = kernel.launch(params);
        if launch.grid.contains(&0) {
            return Ok(());
        }
        let name = kernel.symbol.name;
        let mut words = vec![0u64; size_of::<P>().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..size_of::<P>()].copy_from_slice(bytes_of(std::slice::from_ref(params)));
        let mut queue = self.queue();
        if !queue.collecting {
            return self.submit(name, launch, &words).map_err(|e| failed(name, e));
        }
        let waiting = &mut queue.waiting;
        waiting.launches.push(Pending { name, launch, params: (waiting.words.len(), words.len()) });
        waiting.words.extend(words);
        Ok(())
    }

    /// The one launch: `words` are the parameter struct of the kernel `name`.
    fn submit(&self, name: &'static str, launch: Launch, words: &[u64]) -> std::result::Result<(), DriverError> {
        let driver = &self.driver;
        driver.context.bind_to_thread()?;
        let function = self.functions.get(name).ok_or(DriverError(CUresult::CUDA_ERROR_NOT_FOUND))?;
        let [x, y, z] = launch.grid;
        let mut params = [words.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: `Kernel<P>` ties the name to its one parameter struct, of which `words` is a copy, and brings the shape of the
        // launch. The addresses within are of memory that lives until it is freed in this stream's order, after this launch.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, z),
                (launch.threads, 1, 1),
                launch.shared,
                driver.stream.cu_stream(),
                &mut params,
            )
        }
    }

    fn submit_all(&self, run: &Run) -> std::result::Result<(), Failure> {
        for Pending { name, launch, params: (first, len) } in &run.launches {
            self.submit(name, *launch, &run.words[*first..first + len]).map_err(|e| (*name, e))?;
        }
        Ok(())
    }

    /// Launches what waits: whatever else goes to the stream must come after it.
    pub fn flush(&self) -> Result<()> {
        self.flush_raw().map_err(|(op, e)| failed(op, e))
    }

    pub fn flush_raw(&self) -> std::result::Result<(), Failure> {
        let mut queue = self.queue();
        let run = std::mem::take(&mut queue.waiting);
        let _range = range("launches");
        if !GRAPH.contains(&run.launches.len()) {
            return self.submit_all(&run);
        }
        if let Some(at) = queue.graphs.iter().position(|g| g.of == run) {
            let found = queue.graphs.remove(at);
            let launched = found.as_ref().map_or(Ok(()), |found| found.graph.launch());
            queue.graphs.extend(found);
            queue.replays += 1;
            return launched.map_err(|e| ("a graph", e));
        }
        let Some(at) = queue.seen.iter().position(|seen| *seen == run) else {
            let launched = self.submit_all(&run);
            queue.seen.push_back(run);
            if queue.seen.len() > KEPT {
                queue.seen.pop_front();
            }
            return launched;
        };
        queue.seen.remove(at);
        let graph = self.capture(&run)?;
        graph.launch().map_err(|e| ("a graph", e))?;
        queue.graphs.push_back(Graph { of: run, graph });
        if queue.graphs.len() > KEPT {
            queue.graphs.pop_front();
        }
        Ok(())
    }

    /// How often launches were replayed as a graph so far.
    pub fn replays(&self) -> u64 {
        self.queue().replays
    }

    fn capture(&self, run: &Run) -> std::result::Result<CudaGraph, Failure> {
        let stream = &self.driver.stream;
        let graph = |e| ("capturing a graph", e);
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(graph)?;
        let launched = self.submit_all(run);
        // The capture ends whatever happened in it.
        let captured = stream.end_capture(CUgraphInstantiate_flags(0));
        launched?;
        captured.map_err(graph)?.ok_or_else(|| graph(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)))
    }

    /// Collects the launches of `run`, which end up in the stream when it is over; those that still wait do not if it fails.
    pub fn collect<R>(&self, run: impl FnOnce() -> Result<R>) -> Result<R> {
        struct Collecting<'s>(&'s Shared);
        impl Drop for Collecting<'_> {
            fn drop(&mut self) {
                let mut queue = self.0.queue();
                queue.collecting = false;
                queue.waiting = Run::default();
            }
        }
        self.queue().collecting = true;
        let collecting = Collecting(self);
        let result = run()?;
        self.flush()?;
        drop(collecting);
        Ok(result)
    }
}
