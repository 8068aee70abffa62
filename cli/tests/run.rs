//! The verbs on the demo model: shapes of results, failures of single documents, resuming, interruption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
use common::{bmn, demo_model, read_lines, run, write};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NOTE: &str = "Took 25 µg 💊 of naïve β-blocker; SpO₂ 94 %.";

fn lines(values: &[Value]) -> String {
    values.iter().map(|v| format!("{v}\n")).collect()
}

/// Flags that make extraction short.
const EXTRACT: [&str; 7] = ["--labels", "Drug", "--max-words", "3", "--max-spans", "2", "--model"];

#[test]
fn spans_stand_where_their_offsets_say_in_every_unit() {
    let Some(model) = demo_model("spans_stand_where_their_offsets_say_in_every_unit") else { return };
    let input = lines(&[json!({"id": 7, "text": NOTE}), json!({"id": "b", "text": "💊💊 aspirin"})]);
    let utf16: Vec<Vec<u16>> = [NOTE, "💊💊 aspirin"].iter().map(|t| t.encode_utf16().collect()).collect();
    let mut texts = BTreeSet::new();
    for unit in ["byte", "codepoint", "utf16"] {
        let mut args = vec!["extract", "--unit", unit];
        args.extend(EXTRACT);
        args.push(model.to_str().unwrap());
        let ran = run(&args, input.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let results = ran.lines();
        assert_eq!(results[0]["id"], 7, "an id keeps its type");
        assert_eq!(results[1]["id"], "b");
        for (i, result) in results.iter().enumerate() {
            assert_eq!((&result["status"], &result["unit"]), (&json!("ok"), &json!(unit)));
            assert!(result["provenance"]["fingerprint"].as_str().unwrap().starts_with("cpu/"));
            for span in result["spans"].as_array().unwrap() {
                let (start, end) = (span["start"].as_u64().unwrap() as usize, span["end"].as_u64().unwrap() as usize);
                let text = [NOTE, "💊💊 aspirin"][i];
                let found = match unit {
                    "byte" => text[start..end].to_owned(),
                    "codepoint" => text.chars().skip(start).take(end - start).collect(),
                    _ => String::from_utf16(&utf16[i][start..end]).unwrap(),
                };
                assert_eq!(span["text"], found);
                assert!(span["logprob"].as_f64().unwrap() <= 0.0);
                texts.insert((i, found));
            }
        }
    }
    assert!(!texts.is_empty(), "no span to look at");
}

#[test]
fn the_adapter_that_comes_along_finds_what_the_model_alone_does_not() {
    let Some(model) = demo_model("the_adapter_that_comes_along_finds_what_the_model_alone_does_not") else { return };
    let note = lines(&[
        json!({"text": "Metformin was started for type 2 diabetes. Naproxen was stopped because of renal failure."}),
    ]);
    let right = BTreeSet::from([
        ("drug", "Metformin"),
        ("drug", "Naproxen"),
        ("disease", "type 2 diabetes"),
        ("disease", "renal failure"),
    ]);
    let found = |adapter: &[&str]| {
        let model = model.to_str().unwrap();
        let args = [&["extract", "--labels", "drug,disease", "--model", model], adapter].concat();
        let ran = run(&args, note.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let result = ran.lines().remove(0);
        assert_eq!(result["provenance"]["adapter"].is_null(), adapter.is_empty());
        let spans = result["spans"].as_array().unwrap().iter();
        let spans: Vec<_> =
            spans.map(|s| (s["label"].as_str().unwrap().to_owned(), s["text"].as_str().unwrap().to_owned())).collect();
        spans.iter().filter(|(label, text)| right.contains(&(label.as_str(), text.as_str()))).count()
    };
    let (with, without) = (found(&["--adapter", "demo"]), found(&[]));
    // Three and none with AVX-512; other processors round otherwise.
    assert!(with >= 2 && without == 0, "of {} spans, {with} with the adapter, {without} without", right.len());
}

#[test]
fn the_adapter_that_comes_along_knows_a_paraphrase() {
    let Some(model) = demo_model("the_adapter_that_comes_along_knows_a_paraphrase") else { return };
    let pairs = lines(&[
        json!({"text": "She takes aspirin every day for her heart.", "text2": "She takes a daily aspirin for her heart."}),
        json!({"text": "She takes aspirin every day for her heart.", "text2": "The left knee was replaced in 2009."}),
    ]);
    let apart = |adapter: &[&str]| {
        let args = [&["similar", "--scores", "0-5", "--model", model.to_str().unwrap()], adapter].concat();
        let ran = run(&args, pairs.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let expected: Vec<f64> = ran.lines().iter().map(|line| line["expected"].as_f64().unwrap()).collect();
        expected[0] - expected[1]
    };
    let (with, without) = (apart(&["--adapter", "demo"]), apart(&[]));
    // 3.6 and 0.0 of 5 with AVX-512; other processors round otherwise.
    assert!(with > 2.0 && without < 1.0, "{with} with the adapter, {without} without");
}

#[test]
fn choices_have_their_documented_shape() {
    let Some(model) = demo_model("choices_have_their_documented_shape") else { return };
    let model = model.to_str().unwrap();
    let cases = [
        ("classify", vec!["--options", "cardiology,oncology"], json!({"id": 1, "text": NOTE}), 2),
        ("classify", vec!["--multi", "--options", "cardiology,oncology,other"], json!({"id": 1, "text": NOTE}), 3),
        ("answer", vec![], json!({"id": 1, "question": "Which?", "options": ["a", "b", "c"]}), 3),
        ("entail", vec![], json!({"id": 1, "premise": "He coughs.", "hypothesis": "He is ill."}), 3),
        ("similar", vec!["--scores", "0-4"], json!({"id": 1, "text": "a cough", "text2": "coughing"}), 5),
    ];
    for (verb, flags, line, options) in cases {
        let mut args = vec![verb, "--model", model, "--with-text", "--show-prompt"];
        args.extend(&flags);
        let ran = run(&args, line.to_string().as_bytes());
        assert_eq!(ran.code, 0, "{verb}: {}", ran.err);
        let result = &ran.lines()[0];
        assert_eq!((&result["id"], &result["status"]), (&json!(1), &json!("ok")));
        let given = result["options"].as_array().unwrap();
        assert_eq!(given.len(), options, "{verb}");
        let sum: f64 = given.iter().map(|o| o["probability"].as_f64().unwrap()).sum();
        let multi = flags.contains(&"--multi");
        // Posteriors of one choice sum to 1 up to f64 rounding of a few terms.
        assert!(multi || (sum - 1.0).abs() < 1e-12, "{verb}: {sum}");
        assert!(multi || given.iter().any(|o| o["label"] == result["answer"]), "{verb}");
        let outside = result["outside_mass"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&outside));
        assert!(result["input"].is_object() && result["input"].get("options").is_none());
        let prompt = &result["prompts"][0];
        assert!(!prompt["prompt_ids"].as_array().unwrap().is_empty());
        assert!(!prompt["candidates"][0]["ids"].as_array().unwrap().is_empty());
        if verb == "similar" {
            let mean: f64 = given
                .iter()
                .map(|o| o["probability"].as_f64().unwrap() * o["label"].as_str().unwrap().parse::<f64>().unwrap())
                .sum();
            assert!((mean - result["expected"].as_f64().unwrap()).abs() < 1e-9);
        }
    }
}

#[test]
fn relations_and_events_point_at_the_text() {
    let Some(model) = demo_model("relations_and_events_point_at_the_text") else { return };
    let model = model.to_str().unwrap();
    let text = "Aspirin for 💊 headache.";
    let line = json!({"id": 1, "text": text, "entities": [
        {"label": "Drug", "start": 0, "end": 7}, {"label": "Problem", "start": 15, "end": 23}]});
    let args =
        ["relate", "--model", model, "--unit", "utf16", "--relations", "treats=Drug>Problem,causes=Drug>Problem"];
    let ran = run(&args, line.to_string().as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let result = &ran.lines()[0];
    assert_eq!(
        (&result["entities"][0]["text"], &result["entities"][1]["text"]),
        (&json!("Aspirin"), &json!("headache"))
    );
    let pair = &result["pairs"][0];
    assert_eq!((&pair["head"], &pair["tail"]), (&json!(0), &json!(1)));
    assert_eq!(pair["options"].as_array().unwrap().len(), 3, "two relations and none");

    let folder = tempfile::tempdir().unwrap();
    let events = json!({"events": [{"name": "Medication", "arguments": ["Reason"],
        "attributes": [{"name": "Status", "values": ["given", "stopped"], "required": true}]}]});
    let schema = write(folder.path(), "s.json", events.to_string());
    let args =
        ["events", "--model", model, "--schema", &schema, "--max-spans", "1", "--max-words", "2", "--unit", "byte"];
    let ran = run(&args, json!({"text": text}).to_string().as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    for event in ran.lines()[0]["events"].as_array().unwrap() {
        let trigger = &event["trigger"];
        let place = trigger["start"].as_u64().unwrap() as usize..trigger["end"].as_u64().unwrap() as usize;
        assert_eq!(trigger["text"], text[place]);
        assert_eq!(event["attributes"][0]["options"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn bad_documents_fail_alone_and_nothing_of_their_text_is_told() {
    let Some(model) = demo_model("bad_documents_fail_alone_and_nothing_of_their_text_is_told") else { return };
    let folder = tempfile::tempdir().unwrap();
    let long = "CANARY ".repeat(20_000);
    let mut bytes =
        format!("{}\n{{\"id\": \"cut\", \"text\": \"CANARY\n", json!({"id": "good", "text": NOTE})).into_bytes();
    bytes.extend(b"{\"id\": \"latin\", \"text\": \"CANARY \xe9\"}\n\n[\"CANARY\"]\n");
    bytes.extend(
        lines(&[
            json!({"id": "none", "txt": "CANARY"}),
            json!({"id": "number", "text": 5}),
            json!({"id": "long", "text": long}),
            json!({"id": {"a": "CANARY"}, "text": "CANARY"}),
            json!({"id": "labels", "text": "x", "labels": ["CANARY", "CANARY"]}),
            json!({"text": NOTE}),
        ])
        .as_bytes(),
    );
    let input = write(folder.path(), "in.jsonl", bytes);
    let errors = folder.path().join("errors.jsonl");
    let mut args = vec!["extract", "--errors", errors.to_str().unwrap()];
    args.extend(EXTRACT);
    args.extend([model.to_str().unwrap(), &input]);
    let ran = run(&args, b"");
    assert_eq!(ran.code, 3, "{}", ran.err);
    let ids = |results: &[Value]| results.iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&ran.lines()), ["good".to_owned(), format!("{input}:11")]);
    let failed = read_lines(errors.to_str().unwrap());
    let at = |line: usize| format!("{input}:{line}");
    let want = [&at(2), &at(3), &at(5), "none", "number", "long", &at(9), "labels"];
    assert_eq!(ids(&failed), want);
    for (failure, line) in failed.iter().zip([2, 3, 5, 6, 7, 8, 9, 10]) {
        assert_eq!((&failure["status"], &failure["line"]), (&json!("error"), &json!(line)));
        assert!(!failure["error"].as_str().unwrap().is_empty());
    }
    assert_eq!(failed[5]["code"], 8, "a text that does not fit says so: {}", failed[5]);
    let told = format!("{}{}", ran.err, std::fs::read_to_string(&errors).unwrap());
    assert!(!told.contains("CANARY"), "document text in an error");

    // Without --errors the same lines stand among the results, in input order.
    let mut args = vec!["extract"];
    args.extend(EXTRACT);
    args.extend([model.to_str().unwrap(), &input]);
    let ran = run(&args, b"");
    assert_eq!((ran.code, ran.lines().len()), (3, 10));
    assert_eq!(ran.lines()[1]["status"], "error");
}

#[test]
fn resuming_gives_the_lines_that_an_unbroken_run_gives() {
    let Some(model) = demo_model("resuming_gives_the_lines_that_an_unbroken_run_gives") else { return };
    let folder = tempfile::tempdir().unwrap();
    let documents: Vec<Value> = (0..6)
        .map(|i| json!({"id": i % 5, "text": format!("Aspirin {i} mg, then {}.", "rest ".repeat(6 - i))}))
        .collect();
    let input = write(folder.path(), "in.jsonl", lines(&documents));
    let out = folder.path().join("out.jsonl").to_str().unwrap().to_owned();
    let extract = |extra: &[&str]| {
        let mut args = vec!["extract", "--out", &out, "--batch", "2"];
        args.extend(extra);
        args.extend(EXTRACT);
        args.extend([model.to_str().unwrap(), &input]);
        run(&args, b"")
    };
    assert_eq!(extract(&[]).code, 0);
    let whole = std::fs::read_to_string(&out).unwrap();
    assert_eq!(read_lines(&out).iter().map(|r| r["id"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 0]);

    assert_eq!(extract(&[]).code, 2, "a file with results is not overwritten by chance");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), whole);

    // Cut inside the fourth line; mark the first, to see that it is not computed again.
    let ends: Vec<usize> = whole.match_indices('\n').map(|(i, _)| i).collect();
    let marked = whole[..ends[3] - 5].replacen("\"ok\"", "\"OK\"", 1);
    std::fs::write(&out, &marked).unwrap();
    let ran = extract(&["--resume"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&out).unwrap().replacen("\"OK\"", "\"ok\"", 1), whole);
    assert!(std::fs::read_to_string(&out).unwrap().contains("\"OK\""));

    std::fs::write(&out, "not a result\n").unwrap();
    assert_eq!(extract(&["--resume"]).code, 1);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "not a result\n", "a file that is not ours is left alone");
}

#[test]
fn batch_and_threads_change_no_byte() {
    let Some(model) = demo_model("batch_and_threads_change_no_byte") else { return };
    let documents: Vec<Value> =
        (0..5).map(|i| json!({"id": i, "text": format!("{NOTE} {}", "more text ".repeat(i * 3))})).collect();
    let all = |flags: [&str; 4]| {
        let mut args = vec!["extract"];
        args.extend(flags);
        args.extend(EXTRACT);
        args.push(model.to_str().unwrap());
        let ran = run(&args, lines(&documents).as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    };
    let one = all(["--batch", "1", "--threads", "1"]);
    assert_eq!(one, all(["--batch", "16", "--threads", "2"]));
    assert_eq!(one, all(["--batch", "3", "--threads", "2"]));
}

#[test]
fn an_interrupted_run_keeps_what_it_has_and_can_be_continued() {
    let Some(model) = demo_model("an_interrupted_run_keeps_what_it_has_and_can_be_continued") else { return };
    let folder = tempfile::tempdir().unwrap();
    let count = 60;
    let documents: Vec<Value> = (0..count).map(|i| json!({"id": i, "text": format!("Aspirin {i} mg.")})).collect();
    let input = write(folder.path(), "in.jsonl", lines(&documents));
    let out = folder.path().join("out.jsonl").to_str().unwrap().to_owned();
    let mut args = vec!["classify", "--out", &out, "--batch", "1", "--options", "drug,other", &input];
    args.extend(["--model", model.to_str().unwrap()]);
    let child = bmn().args(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while std::fs::metadata(&out).map_or(0, |m| m.len()) == 0 && start.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{told}");
    assert!(told.contains("--resume"), "{told}");
    let kept = read_lines(&out).len();
    assert!(0 < kept && kept < count, "{kept}");
    args.push("--resume");
    let ran = run(&args, b"");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ids: BTreeSet<u64> = read_lines(&out).iter().map(|r| r["id"].as_u64().unwrap()).collect();
    assert_eq!((ids.len(), read_lines(&out).len()), (count, count));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let Some(model) = demo_model("a_reader_that_leaves_early_is_no_failure") else { return };
    let folder = tempfile::tempdir().unwrap();
    let input = write(folder.path(), "in.jsonl", lines(&vec![json!({"text": NOTE}); 3]));
    let mut child = bmn()
        .args(["tokenize", "--model", model.to_str().unwrap(), &input])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn logits_are_log_probabilities_of_the_next_token() {
    let Some(model) = demo_model("logits_are_log_probabilities_of_the_next_token") else { return };
    let model = model.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let npy = folder.path().join("l.npy").to_str().unwrap().to_owned();
    let ran = run(&["logits", "--model", model, "--ids", "504,2700,314", "--top", "3", "--out", &npy], b"");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rows = ran.lines();
    assert_eq!(rows.len(), 3);
    let bytes = std::fs::read(&npy).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let values: Vec<f32> = bytes[header..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let vocabulary = values.len() / 3;
    for (i, row) in rows.iter().enumerate() {
        let table = &values[i * vocabulary..(i + 1) * vocabulary];
        let sum: f64 = table.iter().map(|x| f64::from(*x).exp()).sum();
        // f32 rounding of log-probabilities near -10: relative 1e-6 each, averaging out.
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        assert_eq!(row["position"], i);
        let top = row["top"].as_array().unwrap();
        let best = table.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        assert_eq!(top[0][0], best.0);
        assert_eq!(top[0][1].as_f64().unwrap() as f32, *best.1);
        assert!(top[0][1].as_f64() >= top[1][1].as_f64() && top.len() == 3);
        match [2700, 314].get(i) {
            Some(next) => assert_eq!(row["next_logprob"].as_f64().unwrap() as f32, table[*next]),
            None => assert!(row["next_logprob"].is_null()),
        }
    }
    assert_eq!(run(&["logits", "--model", model, "--ids", "4000000"], b"").code, 2);
}

#[test]
fn converted_and_random_models_can_be_used_like_any_other() {
    let Some(model) = demo_model("converted_and_random_models_can_be_used_like_any_other") else { return };
    let model = model.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let converted = folder.path().join("converted").to_str().unwrap().to_owned();
    assert_eq!(run(&["model", "convert", model, &converted], b"").code, 0);
    let logits = |model: &str| run(&["logits", "--model", model, "--ids", "5,7", "--top", "2"], b"");
    assert_eq!(logits(&converted).out, logits(model).out, "bf16 is what the engine computes with");

    let random = folder.path().join("random").to_str().unwrap().to_owned();
    assert_eq!(run(&["model", "random", &random, "--shape", "tiny"], b"").code, 0);
    assert_eq!(logits(&random).lines().len(), 2);
    let sums = run(&["model", "verify", &random], b"");
    assert_eq!(sums.code, 0, "{}", sums.err);
    let list = write(folder.path(), "sums", &sums.out);
    assert_eq!(run(&["model", "verify", &random, "--against", &list], b"").code, 0);
    let list = write(folder.path(), "sums", format!("{}  other\n", "0".repeat(64)));
    let ran = run(&["model", "verify", &random, "--against", &list], b"");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("other") && ran.err.contains("config.json"), "{}", ran.err);
    let info = run(&["model", "info", &random, "--json"], b"");
    assert_eq!(serde_json::from_str::<Value>(&info.out).unwrap()["complete"], "yes");
}
