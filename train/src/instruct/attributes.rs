//! Records of event attributes: one of given values for the event whose trigger is marked.

use super::build::Maker;
use super::choices::option;
use super::config::{AttributePlan, Named};
use super::record::Draft;
use super::spans::{each_event, marked};
use crate::Result;
use biomistral_nlu::task::Wording;
use biomistral_nlu_formats::Document;
use serde_json::json;
use std::collections::BTreeMap;

/// Each event's attributes; of events without one, a share is asked.
pub(crate) fn attributes(
    maker: &mut Maker<'_>,
    document: &Document,
    events: &BTreeMap<String, Named>,
    plans: &BTreeMap<String, AttributePlan>,
) -> Result<()> {
    each_event(maker, document, events, |maker, event, trigger, passage| {
        for (attribute, plan) in plans {
            let id = format!("{}:{}:{attribute}", document.id, event.id);
            let mut dice = maker.dice(&id, "attribute");
            let found = event.attributes.iter().find(|(name, _)| name == attribute);
            let value = match found {
                Some((_, value)) if plan.values.contains_key(value) => Some(value),
                Some(_) => {
                    maker.count("a value that is not asked for");
                    continue;
                }
                None if dice.chance(plan.absent) => None,
                None => {
                    maker.count("without the attribute, and enough of those");
                    continue;
                }
            };
            // The values in a random order; what says "none" is last, as in inference.
            let mut offered: Vec<(Option<&String>, &Named)> =
                plan.values.iter().map(|(value, named)| (Some(value), named)).collect();
            offered.extend(plan.otherwise.iter().map(|named| (None, named)));
            dice.shuffle(&mut offered);
            let answer = offered.iter().position(|(of, _)| *of == value).unwrap_or(offered.len());
            let mut options: Vec<String> = offered.iter().map(|(_, named)| option(named.pick(&mut dice))).collect();
            let (name, meaning) = plan.label.pick(&mut dice);
            let mut label = json!({"name": name});
            if let Some(meaning) = meaning {
                label["description"] = json!(meaning);
            }
            if plan.otherwise.is_none() {
                options.push(maker.prompts.none_option(Wording::Attribute, json!({"attribute": label}))?);
            }
            let (name, description) = events[&event.label].pick(&mut dice);
            let (mut variables, shown) = marked(maker, document, passage, trigger, &name, description)?;
            variables["attribute"] = label;
            let asking = maker.asking(&id, Wording::Attribute);
            let draft = Draft::choice(&asking, id, variables, Some(&shown), options, answer)?;
            maker.take(draft)?;
        }
        Ok(())
    })
}
