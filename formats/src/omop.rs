//! Out to OMOP's NOTE_NLP (CDM 5.4): a row per mention; as CSV. `term_modifiers` names the label and the unit of `offset`.

use crate::codes::Codes;
use crate::convert::Losses;
use crate::document::{Document, Mention};
use crate::offsets::{Offsets, Unit};
use crate::{Error, Result};

/// Columns of the table, in the order of the CDM.
pub const COLUMNS: [&str; 14] = [
    "note_nlp_id",
    "note_id",
    "section_concept_id",
    "snippet",
    "offset",
    "lexical_variant",
    "note_nlp_concept_id",
    "note_nlp_source_concept_id",
    "nlp_system",
    "nlp_date",
    "nlp_datetime",
    "term_exists",
    "term_temporal",
    "term_modifiers",
];

/// Code points of the text on each side of a mention in its snippet.
const AROUND: usize = 50;
/// Widest `snippet` and `lexical_variant`, and `term_modifiers`, of the CDM.
const WIDE: usize = 250;
const MODIFIERS: usize = 2000;

/// What every row says of how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Unit of the offsets.
    pub unit: Unit,
    /// `nlp_system`, 1 to 250 characters.
    pub system: String,
    /// `nlp_date`, `YYYY-MM-DD`.
    pub date: String,
    /// The same as days since 1970-01-01.
    pub days: i64,
}

impl Origin {
    /// Checks system and date.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn new(unit: Unit, system: &str, date: &str) -> Result<Self> {
        if !(1..=WIDE).contains(&system.chars().count()) {
            return Err(Error::format("nlp_system", "expected 1 to 250 characters"));
        }
        let days =
            days(date).ok_or_else(|| Error::format("nlp_date", format!("expected YYYY-MM-DD, found {date:?}")))?;
        Ok(Origin { unit, system: system.to_owned(), date: date.to_owned(), days })
    }
}

/// Days of a date since 1970-01-01; `None` for what is no date of the years 1 to 9999.
fn days(date: &str) -> Option<i64> {
    let bytes = date.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let digits = date.get(range).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<i64>().ok()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    // A year of March to February has its odd day last.
    let from_march = (month + 9) % 12;
    let y = year - i64::from(month <= 2);
    let of_years = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    let days = of_years + (153 * from_march + 2) / 5 + day - 1 - 719_468;
    (year > 0 && civil(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
pub fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    (year + 400 * era + i64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// A row; columns that are always NULL or 0 are not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Counts from 1.
    pub note_nlp_id: i64,
    /// The document's id where all ids are integers, else its place in the input, from 1.
    pub note_id: i64,
    /// The mention with the text around it.
    pub snippet: String,
    /// Where the mention starts.
    pub offset: String,
    /// Its text.
    pub lexical_variant: String,
    /// The caller's concept, else 0.
    pub note_nlp_concept_id: i32,
    /// Label, unit, attributes: `name=value`, separated by commas.
    pub term_modifiers: String,
}

/// The rows of documents; counts what the table cannot say.
///
/// # Errors
/// [`Error::Unwritable`] for a mention outside its text.
pub fn rows(documents: &[Document], origin: &Origin, codes: &Codes, losses: &mut Losses) -> Result<Vec<Row>> {
    let mut lose = |what: &'static str, count: usize| {
        if count > 0 {
            *losses.entry(what).or_default() += count;
        }
    };
    let ids: Option<Vec<i64>> = documents.iter().map(|document| document.id.parse().ok()).collect();
    if ids.is_none() {
        lose("ids of documents: note_id, an integer, is their place in the input", documents.len());
    }
    let mut rows = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        lose("events", document.events.len());
        lose("relations", document.relations.len());
        lose("classes", document.classes.len());
        lose("parts of the text", document.parts.len());
        lose("notes of the document", document.notes.len());
        lose("source id", usize::from(document.source.is_some()));
        let note_id = ids.as_ref().map_or(number as i64 + 1, |ids| ids[number]);
        let offsets = Offsets::new(&document.text, origin.unit);
        for mention in &document.mentions {
            let outside =
                || Error::Unwritable { id: document.id.clone(), detail: "a mention outside the text".to_owned() };
            let extent = mention.extent();
            let start = offsets.at(extent.start).ok_or_else(outside)?;
            let text = mention.text(&document.text);
            let code = codes.of(mention, &text).and_then(|code| code.concept_id);
            let concept = i32::try_from(code.unwrap_or(0)).unwrap_or(0);
            lose("gaps of discontinuous mentions", mention.places.len() - 1);
            lose(
                "concepts of mentions that are not in the table of codes",
                match concept {
                    0 => mention.concepts.len(),
                    _ => mention.concepts.len().saturating_sub(1),
                },
            );
            let (lexical_variant, cut) = first(&text, WIDE);
            lose("ends of mentions longer than 250 characters", usize::from(cut));
            let (term_modifiers, cut) = first(&modifiers(mention, origin.unit), MODIFIERS);
            lose("ends of modifiers longer than 2000 characters", usize::from(cut));
            rows.push(Row {
                note_nlp_id: rows.len() as i64 + 1,
                note_id,
                snippet: first(around(&document.text, extent).ok_or_else(outside)?, WIDE).0,
                offset: start.to_string(),
                lexical_variant,
                note_nlp_concept_id: concept,
                term_modifiers,
            });
        }
    }
    Ok(rows)
}

/// CSV with a header of [`COLUMNS`]; NULL is an empty field.
///
/// # Errors
/// None that data can cause.
pub fn csv(rows: &[Row], origin: &Origin) -> Result<String> {
    let failed = |e: &dyn std::fmt::Display| Error::format("NOTE_NLP", e.to_string());
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(COLUMNS).map_err(|e| failed(&e))?;
    for row in rows {
        let [id, note] = [row.note_nlp_id, row.note_id].map(|id| id.to_string());
        let concept = row.note_nlp_concept_id.to_string();
        let (system, date) = (&origin.system, &origin.date);
        let (snippet, offset, text, modifiers) = (&row.snippet, &row.offset, &row.lexical_variant, &row.term_modifiers);
        let fields: [&str; 14] =
            [&id, &note, "0", snippet, offset, text, &concept, "0", system, date, "", "", "", modifiers];
        out.write_record(fields).map_err(|e| failed(&e))?;
    }
    let bytes = out.into_inner().map_err(|e| failed(&e))?;
    String::from_utf8(bytes).map_err(|e| failed(&e))
}

/// `label=…,offset_unit=…`, then the attributes. Commas and equals signs inside become spaces.
fn modifiers(mention: &Mention, unit: Unit) -> String {
    let plain = |text: &str| text.replace([',', '='], " ");
    let mut all = format!("label={},offset_unit={}", plain(&mention.label), unit.name());
    for (name, value) in &mention.attributes {
        let value = if value.is_empty() { "true" } else { value };
        all += &format!(",{}={}", plain(name), plain(value));
    }
    all
}

/// At most `most` characters, and whether there were more.
fn first(text: &str, most: usize) -> (String, bool) {
    match text.char_indices().nth(most) {
        Some((at, _)) => (text[..at].to_owned(), true),
        None => (text.to_owned(), false),
    }
}

/// The bytes of `extent` with [`AROUND`] characters before and after.
fn around(text: &str, extent: std::ops::Range<usize>) -> Option<&str> {
    let (before, after) = (text.get(..extent.start)?, text.get(extent.end..)?);
    let start = before.char_indices().rev().take(AROUND).last().map_or(extent.start, |(at, _)| at);
    let end = extent.end + after.char_indices().nth(AROUND).map_or(after.len(), |(at, _)| at);
    text.get(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(unit: Unit) -> Origin {
        Origin::new(unit, "test", "2026-01-02").unwrap()
    }

    #[test]
    fn a_mention_is_a_row_of_the_cdm() {
        let mut document = Document::new("17", "😀 took aspirin, \"two\".");
        let mut mention = Mention::new("T1", "Drug, oral", 10..17);
        mention.attributes = vec![("negated".to_owned(), String::new())];
        document.mentions.push(mention);
        let codes = Codes::read("t", "label,concept_id\n\"Drug, oral\",1112807\n").unwrap();
        let mut losses = Losses::new();
        let origin = origin(Unit::CodePoint);
        let rows = rows(&[document], &origin, &codes, &mut losses).unwrap();
        let text = csv(&rows, &origin).unwrap();
        let expected = "note_nlp_id,note_id,section_concept_id,snippet,offset,lexical_variant,note_nlp_concept_id,\
            note_nlp_source_concept_id,nlp_system,nlp_date,nlp_datetime,term_exists,term_temporal,term_modifiers\n\
            1,17,0,\"😀 took aspirin, \"\"two\"\".\",7,aspirin,1112807,0,test,2026-01-02,,,,\
            \"label=Drug  oral,offset_unit=codepoint,negated=true\"\n";
        assert_eq!(text, expected);
        assert!(losses.is_empty(), "{losses:?}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Every day from 1968 to 2104, counted by hand.
        let mut day = -731;
        for year in 1968..2105 {
            let leap = year % 4 == 0 && year != 2100;
            let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, days) in (1..).zip(months) {
                for of_month in 1..=days {
                    assert_eq!(civil(day), (year, month, of_month));
                    let origin = Origin::new(Unit::Byte, "x", &format!("{year}-{month:02}-{of_month:02}")).unwrap();
                    assert_eq!(origin.days, day);
                    day += 1;
                }
            }
        }
        for wrong in [
            "2026-02-29",
            "2026-1-02",
            "26-01-02",
            "2026-13-01",
            "2026-00-01",
            "0000-01-01",
            "2026/01/02",
            "é26-01-02",
            "+026-01-02",
        ] {
            assert!(Origin::new(Unit::Byte, "x", wrong).is_err(), "{wrong}");
        }
        assert!(Origin::new(Unit::Byte, "", "2026-01-02").is_err());
    }

    #[test]
    fn what_is_too_long_or_no_integer_is_counted() {
        let text = format!("{}{}", "é".repeat(300), "x".repeat(60));
        let mut document = Document::new("note-1", text);
        document.mentions.push(Mention::new("T1", "L", 0..600));
        document.mentions.push(Mention::new("T2", "L", 600..601));
        let mut losses = Losses::new();
        let rows = rows(&[document], &origin(Unit::Byte), &Codes::default(), &mut losses).unwrap();
        assert_eq!(rows[0].lexical_variant, "é".repeat(250));
        assert_eq!((rows[1].offset.as_str(), rows[1].note_id), ("600", 1));
        assert_eq!(rows[1].snippet, format!("{}{}", "é".repeat(50), "x".repeat(51)));
        assert_eq!(losses["ends of mentions longer than 250 characters"], 1);
        assert_eq!(losses.len(), 2, "{losses:?}");
    }
}
