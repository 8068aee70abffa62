//! A set's files into items: what is asked, and what is right.

use crate::config::{LabelPlan, RelationPlan, SetPlan, TaskPlan};
use crate::line::{Gold, Place};
use crate::{Error, Result};
use biomistral_nlu::random::mix;
use biomistral_nlu::task;
use biomistral_nlu_formats::corpora::{self, Corpus, Split};
use biomistral_nlu_formats::{Document, Mention, Offsets, Relation, Unit, ppi};
use biomistral_nlu_train::instruct::{Passage, cut};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// One question to the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Unique in its set.
    pub id: String,
    /// The article, note or sentence that it is a part of.
    pub document: String,
    /// What is asked about.
    pub subject: Subject,
    /// What is right.
    pub gold: Gold,
    /// What a scorer takes for one of the right mentions that it overlaps.
    pub alternatives: Vec<Place>,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A text, or a passage of one.
    Text {
        /// The text.
        text: String,
        /// Code points of the document before it.
        start: usize,
        /// Its words, as code points of the document, where the file is one of tokens.
        words: Vec<(usize, usize)>,
    },
    /// A text and two of its mentions, head first, places in code points of the text.
    Pair {
        /// The text.
        text: String,
        /// The mentions.
        mentions: [task::Mention; 2],
    },
    /// A question.
    Question(task::Question),
    /// Two texts.
    Texts(String, String),
}

/// A set, read.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The items, in the order of the files.
    pub items: Vec<Item>,
    /// Items of documents that are not evaluated, for worked examples.
    pub examples: Vec<Item>,
    /// Documents that the items are of, as the files have them.
    pub documents: usize,
    /// Documents of the split.
    pub of: usize,
    /// What a reader of the figures has to know: problems in files, what could not be asked.
    pub notes: Vec<String>,
}

/// The items of one document.
struct Sheet {
    document: String,
    items: Vec<Item>,
}

/// Reads the set of `plan` for a split: at most `limit` documents, drawn by `seed`, and where `examples` are wanted, items of other
/// documents: of the split `train` where the plan and the files have one, else of the same.
///
/// # Errors
/// [`Error::Invalid`] for a set whose folder or split is not there: nothing to evaluate; what reading the files says.
pub fn load(
    plan: &SetPlan,
    corpora: &Path,
    split: &str,
    limit: Option<usize>,
    examples: bool,
    seed: u64,
) -> Result<Loaded> {
    let folder = find(corpora, &plan.folder)?;
    let corpus = corpora::read(&plan.reader(), &folder).map_err(|e| Error::invalid(e.to_string()))?;
    let wanted = plan.splits.get(split);
    if wanted.is_none() && !plan.splits.is_empty() {
        return Err(Error::invalid(format!(
            "{}: expected a split of {}, found {split}",
            plan.name,
            names(&plan.splits)
        )));
    }
    let mut loaded = Loaded::default();
    for (trouble, count) in corpus.problems.counts() {
        loaded.notes.push(format!("{count} × {} in the files", trouble.name()));
    }
    let parts = parts(&corpus, wanted.map_or(&[][..], Vec::as_slice));
    if parts.is_empty() {
        let there: Vec<&str> = corpus.splits.iter().map(|split| split.name.as_str()).collect();
        let wanted = wanted.map_or(String::new(), |names| names.join(" or "));
        let why = format!("{}: expected a split {wanted}, found {}", plan.name, there.join(", "));
        return Err(Error::invalid(why));
    }
    let mut lost = BTreeMap::new();
    let mut sheets = sheets(plan, &parts, &mut lost)?;
    loaded.notes.extend(lost.into_iter().map(|(what, count)| format!("{count} × {what}")));
    loaded.of = sheets.len();
    if examples {
        let train = plan.splits.get("train").filter(|_| split != "train").map(|names| self::parts(&corpus, names));
        let same: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        match train.filter(|parts| !parts.is_empty() && parts.iter().all(|part| !same.contains(&part.name.as_str()))) {
            Some(parts) => {
                let held: HashSet<&str> = sheets.iter().map(|sheet| sheet.document.as_str()).collect();
                let mut others = self::sheets(plan, &parts, &mut BTreeMap::new())?;
                others.retain(|sheet| !held.contains(sheet.document.as_str()));
                loaded.examples = drawn(others, Some(EXAMPLES), seed ^ 1).into_iter().flat_map(|s| s.items).collect();
            }
            None => {
                // The documents that are evaluated stay those of a run without examples, as far as there are others.
                let spare = limit.filter(|&limit| limit < sheets.len()).unwrap_or(0);
                let document = |&i: &usize| sheets[i].document.as_str();
                let order = ranks(&sheets, seed);
                let held: HashSet<&str> = order[..spare].iter().map(document).collect();
                let others = ranks(&sheets, seed ^ 1).into_iter().filter(|i| !held.contains(document(i)));
                let taken: HashSet<String> =
                    others.take(EXAMPLES.min(sheets.len() / 4)).map(|i| document(&i).to_owned()).collect();
                let (examples, rest): (Vec<_>, Vec<_>) =
                    sheets.into_iter().partition(|sheet| taken.contains(&sheet.document));
                loaded.notes.push(format!("examples are of the same split: {} documents left out", examples.len()));
                loaded.examples = examples.into_iter().flat_map(|sheet| sheet.items).collect();
                sheets = rest;
            }
        }
    }
    let sheets = drawn(sheets, limit, seed);
    loaded.documents = sheets.len();
    loaded.items = sheets.into_iter().flat_map(|sheet| sheet.items).collect();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in &mut loaded.items {
        let count = seen.entry(item.id.clone()).or_default();
        *count += 1;
        if *count > 1 {
            item.id = format!("{}#{count}", item.id);
        }
    }
    Ok(loaded)
}

/// Documents that worked examples are chosen from.
const EXAMPLES: usize = 200;

/// The folder below the one given, or below a folder in it.
fn find(corpora: &Path, folder: &Path) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    if corpora.join(folder).is_dir() {
        return Ok(corpora.join(folder));
    }
    for entry in std::fs::read_dir(corpora).map_err(|e| Error::io(corpora, e))? {
        let path = entry.map_err(|e| Error::io(corpora, e))?.path().join(folder);
        found.extend(path.is_dir().then_some(path));
    }
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::invalid(format!("{}: no such folder in {}", folder.display(), corpora.display()))),
        [one, other, ..] => Err(Error::invalid(format!(
            "{}: expected one such folder, found {} and {}",
            folder.display(),
            one.display(),
            other.display()
        ))),
    }
}

/// The parts of the first of the names that there is; a name also stands for a folder of a part's path. All without names.
fn parts<'c>(corpus: &'c Corpus, names: &[String]) -> Vec<&'c Split> {
    let of = |name: &str| -> Vec<&'c Split> {
        let inside = |split: &&Split| format!("/{}/", split.name).contains(&format!("/{name}/"));
        corpus.splits.iter().filter(inside).collect()
    };
    match names {
        [] => corpus.splits.iter().collect(),
        names => names.iter().map(|name| of(name)).find(|parts| !parts.is_empty()).unwrap_or_default(),
    }
}

fn names(splits: &BTreeMap<String, Vec<String>>) -> String {
    splits.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Indices of the sheets in an order that the seed decides, whatever else there is.
fn ranks(sheets: &[Sheet], seed: u64) -> Vec<usize> {
    let key = |i: usize| {
        let first = sheets[i].items.first().map_or("", |item| item.id.as_str());
        (first.bytes().fold(mix(seed), |key, byte| mix(key ^ u64::from(byte))), i)
    };
    let mut order: Vec<usize> = (0..sheets.len()).collect();
    order.sort_by_cached_key(|&i| key(i));
    order
}

/// At most `limit` of them, in their order.
fn drawn(sheets: Vec<Sheet>, limit: Option<usize>, seed: u64) -> Vec<Sheet> {
    let Some(limit) = limit.filter(|&limit| limit < sheets.len()) else { return sheets };
    let taken: HashSet<usize> = ranks(&sheets, seed).into_iter().take(limit).collect();
    sheets.into_iter().enumerate().filter(|(i, _)| taken.contains(i)).map(|(_, sheet)| sheet).collect()
}

type Lost = BTreeMap<&'static str, usize>;

fn sheets(plan: &SetPlan, parts: &[&Split], lost: &mut Lost) -> Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    let sheet = |document: &str, items: Vec<Item>| Sheet { document: document.to_owned(), items };
    for part in parts {
        match &plan.task {
            TaskPlan::Extract { labels, passage } => {
                sheets.extend(part.documents.iter().map(|d| sheet(d.origin(), extract(d, labels, *passage, lost))))
            }
            TaskPlan::Relate { labels, relations, listed } => sheets
                .extend(part.documents.iter().map(|d| sheet(d.origin(), relate(d, labels, relations, *listed, lost)))),
            TaskPlan::Classify { classes, multi, .. } => {
                sheets.extend(part.documents.iter().map(|d| sheet(d.origin(), classify(d, classes, *multi, lost))))
            }
            TaskPlan::Answer {} => sheets.extend(part.questions.iter().map(|q| {
                let document = q.source.as_ref().unwrap_or(&q.id);
                let gold = Gold::Labels(q.options.get(q.answer).cloned().into_iter().collect());
                let question = task::Question {
                    id: q.id.clone(),
                    question: Some(q.question.clone()),
                    context: q.context.clone(),
                    options: q.options.clone(),
                };
                sheet(document, vec![item(&q.id, document, Subject::Question(question), gold)])
            })),
            TaskPlan::Entail { .. } | TaskPlan::Similar { .. } => sheets.extend(part.pairs.iter().map(|pair| {
                let document = pair.source.as_ref().unwrap_or(&pair.id);
                let gold = match &plan.task {
                    TaskPlan::Entail { labels } => labels
                        .iter()
                        .find(|label| label.is(&pair.label))
                        .map(|label| Gold::Labels(vec![label.name.clone()])),
                    _ => pair.score.map(Gold::Score),
                };
                let texts = Subject::Texts(pair.first.clone(), pair.second.clone());
                let items = gold.map(|gold| item(&pair.id, document, texts, gold));
                if items.is_none() {
                    *lost.entry("pair with a label that is not asked for").or_default() += 1;
                }
                sheet(document, items.into_iter().collect())
            })),
        }
    }
    sheets.retain(|sheet| !sheet.items.is_empty());
    if sheets.is_empty() {
        return Err(Error::invalid(format!("{}: nothing that the task could be asked about", plan.name)));
    }
    Ok(sheets)
}

fn item(id: &str, document: &str, subject: Subject, gold: Gold) -> Item {
    Item { id: id.to_owned(), document: document.to_owned(), subject, gold, alternatives: Vec::new() }
}

/// The passages of a document, cut without a look at its mentions: the sentences of a file of tokens are its parts.
fn passages(document: &Document, size: usize) -> Vec<Passage> {
    if size == 0 {
        return std::iter::once(0..document.text.len()).collect();
    }
    if size == 1 && !document.tokens.is_empty() {
        return match document.parts.as_slice() {
            [] => std::iter::once(0..document.text.len()).collect(),
            parts => parts.to_vec(),
        };
    }
    let bare = Document { parts: document.parts.clone(), ..Document::new("", document.text.as_str()) };
    cut(&bare, size)
}

fn extract(document: &Document, labels: &[LabelPlan], size: usize, lost: &mut Lost) -> Vec<Item> {
    let offsets = Offsets::new(&document.text, Unit::CodePoint);
    let place = |mention: &Mention| {
        let label = labels.iter().find(|label| label.is(&mention.label))?;
        let extent = mention.extent();
        let (start, end) = (offsets.at(extent.start)?, offsets.at(extent.end)?);
        Some((extent.start, Place { label: label.name.clone(), start, end, text: document.text[extent].to_owned() }))
    };
    let places = |mentions: &[Mention]| {
        let mut places: Vec<(usize, Place)> = mentions.iter().filter_map(place).collect();
        places.sort_by(|a, b| a.1.cmp(&b.1));
        places.dedup();
        places
    };
    let (gold, alternatives) = (places(&document.mentions), places(&document.alternatives));
    let gaps = document.mentions.iter().filter(|m| m.discontinuous() && labels.iter().any(|l| l.is(&m.label)));
    count(lost, "discontinuous mention, taken with its gaps", gaps.count());
    let cut = passages(document, size);
    let mut items = Vec::with_capacity(cut.len());
    for (i, passage) in cut.iter().enumerate() {
        // A mention belongs to the passage it begins in; one that ends in another cannot be found, and counts.
        let until = cut.get(i + 1).map_or(usize::MAX, |next| next.start);
        let of = |places: &[(usize, Place)]| -> Vec<Place> {
            let here = |start: usize| (passage.start..until).contains(&start) || (i == 0 && start < until);
            places.iter().filter(|(start, _)| here(*start)).map(|(_, place)| place.clone()).collect()
        };
        let Some(start) = offsets.at(passage.start) else { continue };
        let words = document.tokens.iter().filter(|t| passage.start <= t.start && t.end <= passage.end);
        let words = words.filter_map(|token| Some((offsets.at(token.start)?, offsets.at(token.end)?))).collect();
        let text = document.text[passage.clone()].to_owned();
        let id = format!("{}:{start}", document.id);
        let gold = Gold::Spans(of(&gold));
        let item = item(&id, document.origin(), Subject::Text { text, start, words }, gold);
        items.push(Item { alternatives: of(&alternatives), ..item });
    }
    items
}

fn classify(document: &Document, classes: &[LabelPlan], multi: bool, lost: &mut Lost) -> Vec<Item> {
    let name = |class: &String| classes.iter().find(|plan| plan.is(class)).map(|plan| plan.name.clone());
    let mut gold: Vec<String> = document.classes.iter().filter_map(name).collect();
    gold.sort();
    gold.dedup();
    if !multi && gold.len() != 1 {
        count(lost, "document without one class that is asked for", 1);
        return Vec::new();
    }
    let text = Subject::Text { text: document.text.clone(), start: 0, words: Vec::new() };
    vec![item(&document.id, document.origin(), text, Gold::Labels(gold))]
}

fn count(lost: &mut Lost, what: &'static str, more: usize) {
    if more > 0 {
        *lost.entry(what).or_default() += more;
    }
}

/// Two mentions by their indices, head first.
type Ends = (usize, usize);

fn relate(
    document: &Document,
    labels: &[LabelPlan],
    relations: &[RelationPlan],
    listed: bool,
    lost: &mut Lost,
) -> Vec<Item> {
    let name = |mention: &Mention| labels.iter().find(|label| label.is(&mention.label)).map(|label| &label.name);
    let names: Vec<Option<&String>> = document.mentions.iter().map(name).collect();
    let fits = |r: &RelationPlan, (head, tail): Ends| match (names[head], names[tail]) {
        (Some(head), Some(tail)) => r.head.contains(head) && r.tail.contains(tail),
        _ => false,
    };
    let swapped = |(head, tail): Ends| (tail, head);
    let allowed = |ends: Ends| relations.iter().any(|r| fits(r, ends) || (r.symmetric && fits(r, swapped(ends))));
    let mut stated: BTreeMap<Ends, Vec<&str>> = BTreeMap::new();
    for relation in &document.relations {
        for ends in ends(document, relation) {
            stated.entry(ends).or_default().push(&relation.label);
        }
    }
    let sentences = passages(document, 1);
    let holder = |i: usize| {
        let extent = document.mentions[i].extent();
        sentences.iter().position(|s| s.start <= extent.start && extent.end <= s.end)
    };
    let holders: Vec<Option<usize>> = (0..document.mentions.len()).map(holder).collect();
    let mut asked: Vec<Ends> = match listed {
        true => stated.keys().copied().collect(),
        false => {
            let all = 0..document.mentions.len();
            let pairs = all.clone().flat_map(|head| all.clone().map(move |tail| (head, tail)));
            pairs
                .filter(|&(h, t)| h != t && holders[h].is_some() && holders[h] == holders[t] && allowed((h, t)))
                .collect()
        }
    };
    let at = |i: usize| (document.mentions[i].extent().start, document.mentions[i].extent().end, i);
    let one_way = |ends: Ends| relations.iter().any(|r| !r.symmetric && fits(r, ends));
    asked.retain(|&ends| {
        let (head, tail) = ends;
        // A pair that only relations without direction allow is asked once, the mention that stands first as the head.
        listed || one_way(ends) || (!one_way(swapped(ends)) && at(head) < at(tail))
    });
    let mut items = Vec::with_capacity(asked.len());
    for &(head, tail) in &asked {
        if !allowed((head, tail)) {
            count(lost, "listed pair that no relation of the configuration allows", 1);
            continue;
        }
        let mut gold: Vec<String> = Vec::new();
        for relation in relations {
            let is = |ends: Ends| stated.get(&ends).is_some_and(|labels| labels.iter().any(|label| relation.is(label)));
            if is((head, tail)) || (relation.symmetric && is((tail, head))) {
                gold.push(relation.name.clone());
            }
        }
        let extents = [document.mentions[head].extent(), document.mentions[tail].extent()];
        let (first, last) = (extents[0].start.min(extents[1].start), extents[0].end.max(extents[1].end));
        let from = sentences.iter().rev().find(|s| s.start <= first).map_or(0, |s| s.start);
        let to = sentences.iter().find(|s| s.end >= last).map_or(document.text.len(), |s| s.end);
        let text = &document.text[from..to];
        let offsets = Offsets::new(text, Unit::CodePoint);
        let mention = |i: usize, extent: &std::ops::Range<usize>| {
            let (start, end) = (offsets.at(extent.start - from)?, offsets.at(extent.end - from)?);
            Some(task::Mention { label: names[i]?.clone(), start, end })
        };
        let (Some(a), Some(b)) = (mention(head, &extents[0]), mention(tail, &extents[1])) else { continue };
        let id = format!("{}:{}-{}", document.id, document.mentions[head].id, document.mentions[tail].id);
        let subject = Subject::Pair { text: text.to_owned(), mentions: [a, b] };
        items.push(item(&id, document.origin(), subject, Gold::Labels(gold)));
    }
    let reached: HashSet<Ends> = asked.iter().flat_map(|&ends| [ends, swapped(ends)]).collect();
    let known = |labels: &[&str]| relations.iter().any(|r| labels.iter().any(|label| r.is(label)));
    let beyond = stated.iter().filter(|(ends, labels)| known(labels) && !reached.contains(ends)).count();
    count(lost, "relation across sentences, not asked about", beyond);
    items
}

/// The mentions that a relation is between.
fn ends(document: &Document, relation: &Relation) -> Vec<Ends> {
    let [first, second, ..] = relation.arguments.as_slice() else { return Vec::new() };
    let find = |target: &str| -> Vec<usize> {
        let mentions = document.mentions.iter().enumerate();
        match relation.of_concepts {
            true => mentions.filter(|(_, m)| m.concepts.iter().any(|c| c == target)).map(|(i, _)| i).collect(),
            false => {
                let id = document.resolve(target).map(|mention| mention.id.as_str());
                mentions.filter(|(_, mention)| Some(mention.id.as_str()) == id).map(|(i, _)| i).collect()
            }
        }
    };
    let tails = find(&second.target);
    find(&first.target).into_iter().flat_map(|head| tails.iter().map(move |&tail| (head, tail))).collect()
}

/// The name of the negative class in lines and reports.
pub(crate) const NONE: &str = ppi::NONE;

impl Item {
    /// Bytes of what is asked about.
    pub fn length(&self) -> usize {
        match &self.subject {
            Subject::Text { text, .. } | Subject::Pair { text, .. } => text.len(),
            Subject::Question(q) => q.context.iter().chain(&q.question).map(String::len).sum(),
            Subject::Texts(first, second) => first.len() + second.len(),
        }
    }
}
