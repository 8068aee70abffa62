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

#[test]
fn exports_take_codes_from_the_callers_table_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("in")).unwrap();
    std::fs::write(at("in/7.txt"), "😀 aspirin, rash").unwrap();
    std::fs::write(at("in/7.ann"), "T1\tDrug 2 9\taspirin\nT2\tProblem 11 15\trash\nE1\tDrug:T1\n").unwrap();
    std::fs::write(at("codes.csv"), "label,match,system,code,concept_id\nDrug,ASPIRIN,urn:s,7,1112807\n").unwrap();
    let (input, codes) = (at("in"), at("codes.csv"));
    let convert = |to: &str, out: &str, more: &[&str]| {
        let out = at(out);
        let base = ["convert", "--from", "brat", "--to", to, "--codes", path(&codes), path(&input), path(&out)];
        bmn(&[&base[..], more].concat())
    };
    let (fine, _, report) = convert("fhir", "out.json", &["--unit", "utf16"]);
    assert!(fine && report.contains("offsets in utf16") && report.contains("lost: 1 × events"), "{report}");
    let bundle = std::fs::read_to_string(at("out.json")).unwrap();
    for (part, count) in
        [("\"resourceType\": \"Observation\"", 2), ("\"code\": \"7\"", 1), ("\"valueUnsignedInt\": 10", 1)]
    {
        assert_eq!(bundle.matches(part).count(), count, "{part} in {bundle}");
    }
    let (fine, _, report) = convert("omop", "out.csv", &["--date", "2026-11-23", "--system", "made by hand"]);
    assert!(fine, "{report}");
    let rows = std::fs::read_to_string(at("out.csv")).unwrap();
    let row = "1,7,0,\"😀 aspirin, rash\",2,aspirin,1112807,0,made by hand,2026-11-23,,,,\"label=Drug,offset_unit=codepoint\"";
    assert_eq!(rows.lines().nth(1), Some(row));
    assert_eq!(rows.lines().count(), 3);
    assert!(convert("omop-parquet", "out.parquet", &[]).0);
    let parquet = std::fs::read(at("out.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    // Wrong uses.
    assert!(!convert("bioc", "none", &[]).0);
    assert!(!convert("omop", "none", &["--date", "yesterday"]).0);
    assert!(!bmn(&["convert", "--from", "fhir", "--to", "brat", path(&input), path(&at("none"))]).0);
    assert!(!at("none").exists());
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
