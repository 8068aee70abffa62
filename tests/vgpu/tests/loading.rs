//! How the virtual GPU comes into a process, and that it comes into no other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use cudarc::driver::CudaContext;
use cudarc::driver::sys::CUresult;
use std::ffi::CStr;
use std::path::Path;
use std::process::{Command, Output};

const CHILD: &str = "VGPU_TEST_CHILD";

/// Whether this process is the one that `child` started for `test`.
fn is_child(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|name| name == test)
}

/// Runs `test` of this binary alone in a process with these variables, and without those of the parent that matter.
fn child(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", test, "--nocapture"]).env(CHILD, test);
    for name in ["BMN_TEST_GPU", "LD_PRELOAD", "VGPU"] {
        process.env_remove(name);
    }
    process.envs(variables.iter().copied()).output().unwrap()
}

fn assert_success(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Whether a library of this name is in the process already.
fn is_loaded(name: &CStr) -> bool {
    // SAFETY: with RTLD_NOLOAD nothing is loaded and no code runs.
    !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) }.is_null()
}

#[test]
fn load_puts_it_where_the_driver_is_looked_for() {
    let test = "load_puts_it_where_the_driver_is_looked_for";
    if !is_child(test) {
        return assert_success(&child(test, &[]));
    }
    assert!(!is_loaded(c"libcuda.so"));
    vgpu::load().unwrap().unwrap();
    assert!(is_loaded(c"libcuda.so"));
    assert!(CudaContext::new(0).unwrap().name().unwrap().starts_with("Virtual"));
}

#[test]
fn a_real_driver_that_is_asked_for_and_absent_is_said_to_be() {
    let test = "a_real_driver_that_is_asked_for_and_absent_is_said_to_be";
    if !is_child(test) {
        return assert_success(&child(test, &[("BMN_TEST_GPU", "1")]));
    }
    match vgpu::load() {
        Ok(None) => println!("there is a driver"),
        Ok(Some(_)) => panic!("the virtual GPU where the real one was asked for"),
        Err(why) => assert!(format!("{why:?}").contains("BMN_TEST_GPU=1 asks for this machine's GPU, and there is no")),
    }
}

#[test]
fn a_real_driver_is_left_alone_when_asked_for() {
    let test = "a_real_driver_is_left_alone_when_asked_for";
    if !is_child(test) {
        // A driver under the name that a real one has, where the dynamic linker looks for it.
        let folder = std::env::temp_dir().join(format!("vgpu-as-driver-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let driver = folder.join("libcuda.so.1");
        let _ = std::fs::remove_file(&driver);
        std::os::unix::fs::symlink(vgpu::library_path().unwrap(), &driver).unwrap();
        let output = child(test, &[("BMN_TEST_GPU", "1"), ("LD_LIBRARY_PATH", folder.to_str().unwrap())]);
        std::fs::remove_dir_all(&folder).unwrap();
        return assert_success(&output);
    }
    assert!(vgpu::load().unwrap().is_none());
    assert!(CudaContext::new(0).unwrap().name().unwrap().starts_with("Virtual"));
}

#[test]
fn no_file_has_the_drivers_name() {
    let library = vgpu::library_path().unwrap();
    assert!(library.is_file());
    let folder = library.parent().unwrap();
    for folder in [folder, folder.parent().unwrap()] {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let drivers: Vec<_> = files.filter(|name| name.to_string_lossy().starts_with("libcuda.so")).collect();
        assert_eq!(drivers, Vec::<std::ffi::OsString>::new(), "in {}", folder.display());
    }
}

#[test]
fn whole_processes_run_on_it_by_preloading() {
    let test = "whole_processes_run_on_it_by_preloading";
    if !is_child(test) {
        let library = vgpu::library_path().unwrap();
        let library = Path::to_str(&library).unwrap();
        return assert_success(&child(test, &[("LD_PRELOAD", library), ("VGPU", r#"{"memory": 12345678}"#)]));
    }
    assert_eq!(CudaContext::new(0).unwrap().total_mem().unwrap(), 12_345_678);
    // Settings come back to the process's own, and loading finds what is there.
    let control = vgpu::load().unwrap().unwrap();
    control.configure(r#"{"memory": 1}"#).unwrap();
    control.reset();
    assert_eq!(CudaContext::new(0).unwrap().total_mem().unwrap(), 12_345_678);
}

#[test]
fn settings_of_the_environment_that_make_no_sense_fail_cu_init() {
    let test = "settings_of_the_environment_that_make_no_sense_fail_cu_init";
    if !is_child(test) {
        let output = child(test, &[("VGPU", r#"{"memry": 1}"#)]);
        assert_success(&output);
        assert!(String::from_utf8_lossy(&output.stderr).contains("memry"));
        return;
    }
    vgpu::load().unwrap();
    assert_eq!(CudaContext::new(0).err().map(|error| error.0), Some(CUresult::CUDA_ERROR_INVALID_VALUE));
}
