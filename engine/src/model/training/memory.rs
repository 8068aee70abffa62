//! What training needs of a device's memory, from shapes alone: as much or more than is ever allocated at a time.

use super::Tuning;
use crate::model::PASS_ROWS;
use crate::weights::ModelConfig;

/// How a device lays out what it allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spacing {
    /// Elements that a row of bf16 is padded to a multiple of.
    half: usize,
    /// The same of the rows of f32 that an operation writes.
    full: usize,
    /// A buffer below these bytes doubles when it grows.
    doubling: u64,
    /// Bytes that an allocation is rounded up to.
    unit: u64,
}

impl Spacing {
    /// Of the processor.
    pub const CPU: Spacing = Spacing { half: 1, full: 1, doubling: 0, unit: 64 };
    /// Of a CUDA device.
    pub const CUDA: Spacing = Spacing { half: 64, full: 4, doubling: 1 << 20, unit: 512 };
}

/// Bytes by what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingMemory {
    /// Weights and tables of rotary embedding.
    pub model: u64,
    /// Of all tuned parameters.
    pub gradients: u64,
    /// The optimiser's state, and the adapter.
    pub optimiser: u64,
    /// Activations of one block that is kept.
    pub block: u64,
    /// Inputs of all blocks, and the output of the last.
    pub streams: u64,
    /// What one operation hands to the next, and uses for itself.
    pub scratch: u64,
    /// The adapter alone.
    adapter: u64,
}

/// Elements of a gradient up to which it is summed in slices, and the rows of a slice, on CUDA.
const SLICES: (u64, u64) = (64 * 128 * 128, 512);
/// Keys of a page of the cache.
const PAGE: usize = 64;
/// Elements of a partial sum of squares.
const SQUARES: u64 = 1 << 14;

impl TrainingMemory {
    /// For passes of up to `t` tokens.
    pub fn new(config: &ModelConfig, tuning: &Tuning, t: usize, on: Spacing) -> Self {
        let allocated = |bytes: u64| bytes.next_multiple_of(on.unit);
        let matrix = |rows: usize, cols: usize| allocated(2 * (rows * cols.next_multiple_of(on.half)) as u64);
        let grown = |bytes: usize| allocated((bytes as u64).max(2 * on.doubling.min(bytes as u64)));
        let half = |columns: usize| grown(2 * t * columns.next_multiple_of(on.half));
        let full = |columns: usize| grown(4 * t * columns.next_multiple_of(on.full));
        let (c, f, v) = (config.hidden_size, config.intermediate_size, config.vocab_size);
        let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let widest = c.max(f).max(q);

        let weights = config.tensors().map(|(_, shape)| match shape[..] {
            [rows, cols] => matrix(rows, cols),
            _ => allocated(4 * shape[0] as u64),
        });
        let rope = allocated(2 * (config.max_positions * config.head_dim) as u64);
        let (rank, dropout, targets) = match tuning {
            Tuning::Lora(options) => (options.rank, options.dropout > 0.0, options.targets.as_slice()),
            Tuning::Full { .. } => (0, false, &[][..]),
        };
        let (mut gradients, mut optimiser, mut squares, mut largest) = (0u64, 0u64, 0u64, 0u64);
        let mut add = |len: usize, states: [u64; 3]| {
            gradients += allocated(4 * len as u64);
            optimiser += states.iter().map(|bytes| allocated(bytes * len as u64)).sum::<u64>();
            squares += 8 * (len as u64).div_ceil(SQUARES);
            largest = largest.max(len as u64);
        };
        let mut adapter = 0;
        for (name, shape) in config.tensors() {
            let len = shape.iter().product();
            match tuning {
                Tuning::Full { half_state: true } if shape.len() == 2 => add(len, [2, 2, 0]),
                Tuning::Full { .. } => add(len, [4, 4, if shape.len() == 2 { 4 } else { 0 }]),
                Tuning::Lora(_) if targets.iter().any(|target| name.contains(target.as_str())) => {
                    add(rank * shape[1], [4; 3]);
                    add(shape[0] * rank, [4; 3]);
                    adapter += matrix(rank, shape[1]) + matrix(shape[0], rank);
                }
                Tuning::Lora(_) => {}
            }
        }

        let updates = targets.len() as u64 * half(rank);
        let block = 2 * half(q) + 2 * half(kv) + 2 * half(f) + full(c) + grown(4 * t * config.heads) + updates;
        let rows = t.min((t / 5).clamp(128, 1024)) as u64;
        let scratch = if on == Spacing::CPU {
            // Widest matrix inputs and outputs, their packed copies, and 192 rows of logits.
            (t * widest * 24 + 4 * 192 * v) as u64
        } else {
            let work =
                4 * half(widest) + half(kv) + 3 * half(rank) + full(widest) + full(q) + 2 * full(kv) + 2 * full(c);
            let masked = if dropout { half(widest) + full(widest) } else { 0 };
            let logits = rows * 4 * v.next_multiple_of(on.half) as u64 + 16 * t as u64;
            let slices = (t as u64).div_ceil(SLICES.1) * SLICES.0.min(largest) * 4;
            let norms = 4 * (t + t.div_ceil(64) * c) as u64;
            let most = [logits, slices, norms, 4 * (t * config.heads) as u64, squares].into_iter().max().unwrap_or(0);
            // It grows to powers of 2, the old one given back once the new one is there; so does a buffer.
            let own = (most + 1024).next_power_of_two().max(1 << 20);
            // Positions, examples and rows: lists of every operation of a pass.
            let lists = (config.layers * (72 * t + 4096) + 80 * config.tensors().count() * 14) as u64;
            work + masked + own + own / 2 + full(widest) + (2 * lists).next_power_of_two().max(1 << 18) * 2
        };
        TrainingMemory {
            model: weights.sum::<u64>() + 2 * rope,
            gradients,
            optimiser: optimiser + adapter,
            block,
            streams: (config.layers as u64 + 1) * full(c),
            scratch,
            adapter,
        }
    }

    /// What the engine's own answers at a validation take beside it, one at a time, in contexts of up to `tokens`: keys and values in
    /// arrays that grow by half, activations, and the adapter once more.
    pub fn answers(config: &ModelConfig, tuning: &Tuning, tokens: usize, on: Spacing) -> u64 {
        let pass = Self::new(config, tuning, tokens.min(PASS_ROWS), on);
        let pages = (tokens.div_ceil(PAGE) + 2) * 3 / 2 + 8;
        let array = ((2 * config.kv_heads * config.head_dim * PAGE * pages) as u64).next_multiple_of(on.unit);
        // While an array grows it is there twice.
        let arrays = 2 * config.layers as u64 + 1;
        arrays * array + pass.block + 2 * pass.streams / (config.layers as u64 + 1) + pass.adapter
    }
}
