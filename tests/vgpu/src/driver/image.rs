//! What `cuModuleLoadData` is given: PTX is executed; machine code is for other devices, as on a GPU of another architecture.

use super::errors::{INVALID_IMAGE, INVALID_PTX, INVALID_VALUE, NO_BINARY_FOR_GPU, Result, UNSUPPORTED_PTX_VERSION};
use super::state::state;
use std::ffi::{CStr, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;

const ELF: [u8; 4] = *b"\x7fELF";
const FATBIN: [u8; 4] = [0x50, 0xed, 0x55, 0xba];

/// ELF machine number of CUDA.
const EM_CUDA: u16 = 190;
/// ELF section type of string tables.
const STRTAB: u32 = 3;
const SECTION_BYTES: usize = 64;

/// Memory of this process, through the kernel: an image that is cut short may end before unmapped memory, and its own fields
/// are all that says how long it is.
struct Image {
    memory: File,
    address: u64,
}

impl Image {
    fn read<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let from = self.address.checked_add(offset).ok_or(INVALID_IMAGE)?;
        self.memory.read_exact_at(&mut bytes, from).map_err(|_| INVALID_IMAGE)?;
        Ok(bytes)
    }

    fn u16(&self, offset: u64) -> Result<u64> {
        self.read(offset).map(|bytes| u16::from_le_bytes(bytes).into())
    }

    fn u32(&self, offset: u64) -> Result<u32> {
        self.read(offset).map(u32::from_le_bytes)
    }

    fn u64(&self, offset: u64) -> Result<u64> {
        self.read(offset).map(u64::from_le_bytes)
    }

    /// That this is a whole cubin: its section headers and their names are where its header says.
    fn check_cubin(&self) -> Result {
        let machine = self.u16(18)?;
        let (sections, size, count, names) = (self.u64(40)?, self.u16(58)?, self.u16(60)?, self.u16(62)?);
        let place = |section: u64, field: u64| {
            sections
                .checked_add(section * SECTION_BYTES as u64 + field)
                .filter(|_| section < count)
                .ok_or(INVALID_IMAGE)
        };
        let first: [u8; SECTION_BYTES] = self.read(place(0, 0)?)?;
        let (kind, start, bytes) =
            (self.u32(place(names, 4)?)?, self.u64(place(names, 24)?)?, self.u64(place(names, 32)?)?);
        let last: [u8; 1] =
            self.read(start.checked_add(bytes).and_then(|end| end.checked_sub(1)).ok_or(INVALID_IMAGE)?)?;
        let whole = machine == u64::from(EM_CUDA)
            && size == SECTION_BYTES as u64
            && first == [0; SECTION_BYTES]
            && (kind, last) == (STRTAB, [0])
            && self.read(start)? == [0];
        if whole { Ok(()) } else { Err(INVALID_IMAGE) }
    }
}

/// The PTX text behind `image`, known to suit the driver and the device that are being played.
pub fn ptx(image: *const c_void) -> Result<String> {
    if image.is_null() {
        return Err(INVALID_VALUE);
    }
    let memory = File::open("/proc/self/mem").map_err(|_| INVALID_IMAGE)?;
    let binary = Image { memory, address: image as u64 };
    match binary.read::<4>(0) {
        Ok(ELF) => {
            let whole = binary.check_cubin();
            return Err(whole.err().unwrap_or(NO_BINARY_FOR_GPU));
        }
        Ok(FATBIN) => {
            state().report("vgpu: fat binaries are not opened; load the PTX itself".into());
            return Err(NO_BINARY_FOR_GPU);
        }
        _ => {}
    }
    // SAFETY: the API's contract: an image that is neither is text and ends in a NUL.
    let text = unsafe { CStr::from_ptr(image.cast()) }.to_str().map_err(|_| INVALID_IMAGE)?;
    suits(text)?;
    Ok(text.to_owned())
}

/// The value of a directive that stands at the beginning of a line.
fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.split([',', '/']).next()).map(str::trim)
}

/// That the driver knows the text's PTX version and the device is no older than its target.
fn suits(text: &str) -> Result {
    let config = state().config();
    let version = directive(text, ".version ").and_then(version_of).ok_or(INVALID_IMAGE)?;
    let newest = newest_ptx(config.driver_version);
    if version > newest {
        state().report(format!(
            "vgpu: PTX of version {}.{} for a driver that knows {}.{}",
            version.0, version.1, newest.0, newest.1
        ));
        return Err(UNSUPPORTED_PTX_VERSION);
    }
    let target = directive(text, ".target ").and_then(|target| target.strip_prefix("sm_")).ok_or(INVALID_PTX)?;
    let digits = target.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let target: i32 = digits.parse().map_err(|_| INVALID_PTX)?;
    let (major, minor) = config.compute_capability;
    if target > major * 10 + minor {
        state().report(format!("vgpu: PTX for sm_{target} on a device of sm_{major}{minor}"));
        return Err(INVALID_PTX);
    }
    Ok(())
}

fn version_of(text: &str) -> Option<(i32, i32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The newest PTX version of a driver, by the CUDA version it reports. Source: PTX ISA manual, "Release Notes".
fn newest_ptx(driver: i32) -> (i32, i32) {
    let (major, minor) = (driver / 1000, driver % 1000 / 10);
    match (major, minor) {
        (..11, _) => (6, 5),
        (11, _) => (7, minor.min(8)),
        (12, ..=5) => (8, minor),
        (12, 6) => (8, 5),
        (12, 7) => (8, 6),
        (12, 8) => (8, 7),
        (12, _) => (8, 8),
        (_, _) => (9, minor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ptx_versions_follow_the_release_notes() {
        for (driver, newest) in [
            (10020, (6, 5)),
            (11000, (7, 0)),
            (11080, (7, 8)),
            (12000, (8, 0)),
            (12040, (8, 4)),
            (12060, (8, 5)),
            (12080, (8, 7)),
            (12090, (8, 8)),
            (13000, (9, 0)),
        ] {
            assert_eq!(newest_ptx(driver), newest, "driver {driver}");
        }
    }

    #[test]
    fn directives_are_found_behind_comments() {
        let text = "//\n// .version 1.0\n//\n\n.version 8.8\n.target sm_80, debug // c\n.address_size 64\n";
        assert_eq!(directive(text, ".version ").and_then(version_of), Some((8, 8)));
        assert_eq!(directive(text, ".target "), Some("sm_80"));
        assert_eq!(directive(text, ".absent "), None);
    }
}
