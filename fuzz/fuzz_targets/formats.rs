#![no_main]
//! Any bytes as annotated documents: the first byte chooses the format. Every place that is read lies in its text, no problem
//! quotes it, and what is read can be made to fit its format and written.

use biomistral_nlu_formats::conll::{self, Layout, Spacing};
use biomistral_nlu_formats::convert::{Format, Losses, fit, parse, print};
use biomistral_nlu_formats::{Document, Problems, Unit, brat, licensed, ppi, sentences, tables};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let (mut problems, mut format) = (Problems::default(), None);
    let halves = || text.split_at(text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at));
    let documents: Vec<Document> = match kind % 15 {
        kind @ 0..5 => {
            let of = [Format::Jsonl, Format::Bioc, Format::BiocJson, Format::PubTator, Format::LabelStudio][usize::from(kind)];
            format = Some(of);
            parse(of, "f", text, &mut problems)
        }
        5 => {
            format = Some(Format::Brat);
            let (text, ann) = halves();
            vec![brat::read("f", text, &[("f.ann", ann)], &mut problems)]
        }
        6 => conll::read("f", text, Layout { label: "x", spacing: Spacing::Written }, &mut problems),
        7 => ppi::read("f", text, true, &mut problems),
        8 => {
            let (text, genes) = halves();
            sentences::bc2gm(["f", "g", "a"], text, genes, genes, &mut problems)
        }
        9 => sentences::ade("f", text, ["a", "b"], "r", &mut problems),
        10 => sentences::phee("f", text, &mut problems),
        11 => sentences::tokens("f", text, &mut problems),
        12 => tables::rows("f", text, tables::CSV, &mut problems, |row| tables::classed("1", row.at(0), row.at(1))),
        14 => {
            let (text, xml) = halves();
            vec![licensed::knowtator("f", text, "f.xml", xml, &mut problems)]
        }
        _ => {
            tables::rqe("f", text, &mut problems);
            tables::lines("f", text, &mut problems, |n, line| tables::exam(n.to_string(), line));
            Vec::new()
        }
    };
    for document in &documents {
        for place in document.mentions.iter().chain(&document.alternatives).flat_map(|mention| &mention.places) {
            assert!(document.text.get(place.clone()).is_some_and(|span| !span.is_empty()), "a place outside the text");
        }
        document.parts.iter().for_each(|part| assert!(document.text.get(part.clone()).is_some()));
    }
    if let Some(format) = format {
        let mut fitted = documents;
        for document in &mut fitted {
            fit(format, document, &mut Losses::new());
        }
        drop(print(format, &fitted, Unit::Utf16));
    }
});
