//! The CUDA device in tests: on the virtual GPU, or on a real one with `BMN_TEST_GPU=1`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use super::bits::Model;
use biomistral_nlu::device::cuda::{Cuda, CudaOptions, kernels};
use biomistral_nlu::model::Mistral;
use biomistral_nlu::weights::{AdapterPart, Checkpoint};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The virtual GPU's settings belong to the process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// The GPU for one test.
pub struct Gpu {
    /// `None` on a real GPU.
    pub control: Option<&'static vgpu::Control>,
    _turn: MutexGuard<'static, ()>,
}

impl Gpu {
    /// Takes the GPU, with these settings where it is virtual; or prints a line that says why the test is skipped.
    pub fn take(test: &str, settings: &str) -> Option<Gpu> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(why) = kernels() {
            println!("SKIPPED {test}: {why}");
            return None;
        }
        let control = vgpu::load().unwrap();
        if let Some(control) = control {
            control.reset();
            control.configure(settings).unwrap();
        }
        Some(Gpu { control, _turn: turn })
    }

    pub fn cuda(&self) -> Cuda {
        Cuda::open(&CudaOptions::default()).unwrap_or_else(|e| panic!("{e}\n{}", self.report()))
    }

    pub fn open(&self, checkpoint: &Checkpoint, merge: &[AdapterPart]) -> Model {
        Mistral::open(checkpoint, self.cuda(), merge).unwrap_or_else(|e| panic!("{e}\n{}", self.report()))
    }

    /// What the virtual GPU found last.
    pub fn report(&self) -> String {
        self.control.map(|control| control.last_report()).unwrap_or_default()
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let Some(control) = self.control {
            control.reset();
        }
    }
}
