//! `bmn data`: corpora in, records out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::process::Command;

fn bmn(arguments: &[&str]) -> (bool, String, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_bmn")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (run.status.success(), text(run.stdout), text(run.stderr))
}

#[test]
fn check_counts_and_lists_problems() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("n.txt"), "chest pain").unwrap();
    std::fs::write(folder.path().join("n.ann"), "T1\tP 0 10\tchest pain\nT2\tP 0 99\tx\n").unwrap();
    let (fine, out, _) = bmn(&["data", "check", "--reader", "brat", "--problems", path(folder.path())]);
    assert!(
        fine && out.contains("brat\t\t1\t1\t0\t0\t0\t0") && out.contains("n.ann, 2: offset outside the text"),
        "{out}"
    );
}

#[test]
fn convert_says_what_it_loses() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("in")).unwrap();
    std::fs::write(at("in/n 1.txt"), "Zoë: chest\npain").unwrap();
    std::fs::write(at("in/n 1.ann"), "T1\tP 5 15\tchest pain\nE1\tSeen:T1\nT2\tP 0 99\tx\n").unwrap();
    let convert = |from: &str, to: &str, input: &str, out: &str| {
        bmn(&["data", "convert", "--from", from, "--to", to, path(&at(input)), path(&at(out))][1..])
    };
    let (fine, _, report) = convert("brat", "label-studio", "in", "out.json");
    assert!(fine, "{report}");
    for expected in ["1 documents, offsets in utf16", "lost: 1 × events", "n 1.ann, 3: offset outside the text"] {
        assert!(report.contains(expected), "{report}");
    }
    // Back, and the mention stands where it stood.
    assert!(convert("label-studio", "brat", "out.json", "back").0);
    assert_eq!(std::fs::read_to_string(at("back/n_1.ann")).unwrap(), "T1\tP 5 15\tchest pain\n");
    // Nothing is overwritten, and no other unit than a format's own is written.
    assert!(!convert("brat", "label-studio", "in", "out.json").0);
    let (input, out) = (at("in"), at("new"));
    assert!(!bmn(&["convert", "--from", "brat", "--to", "brat", "--unit", "utf16", path(&input), path(&out)]).0);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
