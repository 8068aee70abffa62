//! Corpora that are each in a form of their own.

use super::{CSV, Part, Reading, Style, TSV, files_below, relative, tables};
use crate::document::{Document, Pair, Question};
use crate::problem::Trouble;
use crate::tables::{classed, pair};
use crate::{Error, Result, docx, licensed, sentences};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::Path;

/// BLURB's and BioBERT's `sentence⇥class` and `index⇥sentence⇥label` files.
pub(super) fn masked(part: &mut Part<'_>, file: &str) {
    let header = file.starts_with("index\t");
    let name = part.name.clone();
    let make = |row: &tables::Row<'_>| {
        let (text, class) = if header { (row.at(1), row.at(2)) } else { (row.at(0), row.at(1)) };
        let related = match class.trim() {
            "1" => true,
            "0" => false,
            _ => return None,
        };
        sentences::masked(format!("{name}:{}", row.number), text, related)
    };
    let style = Style { header, ..TSV };
    part.split.documents.extend(tables::rows(&part.name, file, style, part.problems, make));
}

/// Visits: `{"data": [{"file", "src", "tgt"}]}`, the dialogue as the text, the clinical note beside it.
pub(super) fn aci_bench(part: &mut Part<'_>, file: &str) {
    let read = serde_json::from_str::<Value>(file).ok();
    let Some(visits) = read.as_ref().and_then(|read| read["data"].as_array()) else {
        part.problems.add(Trouble::Broken, &part.name, 0);
        return;
    };
    for (number, visit) in visits.iter().enumerate() {
        let [Some(id), Some(dialogue), Some(note)] = ["file", "src", "tgt"].map(|key| visit[key].as_str()) else {
            part.problems.add(Trouble::Broken, &part.name, number + 1);
            continue;
        };
        let mut document = Document::new(id, dialogue);
        document.notes.insert("note".to_owned(), note.to_owned());
        part.split.documents.push(document);
    }
}

pub(super) fn ade(reading: &mut Reading<'_>) -> Result<()> {
    for (file, effect, relation) in [("DRUG-AE.rel", "adverse effect", "causes"), ("DRUG-DOSE.rel", "dose", "dosed")] {
        let text = reading.text(&reading.folder.join(file))?;
        let (split, problems) = reading.split(file);
        split.documents = sentences::ade(file, &text, [effect, "drug"], relation, problems);
        for document in &mut split.documents {
            if relation == "causes" {
                document.classes.push("adverse effect".to_owned());
            }
        }
    }
    let text = reading.text(&reading.folder.join("ADE-NEG.txt"))?;
    let (split, problems) = reading.split("ADE-NEG.txt");
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let columns = line.split_once(" NEG ");
        match columns.and_then(|(pmid, text)| Some((pmid, classed(format!("{pmid}:{}", number + 1), text, "none")?))) {
            Some((pmid, document)) => split.documents.push(Document { source: Some(pmid.to_owned()), ..document }),
            None => problems.add(Trouble::Broken, "ADE-NEG.txt", number + 1),
        }
    }
    Ok(())
}

pub(super) fn bc2gm(reading: &mut Reading<'_>) -> Result<()> {
    for split in ["train", "test"] {
        let folder = reading.folder.join(split);
        if folder.is_dir() {
            let sentences = reading.text(&folder.join(format!("{split}.in")))?;
            let genes = reading.text(&folder.join("GENE.eval"))?;
            let alternatives = folder.join("ALTGENE.eval");
            let alternatives = if alternatives.is_file() { reading.text(&alternatives)? } else { String::new() };
            let (into, problems) = reading.split(split);
            let names = [&format!("{split}.in"), "GENE.eval", "ALTGENE.eval"];
            into.documents = sentences::bc2gm(names, &sentences, &genes, &alternatives, problems);
        }
    }
    Ok(())
}

pub(super) fn drsm(reading: &mut Reading<'_>) -> Result<()> {
    reading.each(&["initial_gold_standard_data_2022_01_03.tsv"], |part, file| {
        let make = |row: &tables::Row<'_>| {
            let text = format!("{}\n{}", row.get("TITLE").trim(), row.get("ABSTRACT").trim());
            let class =
                row.get("PRIMARY_CATEGORY").trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
            classed(row.get("ID_PAPER"), &text, class)
        };
        let style = Style { quoted: true, ..TSV };
        part.split.documents.extend(tables::rows(&part.name, file, style, part.problems, make));
    })
}

pub(super) fn medical_abstracts(reading: &mut Reading<'_>) -> Result<()> {
    let names = reading.text(&reading.folder.join("medical_tc_labels.csv"))?;
    let named =
        |row: &tables::Row<'_>| Some((row.get("condition_label").to_owned(), row.get("condition_name").to_owned()));
    let names: HashMap<String, String> =
        tables::rows("medical_tc_labels.csv", &names, CSV, &mut reading.corpus.problems, named).into_iter().collect();
    reading.each(&["medical_tc_test.csv", "medical_tc_train.csv"], |part, file| {
        let name = part.name.clone();
        let make = |row: &tables::Row<'_>| {
            classed(
                format!("{name}:{}", row.number),
                row.get("medical_abstract"),
                names.get(row.get("condition_label"))?,
            )
        };
        part.split.documents.extend(tables::rows(&part.name, file, CSV, part.problems, make));
    })
}

/// The condition is a mention where the sentence has it, with what is said of it as attributes.
pub(super) fn negex(part: &mut Part<'_>, file: &str) {
    let make = |row: &tables::Row<'_>| {
        let (condition, text) = (row.at(1).trim(), row.at(2).trim());
        let mut document = classed(row.at(0), text, row.at(3))?;
        document.notes = [("condition", condition), ("temporality", row.at(4)), ("experiencer", row.at(5))]
            .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
            .into();
        Some(document)
    };
    part.split.documents.extend(tables::rows(&part.name, file, TSV, part.problems, make));
}

/// A sentence per line, its classes joined by `|`, `empty` for none; or as BLUE writes it, with a header: `PMID_sN`, the sentence,
/// and in the last column its classes joined by `,`.
pub(super) fn hoc(part: &mut Part<'_>, file: &str) {
    let name = part.name.clone();
    if file.starts_with("index\t") {
        let make = |row: &tables::Row<'_>| {
            let (id, last) = (row.at(0), row.last());
            let mut document = classed(id, row.at(1), "any")?;
            document.source = id.split_once('_').map(|(pmid, _)| pmid.to_owned());
            document.classes = last.split(',').map(|class| class.trim().to_owned()).collect();
            document.classes.retain(|class| !class.is_empty());
            Some(document)
        };
        let style = Style { flexible: true, ..TSV };
        part.split.documents.extend(tables::rows(&part.name, file, style, part.problems, make));
        return;
    }
    let make = |row: &tables::Row<'_>| {
        let mut document = classed(format!("{name}:{}", row.number), row.at(0), row.at(1))?;
        document.classes = row.at(1).split('|').map(|class| class.trim().to_owned()).collect();
        document.classes.retain(|class| class != "empty");
        Some(document)
    };
    let style = Style { header: false, ..TSV };
    part.split.documents.extend(tables::rows(&part.name, file, style, part.problems, make));
}

/// Largest archive member that is read, in bytes.
const LARGEST_MEMBER: u64 = 64 << 20;

/// A ZIP of statements by split and of trials; the premise is the section that the statement is about, of both trials.
pub(super) fn nli4ct(reading: &mut Reading<'_>) -> Result<()> {
    let path = reading.folder.join("Complete_dataset.zip");
    let what = path.display().to_string();
    let broken = |e: zip::result::ZipError| Error::format(&what, e.to_string());
    let file = std::fs::File::open(&path).map_err(|e| Error::io(&path, e))?;
    reading.files += 1;
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    let mut members: BTreeMap<String, Value> = BTreeMap::new();
    for i in 0..archive.len() {
        let member = archive.by_index(i).map_err(broken)?;
        let name = member.name().to_owned();
        if !name.ends_with(".json") || name.starts_with("__MACOSX") {
            continue;
        }
        let mut text = String::new();
        member.take(LARGEST_MEMBER).read_to_string(&mut text).map_err(|e| Error::io(&path, e))?;
        match serde_json::from_str(&text) {
            Ok(value) => drop(members.insert(name, value)),
            Err(_) => reading.corpus.problems.add(Trouble::Broken, &name, 0),
        }
    }
    let section = |trial: &str, section: &str| {
        let trial = members.iter().find(|(name, _)| name.ends_with(&format!("/{trial}.json")))?.1;
        let lines = trial[section].as_array()?.iter().map(|line| line.as_str().unwrap_or_default().trim());
        Some(lines.collect::<Vec<_>>().join("\n"))
    };
    for (name, split) in [("train", "train"), ("dev", "dev"), ("Gold_test", "test")] {
        let statements = members.iter().find(|(path, _)| path.ends_with(&format!("/{name}.json")));
        let Some((member, Value::Object(statements))) = statements else { continue };
        let (into, problems) = reading.split(split);
        for (number, (id, item)) in statements.iter().enumerate() {
            let text = |key: &str| item[key].as_str().unwrap_or_default();
            let of = text("Section_id");
            let premise = section(text("Primary_id"), of).and_then(|primary| match text("Secondary_id") {
                "" => Some(primary),
                second => Some(format!("Primary trial:\n{primary}\nSecondary trial:\n{}", section(second, of)?)),
            });
            match premise.and_then(|premise| pair(id, &premise, text("Statement"), text("Label"))) {
                Some(pair) => into.pairs.push(Pair { source: Some(text("Primary_id").to_owned()), ..pair }),
                None => problems.add(Trouble::Unlabelled, member, number + 1),
            }
        }
    }
    Ok(())
}

/// Prompts and annotations in two files; a question per annotation that was found valid and whose evidence is given.
pub(super) fn evidence_inference(reading: &mut Reading<'_>) -> Result<()> {
    let find = |name: &str| reading.folder.join("annotations").join(name);
    let (prompts, annotations) = (find("prompts_merged.csv"), find("v2_annotations.csv"));
    let (prompts, annotations) = (reading.text(&prompts)?, reading.text(&annotations)?);
    let (split, problems) = reading.split("annotations");
    let asked = |row: &tables::Row<'_>| {
        let [outcome, new, old] = ["Outcome", "Intervention", "Comparator"].map(|column| row.get(column).trim());
        if outcome.is_empty() || new.is_empty() || old.is_empty() {
            return None;
        }
        Some((
            row.get("PromptID").to_owned(),
            format!("What was the effect of {new} on {outcome}, compared with {old}?"),
        ))
    };
    let questions: HashMap<String, String> =
        tables::rows("prompts_merged.csv", &prompts, CSV, problems, asked).into_iter().collect();
    let options =
        ["significantly increased", "significantly decreased", "no significant difference"].map(str::to_owned);
    let mut dangling = 0;
    let made = tables::rows("v2_annotations.csv", &annotations, CSV, problems, |row| {
        let valid = row.get("Valid Label") == "True" && row.get("Valid Reasoning") == "True";
        let evidence = row.get("Annotations").trim();
        let answer = options.iter().position(|option| option == row.get("Label").trim());
        let (Some(answer), true, false) = (answer, valid, evidence.is_empty()) else { return Some(None) };
        let Some(question) = questions.get(row.get("PromptID")) else {
            dangling += 1;
            return Some(None);
        };
        Some(Some(Question {
            id: format!("{}:{}", row.get("PromptID"), row.number),
            source: Some(row.get("PMCID").to_owned()),
            context: Some(evidence.to_owned()),
            question: question.split_whitespace().collect::<Vec<_>>().join(" "),
            options: options.to_vec(),
            answer,
        }))
    });
    (0..dangling).for_each(|_| problems.add(Trouble::Dangling, "v2_annotations.csv", 0));
    // The same evidence and answer, by several annotators, is one question.
    let mut seen = HashSet::new();
    split.questions = made.into_iter().flatten().collect();
    split.questions.retain(|one| seen.insert((one.question.clone(), one.context.clone(), one.answer)));
    Ok(())
}

/// Pairs of BIOSSES that BLUE, and BLURB after it, test with, and those that they develop with, by their numbers in the table
/// (BLURB's data generation script).
const BIOSSES_TEST: [usize; 20] = [7, 20, 22, 23, 25, 33, 38, 49, 52, 57, 59, 64, 69, 70, 71, 81, 83, 89, 96, 97];
const BIOSSES_DEV: [usize; 16] = [2, 8, 9, 24, 40, 41, 47, 63, 68, 72, 80, 82, 88, 90, 91, 100];

/// The two documents that BIOSSES is published as: a table of pairs, and one of what five annotators gave them; a score is their
/// mean. False where they are not there.
pub(super) fn biosses(reading: &mut Reading<'_>) -> Result<bool> {
    let files = files_below(reading.folder)?;
    let find = |name: &str| files.iter().find(|path| path.file_name().is_some_and(|file| file == name));
    let (Some(pairs), Some(scores)) = (find("Annotation-Pairs.docx"), find("Annotator-Scores.docx")) else {
        return Ok(false);
    };
    let mut table = |path: &Path| -> Result<Vec<(usize, Vec<String>)>> {
        reading.files += 1;
        let name = relative(reading.folder, path);
        let rows = docx::rows(path, &name, &mut reading.corpus.problems)?;
        let mut numbered = Vec::new();
        // The first row is the heading.
        for (row, mut cells) in rows.into_iter().enumerate().skip(1) {
            match cells.first().and_then(|number| number.parse().ok()) {
                Some(number) => numbered.push((number, cells.split_off(1))),
                None => reading.corpus.problems.add(Trouble::Broken, &name, row + 1),
            }
        }
        Ok(numbered)
    };
    let (pairs, mut scores): (_, HashMap<usize, Vec<String>>) = (table(pairs)?, table(scores)?.into_iter().collect());
    for (number, cells) in pairs {
        let split = match (BIOSSES_TEST.contains(&number), BIOSSES_DEV.contains(&number)) {
            (true, _) => "test",
            (_, true) => "dev",
            _ => "train",
        };
        let (into, problems) = reading.split(split);
        let given: Option<Vec<f64>> =
            scores.remove(&number).and_then(|cells| cells.iter().map(|cell| cell.parse().ok()).collect());
        match (given.filter(|given| !given.is_empty()), &cells[..]) {
            (Some(given), [first, second, ..]) if !first.is_empty() && !second.is_empty() => {
                let score = Some(given.iter().sum::<f64>() / given.len() as f64);
                let (id, first, second) = (number.to_string(), first.clone(), second.clone());
                into.pairs.push(Pair { id, first, second, score, ..Pair::default() });
            }
            _ => problems.add(Trouble::Unlabelled, "Annotation-Pairs.docx", number),
        }
    }
    scores.values().for_each(|_| reading.corpus.problems.add(Trouble::Dangling, "Annotator-Scores.docx", 0));
    Ok(true)
}

/// All labelled questions in one file; those whose answers stand in a second one are the test split.
pub(super) fn pubmed_questions(reading: &mut Reading<'_>) -> Result<()> {
    let mut held = HashSet::new();
    for path in files_below(reading.folder)? {
        if relative(reading.folder, &path).ends_with("test_ground_truth.json") {
            let file = reading.text(&path)?;
            let problems = &mut reading.corpus.problems;
            held.extend(tables::entries("test_ground_truth.json", &file, problems, |id, _| Some(id.to_owned())));
        }
    }
    let mut test = Vec::new();
    reading.each(&["ori_pqal.json"], |part, file| {
        let questions = tables::entries(&part.name, file, part.problems, pubmedqa);
        let (tested, rest): (Vec<_>, Vec<_>) = questions.into_iter().partition(|one| held.contains(&one.id));
        part.split.questions.extend(rest);
        test.extend(tested);
    })?;
    if !test.is_empty() {
        reading.split("test").0.questions = test;
    }
    Ok(())
}

pub(super) fn pubmedqa(id: &str, value: &Value) -> Option<Question> {
    let options = ["yes", "no", "maybe"].map(str::to_owned).to_vec();
    let contexts = value["CONTEXTS"].as_array()?.iter().map(|part| part.as_str()).collect::<Option<Vec<_>>>()?;
    Some(Question {
        id: id.to_owned(),
        source: Some(id.to_owned()),
        context: Some(contexts.join("\n")),
        question: value["QUESTION"].as_str()?.trim().to_owned(),
        answer: options.iter().position(|option| Some(option.as_str()) == value["final_decision"].as_str())?,
        options,
    })
}

/// i2b2 2010: `.con` files of concepts, one split per folder of folders; texts and relations of the same name, of several those with
/// the longest path in common.
pub(super) fn i2b2(reading: &mut Reading<'_>) -> Result<()> {
    let paths = files_below(reading.folder)?;
    let names: Vec<String> = paths.iter().map(|path| relative(reading.folder, path)).collect();
    for (concepts, name) in paths.iter().zip(&names).filter(|(_, name)| name.ends_with(".con")) {
        let stem = Path::new(name).with_extension("");
        let stem = stem.file_name().map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
        let common = |other: &str| name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let beside = |ending: &str| {
            let file = format!("{stem}{ending}");
            let same = (0..paths.len()).filter(|&i| names[i].rsplit('/').next() == Some(file.as_str()));
            same.max_by_key(|&i| common(&names[i]))
        };
        let concepts = reading.text(concepts)?;
        let (relations, related) = match beside(".rel") {
            Some(at) => (reading.text(&paths[at])?, names[at].clone()),
            None => (String::new(), String::new()),
        };
        let text = beside(".txt").map(|at| reading.text(&paths[at])).transpose()?;
        let folders: Vec<&str> = name.split('/').collect();
        let (split, problems) = reading.split(&folders[..folders.len().saturating_sub(2)].join("/"));
        match text {
            Some(text) => {
                let document = licensed::i2b2(&stem, &text, [name, &related], &concepts, &relations, problems);
                split.documents.push(document);
            }
            None => problems.add(Trouble::Dangling, name, 0),
        }
    }
    Ok(())
}

/// ShARe/CLEF 2013: a text and a file of lines with `||` of the same name up to the first dot; one split per folder of texts.
pub(super) fn share(reading: &mut Reading<'_>) -> Result<()> {
    type Files = HashMap<String, (String, String)>;
    let (mut pipes, mut marked): (Files, Files) = (HashMap::new(), HashMap::new());
    let mut texts = Vec::new();
    for path in files_below(reading.folder)? {
        let name = relative(reading.folder, &path);
        let stem = super::stem(&name).to_owned();
        if name.ends_with(".knowtator.xml") {
            marked.insert(stem, (name, reading.text(&path)?));
        } else if name.ends_with(".txt") {
            let file = reading.text(&path)?;
            match file.lines().next().is_some_and(|line| line.split("||").count() > 4) {
                true => drop(pipes.insert(stem, (name, file))),
                false => texts.push((name, stem, file)),
            }
        }
    }
    for (name, stem, text) in texts {
        let (split, problems) = reading.split(name.rsplit_once('/').map_or("", |(folder, _)| folder));
        // Of a report that has both, the lines: they are what the task's scorer reads.
        split.documents.push(match (pipes.get(&stem), marked.get(&stem)) {
            (Some((file, lines)), _) => licensed::share(&stem, &text, file, lines, problems),
            (None, Some((file, xml))) => licensed::knowtator(&stem, &text, file, xml, problems),
            (None, None) => Document::new(stem, text),
        });
    }
    Ok(())
}
