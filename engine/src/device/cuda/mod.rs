//! The CUDA device: typed launches of the kernels' table on one stream.
//!
//! Every kernel computes a row from that row's inputs alone, in an order fixed by the shape, whichever kernel a row goes to:
//! the ones for few rows and the ones for many give the same bits. So a prompt, a decoded token and a draft agree.

mod attention;
mod backward;
mod driver;
mod head;
mod images;
mod kv;
mod launch;
mod linear;
mod lists;
mod matrix;
mod measure;
mod memory;
mod ranges;
mod state;

pub use driver::{CudaInfo, devices, version};
pub use images::{Kernels, kernels};
pub use kv::CudaKv;
pub use matrix::CudaMatrix;
pub use measure::Roof;
pub use memory::Buffer;

use super::{Attention, Device, Element, Granularity, HostMatrix, Linear, RopeTable, RowSelection, WeightStorage};
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{EmbedParams, RmsNormParams};
use biomistral_nlu_kernels::table::{EMBED, RMS_NORM};
use driver::Driver;
use half::bf16;
use images::Functions;
use launch::Queue;
use matrix::{Staging, padded};
use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// Version of the order in which the kernels reduce: part of the fingerprint.
const REDUCTION: u32 = 1;

/// How a CUDA device is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct CudaOptions {
    /// Its number in the driver's order.
    pub ordinal: usize,
    /// Overwrite memory that may hold a text or what was computed from it before it is given back.
    pub wipe: bool,
    /// How projections and a head of their own are stored.
    pub weights: WeightStorage,
}

/// What all memory of a device keeps alive.
struct Shared {
    driver: Driver,
    functions: Functions,
    wipe: bool,
    queue: Mutex<Queue>,
}

/// A CUDA device.
pub struct Cuda {
    state: Mutex<State>,
    /// For weights; given back when the first pass runs.
    staging: Mutex<Option<Staging>>,
    /// Held for a pass; whoever holds it is the owner.
    turn: Mutex<()>,
    owner: Mutex<Option<ThreadId>>,
    fingerprint: String,
    weights: WeightStorage,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cuda {
    /// What the sizes of a model's memory depend on.
    pub const GRANULARITY: Granularity = Granularity {
        columns: matrix::COLUMNS,
        page: kv::PAGE,
        rows: crate::model::PASS_ROWS,
        // Context, machine code, lists, scratch of the largest pass, and what the driver's allocator rounds up.
        fixed: 512 << 20,
    };

    /// Opens a device and loads the kernels.
    ///
    /// # Errors
    /// [`Error::NoDevice`] where there is no driver or no such device; [`Error::Unsupported`] for too old a driver, an architecture
    /// without kernels, or a library built without them.
    pub fn open(options: &CudaOptions) -> Result<Self> {
        let driver = Driver::open(options)?;
        let functions = images::load(&driver)?;
        let (major, minor) = driver.info.capability;
        let storage = match options.weights {
            WeightStorage::Bf16 => "",
            WeightStorage::Int8 => "/int8",
        };
        let fingerprint = format!("cuda/sm_{major}{minor}/{}/{REDUCTION}{storage}", images::hash());
        let shared = Arc::new(Shared { driver, functions, wipe: options.wipe, queue: Mutex::default() });
        Ok(Self {
            state: Mutex::new(State::new(&shared)?),
            staging: Mutex::default(),
            turn: Mutex::default(),
            owner: Mutex::default(),
            fingerprint,
            weights: options.weights,
            shared,
        })
    }

    /// What the driver says of it.
    pub fn info(&self) -> &CudaInfo {
        &self.shared.driver.info
    }

    /// Bytes free and in all.
    pub fn memory(&self) -> Result<(u64, u64)> {
        self.shared.driver.memory()
    }

    /// Waits for all work; what failed since the last look is told here.
    pub fn synchronize(&self) -> Result<()> {
        self.shared.flush()?;
        self.shared.driver.synchronize("waiting for the device")
    }

    /// How often the launches of a pass were replayed as a CUDA graph so far.
    pub fn replays(&self) -> u64 {
        self.shared.replays()
    }

    fn upload(&self, host: &HostMatrix, int8: bool) -> Result<CudaMatrix> {
        let mut staging = lock(&self.staging);
        let staging = match &mut *staging {
            Some(staging) => staging,
            none => none.insert(Staging::new(&self.shared)?),
        };
        staging.upload(&self.shared, host, int8)
    }

    /// Runs an operation within the pass of this thread, or as a pass of its own.
    fn op<R>(&self, run: impl FnOnce(&mut State) -> Result<R>) -> Result<R> {
        self.pass(|| run(&mut lock(&self.state)))
    }
}

fn need(op: &str, name: &str, want: usize, got: usize) -> Result<()> {
    if got < want {
        return Err(Error::shape(format!("{op}, {name}"), format!("at least {want} elements"), got));
    }
    Ok(())
}

/// A size or count as kernels take it.
fn int(op: &str, n: usize) -> Result<i32> {
    i32::try_from(n).map_err(|_| Error::invalid(format!("{op}: expected a size below 2^31, found {n}")))
}

/// Elements from row to row of the residual stream: rows start at 16 bytes.
fn residual(channels: usize) -> usize {
    channels.next_multiple_of(4)
}

impl Device for Cuda {
    type Matrix = CudaMatrix;
    type Buffer<T: Element> = Buffer<T>;
    type Kv = CudaKv;

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn matrix(&self, host: HostMatrix) -> Result<CudaMatrix> {
        self.upload(&host, self.weights == WeightStorage::Int8)
    }

    fn matrix_bf16(&self, host: HostMatrix) -> Result<CudaMatrix> {
        self.upload(&host, false)
    }

    fn buffer<T: Element>(&self, len: usize) -> Result<Buffer<T>> {
        Buffer::new(&self.shared, len)
    }

    fn reserve<T: Element>(&self, buffer: &mut Buffer<T>, len: usize) -> Result<()> {
        buffer.reserve(len)
    }

    fn write<T: Element>(&self, buffer: &mut Buffer<T>, at: usize, data: &[T]) -> Result<()> {
        buffer.write(at, data)
    }

    fn read<T: Element>(&self, buffer: &Buffer<T>, at: usize, out: &mut [T]) -> Result<()> {
        buffer.read(at, out)
    }

    fn kv_page(&self) -> usize {
        kv::PAGE
    }

    fn kv(&self, layers: usize, kv_heads: usize, head_dim: usize) -> Result<CudaKv> {
        CudaKv::new(&self.shared, layers, kv_heads, head_dim)
    }

    fn kv_reserve(&self, kv: &mut CudaKv, pages: usize) -> Result<()> {
        kv.reserve(pages)
    }

    fn kv_page_bytes(&self, kv: &CudaKv) -> usize {
        kv.page_bytes()
    }

    fn kv_copy(&self, kv: &mut CudaKv, from: u32, to: u32, keys: usize) -> Result<()> {
        self.op(|state| kv.copy(&self.shared, state, from, to, keys))
    }

    fn kv_move(&self, kv: &mut CudaKv, pages: &[u32], moves: &[(u32, u32)]) -> Result<()> {
        self.op(|state| kv.move_keys(&self.shared, state, pages, moves))
    }

    fn pass<R>(&self, run: impl FnOnce() -> Result<R>) -> Result<R> {
        struct Owned<'c>(&'c Cuda);
        impl Drop for Owned<'_> {
            fn drop(&mut self) {
                *lock(&self.0.owner) = None;
            }
        }
        let me = std::thread::current().id();
        if *lock(&self.owner) == Some(me) {
            return run();
        }
        let _turn = lock(&self.turn);
        *lock(&self.owner) = Some(me);
        let _owned = Owned(self);
        drop(lock(&self.staging).take());
        {
            let mut state = lock(&self.state);
            state.lists.begin()?;
            state.plan = None;
        }
        let result = {
            let _range = ranges::range("pass");
            self.shared.collect(run)
        };
        let ended = lock(&self.state).lists.end();
        let result = result?;
        ended?;
        // What a `Drop` could not tell.
        self.shared.driver.check("a pass")?;
        Ok(result)
    }

    fn embed(&self, table: &CudaMatrix, tokens: &[u32], h: &mut Buffer<f32>) -> Result<()> {
        if table.int8() {
            return Err(Error::unsupported("an embedding table of int8"));
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= table.rows) {
            return Err(Error::invalid(format!("embed: expected tokens below {}, found {token}", table.rows)));
        }
        let ldh = residual(table.cols);
        h.reserve(tokens.len() * ldh)?;
        self.op(|state| {
            let weight = table.weight();
            let params = EmbedParams {
                table: weight.data,
                tokens: state.lists.put(tokens)?,
                h: h.address(0),
                ld: weight.ld,
                ldh: ldh as i64,
                row_count: int("embed", tokens.len())?,
                channels: int("embed", table.cols)?,
            };
            self.shared.launch(&EMBED, &params)
        })
    }

    fn rms_norm(
        &self,
        h: &Buffer<f32>,
        w: &Buffer<f32>,
        eps: f32,
        rows: RowSelection<'_>,
        x: &mut Buffer<bf16>,
        x_row: usize,
    ) -> Result<()> {
        let c = w.len();
        let (t, last) = match rows {
            RowSelection::All(t) => (t, t),
            RowSelection::Some(rows) => (rows.len(), rows.iter().max().map_or(0, |&row| row as usize + 1)),
        };
        let (ldh, ldx) = (residual(c), padded(c));
        need("rms_norm", "h", last * ldh, h.len())?;
        x.reserve((x_row + t) * ldx)?;
        self.op(|state| {
            let params = RmsNormParams {
                h: h.address(0),
                w: w.address(0),
                rows: match rows {
                    RowSelection::All(_) => 0,
                    RowSelection::Some(rows) => state.lists.put(rows)?,
                },
                x: x.address(0),
                ldh: ldh as i64,
                ldx: ldx as i64,
                row_count: int("rms_norm", t)?,
                channels: int("rms_norm", c)?,
                x_row: int("rms_norm", x_row)?,
                eps,
            };
            self.shared.launch(&RMS_NORM, &params)
        })
    }

    fn qkv(
        &self,
        x: &Buffer<bf16>,
        weights: [Linear<'_, Self>; 3],
        rope: &RopeTable<Self>,
        at: &mut Attention<'_, Self>,
        q: &mut Buffer<bf16>,
    ) -> Result<()> {
        self.op(|state| attention::qkv(&self.shared, state, x, &weights, rope, at, q))
    }

    fn attention(&self, q: &Buffer<bf16>, at: &mut Attention<'_, Self>, o: &mut Buffer<bf16>) -> Result<()> {
        self.op(|state| attention::attention(&self.shared, state, q, at, o))
    }

    fn linear_add(&self, x: &Buffer<bf16>, weight: Linear<'_, Self>, t: usize, h: &mut Buffer<f32>) -> Result<()> {
        self.op(|state| linear::add(&self.shared, state, x, &weight, t, h))
    }

    fn gate_up(
        &self,
        x: &Buffer<bf16>,
        gate: Linear<'_, Self>,
        up: Linear<'_, Self>,
        t: usize,
        a: &mut Buffer<bf16>,
    ) -> Result<()> {
        self.op(|state| linear::swiglu(&self.shared, state, x, &[gate, up], t, a))
    }

    fn head_lse(&self, x: &Buffer<bf16>, head: &CudaMatrix, rows: &[u32]) -> Result<Vec<f64>> {
        self.op(|state| head::lse(&self.shared, state, x, head, rows))
    }

    fn head_some(&self, x: &Buffer<bf16>, head: &CudaMatrix, asks: &[(u32, &[u32])]) -> Result<Vec<f32>> {
        self.op(|state| head::some(&self.shared, state, x, head, asks))
    }

    fn head_all(&self, x: &Buffer<bf16>, head: &CudaMatrix, row: u32) -> Result<Vec<f32>> {
        self.op(|state| head::full(&self.shared, state, x, head, row))
    }
}
