//! A checkpoint made into a model on the device of choice.

use super::{LanguageModel, Mistral};
use crate::Result;
use crate::device::cpu::{Cpu, CpuOptions};
use crate::device::{DeviceChoice, MemoryPlan, WeightStorage};
use crate::weights::{AdapterPart, Checkpoint};
use std::sync::Arc;

/// Where a model runs, and what is set aside for it there.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// The device.
    pub device: DeviceChoice,
    /// Threads of the processor to compute with; one per core when `None`.
    pub threads: Option<usize>,
    /// Longest context in tokens that a device with memory of its own sets aside for; the model's when `None`.
    pub context: Option<usize>,
    /// How the device stores the weights of projections.
    pub weights: WeightStorage,
    /// Overwrite the device's memory that held a text or what was computed from it before giving it back.
    pub wipe: bool,
}

/// What there is to tell while a model is opened.
#[derive(Debug)]
pub enum Opening<'a> {
    /// What the device's memory will hold, before anything is allocated there.
    Plan(&'a MemoryPlan),
    /// Bytes of weights made resident, of all.
    Weights {
        /// Done.
        done: u64,
        /// In all.
        total: u64,
    },
}

/// Makes a checkpoint resident on the chosen device, with the parts of an adapter added into its weights.
///
/// # Errors
/// As [`Mistral::open`]; [`crate::Error::Unsupported`] where the device cannot be used, with the reason;
/// [`crate::Error::OutOfMemory`] with the figures, before anything is allocated, where the model does not fit.
pub fn open(
    checkpoint: &Checkpoint,
    placement: &Placement,
    merge: &[AdapterPart],
    tell: &mut dyn FnMut(Opening<'_>),
) -> Result<Arc<dyn LanguageModel>> {
    #[cfg(feature = "cuda")]
    match placement.device {
        DeviceChoice::Cpu => {}
        DeviceChoice::Cuda(ordinal) => return on_cuda(checkpoint, placement, merge, ordinal, tell),
        // Whatever keeps the device from being used is why the processor is: `bmn doctor` tells it.
        DeviceChoice::Auto => {
            if let Ok((cuda, plan)) = cuda(checkpoint, placement, 0)
                && plan.check().is_ok()
            {
                return resident(checkpoint, cuda, &plan, merge, tell);
            }
        }
    }
    #[cfg(not(feature = "cuda"))]
    if let DeviceChoice::Cuda(_) = placement.device {
        return Err(crate::Error::unsupported("CUDA, which this library is built without"));
    }
    if placement.weights == WeightStorage::Int8 {
        return Err(crate::Error::unsupported("int8 weights on the processor"));
    }
    let cpu = Cpu::new(CpuOptions { threads: placement.threads, isa: None })?;
    Ok(Mistral::open_with(checkpoint, cpu, merge, &mut |done, total| tell(Opening::Weights { done, total }))?)
}

#[cfg(feature = "cuda")]
fn on_cuda(
    checkpoint: &Checkpoint,
    placement: &Placement,
    merge: &[AdapterPart],
    ordinal: usize,
    tell: &mut dyn FnMut(Opening<'_>),
) -> Result<Arc<dyn LanguageModel>> {
    let (cuda, plan) = cuda(checkpoint, placement, ordinal)?;
    resident(checkpoint, cuda, &plan, merge, tell)
}

/// The device, and what the model needs of it.
#[cfg(feature = "cuda")]
fn cuda(
    checkpoint: &Checkpoint,
    placement: &Placement,
    ordinal: usize,
) -> Result<(crate::device::cuda::Cuda, MemoryPlan)> {
    use crate::device::cuda::{Cuda, CudaOptions};
    let cuda = Cuda::open(&CudaOptions { ordinal, wipe: placement.wipe, weights: placement.weights })?;
    let config = checkpoint.config();
    let context = placement.context.unwrap_or(config.max_positions).min(config.max_positions);
    let plan = MemoryPlan::new(
        config,
        context,
        placement.weights,
        format!("cuda:{ordinal}"),
        cuda.memory()?,
        &Cuda::GRANULARITY,
    );
    Ok((cuda, plan))
}

#[cfg(feature = "cuda")]
fn resident(
    checkpoint: &Checkpoint,
    cuda: crate::device::cuda::Cuda,
    plan: &MemoryPlan,
    merge: &[AdapterPart],
    tell: &mut dyn FnMut(Opening<'_>),
) -> Result<Arc<dyn LanguageModel>> {
    tell(Opening::Plan(plan));
    plan.check()?;
    Ok(Mistral::open_with(checkpoint, cuda, merge, &mut |done, total| tell(Opening::Weights { done, total }))?)
}
