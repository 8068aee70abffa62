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
fn share_clef_in_knowtator_xml() {
    let mention = |id: &str, spans: &str, spelled: &str| {
        format!(
            "<annotation><mention id=\"{id}\"/><annotator id=\"a\">A</annotator>{spans}<spannedText>{spelled}</spannedText>\
             <creationDate>Fri</creationDate></annotation>"
        )
    };
    let class = |id: &str, slots: &str, label: &str| {
        format!("<classMention id=\"{id}\">{slots}<mentionClass id=\"{label}\">x</mentionClass></classMention>")
    };
    let slot = |id: &str, key: &str, value: &str| {
        format!(
            "<stringSlotMention id=\"{id}\"><mentionSlot id=\"{key}\"/><stringSlotMentionValue value=\"{value}\"/>\
             </stringSlotMention>"
        )
    };
    let xml = [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><annotations textSource=\"n1.txt\">".to_owned(),
        mention("i1", "<span start=\"6\" end=\"10\"/>", "pain"),
        mention("i2", "<span start=\"15\" end=\"23\"/><span start=\"0\" end=\"5\"/>", "Léft ... swelling"),
        mention("i3", "<span start=\"0\" end=\"99\"/>", "far"),
        mention("i4", "<span start=\"0\" end=\"4\"/>", "else"),
        mention("i5", "", "no place"),
        mention("i9", "<span start=\"6\" end=\"10\"/>", "pain"),
        class("i1", "<hasSlotMention id=\"s1\"/><hasSlotMention id=\"s2\"/>", "Disease_Disorder"),
        class("i2", "", "Disease_Disorder"),
        class("i3", "", "Disease_Disorder"),
        class("i4", "", "Disease_Disorder"),
        class("i5", "", "Disease_Disorder"),
        slot("s1", "associated_code", "C0030193"),
        slot("s2", "negation", "no"),
        "</annotations>".to_owned(),
    ];
    let text = "Léft, pain and swelling.";
    let files = [("train/n1.txt", text), ("train/n1.txt.knowtator.xml", &xml.concat())];
    let corpus = read("shareclef", &files);
    let document = &only(&corpus).documents[0];
    assert_eq!(mentions(document)[0], ("Disease_Disorder".to_owned(), "pain".to_owned()));
    let [pain, swelling] = document.mentions.as_slice() else { panic!("two mentions: {:?}", document.mentions) };
    assert_eq!(
        (&pain.concepts[..], &pain.attributes[..]),
        (&["C0030193".to_owned()][..], &[("negation".to_owned(), "no".to_owned())][..])
    );
    assert!(swelling.discontinuous() && document.text[swelling.extent()] == *"Léft, pain and swelling");
    let expected = [(Trouble::Broken, 1), (Trouble::Dangling, 1), (Trouble::Differs, 1), (Trouble::Outside, 1)];
    let mut found = troubles(&corpus);
    found.sort_by_key(|(trouble, _)| trouble.name());
    let mut expected = expected.to_vec();
    expected.sort_by_key(|(trouble, _)| trouble.name());
    assert_eq!(found, expected);

    // The lines are taken where both are there.
    let lines = ("Gold/n1.pipe.txt", "n1.txt||Disease_Disorder||C1||0||4\n");
    let corpus = read("shareclef", &[files[0], files[1], lines]);
    assert_eq!(only(&corpus).documents[0].mentions[0].concepts, ["C1"]);
}

#[test]
fn biosses_as_two_documents() {
    // A row's cells, the second in two runs and two paragraphs.
    let cell = |text: &str| {
        let (first, rest) = text.split_at(text.len() / 2);
        format!("<w:tc><w:p><w:r><w:t>{first}</w:t></w:r><w:r><w:t>{rest}</w:t></w:r></w:p><w:p/></w:tc>")
    };
    let document = |rows: &[&[&str]]| {
        let row = |cells: &&[&str]| format!("<w:tr>{}</w:tr>", cells.iter().map(|text| cell(text)).collect::<String>());
        let rows: String = rows.iter().map(row).collect();
        format!("<?xml version=\"1.0\"?><w:document><w:body><w:tbl>{rows}</w:tbl></w:body></w:document>")
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, xml: &str| {
        let mut archive = zip::ZipWriter::new(std::fs::File::create(folder.path().join(name)).unwrap());
        archive.start_file("word/document.xml", zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut archive, xml.as_bytes()).unwrap();
        archive.finish().unwrap();
    };
    let heading: &[&str] = &["Sentence No", "Annotator A", "Annotator B", "Annotator C", "Annotator D", "Annotator E"];
    write(
        "Annotation-Pairs.docx",
        &document(&[
            &["", "Sentence 1", "Sentence 2"],
            &["1", "A &lt; b  c.", "D."],
            &["2", "E.", "F."],
            &["7", "G.", "H."],
            &["8", "No", "score"],
            &["x", "No", "number"],
        ]),
    );
    write(
        "Annotator-Scores.docx",
        &document(&[
            heading,
            &["1", "4", "3", "4", "4", "3"],
            &["2", "0", "0", "0", "0", "1"],
            &["7", "2", "2", "2", "2", "2"],
            &["9", "0", "0", "0", "0", "0"],
        ]),
    );
    let corpus = corpora::read("biosses", folder.path()).unwrap();
    // 7 is one of BLUE's test pairs, 2 of BLURB's dev pairs.
    assert_eq!(names(&corpus), ["dev", "test", "train"]);
    let pairs: Vec<_> = corpus.splits.iter().map(|s| (s.pairs[0].id.as_str(), s.pairs[0].score)).collect();
    assert_eq!(pairs, [("2", Some(0.2)), ("7", Some(2.0)), ("1", Some(3.6))]);
    assert_eq!(corpus.splits[2].pairs[0].first, "A < b c.");
    assert_eq!(troubles(&corpus).iter().map(|(_, count)| count).sum::<usize>(), 3, "{:?}", troubles(&corpus));

    std::fs::write(folder.path().join("Annotator-Scores.docx"), "no archive").unwrap();
    assert!(corpora::read("biosses", folder.path()).unwrap_err().to_string().contains("Annotator-Scores.docx"));
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
