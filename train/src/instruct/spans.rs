//! Records answered by spans: entities, event triggers, event arguments.

use super::build::Maker;
use super::config::Named;
use super::passages::{Passage, cut, inside};
use super::record::{Dice, Draft};
use crate::Result;
use biomistral_nlu::task::{Wording, mark, one_line};
use biomistral_nlu_formats::{Document, Event, Mention};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Named {
    /// A name for one record, and its meaning where it has one and this record tells it.
    pub(crate) fn pick(&self, dice: &mut Dice) -> (String, Option<String>) {
        let (name, description) = match self {
            Named::One(name) => (name, None),
            Named::Several(names) => (&names[dice.below(names.len())], None),
            Named::Described { name, description } => (name, dice.chance(0.5).then(|| description.clone())),
        };
        // Callers write names either way.
        let first = name.chars().next().filter(|c| c.is_lowercase() && dice.chance(0.25));
        let name = match first {
            Some(c) => c.to_uppercase().chain(name.chars().skip(1)).collect(),
            None => name.clone(),
        };
        (name, description)
    }
}

/// A label asked for: its name, its meaning, the spans.
type Asked<'t> = (String, Option<String>, Vec<&'t str>);

/// Share of the labels asked for that shall not be in the passage: of BioRED's sentences, 46 % have no disease, 51 % no gene, 65 %
/// no chemical. Asked for what is there alone, a model learns to find something everywhere.
const ABSENT: f64 = 0.5;

/// Spans of a document by label, asked for in each of its passages.
pub(crate) fn extract(
    maker: &mut Maker<'_>,
    document: &Document,
    wording: Wording,
    labels: &BTreeMap<String, Named>,
    most: usize,
    empty: f64,
    mentions: &[(&str, &Mention)],
) -> Result<()> {
    // Of labels that are called the same, the first stands for all.
    let first = |named: &Named| labels.iter().find(|(_, other)| *other == named).map(|(label, _)| label);
    let firsts: Vec<&String> =
        labels.iter().filter(|(label, named)| first(named) == Some(*label)).map(|(l, _)| l).collect();
    let mentions: Vec<(&String, &Mention)> =
        mentions.iter().filter_map(|(label, mention)| Some((first(labels.get(*label)?)?, *mention))).collect();
    for passage in maker.passages(document) {
        let mut dice = maker.dice(&document.id, &format!("{}", passage.start));
        let here: Vec<&(&String, &Mention)> = mentions.iter().filter(|(_, m)| inside(&m.extent(), &passage)).collect();
        if here.is_empty() && !dice.chance(empty) {
            maker.count("no span, and enough of those");
            continue;
        }
        let mut present: Vec<&String> =
            firsts.iter().copied().filter(|label| here.iter().any(|(of, _)| of == label)).collect();
        let mut absent: Vec<&String> = firsts.iter().copied().filter(|label| !present.contains(label)).collect();
        dice.shuffle(&mut present);
        dice.shuffle(&mut absent);
        let asked = 1 + dice.below(most.min(firsts.len()));
        let without = (0..asked).filter(|_| dice.chance(ABSENT)).count().min(absent.len());
        let there = present.len().min(asked - without);
        let mut chosen: Vec<&String> = present.into_iter().take(there).collect();
        chosen.extend(absent.into_iter().take(asked - there));
        dice.shuffle(&mut chosen);
        let mut lines: Vec<Asked<'_>> = Vec::new();
        let mut gaps = false;
        for label in chosen {
            let (name, description) = labels[label].pick(&mut dice);
            let of: Vec<&Mention> = here.iter().filter(|(of, _)| *of == label).map(|(_, m)| *m).collect();
            gaps |= of.iter().any(|mention| mention.discontinuous());
            // Lists of names may share one.
            match lines.iter_mut().find(|(known, ..)| *known == name) {
                Some((.., spans)) => add(spans, &document.text, &of),
                None => {
                    let mut spans = Vec::new();
                    add(&mut spans, &document.text, &of);
                    lines.push((name, description, spans));
                }
            }
        }
        if gaps {
            maker.count("a discontinuous mention");
            continue;
        }
        let id = format!("{}:{}", document.id, passage.start);
        let text = &document.text[passage.clone()];
        let draft = Draft::spans(&maker.asking(&id, wording), id, json!({}), text, None, &lines)?;
        maker.take(draft)?;
    }
    Ok(())
}

/// Adds the texts of mentions, in order of place, each once.
fn add<'t>(spans: &mut Vec<&'t str>, text: &'t str, mentions: &[&Mention]) {
    let mut places: Vec<_> = mentions.iter().map(|mention| mention.extent()).collect();
    places.sort_by_key(|place| (place.start, place.end));
    for place in places {
        let span = &text[place];
        if !spans.contains(&span) {
            spans.push(span);
        }
    }
}

/// Each event's arguments that are mentions of its passage.
pub(crate) fn arguments(
    maker: &mut Maker<'_>,
    document: &Document,
    events: &BTreeMap<String, Named>,
    roles: &BTreeMap<String, Named>,
) -> Result<()> {
    each_event(maker, document, events, |maker, event, trigger, passage| {
        argument(maker, document, event, trigger, passage, (&events[&event.label], roles))
    })
}

/// The events that are asked for and can be pointed at, each with its trigger and the passage that has it.
pub(crate) fn each_event<'b>(
    maker: &mut Maker<'b>,
    document: &Document,
    events: &BTreeMap<String, Named>,
    mut make: impl FnMut(&mut Maker<'b>, &Event, &Mention, &Passage) -> Result<()>,
) -> Result<()> {
    let passages = maker.passages(document);
    for event in document.events.iter().filter(|event| events.contains_key(&event.label)) {
        let Some(trigger) = document.mention(&event.trigger).filter(|trigger| !trigger.discontinuous()) else {
            maker.count("a discontinuous trigger");
            continue;
        };
        let Some(passage) = passages.iter().find(|passage| inside(&trigger.extent(), passage)) else { continue };
        make(maker, event, trigger, passage)?;
    }
    Ok(())
}

fn argument(
    maker: &mut Maker<'_>,
    document: &Document,
    event: &Event,
    trigger: &Mention,
    passage: &Passage,
    (name, roles): (&Named, &BTreeMap<String, Named>),
) -> Result<()> {
    let mut dice = maker.dice(&document.id, &event.id);
    let mut fillers: BTreeMap<&String, Vec<&Mention>> = BTreeMap::new();
    for argument in &event.arguments {
        let Some((role, _)) = roles.get_key_value(&argument.role) else { continue };
        let Some(mention) = document.resolve(&argument.target) else { continue };
        if mention.discontinuous() || !inside(&mention.extent(), passage) {
            maker.count("an argument with gaps or in another passage");
            return Ok(());
        }
        fillers.entry(role).or_default().push(mention);
    }
    let mut asked: Vec<&String> = roles.keys().filter(|role| fillers.contains_key(role) || dice.chance(0.3)).collect();
    if asked.is_empty() {
        return Ok(());
    }
    dice.shuffle(&mut asked);
    let mut lines: Vec<Asked<'_>> = Vec::new();
    for role in asked {
        let (name, description) = roles[role].pick(&mut dice);
        let mut spans = Vec::new();
        add(&mut spans, &document.text, fillers.get(role).map_or(&[], Vec::as_slice));
        if lines.iter().all(|(known, ..)| *known != name) {
            lines.push((name, description, spans));
        }
    }
    let (name, description) = name.pick(&mut dice);
    let (variables, shown) = marked(maker, document, passage, trigger, &name, description)?;
    let text = &document.text[passage.clone()];
    let id = format!("{}:{}", document.id, event.id);
    let draft = Draft::spans(&maker.asking(&id, Wording::Argument), id, variables, text, Some(&shown), &lines)?;
    maker.take(draft)
}

/// What a prompt says of an event, and the passage with its trigger marked.
pub(crate) fn marked(
    maker: &Maker<'_>,
    document: &Document,
    passage: &Passage,
    trigger: &Mention,
    name: &str,
    description: Option<String>,
) -> Result<(Value, String)> {
    let text = &document.text[passage.clone()];
    let place = trigger.extent();
    let place = place.start - passage.start..place.end - passage.start;
    let mut variables = json!({"event": {"name": name}, "trigger": one_line(&text[place.clone()])});
    if let Some(description) = description {
        variables["event"]["description"] = json!(description);
    }
    Ok((variables, mark(maker.prompts, text, &[(place, name)])?))
}

impl Maker<'_> {
    /// The document's passages, of a size that its id decides.
    pub(crate) fn passages(&self, document: &Document) -> Vec<Passage> {
        let mut dice = self.dice(&document.id, "passages");
        cut(document, self.sizes[dice.below(self.sizes.len())])
    }
}
