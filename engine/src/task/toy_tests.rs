//! The tasks over a model whose logits are a hash of all it has read: every probability is recomputed by brute force.

use super::*;
use crate::Error;
use crate::decode::toy::Toy;
use crate::text::tests::tiny_byte_level;
use crate::text::{ChatTemplate, Tokenizer};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Instant;

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn engine(seed: u64, context: usize) -> Arc<Engine> {
    let tokenizer = Arc::new(tiny_byte_level());
    let model = Arc::new(Toy::new(seed, tokenizer.vocab_size(), context));
    let template = Some(ChatTemplate::new(CHATML).unwrap());
    let settings = ModelSettings::default();
    let parts = EngineParts { model, tokenizer, weights: "toy".into(), template, settings };
    Arc::new(Engine::from_parts(parts).unwrap())
}

fn document(text: &str) -> Document {
    Document { id: "d".into(), text: text.into() }
}

fn labels(names: &[&str]) -> Vec<Label> {
    names.iter().map(|name| Label::new(*name)).collect()
}

fn few() -> SpanPolicy {
    SpanPolicy { max_words: Some(3), max_spans: Some(3), ..SpanPolicy::default() }
}

fn shown(unit: OffsetUnit) -> RunOptions<'static> {
    RunOptions { unit, show_prompt: true, ..RunOptions::default() }
}

fn one<A>(answers: crate::Result<Vec<crate::Result<A>>>) -> A {
    answers.unwrap().pop().unwrap().unwrap()
}

/// `Σ log p(token | history)`, one full row at a time.
fn score(seed: u64, tokenizer: &Tokenizer, prompt: &[u32], tokens: &[u32]) -> f64 {
    let toy = Toy::new(seed, tokenizer.vocab_size(), usize::MAX);
    let mut history = prompt.to_vec();
    let mut total = 0.0;
    for &token in tokens {
        total += toy.log_probs(None, &history)[token as usize];
        history.push(token);
    }
    total
}

fn slice(text: &str, unit: OffsetUnit, start: usize, end: usize) -> String {
    match unit {
        OffsetUnit::Byte => text[start..end].to_owned(),
        OffsetUnit::CodePoint => text.chars().skip(start).take(end - start).collect(),
        OffsetUnit::Utf16 => String::from_utf16(&text.encode_utf16().collect::<Vec<_>>()[start..end]).unwrap(),
    }
}

fn units() -> impl Strategy<Value = OffsetUnit> {
    prop_oneof![Just(OffsetUnit::Byte), Just(OffsetUnit::CodePoint), Just(OffsetUnit::Utf16)]
}

/// Clinical-looking text with combining marks, emoji, control look-alikes and line breaks.
fn notes() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("pain"),
        Just("ache"),
        Just("e\u{301}cho"),
        Just("5µg"),
        Just("👩‍⚕️"),
        Just("</s>"),
        Just("he."),
        Just("x...y"),
        Just("None"),
        Just("..."),
        Just("𝛂-block"),
        Just("tell"),
        Just("<|im_end|>"),
    ];
    let gap = prop_oneof![4 => Just(" "), 1 => Just("\n"), 1 => Just("  "), 1 => Just(", ")];
    prop::collection::vec((word, gap), 0..25).prop_map(|parts| parts.into_iter().flat_map(|(a, b)| [a, b]).collect())
}

#[test]
fn the_zephyr_prompt_is_the_references() {
    let request = ExtractRequest { labels: labels(&["pain"]), policy: few() };
    let engine = engine(1, 4000);
    let answer =
        one(engine.session().unwrap().extract(&[document("He said </s>.")], &request, &shown(OffsetUnit::Byte)));
    assert_eq!(
        answer.prompts[0].prompt,
        "<|user|>\nExtract the text spans of each entity type from the medical text, exactly as they are written \
there.\nYour answer should use the following format, with one entity type per line. The span refers to the original \
text span from the Medical text. Output None if there is no such span. Use `...' to separate multiple spans.\npain: \
span\nMedical text:He said </s>.</s>\n<|assistant|>\n"
    );
    // One end of the message, none from the text.
    let end = engine.tokenizer().control("</s>").unwrap();
    assert_eq!(answer.prompts[0].prompt_ids.iter().filter(|&&id| id == end).count(), 1);
    assert_eq!(answer.prompts[0].answer_ids.last(), Some(&end));
    assert_eq!(answer.provenance.template, "zephyr");
}

#[test]
fn the_models_own_template_where_asked_for() {
    let engine = engine(1, 4000);
    let request = ClassifyRequest { classes: labels(&["a", "b"]), ..ClassifyRequest::default() };
    let run = RunOptions { template: Some(Template::Model), ..shown(OffsetUnit::Byte) };
    let ClassifyAnswer::Single(answer) = one(engine.session().unwrap().classify(&[document("t")], &request, &run))
    else {
        panic!("expected one class")
    };
    assert_eq!(
        answer.prompts[0].prompt,
        "<|im_start|>user\nChoose the class that describes the medical text best.\nOptions:\n(A) a\n(B) b\n\
Medical text:t<|im_end|>\n<|im_start|>assistant\n"
    );
    let end = engine.tokenizer().control("<|im_end|>").unwrap();
    for (candidate, text) in answer.prompts[0].candidates.iter().zip(["(A) a", "(B) b"]) {
        assert_eq!((candidate.text.as_str(), candidate.ids.last()), (text, Some(&end)));
        assert_eq!(engine.tokenizer().decode(&candidate.ids[..candidate.ids.len() - 1]), text.as_bytes());
    }
    assert_eq!(answer.provenance.template, "model");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn spans_are_verbatim_in_the_unit_and_scored_by_the_tokens_shown(seed: u64, text in notes(), unit in units()) {
        let engine = engine(seed, 20_000);
        let tokenizer = engine.tokenizer();
        let request = ExtractRequest { labels: labels(&["one", "two", "three"]), policy: few() };
        let answer = one(engine.session().unwrap().extract(&[document(&text)], &request, &shown(unit)));
        for span in &answer.spans {
            prop_assert_eq!(&slice(&text, unit, span.start, span.end), &span.text);
            for place in &span.occurrences {
                prop_assert_eq!(&slice(&text, unit, place.start, place.end), &span.text);
            }
        }
        // The answer's text says the spans, in the format of the reference.
        let prompt = &answer.prompts[0];
        let said = String::from_utf8(tokenizer.decode(&prompt.answer_ids)).unwrap();
        let lines: Vec<String> = request.labels.iter().map(|label| {
            let spans: Vec<&str> = answer.spans.iter().filter(|s| s.label == label.name).map(|s| s.text.as_str()).collect();
            engine.prompts().span_line(&label.name, &spans)
        }).collect();
        prop_assert_eq!(said, lines.join("\n"));
        // P(None) of each label, and all log-probabilities together.
        let whole = score(seed, tokenizer, &prompt.prompt_ids, &prompt.answer_ids);
        let spans: f64 = answer.spans.iter().map(|span| span.logprob.unwrap()).sum();
        prop_assert!(spans >= whole - 1e-9);
        let mut line_start = 0;
        for (i, (label, line)) in answer.labels.iter().zip(&lines).enumerate() {
            let head = tokenizer.encode_after("\n", &format!("{}:", label.label)).unwrap();
            let mut none = tokenizer.encode_after(":", " None").unwrap();
            let end = if i == 2 { *prompt.answer_ids.last().unwrap() } else { tokenizer.encode_after("x", "\n").unwrap()[0] };
            none.push(end);
            let history = [&prompt.prompt_ids[..], &prompt.answer_ids[..line_start + head.len()]].concat();
            let expected = score(seed, tokenizer, &history, &none).exp();
            prop_assert!((label.none_probability.unwrap() - expected).abs() < 1e-12);
            line_start += tokenizer.encode_after("\n", line).unwrap().len() + 1;
        }
    }

    #[test]
    fn posteriors_are_brute_force_rotations_and_calibration_included(
        seed: u64, n in 2usize..6, permute in 1usize..8, calibrate: bool, letter: bool, text in notes(),
    ) {
        let engine = engine(seed, 20_000);
        let style = if letter { ChoiceStyle::Letter } else { ChoiceStyle::Full };
        let classes: Vec<Label> = (0..n).map(|i| Label::new(format!("class {i}"))).collect();
        let choice = ChoiceRules { style, permute, calibrate };
        let request = ClassifyRequest { classes, choice, ..ClassifyRequest::default() };
        let answers = engine.session().unwrap().classify(&[document(&text)], &request, &shown(OffsetUnit::Byte));
        let ClassifyAnswer::Single(answer) = one(answers) else { panic!("expected one class") };
        let rotations = permute.min(n);
        prop_assert_eq!(answer.prompts.len(), rotations * (1 + usize::from(calibrate)));
        let (mut own, mut free) = (vec![0.0; n], vec![0.0; n]);
        for prompt in &answer.prompts {
            let sums = if prompt.purpose == "calibrate" { &mut free } else { &mut own };
            prop_assert_eq!(prompt.purpose == "calibrate", prompt.prompt.contains("Medical text:N/A</s>"));
            for (i, candidate) in prompt.candidates.iter().enumerate() {
                let expected = score(seed, engine.tokenizer(), &prompt.prompt_ids, &candidate.ids);
                prop_assert!((candidate.logprob - expected).abs() < 1e-9);
                sums[i] += expected.exp() / rotations as f64;
                prop_assert_eq!(&candidate.label, &format!("class {i}"));
                let ends = format!(") class {i}");
                let line = if letter { format!("\n{} class {i}\n", candidate.text) } else { format!("\n{}\n", candidate.text) };
                prop_assert!(letter || candidate.text.ends_with(&ends));
                prop_assert!(prompt.prompt.contains(&line));
            }
        }
        let weights: Vec<f64> = (0..n).map(|i| if calibrate { own[i] / free[i] } else { own[i] }).collect();
        let total: f64 = weights.iter().sum();
        for (i, option) in answer.choice.options.iter().enumerate() {
            prop_assert!((option.logprob - own[i].ln()).abs() < 1e-9);
            prop_assert!((option.probability - weights[i] / total).abs() < 1e-9);
        }
        prop_assert!((answer.choice.outside_mass - (1.0 - own.iter().sum::<f64>())).abs() < 1e-9);
        let best = (0..n).fold(0, |best, i| if weights[i] > weights[best] { i } else { best });
        prop_assert_eq!(&answer.choice.answer, &answer.choice.options[best].label);
    }

    #[test]
    fn windows_give_spans_of_the_whole_text(seed: u64, text in notes(), unit in units(), tokens in 12usize..60, overlap in 0usize..12) {
        let engine = engine(seed, 20_000);
        let request = ExtractRequest { labels: labels(&["one", "two"]), policy: few() };
        let run = RunOptions { window: Some(Window { tokens: Some(tokens), overlap }), ..shown(unit) };
        let answer = one(engine.session().unwrap().extract(&[document(&text)], &request, &run));
        prop_assert_eq!(answer.windows > 1, engine.tokenizer().encode(&text).unwrap().len() > tokens);
        prop_assert_eq!(answer.windows, answer.prompts.len());
        for span in &answer.spans {
            for place in &span.occurrences {
                prop_assert_eq!(&slice(&text, unit, place.start, place.end), &span.text);
            }
            let occurrences = &span.occurrences;
            prop_assert!(occurrences.windows(2).all(|pair| pair[0] < pair[1]));
            let own = Occurrence { start: span.start, end: span.end };
            prop_assert!(occurrences.contains(&own));
            prop_assert_eq!(answer.spans.iter().filter(|s| s.label == span.label && s.text == span.text).count(), 1);
        }
        // Every span that a window said is there.
        for prompt in &answer.prompts {
            let said = String::from_utf8(engine.tokenizer().decode(&prompt.answer_ids)).unwrap();
            for line in said.split('\n').filter(|line| !line.ends_with(": None")) {
                let (label, spans) = line.split_once(": ").unwrap();
                for text in spans.split(" ... ") {
                    prop_assert!(answer.spans.iter().any(|s| s.label == label && s.text == text));
                }
            }
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_the_batch() {
    let texts = ["pain", "", "he had pain, ache and more pain.\nNo ache.", "👩‍⚕️ tell"];
    let documents: Vec<Document> = texts.iter().map(|text| document(text)).collect();
    let request = ExtractRequest { labels: labels(&["one", "two"]), policy: few() };
    let engine = engine(7, 4000);
    let extract = |batch| {
        let run = RunOptions { batch, ..RunOptions::default() };
        let answers = engine.session().unwrap().extract(&documents, &request, &run).unwrap();
        answers.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(extract(32), extract(1));
    assert_eq!(extract(32), extract(3));
}

#[test]
fn a_document_that_fails_fails_alone_and_in_its_place() {
    let long = "pain ".repeat(400);
    let documents = [document("pain"), Document { id: "long".into(), text: long.clone() }, document("ache")];
    let engine = engine(7, 900);
    let request = ExtractRequest { labels: labels(&["one"]), policy: few() };
    let answers = engine.session().unwrap().extract(&documents, &request, &RunOptions::default()).unwrap();
    assert!(answers[0].is_ok() && answers[2].is_ok());
    let Err(Error::TooLong { need, limit, .. }) = answers[1] else { panic!("expected TooLong") };
    assert!(limit == 900 && need > 1600);
    let request = ClassifyRequest { classes: labels(&["a", "b"]), ..ClassifyRequest::default() };
    let answers = engine.session().unwrap().classify(&documents, &request, &RunOptions::default()).unwrap();
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(Error::TooLong { limit: 900, .. })));
    let multi = ClassifyRequest { multi: true, ..request };
    let answers = engine.session().unwrap().classify(&documents, &multi, &RunOptions::default()).unwrap();
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok());
}

#[test]
fn requests_that_no_document_could_be_asked_are_refused_whole() {
    let engine = engine(7, 900);
    let mut session = engine.session().unwrap();
    let run = RunOptions::default();
    let refused = |answers: crate::Result<Vec<_>>| {
        answers.map(|_: Vec<crate::Result<ExtractAnswer>>| ()).unwrap_err().to_string()
    };
    let extract = |names| ExtractRequest { labels: labels(names), ..ExtractRequest::default() };
    assert_eq!(refused(session.extract(&[], &extract(&[]), &run)), "labels: expected at least 1, found none");
    assert_eq!(
        refused(session.extract(&[], &extract(&["a", "a"]), &run)),
        "labels[1].name: expected distinct names, found \"a\" twice"
    );
    let adapter = RunOptions { adapter: Some("x".into()), ..RunOptions::default() };
    assert_eq!(
        refused(session.extract(&[], &extract(&["a"]), &adapter)),
        "adapter: expected one of those loaded (), found \"x\""
    );
    let window = RunOptions { window: Some(Window::default()), ..RunOptions::default() };
    let answers =
        session.classify(&[], &ClassifyRequest { classes: labels(&["a", "b"]), ..Default::default() }, &window);
    assert!(answers.unwrap_err().to_string().starts_with("not supported: windows for classify"));
    let request = ClassifyRequest { classes: labels(&["a"]), ..ClassifyRequest::default() };
    let answers = session.classify(&[], &request, &run);
    assert_eq!(answers.unwrap_err().to_string(), "classes: expected at least 2 options, found 1");
    let answers = session.similar(&[], &SimilarRequest { low: 3, high: 3, ..Default::default() }, &run);
    assert_eq!(answers.unwrap_err().to_string(), "low, high: expected a scale of 2 to 1000 scores, found 3 to 3");
}

#[test]
fn cancelling_ends_the_documents_not_done() {
    let engine = engine(7, 4000);
    let cancel = Cancel::new();
    let request = ExtractRequest { labels: labels(&["one"]), policy: few() };
    let documents: Vec<Document> = (0..6).map(|_| document("pain and ache")).collect();
    let done = Mutex::new(Vec::new());
    let progress = |count, of| {
        done.lock().unwrap().push((count, of));
        if count == 4 {
            cancel.trigger();
        }
        ControlFlow::Continue(())
    };
    let run = RunOptions { batch: 2, cancel: Some(cancel.clone()), progress: Some(&progress), ..RunOptions::default() };
    let answers = engine.session().unwrap().extract(&documents, &request, &run).unwrap();
    assert!(answers[..4].iter().all(Result::is_ok));
    assert!(answers[4..].iter().all(|answer| matches!(answer, Err(Error::Cancelled))));
    assert_eq!(*done.lock().unwrap(), [(2, 6), (4, 6)]);
    cancel.reset();
    assert!(engine.session().unwrap().extract(&documents[..1], &request, &run).unwrap()[0].is_ok());
}

#[test]
fn a_passed_deadline_and_a_callback_that_breaks_end_a_run() {
    let engine = engine(7, 4000);
    let request = ExtractRequest { labels: labels(&["one"]), policy: few() };
    let documents: Vec<Document> = (0..6).map(|_| document("pain and ache")).collect();
    let late = RunOptions { deadline: Some(Instant::now()), ..RunOptions::default() };
    let answers = engine.session().unwrap().extract(&documents, &request, &late).unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Err(Error::TimedOut))));
    let progress = |count: usize, _| if count >= 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let run = RunOptions { batch: 2, progress: Some(&progress), ..RunOptions::default() };
    let answers = engine.session().unwrap().extract(&documents, &request, &run).unwrap();
    assert!(answers[..4].iter().all(Result::is_ok));
    assert_eq!(answers.len(), 6);
    assert!(answers[4..].iter().all(|answer| matches!(answer, Err(Error::Cancelled))));
}

#[test]
fn without_scores_an_answer_has_the_same_spans() {
    let engine = engine(3, 4000);
    let request = ExtractRequest { labels: labels(&["one", "two"]), policy: few() };
    let extract = |scores| {
        let run = RunOptions { scores, ..RunOptions::default() };
        one(engine.session().unwrap().extract(&[document("he had pain, ache and pain.")], &request, &run))
    };
    let (with, without) = (extract(true), extract(false));
    assert!(!with.spans.is_empty() && with.labels.iter().all(|label| label.none_probability.is_some()));
    assert!(without.spans.iter().all(|span| span.logprob.is_none() && span.kept_mass.is_none()));
    let places =
        |answer: &ExtractAnswer| answer.spans.iter().map(|s| (s.label.clone(), s.start, s.end)).collect::<Vec<_>>();
    assert_eq!(places(&with), places(&without));
}

#[test]
fn events_ask_of_each_trigger_its_own_arguments_and_attributes() {
    let schema = Schema::from_json(
        r#"{"events": [{"name": "smoking", "arguments": ["amount"],
                        "attributes": [{"name": "status", "values": ["current", "past"]},
                                       {"name": "sure", "values": ["yes", "no"], "required": true}]},
                       {"name": "fall"}]}"#,
    );
    let request = EventsRequest { events: schema.unwrap().events, policy: few(), ..EventsRequest::default() };
    let text = "👩‍⚕️ He smokes ten a day, he smokes.\nHe fell.";
    let mut seen = 0;
    for seed in 0..12 {
        let engine = engine(seed, 20_000);
        for mentions in [Mentions::First, Mentions::All] {
            let request = EventsRequest { mentions, ..request.clone() };
            let answer = one(engine.session().unwrap().events(&[document(text)], &request, &shown(OffsetUnit::Utf16)));
            let mut prompts = answer.prompts.iter();
            assert_eq!(prompts.next().unwrap().purpose, "trigger");
            for event in &answer.events {
                let spans = event.arguments.iter().chain([&event.trigger]);
                spans.for_each(|s| assert_eq!(slice(text, OffsetUnit::Utf16, s.start, s.end), s.text));
                assert!(mentions == Mentions::First || event.trigger.occurrences.len() == 1);
                if event.trigger.label == "fall" {
                    assert!(event.arguments.is_empty() && event.attributes.is_empty());
                    continue;
                }
                seen += 1;
                let names: Vec<&str> = event.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
                assert_eq!(names, ["status", "sure"]);
                let options =
                    |i: usize| event.attributes[i].choice.options.iter().map(|o| o.label.as_str()).collect::<Vec<_>>();
                assert_eq!((options(0), options(1)), (vec!["current", "past", "none"], vec!["yes", "no"]));
                let units: Vec<u16> = text.encode_utf16().collect();
                let before = String::from_utf16(&units[..event.trigger.start]).unwrap();
                let after = String::from_utf16(&units[event.trigger.end..]).unwrap();
                let marked = format!("Medical text:{before}<{}>(smoking){after}</s>", event.trigger.text);
                for purpose in ["argument", "attribute", "attribute"] {
                    let prompt = prompts.next().unwrap();
                    assert_eq!(prompt.purpose, purpose);
                    assert!(prompt.prompt.contains(&marked), "{}", prompt.prompt);
                }
            }
            assert_eq!(prompts.count(), 0);
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn pairs_follow_the_labels_that_relations_allow() {
    let text = "Aspirin for pain. Heparin for ache.";
    let mention = |label: &str, start, end| Mention { label: label.into(), start, end };
    let entities =
        vec![mention("drug", 0, 7), mention("problem", 12, 16), mention("drug", 18, 25), mention("site", 30, 34)];
    let relation = |name: &str, head: &str, tail: &str, symmetric| Relation {
        label: Label { name: name.into(), description: Some(format!("{{head}} {name} {{tail}} {{x}}")) },
        head: vec![head.into()],
        tail: vec![tail.into()],
        symmetric,
    };
    let request = RelateRequest {
        relations: vec![
            relation("treats", "drug", "problem", false),
            relation("interacts", "drug", "drug", true),
            relation("near", "site", "drug", true),
        ],
        ..RelateRequest::default()
    };
    let engine = engine(1, 20_000);
    let relate = |request: &RelateRequest| {
        let document = RelateDocument { id: "d".into(), text: text.into(), entities: Some(entities.clone()) };
        engine.session().unwrap().relate(&[document], request, &shown(OffsetUnit::CodePoint)).unwrap().pop().unwrap()
    };
    let answer = relate(&request).unwrap();
    let pairs: Vec<(usize, usize)> = answer.pairs.iter().map(|pair| (pair.head, pair.tail)).collect();
    assert_eq!(pairs, [(0, 1), (0, 2), (0, 3), (2, 1), (2, 3)]);
    let options = |i: usize| answer.pairs[i].choice.options.iter().map(|o| o.label.as_str()).collect::<Vec<_>>();
    assert_eq!(
        (options(0), options(1), options(2)),
        (vec!["treats", "none"], vec!["interacts", "none"], vec!["near", "none"])
    );
    let prompt = &answer.prompts[3].prompt;
    assert!(prompt.contains("(A) Heparin treats pain {x}\n(B) None of the above.\n"), "{prompt}");
    assert!(prompt.contains("The entities are <Heparin>(drug) and <pain>(problem).\n"), "{prompt}");
    assert!(prompt.contains("Medical text:Aspirin for <pain>(problem). <Heparin>(drug) for ache.</s>"), "{prompt}");

    let near = relate(&RelateRequest { same_sentence: true, ..request.clone() }).unwrap();
    assert_eq!(near.pairs.iter().map(|pair| (pair.head, pair.tail)).collect::<Vec<_>>(), [(0, 1), (2, 3)]);
    let error = relate(&RelateRequest { max_pairs: 4, ..request }).unwrap_err().to_string();
    assert_eq!(error, "max_pairs: expected at most 4 candidate pairs, found 5");
}

#[test]
fn questions_take_their_own_or_the_requests_words() {
    let engine = engine(1, 20_000);
    let request =
        AnswerRequest { question: Some("Q?".into()), options: vec!["x".into(), "y".into()], ..Default::default() };
    let own = Question {
        question: Some("R?".into()),
        options: vec!["u".into(), "v".into()],
        context: Some("T".into()),
        ..Default::default()
    };
    let answers = engine.session().unwrap().answer(&[own, Question::default()], &request, &shown(OffsetUnit::Byte));
    let answers: Vec<ChoiceAnswer> = answers.unwrap().into_iter().map(Result::unwrap).collect();
    assert!(answers[0].prompts[0].prompt.contains("Question: R?\nOptions:\n(A) u\n(B) v\nMedical text:T</s>"));
    assert!(answers[1].prompts[0].prompt.contains("Question: Q?\nOptions:\n(A) x\n(B) y</s>"));
    let answers =
        engine.session().unwrap().answer(&[Question::default()], &AnswerRequest::default(), &shown(OffsetUnit::Byte));
    let error = answers.unwrap().pop().unwrap().unwrap_err().to_string();
    assert_eq!(error, "question: expected one in the item or the request");
}

#[test]
fn similarity_is_an_expected_value() {
    let engine = engine(5, 20_000);
    let request = SimilarRequest { low: -1, high: 3, ..SimilarRequest::default() };
    let pair = TextPair { text1: "a".into(), text2: "b".into(), ..TextPair::default() };
    let answer = one(engine.session().unwrap().similar(&[pair], &request, &shown(OffsetUnit::Byte)));
    let labels: Vec<&str> = answer.choice.options.iter().map(|option| option.label.as_str()).collect();
    assert_eq!(labels, ["-1", "0", "1", "2", "3"]);
    let expected: f64 = answer.choice.options.iter().zip(-1..).map(|(o, i)| o.probability * f64::from(i)).sum();
    assert!((answer.expected - expected).abs() < 1e-12);
    assert!(answer.prompts[0].prompt.contains("Medical text:Sentence 1: a\nSentence 2: b</s>"));
}

#[test]
fn provenance_names_everything_an_answer_depends_on() {
    let engine = engine(5, 20_000);
    let run = |names: &[&str], template| {
        let request = ExtractRequest { labels: labels(names), policy: few() };
        let run = RunOptions { template: Some(template), ..RunOptions::default() };
        one(engine.session().unwrap().extract(&[document("pain")], &request, &run)).provenance
    };
    let first = run(&["a"], Template::Zephyr);
    assert_eq!(
        (first.engine.as_str(), first.fingerprint.as_str(), first.weights.as_str()),
        (env!("CARGO_PKG_VERSION"), "toy", "toy")
    );
    assert_eq!((first.tokenizer.as_str(), first.adapter.as_ref()), (engine.tokenizer().hash(), None));
    let (schema, template) = (run(&["b"], Template::Zephyr), run(&["a"], Template::Model));
    assert!(schema.schema != first.schema && schema.prompts == first.prompts);
    assert!(template.schema == first.schema && template.prompts != first.prompts);
}

#[test]
fn engines_are_shared_and_sessions_move() {
    fn shared<T: Send + Sync>() {}
    fn moves<T: Send>() {}
    shared::<Engine>();
    moves::<Session>();
}
