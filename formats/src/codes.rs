//! The caller's table of codes: what mentions mean in a code system or a vocabulary. Nothing else is ever written as a code.

use crate::document::Mention;
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;

/// A code of a system, and a concept of an OMOP vocabulary; each may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Code {
    /// URI of the code system.
    #[serde(default)]
    pub system: String,
    /// The code.
    #[serde(default)]
    pub code: String,
    /// How the system spells it.
    #[serde(default)]
    pub display: String,
    /// `concept_id` of OMOP; 0 for none.
    #[serde(default)]
    pub concept_id: Option<u32>,
}

/// A row: for mentions of `label` whose text or one of whose concepts is `match`, or for all of the label where it is empty.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    label: String,
    #[serde(default, rename = "match")]
    matching: String,
    #[serde(default)]
    system: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    display: String,
    #[serde(default)]
    concept_id: Option<u32>,
}

/// Codes by label and text or concept. Texts match whatever their case.
#[derive(Debug, Clone, Default)]
pub struct Codes(HashMap<(String, String), Code>);

impl Codes {
    /// Reads CSV with a header of `label` and any of `match`, `system`, `code`, `display`, `concept_id`.
    ///
    /// # Errors
    /// [`Error::Format`] naming the row that is no row, repeats an earlier one, or has a code without a system.
    pub fn read(name: &str, file: &str) -> Result<Self> {
        let mut codes = HashMap::new();
        for (number, row) in csv::Reader::from_reader(file.as_bytes()).into_deserialize::<Row>().enumerate() {
            let wrong = |what: &str| Error::format(name, format!("row {}: {what}", number + 1));
            let row = row.map_err(|_| {
                wrong("expected columns of label, match, system, code, display, concept_id, found others or a concept_id that is no number")
            })?;
            if row.code.is_empty() != row.system.is_empty() {
                return Err(wrong("expected a code with its system, or neither"));
            }
            let Row { label, matching, system, code, display, concept_id } = row;
            let code = Code { system, code, display, concept_id };
            if codes.insert((label, matching.to_lowercase()), code).is_some() {
                return Err(wrong("expected a label and match of its own, found those of an earlier row"));
            }
        }
        Ok(Codes(codes))
    }

    /// The code of a mention that reads `text`: by its concepts, by its text, by its label alone.
    pub fn of(&self, mention: &Mention, text: &str) -> Option<&Code> {
        if self.0.is_empty() {
            return None;
        }
        let keys = mention.concepts.iter().map(String::as_str).chain([text, ""]);
        keys.map(|key| (mention.label.clone(), key.to_lowercase())).find_map(|key| self.0.get(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concepts_come_before_texts_and_texts_before_labels() {
        let table = "label,match,system,code,display,concept_id\n\
            Drug,MESH:D001241,urn:s,1,by concept,11\nDrug,ASPIRIN,urn:s,2,by text,\nDrug,,urn:s,3,by label,13\nRash,,,,,7\n";
        let codes = Codes::read("t", table).unwrap();
        let mut mention = Mention::new("T1", "Drug", 0..7);
        let code = |mention: &Mention, text: &str| codes.of(mention, text).map(|code| code.display.clone());
        assert_eq!(code(&mention, "Aspirin").unwrap(), "by text");
        assert_eq!(code(&mention, "ibuprofen").unwrap(), "by label");
        mention.concepts = vec!["unknown".to_owned(), "MESH:D001241".to_owned()];
        assert_eq!(code(&mention, "aspirin").unwrap(), "by concept");
        mention.label = "drug".to_owned();
        assert_eq!(code(&mention, "aspirin"), None);
        let rash = codes.of(&Mention::new("T2", "Rash", 0..1), "rash").unwrap();
        assert_eq!((rash.concept_id, rash.code.as_str()), (Some(7), ""));
        assert!(Codes::default().of(&mention, "x").is_none());
    }

    #[test]
    fn wrong_tables_are_named_by_row() {
        for (table, words) in [
            ("label,system,code\na,urn:s,1\nb,,1\n", "row 2"),
            ("label,match\na,X\na,x\n", "row 2"),
            ("label,kode\na,1\n", "row 1"),
            ("label,concept_id\na,many\n", "row 1"),
            ("match\na\n", "row 1"),
        ] {
            let error = Codes::read("table.csv", table).unwrap_err().to_string();
            assert!(error.contains("table.csv") && error.contains(words), "{table}: {error}");
        }
    }
}
