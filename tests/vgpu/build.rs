//! Gives the shared object the name under which a process looks for NVIDIA's driver, once it is loaded by its path.
fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    println!("cargo:rerun-if-changed=build.rs");
}
