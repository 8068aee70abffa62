//! Out to FHIR R4: a collection Bundle with a DocumentReference per text and an Observation per mention.
//!
//! An Observation's `code.text` is the label, its value the mention's text, with a coding where the caller's table has one; the
//! extension `urn:biomistral-nlu:span`, once per stretch, has `start`, `end` (half-open) and `unit`. Ids are made of places in the
//! input, so that the same documents give the same bytes.

use crate::codes::Codes;
use crate::convert::Losses;
use crate::document::{Document, Mention};
use crate::offsets::{Offsets, Unit};
use crate::{Error, Result};
use serde_json::{Value, json};

/// The extension that names the stretches of a mention.
pub const SPAN: &str = "urn:biomistral-nlu:span";

/// The Bundle of documents; counts what has no form in it.
///
/// # Errors
/// [`Error::Unwritable`] for a mention outside its text.
pub fn write(documents: &[Document], unit: Unit, codes: &Codes, losses: &mut Losses) -> Result<String> {
    let mut entries = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        add(&mut entries, number, document, unit, codes, losses)?;
    }
    let mut bundle = json!({"resourceType": "Bundle", "type": "collection"});
    // FHIR has no empty lists.
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    let text = serde_json::to_string_pretty(&bundle).map_err(|e| Error::format("FHIR", e.to_string()))?;
    Ok(text + "\n")
}

fn add(
    entries: &mut Vec<Value>,
    number: usize,
    document: &Document,
    unit: Unit,
    codes: &Codes,
    losses: &mut Losses,
) -> Result<()> {
    let mut lose = |what: &'static str, count: usize| {
        if count > 0 {
            *losses.entry(what).or_default() += count;
        }
    };
    lose("events", document.events.len());
    lose("relations", document.relations.len());
    lose("parts of the text", document.parts.len());
    lose("notes of the document", document.notes.len());
    lose("source id", usize::from(document.source.is_some()));
    let about = uuid(&format!("document {number} {}", document.id));
    let identifier = string(&document.id, &mut lose).unwrap_or_else(|| (number + 1).to_string());
    entries.push(json!({"fullUrl": about, "resource": {
        "resourceType": "DocumentReference", "status": "current", "identifier": [{"value": identifier}],
        "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": base64(document.text.as_bytes())}}],
    }}));
    let observation = |label: String, what: &str| {
        let url = uuid(&format!("document {number} {} {what}", document.id));
        let mut resource = json!({"resourceType": "Observation", "status": "preliminary", "code": {"text": label}});
        resource["derivedFrom"] = json!([{"reference": about}]);
        (url, resource)
    };
    for (i, class) in document.classes.iter().enumerate() {
        if let Some(class) = string(class, &mut lose) {
            let (url, mut resource) = observation("class of the document".to_owned(), &format!("class {i}"));
            resource["valueString"] = Value::String(class);
            entries.push(json!({"fullUrl": url, "resource": resource}));
        }
    }
    let offsets = Offsets::new(&document.text, unit);
    for (i, mention) in document.mentions.iter().enumerate() {
        let text = mention.text(&document.text);
        let (Some(label), Some(value)) = (string(&mention.label, &mut lose), string(&text, &mut lose)) else {
            lose("mentions without a label or of white space alone", 1);
            continue;
        };
        let (url, mut resource) = observation(label, &format!("mention {i}"));
        resource["extension"] = spans(document, mention, &offsets, unit)?;
        let code = codes.of(mention, &text).filter(|code| !code.code.is_empty());
        lose(
            "concepts of mentions that are not in the table of codes",
            match code {
                Some(_) => mention.concepts.len().saturating_sub(1),
                None => mention.concepts.len(),
            },
        );
        match code {
            Some(code) => {
                let mut coding = json!({"system": code.system, "code": code.code});
                if !code.display.is_empty() {
                    coding["display"] = Value::String(code.display.clone());
                }
                resource["valueCodeableConcept"] = json!({"coding": [coding], "text": value});
            }
            None => resource["valueString"] = Value::String(value),
        }
        let mut components = Vec::new();
        for (name, value) in &mention.attributes {
            match (string(name, &mut lose), string(value, &mut lose)) {
                (Some(name), Some(value)) => components.push(json!({"code": {"text": name}, "valueString": value})),
                (Some(name), None) => components.push(json!({"code": {"text": name}, "valueBoolean": true})),
                _ => lose("attributes without a name", 1),
            }
        }
        if !components.is_empty() {
            resource["component"] = Value::Array(components);
        }
        entries.push(json!({"fullUrl": url, "resource": resource}));
    }
    Ok(())
}

fn spans(document: &Document, mention: &Mention, offsets: &Offsets, unit: Unit) -> Result<Value> {
    let outside = || Error::Unwritable { id: document.id.clone(), detail: "a mention outside the text".to_owned() };
    let span = |place: &std::ops::Range<usize>| {
        let (start, end) = (offsets.at(place.start).ok_or_else(outside)?, offsets.at(place.end).ok_or_else(outside)?);
        Ok(json!({"url": SPAN, "extension": [
            {"url": "start", "valueUnsignedInt": start}, {"url": "end", "valueUnsignedInt": end},
            {"url": "unit", "valueCode": unit.name()},
        ]}))
    };
    mention.places.iter().map(span).collect::<Result<Vec<_>>>().map(Value::Array)
}

/// A string as FHIR allows it: no control characters but tabs and line breaks; none that is white space alone.
fn string(text: &str, lose: &mut impl FnMut(&'static str, usize)) -> Option<String> {
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    lose("texts with control characters, now spaces", usize::from(text.contains(bad)));
    let text = text.replace(bad, " ");
    (!text.trim().is_empty()).then_some(text)
}

/// A UUID (version 8, RFC 9562) of a name: 128 bits of FNV-1a.
fn uuid(name: &str) -> String {
    let step =
        |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    let hash = name.as_bytes().iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, step);
    let hash = (hash & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
    let hex = format!("{hash:032x}");
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn a_uuid_is_of_version_8_and_depends_on_every_byte() {
        let (a, b) = (uuid("document 1 x"), uuid("document 1 y"));
        assert_ne!(a, b);
        for uuid in [a, b] {
            let bytes = uuid.strip_prefix("urn:uuid:").unwrap().as_bytes();
            assert_eq!((bytes.len(), bytes[14]), (36, b'8'));
            assert!(b"89ab".contains(&bytes[19]));
        }
        // FNV-1a of nothing is its offset basis (draft-eastlake-fnv), version and variant set.
        assert_eq!(uuid(""), "urn:uuid:6c62272e-07bb-8142-a2b8-21756295c58d");
    }

    #[test]
    fn a_mention_is_an_observation_as_fhir_has_them() {
        let mut document = Document::new("n1", "😀 took Aspirin.");
        let mut mention = Mention::new("T1", "Drug", 10..17);
        mention.attributes = vec![("negated".to_owned(), String::new()), ("subject".to_owned(), "patient".to_owned())];
        document.mentions.push(mention);
        let codes = Codes::read("t", "label,match,system,code\nDrug,aspirin,urn:s,7\n").unwrap();
        let mut losses = Losses::new();
        let bundle = write(&[document], Unit::Utf16, &codes, &mut losses).unwrap();
        let bundle: Value = serde_json::from_str(&bundle).unwrap();
        assert_eq!(bundle["entry"][0]["resource"]["content"][0]["attachment"]["data"], "8J+YgCB0b29rIEFzcGlyaW4u");
        let about = &bundle["entry"][0]["fullUrl"];
        let expected = json!({
            "resourceType": "Observation", "status": "preliminary", "code": {"text": "Drug"},
            "derivedFrom": [{"reference": about}],
            "valueCodeableConcept": {"coding": [{"system": "urn:s", "code": "7"}], "text": "Aspirin"},
            "extension": [{"url": SPAN, "extension": [
                {"url": "start", "valueUnsignedInt": 8}, {"url": "end", "valueUnsignedInt": 15},
                {"url": "unit", "valueCode": "utf16"}]}],
            "component": [{"code": {"text": "negated"}, "valueBoolean": true},
                {"code": {"text": "subject"}, "valueString": "patient"}],
        });
        assert_eq!(bundle["entry"][1]["resource"], expected);
        assert!(losses.is_empty(), "{losses:?}");
    }
}
