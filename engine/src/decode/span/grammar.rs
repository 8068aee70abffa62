//! Labels, `None`, separators and line ends around the spans.

use super::canon::SpanCache;
use super::dag::{Dag, NONE};
use super::history::{Histories, START};
use super::intern::{Interner, Mix, mix};
use super::sets::{EMPTY, Sets};
use super::words::Places;
use crate::decode::{Constraint, StateId};
use crate::text::Tokenizer;
use crate::{Error, Result};
use std::sync::Arc;

/// Where spans may start and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boundary {
    /// Around words, numbers and signs, never inside one.
    #[default]
    Word,
    /// Between any two grapheme clusters.
    Char,
}

/// Which spans one line may give. The default asks for words, each text once per label, at most 64 of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpanPolicy {
    /// Where spans start and end.
    pub boundary: Boundary,
    /// At most so many words (separated by white space) in a span.
    pub max_words: Option<usize>,
    /// At most so many spans in a line.
    pub max_spans: Option<usize>,
    /// No two spans of a line have the same text; otherwise a text may be given as often as it occurs.
    pub unique: bool,
    /// The occurrences that the spans of a line stand for share no byte.
    pub no_overlap: bool,
    /// The occurrences that the spans of a line stand for start in the order of the text.
    pub source_order: bool,
}

impl Default for SpanPolicy {
    fn default() -> Self {
        Self {
            boundary: Boundary::Word,
            max_words: None,
            max_spans: Some(64),
            unique: true,
            no_overlap: false,
            source_order: false,
        }
    }
}

impl SpanPolicy {
    /// Whether what may be said next depends on where earlier spans stood.
    fn positional(&self) -> bool {
        self.no_overlap || self.source_order
    }
}

/// What a thread is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `label:`, with the line feed before it except in the first line; `at` tokens are read.
    Head,
    /// ` None`; `at` tokens are read.
    None,
    /// A span, in state `set`; `rivals` are the spent spans that it still equals.
    Span,
    /// ` ...`; `at` tokens are read.
    Separator,
    /// Only the terminator is left.
    End,
    /// Nothing is left.
    Done,
}

/// One reading of the tokens so far. A state holds every reading; all but one die within a few tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Thread {
    pub kind: Kind,
    pub label: u32,
    pub history: u32,
    /// Tokens read of a literal, or the state of a span.
    pub at: u32,
    pub rivals: u32,
    /// Bytes of the span read so far, the space before it included.
    pub read: u32,
}

impl Mix for Thread {
    fn mix(self, h: u64) -> u64 {
        let h = mix(h, u64::from(self.kind as u32) << 32 | u64::from(self.label));
        let h = mix(h, u64::from(self.history) << 32 | u64::from(self.at));
        mix(h, u64::from(self.rivals) << 32 | u64::from(self.read))
    }
}

/// What a token was to a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Part of `label:`, the separator, a line feed or the terminator, within or after no span.
    Literal,
    /// Part of ` None`.
    None,
    /// Part of a span.
    Span,
    /// The first token after a span: it stood for the bytes given.
    Ends(u32, u32),
}

/// Room from the beginning for the states of a short answer.
const ROOM: usize = 512;

/// No spent span equals what was read.
const NO_RIVALS: u32 = 0;

#[derive(Debug, Clone, Copy)]
enum Allowed {
    Unknown,
    /// The tokens of a state of the span graph, as they are.
    OfSet(u32),
    /// A range in `allowed`.
    Own(u32, u32),
}

/// The extraction answers over one text, as a [`Constraint`]: for every label in order `label: span ... span` or
/// `label: None`, one per line, the last ended by the terminator.
#[derive(Debug)]
pub struct SpanGrammar {
    pub(super) cache: Arc<SpanCache>,
    pub(super) text: String,
    pub(super) labels: Vec<String>,
    pub(super) policy: SpanPolicy,
    pub(super) places: Places,
    pub(super) sets: Sets,
    pub(super) histories: Histories,
    heads: Vec<Vec<u32>>,
    none: Vec<u32>,
    separator: Vec<u32>,
    terminator: u32,
    /// State of each history before its next span, [`NONE`] until asked for.
    roots: Vec<u32>,
    /// Bytes after which `max_words` words have passed, by start of [`Sets::roots`]; empty without a limit.
    word_limits: Vec<u32>,
    /// Depth, then entries of the history.
    rivals: Interner<u32>,
    states: Interner<Thread>,
    known: Vec<Allowed>,
    allowed: Vec<u32>,
    followed: Vec<Thread>,
    rivalling: Vec<u32>,
    start: StateId,
}

impl SpanGrammar {
    /// [`over`](Self::over) a cache of its own: for one document. Many documents share a [`SpanCache`].
    ///
    /// # Errors
    /// As [`over`](Self::over).
    pub fn new(
        tokenizer: &Arc<Tokenizer>,
        text: &str,
        labels: &[String],
        policy: &SpanPolicy,
        terminator: u32,
        before: &str,
    ) -> Result<Self> {
        Self::over(&SpanCache::new(tokenizer.clone()), text, labels, policy, terminator, before)
    }

    /// The answers over `text` for `labels`.
    ///
    /// `before` is the plain text that stands before the answer in its segment, empty where the answer begins one;
    /// `terminator` is the control token that ends the answer.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no labels, a label that is empty, holds a colon or a line break, begins or ends with white
    /// space or comes twice, and for `max_spans` or `max_words` of zero; [`Error::TooLong`] for a text of 2³¹ bytes or
    /// more; what the tokenizer says.
    pub fn over(
        cache: &Arc<SpanCache>,
        text: &str,
        labels: &[String],
        policy: &SpanPolicy,
        terminator: u32,
        before: &str,
    ) -> Result<Self> {
        check_labels(labels)?;
        for (name, limit) in [("max_spans", policy.max_spans), ("max_words", policy.max_words)] {
            if limit == Some(0) {
                return Err(Error::invalid(format!("{name}: expected at least 1, found 0")));
            }
        }
        if text.len() >= 1 << 31 {
            return Err(Error::TooLong { what: "the text".into(), need: text.len(), limit: (1 << 31) - 1 });
        }
        let places = Places::new(text, policy.boundary);
        let (dag, literals) = cache.with(|encoder, memo| -> Result<_> {
            let dag = Dag::new(encoder, memo, text, &places, policy.boundary)?;
            let mut literal = |string: &str| -> Result<Vec<u32>> {
                let tokens = memo.tokens(encoder, "", string)?;
                tokens.map(<[u32]>::to_vec).ok_or_else(|| Error::invalid("a label that the tokenizer cannot spell"))
            };
            let mut heads = vec![encoder.encode_after(before, &format!("{}:", labels[0]))?];
            for label in &labels[1..] {
                heads.push(literal(&format!("\n{label}:"))?);
            }
            Ok((dag, (heads, literal(" None")?, literal(" ...")?)))
        })?;
        let (heads, none, separator) = literals;
        let sets = Sets::new(dag);
        let word_limits = policy.max_words.map_or_else(Vec::new, |words| {
            let limit = |&(start, _): &(u32, u32)| {
                let word = places.word_ends.partition_point(|&end| end <= start);
                places.word_ends.get(word.saturating_add(words - 1)).copied().unwrap_or(NONE)
            };
            sets.roots().iter().map(limit).collect()
        });
        let mut grammar = Self {
            cache: cache.clone(),
            text: text.to_owned(),
            labels: labels.to_vec(),
            policy: policy.clone(),
            places,
            sets,
            histories: Histories::new(&none, text.contains("None")),
            heads,
            none,
            separator,
            terminator,
            roots: Vec::new(),
            word_limits,
            rivals: Interner::new(),
            states: Interner::new(),
            known: Vec::with_capacity(ROOM),
            allowed: Vec::with_capacity(ROOM),
            followed: Vec::new(),
            rivalling: Vec::new(),
            start: StateId(0),
        };
        grammar.rivals.intern(&[]);
        let root = grammar.root(START);
        grammar.sets.tokens(root);
        let first = Thread { kind: Kind::Head, label: 0, history: START, at: 0, rivals: NO_RIVALS, read: 0 };
        grammar.start = grammar.intern(&mut vec![first]);
        Ok(grammar)
    }

    /// The state of the span graph before the next span of `history`.
    fn root(&mut self, history: u32) -> u32 {
        let index = if self.policy.positional() { history as usize } else { 0 };
        if self.roots.len() <= index {
            self.roots.resize(index + 1, NONE);
        }
        if self.roots[index] == NONE {
            if index == START as usize && self.word_limits.is_empty() {
                self.roots[index] = self.sets.open_root();
                return self.roots[index];
            }
            let mut open = Vec::new();
            self.open_roots(history, |node, limit| {
                open.push((node, limit));
                true
            });
            self.roots[index] = self.sets.root(open.into_iter());
        }
        self.roots[index]
    }

    /// The starts that `history` leaves open, as node and last end, until `keep` says to stop.
    fn open_roots(&self, history: u32, mut keep: impl FnMut(u32, u32) -> bool) {
        let roots = self.sets.roots();
        self.histories.roots(history, &self.policy, roots, |start, node, limit| {
            let words = match self.word_limits.is_empty() {
                true => NONE,
                false => self.word_limits[roots.partition_point(|&(p, _)| p < start)],
            };
            let limit = limit.min(words);
            !self.sets.can_end(node, limit) || keep(node, limit)
        });
    }

    fn intern(&mut self, threads: &mut Vec<Thread>) -> StateId {
        threads.sort_unstable();
        threads.dedup();
        let (id, new) = self.states.intern(threads);
        if new {
            self.known.push(Allowed::Unknown);
        }
        StateId(id)
    }

    /// The threads of a state.
    pub(super) fn threads(&self, state: StateId) -> &[Thread] {
        self.states.get(state.0)
    }

    fn literal(&self, thread: Thread) -> &[u32] {
        match thread.kind {
            Kind::Head => &self.heads[thread.label as usize],
            Kind::None => &self.none,
            Kind::Separator => &self.separator,
            Kind::End => std::slice::from_ref(&self.terminator),
            Kind::Span | Kind::Done => &[],
        }
    }

    /// The line end after line `label`, nothing of it read.
    fn line_end(&self, label: u32) -> Thread {
        let last = label as usize + 1 == self.labels.len();
        let (kind, label) = if last { (Kind::End, label) } else { (Kind::Head, label + 1) };
        Thread { kind, label, history: START, at: 0, rivals: NO_RIVALS, read: 0 }
    }

    /// Spent spans of `history`, all still equal to the nothing that was read.
    fn all_rivals(&mut self, history: u32) -> u32 {
        self.rivalling.clear();
        self.rivalling.push(0);
        self.rivalling.extend(self.histories.exhausted(history));
        self.intern_rivals()
    }

    /// The rivals that go on with `token`.
    fn next_rivals(&mut self, rivals: u32, token: u32) -> u32 {
        let [depth, entries @ ..] = self.rivals.get(rivals) else { return NO_RIVALS };
        let goes_on = |&&entry: &&u32| self.histories.tokens(entry).get(*depth as usize) == Some(&token);
        self.rivalling.clear();
        self.rivalling.push(depth + 1);
        self.rivalling.extend(entries.iter().filter(goes_on));
        self.intern_rivals()
    }

    fn intern_rivals(&mut self) -> u32 {
        if self.rivalling.len() == 1 { NO_RIVALS } else { self.rivals.intern(&self.rivalling).0 }
    }

    /// Whether one of the rivals ends exactly here.
    fn is_spent(&self, rivals: u32) -> bool {
        let [depth, entries @ ..] = self.rivals.get(rivals) else { return false };
        entries.iter().any(|&entry| self.histories.tokens(entry).len() == *depth as usize)
    }

    /// Whether a span that is not spent can still be completed.
    fn is_alive(&mut self, set: u32, rivals: u32) -> bool {
        if rivals == NO_RIVALS {
            return set != EMPTY;
        }
        let mut open = vec![(set, rivals)];
        while let Some((set, rivals)) = open.pop() {
            if rivals == NO_RIVALS {
                if set != EMPTY {
                    return true;
                }
                continue;
            }
            if !self.is_spent(rivals) && !self.sets.accepts(set).is_empty() {
                return true;
            }
            for i in 0..self.sets.tokens(set).len() {
                let token = self.sets.tokens(set)[i];
                let next = self.next_rivals(rivals, token);
                if next == NO_RIVALS {
                    return true;
                }
                open.push((self.sets.step(set, token), next));
            }
        }
        false
    }

    /// Whether the span read in `thread` may end here.
    fn may_end(&mut self, thread: Thread) -> bool {
        thread.kind == Kind::Span && !self.is_spent(thread.rivals) && !self.sets.accepts(thread.at).is_empty()
    }

    /// The occurrence that the span read in `thread` stands for.
    fn choose(&mut self, thread: Thread) -> Option<(u32, u32, bool)> {
        let length = thread.read.saturating_sub(1);
        self.histories.choose(thread.history, self.sets.accepts(thread.at), length, &self.policy)
    }

    /// The history after the span read in `thread`.
    fn push(&mut self, thread: Thread) -> Option<u32> {
        let chosen = self.choose(thread)?;
        let span = &self.text[chosen.0 as usize..chosen.1 as usize];
        let histories = &mut self.histories;
        self.cache.with(|encoder, memo| match memo.tokens(encoder, " ", span) {
            Ok(Some(tokens)) => Some(histories.push(thread.history, chosen, tokens)),
            _ => None,
        })
    }

    /// Whether another span may follow the one read in `thread`.
    fn may_follow(&mut self, thread: Thread) -> bool {
        let count = self.histories.count(thread.history) as usize + 1;
        if self.policy.max_spans.is_some_and(|max| count >= max) {
            return false;
        }
        if !self.policy.positional() {
            // More first tokens than spent spans: one is free.
            let root = self.root(START);
            if self.sets.tokens(root).len() > count + 1 {
                return true;
            }
        }
        let Some(history) = self.push(thread) else { return false };
        let root = self.root(history);
        let rivals = self.all_rivals(history);
        root != EMPTY && self.is_alive(root, rivals)
    }

    /// Where `thread` goes with `token`, and what the token was to it.
    pub(super) fn follow(&mut self, thread: Thread, token: u32, mut out: impl FnMut(Thread, Move)) {
        match thread.kind {
            Kind::Span => {
                let set = self.sets.step(thread.at, token);
                if set != EMPTY {
                    let rivals =
                        if thread.rivals == NO_RIVALS { NO_RIVALS } else { self.next_rivals(thread.rivals, token) };
                    if rivals == NO_RIVALS || self.is_alive(set, rivals) {
                        let read = thread.read + self.cache.encoder.token_bytes(token).map_or(0, <[u8]>::len) as u32;
                        out(Thread { at: set, rivals, read, ..thread }, Move::Span);
                    }
                }
                let line_end = self.line_end(thread.label);
                let separates = self.separator[0] == token;
                let ends = self.literal(line_end)[0] == token;
                if (separates || ends) && self.may_end(thread) {
                    let Some((from, to, _)) = self.choose(thread) else { return };
                    if ends {
                        self.read_literal(line_end, |next| out(next, Move::Ends(from, to)));
                    } else if self.may_follow(thread)
                        && let Some(history) = self.push(thread)
                    {
                        let separator =
                            Thread { kind: Kind::Separator, history, at: 0, rivals: NO_RIVALS, read: 0, ..thread };
                        self.read_literal(separator, |next| out(next, Move::Ends(from, to)));
                    }
                }
            }
            Kind::Done => {}
            _ if self.literal(thread).get(thread.at as usize) == Some(&token) => {
                let what = if thread.kind == Kind::None { Move::None } else { Move::Literal };
                self.read_literal(thread, |next| out(next, what));
            }
            _ => {}
        }
    }

    /// A literal after its next token.
    fn read_literal(&mut self, thread: Thread, mut out: impl FnMut(Thread)) {
        let next = Thread { at: thread.at + 1, ..thread };
        if (next.at as usize) < self.literal(next).len() {
            return out(next);
        }
        let span = |grammar: &mut Self, history| {
            let at = grammar.root(history);
            let rivals = grammar.all_rivals(history);
            Thread { kind: Kind::Span, history, at, rivals, read: 0, ..thread }
        };
        match thread.kind {
            Kind::Head => {
                out(Thread { kind: Kind::None, at: 0, ..thread });
                let span = span(self, START);
                if self.is_alive(span.at, span.rivals) {
                    out(span);
                }
            }
            Kind::None => out(self.line_end(thread.label)),
            Kind::Separator => {
                let span = span(self, thread.history);
                out(span);
            }
            Kind::End => out(Thread { kind: Kind::Done, at: 0, ..thread }),
            Kind::Span | Kind::Done => {}
        }
    }

    /// Enters the tokens that continue `thread` in what `out` has from `first` on, which is sorted.
    fn gather(&mut self, thread: Thread, out: &mut Vec<u32>, first: usize) {
        if thread.kind != Kind::Span {
            self.literal(thread).get(thread.at as usize).into_iter().for_each(|&token| insert(out, first, token));
            return;
        }
        let from = out.len();
        out.extend_from_slice(self.sets.tokens(thread.at));
        if let [depth, entries @ ..] = self.rivals.get(thread.rivals) {
            // Only a rival's own next token can lead to nothing but rivals.
            let depth = *depth as usize;
            let doubtful: Vec<u32> =
                entries.iter().filter_map(|&entry| self.histories.tokens(entry).get(depth).copied()).collect();
            for token in doubtful {
                let Ok(at) = out[from..].binary_search(&token) else { continue };
                let set = self.sets.step(thread.at, token);
                let rivals = self.next_rivals(thread.rivals, token);
                if !self.is_alive(set, rivals) {
                    out.remove(from + at);
                }
            }
        }
        // The tokens of one span are sorted; few states have two.
        if from > first {
            let mut all = out.split_off(first);
            all.sort_unstable();
            all.dedup();
            out.append(&mut all);
        }
        if self.may_end(thread) {
            insert(out, first, self.literal(self.line_end(thread.label))[0]);
            if self.may_follow(thread) {
                insert(out, first, self.separator[0]);
            }
        }
    }
}

/// Enters `token` in a list, sorted from `first` on, that may have it there.
fn insert(list: &mut Vec<u32>, first: usize, token: u32) {
    if let Err(at) = list[first..].binary_search(&token) {
        list.insert(first + at, token);
    }
}

fn check_labels(labels: &[String]) -> Result<()> {
    if labels.is_empty() {
        return Err(Error::invalid("labels: expected at least one, found none"));
    }
    for (i, label) in labels.iter().enumerate() {
        let why = if label.trim().is_empty() {
            "is empty"
        } else if label.trim() != label {
            "begins or ends with white space"
        } else if label.contains(':') {
            "holds a colon"
        } else if label.contains(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) {
            "holds a line break"
        } else if labels[..i].contains(label) {
            "comes twice"
        } else {
            continue;
        };
        return Err(Error::invalid(format!("label {} of {} {why}: {label:?}", i + 1, labels.len())));
    }
    Ok(())
}

impl Constraint for SpanGrammar {
    fn start(&self) -> StateId {
        self.start
    }

    fn allowed(&mut self, state: StateId) -> &[u32] {
        if matches!(self.known[state.0 as usize], Allowed::Unknown) {
            let thread = self.threads(state)[0];
            let plain = self.threads(state).len() == 1 && thread.kind == Kind::Span && thread.rivals == NO_RIVALS;
            self.known[state.0 as usize] = if plain && !self.may_end(thread) {
                Allowed::OfSet(thread.at)
            } else {
                let from = self.allowed.len();
                let mut out = std::mem::take(&mut self.allowed);
                // ` None` and its like come before the span in a state, and are entered after it.
                for i in (0..self.threads(state).len()).rev() {
                    self.gather(self.threads(state)[i], &mut out, from);
                }
                self.allowed = out;
                Allowed::Own(from as u32, self.allowed.len() as u32)
            };
        }
        match self.known[state.0 as usize] {
            Allowed::OfSet(set) => self.sets.tokens(set),
            Allowed::Own(from, to) => &self.allowed[from as usize..to as usize],
            Allowed::Unknown => &[],
        }
    }

    fn advance(&mut self, state: StateId, token: u32) -> Option<StateId> {
        let mut next = std::mem::take(&mut self.followed);
        next.clear();
        for i in 0..self.threads(state).len() {
            self.follow(self.threads(state)[i], token, |thread, _| next.push(thread));
        }
        let state = (!next.is_empty()).then(|| self.intern(&mut next));
        self.followed = next;
        state
    }

    /// ` None` with the end of its line, where a line begins.
    fn aside(&mut self, state: StateId) -> Option<Vec<u32>> {
        let none = self.threads(state).iter().copied().find(|thread| thread.kind == Kind::None && thread.at == 0)?;
        let end = self.literal(self.line_end(none.label))[0];
        Some(self.none.iter().copied().chain([end]).collect())
    }
}
