//! `src/params.rs` is what bindgen makes of `cu/params.h`. With `BMN_WRITE_PARAMS=1` the test writes it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;

#[test]
fn params_rs_is_what_bindgen_makes_of_params_h() {
    // clang-sys finds libclang by LIBCLANG_PATH, llvm-config and the usual folders; bindgen panics where there is none.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generate = || {
        bindgen::Builder::default()
            .header(root.join("cu/params.h").to_string_lossy())
            .clang_args(["-x", "c", "-target", "x86_64-unknown-linux-gnu"])
            .derive_default(true)
            .derive_partialeq(true)
            .ctypes_prefix("core::ffi")
            .use_core()
            .disable_header_comment()
            .raw_line(
                "//! The parameter structs of the kernels: what bindgen makes of `cu/params.h`. Not edited by hand.",
            )
            .formatter(bindgen::Formatter::Prettyplease)
            .generate()
            .map(|b| b.to_string())
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let made = std::panic::catch_unwind(generate);
    std::panic::set_hook(hook);
    let Ok(Ok(made)) = made else {
        println!("SKIPPED params_rs_is_what_bindgen_makes_of_params_h: no libclang (set LIBCLANG_PATH)");
        return;
    };
    let path = root.join("src/params.rs");
    if std::env::var_os("BMN_WRITE_PARAMS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(made == committed, "src/params.rs differs from cu/params.h: run this test with BMN_WRITE_PARAMS=1");
}
