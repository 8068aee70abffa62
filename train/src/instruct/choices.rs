//! Records that are one choice per text: classes, questions, inference, similarity.

use super::build::Maker;
use super::config::{ClassesOf, Named};
use super::passages::{cut, inside};
use super::record::{Dice, Draft};
use crate::Result;
use biomistral_nlu::task::Wording;
use biomistral_nlu_formats::{Document, Event, Mention, Pair, Question};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// `name` or `name: meaning`, as inference spells a class.
pub(crate) fn option((name, description): (String, Option<String>)) -> String {
    description.map_or(name.clone(), |description| format!("{name}: {description}"))
}

/// A document of one class.
pub(crate) fn classify(
    maker: &mut Maker<'_>,
    document: &Document,
    question: Option<&str>,
    classes: &BTreeMap<String, Named>,
    most: usize,
) -> Result<()> {
    let [class] = document.classes.as_slice() else {
        maker.count("not one class");
        return Ok(());
    };
    let Some((class, _)) = classes.get_key_value(class) else {
        maker.count("a class that is not asked for");
        return Ok(());
    };
    let mut dice = maker.dice(&document.id, class);
    let mut offered: Vec<&String> = classes.keys().filter(|other| *other != class).collect();
    dice.shuffle(&mut offered);
    let others = (most.max(2) - 1).min(offered.len());
    offered.truncate(if others > 2 { 2 + dice.below(others - 1) } else { others });
    offered.push(class);
    dice.shuffle(&mut offered);
    let answer = offered.iter().position(|other| *other == class).unwrap_or_default();
    let options: Vec<String> = offered.iter().map(|class| option(classes[*class].pick(&mut dice))).collect();
    let question = question.map(|question| filled(question, document));
    let variables = json!({"question": question});
    let (id, text) = (document.id.clone(), Some(document.text.as_str()));
    maker.take(Draft::choice(&maker.asking(&id, Wording::Classify), id, variables, text, options, answer)?)
}

/// The document, or its passages as documents whose classes are the types of what is annotated in them.
pub(crate) fn texts<'d>(maker: &Maker<'_>, document: &'d Document, of: ClassesOf) -> Cow<'d, [Document]> {
    let found: Vec<(&String, Range<usize>)> = match of {
        ClassesOf::Document => return Cow::Borrowed(std::slice::from_ref(document)),
        ClassesOf::Events => {
            let place = |event: &Event| document.mention(&event.trigger).map(Mention::extent);
            document.events.iter().filter_map(|event| Some((&event.label, place(event)?))).collect()
        }
        ClassesOf::Mentions => document.mentions.iter().map(|mention| (&mention.label, mention.extent())).collect(),
    };
    let passages = maker.passages(document).into_iter().map(|passage| {
        let mut made = Document::new(format!("{}:{}", document.id, passage.start), &document.text[passage.clone()]);
        for (label, _) in found.iter().filter(|(_, place)| inside(place, &passage)) {
            if !made.classes.contains(label) {
                made.classes.push((*label).clone());
            }
        }
        made
    });
    Cow::Owned(passages.collect())
}

/// Whether a class applies, of up to `questions` classes: the document's own, or others. Of a text without one, only one is asked, and
/// none after the last that applies: too many would be answered with no.
pub(crate) fn classify_multi(
    maker: &mut Maker<'_>,
    document: &Document,
    question: Option<&str>,
    classes: &BTreeMap<String, Named>,
    (applies, questions): (f64, usize),
) -> Result<()> {
    let mut dice = maker.dice(&document.id, "multi");
    let (mut own, mut other): (Vec<&String>, Vec<&String>) =
        classes.keys().partition(|class| document.classes.contains(class));
    for _ in 0..questions {
        let applies = !own.is_empty() && (other.is_empty() || dice.chance(applies));
        let from = if applies { &mut own } else { &mut other };
        if from.is_empty() {
            maker.count("no class that is asked for");
            return Ok(());
        }
        let class = from.swap_remove(dice.below(from.len()));
        let (name, description) = classes[class].pick(&mut dice);
        let mut label = json!({"name": name});
        if let Some(description) = description {
            label["description"] = json!(description);
        }
        let options = maker.prompts.yes_no()?.map(str::to_owned).to_vec();
        let variables = json!({"question": question.map(|q| filled(q, document)), "label": label});
        let (id, text, answer) = (document.id.clone(), Some(document.text.as_str()), usize::from(!applies));
        let asking = maker.asking(&id, Wording::ClassifyMulti);
        maker.take(Draft::choice(&asking, id, variables, text, options, answer)?)?;
        if own.is_empty() {
            break;
        }
    }
    Ok(())
}

/// A question with the document's notes in the place of their names.
fn filled(question: &str, document: &Document) -> String {
    let fill = |text: String, (key, value): (&String, &String)| {
        text.replace(&format!("{{{key}}}"), &value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    document.notes.iter().fold(question.to_owned(), fill)
}

/// Most characters of an option that is a mention.
const LONGEST: usize = 60;

/// For each sentence with a mention, the question which of two to six words is of its label: others of the sentence with another
/// label, and some of `elsewhere` that do not stand in it. It can be answered by reading alone, and teaches what letters are.
pub(crate) fn pick(
    maker: &mut Maker<'_>,
    document: &Document,
    labels: &BTreeMap<String, Named>,
    elsewhere: &[String],
) -> Result<()> {
    for passage in cut(document, 1) {
        let text = &document.text[passage.clone()];
        let mut dice = maker.dice(&document.id, &format!("pick {}", passage.start));
        let mut here: Vec<(&Named, &str)> = Vec::new();
        for mention in document.mentions.iter().filter(|m| !m.discontinuous() && inside(&m.extent(), &passage)) {
            let Some(named) = labels.get(&mention.label) else { continue };
            here.push((named, &document.text[mention.extent()]));
        }
        here.retain(|(_, span)| span.chars().count() <= LONGEST && !span.contains('\n'));
        if here.is_empty() {
            continue;
        }
        let (label, right) = here[dice.below(here.len())];
        // A span of two labels is no wrong answer for either.
        let of_label: Vec<&str> = here.iter().filter(|(named, _)| *named == label).map(|(_, span)| *span).collect();
        let mut wrong: Vec<&str> = here.iter().map(|(_, span)| *span).filter(|span| !of_label.contains(span)).collect();
        wrong.sort_unstable();
        wrong.dedup();
        dice.shuffle(&mut wrong);
        wrong.truncate(2);
        let others = 1 + dice.below(5);
        for _ in 0..4 * others {
            let Some(other) = elsewhere.get(dice.below(elsewhere.len())) else { break };
            if wrong.len() < others && !text.contains(other.as_str()) && other.chars().count() <= LONGEST {
                wrong.push(other);
            }
        }
        wrong.sort_unstable();
        wrong.dedup();
        if wrong.is_empty() {
            continue;
        }
        let options = std::iter::once(right).chain(wrong).map(str::to_owned).collect();
        let (name, _) = label.pick(&mut dice);
        let id = format!("{}:{}", document.id, passage.start);
        let question = format!("Which of these is a mention of {name} in the text?");
        answer(maker, &Question { id, source: None, context: Some(text.to_owned()), question, options, answer: 0 })?;
    }
    Ok(())
}

/// A question with its options in a random order.
pub(crate) fn answer(maker: &mut Maker<'_>, question: &Question) -> Result<()> {
    let mut dice = maker.dice(&question.id, "options");
    let mut order: Vec<usize> = (0..question.options.len()).collect();
    dice.shuffle(&mut order);
    let answer = order.iter().position(|&option| option == question.answer).unwrap_or_default();
    let options = order.iter().map(|&option| question.options[option].split_whitespace().collect::<Vec<_>>().join(" "));
    let variables = json!({"question": question.question});
    let (id, text) = (question.id.clone(), question.context.as_deref());
    maker.take(Draft::choice(&maker.asking(&id, Wording::Answer), id, variables, text, options.collect(), answer)?)
}

/// A labelled pair as a question about its first text.
pub(crate) fn answer_pair(
    maker: &mut Maker<'_>,
    pair: &Pair,
    question: &Named,
    labels: &BTreeMap<String, Named>,
    keep: &BTreeMap<String, f64>,
) -> Result<()> {
    let Some(answer) = labels.keys().position(|label| *label == pair.label) else {
        maker.count("a label that is not asked for");
        return Ok(());
    };
    let mut dice = maker.dice(&pair.id, "question");
    if keep.get(&pair.label).is_some_and(|share| !dice.chance(*share)) {
        maker.count("a label, and enough of those");
        return Ok(());
    }
    let second = pair.second.trim().trim_end_matches('.');
    let question = Question {
        id: pair.id.clone(),
        source: pair.source.clone(),
        context: Some(pair.first.clone()),
        question: question.any(&mut dice).replace("{second}", second),
        options: labels.values().map(Named::name).collect(),
        answer,
    };
    self::answer(maker, &question)
}

/// A labelled pair with its options in a random order.
pub(crate) fn entail(maker: &mut Maker<'_>, pair: &Pair, labels: &BTreeMap<String, Named>) -> Result<()> {
    let Some((label, _)) = labels.get_key_value(&pair.label) else {
        maker.count("a label that is not asked for");
        return Ok(());
    };
    let mut dice = maker.dice(&pair.id, "options");
    let mut offered: Vec<&String> = labels.keys().collect();
    dice.shuffle(&mut offered);
    let answer = offered.iter().position(|other| *other == label).unwrap_or_default();
    let options: Vec<String> = offered.iter().map(|label| labels[*label].name()).collect();
    let variables = json!({"premise": pair.first, "hypothesis": pair.second});
    let text = maker.prompts.text(Wording::Entail, &variables)?;
    let asking = maker.asking(&pair.id, Wording::Entail);
    maker.take(Draft::choice(&asking, pair.id.clone(), variables, Some(&text), options, answer)?)
}

/// A scored pair on one of the scales, rounded half up.
pub(crate) fn similar(maker: &mut Maker<'_>, pair: &Pair, [low, high]: [f64; 2], scales: &[i32]) -> Result<()> {
    let Some(score) = pair.score.filter(|score| (low..=high).contains(score)) else {
        maker.count("no score on the scale");
        return Ok(());
    };
    let mut dice = maker.dice(&pair.id, "scale");
    let most = scales[dice.below(scales.len())];
    let answer = ((score - low) / (high - low) * f64::from(most) + 0.5).floor() as usize;
    let options = (0..=most).map(|score| score.to_string()).collect();
    let variables = json!({"text1": pair.first, "text2": pair.second, "low": 0, "high": most});
    let text = maker.prompts.text(Wording::Similar, &variables)?;
    let asking = maker.asking(&pair.id, Wording::Similar);
    maker.take(Draft::choice(&asking, pair.id.clone(), variables, Some(&text), options, answer)?)
}

impl Named {
    /// One of its names, as it is written.
    fn any(&self, dice: &mut Dice) -> String {
        match self {
            Named::Several(names) => names.get(dice.below(names.len())).cloned().unwrap_or_default(),
            _ => self.name(),
        }
    }

    /// The name alone, as it is written: options of inference.
    fn name(&self) -> String {
        match self {
            Named::One(name) | Named::Described { name, .. } => name.clone(),
            Named::Several(names) => names.first().cloned().unwrap_or_default(),
        }
    }
}
