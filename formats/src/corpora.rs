//! The corpora by name: which files of a folder, in which format. A folder in one of the general formats needs no name of its own:
//! `brat`, `bionlp`, `bioc`, `pubtator`, `conll` read every file of theirs below it.

use crate::conll::{self, Layout, Spacing};
use crate::document::{Document, Pair, Question};
use crate::problem::{Problems, Trouble};
use crate::tables::{self, CSV, Style, TSV, classed, pair, scored};
use crate::{Error, Result, bioc, brat, ppi, pubtator, sentences};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A part of a corpus as its makers split it.
#[derive(Debug, Clone, Default)]
pub struct Split {
    /// `train`, `devel`, a batch's name; empty for a corpus of one part.
    pub name: String,
    /// Annotated and classed texts.
    pub documents: Vec<Document>,
    /// Pairs of texts.
    pub pairs: Vec<Pair>,
    /// Questions.
    pub questions: Vec<Question>,
}

/// A corpus, read.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    /// Its parts, in order of name.
    pub splits: Vec<Split>,
    /// What was wrong with its files.
    pub problems: Problems,
}

/// The names that [`read`] knows.
pub const NAMES: &[&str] = &[
    "ade_v2",
    "anatem",
    "bc2gm",
    "bc5cdr",
    "bioc",
    "bioinfer",
    "bionlp",
    "bionlp11epi",
    "bionlp11id",
    "bionlp13cg",
    "bionlp13ge",
    "bionlp13pc",
    "biored",
    "biosses",
    "brat",
    "chemprot",
    "conll",
    "craft",
    "ddi2013",
    "drsm",
    "drugprot_dev",
    "ebm_pico",
    "ehr_rel",
    "euadr",
    "evidence_inference",
    "gad",
    "general_nli",
    "healthver",
    "hoc",
    "jnlpba",
    "leaf_lct",
    "linnaeus",
    "maccrobat",
    "mcqa",
    "medical_abstracts",
    "mednli",
    "medsts",
    "mqp",
    "mts_dialog",
    "ncbi_disease",
    "negex",
    "nli4ct",
    "phee",
    "pubmedqa",
    "pubtator",
    "rqe",
    "s800",
    "stsb",
    "tmvar",
    "variome",
];

/// Reads the corpus `name` from its folder.
///
/// # Errors
/// [`Error::Format`] for a name that is not one of [`NAMES`] and for a folder without any of its files; [`Error::Io`].
pub fn read(name: &str, folder: &Path) -> Result<Corpus> {
    let part = match name {
        "mcqa" | "general_nli" => PartBy::Folder,
        "ddi2013" => PartBy::Path,
        _ => PartBy::File,
    };
    let mut reading = Reading { folder, corpus: Corpus::default(), files: 0, part };
    let r = &mut reading;
    match name {
        "brat" | "anatem" | "variome" | "maccrobat" | "leaf_lct" => r.standoff(&["ann"])?,
        "bionlp" | "bionlp11epi" | "bionlp11id" | "bionlp13cg" | "bionlp13ge" | "bionlp13pc" => {
            r.standoff(&["a1", "a2"])?
        }
        "pubtator" | "biored" | "bc5cdr" | "tmvar" => {
            r.each(&[".PubTator", ".PubTator.txt", ".pubtator"], read_pubtator)?
        }
        "ncbi_disease" => r.each(&["corpus.txt"], read_pubtator)?,
        "bioc" | "drugprot_dev" => r.each(&[".xml"], |part, file| {
            part.split.documents.extend(bioc::read(&part.name, file, part.problems));
        })?,
        "conll" | "linnaeus" | "craft" | "jnlpba" => {
            r.each(&[".tsv", ".conll"], |part, file| part.conll(file, "entity"))?
        }
        "s800" => r.each(&[".tsv"], |part, file| part.conll(file, "Species"))?,
        "ebm_pico" => r.each(&[".txt"], |part, file| part.conll(file, "PICO"))?,
        "bioinfer" => r.each(&[".xml"], |part, file| {
            part.split.documents.extend(ppi::read(&part.name, file, false, part.problems));
        })?,
        "ddi2013" => r.each(&[".xml"], |part, file| {
            part.split.documents.extend(ppi::read(&part.name, file, true, part.problems));
        })?,
        "euadr" => {
            r.each(&["euadr.bioc.xml"], |part, file| {
                part.split.documents.extend(bioc::read(&part.name, file, part.problems));
            })?;
            r.each(&["train.tsv", "test.tsv"], masked)?;
        }
        "gad" => r.each(&[".tsv"], masked)?,
        "ade_v2" => ade(r)?,
        "bc2gm" => bc2gm(r)?,
        "phee" => r.each(&[".json"], |part, file| {
            part.split.documents.extend(sentences::phee(&part.name, file, part.problems));
        })?,
        "chemprot" => r.each(&["json/dev.json", "json/train.json", "json/test.json"], |part, file| {
            part.split.documents.extend(sentences::tokens(&part.name, file, part.problems));
        })?,
        "drsm" => drsm(r)?,
        "mts_dialog" => r.each(&[".csv"], |part, file| {
            let make = |row: &tables::Row<'_>| classed(row.get("ID"), row.get("dialogue"), row.get("section_header"));
            part.split.documents.extend(tables::rows(&part.name, file, CSV, part.problems, make));
        })?,
        "medical_abstracts" => medical_abstracts(r)?,
        "negex" => r.each(&["rsAnnotations-1-120-random.txt"], negex)?,
        "hoc" => r.each(&[".tsv"], hoc)?,
        "nli4ct" => nli4ct(r)?,
        "rqe" => {
            r.each(&[".xml"], |part, file| part.split.pairs.extend(tables::rqe(&part.name, file, part.problems)))?
        }
        "healthver" => r.each(&[".csv"], |part, file| {
            let make =
                |row: &tables::Row<'_>| pair(row.get("id"), row.get("evidence"), row.get("claim"), row.get("label"));
            part.split.pairs.extend(tables::rows(&part.name, file, CSV, part.problems, make));
        })?,
        "general_nli" => r.each(&[".jsonl"], |part, file| {
            let name = part.name.clone();
            let make = |number: usize, line: &Value| {
                let text = |key: &str| line[key].as_str().unwrap_or_default();
                pair(format!("{name}:{number}"), text("premise"), text("hypothesis"), text("label"))
            };
            part.split.pairs.extend(tables::lines(&part.name, file, part.problems, make));
        })?,
        "stsb" => r.each(&["-train.csv", "-dev.csv", "-test.csv"], |part, file| {
            let style = Style { header: false, ..CSV };
            let make = |row: &tables::Row<'_>| scored(row.number.to_string(), row.at(0), row.at(1), row.at(2));
            part.split.pairs.extend(tables::rows(&part.name, file, style, part.problems, make));
        })?,
        "biosses" | "medsts" => r.each(&[".tsv"], |part, file| {
            let make = |row: &tables::Row<'_>| {
                scored(row.number.to_string(), row.get("sentence1"), row.get("sentence2"), row.get("score"))
            };
            part.split.pairs.extend(tables::rows(&part.name, file, TSV, part.problems, make));
        })?,
        "mednli" => r.each(&[".jsonl"], |part, file| {
            let make = |_, line: &Value| {
                let text = |key: &str| line[key].as_str().unwrap_or_default();
                pair(text("pairID"), text("sentence1"), text("sentence2"), text("gold_label"))
            };
            part.split.pairs.extend(tables::lines(&part.name, file, part.problems, make));
        })?,
        "ehr_rel" => r.each(&[".tsv"], |part, file| {
            let make = |row: &tables::Row<'_>| {
                let id = format!("{}-{}", row.get("snomed_id_1"), row.get("snomed_id_2"));
                scored(id, row.get("snomed_label_1"), row.get("snomed_label_2"), row.get("mean_rating"))
            };
            part.split.pairs.extend(tables::rows(&part.name, file, TSV, part.problems, make));
        })?,
        "mqp" => r.each(&[".csv"], |part, file| {
            let style = Style { header: false, ..CSV };
            let make = |row: &tables::Row<'_>| scored(row.number.to_string(), row.at(1), row.at(2), row.at(3));
            part.split.pairs.extend(tables::rows(&part.name, file, style, part.problems, make));
        })?,
        "evidence_inference" => evidence_inference(r)?,
        "mcqa" => r.each(&[".jsonl"], |part, file| {
            let name = part.name.clone();
            let make = |number: usize, line: &Value| tables::exam(format!("{name}:{number}"), line);
            part.split.questions.extend(tables::lines(&part.name, file, part.problems, make));
        })?,
        "pubmedqa" => pubmed_questions(r)?,
        _ => return Err(Error::format(name, format!("expected a corpus or format of {}", NAMES.join(", ")))),
    }
    if reading.files == 0 {
        return Err(Error::format(folder.display().to_string(), format!("expected files of {name}, found none")));
    }
    reading.corpus.splits.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reading.corpus)
}

/// A corpus being read.
struct Reading<'f> {
    folder: &'f Path,
    corpus: Corpus,
    files: usize,
    part: PartBy,
}

/// What names the split that a file belongs to.
enum PartBy {
    /// Its name, without endings.
    File,
    /// Its folder's name.
    Folder,
    /// Its folder's path below the corpus: `Train/DrugBank`.
    Path,
}

/// One file of it, and where its content goes.
struct Part<'c> {
    /// Path below the folder.
    name: String,
    split: &'c mut Split,
    problems: &'c mut Problems,
}

impl Part<'_> {
    fn conll(&mut self, file: &str, label: &str) {
        let layout = Layout { label, spacing: Spacing::Written };
        self.split.documents.extend(conll::read(&self.name, file, layout, self.problems));
    }
}

impl Reading<'_> {
    /// Every file below the folder whose path ends so, in order of path.
    fn each(&mut self, ends: &[&str], mut read: impl FnMut(&mut Part<'_>, &str)) -> Result<()> {
        for path in files_below(self.folder)? {
            let name = relative(self.folder, &path);
            if ends.iter().any(|end| name.ends_with(end)) {
                let file = self.text(&path)?;
                let of = match self.part {
                    PartBy::File => stem(&name),
                    PartBy::Folder => name.rsplit('/').nth(1).unwrap_or_default(),
                    PartBy::Path => name.rsplit_once('/').map_or("", |(folder, _)| folder),
                };
                let (split, problems) = self.split(of);
                read(&mut Part { name: name.clone(), split, problems }, &file);
            }
        }
        Ok(())
    }

    /// Texts with standoff files beside them; one split per folder.
    fn standoff(&mut self, endings: &[&str]) -> Result<()> {
        let mut splits: BTreeMap<String, Split> = BTreeMap::new();
        let paths = files_below(self.folder)?;
        for path in &paths {
            let beside: Vec<PathBuf> = endings.iter().map(|ending| path.with_extension(ending)).collect();
            let text = path.extension().is_some_and(|ending| ending == "txt");
            if !text || !beside.iter().any(|path| paths.binary_search(path).is_ok()) {
                continue;
            }
            let text = self.text(path)?;
            let mut standoff = Vec::new();
            for path in beside.iter().filter(|path| paths.binary_search(path).is_ok()) {
                standoff.push((relative(self.folder, path), self.text(path)?));
            }
            let standoff: Vec<(&str, &str)> = standoff.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect();
            let name = relative(self.folder, path);
            let (folder, file) = name.rsplit_once('/').unwrap_or(("", &name));
            let id = file.trim_end_matches(".txt");
            let mut document = brat::read(id, &text, &standoff, &mut self.corpus.problems);
            document.source = Some(article(id).to_owned());
            let folder = folder.rsplit('/').next().unwrap_or_default().to_owned();
            let split = splits.entry(folder.clone()).or_insert_with(|| Split { name: folder, ..Split::default() });
            split.documents.push(document);
        }
        self.corpus.splits.extend(splits.into_values());
        Ok(())
    }

    /// A file's text; bytes that are no UTF-8 are a problem, and replaced.
    fn text(&mut self, path: &Path) -> Result<String> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        self.files += 1;
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| {
            self.corpus.problems.add(Trouble::Encoding, &relative(self.folder, path), 0);
            String::from_utf8_lossy(e.as_bytes()).into_owned()
        }))
    }

    fn split(&mut self, name: &str) -> (&mut Split, &mut Problems) {
        let at = self.corpus.splits.iter().position(|split| split.name == name).unwrap_or_else(|| {
            self.corpus.splits.push(Split { name: name.to_owned(), ..Split::default() });
            self.corpus.splits.len() - 1
        });
        (&mut self.corpus.splits[at], &mut self.corpus.problems)
    }
}

/// The PubMed id in a file name, or the name: `PMID-123`, `PMC-123-01-intro`, `123-01-Abstract-p01`.
fn article(id: &str) -> &str {
    let rest = id.strip_prefix("PMID-").unwrap_or(id);
    match rest.split_once('-') {
        Some((digits, _)) if digits.len() > 3 && digits.bytes().all(|b| b.is_ascii_digit()) => digits,
        _ => rest,
    }
}

/// An id as the name of a file: letters, digits, `-`, `_` and inner dots.
pub fn file_name(id: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = id.chars().map(plain).collect();
    match name.trim_start_matches('.') {
        "" => "_".to_owned(),
        name => name.to_owned(),
    }
}

/// All files below a folder, in order.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
            let entry = entry.map_err(|e| Error::io(&folder, e))?;
            let kind = entry.file_type().map_err(|e| Error::io(&entry.path(), e))?;
            match kind.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    Ok(files)
}

fn relative(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The file's name without its endings.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split('.').next().unwrap_or(file)
}

fn read_pubtator(part: &mut Part<'_>, file: &str) {
    part.split.documents.extend(pubtator::read(&part.name, file, part.problems));
}

/// BLURB's and BioBERT's `sentence⇥class` and `index⇥sentence⇥label` files.
fn masked(part: &mut Part<'_>, file: &str) {
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

fn ade(reading: &mut Reading<'_>) -> Result<()> {
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

fn bc2gm(reading: &mut Reading<'_>) -> Result<()> {
    for split in ["train", "test"] {
        let folder = reading.folder.join(split);
        if folder.is_dir() {
            let sentences = reading.text(&folder.join(format!("{split}.in")))?;
            let genes = reading.text(&folder.join("GENE.eval"))?;
            let (into, problems) = reading.split(split);
            into.documents = sentences::bc2gm([&format!("{split}.in"), "GENE.eval"], &sentences, &genes, problems);
        }
    }
    Ok(())
}

fn drsm(reading: &mut Reading<'_>) -> Result<()> {
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

fn medical_abstracts(reading: &mut Reading<'_>) -> Result<()> {
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
fn negex(part: &mut Part<'_>, file: &str) {
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
fn hoc(part: &mut Part<'_>, file: &str) {
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
fn nli4ct(reading: &mut Reading<'_>) -> Result<()> {
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
fn evidence_inference(reading: &mut Reading<'_>) -> Result<()> {
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

/// All labelled questions in one file; those whose answers stand in a second one are the test split.
fn pubmed_questions(reading: &mut Reading<'_>) -> Result<()> {
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

fn pubmedqa(id: &str, value: &Value) -> Option<Question> {
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
