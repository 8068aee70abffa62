//! What a test asks of the virtual device: its kind, its adversaries, its injected failures.

use super::errors::{CudaError, LAUNCH_FAILED, OUT_OF_MEMORY};
use crate::exec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Settings, from the environment variable `VGPU` and `vgpuConfigure`, both JSON objects with these names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What `cuDriverGetVersion` answers: 1000 * major + 10 * minor of the CUDA version.
    pub driver_version: i32,
    /// Number of devices, 0 or 1.
    pub devices: i32,
    /// What `cuInit` answers; 0 is success.
    pub init_error: u32,
    /// Major and minor of the device.
    pub compute_capability: (i32, i32),
    /// Device memory, bytes.
    pub memory: usize,
    /// Whether the device has memory pools (`cuMemAllocAsync`).
    pub memory_pools: bool,
    /// The n-th allocation of device memory from now on fails.
    pub fail_allocation: Option<Failure>,
    /// The n-th allocation of pinned memory from now on fails.
    pub fail_pinned: Option<Failure>,
    /// The n-th launch from now on fails.
    pub fail_launch: Option<Failure>,
    /// The n-th load of a module from now on fails.
    pub fail_module: Option<Failure>,
    /// The device is lost at the n-th launch from now on.
    pub lose_device: Option<u64>,
    /// Of every choice below.
    pub seed: u64,
    /// Order of warps and of blocks.
    pub schedule: Schedule,
    /// Blocks that are interleaved; 0 is one at a time.
    pub resident_blocks: u32,
    /// Results of approximate arithmetic.
    pub approx: Approx,
    /// Accumulation of tensor cores.
    pub tensor: Tensor,
    /// What may be done with undefined values.
    pub definedness: Definedness,
    /// Whether races are looked for.
    pub races: bool,
    /// Warp instructions of one launch before it counts as hung; 0 is never.
    pub watchdog: u64,
    /// Text of which no trace may be left in device memory when it is freed.
    pub watch: String,
    /// Keep counters per kernel and source line.
    pub profile: bool,
    /// Folder into which the process writes its counters when it ends, per kernel and shape of launch; empty for none.
    pub profile_to: String,
    /// Count only kernels with this in their names.
    pub profile_only: String,
    /// Name every driver call on stderr.
    pub trace: bool,
    /// Do not print faults on stderr.
    pub quiet: bool,
}

/// When an injected failure strikes and what it looks like: `3`, or `{"at": 3, "code": 719}`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Failure {
    /// The n-th time, from 1, with the code that is usual there.
    At(u64),
    /// The n-th time, with a code of choice.
    With {
        /// From 1.
        at: u64,
        /// A `CUresult`.
        code: u32,
    },
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident => $target:path { $($(#[$one:meta])* $choice:ident),* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$one])* $choice),* }

        impl From<$name> for $target {
            fn from(choice: $name) -> $target {
                match choice { $($name::$choice => <$target>::$choice),* }
            }
        }
    )*};
}

choices! {
    /// `in_order` or `shuffled`.
    Schedule => exec::Schedule { InOrder, Shuffled }
    /// `exact` or `perturbed`.
    Approx => exec::Approx { Exact, Perturbed }
    /// `sequential`, `a100` or `h100`.
    Tensor => exec::TensorModel { Sequential, A100, H100 }
    /// `strict`, `lenient` or `off`.
    Definedness => crate::memory::Definedness { Strict, Lenient, Off }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            driver_version: 12090,
            devices: 1,
            init_error: 0,
            // The least shared memory per block of all that the product supports.
            compute_capability: (8, 6),
            memory: 16 << 30,
            memory_pools: true,
            fail_allocation: None,
            fail_pinned: None,
            fail_launch: None,
            fail_module: None,
            lose_device: None,
            seed: 0,
            schedule: Schedule::InOrder,
            resident_blocks: 0,
            approx: Approx::Exact,
            tensor: Tensor::Sequential,
            definedness: Definedness::Strict,
            races: true,
            watchdog: exec::Options::default().watchdog,
            watch: String::new(),
            profile: false,
            profile_to: String::new(),
            profile_only: String::new(),
            trace: false,
            quiet: false,
        }
    }
}

impl Failure {
    fn parts(self, usual: CudaError) -> (u64, u32) {
        match self {
            Failure::At(at) => (at, usual.0),
            Failure::With { at, code } => (at, code),
        }
    }
}

impl Config {
    /// These settings with those that the JSON object `changes` names; null puts one back to its default.
    pub fn changed(&self, changes: &str) -> Result<Config, String> {
        let changes: Value = serde_json::from_str(changes).map_err(|error| error.to_string())?;
        let Value::Object(changes) = changes else { return Err("settings are a JSON object".into()) };
        let Ok(Value::Object(mut all)) = serde_json::to_value(self) else {
            return Err("settings do not serialise".into());
        };
        // What struck or waits to strike is counted from the call that asked for it.
        for name in ["fail_allocation", "fail_pinned", "fail_launch", "fail_module", "lose_device"] {
            all.remove(name);
        }
        for (name, value) in changes {
            match value {
                Value::Null => all.remove(&name),
                value => all.insert(name, value),
            };
        }
        let config: Config = serde_json::from_value(Value::Object(all)).map_err(|error| error.to_string())?;
        config.checked()
    }

    fn checked(self) -> Result<Config, String> {
        if !(0..=1).contains(&self.devices) {
            return Err(format!("devices is 0 or 1, not {}", self.devices));
        }
        let failures = [self.fail_allocation, self.fail_pinned, self.fail_launch, self.fail_module];
        let codes = failures.iter().flatten().map(|failure| failure.parts(OUT_OF_MEMORY).1);
        for code in codes.chain((self.init_error != 0).then_some(self.init_error)) {
            if CudaError::known(code).is_none() {
                return Err(format!("{code} is not a code of the driver API that the virtual GPU knows"));
            }
        }
        Ok(self)
    }

    /// Whether launches of `kernel` are counted.
    pub fn counts(&self, kernel: &str) -> bool {
        (self.profile || !self.profile_to.is_empty()) && kernel.contains(&self.profile_only)
    }

    /// What the interpreter is asked for.
    pub fn options(&self) -> exec::Options {
        exec::Options {
            seed: self.seed,
            schedule: self.schedule.into(),
            resident_blocks: self.resident_blocks,
            approx: self.approx.into(),
            tensor: self.tensor.into(),
            definedness: self.definedness.into(),
            races: self.races,
            watchdog: self.watchdog,
            profile: false,
        }
    }
}

/// An injected failure that waits for its turn.
#[derive(Default)]
pub struct Trap(std::sync::Mutex<Option<(u64, CudaError)>>);

impl Trap {
    /// Arms or disarms it.
    pub fn set(&self, failure: Option<Failure>, usual: CudaError) {
        let armed = failure.map(|failure| failure.parts(usual)).map(|(at, code)| (at, CudaError(code)));
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = armed;
    }

    /// Counts one time more; the failure if this is the one.
    pub fn step(&self) -> Option<CudaError> {
        self.step_if(|_| true)
    }

    /// The same for failures with a code that `here` is the place for.
    pub fn step_if(&self, here: impl Fn(CudaError) -> bool) -> Option<CudaError> {
        let mut armed = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (left, code) = armed.as_mut().filter(|(_, code)| here(*code))?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return None;
        }
        let code = *code;
        *armed = None;
        Some(code)
    }
}

/// Every trap, armed by the settings.
#[derive(Default)]
pub struct Traps {
    /// Device memory.
    pub allocation: Trap,
    /// Pinned host memory.
    pub pinned: Trap,
    /// Kernel launches.
    pub launch: Trap,
    /// Modules.
    pub module: Trap,
    /// The whole device, at a launch.
    pub device: Trap,
}

impl Traps {
    /// Arms what `config` asks for.
    pub fn arm(&self, config: &Config) {
        use super::errors::{INVALID_IMAGE, UNKNOWN};
        self.allocation.set(config.fail_allocation, OUT_OF_MEMORY);
        self.pinned.set(config.fail_pinned, OUT_OF_MEMORY);
        self.launch.set(config.fail_launch, LAUNCH_FAILED);
        self.module.set(config.fail_module, INVALID_IMAGE);
        self.device.set(config.lose_device.map(Failure::At), UNKNOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_what_they_do_not_name() {
        let config =
            Config::default().changed(r#"{"seed": 7, "compute_capability": [9, 0], "tensor": "h100"}"#).unwrap();
        let config = config.changed(r#"{"memory": 1000, "seed": null}"#).unwrap();
        assert_eq!((config.seed, config.memory, config.compute_capability), (0, 1000, (9, 0)));
        assert_eq!(config.tensor, Tensor::H100);
    }

    #[test]
    fn wrong_settings_are_refused() {
        for wrong in ["", "[]", r#"{"sede": 1}"#, r#"{"devices": 2}"#, r#"{"fail_launch": {"at": 1, "code": 12345}}"#] {
            assert!(Config::default().changed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_trap_springs_once_at_its_turn() {
        let traps = Traps::default();
        traps.arm(&Config::default().changed(r#"{"fail_allocation": 3}"#).unwrap());
        let seen: Vec<_> = (0..5).map(|_| traps.allocation.step()).collect();
        assert_eq!(seen, [None, None, Some(OUT_OF_MEMORY), None, None]);
        assert_eq!(traps.launch.step(), None);
    }

    #[test]
    fn an_unnamed_failure_is_disarmed_by_the_next_change() {
        let config = Config::default().changed(r#"{"fail_launch": {"at": 1, "code": 700}}"#).unwrap();
        assert!(config.fail_launch.is_some());
        assert!(config.changed(r#"{"quiet": true}"#).unwrap().fail_launch.is_none());
    }
}
