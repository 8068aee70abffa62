//! A learner on the device of choice.

use crate::checkpoint::{self, Facts};
use crate::config::Config;
use crate::plan::Plan;
use crate::{Error, Result};
use biomistral_nlu::device::cpu::{Cpu, CpuOptions};
#[cfg(feature = "cuda")]
use biomistral_nlu::device::cuda::{Cuda, CudaOptions};
use biomistral_nlu::device::{Backward, DeviceChoice};
use biomistral_nlu::model::training::{Batch, Learner, StateValues, StepOptions};
use biomistral_nlu::model::{LanguageModel, Mistral};
use biomistral_nlu::weights::{AdapterPart, Checkpoint, PeftAdapter};
use half::bf16;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// A learner on any device.
pub(crate) enum AnyLearner {
    Cpu(Box<Learner<Cpu>>),
    #[cfg(feature = "cuda")]
    Cuda(Box<Learner<Cuda>>),
}

/// The same call on whichever learner it is.
macro_rules! on {
    ($any:expr, $learner:ident => $call:expr) => {
        match $any {
            AnyLearner::Cpu($learner) => $call,
            #[cfg(feature = "cuda")]
            AnyLearner::Cuda($learner) => $call,
        }
    };
}

impl AnyLearner {
    /// The model of `config` on its device, ready to be tuned.
    ///
    /// # Errors
    /// As the device's; [`Error::OutOfMemory`] before anything is allocated where the plan does not fit a CUDA device that
    /// was asked for by number.
    pub fn open(config: &Config, base: &Checkpoint, plan: &Plan) -> Result<Self> {
        let tuning = config.tuning();
        #[cfg(feature = "cuda")]
        if let Some(cuda) = cuda(config.run.device, plan)? {
            let mut learner = Learner::new(Mistral::open(base, cuda, &[])?, &tuning)?;
            learner.keep_blocks(plan.kept.0);
            return Ok(AnyLearner::Cuda(Box::new(learner)));
        }
        #[cfg(not(feature = "cuda"))]
        if let DeviceChoice::Cuda(_) = config.run.device {
            return Err(Error::unsupported("CUDA, which this program is built without"));
        }
        let threads = Some(config.run.threads).filter(|threads| *threads > 0);
        let cpu = Cpu::new(CpuOptions { threads, isa: None })?;
        let mut learner = Learner::new(Mistral::open(base, cpu, &[])?, &tuning)?;
        learner.keep_blocks(plan.kept.0);
        Ok(AnyLearner::Cpu(Box::new(learner)))
    }

    /// The model with the weights as they are now, where it is trained.
    pub fn model(&self) -> Arc<dyn LanguageModel> {
        on!(self, l => l.model().clone() as Arc<dyn LanguageModel>)
    }

    pub fn fingerprint(&self) -> String {
        on!(self, l => l.fingerprint())
    }

    pub fn clear_gradients(&mut self) -> Result<()> {
        on!(self, l => l.clear_gradients())
    }

    pub fn backward(&mut self, batch: &Batch<'_>, weight: f32, key: u64) -> Result<Vec<f64>> {
        on!(self, l => l.backward(batch, weight, key))
    }

    pub fn losses(&mut self, batch: &Batch<'_>) -> Result<Vec<f64>> {
        on!(self, l => l.losses(batch))
    }

    pub fn gradient_norm(&self) -> Result<f64> {
        on!(self, l => l.gradient_norm())
    }

    pub fn step(&mut self, options: &StepOptions) -> Result<()> {
        on!(self, l => l.step(options))
    }

    pub fn adapter(&self) -> Result<Vec<AdapterPart>> {
        on!(self, l => l.adapter())
    }

    /// Begins with the weights of `adapter`, read from `folder`, instead of an update of nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] where rank, scale or targets are others than the run's.
    pub fn begin(&mut self, adapter: &PeftAdapter, folder: &Path) -> Result<()> {
        on!(self, l => begin(l, adapter, folder))
    }

    pub fn tensor(&self, name: &str) -> Result<StateValues> {
        on!(self, l => l.tensor(name))
    }

    /// Saves a checkpoint.
    pub fn save(&self, folder: &Path, facts: &mut Facts) -> Result<()> {
        on!(self, l => checkpoint::save(folder, facts, l))
    }

    /// Goes back to a checkpoint.
    pub fn load(&mut self, path: &Path, facts: &Facts) -> Result<()> {
        on!(self, l => checkpoint::load(path, facts, l))
    }
}

fn begin<D: Backward>(learner: &mut Learner<D>, adapter: &PeftAdapter, folder: &Path) -> Result<()> {
    let fresh = learner.adapter()?;
    let shape = |parts: &[AdapterPart]| parts.iter().map(|p| (p.layer, p.target, p.rank, p.scale)).collect::<Vec<_>>();
    if shape(&fresh) != shape(adapter.parts()) {
        let of = |parts: &[AdapterPart]| {
            let first = parts.first().map_or((0, 0.0), |part| (part.rank, part.scale));
            format!("rank {} and scale {} on {} projections", first.0, first.1, parts.len())
        };
        let (want, got) = (of(&fresh), of(adapter.parts()));
        return Err(Error::invalid(format!(
            "tuning.from: expected an adapter of {want}, found {got} in {}",
            folder.display()
        )));
    }
    let mut weights: HashMap<String, &[bf16]> = HashMap::new();
    for part in adapter.parts() {
        let name = part.weight_name();
        let module = name.trim_end_matches(".weight");
        for (half, values) in [("lora_A", &part.a), ("lora_B", &part.b)] {
            weights.insert(format!("base_model.model.{module}.{half}.weight"), values);
        }
    }
    let mut state: HashMap<String, StateValues> = HashMap::new();
    learner.store(&mut |name, values| {
        let values = match weights.get(name) {
            Some(weights) => StateValues::Full(weights.iter().map(|x| x.to_f32()).collect()),
            // The optimiser has seen nothing yet.
            None => values,
        };
        state.insert(name.to_owned(), values);
        Ok(())
    })?;
    learner.load(&mut |name| state.remove(name).ok_or_else(|| Error::internal(format!("a state without {name}"))))
}

/// The CUDA device that is chosen, if it is one.
#[cfg(feature = "cuda")]
fn cuda(choice: DeviceChoice, plan: &Plan) -> Result<Option<Cuda>> {
    let open = |ordinal| {
        let cuda = Cuda::open(&CudaOptions { ordinal, ..CudaOptions::default() })?;
        let want = plan.cuda + Cuda::GRANULARITY.fixed;
        let (free, _) = cuda.memory()?;
        if want > free {
            return Err(Error::OutOfMemory { what: format!("training on cuda:{ordinal}"), want, free });
        }
        Ok(cuda)
    };
    match choice {
        DeviceChoice::Cpu => Ok(None),
        DeviceChoice::Cuda(ordinal) => open(ordinal).map(Some),
        DeviceChoice::Auto => Ok(open(0).ok()),
    }
}
