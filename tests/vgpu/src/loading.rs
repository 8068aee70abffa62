//! Putting the virtual GPU in the place of NVIDIA's driver, for this process only and before anything asks for the driver.
//!
//! `libvgpu.so` carries the name `libcuda.so` inside (its soname) and not outside: no search path finds it. Once it is loaded
//! by its path, the dynamic linker answers `dlopen("libcuda.so")` with it.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const FILE: &str = "libvgpu.so";

/// Names under which a real driver is looked for.
const DRIVER: [&CStr; 2] = [c"libcuda.so.1", c"libcuda.so"];

/// Why the virtual GPU is not there, or not the real one that was asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct LoadError(String);

/// As displayed: tests unwrap it.
impl fmt::Debug for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

/// The virtual GPU of this process: its settings, its reports, its counters.
///
/// All of them belong to the whole process, so tests that use them do not run beside others in it.
pub struct Control {
    configure: extern "C" fn(*const c_char) -> u32,
    reset: extern "C" fn() -> u32,
    forget: extern "C" fn() -> u32,
    last_report: extern "C" fn(*mut u8, usize) -> usize,
    counters: extern "C" fn(*mut u8, usize) -> usize,
    profiles: extern "C" fn(*mut u8, usize) -> usize,
}

/// Loads the virtual GPU unless the real one was asked for (`BMN_TEST_GPU=1`), for which it returns `None`.
///
/// To be called before the first call of the driver; later calls return the same.
///
/// # Errors
/// The library is not where cargo leaves it, or is not what it should be; or the real one was asked for and there is none.
pub fn load() -> Result<Option<&'static Control>, LoadError> {
    static LOADED: OnceLock<Result<Option<Control>, LoadError>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        if std::env::var_os("BMN_TEST_GPU").is_some_and(|wanted| wanted == "1") {
            return real_driver().map(|()| None);
        }
        open(&library_path()?).map(Some)
    });
    loaded.as_ref().map(Option::as_ref).map_err(Clone::clone)
}

/// Whether the machine has a driver.
fn real_driver() -> Result<(), LoadError> {
    // SAFETY: the driver's initialisers ask for nothing; it stays loaded, as its users want it.
    let found = DRIVER.iter().any(|name| !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) }.is_null());
    let none = "BMN_TEST_GPU=1 asks for this machine's GPU, and there is no NVIDIA driver (libcuda.so.1)";
    if found { Ok(()) } else { Err(LoadError(none.to_owned())) }
}

/// Where `libvgpu.so` is: beside the running program or in the `deps` folder of its build, unless `VGPU_LIBRARY` names it.
/// For processes that are to run on the virtual GPU, it is what goes into `LD_PRELOAD`.
///
/// # Errors
/// It is in none of these places.
pub fn library_path() -> Result<PathBuf, LoadError> {
    if let Some(path) = std::env::var_os("VGPU_LIBRARY") {
        return Ok(path.into());
    }
    let program =
        std::env::current_exe().map_err(|error| LoadError(format!("no path of the running program: {error}")))?;
    let folders = program.ancestors().skip(1).take(3).flat_map(|folder| [folder.to_owned(), folder.join("deps")]);
    folders
        .map(|folder| folder.join(FILE))
        .find(|path| path.is_file())
        .ok_or_else(|| LoadError(format!("{FILE} is not beside {}; build the package vgpu first", program.display())))
}

fn last_error() -> String {
    // SAFETY: dlerror returns null or a string that lives until this thread's next call of the dl family.
    let text = unsafe {
        let text = libc::dlerror();
        if text.is_null() { c"unknown" } else { CStr::from_ptr(text) }
    };
    text.to_string_lossy().into_owned()
}

fn open(path: &Path) -> Result<Control, LoadError> {
    let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| LoadError(error.to_string()))?;
    // SAFETY: the library is our own; loading it runs no code of its own.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if library.is_null() {
        return Err(LoadError(format!("{} does not load: {}", path.display(), last_error())));
    }
    let symbol = |name: &CStr| {
        // SAFETY: the handle was just opened and is never closed.
        let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
        let missing = || LoadError(format!("{} has no {}", path.display(), name.to_string_lossy()));
        if symbol.is_null() { Err(missing()) } else { Ok(symbol) }
    };
    type Report = extern "C" fn(*mut u8, usize) -> usize;
    // SAFETY: `driver::control` exports these names with these types.
    unsafe {
        Ok(Control {
            configure: std::mem::transmute::<*mut c_void, extern "C" fn(*const c_char) -> u32>(symbol(
                c"vgpuConfigure",
            )?),
            reset: std::mem::transmute::<*mut c_void, extern "C" fn() -> u32>(symbol(c"vgpuReset")?),
            forget: std::mem::transmute::<*mut c_void, extern "C" fn() -> u32>(symbol(c"vgpuForget")?),
            last_report: std::mem::transmute::<*mut c_void, Report>(symbol(c"vgpuLastReport")?),
            counters: std::mem::transmute::<*mut c_void, Report>(symbol(c"vgpuCounters")?),
            profiles: std::mem::transmute::<*mut c_void, Report>(symbol(c"vgpuProfiles")?),
        })
    }
}

impl Control {
    /// Changes the settings that the JSON object names, see `Config` in `driver/config.rs`; null puts one back to its default.
    /// Injected failures are counted from this call on, those that it does not name are disarmed.
    ///
    /// # Errors
    /// No JSON object, an unknown name or a value of the wrong kind; nothing is changed then.
    pub fn configure(&self, settings: &str) -> Result<(), LoadError> {
        let text = CString::new(settings).map_err(|error| LoadError(error.to_string()))?;
        if (self.configure)(text.as_ptr()) == 0 { Ok(()) } else { Err(LoadError(self.last_report())) }
    }

    /// Settings as the process began with, reports and counters forgotten, a lost device back.
    pub fn reset(&self) {
        (self.reset)();
    }

    /// Forgets the last report and what was counted; settings stay.
    pub fn forget(&self) {
        (self.forget)();
    }

    /// The last fault with kernel, block, thread, PTX and source lines; empty if there was none.
    pub fn last_report(&self) -> String {
        read(self.last_report)
    }

    /// JSON: `device` says what there is, `kernels` what was counted while the setting `profile` was on.
    pub fn counters(&self) -> String {
        read(self.counters)
    }

    /// What was counted while the setting `profile` was on, a table per kernel.
    pub fn profiles(&self) -> String {
        read(self.profiles)
    }
}

fn read(report: extern "C" fn(*mut u8, usize) -> usize) -> String {
    let mut room = report(std::ptr::null_mut(), 0) + 1;
    loop {
        let mut text = vec![0; room];
        let bytes = report(text.as_mut_ptr(), room);
        if bytes < room {
            text.truncate(bytes);
            return String::from_utf8_lossy(&text).into_owned();
        }
        // It grew meanwhile.
        room = bytes + 1;
    }
}
