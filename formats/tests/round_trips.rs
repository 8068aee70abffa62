//! What is written and read again is the same document, wherever nothing is counted as lost; and what a format is made for
//! is never counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use biomistral_nlu_formats::{Document, Losses, Unit, bioc, brat, pubtator};
use common::{Has, WILD, document, sorted};
use proptest::prelude::*;

const UNITS: [Unit; 3] = [Unit::Byte, Unit::CodePoint, Unit::Utf16];

/// Writes and reads again in every unit; the reader is told another unit where the file names its own.
fn trips(document: &Document, format: &str) -> Vec<(Losses, Document)> {
    let one = std::slice::from_ref(document);
    let mut trips = Vec::new();
    for (unit, other) in UNITS.into_iter().zip([Unit::Utf16, Unit::Byte, Unit::CodePoint]) {
        let mut losses = Losses::default();
        let read = match format {
            "brat" => {
                let written = brat::write(document, unit, &mut losses);
                vec![brat::read(&document.id, &document.text, &[&written], other, &mut losses).unwrap()]
            }
            "BioC XML" => {
                let written = bioc::write_xml(one, unit, &mut losses).unwrap();
                bioc::read_xml(&written, other, &mut losses).unwrap()
            }
            "BioC JSON" => {
                let written = bioc::write_json(one, unit, &mut losses);
                bioc::read_json(&written, other, &mut losses).unwrap()
            }
            "PubTator" => pubtator::read(&pubtator::write(one, &mut losses), &mut losses).unwrap(),
            _ => panic!("{format}"),
        };
        let [read] = read.try_into().unwrap();
        trips.push((losses, read));
    }
    trips
}

fn nothing_is_lost(document: &Document, format: &str) {
    for (losses, read) in trips(document, format) {
        assert!(losses.is_empty(), "{format}: {losses:?}");
        assert_eq!(sorted(read), sorted(document.clone()), "{format}");
    }
}

proptest! {
    #[test]
    fn whatever_is_not_counted_as_lost_comes_back(document in document(WILD)) {
        for format in ["brat", "BioC XML", "BioC JSON", "PubTator"] {
            for (losses, read) in trips(&document, format) {
                if losses.is_empty() {
                    prop_assert_eq!(sorted(read), sorted(document.clone()), "{}", format);
                }
            }
        }
    }

    #[test]
    fn bioc_carries_all(document in document(Has { names_of_any_kind: false, ..WILD })) {
        nothing_is_lost(&document, "BioC XML");
        nothing_is_lost(&document, "BioC JSON");
    }

    #[test]
    fn brat_carries_what_it_is_made_for(document in document(Has {
        parts: true, attributes: true, systems: true, many_concepts: true, events: true, relations: true, ..Has::default()
    })) {
        nothing_is_lost(&document, "brat");
    }

    #[test]
    fn pubtator_carries_what_it_is_made_for(document in document(Has {
        title_and_abstract: true, concept_links: true, ..Has::default()
    })) {
        nothing_is_lost(&document, "PubTator");
    }

    #[test]
    fn no_bytes_make_a_reader_panic(file in "(T1\tA |E1\t|R1\t|A1\t|N1\t|[*#]\t|1\\|[ta]\\||1\t|[0-9]{1,20}|\t|\n| |:|;|<[a-z]+>|</[a-z]+>|<document>|<passage>|&[a-z]+;|\\{|\\}|\"documents\":|\\[|\\]|ä){0,40}") {
        let mut losses = Losses::default();
        for unit in UNITS {
            let _ = brat::read("d", "aä\u{1F600} b", &[&file], unit, &mut losses);
            let _ = bioc::read_xml(&file, unit, &mut losses);
            let _ = bioc::read_json(&file, unit, &mut losses);
        }
        let _ = pubtator::read(&file, &mut losses);
    }
}

#[test]
fn brat_reads_what_its_page_shows() {
    let text = "Sony and Toshiba formed ventures; left and right arm.";
    let annotations = "T1\tOrganization 0 4\tSony\nT2\tMERGE-ORG 17 23\tformed\nT3\tOrganization 9 16\tToshiba\n\
        E1\tMERGE-ORG:T2 Org1:T1 Org2:T3\nR1\tOrigin Arg1:T3 Arg2:T1\t\n*\tEquiv T1 T3\nA1\tNegation E1\n\
        M2\tConfidence E1 L1\nN1\tReference T1 Wikipedia:534366\tSony\n#1\tAnnotatorNotes T1\tseen\n\
        T4\tArm 34 38;49 52\tleft arm\nT5\tBad 0 4\tTony\n";
    let mut losses = Losses::default();
    let document = brat::read("d", text, &[annotations], Unit::CodePoint, &mut losses).unwrap();
    assert_eq!(
        document.mentions.iter().map(|m| m.text(text)).collect::<Vec<_>>(),
        ["Sony", "formed", "Toshiba", "left arm"]
    );
    assert_eq!(document.mentions[0].concepts[0].code, "534366");
    assert_eq!((document.events[0].trigger.as_str(), document.events[0].arguments[1].role.as_str()), ("T2", "Org2"));
    assert_eq!(document.events[0].attributes[1].value.as_deref(), Some("L1"));
    assert_eq!(document.relations.iter().map(|r| r.label.as_str()).collect::<Vec<_>>(), ["Origin", "Equiv"]);
    let lost: Vec<_> = losses.iter().collect();
    assert_eq!(lost, [("mentions whose text differs from that at their offsets", 1, "d:12"), ("notes", 1, "d:10")]);
    let error =
        brat::read("d", text, &["T1\tOrganization 0 4\tSony\nT2 broken"], Unit::CodePoint, &mut losses).unwrap_err();
    assert_eq!(error.line, Some(2));
    assert!(!error.to_string().contains("broken"));
}

#[test]
fn bioc_xml_in_bytes_and_with_sentences() {
    let file = "<?xml version=\"1.0\"?><collection><source/><infon key=\"offset_unit\">byte</infon><document><id>7</id>\
        <passage><infon key=\"type\">title</infon><offset>0</offset><text>\u{f6}d &amp; x</text></passage>\
        <passage><offset>10</offset><sentence><offset>10</offset><text>One.</text></sentence><sentence><offset>15</offset>\
        <text>Two.</text><annotation id=\"a\"><infon key=\"type\">N</infon><location offset=\"15\" length=\"3\"/><text>Two</text>\
        </annotation></sentence></passage><relation id=\"r\"><infon key=\"type\">L</infon><node refid=\"gone\" role=\"x\"/></relation>\
        </document></collection>";
    let mut losses = Losses::default();
    let [document] = bioc::read_xml(file, Unit::CodePoint, &mut losses).unwrap().try_into().unwrap();
    assert_eq!(document.text, "\u{f6}d & x\n\n\nOne.\nTwo.");
    assert_eq!(document.mentions[0].hull(), 15..18);
    assert_eq!(document.passages[1].range, 10..19);
    assert_eq!(losses.iter().collect::<Vec<_>>(), [("items that point to what is not there", 1, "7")]);
    let error = bioc::read_xml("<collection>\n<document>&secret;</document></collection>", Unit::Byte, &mut losses)
        .unwrap_err();
    assert_eq!(error.line, Some(2));
    assert!(!error.to_string().contains("secret"));
}
