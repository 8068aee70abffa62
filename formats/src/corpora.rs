//! The corpora by name: which files of a folder, in which format. A folder in one of the general formats needs no name of its own:
//! `brat`, `bionlp`, `bioc`, `pubtator`, `conll` read every file of theirs below it.

mod single;

use crate::conll::{self, Layout, Spacing};
use crate::document::{Document, Pair, Question};
use crate::problem::{Problems, Trouble};
use crate::tables::{self, CSV, Style, TSV, classed, pair, scored};
use crate::{Error, Result, bioc, brat, licensed, ppi, pubtator, sentences};
use serde_json::Value;
use std::collections::BTreeMap;
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
    "aci_bench",
    "ade_v2",
    "anatem",
    "bc2gm",
    "bc5cdr",
    "bioasq",
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
    "i2b2_2010",
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
    "shareclef",
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
            r.each(&["train.tsv", "test.tsv"], single::masked)?;
        }
        "gad" => r.each(&[".tsv"], single::masked)?,
        "ade_v2" => single::ade(r)?,
        "bc2gm" => single::bc2gm(r)?,
        "phee" => r.each(&[".json"], |part, file| {
            part.split.documents.extend(sentences::phee(&part.name, file, part.problems));
        })?,
        "chemprot" => r.each(&["json/dev.json", "json/train.json", "json/test.json"], |part, file| {
            part.split.documents.extend(sentences::tokens(&part.name, file, part.problems));
        })?,
        "aci_bench" => r.each(&[".json"], single::aci_bench)?,
        "drsm" => single::drsm(r)?,
        "mts_dialog" => r.each(&[".csv"], |part, file| {
            let make = |row: &tables::Row<'_>| classed(row.get("ID"), row.get("dialogue"), row.get("section_header"));
            part.split.documents.extend(tables::rows(&part.name, file, CSV, part.problems, make));
        })?,
        "medical_abstracts" => single::medical_abstracts(r)?,
        "negex" => r.each(&["rsAnnotations-1-120-random.txt"], single::negex)?,
        "hoc" => r.each(&[".tsv"], single::hoc)?,
        "nli4ct" => single::nli4ct(r)?,
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
        "biosses" if single::biosses(r)? => {}
        "biosses" | "medsts" => r.each(&[".tsv"], |part, file| {
            let make = |row: &tables::Row<'_>| {
                scored(row.number.to_string(), row.get("sentence1"), row.get("sentence2"), row.get("score"))
            };
            part.split.pairs.extend(tables::rows(&part.name, file, TSV, part.problems, make));
        })?,
        "i2b2_2010" => single::i2b2(r)?,
        "shareclef" => single::share(r)?,
        "bioasq" => r.each(&[".json"], |part, file| {
            part.split.questions.extend(licensed::bioasq(&part.name, file, part.problems));
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
        "evidence_inference" => single::evidence_inference(r)?,
        "mcqa" => r.each(&[".jsonl"], |part, file| {
            let name = part.name.clone();
            let make = |number: usize, line: &Value| tables::exam(format!("{name}:{number}"), line);
            part.split.questions.extend(tables::lines(&part.name, file, part.problems, make));
        })?,
        "pubmedqa" => single::pubmed_questions(r)?,
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
