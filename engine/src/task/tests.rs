//! Wording, schema and JSON shapes.

use super::*;
use serde_json::json;

fn prompts() -> Prompts {
    Prompts::built_in().unwrap()
}

fn options(texts: &[&str]) -> Vec<String> {
    texts.iter().enumerate().map(|(i, text)| prompts().option(i, text).unwrap()).collect()
}

const FORMAT: &str = "Your answer should use the following format, with one entity type per line. The span refers to the \
original text span from the Medical text. Output None if there is no such span. Use `...' to separate multiple spans.";

#[test]
fn the_message_is_the_references() {
    assert_eq!(prompts().message("Do it.", Some("A note.\n")).unwrap(), "Do it.\nMedical text:A note.\n");
    assert_eq!(prompts().message("Do it.", None).unwrap(), "Do it.");
}

#[test]
fn a_text_is_never_read_as_a_template() {
    let text = "{{ instruct }} {% for x in y %} {# c #} &lt; \\n";
    assert_eq!(prompts().message("I", Some(text)).unwrap(), format!("I\nMedical text:{text}"));
}

#[test]
fn extraction_lines() {
    assert_eq!(prompts().span_line("drug", &["aspirin", "heparin 5 mg"]), "drug: aspirin ... heparin 5 mg");
    assert_eq!(prompts().span_line("drug", &[]), "drug: None");
}

#[test]
fn options_have_letters() {
    assert_eq!(prompts().option(0, "smoker").unwrap(), "(A) smoker");
    assert_eq!(prompts().option_letter(27).unwrap(), "(AB)");
    let letters: Vec<String> = [0, 12, 25, 26, 51, 52, 701, 702].map(letter).to_vec();
    assert_eq!(letters, ["A", "M", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]);
}

#[test]
fn extract_wording() {
    let labels =
        [Label { name: "problem".into(), description: Some("a disease or symptom".into()) }, Label::new("drug")];
    assert_eq!(
        prompts().instruct(Wording::Extract, json!({"labels": labels})).unwrap(),
        format!(
            "Extract the text spans of each entity type from the medical text, exactly as they are written there.\n\
             problem means a disease or symptom.\n{FORMAT}\nproblem: span\ndrug: span"
        )
    );
}

#[test]
fn event_wordings() {
    let (labels, event) = ([Label::new("amount")], Label::new("smoking"));
    let trigger = prompts().instruct(Wording::Trigger, json!({"labels": [&event]})).unwrap();
    assert!(
        trigger.ends_with(
            "with one event type per line. The span refers to the original text span from the Medical \
text. Output None if there is no such span. Use `...' to separate multiple spans.\nsmoking: span"
        ),
        "{trigger}"
    );
    assert_eq!(
        prompts().instruct(Wording::Argument, json!({"labels": labels, "event": event, "trigger": "smokes"})).unwrap(),
        format!(
            "Extract the text spans of each argument of the marked smoking event from the medical text, exactly as they \
             are written there.\n{}\namount: span\nThe event is <smokes>(smoking).",
            FORMAT.replace("entity type", "argument type")
        )
    );
    let attribute = Label { name: "status".into(), description: Some("when".into()) };
    let options = options(&["current", "past"]);
    assert_eq!(
        prompts()
            .instruct(
                Wording::Attribute,
                json!({"attribute": attribute, "event": event, "options": options, "trigger": "smokes"})
            )
            .unwrap(),
        "Choose the best status value for the marked smoking event in the medical text.\nstatus means when.\nOptions:\n\
         (A) current\n(B) past\nThe event is <smokes>(smoking)."
    );
    let none = prompts().none_option(Wording::Attribute, json!({"attribute": attribute})).unwrap();
    assert_eq!(none, "Not Applicable - status is not mentioned for the event.");
}

#[test]
fn choice_wordings() {
    let options = options(&["yes", "no"]);
    let say = |wording, variables| prompts().instruct(wording, variables).unwrap();
    assert_eq!(
        say(Wording::Classify, json!({"question": (), "options": options})),
        "Choose the class that describes the medical text best.\nOptions:\n(A) yes\n(B) no"
    );
    assert_eq!(
        say(Wording::Classify, json!({"question": "Does the patient smoke?", "options": options})),
        "Does the patient smoke?\nOptions:\n(A) yes\n(B) no"
    );
    let label = Label { name: "oncology".into(), description: Some("cancer".into()) };
    assert_eq!(
        say(Wording::ClassifyMulti, json!({"question": (), "label": label, "options": options})),
        "Does the class describe the medical text?\nOptions:\n(A) yes\n(B) no\nClass: oncology (cancer)"
    );
    let (head, tail) = (json!({"text": "aspirin", "label": "drug"}), json!({"text": "pain", "label": "problem"}));
    assert_eq!(
        say(Wording::Relate, json!({"head": head, "tail": tail, "options": options})),
        "What is the relationship between the two marked entities in the medical text?\nOptions:\n(A) yes\n(B) no\n\
         The entities are <aspirin>(drug) and <pain>(problem)."
    );
    assert_eq!(
        say(Wording::Answer, json!({"question": "Is it?", "options": options})),
        "Answer the multiple-choice question with the best option.\nQuestion: Is it?\nOptions:\n(A) yes\n(B) no"
    );
    let pair = json!({"premise": "P", "hypothesis": "H", "options": options});
    assert_eq!(prompts().text(Wording::Entail, pair.clone()).unwrap(), "Premise: P\nHypothesis: H");
    assert_eq!(
        say(Wording::Entail, pair),
        "Decide how the hypothesis relates to the premise.\nOptions:\n(A) yes\n(B) no"
    );
    let pair = json!({"text1": "a", "text2": "b", "low": 0, "high": 5, "options": options});
    assert_eq!(prompts().text(Wording::Similar, pair.clone()).unwrap(), "Sentence 1: a\nSentence 2: b");
    assert_eq!(
        say(Wording::Similar, pair),
        "How similar in meaning are the two sentences, from 0 (unrelated) to 5 (equivalent)?\nOptions:\n(A) yes\n(B) no"
    );
}

#[test]
fn a_missing_variable_is_an_error_without_the_text() {
    let error = prompts().text(Wording::Entail, json!({"premise": "SECRET"})).unwrap_err().to_string();
    assert!(error.starts_with("prompts.toml") && !error.contains("SECRET"), "{error}");
}

#[test]
fn a_schema_reads_and_round_trips() {
    let json = json!({
        "labels": ["drug", {"name": "problem", "description": "a disease"}],
        "classes": ["a", "b"],
        "events": [{"name": "smoking", "arguments": ["amount"],
                    "attributes": [{"name": "status", "values": ["current", "past"], "required": true}]}],
        "relations": [{"name": "treats", "head": ["drug"], "tail": ["problem"], "description": "{head} for {tail}"}],
    });
    let schema = Schema::from_json(&json.to_string()).unwrap();
    assert_eq!(schema.labels[1].description.as_deref(), Some("a disease"));
    assert!(schema.events[0].attributes[0].required && !schema.relations[0].symmetric);
    assert_eq!(Schema::from_json(&serde_json::to_string(&schema).unwrap()).unwrap(), schema);
}

#[test]
fn schema_errors_name_the_field() {
    let cases = [
        ("[]", "schema: expected an object, found a list"),
        ("{", "schema: not JSON"),
        (r#"{"lables": []}"#, r#"schema: expected only labels, classes, events, relations, found "lables""#),
        (r#"{"labels": "drug"}"#, "schema.labels: expected a list, found a string"),
        (r#"{"labels": [3]}"#, "schema.labels[0]: expected an object, found a number"),
        (r#"{"labels": [{"description": "x"}]}"#, "schema.labels[0].name: expected a string, found nothing"),
        (r#"{"labels": ["a", "b:c"]}"#, "schema.labels[1].name: expected no colon"),
        (r#"{"labels": ["a", "a"]}"#, r#"schema.labels[1].name: expected distinct names, found "a" twice"#),
        (r#"{"labels": ["a\nb"]}"#, "schema.labels[0].name: expected one non-empty line"),
        (r#"{"labels": [""]}"#, "schema.labels[0].name: expected one non-empty line"),
        (r#"{"classes": ["a"]}"#, "schema.classes: expected at least 2 options, found 1"),
        (
            r#"{"events": [{"name": "e"}, {"name": "f", "attributes": [{"name": "s", "values": true}]}]}"#,
            "schema.events[1].attributes[0].values: expected a list, found true or false",
        ),
        (
            r#"{"events": [{"name": "e", "attributes": [{"name": "s", "values": ["x"], "required": true}]}]}"#,
            "schema.events[0].attributes[0].values: expected at least 2, found 1",
        ),
        (
            r#"{"events": [{"name": "e", "attributes": [{"name": "s", "values": ["none"]}]}]}"#,
            "schema.events[0].attributes[0].values[0].name: \"none\"",
        ),
        (
            r#"{"relations": [{"name": "r", "tail": ["a"]}]}"#,
            "schema.relations[0].head: expected at least 1 entity label",
        ),
        (
            r#"{"labels": ["a"], "relations": [{"name": "r", "head": ["a"], "tail": ["z"]}]}"#,
            r#"schema.relations[0].tail: expected names from schema.labels, found "z""#,
        ),
        (
            r#"{"relations": [{"name": "r", "head": ["a"], "tail": ["z"], "symmetric": 1}]}"#,
            "schema.relations[0].symmetric: expected true or false, found a number",
        ),
    ];
    for (json, expected) in cases {
        let error = Schema::from_json(json).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{json}: {error}");
    }
}

#[test]
fn answers_have_the_documented_shapes() {
    let span = Span {
        label: "problem".into(),
        text: "pain".into(),
        start: 3,
        end: 7,
        occurrences: vec![Occurrence { start: 3, end: 7 }],
        logprob: Some(-0.5),
        kept_mass: Some(0.9),
    };
    let answer = ExtractAnswer {
        id: "n1".into(),
        status: Status::Ok,
        unit: crate::text::OffsetUnit::CodePoint,
        spans: vec![span],
        labels: vec![LabelOutcome { label: "problem".into(), none_probability: Some(0.1), limit_reached: false }],
        windows: 1,
        provenance: Provenance::default(),
        prompts: Vec::new(),
    };
    let provenance = json!({"engine": "", "fingerprint": "", "weights": "", "adapter": null, "tokenizer": "",
                            "template": "", "prompts": "", "schema": ""});
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!(
        json,
        json!({
            "id": "n1", "status": "ok", "unit": "codepoint",
            "spans": [{"label": "problem", "text": "pain", "start": 3, "end": 7,
                       "occurrences": [{"start": 3, "end": 7}], "logprob": -0.5, "kept_mass": 0.9}],
            "labels": [{"label": "problem", "none_probability": 0.1, "limit_reached": false}],
            "windows": 1, "provenance": provenance,
        })
    );
    assert_eq!(serde_json::from_value::<ExtractAnswer>(json).unwrap(), answer);

    let choice = Choice {
        options: vec![OptionScore { label: "3".into(), probability: 0.25, logprob: -2.0 }],
        answer: "3".into(),
        outside_mass: 0.5,
    };
    let answer = SimilarAnswer {
        id: "n2".into(),
        status: Status::Ok,
        choice,
        score: 3,
        expected: 2.5,
        provenance: Provenance::default(),
        prompts: Vec::new(),
    };
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!(
        json,
        json!({
            "id": "n2", "status": "ok", "options": [{"label": "3", "probability": 0.25, "logprob": -2.0}],
            "answer": "3", "outside_mass": 0.5, "score": 3, "expected": 2.5, "provenance": provenance,
        })
    );
    assert_eq!(serde_json::from_value::<SimilarAnswer>(json).unwrap(), answer);

    let failure = Failure::new("n3", &crate::Error::Cancelled);
    assert_eq!(
        serde_json::to_value(&failure).unwrap(),
        json!({"id": "n3", "status": "error", "code": 12, "error": "cancelled by the caller"})
    );
}
