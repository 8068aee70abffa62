//! From one format to another: what the target cannot say is taken out and counted first.

use crate::document::{Argument, Document};
use crate::offsets::Unit;
use crate::problem::Problems;
use crate::{Error, Result, bioc, bioc_json, brat, jsonl, label_studio, pubtator};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Formats that are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// This project's JSON lines.
    Jsonl,
    /// A folder of texts and `.ann` files.
    Brat,
    /// BioC XML.
    Bioc,
    /// BioC JSON.
    BiocJson,
    /// PubTator.
    PubTator,
    /// Label Studio JSON.
    LabelStudio,
}

/// What was taken out or changed, and how often.
pub type Losses = BTreeMap<&'static str, usize>;

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] =
        [Format::Jsonl, Format::Brat, Format::Bioc, Format::BiocJson, Format::PubTator, Format::LabelStudio];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Brat => "brat",
            Format::Bioc => "bioc",
            Format::BiocJson => "bioc-json",
            Format::PubTator => "pubtator",
            Format::LabelStudio => "label-studio",
        }
    }

    /// The format of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The unit of its offsets where it has one of its own.
    pub fn own_unit(self) -> Option<Unit> {
        match self {
            Format::Brat | Format::PubTator => Some(Unit::CodePoint),
            _ => None,
        }
    }

    /// The unit that is written where none is asked for.
    pub fn usual_unit(self) -> Unit {
        if self == Format::LabelStudio { Unit::Utf16 } else { Unit::CodePoint }
    }
}

/// Reads a file, or a folder of brat, in order of file names.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a brat folder without texts.
pub fn read(format: Format, path: &Path) -> Result<(Vec<Document>, Problems)> {
    if format == Format::Brat {
        let corpus = crate::corpora::read("brat", path)?;
        let documents = corpus.splits.into_iter().flat_map(|split| split.documents);
        return Ok((documents.collect(), corpus.problems));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let name = path.display().to_string();
    let file = String::from_utf8(bytes).map_err(|e| {
        Error::format(&name, format!("expected UTF-8, found another byte at {}", e.utf8_error().valid_up_to()))
    })?;
    let mut problems = Problems::default();
    Ok((parse(format, &name, &file, &mut problems), problems))
}

/// Reads the content of a file of any format but brat, which is two files.
pub fn parse(format: Format, name: &str, file: &str, problems: &mut Problems) -> Vec<Document> {
    match format {
        Format::Jsonl => jsonl::read(name, file, problems),
        Format::Brat => Vec::new(),
        Format::Bioc => bioc::read(name, file, problems),
        Format::BiocJson => bioc_json::read(name, file, problems),
        Format::PubTator => pubtator::read(name, file, problems),
        Format::LabelStudio => label_studio::read(name, file, problems),
    }
}

/// The content of a file of any format but brat.
///
/// # Errors
/// [`Error::Unwritable`] for documents that were not made to [`fit`].
pub fn print(format: Format, documents: &[Document], unit: Unit) -> Result<String> {
    match format {
        Format::Jsonl => documents.iter().map(|document| jsonl::write(document, unit)).collect(),
        Format::Brat => documents.iter().map(brat::write).collect(),
        Format::Bioc => bioc::write(documents, unit),
        Format::BiocJson => bioc_json::write(documents, unit),
        Format::PubTator => documents.iter().map(pubtator::write).collect(),
        Format::LabelStudio => label_studio::write(documents, unit),
    }
}

/// Takes out what `format` cannot say, and counts it.
pub fn fit(format: Format, document: &mut Document, losses: &mut Losses) {
    let mut lose = |what: &'static str, count: usize| {
        if count > 0 {
            *losses.entry(what).or_default() += count;
        }
    };
    if format == Format::Jsonl {
        return;
    }
    let before = document.relations.len();
    match format {
        Format::PubTator => document.relations.retain(|r| r.of_concepts && r.arguments.len() == 2),
        _ => document.relations.retain(|r| !r.of_concepts),
    }
    lose("relations of the kind that the format has not", before - document.relations.len());
    lose("classes", if format == Format::LabelStudio { 0 } else { std::mem::take(&mut document.classes).len() });
    lose("source id", usize::from(document.source.take().is_some()));
    if !matches!(format, Format::Bioc | Format::BiocJson) {
        lose("notes of the document", std::mem::take(&mut document.notes).len());
        if format != Format::PubTator {
            lose("parts of the text", std::mem::take(&mut document.parts).len());
        }
    }
    if format != Format::Brat {
        lose("events", std::mem::take(&mut document.events).len());
    }
    match format {
        Format::Brat => fit_brat(document, &mut lose),
        Format::Bioc | Format::BiocJson => fit_bioc(document, format, &mut lose),
        Format::PubTator => fit_pubtator(document, &mut lose),
        Format::LabelStudio => fit_label_studio(document, &mut lose),
        Format::Jsonl => {}
    }
    // Arguments of what was taken out.
    let mut dangling = Problems::default();
    brat::check_targets(document, "", &mut dangling);
    lose("arguments of what the format has not", dangling.0.len());
}

type Lose<'l> = dyn FnMut(&'static str, usize) + 'l;

/// Names of one word, ids of brat's kind.
fn fit_brat(document: &mut Document, lose: &mut Lose<'_>) {
    let word = |text: &mut String, lose: &mut Lose<'_>| {
        let fitted: String = text.chars().map(|c| if c.is_whitespace() || c == ':' { '_' } else { c }).collect();
        let fitted = if fitted.is_empty() { "_".to_owned() } else { fitted };
        lose("characters that brat's names cannot have", usize::from(fitted != *text));
        *text = fitted;
    };
    let mut ids = HashMap::new();
    for (i, mention) in document.mentions.iter_mut().enumerate() {
        ids.insert(std::mem::replace(&mut mention.id, format!("T{}", i + 1)), format!("T{}", i + 1));
        word(&mut mention.label, lose);
        mention.concepts.iter_mut().for_each(|concept| word(concept, lose));
    }
    for (i, event) in document.events.iter_mut().enumerate() {
        ids.insert(std::mem::replace(&mut event.id, format!("E{}", i + 1)), format!("E{}", i + 1));
        word(&mut event.label, lose);
    }
    let renamed = |target: &mut String| {
        if let Some(id) = ids.get(target) {
            target.clone_from(id);
        }
    };
    let role = |arguments: &mut Vec<Argument>, lose: &mut Lose<'_>| {
        for (i, argument) in arguments.iter_mut().enumerate() {
            renamed(&mut argument.target);
            if argument.role.is_empty() {
                argument.role = format!("Arg{}", i + 1);
            }
            word(&mut argument.role, lose);
        }
    };
    for event in &mut document.events {
        renamed(&mut event.trigger);
        role(&mut event.arguments, lose);
    }
    for (i, relation) in document.relations.iter_mut().enumerate() {
        relation.id = format!("R{}", i + 1);
        word(&mut relation.label, lose);
        if relation.arguments.iter().any(|argument| !argument.role.is_empty()) {
            role(&mut relation.arguments, lose);
        } else {
            relation.id.clear();
            relation.arguments.iter_mut().for_each(|argument| renamed(&mut argument.target));
            lose("attributes of a relation of equals", std::mem::take(&mut relation.attributes).len());
        }
    }
    let mentions = document.mentions.iter_mut().map(|mention| &mut mention.attributes);
    let events = document.events.iter_mut().map(|event| &mut event.attributes);
    let relations = document.relations.iter_mut().map(|relation| &mut relation.attributes);
    for (name, value) in mentions.chain(events).chain(relations).flatten() {
        word(name, lose);
        if !value.is_empty() {
            word(value, lose);
        }
    }
}

/// Parts with nothing but spaces between them; infons of other names than the format's own.
fn fit_bioc(document: &mut Document, format: Format, lose: &mut Lose<'_>) {
    let mut at = 0;
    let spaces = document.parts.iter().all(|part| {
        let gap =
            document.text.get(at..part.start).is_some_and(|gap| gap.bytes().all(|b| b == b' ') && gap.len() < 4096);
        at = part.end;
        gap
    });
    if !spaces || document.text.get(at..).is_none_or(|rest| !rest.is_empty()) || document.parts.is_empty() {
        lose("parts of the text", std::mem::take(&mut document.parts).len());
        document.parts = std::iter::once(0..document.text.len()).collect();
    }
    let mut renamed = 0;
    let mut own = |attributes: &mut Vec<(String, String)>| {
        let before = attributes.len();
        attributes.retain(|(name, _)| name != "type" && !name.eq_ignore_ascii_case("identifier"));
        renamed += before - attributes.len();
        // JSON keeps the values of a name together, in order of name.
        if format == Format::BiocJson {
            attributes.sort_by(|a, b| a.0.cmp(&b.0));
        }
    };
    document.mentions.iter_mut().for_each(|mention| own(&mut mention.attributes));
    document.relations.iter_mut().for_each(|relation| own(&mut relation.attributes));
    lose("attributes called as the format's own fields", renamed);
    if format == Format::Bioc && document.text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        let clean =
            |c: char| if c.is_control() && !matches!(c, '\n' | '\t' | '\r') && c.len_utf8() == 1 { ' ' } else { c };
        let text: String = document.text.chars().map(clean).collect();
        // Two-byte controls (U+0080 to U+009F) become two-byte no-break spaces: no place moves.
        document.text = text.chars().map(|c| if c.is_control() && c.len_utf8() == 2 { '\u{a0}' } else { c }).collect();
        lose("control characters, now spaces", 1);
    }
}

/// One line of title and one of abstract, mentions in one piece with ids in order.
fn fit_pubtator(document: &mut Document, lose: &mut Lose<'_>) {
    let before = document.mentions.len();
    document.mentions.retain(|mention| !mention.discontinuous());
    lose("discontinuous mentions", before - document.mentions.len());
    let mut first = true;
    let line = |c: char| match c {
        '\n' if std::mem::take(&mut first) => '\n',
        '\n' | '\r' => ' ',
        c => c,
    };
    let text: String = document.text.chars().map(line).collect();
    lose("line breaks, now spaces", usize::from(text != document.text));
    document.text = text;
    if !document.text.contains('\n') {
        document.text.push('\n');
    }
    let title = document.text.find('\n').unwrap_or(0);
    lose("parts of the text", document.parts.len().saturating_sub(2));
    document.parts = [0..title, title + 1..document.text.len()].into();
    let plain = |text: &mut String, lose: &mut Lose<'_>| {
        let fitted = text.replace(['\t', '\n', '\r'], " ");
        lose("tabs and line breaks in names", usize::from(fitted != *text));
        *text = fitted;
    };
    document.id = document.id.replace(['|', '\t', '\n', '\r'], "_");
    if document.id.is_empty() {
        document.id = "_".to_owned();
    }
    for (i, mention) in document.mentions.iter_mut().enumerate() {
        mention.id = format!("T{}", i + 1);
        plain(&mut mention.label, lose);
        lose("attributes of mentions", std::mem::take(&mut mention.attributes).len());
        for concept in &mut mention.concepts {
            let fitted: String = concept
                .trim()
                .chars()
                .map(|c| if matches!(c, ',' | ';' | '|' | '\t' | '\n' | '\r') { '_' } else { c })
                .collect();
            lose("characters that PubTator's concepts cannot have", usize::from(fitted != *concept));
            *concept = fitted;
        }
        mention.concepts.retain(|concept| !concept.is_empty());
    }
    for (i, relation) in document.relations.iter_mut().enumerate() {
        relation.id = format!("R{}", i + 1);
        plain(&mut relation.label, lose);
        for (role, argument) in ["Arg1", "Arg2"].into_iter().zip(&mut relation.arguments) {
            role.clone_into(&mut argument.role);
            plain(&mut argument.target, lose);
        }
        let notes = relation.attributes.len().saturating_sub(1);
        lose("attributes of relations", notes);
        relation.attributes.truncate(1);
        for (name, value) in &mut relation.attributes {
            "Novelty".clone_into(name);
            plain(value, lose);
        }
    }
}

/// Mentions in one piece without attributes, relations of two mentions.
fn fit_label_studio(document: &mut Document, lose: &mut Lose<'_>) {
    let before = document.mentions.len();
    document.mentions.retain(|mention| !mention.discontinuous());
    lose("discontinuous mentions", before - document.mentions.len());
    for mention in &mut document.mentions {
        let concepts = std::mem::take(&mut mention.concepts).len();
        lose("attributes and concepts of mentions", std::mem::take(&mut mention.attributes).len() + concepts);
    }
    let before = document.relations.len();
    document.relations.retain(|relation| relation.arguments.len() == 2);
    lose("relations of more than two", before - document.relations.len());
    for relation in &mut document.relations {
        relation.id.clear();
        lose("attributes of relations", std::mem::take(&mut relation.attributes).len());
        for (role, argument) in ["Arg1", "Arg2"].into_iter().zip(&mut relation.arguments) {
            role.clone_into(&mut argument.role);
        }
    }
}
