//! NVRTC: where it lies, and CUDA C++ to PTX through it. The build script and the virtual GPU's own tests share this file.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::{env, ptr};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where NVRTC and ptxas lie.
pub struct Toolchain {
    /// The shared library.
    pub nvrtc: PathBuf,
    /// The program.
    #[allow(dead_code, reason = "tests assemble nothing")]
    pub ptxas: PathBuf,
}

impl Toolchain {
    /// `$CUDA_HOME`, then the folder of `ptxas` on `PATH`, then `build/cuda` of the repository; else one sentence that says so.
    pub fn find(repository: &Path) -> Result<Self, String> {
        let mut homes: Vec<PathBuf> = env::var_os("CUDA_HOME").map(PathBuf::from).into_iter().collect();
        let on_path = |dir: PathBuf| dir.join("ptxas").is_file().then(|| dir.parent().map(Path::to_path_buf))?;
        homes.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()).find_map(on_path));
        homes.push(repository.join("build/cuda"));
        for home in &homes {
            let ptxas = home.join("bin/ptxas");
            let nvrtc = ["lib64", "lib", "targets/x86_64-linux/lib"].map(|lib| home.join(lib).join("libnvrtc.so.12"));
            if let (true, Some(nvrtc)) = (ptxas.is_file(), nvrtc.into_iter().find(|n| n.is_file())) {
                return Ok(Self { nvrtc, ptxas });
            }
        }
        Err("built without CUDA: no libnvrtc.so.12 and ptxas in $CUDA_HOME, on PATH or in build/cuda (`make cuda` fetches them)".into())
    }
}

/// The functions of `libnvrtc.so.12` that are needed.
#[derive(Clone, Copy)]
pub struct Nvrtc {
    create: unsafe extern "C" fn(
        *mut *mut c_void,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(*mut c_void, c_int, *const *const c_char) -> c_int,
    log_size: unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int,
    log: unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int,
    ptx_size: unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int,
    ptx: unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut *mut c_void) -> c_int,
}

impl Nvrtc {
    /// Loads the library, for good.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        // SAFETY: NVRTC's initialisers have no preconditions, and the signatures are those of nvrtc.h 12. The library is
        // leaked, so the functions stay.
        unsafe {
            let library = Box::leak(Box::new(libloading::Library::new(path)?));
            Ok(Self {
                create: *library.get(b"nvrtcCreateProgram\0")?,
                compile: *library.get(b"nvrtcCompileProgram\0")?,
                log_size: *library.get(b"nvrtcGetProgramLogSize\0")?,
                log: *library.get(b"nvrtcGetProgramLog\0")?,
                ptx_size: *library.get(b"nvrtcGetPTXSize\0")?,
                ptx: *library.get(b"nvrtcGetPTX\0")?,
                destroy: *library.get(b"nvrtcDestroyProgram\0")?,
            })
        }
    }

    /// PTX of `source`, named `name`; headers are found relative to the working folder.
    pub fn compile(&self, name: &str, source: &str, options: &[&str]) -> Result<String, Failure> {
        let (source, file) = (CString::new(source)?, CString::new(name)?);
        let options = options.iter().map(|o| CString::new(*o)).collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<_> = options.iter().map(|o| o.as_ptr()).collect();
        let text = |size: unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int,
                    get: unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int,
                    program| {
            let mut bytes = 0;
            // SAFETY: `program` is live and the buffer has the size the library asked for, its terminator included.
            unsafe {
                size(program, &mut bytes);
                let mut buffer = vec![0u8; bytes.max(1)];
                get(program, buffer.as_mut_ptr().cast());
                CStr::from_ptr(buffer.as_ptr().cast()).to_string_lossy().into_owned()
            }
        };
        let mut program = ptr::null_mut();
        // SAFETY: all strings outlive the calls; the program is destroyed once.
        unsafe {
            if (self.create)(&mut program, source.as_ptr(), file.as_ptr(), 0, ptr::null(), ptr::null()) != 0 {
                return Err(format!("{name}: NVRTC refused to create the program").into());
            }
            let code = (self.compile)(program, pointers.len() as c_int, pointers.as_ptr());
            let result = match code {
                0 => Ok(text(self.ptx_size, self.ptx, program)),
                _ => Err(format!("{name}: NVRTC error {code}\n{}", text(self.log_size, self.log, program)).into()),
            };
            (self.destroy)(&mut program);
            result
        }
    }
}
