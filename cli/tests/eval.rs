//! `bmn eval` over made-up files in the official layouts, with a model of random weights.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use biomistral_nlu::weights::{Architecture, ModelConfig, random_checkpoint};
use common::{Ran, read_lines, run, write};
use serde_json::Value;
use std::path::Path;

/// A word that stands in every text, and so may stand in no message.
const SECRET: &str = "zebramycin";

const SUITE: &str = r#"
name = "Made up"
[[set]]
name = "notes"
reader = "brat"
folder = "notes"
metric = "entity_f1"
task = { kind = "extract", labels = [{ name = "drug", gold = ["Drug"] }, { name = "problem", gold = ["Problem"], description = "a disease" }] }
[[set]]
name = "pairs"
reader = "gad"
folder = "gad"
splits = { train = ["train"], test = ["test"] }
metric = "micro_f1"
task = { kind = "relate", listed = true, labels = [{ name = "gene" }, { name = "disease" }], relations = [{ name = "associated", text = "{head} is associated with {tail}.", head = ["gene"], tail = ["disease"] }] }
[[set]]
name = "hallmarks"
reader = "hoc"
folder = "hoc"
metric = "example_f1"
task = { kind = "classify", multi = true, classes = [{ name = "growth" }, { name = "death" }] }
[[set]]
name = "questions"
reader = "pubmedqa"
folder = "pubmedqa"
splits = { dev = ["ori_pqal"], test = ["test"] }
metric = "accuracy"
task = { kind = "answer" }
[[set]]
name = "inference"
reader = "mednli"
folder = "mednli"
metric = "accuracy"
task = { kind = "entail", labels = [{ name = "entailment" }, { name = "neutral" }, { name = "contradiction" }] }
[[set]]
name = "similarity"
reader = "biosses"
folder = "biosses"
metric = "pearson"
task = { kind = "similar", scale = [0, 4] }
[[set]]
name = "elsewhere"
reader = "brat"
folder = "nowhere"
metric = "entity_f1"
task = { kind = "extract", labels = [{ name = "drug" }] }
[[absent]]
name = "locked"
why = "needs a licence"
"#;

fn fixture(folder: &Path) {
    let config = ModelConfig {
        architecture: Architecture::Mistral,
        hidden_size: 32,
        intermediate_size: 48,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        vocab_size: 340,
        rope_theta: 1e4,
        rms_norm_eps: 1e-5,
        sliding_window: None,
        max_positions: 8192,
        tied_head: false,
    };
    random_checkpoint(&config, 3, &folder.join("model"), &mut |_, _| true).unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/tokenizer_model/tiny.model");
    std::fs::copy(tokenizer, folder.join("model/tokenizer.model")).unwrap();
    write(folder, "suite.toml", SUITE);
    for name in ["notes", "gad", "hoc", "pubmedqa", "mednli", "biosses"] {
        std::fs::create_dir_all(folder.join("corpora/in").join(name)).unwrap();
    }
    let at = folder.join("corpora/in");
    for i in 0..9 {
        write(&at, &format!("notes/n{i}.txt"), format!("Note {i}. Gave {SECRET} for pain.\n"));
        let drug = format!("T1\tDrug 13 23\t{SECRET}\nT2\tProblem 28 32\tpain\n");
        write(&at, &format!("notes/n{i}.ann"), if i % 3 == 2 { String::new() } else { drug });
    }
    let pair = |i: usize| format!("{i} @GENE$ and {SECRET} in @DISEASE$.\t{}\n", i % 2);
    write(&at, "gad/train.tsv", (0..8).map(pair).collect::<String>());
    write(&at, "gad/test.tsv", (10..16).map(pair).collect::<String>());
    let class =
        |i: usize| format!("{}_s{i}\tCells and {SECRET} {i}.\t{}\n", i / 2, ["growth", "growth,death", ""][i % 3]);
    write(&at, "hoc/test.tsv", format!("index\tsentence\tlabels\n{}", (0..24).map(class).collect::<String>()));
    let question = |i: usize| {
        let answer = ["yes", "no", "maybe"][i % 3];
        format!(
            "\"{i}\": {{\"QUESTION\": \"Is {SECRET} {i}?\", \"CONTEXTS\": [\"It may be.\"], \"final_decision\": \"{answer}\"}}"
        )
    };
    let questions: Vec<String> = (0..12).map(question).collect();
    write(&at, "pubmedqa/ori_pqal.json", format!("{{{}}}", questions.join(",")));
    write(
        &at,
        "pubmedqa/test_ground_truth.json",
        r#"{"3": "", "4": "", "5": "", "6": "", "7": "", "8": "", "9": "", "10": "", "11": ""}"#,
    );
    let inference = |i: usize| {
        let label = ["entailment", "neutral", "contradiction"][i % 3];
        format!(
            "{{\"pairID\": \"p{i}\", \"sentence1\": \"Took {SECRET}.\", \"sentence2\": \"Case {i}.\", \"gold_label\": \"{label}\"}}\n"
        )
    };
    write(&at, "mednli/mli_test_v1.jsonl", (0..8).map(inference).collect::<String>());
    let similar = |i: usize| format!("{i}\tTook {SECRET} {i}.\tGiven {i}.\t{}\n", i % 5);
    write(
        &at,
        "biosses/test.tsv",
        format!("index\tsentence1\tsentence2\tscore\n{}", (0..8).map(similar).collect::<String>()),
    );
}

fn eval(folder: &Path, more: &[&str]) -> Ran {
    let text = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (suite, model, corpora) = (text("suite.toml"), text("model"), text("corpora"));
    let mut args = vec!["eval", &suite, "--model", &model, "--corpora", &corpora, "--split", "test", "--device", "cpu"];
    args.extend(more);
    run(&args, b"")
}

/// Lines without what the clock decides.
fn answers(path: &Path) -> Vec<Value> {
    let mut lines = read_lines(path.to_str().unwrap());
    lines.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("seconds")));
    lines
}

#[test]
fn a_benchmark_is_run_resumed_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path());
    let out = folder.path().join("runs/a");
    let path = out.to_str().unwrap();
    let ran = eval(folder.path(), &["--out", path]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for expected in [
        "| notes | entity_f1 |",
        "| similarity | pearson |",
        "elsewhere: nowhere: no such folder",
        "locked: needs a licence",
    ] {
        assert!(ran.out.contains(expected), "{expected}: {}", ran.out);
    }
    assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET), "words of a document in a message");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    let sets = report["sets"].as_array().unwrap();
    let counts: Vec<_> =
        sets.iter().map(|set| (set["documents"].as_u64().unwrap(), set["items"].as_u64().unwrap())).collect();
    // Notes are read by sentence, sentences of hallmarks belong to twelve articles, nine questions are the test's.
    assert_eq!(counts, [(9, 18), (6, 6), (12, 24), (9, 9), (8, 8), (8, 8)]);
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("Reliability") && !html.contains("<script"));

    // Offsets are those of the document, whatever passage it was read in.
    for line in answers(&out.join("notes.jsonl")) {
        let number = &line["document"].as_str().unwrap()[1..];
        let text = format!("Note {number}. Gave {SECRET} for pain.\n");
        let (gold, given) = (&line["gold"]["spans"], &line["answer"]["spans"]["spans"]);
        for place in gold.as_array().unwrap().iter().chain(given.as_array().unwrap()) {
            let at = |key: &str| place[key].as_u64().unwrap() as usize;
            assert_eq!(&text[at("start")..at("end")], place["text"].as_str().unwrap());
        }
    }

    // A folder is not run over; cut off in the middle of a line, it goes on to the same answers, and only as the same run.
    assert_eq!(eval(folder.path(), &["--out", path]).code, 2);
    let whole = answers(&out.join("questions.jsonl"));
    let text = std::fs::read_to_string(out.join("questions.jsonl")).unwrap();
    std::fs::write(out.join("questions.jsonl"), &text[..text.len() / 2]).unwrap();
    std::fs::remove_file(out.join("inference.jsonl")).unwrap();
    let inferred: Vec<Value> = sets[4]["measures"].as_array().unwrap().clone();
    assert_eq!(eval(folder.path(), &["--out", path, "--resume", "--limit", "2"]).code, 2);
    assert_eq!(eval(folder.path(), &["--out", path, "--resume", "--batch", "3"]).code, 0);
    assert_eq!(answers(&out.join("questions.jsonl")), whole);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["sets"][4]["measures"].as_array().unwrap(), &inferred);

    // Examples of documents that are not evaluated, and the runs side by side.
    let shots = folder.path().join("runs/b");
    let ran = eval(
        folder.path(),
        &["--out", shots.to_str().unwrap(), "--shots", "2", "--only", "pairs,hallmarks,questions", "--quiet"],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.is_empty(), "{}", ran.err);
    assert_ne!(answers(&shots.join("pairs.jsonl")), answers(&out.join("pairs.jsonl")));
    assert!(ran.out.contains("examples are of the same split: 2 documents left out"), "{}", ran.out);
    let ran = run(&["eval", "--compare", path, path, shots.to_str().unwrap()], b"");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("Not in every run: notes, inference, similarity, elsewhere."), "{}", ran.out);
    let pairs = ran.out.lines().find(|line| line.starts_with("| pairs")).unwrap();
    assert!(
        pairs.starts_with("| pairs | micro_f1 | 6 |") && pairs.contains("+0.000 (+0.000 to +0.000) | 1.000"),
        "{pairs}"
    );
}

#[test]
fn mistakes_are_told_before_a_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let eval = |suite: &str, more: &[&str]| {
        let corpora = at("");
        let mut args = vec!["eval", suite, "--model", "nowhere", "--corpora", &corpora];
        args.extend(more);
        run(&args, b"")
    };
    assert_eq!(eval("green", &[]).code, 2);
    assert_eq!(eval("blue", &["--only", "bc5cdr_gene"]).code, 2);
    // No set is there: each is named with what was looked for.
    let ran = eval("blurb", &[]);
    assert!(ran.code == 1 && ran.err.contains("pubmedqa: pubmedqa: no such folder"), "{}", ran.err);
    let wrong = write(folder.path(), "w.toml", SUITE.replace("metric = \"pearson\"", "metric = \"accuracy\""));
    let ran = eval(&wrong, &[]);
    assert!(
        ran.code == 1 && ran.err.contains("similarity: expected a metric of pearson, spearman, found accuracy"),
        "{}",
        ran.err
    );
    assert_eq!(run(&["eval", "blue"], b"").code, 2);
    assert_eq!(run(&["eval", "--compare", &at("a")], b"").code, 2);
}
