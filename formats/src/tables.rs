//! CSV, TSV, JSON and XML tables: rows of classed texts, pairs and questions.

use crate::document::{Document, Pair, Question};
use crate::problem::{Problems, Trouble};
use crate::xml;
use serde_json::Value;

/// A row: its number from 1 (without the header), and its columns by name.
pub struct Row<'t> {
    /// Number.
    pub number: usize,
    header: &'t [String],
    cells: csv::StringRecord,
}

impl Row<'_> {
    /// The cell of a column; empty where the row has none.
    pub fn get(&self, column: &str) -> &str {
        self.header.iter().position(|name| name == column).and_then(|at| self.cells.get(at)).unwrap_or_default()
    }

    /// The last cell.
    pub fn last(&self) -> &str {
        self.cells.iter().next_back().unwrap_or_default()
    }

    /// The cell at a position.
    pub fn at(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or_default()
    }
}

/// How a table is written.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Between columns.
    pub delimiter: u8,
    /// Whether `"` quotes.
    pub quoted: bool,
    /// Whether the first row names the columns.
    pub header: bool,
    /// Whether rows may have other numbers of columns than the first.
    pub flexible: bool,
}

/// Comma-separated with a header.
pub const CSV: Style = Style { delimiter: b',', quoted: true, header: true, flexible: false };
/// Tab-separated with a header and no quotes.
pub const TSV: Style = Style { delimiter: b'\t', quoted: false, header: true, flexible: false };

/// Calls `each` with every row of as many columns as the header (the first row, where there is none) has; others are problems.
/// What `each` answers `None` to is a row without label or text.
pub fn rows<T>(
    name: &str,
    file: &str,
    style: Style,
    problems: &mut Problems,
    mut each: impl FnMut(&Row<'_>) -> Option<T>,
) -> Vec<T> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(style.delimiter)
        .quoting(style.quoted)
        .has_headers(false)
        .flexible(true)
        .from_reader(file.trim_start_matches('\u{feff}').as_bytes());
    let mut header = Vec::new();
    let mut width = None;
    let mut found = Vec::new();
    let mut number = 0;
    for record in reader.records() {
        let Ok(cells) = record else {
            problems.add(Trouble::Broken, name, number + 1);
            continue;
        };
        if style.header && width.is_none() {
            header = cells.iter().map(|cell| cell.trim().to_owned()).collect();
            width = Some(cells.len());
            continue;
        }
        number += 1;
        if *width.get_or_insert(cells.len()) != cells.len() && !style.flexible {
            problems.add(Trouble::Broken, name, number);
            continue;
        }
        match each(&Row { number, header: &header, cells }) {
            Some(one) => found.push(one),
            None => problems.add(Trouble::Unlabelled, name, number),
        }
    }
    found
}

/// JSON lines.
pub fn lines<T>(
    name: &str,
    file: &str,
    problems: &mut Problems,
    mut each: impl FnMut(usize, &Value) -> Option<T>,
) -> Vec<T> {
    let mut found = Vec::new();
    for (number, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Value>(line) {
            Err(_) => problems.add(Trouble::Broken, name, number + 1),
            Ok(value) => match each(number + 1, &value) {
                Some(one) => found.push(one),
                None => problems.add(Trouble::Unlabelled, name, number + 1),
            },
        }
    }
    found
}

/// The entries of a JSON object, in the file's order as far as JSON has one.
pub fn entries<T>(
    name: &str,
    file: &str,
    problems: &mut Problems,
    mut each: impl FnMut(&str, &Value) -> Option<T>,
) -> Vec<T> {
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(file) else {
        problems.add(Trouble::Broken, name, 0);
        return Vec::new();
    };
    let mut found = Vec::new();
    for (number, (key, value)) in object.iter().enumerate() {
        match each(key, value) {
            Some(one) => found.push(one),
            None => problems.add(Trouble::Unlabelled, name, number + 1),
        }
    }
    found
}

/// A document of one class; `None` where text or class is empty.
pub fn classed(id: impl Into<String>, text: &str, class: &str) -> Option<Document> {
    let (text, class) = (text.trim(), class.trim());
    (!text.is_empty() && !class.is_empty())
        .then(|| Document { classes: vec![class.to_owned()], ..Document::new(id, text) })
}

/// A labelled pair; `None` where a part is empty.
pub fn pair(id: impl Into<String>, first: &str, second: &str, label: &str) -> Option<Pair> {
    let (first, second, label) = (first.trim(), second.trim(), label.trim());
    let full = !first.is_empty() && !second.is_empty() && !label.is_empty();
    let (first, second, label) = (first.to_owned(), second.to_owned(), label.to_owned());
    full.then(|| Pair { id: id.into(), first, second, label, ..Pair::default() })
}

/// A scored pair; `None` where a part is empty or the score is no number.
pub fn scored(id: impl Into<String>, first: &str, second: &str, score: &str) -> Option<Pair> {
    let score = score.trim().parse::<f64>().ok().filter(|score| score.is_finite())?;
    Some(Pair { label: String::new(), score: Some(score), ..pair(id, first, second, "score")? })
}

/// A question whose options are an object of letters, as exam collections have it.
pub fn exam(id: String, value: &Value) -> Option<Question> {
    let options = value["options"].as_object()?;
    let answer = value["answer_idx"].as_str()?;
    let answer = options.keys().position(|letter| letter == answer)?;
    let options = options.values().map(|text| text.as_str().map(|text| text.trim().to_owned()));
    let options = options.collect::<Option<Vec<_>>>()?;
    let question = value["question"].as_str()?.trim().to_owned();
    let distinct = options.iter().enumerate().all(|(i, option)| !option.is_empty() && !options[..i].contains(option));
    (distinct && options.len() > 1).then_some(Question { id, question, options, answer, ..Question::default() })
}

/// RQE: `<pair pid value="true"><chq>..</chq><faq>..</faq></pair>`.
pub fn rqe(name: &str, file: &str, problems: &mut Problems) -> Vec<Pair> {
    let mut pairs = Vec::new();
    xml::each(file, "pair", name, problems, |element, number, problems| {
        let text =
            |part: &str| element.child(part).map(|part| part.text.split_whitespace().collect::<Vec<_>>().join(" "));
        let id = element.attribute("pid").unwrap_or_default().to_owned();
        let (first, second) = (text("chq").unwrap_or_default(), text("faq").unwrap_or_default());
        match pair(id, &first, &second, element.attribute("value").unwrap_or_default()) {
            Some(pair) => pairs.push(pair),
            None => problems.add(Trouble::Unlabelled, name, number),
        }
    });
    pairs
}
