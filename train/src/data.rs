//! Examples and their order: records of JSON lines, encoded as inference will ask, sampled and shuffled by seed.

use crate::answers::Ask;
use crate::config::{Config, Corpus, Labels, TooLong};
use crate::{Error, Result};
use biomistral_nlu::random::mix;
use biomistral_nlu::task::Frame;
use biomistral_nlu::text::{ChatTemplate, Message, Tokenizer};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::Arc;

/// One line of a corpus. Other keys, of the reference system's files, are not read.
#[derive(Deserialize)]
struct Record {
    messages: Vec<RecordMessage>,
    task: Option<String>,
    corpus: Option<String>,
}

#[derive(Deserialize)]
struct RecordMessage {
    role: String,
    content: String,
}

/// An encoded record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The conversation, up to the token that ends the last answer.
    pub tokens: Vec<u32>,
    /// Those from here on count.
    pub from: usize,
    /// Number of its corpus, in the order of the configuration.
    pub corpus: usize,
    /// Line of the corpus' file, from 1.
    pub line: usize,
    /// Name of the task, or of the corpus, in the record; the file's name where it has neither.
    pub group: String,
    /// What it asks the engine, where that was wanted and can be told.
    pub question: Option<Box<Question>>,
}

/// A validation record as a question to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Tokens before the answer.
    pub prompt: usize,
    /// Plain text that stands before the answer in its segment.
    pub before: String,
    /// What is asked.
    pub ask: Ask,
}

impl Example {
    /// What each row should predict: the next token, where it counts.
    pub fn labels(&self) -> impl Iterator<Item = Option<u32>> + '_ {
        (1..=self.tokens.len()).map(|i| self.tokens.get(i).copied().filter(|_| i >= self.from))
    }

    /// Tokens that count.
    pub fn labelled(&self) -> usize {
        self.tokens.len() - self.from.max(1)
    }
}

/// The examples of a run.
pub struct Data {
    /// All that were taken, in the order of their corpora.
    pub examples: Vec<Example>,
    /// Examples left out because they were too long, per corpus.
    pub dropped: Vec<usize>,
    /// SHA-256 of the files.
    pub hash: String,
}

/// Turns records into tokens.
pub struct Encoder {
    tokenizer: Arc<Tokenizer>,
    frame: Frame,
    labels: Labels,
    max_tokens: usize,
    too_long: TooLong,
}

impl Encoder {
    /// The tokenizer and template that `config` names.
    pub fn new(config: &Config) -> Result<Self> {
        let tokenizer = Tokenizer::open(&config.model)?;
        let template = match config.template.as_str() {
            "zephyr" => ChatTemplate::zephyr(),
            _ => ChatTemplate::of_model(&config.model)?
                .ok_or_else(|| Error::invalid("template: expected a model with a chat template, found none"))?,
        };
        let frame = Frame::new(template, &tokenizer)?;
        let Config { labels, max_tokens, too_long, .. } = *config;
        Ok(Encoder { tokenizer: Arc::new(tokenizer), frame, labels, max_tokens, too_long })
    }

    /// What the answers depend on besides the records.
    pub fn hash(&self) -> String {
        format!("{} {}", self.tokenizer.hash(), self.frame.hash())
    }

    /// One line; `None` for an example that is too long and may be left out. `place` names the line in errors.
    fn example(&self, line: &str, place: (usize, usize), name: &str, asks: bool) -> Result<Option<Example>> {
        let at = || format!("{name}, line {}", place.1);
        // The parser's message may quote the text.
        let record: Record = serde_json::from_str(line).map_err(|e| {
            Error::format(
                at(),
                format!("expected a record with messages of role and content, found an error in column {}", e.column()),
            )
        })?;
        let Some((RecordMessage { content: answer, .. }, before)) =
            record.messages.split_last().filter(|(last, before)| last.role == "assistant" && !before.is_empty())
        else {
            return Err(Error::format(at(), "expected messages that end with the assistant's answer"));
        };
        if answer.is_empty() {
            return Err(Error::format(at(), "expected an answer, found an empty one"));
        }
        let messages: Vec<Message<'_>> =
            before.iter().map(|m| Message { role: &m.role, content: &m.content }).collect();
        let prompt = self.frame.conversation(&self.tokenizer, &messages)?;
        let from = if self.labels == Labels::All { 1 } else { prompt.ids.len() };
        let mut tokens = prompt.ids.clone();
        tokens.extend(prompt.encode_answer(&self.tokenizer, answer)?);
        tokens.push(self.frame.terminator());
        if tokens.len() > self.max_tokens {
            return match self.too_long {
                TooLong::Drop => Ok(None),
                TooLong::Error => Err(Error::TooLong { what: at(), need: tokens.len(), limit: self.max_tokens }),
            };
        }
        let group = record.task.or(record.corpus).unwrap_or_else(|| name.to_string());
        let asked = if asks { before.last().and_then(|message| Ask::read(&message.content, answer)) } else { None };
        let question = asked.map(|ask| Box::new(Question { prompt: prompt.ids.len(), before: prompt.before, ask }));
        Ok(Some(Example { tokens, from, corpus: place.0, line: place.1, group, question }))
    }

    /// The tokenizer, and the token that ends an answer.
    pub fn decoding(&self) -> (&Arc<Tokenizer>, u32) {
        (&self.tokenizer, self.frame.terminator())
    }

    /// Reads the corpora, of each the share that its rate says, drawn by `seed`; with `asks`, as questions too.
    pub fn read(&self, corpora: &[Corpus], seed: u64, asks: bool) -> Result<Data> {
        let mut hash = Sha256::new();
        let mut data = Data { examples: Vec::new(), dropped: vec![0; corpora.len()], hash: String::new() };
        for (number, corpus) in corpora.iter().enumerate() {
            let text = std::fs::read_to_string(&corpus.file).map_err(|e| Error::io(&corpus.file, e))?;
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(&text);
            let name = corpus.file.display().to_string();
            let lines: Vec<(usize, &str)> =
                text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
            let take = (lines.len() as f64 * corpus.rate).round() as usize;
            let mut chosen = shuffled(lines.len(), mix(mix(seed).wrapping_add(number as u64)));
            chosen.truncate(take);
            chosen.sort_unstable();
            for i in chosen {
                match self.example(lines[i].1, (number, lines[i].0 + 1), &name, asks)? {
                    Some(example) => data.examples.push(example),
                    None => data.dropped[number] += 1,
                }
            }
        }
        data.hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(data)
    }
}

/// `0..n` in an order that `key` decides.
pub(crate) fn shuffled(n: usize, key: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    // Sorting by random keys: ties keep their order.
    order.sort_by_cached_key(|&i| mix(key.wrapping_add(i as u64)));
    order
}

impl Data {
    /// Steps of an epoch: the last one may be smaller.
    pub fn steps(&self, batch: usize) -> u64 {
        self.examples.len().div_ceil(batch) as u64
    }

    /// The examples of step `number`, from 1, of a run that sees all examples in each epoch in another order.
    pub fn batch(&self, number: u64, batch: usize, seed: u64) -> Vec<usize> {
        let steps = self.steps(batch).max(1);
        let (epoch, step) = ((number - 1) / steps, ((number - 1) % steps) as usize);
        let order = shuffled(self.examples.len(), mix(mix(seed ^ 0x0e0c).wrapping_add(epoch)));
        order[step * batch..self.examples.len().min((step + 1) * batch)].to_vec()
    }
}

/// Cuts examples into passes of at most `pass_tokens` tokens, in order.
pub(crate) fn passes(lengths: &[usize], pass_tokens: usize) -> Vec<Range<usize>> {
    let (mut passes, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (i, length) in lengths.iter().enumerate() {
        if i > start && tokens + length > pass_tokens {
            passes.push(start..i);
            (start, tokens) = (i, 0);
        }
        tokens += length;
    }
    if start < lengths.len() {
        passes.push(start..lengths.len());
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_sees_every_example_once_in_another_order() {
        let example =
            |line| Example { tokens: vec![1, 2], from: 1, corpus: 0, line, group: String::new(), question: None };
        let data = Data { examples: (0..23).map(example).collect(), dropped: vec![0], hash: String::new() };
        assert_eq!(data.steps(5), 5);
        let epoch = |from: u64, seed| -> Vec<usize> { (from..from + 5).flat_map(|n| data.batch(n, 5, seed)).collect() };
        let (first, second) = (epoch(1, 7), epoch(6, 7));
        for order in [&first, &second] {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..23).collect::<Vec<_>>());
        }
        assert!(first != second && first != epoch(1, 8) && first == epoch(1, 7));
        assert_eq!(data.batch(5, 5, 7).len(), 3);
    }

    #[test]
    fn passes_hold_as_much_as_they_may_and_nothing_is_lost() {
        assert_eq!(passes(&[5, 5, 5], 10), [0..2, 2..3]);
        assert_eq!(passes(&[5, 5, 5], 9), [0..1, 1..2, 2..3]);
        assert_eq!(passes(&[3, 4, 3, 10, 1], 10), [0..3, 3..4, 4..5]);
        assert_eq!(passes(&[7], 5), vec![0..1]);
        assert!(passes(&[], 5).is_empty());
    }

    #[test]
    fn rows_predict_the_next_token_where_it_counts() {
        let group = String::new();
        let example = Example { tokens: vec![5, 6, 7, 8], from: 2, corpus: 0, line: 1, group, question: None };
        assert_eq!(example.labels().collect::<Vec<_>>(), [None, Some(7), Some(8), None]);
        assert_eq!(example.labelled(), 2);
        let all = Example { from: 1, ..example };
        assert_eq!(all.labels().collect::<Vec<_>>(), [Some(6), Some(7), Some(8), None]);
        assert_eq!(all.labelled(), 3);
    }
}
