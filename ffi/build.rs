//! Gives the shared object its soname, which cargo does not.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // 0 until 1.0: every minor version may change the ABI, `bmn_abi_version` tells.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libbiomistral_nlu.so.0");
    // HEAD names a branch and stays as it is when that moves; its log does not.
    let commit = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = commit.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok());
    println!("cargo:rustc-env=BMN_COMMIT={}", commit.as_deref().map_or("unknown", str::trim));
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
}
