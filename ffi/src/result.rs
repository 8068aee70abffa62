//! What came out for one document, read by index or as JSON.

use crate::error::{Failure, bmn_error};
use crate::guard;
use crate::handle::{Tagged, handle_type};
use crate::memory::{self, Sized32};
use crate::offsets::{Answer, Offsets, index};
use crate::status::bmn_status;
use engine::task::{Choice, ClassifyAnswer, OffsetUnit, Span};
use std::ffi::{CString, c_char};
use std::sync::OnceLock;

/// Offsets count bytes of UTF-8.
pub const BMN_UNIT_BYTE: u32 = 0;
/// Offsets count code points, as Python's strings do.
pub const BMN_UNIT_CODE_POINT: u32 = 1;
/// Offsets count UTF-16 units, as strings of Java, C# and JavaScript do.
pub const BMN_UNIT_UTF16: u32 = 2;

/// A pair of related entities.
pub const BMN_LINK_RELATION: u32 = 0;
/// From the trigger of an event to an argument; the label is the argument's role.
pub const BMN_LINK_ARGUMENT: u32 = 1;
/// From the trigger of an event to no span; the label is the attribute's name, `value` its value.
pub const BMN_LINK_ATTRIBUTE: u32 = 2;
/// No span, no link.
pub const BMN_NO_ID: u32 = u32::MAX;

/// A span of the document's text: `text[start..end]`, exactly.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_span {
    /// `sizeof(bmn_span)`, set by the caller.
    pub struct_size: u32,
    /// Index of the span.
    pub id: u32,
    /// First offset, in the unit asked for.
    pub start: u64,
    /// Offset after the last, in the unit asked for.
    pub end: u64,
    /// Label, role or trigger type; NUL-terminated, owned by the result.
    pub label: *const c_char,
    /// The span's text in UTF-8; owned by the result, a NUL follows it.
    pub text: *const c_char,
    /// Bytes of `text`.
    pub text_len: u64,
    /// Natural log of the probability that the model gave the span where it was said; NaN without scores.
    pub logprob: f64,
    /// Least share of the model's probability that the constraint left at any token of the span; NaN without scores.
    pub kept_mass: f64,
}

/// A relation, an event's argument or an event's attribute.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_link {
    /// `sizeof(bmn_link)`, set by the caller.
    pub struct_size: u32,
    /// Index of the link.
    pub id: u32,
    /// One of `BMN_LINK_*`.
    pub kind: u32,
    /// Span it goes from: head or trigger.
    pub from_id: u32,
    /// Span it goes to: tail or argument; `BMN_NO_ID` for an attribute.
    pub to_id: u32,
    /// Zero.
    pub reserved: u32,
    /// Relation, role or attribute; NUL-terminated, owned by the result.
    pub label: *const c_char,
    /// Value of an attribute, else NULL; NUL-terminated, owned by the result.
    pub value: *const c_char,
    /// Probability of the answer among its options; NaN for an argument.
    pub probability: f64,
}

/// An option with its probability.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_score {
    /// `sizeof(bmn_score)`, set by the caller.
    pub struct_size: u32,
    /// The link whose options these are; `BMN_NO_ID` for the document's own.
    pub link_id: u32,
    /// The option; NUL-terminated, owned by the result.
    pub label: *const c_char,
    /// Probability among the options. After `bmn_extract`: that the label has no span (the probability of "None").
    pub probability: f64,
    /// Natural log of the probability before normalising over the options.
    pub logprob: f64,
}

// SAFETY: plain data, first field the size.
unsafe impl Sized32 for bmn_span {
    fn fresh() -> Self {
        let (label, text) = (std::ptr::null(), std::ptr::null());
        let (logprob, kept_mass) = (f64::NAN, f64::NAN);
        Self { struct_size: 0, id: 0, start: 0, end: 0, label, text, text_len: 0, logprob, kept_mass }
    }
}
// SAFETY: as above.
unsafe impl Sized32 for bmn_link {
    fn fresh() -> Self {
        let (label, value) = (std::ptr::null(), std::ptr::null());
        let (from_id, to_id) = (BMN_NO_ID, BMN_NO_ID);
        Self { struct_size: 0, id: 0, kind: 0, from_id, to_id, reserved: 0, label, value, probability: f64::NAN }
    }
}
// SAFETY: as above.
unsafe impl Sized32 for bmn_score {
    fn fresh() -> Self {
        Self { struct_size: 0, link_id: BMN_NO_ID, label: std::ptr::null(), probability: f64::NAN, logprob: f64::NAN }
    }
}

struct SpanRow {
    label: CString,
    text: CString,
    text_len: u64,
    start: usize,
    end: usize,
    occurrences: Vec<(usize, usize)>,
    logprob: f64,
    kept_mass: f64,
}

struct LinkRow {
    kind: u32,
    from: u32,
    to: u32,
    label: CString,
    value: Option<CString>,
    probability: f64,
}

struct ScoreRow {
    link: u32,
    label: CString,
    probability: f64,
    logprob: f64,
}

/// An answer in rows, and as it is.
pub(crate) struct Outcome {
    /// `None` for a document that failed; its JSON says why.
    answer: Option<Answer>,
    offsets: Offsets,
    spans: Vec<SpanRow>,
    links: Vec<LinkRow>,
    scores: Vec<ScoreRow>,
    label: CString,
    number: f64,
    outside_mass: f64,
    json: [OnceLock<CString>; 3],
}

/// The outcome of one document; immutable, read by any number of threads.
pub struct bmn_result {
    tagged: Tagged<Outcome>,
}
handle_type!(bmn_result, Outcome, 0x626d_6e72_6573_756c);

/// Text with a NUL after it. Text that holds one keeps its length besides.
fn c_string(text: &str) -> CString {
    // SAFETY: the reader of `text` is given the length; labels hold no NUL (the engine refuses control characters).
    CString::new(text).unwrap_or_else(|_| unsafe { CString::from_vec_unchecked(text.as_bytes().to_vec()) })
}

impl Outcome {
    /// The outcome of an answer to `text`, the document that spans count in.
    pub fn new(mut answer: Answer, text: &str) -> Result<Self, Failure> {
        let offsets =
            answer.offsets(text).ok_or_else(|| engine::Error::internal("an offset lies inside a character"))?;
        let mut rows = Self { offsets, answer: Some(answer.clone()), ..Self::empty() };
        match &answer {
            Answer::Extract(answer) => {
                for span in &answer.spans {
                    rows.span(span);
                }
                for outcome in &answer.labels {
                    if let Some(p) = outcome.none_probability {
                        rows.score(BMN_NO_ID, &outcome.label, p, p.ln());
                    }
                }
            }
            Answer::Events(answer) => {
                for event in &answer.events {
                    let trigger = rows.span(&event.trigger);
                    for argument in &event.arguments {
                        let to = rows.span(argument);
                        rows.link(BMN_LINK_ARGUMENT, (trigger, to), &argument.label, None, f64::NAN);
                    }
                    for attribute in &event.attributes {
                        let ids = (trigger, BMN_NO_ID);
                        rows.choice_link(BMN_LINK_ATTRIBUTE, ids, &attribute.name, &attribute.choice);
                    }
                }
            }
            Answer::Relate(answer) => {
                for span in &answer.entities {
                    rows.span(span);
                }
                for pair in &answer.pairs {
                    rows.choice_link(
                        BMN_LINK_RELATION,
                        (pair.head as u32, pair.tail as u32),
                        &pair.choice.answer,
                        &pair.choice,
                    );
                }
            }
            Answer::Classify(ClassifyAnswer::Single(answer)) => rows.choice(&answer.choice),
            Answer::Classify(ClassifyAnswer::Multi(answer)) => {
                answer.options.iter().for_each(|o| rows.score(BMN_NO_ID, &o.label, o.probability, o.logprob));
                rows.label = c_string(&answer.answer.join("\n"));
                rows.outside_mass = answer.outside_mass;
            }
            Answer::Choice(answer) => rows.choice(&answer.choice),
            Answer::Similar(answer) => {
                rows.choice(&answer.choice);
                rows.number = answer.expected;
            }
        }
        Ok(rows)
    }

    fn empty() -> Self {
        Self {
            answer: None,
            offsets: Offsets::new(),
            spans: Vec::new(),
            links: Vec::new(),
            scores: Vec::new(),
            label: CString::default(),
            number: f64::NAN,
            outside_mass: f64::NAN,
            json: Default::default(),
        }
    }

    /// The outcome of a document that failed: nothing but the JSON that says why.
    pub fn failed(failure: &Failure) -> Self {
        Self::of_json(&serde_json::json!({ "status": "error", "code": failure.status, "error": failure.message }))
    }

    /// Nothing but a JSON object.
    pub fn of_json(json: &serde_json::Value) -> Self {
        let json = CString::new(json.to_string()).unwrap_or_default();
        Self { json: std::array::from_fn(|_| OnceLock::from(json.clone())), ..Self::empty() }
    }

    fn span(&mut self, span: &Span) -> u32 {
        self.spans.push(SpanRow {
            label: c_string(&span.label),
            text: c_string(&span.text),
            text_len: span.text.len() as u64,
            start: span.start,
            end: span.end,
            occurrences: span.occurrences.iter().map(|o| (o.start, o.end)).collect(),
            logprob: span.logprob.unwrap_or(f64::NAN),
            kept_mass: span.kept_mass.unwrap_or(f64::NAN),
        });
        (self.spans.len() - 1) as u32
    }

    fn link(&mut self, kind: u32, (from, to): (u32, u32), label: &str, value: Option<&str>, probability: f64) -> u32 {
        self.links.push(LinkRow { kind, from, to, label: c_string(label), value: value.map(c_string), probability });
        (self.links.len() - 1) as u32
    }

    fn choice_link(&mut self, kind: u32, ids: (u32, u32), label: &str, choice: &Choice) {
        let chosen = choice.options.iter().find(|option| option.label == choice.answer);
        let value = (kind == BMN_LINK_ATTRIBUTE).then_some(choice.answer.as_str());
        let link = self.link(kind, ids, label, value, chosen.map_or(f64::NAN, |option| option.probability));
        choice.options.iter().for_each(|o| self.score(link, &o.label, o.probability, o.logprob));
    }

    fn choice(&mut self, choice: &Choice) {
        choice.options.iter().for_each(|o| self.score(BMN_NO_ID, &o.label, o.probability, o.logprob));
        self.label = c_string(&choice.answer);
        self.outside_mass = choice.outside_mass;
    }

    fn score(&mut self, link: u32, label: &str, probability: f64, logprob: f64) {
        self.scores.push(ScoreRow { link, label: c_string(label), probability, logprob });
    }

    fn place(&self, byte: usize, unit: OffsetUnit) -> Result<u64, Failure> {
        let all = self.offsets.get(&byte).ok_or_else(|| engine::Error::internal("an offset of no span"))?;
        Ok(all[index(unit)] as u64)
    }
}

/// The unit a number stands for.
pub(crate) fn unit(number: u32) -> Result<OffsetUnit, Failure> {
    match number {
        BMN_UNIT_BYTE => Ok(OffsetUnit::Byte),
        BMN_UNIT_CODE_POINT => Ok(OffsetUnit::CodePoint),
        BMN_UNIT_UTF16 => Ok(OffsetUnit::Utf16),
        other => Err(Failure::invalid(format!("unit: expected one of BMN_UNIT_*, found {other}"))),
    }
}

fn row<'a, T>(rows: &'a [T], i: usize, what: &str) -> Result<&'a T, Failure> {
    rows.get(i).ok_or_else(|| Failure::invalid(format!("{what}: expected an index below {}, found {i}", rows.len())))
}

/// Number of spans: entities, or triggers and arguments. 0 for NULL.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `result` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_span_count(result: *const bmn_result) -> usize {
    // SAFETY: the caller's promise.
    unsafe { memory::handle(result, "result") }.map_or(0, |result| result.spans.len())
}

/// Span `i` with offsets in `unit` (`BMN_UNIT_*`). The caller sets `out->struct_size` first; no more than that is written.
///
/// Strings belong to the result. Threads: any. Since 0.1.
///
/// # Safety
/// `result` is live; `out` points to as many bytes as its `struct_size` says; `err` to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_result_span(
    result: *const bmn_result,
    i: usize,
    unit: u32,
    out: *mut bmn_span,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: the caller keeps the header's promises about every pointer, here and below.
    unsafe {
        guard::enter(err, || {
            let result = memory::handle(result, "result")?;
            let unit = self::unit(unit)?;
            let span = row(&result.spans, i, "i")?;
            let value = bmn_span {
                struct_size: 0,
                id: i as u32,
                start: result.place(span.start, unit)?,
                end: result.place(span.end, unit)?,
                label: span.label.as_ptr(),
                text: span.text.as_ptr(),
                text_len: span.text_len,
                logprob: span.logprob,
                kept_mass: span.kept_mass,
            };
            memory::fill(out, &value, "out")
        })
    }
}

/// Number of places where the text of span `i` stands in the document as a whole word; the first is the span itself.
///
/// 0 for NULL and for an index that is none. Threads: any. Since 0.1.
///
/// # Safety
/// `result` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_occurrence_count(result: *const bmn_result, i: usize) -> usize {
    // SAFETY: the caller's promise.
    let result = unsafe { memory::handle(result, "result") };
    result.ok().and_then(|result| result.spans.get(i)).map_or(0, |span| span.occurrences.len())
}

/// Place `j` of span `i`, half-open, in `unit`.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `result` is live; `start` and `end` point to places; `err` to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_result_occurrence(
    result: *const bmn_result,
    i: usize,
    j: usize,
    unit: u32,
    start: *mut u64,
    end: *mut u64,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: as above.
    unsafe {
        guard::enter(err, || {
            memory::place(start, "start")?;
            memory::place(end, "end")?;
            let result = memory::handle(result, "result")?;
            let unit = self::unit(unit)?;
            let (first, last) = *row(&row(&result.spans, i, "i")?.occurrences, j, "j")?;
            let (first, last) = (result.place(first, unit)?, result.place(last, unit)?);
            memory::put(start, first);
            memory::put(end, last);
            Ok(())
        })
    }
}

/// Number of links: relations, event arguments and attributes. 0 for NULL.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `result` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_link_count(result: *const bmn_result) -> usize {
    // SAFETY: the caller's promise.
    unsafe { memory::handle(result, "result") }.map_or(0, |result| result.links.len())
}

/// Link `i`. The caller sets `out->struct_size` first; no more than that is written.
///
/// Strings belong to the result. Threads: any. Since 0.1.
///
/// # Safety
/// `result` is live; `out` points to as many bytes as its `struct_size` says; `err` to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_result_link(
    result: *const bmn_result,
    i: usize,
    out: *mut bmn_link,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: as above.
    unsafe {
        guard::enter(err, || {
            let result = memory::handle(result, "result")?;
            let link = row(&result.links, i, "i")?;
            let value = bmn_link {
                struct_size: 0,
                id: i as u32,
                kind: link.kind,
                from_id: link.from,
                to_id: link.to,
                reserved: 0,
                label: link.label.as_ptr(),
                value: link.value.as_ref().map_or(std::ptr::null(), |value| value.as_ptr()),
                probability: link.probability,
            };
            memory::fill(out, &value, "out")
        })
    }
}

/// Number of scored options, the document's own and those of its links. 0 for NULL.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `result` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_score_count(result: *const bmn_result) -> usize {
    // SAFETY: the caller's promise.
    unsafe { memory::handle(result, "result") }.map_or(0, |result| result.scores.len())
}

/// Score `i`. The caller sets `out->struct_size` first; no more than that is written.
///
/// Strings belong to the result. Threads: any. Since 0.1.
///
/// # Safety
/// `result` is live; `out` points to as many bytes as its `struct_size` says; `err` to a place or is NULL.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bmn_result_score(
    result: *const bmn_result,
    i: usize,
    out: *mut bmn_score,
    err: *mut *mut bmn_error,
) -> bmn_status {
    // SAFETY: as above.
    unsafe {
        guard::enter(err, || {
            let result = memory::handle(result, "result")?;
            let score = row(&result.scores, i, "i")?;
            let value = bmn_score {
                struct_size: 0,
                link_id: score.link,
                label: score.label.as_ptr(),
                probability: score.probability,
                logprob: score.logprob,
            };
            memory::fill(out, &value, "out")
        })
    }
}

/// The chosen option; after `bmn_classify` with `BMN_RUN_MULTI` the classes that apply, one per line; else empty.
///
/// Returns a string that belongs to the result, NULL for NULL. Threads: any. Since 0.1.
///
/// # Safety
/// `result` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_label(result: *const bmn_result) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { memory::handle(result, "result") }.map_or(std::ptr::null(), |result| result.label.as_ptr())
}

/// The expected score after `bmn_similar`; NaN else.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `result` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_number(result: *const bmn_result) -> f64 {
    // SAFETY: the caller's promise.
    unsafe { memory::handle(result, "result") }.map_or(f64::NAN, |result| result.number)
}

/// The model's probability of saying something that is none of the options, where options were scored; NaN else.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `result` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_outside_mass(result: *const bmn_result) -> f64 {
    // SAFETY: the caller's promise.
    unsafe { memory::handle(result, "result") }.map_or(f64::NAN, |result| result.outside_mass)
}

/// The whole result as a JSON object, offsets in `unit` (`BMN_UNIT_*`), with provenance. Made once per unit.
///
/// Returns a string that belongs to the result; NULL for NULL and for a unit that is none. Threads: any. Since 0.1.
///
/// # Safety
/// `result` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_json(result: *const bmn_result, unit: u32) -> *const c_char {
    guard::value(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let Ok(result) = (unsafe { memory::handle(result, "result") }) else { return std::ptr::null() };
        let Ok(unit) = self::unit(unit) else { return std::ptr::null() };
        let json = result.json[index(unit)].get_or_init(|| {
            // JSON escapes NUL, so the string has none.
            let json = result.answer.as_ref().map(|answer| answer.json(&result.offsets, unit));
            CString::new(json.and_then(Result::ok).unwrap_or_default()).unwrap_or_default()
        });
        json.as_ptr()
    })
}

/// Frees a result with all its strings; NULL is allowed.
///
/// Threads: any, once. Since 0.1.
///
/// # Safety
/// `result` is NULL or live, and ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_result_free(result: *mut bmn_result) {
    // SAFETY: the caller's promise.
    unsafe { memory::free(result) }
}
