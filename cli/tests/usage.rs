//! Help, exit codes and mistakes that need no model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
use common::{run, write};

#[test]
fn help_and_version_exit_0_on_stdout() {
    for args in [&["--help"][..], &["help"], &["extract", "--help"], &["model", "random", "--help"], &["--version"]] {
        let ran = run(args, b"");
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        assert!(!ran.out.is_empty());
    }
    let verbs = run(&["--help"], b"").out;
    for verb in
        "extract events classify relate answer entail similar view train merge model logits tokenize doctor bench"
            .split(' ')
    {
        assert!(verbs.contains(&format!("\n  {verb} ")), "{verb}");
    }
    assert!(run(&["extract", "--help"], b"").out.contains("Example"));
}

#[test]
fn wrong_usage_exits_2_on_stderr() {
    for args in [
        &["extract"][..],
        &["no-such-verb"],
        &["logits", "--model", "m", "--ids", "1,x"],
        &["extract", "--model", "m", "--unit", "grapheme"],
        &["extract", "--model", "m", "--resume"],
        &["extract", "--model", "m", "--threads", "0"],
        &["extract", "--model", "m", "--merge"],
        &["extract", "--model", "m", "--labels", "A", "--adapter", "no-such-name"],
        &["similar", "--model", "m", "--scores", "five"],
        &["extract", "--model", "m", "--device", "tpu", "--labels", "A"],
        &["relate", "--model", "m", "--labels", "A", "--relations", "x=A"],
        &["tokenize", "--model", "m", "-", "-"],
        &["merge", "--base", "m", "--out", "o"],
        &["merge", "--base", "m", "--out", "o", "--model", "n", "--weights", "1,2"],
        &["merge", "--base", "m", "--out", "o", "--model", "n", "--as-adapter"],
    ] {
        let ran = run(args, b"");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn failures_exit_1_and_name_the_thing() {
    let ran = run(&["tokenize", "--model", "/no/such/model"], b"text");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("/no/such/model"), "{}", ran.err);
    let ran = run(&["extract", "--model", "/no/such/model", "--labels", "A", "/no/such/note.txt"], b"");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("/no/such/note.txt"), "{}", ran.err);
}

#[test]
fn a_schema_that_cannot_be_used_is_named_before_a_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let schema = write(folder.path(), "s.json", r#"{"labels": ["A", "A"]}"#);
    let ran = run(&["extract", "--model", "/no/such/model", "--schema", &schema], b"x");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("labels[1]"), "{}", ran.err);
}

#[test]
fn a_question_that_nobody_asks_is_missed_before_a_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let line = write(folder.path(), "bare.jsonl", "{\"text\": \"x\"}\n{\"text\": \"x\", \"labels\": [\"A\"]}\n");
    let asked = write(folder.path(), "asked.jsonl", "{\"text\": \"x\", \"labels\": [\"A\"]}\n{\"text\": \"x\"}\n");
    let broken = write(folder.path(), "broken.jsonl", "{\n");
    for (verb, what) in [("extract", "no labels"), ("relate", "no relations"), ("events", "no ")] {
        for (input, stdin) in [("-", &b"a note"[..]), ("-", b""), (&line, b"")] {
            let ran = run(&[verb, "--model", "/no/such/model", input], stdin);
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{verb} {input}: {}", ran.err);
            assert!(ran.err.contains(what) && !ran.err.contains("/no/such/model"), "{}", ran.err);
        }
    }
    // What a line brings along is enough, and a line that cannot be read says nothing about the others.
    for input in [&asked, &broken] {
        let ran = run(&["extract", "--model", "/no/such/model", input], b"");
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains("/no/such/model"), "{}", ran.err);
    }
}

#[test]
fn doctor_says_what_will_run() {
    let ran = run(&["doctor", "--json"], b"");
    assert_eq!(ran.code, 0);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    for name in ["version", "processor", "isa", "fingerprint", "threads", "cuda", "features"] {
        assert!(!report[name].is_null(), "{name}");
    }
    assert_eq!(run(&["doctor"], b"").code, 0);
}
