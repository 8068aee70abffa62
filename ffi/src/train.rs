//! Fine-tuning: a configuration file in, an adapter or model out.

use crate::cancel::bmn_cancel;
use crate::error::{Failure, bmn_error};
use crate::guard;
use crate::handle::{Handle, Tagged, handle_type};
use crate::log::BMN_LOG_INFO;
use crate::memory::{self, Sized32};
use crate::runtime::{Runtime, bmn_runtime};
use crate::status::*;
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use training::{Config, Event, Outcome, Plan, Trainer};

/// A training run goes on from its last checkpoint, if there is one; else an output folder that has a run is refused.
pub const BMN_TRAIN_RESUME: u32 = 1;
/// `config` is the configuration's text, not the path of a file with it; its relative paths are those of the process.
pub const BMN_TRAIN_TEXT: u32 = 2;

/// A step is done.
pub const BMN_TRAIN_STEP: u32 = 0;
/// The validation corpora have been measured.
pub const BMN_TRAIN_VALIDATION: u32 = 1;
/// A checkpoint is on disk.
pub const BMN_TRAIN_SAVED: u32 = 2;

/// What a training run tells while it goes on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_train_event {
    /// Bytes of this struct that are set.
    pub struct_size: u32,
    /// `BMN_TRAIN_STEP`, `BMN_TRAIN_VALIDATION` or `BMN_TRAIN_SAVED`.
    pub kind: u32,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Mean loss per token that counts, of the step or of the validation; NaN for a checkpoint.
    pub loss: f64,
    /// Learning rate of the step; NaN else.
    pub rate: f64,
    /// Tokens per second of the step; NaN else.
    pub tokens_per_second: f64,
    /// Seconds left at the mean speed so far; NaN unless for a step.
    pub seconds_left: f64,
}

/// Called after each step, validation and checkpoint, from the thread of the call; non-zero stops the run after the step,
/// with everything saved. It must not run or free the trainer, and must not throw or unwind.
pub type bmn_train_progress_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const bmn_train_event) -> i32>;

/// How a training run is watched; `bmn_train_options_init` sets the defaults, and a NULL pointer means them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_train_options {
    /// `sizeof(bmn_train_options)`.
    pub struct_size: u32,
    /// Must be 0.
    pub flags: u32,
    /// Flag that stops the run after the step; NULL: none. It must live until the call returns.
    pub cancel: *const bmn_cancel,
    /// Called after each step; NULL: not.
    pub progress: bmn_train_progress_fn,
    /// Handed to `progress`.
    pub progress_user_data: *mut c_void,
}

// SAFETY: plain data; every bit pattern of its fields is valid. First field is the size.
unsafe impl Sized32 for bmn_train_options {
    fn fresh() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            flags: 0,
            cancel: std::ptr::null(),
            progress: None,
            progress_user_data: std::ptr::null_mut(),
        }
    }
}

/// A training run. Any thread may use it; two at once get `BMN_E_BUSY`.
pub struct bmn_trainer {
    tagged: Tagged<Training>,
}
handle_type!(bmn_trainer, Training, 0x626d_6e74_7261_696e);

pub(crate) struct Training {
    runtime: Arc<Runtime>,
    plan: CString,
    /// Gone once the run failed: its state is then nobody's.
    trainer: Mutex<Option<Trainer>>,
    /// The folder of the result.
    output: OnceLock<CString>,
}

/// What the header promises of a trainer: any thread may have it.
const _: () = {
    const fn any_thread<T: Send + Sync>() {}
    any_thread::<Training>();
};

/// Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_train_options)` of the caller's header. NULL is ignored.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `options` is NULL or points to `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_train_options_init(options: *mut bmn_train_options, struct_size: usize) {
    // SAFETY: the caller's promise.
    unsafe { memory::init(options, struct_size) }
}

/// Reads a run's configuration (TOML, docs/training.md), its examples and its model. `flags`: `BMN_TRAIN_*`, added up.
///
/// `config` is the path of a file, whose relative paths are those of its folder, or with `BMN_TRAIN_TEXT` the text itself. The
/// run computes on the runtime's device, whatever `run.device` says, and with the runtime's threads unless `run.threads` is set.
/// The folder `output` is created; the run writes there and nowhere else.
/// On success `*out` is a trainer to free with `bmn_trainer_free`. Errors: `BMN_E_NOT_FOUND`, `BMN_E_IO`, `BMN_E_MODEL_FORMAT`
/// (configuration, record or model, by file and line), `BMN_E_INVALID_ARGUMENT` (a folder with a run; a run that began with
/// something else), `BMN_E_OUT_OF_MEMORY` (beyond the runtime's limit), those of the device. Threads: any. Since 0.1.
///
/// # Safety
/// `runtime` is live; `config` is NUL-terminated; `out` points to a place; `err` to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_trainer_open(
    runtime: *const bmn_runtime,
    config: *const c_char,
    flags: u32,
    out: *mut *mut bmn_trainer,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            memory::place(out, "out")?;
            let runtime = memory::handle(runtime, "runtime")?;
            let config = memory::string(config, "config")?;
            if flags & !(BMN_TRAIN_RESUME | BMN_TRAIN_TEXT) != 0 {
                return Err(Failure::invalid(format!("flags: expected BMN_TRAIN_*, found {flags:#x}")));
            }
            let config = match flags & BMN_TRAIN_TEXT {
                0 => Config::read(Path::new(config))?,
                _ => Config::parse(config, "config", Path::new(""))?,
            };
            memory::put(out, bmn_trainer::give(Training::open(runtime, config, flags & BMN_TRAIN_RESUME != 0)?));
            Ok(())
        })
    }
}

impl Training {
    fn open(runtime: &Arc<Runtime>, mut config: Config, resume: bool) -> Result<Self, Failure> {
        config.run.device = runtime.device;
        if config.run.threads == 0 {
            config.run.threads = runtime.threads.unwrap_or(0);
        }
        if let Some(limit) = runtime.memory_limit {
            let need: u64 = training::plan(&config)?.bytes.iter().map(|(_, bytes)| bytes).sum();
            if need > limit {
                let why =
                    format!("training: expected at most {limit} bytes, the runtime's limit, found a need of {need}");
                return Err(Failure::new(BMN_E_OUT_OF_MEMORY, why));
            }
        }
        let trainer = Trainer::new(config, resume)?;
        let plan = CString::new(plan_json(trainer.plan(), trainer.step()).to_string()).unwrap_or_default();
        Ok(Self { runtime: Arc::clone(runtime), plan, trainer: Mutex::new(Some(trainer)), output: OnceLock::new() })
    }

    fn run(&self, tell: &mut dyn FnMut(&bmn_train_event) -> bool) -> Result<(), Failure> {
        let mut place = match self.trainer.try_lock() {
            Ok(place) => place,
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(BMN_E_BUSY, "trainer: another thread is using it"));
            }
            Err(TryLockError::Poisoned(_)) => {
                return Err(Failure::new(BMN_E_INTERNAL, "trainer: a run before this one broke it; open another one"));
            }
        };
        if self.output.get().is_some() {
            return Ok(());
        }
        let Some(mut trainer) = place.take() else {
            return Err(Failure::invalid("trainer: expected one whose run has not failed; open another one to go on"));
        };
        let (mut done, steps) = (trainer.step(), trainer.plan().steps);
        let outcome = trainer.run(&mut |event| {
            let nothing = bmn_train_event {
                struct_size: size_of::<bmn_train_event>() as u32,
                kind: BMN_TRAIN_SAVED,
                step: done,
                steps,
                loss: f64::NAN,
                rate: f64::NAN,
                tokens_per_second: f64::NAN,
                seconds_left: f64::NAN,
            };
            tell(&match event {
                Event::Step { step, loss, rate, speed, left, .. } => {
                    done = step.0;
                    let times = bmn_train_event { tokens_per_second: speed, seconds_left: left, ..nothing };
                    bmn_train_event { kind: BMN_TRAIN_STEP, step: done, loss, rate, ..times }
                }
                Event::Validation { step, loss, .. } => {
                    bmn_train_event { kind: BMN_TRAIN_VALIDATION, step, loss, ..nothing }
                }
                Event::Saved { step } => bmn_train_event { step, ..nothing },
            })
        })?;
        *place = Some(trainer);
        match outcome {
            Outcome::Done(folder) => {
                self.runtime.log.tell(BMN_LOG_INFO, "train", || format!("done: {}", folder.display()));
                let folder = folder.to_str().and_then(|folder| CString::new(folder).ok());
                let folder =
                    folder.ok_or_else(|| Failure::invalid("output: expected a path of UTF-8, found another"))?;
                self.output.get_or_init(|| folder);
                Ok(())
            }
            Outcome::Stopped(step) => {
                Err(Failure::new(BMN_E_CANCELLED, format!("training: stopped after step {step}, everything is saved")))
            }
        }
    }
}

fn plan_json(plan: &Plan, step: u64) -> serde_json::Value {
    serde_json::json!({
        "examples": plan.examples.0,
        "left_out": plan.examples.1,
        "tokens": plan.tokens.0,
        "tokens_that_count": plan.tokens.1,
        "step": step,
        "steps": plan.steps,
        "parameters": plan.parameters.0,
        "parameters_tuned": plan.parameters.1,
        "need": plan.bytes.iter().map(|(_, bytes)| bytes).sum::<u64>(),
    })
}

/// What the run needs, as a JSON object: `examples`, `left_out`, `tokens`, `tokens_that_count`, `step` (done before), `steps`,
/// `parameters`, `parameters_tuned`, `need` (bytes).
///
/// Returns a string that lives as long as the trainer, NULL for NULL. Threads: any. Since 0.1.
///
/// # Safety
/// `trainer` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_trainer_plan_json(trainer: *const bmn_trainer) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { memory::handle(trainer, "trainer") }.map_or(std::ptr::null(), |trainer| trainer.plan.as_ptr())
}

/// Runs to the end, or returns at once where it is there; `options` may be NULL. The result is then in the folder that
/// `bmn_trainer_output` names, a PEFT adapter for `bmn_adapter_open` or a model for `bmn_model_open`.
///
/// Errors: `BMN_E_CANCELLED` where it was stopped: everything is saved, and another call goes on, or another trainer opened with
/// `BMN_TRAIN_RESUME`, to the same bits. `BMN_E_INVALID_ARGUMENT` (a loss that is no number or jumps), `BMN_E_IO`,
/// `BMN_E_OUT_OF_MEMORY`, `BMN_E_DEVICE`: the trainer is then of no more use; its checkpoints are. `BMN_E_BUSY`. Threads: one at a time. Since 0.1.
///
/// # Safety
/// `trainer` is live; `options` is NULL or as large as it says; `err` points to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_trainer_run(
    trainer: *const bmn_trainer,
    options: *const bmn_train_options,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: as above.
    unsafe {
        guard::enter(err, || {
            let training = memory::handle(trainer, "trainer")?;
            let options: bmn_train_options = memory::options(options, "options")?;
            if options.flags != 0 {
                return Err(Failure::invalid(format!("options.flags: expected 0, found {:#x}", options.flags)));
            }
            let cancel = memory::optional(options.cancel, "options.cancel")?;
            training.run(&mut |event| {
                // The caller gave the function and what it is to be called with.
                let stop = options.progress.is_some_and(|tell| tell(options.progress_user_data, event) != 0);
                !stop && !cancel.is_some_and(engine::task::Cancel::is_triggered)
            })
        })
    }
}

/// The folder of the adapter or model once the run is done; NULL before, and for NULL.
///
/// Returns a string that lives as long as the trainer. Threads: any. Since 0.1.
///
/// # Safety
/// `trainer` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_trainer_output(trainer: *const bmn_trainer) -> *const c_char {
    // SAFETY: the caller's promise.
    let trainer = unsafe { memory::handle(trainer, "trainer") }.ok();
    trainer.and_then(|trainer| trainer.output.get()).map_or(std::ptr::null(), |folder| folder.as_ptr())
}

/// Frees a trainer; what it saved stays. NULL is allowed. No call may be using it.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `trainer` is NULL or live and unused, and ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_trainer_free(trainer: *mut bmn_trainer) {
    // SAFETY: the caller's promise.
    unsafe { memory::free(trainer) }
}
