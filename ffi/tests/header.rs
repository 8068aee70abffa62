//! The committed header is what cbindgen makes of the sources. `BMN_WRITE_HEADER=1` writes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

#[test]
fn the_committed_header_is_the_generated_one() {
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(ffi.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new().with_crate(ffi).with_config(config).generate().unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    // Rust's sections on safety say what the C text says already.
    let made = without_safety(std::str::from_utf8(&made).unwrap());
    let path = ffi.join("../include/biomistral_nlu.h");
    if std::env::var_os("BMN_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        made == committed,
        "include/biomistral_nlu.h differs: BMN_WRITE_HEADER=1 cargo test -p biomistral-nlu-ffi --test header"
    );
}

/// Each function says who may call it from which thread, and since when; one that fails, what it returns.
#[test]
fn every_function_says_threads_and_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/biomistral_nlu.h");
    let header = std::fs::read_to_string(path).unwrap();
    let mut functions = 0;
    for (at, _) in header.match_indices("\nBMN_API") {
        let (before, after) = header.split_at(at);
        let comment = &before[before.rfind("/**").unwrap()..];
        let name = after.split('(').next().unwrap();
        assert!(
            comment.trim_end().ends_with("*/") && comment.contains("Threads: ") && comment.contains("Since 0."),
            "{name}"
        );
        functions += 1;
    }
    assert!(functions > 50, "{functions} functions found");
}

/// The header without the lines from `# Safety` to the end of its comment; what is safe to pass stands there for C too, so the
/// heading alone goes.
fn without_safety(header: &str) -> String {
    header.lines().filter(|line| line.trim() != "* # Safety").map(|line| format!("{line}\n")).collect()
}
