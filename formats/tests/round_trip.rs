//! Any document, made to fit a format, is the same after writing and reading.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use biomistral_nlu_formats::convert::{Format, Losses, fit, parse, print};
use biomistral_nlu_formats::{Argument, Codes, Document, Event, Mention, Offsets, Problems, Relation, Unit};
use biomistral_nlu_formats::{brat, fhir, omop};
use proptest::prelude::*;
use serde_json::Value;

/// Characters of one to four bytes, of one and two UTF-16 units, and all that the formats give a meaning.
const TEXT: &str = "[a-c \n\r\t|;:,<>&\"'é\u{301}😀日\u{85}]{1,40}";
const NAME: &str = "[A-Ca-c:_ <&\"-]{1,6}";

prop_compose! {
    fn document()(
        text in TEXT,
        places in prop::collection::vec((0usize..40, 1usize..8, 0usize..6, 1usize..4), 0..6),
        labels in prop::collection::vec(NAME, 6),
        events in prop::collection::vec((0usize..6, prop::collection::vec((NAME, 0usize..8), 0..3)), 0..3),
        relations in prop::collection::vec((any::<bool>(), "(Arg1|head|)", 0usize..8, 0usize..8), 0..3),
        attributes in prop::collection::vec((NAME, "[a-c ,]{0,3}"), 0..3),
        class in prop::option::of(NAME),
        cut in 0usize..40,
    ) -> Document {
        let at = |n: usize| text.char_indices().map(|(i, _)| i).chain([text.len()]).nth(n.min(text.chars().count())).unwrap();
        let mut document = Document::new("d1", text.clone());
        for (i, &(start, length, gap, second)) in places.iter().enumerate() {
            let (a, b) = (at(start), at(start + length));
            let (c, d) = (at(start + length + gap), at(start + length + gap + second));
            // A mention that is white space alone has no text in some formats.
            if text[a..b].trim().is_empty() {
                continue;
            }
            let mut mention = Mention::new(format!("T{}", document.mentions.len() + 1), labels[i].clone(), a..b);
            if gap > 1 && c < d && !text[c..d].trim().is_empty() {
                mention.places.push(c..d);
            }
            if i == 0 {
                mention.attributes.clone_from(&attributes);
                mention.concepts = vec!["C1".to_owned(), "X:2".to_owned()];
            }
            document.mentions.push(mention);
        }
        let count = document.mentions.len();
        let target = |n: usize| format!("T{}", n % count.max(1) + 1);
        for (i, (trigger, arguments)) in events.into_iter().enumerate().filter(|_| count > 0) {
            let argument = |(role, n): (String, usize)| Argument { role, target: target(n) };
            document.events.push(Event {
                id: format!("E{}", i + 1), label: "x".to_owned(), trigger: target(trigger),
                arguments: arguments.into_iter().map(argument).collect(), attributes: attributes.clone(),
            });
        }
        for (i, (of_concepts, role, a, b)) in relations.into_iter().enumerate().filter(|_| count > 0) {
            let end = |n: usize| if of_concepts { format!("C{n}") } else { target(n) };
            let argument = |n: usize| Argument { role: role.clone(), target: end(n) };
            document.relations.push(Relation {
                id: format!("R{}", i + 1), label: "y".to_owned(), arguments: vec![argument(a), argument(b)],
                of_concepts, attributes: attributes.clone(),
            });
        }
        document.classes.extend(class);
        let cut = at(cut);
        document.parts = vec![0..cut, cut..text.len()];
        document
    }
}

proptest! {
    #[test]
    fn what_fits_is_kept(document in document(), unit in prop::sample::select(vec![Unit::Byte, Unit::CodePoint, Unit::Utf16])) {
        for format in Format::ALL {
            let (mut fitted, mut losses) = (document.clone(), Losses::new());
            fit(format, &mut fitted, &mut losses);
            // What fits already loses nothing more.
            let mut again = Losses::new();
            let mut twice = fitted.clone();
            fit(format, &mut twice, &mut again);
            again.remove("parts of the text");
            prop_assert!(again.is_empty(), "{format:?}: {again:?}");
            prop_assert!(losses.values().sum::<usize>() > 0 || fitted.mentions.len() == document.mentions.len());

            let mut problems = Problems::default();
            let back = if format == Format::Brat {
                let ann = brat::write(&fitted).unwrap();
                vec![brat::read(&fitted.id, &fitted.text, &[("d1.ann", &ann)], &mut problems)]
            } else {
                let printed = print(format, std::slice::from_ref(&fitted), unit).unwrap();
                parse(format, "f", &printed, &mut problems)
            };
            prop_assert!(problems.0.is_empty(), "{format:?}: {:?}", problems.0);
            prop_assert_eq!(&back, &vec![fitted], "{:?}", format);
        }
    }
}

proptest! {
    /// Nothing is written that the document does not say, and every mention that is not counted as lost stands there.
    #[test]
    fn exports_say_what_the_document_says(
        document in document(),
        unit in prop::sample::select(vec![Unit::Byte, Unit::CodePoint, Unit::Utf16]),
        coded in any::<bool>(),
    ) {
        let label = document.mentions.first().map_or("x".to_owned(), |mention| mention.label.clone());
        let table = format!("label,system,code,concept_id\n\"{}\",urn:s,7,42\n", label.replace('"', "\"\""));
        let codes = if coded { Codes::read("t", &table).unwrap() } else { Codes::default() };
        let offsets = Offsets::new(&document.text, unit);
        let documents = [document.clone(), document.clone()];

        let mut losses = Losses::new();
        let bundle: Value = serde_json::from_str(&fhir::write(&documents, unit, &codes, &mut losses).unwrap()).unwrap();
        let entries = bundle["entry"].as_array().unwrap();
        let mut urls: Vec<&Value> = entries.iter().map(|entry| &entry["fullUrl"]).collect();
        let observations: Vec<&Value> =
            entries.iter().map(|entry| &entry["resource"]).filter(|resource| !resource["extension"].is_null()).collect();
        let lost = losses.get("mentions without a label or of white space alone").copied().unwrap_or(0);
        prop_assert_eq!(observations.len() + lost, 2 * document.mentions.len());
        prop_assert_eq!(losses.get("events").copied().unwrap_or(0), 2 * document.events.len());
        prop_assert_eq!(losses.get("relations").copied().unwrap_or(0), 2 * document.relations.len());
        for observation in &observations {
            prop_assert!(urls.contains(&&observation["derivedFrom"][0]["reference"]));
            let spans = observation["extension"].as_array().unwrap().iter().map(|span| {
                let number = |i: usize| span["extension"][i]["valueUnsignedInt"].as_u64().unwrap() as usize;
                assert_eq!(span["extension"][2]["valueCode"], unit.name());
                offsets.bytes(number(0), number(1)).unwrap()
            });
            let places: Vec<_> = spans.collect();
            let value = observation["valueString"].as_str();
            let value = value.or(observation["valueCodeableConcept"]["text"].as_str()).unwrap();
            let is = |mention: &&Mention| {
                mention.places == places && observation["code"]["text"] == *mention.label
                    && mention.text(&document.text).replace(|c: char| c.is_control() && !"\n\r\t".contains(c), " ") == value
            };
            prop_assert!(document.mentions.iter().any(|mention| is(&mention)));
            prop_assert_eq!(!observation["valueCodeableConcept"].is_null(), coded && observation["code"]["text"] == *label);
        }
        urls.sort_by_key(|url| url.to_string());
        urls.dedup();
        prop_assert_eq!(urls.len(), entries.len());

        let origin = omop::Origin::new(unit, "test", "2026-11-23").unwrap();
        let rows = omop::rows(&documents, &origin, &codes, &mut losses).unwrap();
        prop_assert_eq!(rows.len(), 2 * document.mentions.len());
        for (i, (row, mention)) in rows.iter().zip(document.mentions.iter().chain(&document.mentions)).enumerate() {
            prop_assert_eq!(row.note_nlp_id, i as i64 + 1);
            prop_assert_eq!(row.note_id, if i < document.mentions.len() { 1 } else { 2 });
            prop_assert_eq!(offsets.at(mention.extent().start).unwrap().to_string(), row.offset.as_str());
            prop_assert_eq!(mention.text(&document.text), row.lexical_variant.as_str());
            prop_assert!(row.snippet.contains(&document.text[mention.extent()]) && document.text.contains(&row.snippet));
            prop_assert_eq!(row.note_nlp_concept_id, if coded && mention.label == label { 42 } else { 0 });
let named = format!("offset_unit={}", unit.name());
            prop_assert!(row.term_modifiers.contains(&named));
        }
        let text = omop::csv(&rows, &origin).unwrap();
        let mut read = csv::Reader::from_reader(text.as_bytes());
        prop_assert_eq!(read.headers().unwrap().iter().collect::<Vec<_>>(), omop::COLUMNS.to_vec());
        let records: Vec<csv::StringRecord> = read.records().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(records.len(), rows.len());
        for (record, row) in records.iter().zip(&rows) {
            prop_assert_eq!((&record[4], &record[5], &record[3]), (&*row.offset, &*row.lexical_variant, &*row.snippet));
        }
    }
}
