//! Versions.

use crate::guard;
use crate::status::{NAMES, bmn_status};
use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

/// Major version of the header.
pub const BMN_VERSION_MAJOR: i32 = 0;
/// Minor version of the header.
pub const BMN_VERSION_MINOR: i32 = 1;
/// Patch version of the header.
pub const BMN_VERSION_PATCH: i32 = 0;
/// The number in the soname; compare it with `bmn_abi_version()`.
pub const BMN_ABI_VERSION: u32 = 0;

/// The ABI of the library at hand, to compare with `BMN_ABI_VERSION` of the header compiled with.
///
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn bmn_abi_version() -> u32 {
    BMN_ABI_VERSION
}

/// The version of the library at hand, as "0.1.0".
///
/// Returns a static string. Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn bmn_version_string() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// How the library was built, as a JSON object: version, commit, target, licence.
///
/// Returns a static string. Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn bmn_build_info() -> *const c_char {
    static INFO: OnceLock<CString> = OnceLock::new();
    guard::value(std::ptr::null(), || {
        let info = INFO.get_or_init(|| {
            let info = serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"),
                "commit": env!("BMN_COMMIT"),
                "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
                "licence": env!("CARGO_PKG_LICENSE"),
            });
            CString::new(info.to_string()).unwrap_or_default()
        });
        info.as_ptr()
    })
}

/// The name of a status, as "BMN_E_IO"; "BMN_E_UNKNOWN" for a number that is none.
///
/// Returns a static string. Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn bmn_status_name(status: bmn_status) -> *const c_char {
    NAMES.iter().find(|(number, _)| *number == status).map_or(c"BMN_E_UNKNOWN", |(_, name)| name).as_ptr()
}
