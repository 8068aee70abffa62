//! Corpora that need a licence or a registration: made-up files in their official layouts, good lines and broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use biomistral_nlu_formats::corpora::{self, Corpus, Split};
use biomistral_nlu_formats::{Document, Trouble};

fn read(name: &str, files: &[(&str, &str)]) -> Corpus {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    corpora::read(name, folder.path()).unwrap()
}

fn names(corpus: &Corpus) -> Vec<&str> {
    corpus.splits.iter().map(|split| split.name.as_str()).collect()
}

fn troubles(corpus: &Corpus) -> Vec<(Trouble, usize)> {
    corpus.problems.counts().into_iter().collect()
}

fn mentions(document: &Document) -> Vec<(String, String)> {
    let mention = |m: &biomistral_nlu_formats::Mention| (m.label.clone(), m.text(&document.text).into_owned());
    document.mentions.iter().map(mention).collect()
}

fn only(corpus: &Corpus) -> &Split {
    assert_eq!(corpus.splits.len(), 1);
    &corpus.splits[0]
}

#[test]
fn i2b2_2010_of_concepts_and_relations() {
    let text = "Chest Pain :\nHis  \"heavy\" chest pain was relieved by aspirin .\n";
    let concepts = "c=\"\"heavy\" chest pain\" 2:1 2:3||t=\"problem\"\nc=\"aspirin\" 2:7 2:7||t=\"treatment\"\n\
                    c=\"chest pain\" 1:0 1:1||t=\"problem\"\nc=\"other words\" 1:0 1:1||t=\"problem\"\nc=\"far\" 9:0 9:0||t=\"test\"\nnothing\n";
    let relations = "c=\"aspirin\" 2:7 2:7||r=\"TrIP\"||c=\"\"heavy\" chest pain\" 2:1 2:3\n\
                     c=\"aspirin\" 2:7 2:7||r=\"TrAP\"||c=\"was relieved\" 2:4 2:5\n";
    let corpus = read(
        "i2b2_2010",
        &[
            ("concept_assertion_relation_training_data/beth/txt/record-13.txt", text),
            ("concept_assertion_relation_training_data/beth/concept/record-13.con", concepts),
            ("concept_assertion_relation_training_data/beth/rel/record-13.rel", relations),
            ("test_data/0001.txt", "Took aspirin .\n"),
            ("reference_standard_for_test_data/concepts/0001.con", "c=\"aspirin\" 1:1 1:1||t=\"treatment\"\n"),
        ],
    );
    assert_eq!(names(&corpus), ["concept_assertion_relation_training_data/beth", "reference_standard_for_test_data"]);
    let document = &corpus.splits[0].documents[0];
    let expected = [("problem", "\"heavy\" chest pain"), ("treatment", "aspirin"), ("problem", "Chest Pain")];
    assert_eq!(mentions(document), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let relation = &document.relations[0];
    assert_eq!((document.relations.len(), relation.label.as_str()), (1, "TrIP"));
    assert_eq!([&relation.arguments[0].target, &relation.arguments[1].target], ["T2", "T1"]);
    assert_eq!(
        document.parts.iter().map(|p| &document.text[p.clone()]).collect::<Vec<_>>(),
        text.lines().collect::<Vec<_>>()
    );
    assert_eq!(mentions(&corpus.splits[1].documents[0]), [("treatment".to_owned(), "aspirin".to_owned())]);
    let expected = [(Trouble::Broken, 1), (Trouble::Outside, 1), (Trouble::Differs, 1), (Trouble::Dangling, 1)];
    assert_eq!(troubles(&corpus), expected);
}

#[test]
fn share_clef_with_gaps() {
    let pipes = "n1.txt||Disease_Disorder||C1||0||4||14||20\nn1.txt||Disease_Disorder||CUI-less||5||9\n\
                 n1.txt||Disease_Disorder||C1||0||99\nn1.txt||Disease_Disorder||C1||7\n";
    let corpus = read(
        "shareclef",
        &[
            ("Corpus/ALLREPORTS/n1.txt", "Left pain and swelling."),
            ("Gold/n1.pipe.txt", pipes),
            ("Corpus/ALLREPORTS/n2.txt", "Well."),
        ],
    );
    let split = only(&corpus);
    assert_eq!((split.name.as_str(), split.documents.len()), ("Corpus/ALLREPORTS", 2));
    assert!(split.documents[0].mentions[0].discontinuous());
    assert_eq!(mentions(&split.documents[0])[1].1, "pain");
    assert_eq!(troubles(&corpus), [(Trouble::Broken, 1), (Trouble::Outside, 1)]);
}

#[test]
fn questions_and_pairs() {
    let file = r#"{"questions": [
        {"id": "1", "type": "yesno", "body": "Is it?", "exact_answer": "Yes", "snippets": [{"text": "It is."}, {"text": "So."}]},
        {"id": "2", "type": "yesno", "body": "Is it\n so?", "exact_answer": ["no"]},
        {"id": "3", "type": "yesno", "body": "Unanswered?"},
        {"id": "4", "type": "factoid", "body": "Which?", "exact_answer": [["a"]]}]}"#;
    let corpus = read("bioasq", &[("7B1_golden.json", file), ("broken.json", "[")]);
    let questions = &corpus.splits.iter().find(|split| split.name == "7B1_golden").unwrap().questions;
    assert_eq!(questions.iter().map(|q| (q.id.as_str(), q.answer)).collect::<Vec<_>>(), [("1", 0), ("2", 1)]);
    assert_eq!((questions[0].context.as_deref(), questions[1].question.as_str()), (Some("It is.\nSo."), "Is it so?"));
    assert_eq!(troubles(&corpus), [(Trouble::Broken, 1), (Trouble::Unlabelled, 1)]);

    let line = r#"{"pairID": "p", "sentence1": "No fever.", "sentence2": "Well.", "gold_label": "neutral", "sentence1_parse": "()"}"#;
    let corpus = read("mednli", &[("mli_dev_v1.jsonl", &format!("{line}\n{{}}\n"))]);
    let pair = &only(&corpus).pairs[0];
    assert_eq!((pair.id.as_str(), pair.label.as_str(), names(&corpus)[0]), ("p", "neutral", "mli_dev_v1"));
    assert_eq!(troubles(&corpus), [(Trouble::Unlabelled, 1)]);

    let table = "index\tgenre\tsentence1\tsentence2\tscore\n0\tx\tA \"b.\tC.\t3.5\n1\tx\tD.\tE.\tmany\n2\tx\tF.\n";
    for name in ["medsts", "biosses"] {
        let corpus = read(name, &[("test.tsv", table)]);
        assert_eq!(
            only(&corpus).pairs.iter().map(|p| (p.first.as_str(), p.score)).collect::<Vec<_>>(),
            [("A \"b.", Some(3.5))]
        );
        assert_eq!(troubles(&corpus), [(Trouble::Broken, 1), (Trouble::Unlabelled, 1)]);
    }

    let question =
        |answer: &str| format!("{{\"QUESTION\": \"Q?\", \"CONTEXTS\": [\"C.\"], \"final_decision\": \"{answer}\"}}");
    let file = format!("{{\"1\": {}, \"2\": {}}}", question("yes"), question("maybe"));
    let corpus =
        read("pubmedqa", &[("data/ori_pqal.json", &file), ("data/test_ground_truth.json", r#"{"2": "maybe"}"#)]);
    assert_eq!(names(&corpus), ["ori_pqal", "test"]);
    assert_eq!(corpus.splits[1].questions.iter().map(|q| (q.id.as_str(), q.answer)).collect::<Vec<_>>(), [("2", 2)]);
}

#[test]
fn genes_chemicals_and_hallmarks_in_general_forms() {
    let bioc = r#"<?xml version="1.0"?><collection><source/><date/><key/><document><id>7</id><passage><offset>0</offset>
        <text>TP53 and BRCA1.</text><annotation id="0"><infon key="type">Gene</infon><infon key="NCBI Gene">7157</infon>
        <location offset="0" length="4"/><text>TP53</text></annotation><annotation id="1"><infon key="type">Gene</infon>
        <location offset="9" length="9"/><text>BRCA1</text></annotation></passage></document></collection>"#;
    // GNormPlus and NLM-Gene.
    let corpus = read("bioc", &[("BC2GNtest.BioC.xml", bioc)]);
    assert_eq!(mentions(&only(&corpus).documents[0]), [("Gene".to_owned(), "TP53".to_owned())]);
    assert_eq!(corpus.problems.0.len(), 1);
    // BC4CHEMD.
    let corpus = read("conll", &[("BC4CHEMD/test.tsv", "Of\tO\nacetic\tB-Chemical\nacid\tI-Chemical\n.\tO\n\nbad\n")]);
    let document = &only(&corpus).documents[0];
    assert_eq!(mentions(document), [("Chemical".to_owned(), "acetic acid".to_owned())]);
    assert_eq!(
        document.tokens.iter().map(|t| &document.text[t.clone()]).collect::<Vec<_>>(),
        ["Of", "acetic", "acid", "."]
    );
    assert_eq!(troubles(&corpus), [(Trouble::Broken, 1)]);
    // HoC as BLUE writes it.
    let table = "index\tsentence1\tsentence2\tlabel\n10_s0\tCells grow.\tgrowth,death\n10_s1\tNothing.\t\n";
    let corpus = read("hoc", &[("test.tsv", table)]);
    let documents = &only(&corpus).documents;
    assert_eq!(
        (documents[0].source.as_deref(), documents[0].classes.len(), documents[1].classes.len()),
        (Some("10"), 2, 0)
    );
}
