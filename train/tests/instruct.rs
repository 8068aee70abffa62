//! Records are what inference would send, and answers what it could say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use biomistral_nlu::task::*;
use biomistral_nlu::weights::{Architecture, ModelConfig, random_checkpoint};
use biomistral_nlu_train::Config;
use biomistral_nlu_train::instruct::{Built, InstructConfig, RunPlan, TaskPlan, build};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NOTE: &str = "Aspirin caused nausea. She took heparin too.";

/// Made-up corpora in official layouts, and a configuration that asks them everything once.
fn fixture(folder: &Path) -> InstructConfig {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("notes/1234567.txt", NOTE);
    write(
        "notes/1234567.ann",
        "T1\tDrug 0 7\tAspirin\nT2\tEffect 15 21\tnausea\nT3\tDrug 32 39\theparin\nT4\tCause 8 14\tcaused\n\
         E1\tCause:T4 Agent:T1 Theme:T2\nA1\tNegation E1\nR1\tCauses Arg1:T1 Arg2:T2\n",
    );
    let long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
    write("notes/1234568.txt", &format!("Here {long}."));
    write("notes/1234568.ann", "T1\tDrug 0 4\tHere\n");
    write("notes/1234569.txt", "Listed.");
    write("notes/1234569.ann", "T1\tDrug 0 6\tListed\n");
    // Inside a word: no grammar of words gives it.
    write("notes/1234570.txt", "Aspirinlike.");
    write("notes/1234570.ann", "T1\tDrug 0 7\tAspirin\n");
    write("gold/test.PubTator", &format!("99|t|{}\n99|a|Abstract.\n\n", long.to_uppercase().replace(' ', ", ")));
    write("not.json", r#"{"about": "ids", "notes": ["1234569"]}"#);
    write(
        "nli/x/dev.jsonl",
        "{\"premise\": \"It rains.\", \"hypothesis\": \"It is wet.\", \"label\": \"entailment\"}\n",
    );
    write("sts/a-train.csv", "A man runs.,A man is running.,4.6\n");
    write("mts/a.csv", "ID,section_header,section_text,dialogue\n0,CC,x,Doctor: what brings you here?\n");
    write(
        "qa/m/q.jsonl",
        "{\"question\": \"Which?\", \"options\": {\"A\": \"this\", \"B\": \"that\"}, \"answer_idx\": \"B\"}\n",
    );
    write(
        "mnlu.toml",
        r#"
exclusions = "not.json"
passages = [1]
max_tokens = 3000
evaluation = [{ name = "gold", reader = "pubtator", folder = "gold" }]
[run]
tokens = 100
shares = { extract = 1.0 }
loss_weights = { extract = 0.5, relate = 2.0 }
train = { output = "run", tuning = { method = "lora" } }
[[corpus]]
name = "notes"
reader = "brat"
folder = "notes"
licence = "made up"
[[corpus.task]]
kind = "extract"
cap = 9
empty = 1.0
labels = { Drug = ["drug", "medication"], Effect = { name = "effect", description = "what a drug does" } }
[[corpus.task]]
kind = "pick"
cap = 9
labels = { Drug = "drug", Effect = "effect" }
[[corpus.task]]
kind = "trigger"
cap = 9
labels = { Cause = "cause" }
[[corpus.task]]
kind = "argument"
cap = 9
events = { Cause = "cause" }
roles = { Agent = "agent", Theme = "theme" }
[[corpus.task]]
kind = "attribute"
cap = 9
events = { Cause = "CAUSE" }
[corpus.task.attributes.Negation]
label = "NEGATION"
values = { "" = "NEGATED" }
otherwise = "STATED"
[corpus.task.attributes.Severity]
label = "SEVERITY"
values = { High = "HIGH", Low = "LOW" }
absent = 1.0
[[corpus.task]]
kind = "classify"
multi = true
of = "events"
applies = 1.0
questions = 2
cap = 9
question = "Does it say this?"
classes = { Cause = "something is caused", Cure = "something is cured" }
[[corpus.task]]
kind = "relate"
cap = 9
labels = { Drug = "drug", Effect = "effect" }
[[corpus.task.relations]]
labels = ["Causes"]
text = "{head} causes {tail}."
head = ["Drug"]
tail = ["Effect"]
[[corpus.task.relations]]
text = "{head} treats {tail}."
head = ["Drug"]
tail = ["Effect"]
[[corpus]]
name = "general_nli"
folder = "nli"
licence = "made up"
task = [
    { kind = "entail", cap = 9, labels = { entailment = "entailment", neutral = "neutral" } },
    { kind = "answer", cap = 9, question = "Is it true that {second}?", labels = { entailment = "yes", neutral = "maybe" } },
]
[[corpus]]
name = "stsb"
folder = "sts"
licence = "made up"
task = [{ kind = "similar", cap = 9, scale = [0.0, 5.0], high = [5] }]
[[corpus]]
name = "mts_dialog"
folder = "mts"
licence = "made up"
task = [
    { kind = "classify", cap = 9, classes = { CC = "chief complaint", PLAN = "plan", EXAM = "examination" } },
    { kind = "classify", multi = true, cap = 9, question = "Is it this section?", classes = { CC = "chief complaint" } },
]
[[corpus]]
name = "mcqa"
folder = "qa"
licence = "made up"
task = [{ kind = "answer", cap = 9 }]
"#,
    );
    let config = ModelConfig {
        architecture: Architecture::Mistral,
        hidden_size: 32,
        intermediate_size: 48,
        layers: 1,
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
    InstructConfig::read(&folder.join("mnlu.toml")).unwrap()
}

fn built(folder: &Path, config: &InstructConfig, out: &str) -> Built {
    build(config, folder, &folder.join("model"), &folder.join(out), &mut |_| {}).unwrap()
}

/// Message, answer and options of each record of a task.
fn records(built: &Built, task: &str) -> Vec<(String, String, Vec<String>)> {
    let ending = format!(".{task}.jsonl");
    let files = built.train.iter().filter(|path| path.to_str().unwrap().ends_with(&ending));
    let lines =
        files.flat_map(|path| std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    let record = |line: String| {
        let line: Value = serde_json::from_str(&line).unwrap();
        let said = |i: usize| line["messages"][i]["content"].as_str().unwrap().to_owned();
        let options = line["options"].as_str().unwrap_or_default().split("[SEP]").map(str::to_owned).collect();
        (said(0), said(1), options)
    };
    lines.map(record).collect()
}

#[test]
fn records_are_what_inference_sends() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let built = built(folder.path(), &config, "out");
    let options = EngineOptions { model: folder.path().join("model"), ..EngineOptions::default() };
    let mut session = Arc::new(Engine::open(&options).unwrap()).session().unwrap();
    let run = RunOptions { show_prompt: true, ..RunOptions::default() };
    let policy = SpanPolicy { max_words: Some(2), max_spans: Some(1), ..SpanPolicy::default() };
    let shows = |prompts: &[ShownPrompt], message: &str| {
        assert!(prompts.iter().any(|shown| shown.prompt.contains(&format!("\n{message}</s>"))), "{message}");
    };
    let sentence = NOTE.split_inclusive(". ").next().unwrap().trim();
    let text_of = |message: &str| message.split_once("\nMedical text:").unwrap().1.to_owned();
    let document = |text: &str| vec![biomistral_nlu::task::Document { id: "d".to_owned(), text: text.to_owned() }];

    // Entities: the labels are those of the answer's lines, described where the message says so.
    let extract = records(&built, "extract");
    assert!(extract.iter().any(|(_, answer, _)| answer.to_lowercase().contains(": aspirin")));
    for (message, answer, _) in &extract {
        let label = |line: &str| {
            let name = line.split_once(':').unwrap().0;
            let described = message.contains(&format!("{name} means what a drug does."));
            Label { name: name.to_owned(), description: described.then(|| "what a drug does".to_owned()) }
        };
        let request = ExtractRequest { labels: answer.lines().map(label).collect(), policy: policy.clone() };
        let answers = session.extract(&document(&text_of(message)), &request, &run).unwrap();
        shows(&answers[0].as_ref().unwrap().prompts, message);
    }

    // A pair: the options in the record's order, "none" last.
    let relate = records(&built, "relate");
    let (message, answer, options) =
        relate.iter().find(|(message, ..)| message.contains("nausea")).expect("the pair with a relation");
    assert!(answer.ends_with("Aspirin causes nausea."), "{answer}");
    let spelled: Vec<&str> = message.split("Medical text:").nth(1).unwrap().split(['(', ')']).collect();
    let (drug, effect) = (spelled[1].to_owned(), spelled[3].to_owned());
    let relation = |option: &String| {
        let text = option.replace("Aspirin", "{head}").replace("nausea", "{tail}");
        let label = Label { name: text.clone(), description: Some(text) };
        Relation { label, head: vec![drug.clone()], tail: vec![effect.clone()], symmetric: false }
    };
    let relations = options[..options.len() - 1].iter().map(relation).collect();
    let mention = |label: &String, start: usize, end: usize| Mention { label: label.clone(), start, end };
    let entities = Some(vec![mention(&drug, 0, 7), mention(&effect, 15, 21)]);
    let documents = [RelateDocument { id: "d".to_owned(), text: sentence.to_owned(), entities }];
    let request = RelateRequest { relations, ..RelateRequest::default() };
    shows(&session.relate(&documents, &request, &run).unwrap()[0].as_ref().unwrap().prompts, message);

    // Choices.
    let labels = |options: &[String]| options.iter().map(Label::new).collect::<Vec<Label>>();
    let (message, answer, options) = &records(&built, "classify")[0];
    assert!(answer.to_lowercase().ends_with("chief complaint"));
    let request = ClassifyRequest { classes: labels(options), ..ClassifyRequest::default() };
    let answers = session.classify(&document(&text_of(message)), &request, &run).unwrap();
    let ClassifyAnswer::Single(single) = answers[0].as_ref().unwrap() else { panic!("one class") };
    shows(&single.prompts, message);

    let multi = records(&built, "classify_multi");
    let (message, answer, _) = multi.iter().find(|(message, ..)| message.contains("this section")).unwrap();
    assert_eq!(answer, "(A) Yes");
    let class = message.lines().find_map(|line| line.strip_prefix("Class: ")).unwrap();
    let question = Some("Is it this section?".to_owned());
    let classes = labels(&[class.to_owned(), "other".to_owned()]);
    let request = ClassifyRequest { question, classes, multi: true, ..ClassifyRequest::default() };
    let answers = session.classify(&document(&text_of(message)), &request, &run).unwrap();
    let ClassifyAnswer::Multi(multi) = answers[0].as_ref().unwrap() else { panic!("several classes") };
    shows(&multi.prompts, message);

    let asked = records(&built, "answer");
    let (message, answer, options) = asked.iter().find(|(message, ..)| message.contains("Which?")).unwrap();
    assert!(answer.ends_with(" that"));
    let question = Question { question: Some("Which?".to_owned()), options: options.clone(), ..Question::default() };
    let answers = session.answer(&[question], &AnswerRequest::default(), &run).unwrap();
    shows(&answers[0].as_ref().unwrap().prompts, message);

    let (message, _, options) = &records(&built, "entail")[0];
    let pair =
        Inference { premise: "It rains.".to_owned(), hypothesis: "It is wet.".to_owned(), ..Inference::default() };
    let request = EntailRequest { options: options.clone(), ..EntailRequest::default() };
    shows(&session.entail(&[pair], &request, &run).unwrap()[0].as_ref().unwrap().prompts, message);

    let (message, answer, _) = &records(&built, "similar")[0];
    assert_eq!(answer, "(F) 5", "4.6 is nearer to 5");
    let (text1, text2) = ("A man runs.".to_owned(), "A man is running.".to_owned());
    let pair = TextPair { text1, text2, ..TextPair::default() };
    let answers = session.similar(&[pair], &SimilarRequest::default(), &run).unwrap();
    shows(&answers[0].as_ref().unwrap().prompts, message);
}

#[test]
fn pairs_are_asked_as_questions_and_events_as_classes() {
    let folder = tempfile::tempdir().unwrap();
    let built = built(folder.path(), &fixture(folder.path()), "out");
    let asked = records(&built, "answer");
    let (message, answer, options) = asked.iter().find(|(message, ..)| message.contains("true")).unwrap();
    assert!(message.contains("\nQuestion: Is it true that It is wet?\n"), "{message}");
    assert!(message.ends_with("\nMedical text:It rains.") && answer.ends_with(" yes"), "{message} {answer}");
    assert!(options.len() == 2 && options.contains(&"maybe".to_owned()), "{options:?}");

    // The first sentence has the event, the second none: there every class is one that does not apply.
    let mut made: Vec<_> = records(&built, "classify_multi");
    made.retain(|(message, ..)| message.starts_with("Does it say this?"));
    assert_eq!(made.len(), 3, "two sentences and the note of one word");
    for (message, answer, _) in made {
        let (class, text) = message.split_once("Class: ").unwrap().1.split_once("\nMedical text:").unwrap();
        let applies = class.to_lowercase() == "something is caused" && text == "Aspirin caused nausea.";
        assert_eq!(answer == "(A) Yes", applies, "{message}");
        assert!(text != "Aspirin caused nausea." || applies, "{message}");
    }
}

#[test]
fn several_questions_about_a_text_are_about_different_classes_and_half_apply() {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path());
    let path = folder.path().join("mnlu.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let events = text.find("of = \"events\"").unwrap();
    let end = events + text[events..].find("[[").unwrap();
    let mentions = "of = \"mentions\"\nquestions = 3\ncap = 20\nquestion = \"Is one named?\"\n\
        classes = { Drug = \"drug\", Effect = \"effect\", Dose = \"dose\", Age = \"age\", Place = \"place\" }\n";
    std::fs::write(&path, format!("{}{mentions}{}", &text[..events], &text[end..])).unwrap();
    let config = InstructConfig::read(&path).unwrap();
    let (mut yes, mut no, mut both) = (0, 0, 0);
    for seed in 0..40 {
        let built = built(folder.path(), &InstructConfig { seed, ..config.clone() }, &format!("seed {seed}"));
        let made = records(&built, "classify_multi").into_iter().filter(|(m, ..)| m.starts_with("Is one named?"));
        let mut asked = std::collections::BTreeMap::<String, Vec<(String, bool)>>::new();
        for (message, answer, _) in made {
            let (class, text) = message.split_once("Class: ").unwrap().1.split_once("\nMedical text:").unwrap();
            let class = class.to_lowercase();
            let stands = class == "drug" || class == "effect" && text.contains("nausea");
            assert_eq!(answer == "(A) Yes", stands, "{message}");
            asked.entry(text.to_owned()).or_default().push((class, stands));
        }
        assert_eq!(asked.len(), 3);
        for (text, mut classes) in asked {
            let stand = classes.iter().filter(|(_, stands)| *stands).count();
            (yes, no) = (yes + stand, no + classes.len() - stand);
            both += usize::from(stand > 0 && stand < classes.len());
            // A second "no" about a text whose every class was asked would make "no" the better guess.
            assert!(classes.len() == 3 || stand == if text.contains("nausea") { 2 } else { 1 }, "{text} {classes:?}");
            let questions = classes.len();
            classes.sort();
            classes.dedup();
            assert!(questions <= 3 && classes.len() == questions, "{text} {classes:?}");
        }
    }
    let share = f64::from(yes as u32) / f64::from((yes + no) as u32);
    // Three standard deviations of some 240 answers, half of them yes.
    assert!((share - 0.5).abs() < 0.1 && both > 40, "{yes} yes, {no} no, {both} texts with both");

    for (right, wrong) in [("questions = 2", "questions = 0"), ("multi = true\nof = \"events\"", "of = \"events\"")] {
        assert!(text.contains(right));
        std::fs::write(&path, text.replace(right, wrong)).unwrap();
        assert!(InstructConfig::read(&path).unwrap_err().to_string().contains("questions"), "{wrong}");
    }
}

#[test]
fn the_word_to_pick_is_of_the_label_and_no_other_is() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let labels = [("Aspirin", "drug"), ("nausea", "effect"), ("heparin", "drug")];
    let (mut letters, mut asked) = (std::collections::BTreeSet::new(), 0);
    for seed in 0..12 {
        let built = built(folder.path(), &InstructConfig { seed, ..config.clone() }, &format!("pick {seed}"));
        for (message, answer, options) in records(&built, "pick") {
            asked += 1;
            letters.insert(answer[..3].to_owned());
            let (head, text) = message.split_once("\nMedical text:").unwrap();
            let question = head.lines().find_map(|line| line.strip_prefix("Question: ")).unwrap().to_lowercase();
            let of = |option: &str| labels.iter().find(|(span, _)| *span == option).map(|(_, label)| *label);
            let right = answer.split_once(") ").unwrap().1;
            let label = of(right).unwrap_or("drug");
            assert!(question.contains(&format!(" {label} ")) && text.contains(right), "{message} {answer}");
            let fits = |option: &&String| text.contains(option.as_str()) && of(option).is_none_or(|of| of == label);
            assert_eq!(options.iter().filter(fits).count(), 1, "{message}");
            assert!((2..=6).contains(&options.len()));
        }
    }
    assert!(asked >= 24 && letters.len() >= 2, "{asked} records, {letters:?}");
}

#[test]
fn neither_the_number_of_options_nor_a_single_label_gives_the_answer_away() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let (mut options_of_relations, mut alone, mut nothing) = (Vec::new(), 0, 0);
    for seed in 0..40 {
        let built = built(folder.path(), &InstructConfig { seed, ..config.clone() }, &format!("seed {seed}"));
        for (message, answer, options) in records(&built, "relate") {
            let (none, others) = options.split_last().unwrap();
            assert_eq!(none, "None of the above.");
            let stated = others.contains(&"Aspirin causes nausea.".to_owned());
            assert!(
                !message.contains("nausea") || (stated && answer.ends_with("causes nausea.")),
                "{message} {answer}"
            );
            options_of_relations.push(options.len());
        }
        for (message, answer, _) in records(&built, "extract") {
            if message.contains("heparin") && answer.lines().count() == 1 {
                alone += 1;
                nothing += usize::from(answer.ends_with(": None"));
            }
        }
    }
    // Every build has the pair once; one relation is left out in about every second.
    let both = options_of_relations.iter().filter(|&&n| n == 3).count();
    assert!(options_of_relations.iter().all(|n| (2..=3).contains(n)));
    assert!((options_of_relations.len() / 5..options_of_relations.len() * 4 / 5).contains(&both), "{both}");
    // The second sentence has a drug and no effect. A share of one half misses these bounds once in 10^4 of 18 throws.
    assert!(alone > 10 && (alone / 8..alone * 7 / 8 + 1).contains(&nothing), "{nothing} of {alone}");
}

#[test]
fn of_a_label_the_share_to_keep_is_asked_and_of_others_all() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let asked = |label: &str, share: f64, seed: u64| {
        let mut config = InstructConfig { seed, ..config.clone() };
        for task in config.corpus.iter_mut().flat_map(|corpus| &mut corpus.task) {
            if let TaskPlan::Answer { keep, labels, .. } = task
                && !labels.is_empty()
            {
                keep.insert(label.to_owned(), share);
            }
        }
        let built = built(folder.path(), &config, &format!("keep {label} {share} {seed}"));
        records(&built, "answer").iter().filter(|(message, ..)| message.contains("Is it true")).count()
    };
    assert_eq!([asked("entailment", 0.0, 1), asked("entailment", 1.0, 1), asked("neutral", 0.0, 1)], [0, 1, 1]);
    // A share of one half misses these bounds once in 10^3 choices of 24 seeds.
    let half: usize = (0..24).map(|seed| asked("entailment", 0.5, seed)).sum();
    assert!((4..=20).contains(&half), "{half} of 24");

    let path = folder.path().join("mnlu.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    for keep in ["{ entailed = 0.5 }", "{ entailment = 1.5 }"] {
        let labels = "labels = { entailment = \"yes\", neutral = \"maybe\" }";
        let wrong = text.replace(labels, &format!("{labels}, keep = {keep}"));
        assert_ne!(wrong, text);
        std::fs::write(&path, wrong).unwrap();
        assert!(InstructConfig::read(&path).unwrap_err().to_string().contains("keep"), "{keep}");
    }
}

#[test]
fn a_run_on_a_task_or_corpus_that_there_is_not_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let plan = config.run.clone().unwrap();
    let shares = RunPlan { shares: [("answers".to_owned(), 1.0)].into(), ..plan.clone() };
    let weights = RunPlan { weights: [("mcq".to_owned(), 1.0)].into(), ..plan.clone() };
    let loss = RunPlan { loss_weights: [("choice".to_owned(), 1.0)].into(), ..plan };
    for (run, named) in [
        (shares, "shares: expected names in the configuration's corpora, found \"answers\""),
        (weights, "\"mcq\""),
        (loss, "loss_weights: expected names in the configuration's corpora, found \"choice\""),
    ] {
        let (config, out) = (InstructConfig { run: Some(run), ..config.clone() }, folder.path().join("none"));
        let error = build(&config, folder.path(), &folder.path().join("model"), &out, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
        assert!(!out.exists());
    }
}

#[test]
fn a_weight_moves_tokens_from_one_corpus_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let taken = |weight: f64, out: &str| -> Vec<f64> {
        let mut run = config.run.clone().unwrap();
        run.shares = [("answer".to_owned(), 1.0)].into();
        run.weights = [("mcqa".to_owned(), weight)].into();
        let built = built(folder.path(), &InstructConfig { run: Some(run), ..config.clone() }, out);
        let tokens = |corpus: &str| {
            let card = built.card.corpora.iter().find(|card| card.name == corpus).unwrap();
            card.tasks.iter().find(|task| task.task == "answer").unwrap().tokens[0] as f64
        };
        let run = Config::read(&folder.path().join(out).join("train.toml")).unwrap();
        let rate = |corpus: &str| run.train.iter().find(|one| one.file.ends_with(format!("{corpus}.answer.jsonl")));
        ["general_nli", "mcqa"].map(|corpus| rate(corpus).unwrap().rate * tokens(corpus)).to_vec()
    };
    let (even, heavy) = (taken(1.0, "even"), taken(3.0, "heavy"));
    // Rates have four digits, rounded up.
    assert!((even.iter().sum::<f64>() - 100.0).abs() < 0.5 && (heavy.iter().sum::<f64>() - 100.0).abs() < 0.5);
    assert!((heavy[1] / heavy[0] / (even[1] / even[0]) - 3.0).abs() < 0.01, "{even:?} {heavy:?}");
}

#[test]
fn attributes_are_choices_for_the_marked_event() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let mut made = records(&built(folder.path(), &config, "out"), "attribute");
    made.sort();
    let [(negation, negated, _), (severity, absent, _)] = made.as_slice() else { panic!("two records: {made:?}") };
    let head = "Choose the best NEGATION value for the marked CAUSE event in the medical text.\nOptions:\n(A) ";
    let tail = "\nThe event is <caused>(CAUSE).\nMedical text:Aspirin <caused>(CAUSE) nausea.";
    assert!(negation.starts_with(head) && negation.ends_with(tail), "{negation}");
    assert!(negated.ends_with(" NEGATED") && negation.contains(&format!("{negated}\n")), "{negated}");
    assert!(negation.contains(" STATED\n"), "{negation}");
    assert_eq!(absent, "(C) Not Applicable - SEVERITY is not mentioned for the event.");
    assert!(severity.contains(absent.as_str()) && severity.contains(" HIGH\n") && severity.contains(" LOW\n"));
}

#[test]
fn several_wordings_change_what_is_asked_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let first = built(folder.path(), &config, "first");
    let config = InstructConfig { phrasings: 3, ..config };
    let several = built(folder.path(), &config, "several");
    let tasks = [
        "extract",
        "trigger",
        "argument",
        "attribute",
        "relate",
        "classify",
        "classify_multi",
        "answer",
        "entail",
        "similar",
    ];
    let mut changed = 0;
    for task in tasks {
        let (mut one, mut other) = (records(&first, task), records(&several, task));
        let answers = |records: &mut Vec<(String, String, Vec<String>)>| {
            records.sort_by(|a, b| (&a.1, &a.2).cmp(&(&b.1, &b.2)));
            records.iter().map(|(_, answer, options)| (answer.clone(), options.clone())).collect::<Vec<_>>()
        };
        assert_eq!(answers(&mut one), answers(&mut other), "{task}");
        changed += one.iter().zip(&other).filter(|(a, b)| a.0 != b.0).count();
        // The text is not touched.
        let text = |message: &str| message.split_once("\nMedical text:").map(|(_, text)| text.to_owned());
        assert!(one.iter().zip(&other).all(|(a, b)| text(&a.0) == text(&b.0)), "{task}");
    }
    let all: usize = tasks.iter().map(|task| records(&first, task).len()).sum();
    assert!(changed > all / 3 && changed < all, "{changed} of {all} records in another wording, of two thirds");
}

#[test]
fn a_build_says_what_it_leaves_out_and_repeats_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let config = fixture(folder.path());
    let first = built(folder.path(), &config, "first");
    let notes = &first.card.corpora[0];
    assert_eq!(notes.read, 4);
    let overlap: Vec<_> = notes.overlap.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(overlap, [("13-gram in gold", 1), ("id on the exclusion list", 1)]);
    let list = std::fs::read_to_string(folder.path().join("first/overlap.tsv")).unwrap();
    assert!(list.contains("notes\t1234568\t13-gram in gold") && list.contains("notes\t1234569\tid on"));
    let extract = &notes.tasks[0];
    assert!(extract.dropped.keys().any(|reason| reason.contains("inside a word")), "{:?}", extract.dropped);
    assert_eq!(extract.records[0], 2, "the sentences of the first note");

    let second = built(folder.path(), &config, "second");
    assert_eq!(first.card.hash, second.card.hash);
    let other = InstructConfig { seed: 7, ..config.clone() };
    assert_ne!(first.card.hash, built(folder.path(), &other, "third").card.hash);
    assert!(
        build(&config, folder.path(), &folder.path().join("model"), &folder.path().join("first"), &mut |_| {}).is_err()
    );

    // What it wrote is a run that the trainer takes.
    let run = Config::read(&folder.path().join("first/train.toml")).unwrap();
    let files: Vec<PathBuf> = run.train.iter().map(|corpus| corpus.file.clone()).collect();
    assert_eq!(files, [folder.path().join("first/train/notes.extract.jsonl")]);
    assert_eq!(run.train[0].loss_weight, 0.5);
}
