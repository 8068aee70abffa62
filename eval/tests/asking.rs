//! Items through a model of random weights: what few-shot examples say is what the engine asks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use biomistral_nlu::task::{self, ChoiceRules, Engine, EngineOptions, RunOptions, Session};
use biomistral_nlu::weights::{Architecture, ModelConfig, random_checkpoint};
use biomistral_nlu_eval::{Answer, Gold, Item, Place, SetPlan, Setting, Subject, Suite, ask, shots};
use std::path::Path;
use std::sync::Arc;

fn session(folder: &Path) -> Session {
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
        max_positions: 2048,
        tied_head: false,
    };
    let model = folder.join("model");
    random_checkpoint(&config, 3, &model, &mut |_, _| true).unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/tokenizer_model/tiny.model");
    std::fs::copy(tokenizer, model.join("tokenizer.model")).unwrap();
    Arc::new(Engine::open(&EngineOptions { model, ..EngineOptions::default() }).unwrap()).session().unwrap()
}

fn plan(metric: &str, task: &str) -> SetPlan {
    let text =
        format!("name = \"s\"\n[[set]]\nname = \"s\"\nfolder = \"s\"\nmetric = \"{metric}\"\n[set.task]\n{task}");
    Suite::parse("s", &text).unwrap().set.remove(0)
}

fn item(subject: Subject, gold: Gold) -> Item {
    Item { id: "i".into(), document: "d".into(), subject, gold, alternatives: Vec::new() }
}

fn text(text: &str) -> Subject {
    Subject::Text { text: text.into(), start: 0, words: Vec::new() }
}

fn label(name: &str) -> Gold {
    Gold::Labels(vec![name.into()])
}

/// Every task: its plan, an item, and the right answer as a model would have to write it.
fn cases() -> Vec<(SetPlan, Item, &'static str)> {
    let place = |label: &str, start, end, text: &str| Place { label: label.into(), start, end, text: text.into() };
    let mention = |label: &str, start, end| task::Mention { label: label.into(), start, end };
    let question = task::Question {
        id: "q".into(),
        question: Some("Which?".into()),
        context: Some("Some text.".into()),
        options: vec!["one".into(), "two".into()],
    };
    let texts = || Subject::Texts("A fever.".into(), "A cold é.".into());
    let pair = Subject::Pair { text: "é aspirin, pain".into(), mentions: [mention("p", 11, 15), mention("d", 2, 9)] };
    vec![
        (
            plan(
                "entity_f1",
                "kind = \"extract\"\nlabels = [{ name = \"drug\" }, { name = \"sign\", description = \"what is seen\" }]",
            ),
            item(
                text("Aspirin and heparin, aspirin."),
                Gold::Spans(vec![place("drug", 0, 7, "Aspirin"), place("drug", 12, 19, "heparin")]),
            ),
            "drug: Aspirin ... heparin\nsign: None",
        ),
        (
            plan(
                "micro_f1",
                "kind = \"relate\"\nlabels = [{ name = \"d\" }, { name = \"p\" }]\n\
                 relations = [{ name = \"x\", text = \"{head} is due to {tail}.\", head = [\"p\"], tail = [\"d\"] }, \
                 { name = \"y\", text = \"{head} goes with {tail}.\", head = [\"d\"], tail = [\"p\"], symmetric = true }]",
            ),
            item(pair, label("y")),
            "(B) pain goes with aspirin.",
        ),
        (
            plan(
                "accuracy",
                "kind = \"classify\"\nquestion = \"What?\"\nclasses = [{ name = \"a\", description = \"the first\" }, { name = \"b\" }]",
            ),
            item(text("Some text."), label("a")),
            "(A) a: the first",
        ),
        (
            plan(
                "example_f1",
                "kind = \"classify\"\nmulti = true\nclasses = [{ name = \"a\" }, { name = \"b\", description = \"the second\" }]",
            ),
            item(text("Some text."), label("b")),
            "(A) Yes",
        ),
        (plan("accuracy", "kind = \"answer\""), item(Subject::Question(question), label("two")), "(B) two"),
        (
            plan("accuracy", "kind = \"entail\"\nlabels = [{ name = \"entailment\" }, { name = \"neutral\" }]"),
            item(texts(), label("neutral")),
            "(B) neutral",
        ),
        (plan("pearson", "kind = \"similar\"\nscale = [0, 4]"), item(texts(), Gold::Score(2.5)), "(D) 3"),
    ]
}

/// The prompts that the engine writes for the item, by the task's own method.
fn prompts(session: &mut Session, plan: &SetPlan, item: &Item, shots: Vec<task::Shot>) -> Vec<String> {
    use biomistral_nlu_eval::TaskPlan;
    let run = RunOptions { show_prompt: true, shots, ..RunOptions::default() };
    let document = |text: &str| task::Document { id: String::new(), text: text.to_owned() };
    let shown = match (&plan.task, &item.subject) {
        (TaskPlan::Extract { labels, .. }, Subject::Text { text, .. }) => {
            let labels = labels.iter().map(|label| label.label()).collect();
            let request = task::ExtractRequest { labels, ..Default::default() };
            session.extract(&[document(text)], &request, &run).unwrap().remove(0).unwrap().prompts
        }
        (TaskPlan::Relate { relations, .. }, Subject::Pair { text, mentions }) => {
            let relations = relations.iter().map(|relation| relation.relation()).collect();
            let request = task::RelateRequest { relations, ..Default::default() };
            let entities = Some(mentions.to_vec());
            let document = task::RelateDocument { id: String::new(), text: text.clone(), entities };
            session.relate(&[document], &request, &run).unwrap().remove(0).unwrap().prompts
        }
        (TaskPlan::Classify { question, classes, multi }, Subject::Text { text, .. }) => {
            let classes = classes.iter().map(|class| class.label()).collect();
            let request =
                task::ClassifyRequest { question: question.clone(), classes, multi: *multi, ..Default::default() };
            match session.classify(&[document(text)], &request, &run).unwrap().remove(0).unwrap() {
                task::ClassifyAnswer::Single(answer) => answer.prompts,
                task::ClassifyAnswer::Multi(answer) => answer.prompts,
            }
        }
        (TaskPlan::Answer {}, Subject::Question(question)) => {
            let answers = session.answer(std::slice::from_ref(question), &task::AnswerRequest::default(), &run);
            answers.unwrap().remove(0).unwrap().prompts
        }
        (TaskPlan::Entail { labels }, Subject::Texts(premise, hypothesis)) => {
            let options = labels.iter().map(|label| label.name.clone()).collect();
            let pair = task::Inference { id: String::new(), premise: premise.clone(), hypothesis: hypothesis.clone() };
            let request = task::EntailRequest { options, ..Default::default() };
            session.entail(&[pair], &request, &run).unwrap().remove(0).unwrap().prompts
        }
        (TaskPlan::Similar { scale: [low, high] }, Subject::Texts(text1, text2)) => {
            let pair = task::TextPair { id: String::new(), text1: text1.clone(), text2: text2.clone() };
            let request = task::SimilarRequest { low: *low, high: *high, ..Default::default() };
            session.similar(&[pair], &request, &run).unwrap().remove(0).unwrap().prompts
        }
        _ => panic!("an item that is not of its task"),
    };
    shown.into_iter().map(|shown| shown.prompt).collect()
}

#[test]
fn an_example_is_the_question_with_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path());
    let engine = Arc::clone(session.engine());
    for (plan, item, answer) in cases() {
        let made = shots(engine.prompts(), &plan, std::slice::from_ref(&item), 1).unwrap();
        assert_eq!(made[0].answer, answer);
        let user = |message: &str| format!("<|user|>\n{message}</s>\n<|assistant|>\n");
        let asked = prompts(&mut session, &plan, &item, Vec::new());
        assert!(asked.iter().any(|prompt| prompt.ends_with(&user(&made[0].message))), "{asked:?}\n{}", made[0].message);
        // With examples, the same question stands after them.
        let after = prompts(&mut session, &plan, &item, made.clone());
        for (bare, after) in asked.iter().zip(&after) {
            let question = &bare[bare.find("<|user|>").unwrap()..];
            let example = user(&made[0].message) + answer + "</s>\n";
            assert!(after.ends_with(&(example + question)), "{after}");
        }
        // No two of one document.
        assert!(shots(engine.prompts(), &plan, &[item.clone(), item], 2).is_err());
    }
}

#[test]
fn items_are_answered_in_order_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path());
    for (plan, one, _) in cases() {
        let setting = Setting { plan: &plan, run: RunOptions::default(), choice: ChoiceRules::default() };
        let mut other = one.clone();
        other.id = "j".into();
        let lines = ask(&mut session, &setting, &[one.clone(), other]).unwrap();
        let alone = ask(&mut session, &setting, std::slice::from_ref(&one)).unwrap();
        assert_eq!((lines[0].id.as_str(), lines[1].id.as_str()), ("i", "j"));
        assert_eq!(lines[0].answer, lines[1].answer);
        assert_eq!(lines[0].answer, alone[0].answer);
        assert!(lines[0].tokens > 0 && lines[0].answer.is_some());
        // How options are scored is no matter of spans, and one of every choice.
        let spans = matches!(plan.task, biomistral_nlu_eval::TaskPlan::Extract { .. });
        let choice = ChoiceRules { calibrate: true, ..ChoiceRules::default() };
        let calibrated = ask(&mut session, &Setting { choice, ..setting }, &[one]).unwrap();
        assert_eq!(calibrated[0].answer == lines[0].answer, spans, "{}", plan.name);
    }
    // What does not fit is an item without an answer, and no error of the run.
    let (plan, mut long, _) = cases().remove(2);
    long.subject = text(&"word ".repeat(3000));
    let setting = Setting { plan: &plan, run: RunOptions::default(), choice: ChoiceRules::default() };
    let line = ask(&mut session, &setting, &[long]).unwrap().remove(0);
    assert!(line.answer.is_none() && line.error.unwrap().contains("limit"));
    // Offsets are of the document, not of the passage.
    let (plan, mut item, _) = cases().remove(0);
    item.subject = Subject::Text { text: "é aspirin".into(), start: 100, words: vec![(100, 101), (102, 109)] };
    let setting = Setting { plan: &plan, run: RunOptions::default(), choice: ChoiceRules::default() };
    let line = ask(&mut session, &setting, &[item]).unwrap().remove(0);
    let Some(Answer::Spans { spans, words, .. }) = line.answer else { panic!("no spans") };
    assert_eq!(words.len(), 2);
    for span in spans {
        let text: String =
            "é aspirin".chars().skip(span.place.start - 100).take(span.place.end - span.place.start).collect();
        assert_eq!(text, span.place.text);
    }
}

#[test]
fn examples_do_not_change_which_documents_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("s")).unwrap();
    for i in 0..20 {
        std::fs::write(folder.path().join(format!("s/n{i}.txt")), "Take aspirin.").unwrap();
        std::fs::write(folder.path().join(format!("s/n{i}.ann")), "T1\tdrug 5 12\taspirin\n").unwrap();
    }
    let mut plan = plan("entity_f1", "kind = \"extract\"\nlabels = [{ name = \"drug\" }]");
    plan.reader = Some("brat".into());
    let load = |limit, examples| biomistral_nlu_eval::load(&plan, folder.path(), "dev", limit, examples, 42).unwrap();
    let documents = |items: &[Item]| items.iter().map(|item| item.document.clone()).collect::<Vec<_>>();
    let (bare, with) = (load(Some(6), false), load(Some(6), true));
    assert_eq!((bare.items.len(), bare.examples.len(), with.examples.len()), (6, 0, 5));
    assert_eq!(documents(&bare.items), documents(&with.items));
    assert!(documents(&with.examples).iter().all(|id| !documents(&with.items).contains(id)));
    // Without a limit, what is shown is not asked.
    let all = load(None, true);
    assert_eq!((all.items.len(), all.examples.len()), (15, 5));
    assert!(documents(&all.examples).iter().all(|id| !documents(&all.items).contains(id)));
}
