//! The table of a Word document (ECMA-376): `word/document.xml` of a ZIP.

use crate::problem::Problems;
use crate::xml::{self, Element};
use crate::{Error, Result};
use std::io::Read;
use std::path::Path;

/// Largest text that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// The cells of each row of the document's tables, white space in a cell made one space. `name` names the file in problems.
pub(crate) fn rows(path: &Path, name: &str, problems: &mut Problems) -> Result<Vec<Vec<String>>> {
    let broken = |e: zip::result::ZipError| Error::format(path.display().to_string(), e.to_string());
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    let member = archive.by_name("word/document.xml").map_err(broken)?;
    let mut document = String::new();
    member.take(LARGEST).read_to_string(&mut document).map_err(|e| Error::io(path, e))?;
    let mut rows = Vec::new();
    xml::each(&document, "w:tr", name, problems, |row, _, _| {
        let cells = row.all("w:tc").map(|cell| {
            let mut text = String::new();
            words(cell, &mut text);
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        });
        rows.push(cells.collect());
    });
    Ok(rows)
}

/// The text of all runs; a paragraph, a tab and a line break part words.
fn words(element: &Element, into: &mut String) {
    match element.name.as_str() {
        "w:t" => into.push_str(&element.text),
        "w:p" | "w:tab" | "w:br" => into.push(' '),
        _ => {}
    }
    element.children.iter().for_each(|child| words(child, into));
}
