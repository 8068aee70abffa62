//! `bmn view`: escaping, self-containment, offsets in every unit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
use common::{run, write};
use serde_json::json;

const HOSTILE: &str = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>";

fn shown(results: &[serde_json::Value], extra: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = results.iter().map(|r| format!("{r}\n")).collect();
    let path = write(folder.path(), "r.jsonl", lines);
    let mut args = vec!["view", &path];
    args.extend(extra);
    let ran = run(&args, b"");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    ran.out
}

fn hostile() -> Vec<serde_json::Value> {
    let span = json!({"label": HOSTILE, "text": HOSTILE, "start": 0, "end": HOSTILE.chars().count(), "logprob": -1.0});
    let option = json!({"label": HOSTILE, "probability": 0.5, "logprob": -1.0});
    let input =
        json!({"text": HOSTILE, "question": HOSTILE, "premise": HOSTILE, "hypothesis": HOSTILE, "text2": HOSTILE});
    let choice = json!({"options": [option, option], "answer": HOSTILE, "outside_mass": 0.1});
    let mut attribute = choice.clone();
    attribute["name"] = json!(HOSTILE);
    let mut pair = choice.clone();
    pair["head"] = json!(0);
    pair["tail"] = json!(0);
    let provenance = json!({HOSTILE: HOSTILE});
    let mut classified = choice;
    classified["id"] = json!(HOSTILE);
    classified["input"] = input.clone();
    vec![
        json!({"id": HOSTILE, "status": "ok", "unit": "codepoint", "spans": [span], "input": input, "provenance": provenance}),
        json!({"id": HOSTILE, "status": "ok", "unit": HOSTILE, "spans": [span], "input": input}),
        json!({"id": HOSTILE, "unit": "codepoint", "entities": [span], "pairs": [pair], "input": input}),
        json!({"id": HOSTILE, "unit": "codepoint", "events": [{"trigger": span, "arguments": [span], "attributes": [attribute]}], "input": input}),
        classified,
        json!({"id": HOSTILE, "status": "error", "error": HOSTILE}),
    ]
}

#[test]
fn nothing_of_the_results_becomes_markup() {
    let page = shown(&hostile(), &["--title", HOSTILE, "--note", HOSTILE, "--banner", HOSTILE]);
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains("<script") && !page.contains("<img"), "markup came through");
    // Attributes hold results too: outside the style sheet, every quote is one that the page itself wrote.
    let body = &page[page.find("<body>").unwrap()..];
    for tag in body.split('<').skip(1) {
        let (inside, _) = tag.split_once('>').expect("every tag closes");
        assert_eq!(inside.matches('"').count() % 2, 0, "{inside}");
        let unquoted: String = inside.split('"').step_by(2).collect();
        assert!(!unquoted.contains("onerror") && !unquoted.contains('&'), "{inside}");
    }
}

#[test]
fn the_page_loads_nothing() {
    let page = shown(&hostile(), &[]);
    for needle in ["http://", "https://", "src=", "@import", "url(", "<link", "<iframe", "<object", "javascript:"] {
        let visible = page.replace("&lt;img src=x", "");
        assert!(!visible.contains(needle), "{needle}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn spans_are_marked_at_their_place_in_every_unit() {
    let text = "💊 β-blocker 5 µg, β-blocker";
    for (unit, start, end) in [("byte", 5, 15), ("codepoint", 2, 11), ("utf16", 3, 12)] {
        let span = json!({"label": "Drug", "text": "β-blocker", "start": start, "end": end});
        let page = shown(&[json!({"id": 1, "unit": unit, "spans": [span], "input": {"text": text}})], &["--terminal"]);
        assert!(page.contains("💊 [β-blocker]{Drug} 5 µg, β-blocker"), "{unit}: {page}");
    }
}

#[test]
fn a_span_that_is_not_there_is_said_to_be_wrong_and_not_drawn() {
    let span = json!({"label": "Drug", "text": "aspirin", "start": 0, "end": 7});
    let page =
        shown(&[json!({"id": 1, "unit": "byte", "spans": [span], "input": {"text": "no such drug"}})], &["--terminal"]);
    assert!(page.contains("is not what stands there"), "{page}");
    assert!(!page.contains("[no such]"));
}

#[test]
fn texts_come_from_the_input_where_results_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let input = write(folder.path(), "in.jsonl", "{\"id\": 7, \"text\": \"given aspirin\"}\n");
    let span = json!({"label": "Drug", "text": "aspirin", "start": 6, "end": 13});
    let results = [json!({"id": 7, "unit": "byte", "spans": [span]})];
    assert!(shown(&results, &["--terminal", "--input", &input]).contains("given [aspirin]{Drug}"));
    assert!(shown(&results, &["--terminal"]).contains("The text is not here"));
}

#[test]
fn a_text_cannot_drive_the_terminal() {
    let result =
        json!({"id": "\u{1b}]0;x\u{7}", "unit": "byte", "spans": [], "input": {"text": "a\u{1b}[2Jb\rc\u{9b}1m"}});
    let page = shown(&[result], &["--terminal"]);
    assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page:?}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    use std::process::Stdio;
    let folder = tempfile::tempdir().unwrap();
    let line = json!({"id": 1, "unit": "byte", "spans": [], "input": {"text": "x".repeat(4000)}});
    let path = write(folder.path(), "r.jsonl", format!("{line}\n").repeat(500));
    let mut child =
        common::bmn().args(["view", &path]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bmn starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_line_that_is_no_result_stops_the_page_by_its_number_without_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "r.jsonl", "{\"id\":1}\nsecret words\n");
    let ran = run(&["view", &path], b"");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("line 2") && !ran.err.contains("secret"), "{}", ran.err);
}
