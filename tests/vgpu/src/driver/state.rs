//! The one virtual device of the process: its settings, whether it still works, what it last had to say.

use super::arch::Limits;
use super::config::{Config, Traps};
use super::errors::{CudaError, DEVICE_UNAVAILABLE, INVALID_DEVICE, INVALID_VALUE, NO_DEVICE, NOT_INITIALIZED, Result};
use super::launch::Shape;
use super::profiles;
use crate::memory::arena;
use crate::report::Profile;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

/// Everything that belongs to the process and not to a context.
pub struct State {
    config: RwLock<Arc<Config>>,
    /// Why the environment's settings were refused.
    refused: Option<String>,
    initialised: AtomicBool,
    lost: AtomicBool,
    pinned: AtomicU64,
    traces: AtomicU64,
    /// Injected failures.
    pub traps: Traps,
    /// Launches that were executed.
    pub launches: AtomicU64,
    report: Mutex<String>,
    profiles: Mutex<BTreeMap<String, Profile>>,
}

/// The process's state, made at the first driver call from the environment variable `VGPU`.
pub fn state() -> &'static State {
    static STATE: LazyLock<State> = LazyLock::new(State::from_environment);
    &STATE
}

/// One line on stderr.
#[allow(
    clippy::print_stderr,
    reason = "a fault must reach whoever runs the test, and there is no other way out of a driver"
)]
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// Adds `profile` to what is known under `key`.
pub fn merge<K: Ord>(profiles: &mut BTreeMap<K, Profile>, key: K, profile: &Profile) {
    match profiles.get_mut(&key) {
        Some(all) => *all += profile,
        None => {
            profiles.insert(key, profile.clone());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn from_environment() -> State {
        let (config, refused) = match std::env::var("VGPU") {
            Ok(settings) => match Config::default().changed(&settings) {
                Ok(config) => (config, None),
                Err(why) => (Config::default(), Some(format!("vgpu: environment variable VGPU: {why}"))),
            },
            Err(_) => (Config::default(), None),
        };
        if let Some(why) = &refused {
            say(why);
        }
        let state = State {
            config: RwLock::new(Arc::new(Config::default())),
            refused,
            initialised: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            pinned: AtomicU64::new(0),
            traces: AtomicU64::new(0),
            traps: Traps::default(),
            launches: AtomicU64::new(0),
            report: Mutex::default(),
            profiles: Mutex::default(),
        };
        state.configure(config);
        state
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `config` in force and arms its failures; a lost device is back.
    pub fn configure(&self, config: Config) {
        self.traps.arm(&config);
        self.lost.store(false, Ordering::SeqCst);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.fit_capacity();
    }

    /// Limits of the device that is being played.
    pub fn limits(&self) -> Limits {
        Limits::of(self.config().compute_capability)
    }

    /// `cuInit`: what it answers, and that it was called.
    pub fn initialise(&self) -> Result {
        if self.refused.is_some() {
            return Err(INVALID_VALUE);
        }
        let config = self.config();
        if let Some(error) = CudaError::known(config.init_error) {
            return Err(error);
        }
        if config.devices == 0 {
            return Err(NO_DEVICE);
        }
        self.initialised.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// That `cuInit` was called.
    pub fn initialised(&self) -> Result {
        if self.initialised.load(Ordering::SeqCst) { Ok(()) } else { Err(NOT_INITIALIZED) }
    }

    /// That `ordinal` is a device, lost or not.
    pub fn device(&self, ordinal: i32) -> Result {
        self.initialised()?;
        if (0..self.config().devices).contains(&ordinal) { Ok(()) } else { Err(INVALID_DEVICE) }
    }

    /// That the device still answers.
    pub fn present(&self) -> Result {
        if self.lost.load(Ordering::SeqCst) { Err(DEVICE_UNAVAILABLE) } else { Ok(()) }
    }

    /// The device falls off the bus.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
        self.report("vgpu: the device was lost, as asked for".into());
    }

    /// Counts pinned memory, which lies in the arena but not in the device's memory.
    pub fn pin(&self, bytes: usize) {
        self.pinned.fetch_add(bytes as u64, Ordering::SeqCst);
        self.fit_capacity();
    }

    /// Pinned memory was freed.
    pub fn unpin(&self, bytes: usize) {
        self.pinned.fetch_sub(bytes as u64, Ordering::SeqCst);
        self.fit_capacity();
    }

    fn fit_capacity(&self) {
        arena().set_capacity(self.config().memory + self.pinned.load(Ordering::SeqCst) as usize);
    }

    /// Device memory in use, bytes.
    pub fn used(&self) -> usize {
        arena().used().saturating_sub(self.pinned.load(Ordering::SeqCst) as usize)
    }

    /// Pinned host memory in use, bytes.
    pub fn pinned(&self) -> u64 {
        self.pinned.load(Ordering::SeqCst)
    }

    /// Times that memory was freed with the watched text in it.
    pub fn traces(&self) -> u64 {
        self.traces.load(Ordering::Relaxed)
    }

    /// Memory is about to be freed: is the watched text in it?
    pub fn look_for_traces(&self, address: u64, bytes: usize) {
        let config = self.config();
        let text = config.watch.as_bytes();
        if text.is_empty() || bytes < text.len() {
            return;
        }
        // SAFETY: the range is a live allocation of the arena that its owner is done with.
        let memory = unsafe { std::slice::from_raw_parts(address as *const u8, bytes) };
        if memory.windows(text.len()).any(|part| part == text) {
            self.traces.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keeps a fault for `vgpuLastReport` and says it on stderr.
    pub fn report(&self, text: String) {
        if !self.config().quiet {
            say(&text);
        }
        *locked(&self.report) = text;
    }

    /// The last fault, empty if there was none since it was last forgotten.
    pub fn last_report(&self) -> String {
        locked(&self.report).clone()
    }

    /// Forgets the last fault and what was counted.
    pub fn forget(&self) {
        self.traces.store(0, Ordering::Relaxed);
        locked(&self.report).clear();
        locked(&self.profiles).clear();
    }

    /// Adds one launch's counts.
    pub fn count(&self, profile: &Profile, shape: &Shape) {
        let config = self.config();
        if config.profile {
            merge(&mut locked(&self.profiles), profile.kernel.clone(), profile);
        }
        if !config.profile_to.is_empty() {
            profiles::keep(&config.profile_to, profile, shape);
        }
    }

    /// Looks at what was counted, by kernel.
    pub fn profiles<R>(&self, look: impl FnOnce(&BTreeMap<String, Profile>) -> R) -> R {
        look(&locked(&self.profiles))
    }
}
