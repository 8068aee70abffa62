//! The data card: what was taken, what was left out, and why.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A build in numbers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Card {
    /// Seed of the build.
    pub seed: u64,
    /// Longest record in tokens.
    pub max_tokens: usize,
    /// Wordings of an instruction.
    pub phrasings: usize,
    /// What the configuration says of the whole.
    pub remarks: Vec<String>,
    /// SHA-256 of the prompts' wording.
    pub prompts: String,
    /// SHA-256 of the tokenizer.
    pub tokenizer: String,
    /// SHA-256 over all files written, in order of name.
    pub hash: String,
    /// The evaluation sets compared with.
    pub evaluation: Vec<String>,
    /// The corpora.
    pub corpora: Vec<CorpusCard>,
}

/// A corpus in numbers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CorpusCard {
    /// Its name.
    pub name: String,
    /// Its licence.
    pub licence: String,
    /// Documents, pairs and questions that were read.
    pub read: usize,
    /// Those left out because an evaluation set has them, by reason.
    pub overlap: BTreeMap<String, usize>,
    /// What was wrong with its files, by kind.
    pub problems: BTreeMap<String, usize>,
    /// Its tasks.
    pub tasks: Vec<TaskCard>,
}

/// A task of a corpus in numbers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TaskCard {
    /// Its name.
    pub task: String,
    /// Records for training and validation.
    pub records: [usize; 2],
    /// Records beyond the cap.
    pub beyond: usize,
    /// Tokens of the training records, and of their answers.
    pub tokens: [usize; 2],
    /// Median, 95th percentile and longest of the training records' tokens.
    pub lengths: [usize; 3],
    /// Records and items left out, by reason.
    pub dropped: BTreeMap<String, usize>,
}

impl TaskCard {
    /// Enters the lengths of the training records.
    pub(crate) fn lengths_of(&mut self, mut lengths: Vec<usize>) {
        lengths.sort_unstable();
        let at = |share: usize| lengths.get((lengths.len().saturating_sub(1) * share) / 100).copied().unwrap_or(0);
        self.lengths = [at(50), at(95), at(100)];
    }
}

impl Card {
    /// The card as a page.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Data card\n\n");
        let _ = writeln!(
            out,
            "Seed {}, records of at most {} tokens, wordings of an instruction: {}. Wording {}, tokenizer {}, files {}.\n\n\
            Compared with {}.\n",
            self.seed,
            self.max_tokens,
            self.phrasings,
            &self.prompts[..16.min(self.prompts.len())],
            &self.tokenizer[..16.min(self.tokenizer.len())],
            &self.hash[..16.min(self.hash.len())],
            self.evaluation.join(", ")
        );
        for remark in &self.remarks {
            let _ = writeln!(out, "- {remark}");
        }
        if !self.remarks.is_empty() {
            out.push('\n');
        }
        out.push_str("| task | corpora | records | validation | tokens | of them answers | share |\n|---|---|---|---|---|---|---|\n");
        let mut tasks: BTreeMap<&str, (usize, [usize; 2], [usize; 2])> = BTreeMap::new();
        for task in self.corpora.iter().flat_map(|corpus| &corpus.tasks) {
            let sum = tasks.entry(&task.task).or_default();
            sum.0 += 1;
            for i in 0..2 {
                sum.1[i] += task.records[i];
                sum.2[i] += task.tokens[i];
            }
        }
        let all: usize = tasks.values().map(|(.., tokens)| tokens[0]).sum();
        for (task, (corpora, records, tokens)) in tasks {
            let share = 100.0 * tokens[0] as f64 / all.max(1) as f64;
            let _ = writeln!(
                out,
                "| {task} | {corpora} | {} | {} | {} | {} | {share:.1} % |",
                records[0], records[1], tokens[0], tokens[1]
            );
        }
        out.push_str(
            "\n| corpus | task | records | validation | beyond the cap | tokens | median | 95 % | longest |\n",
        );
        out.push_str("|---|---|---|---|---|---|---|---|---|\n");
        for corpus in &self.corpora {
            for task in &corpus.tasks {
                let [median, most, longest] = task.lengths;
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {} | {median} | {most} | {longest} |",
                    corpus.name, task.task, task.records[0], task.records[1], task.beyond, task.tokens[0]
                );
            }
        }
        out.push_str("\n| corpus | licence | read | left out for an evaluation set | wrong in its files | left out in making records |\n");
        out.push_str("|---|---|---|---|---|---|\n");
        let list = |counts: &BTreeMap<String, usize>| {
            let each: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
            each.join("; ")
        };
        for corpus in &self.corpora {
            let mut dropped: BTreeMap<String, usize> = BTreeMap::new();
            for (reason, count) in corpus.tasks.iter().flat_map(|task| &task.dropped) {
                *dropped.entry(reason.clone()).or_default() += count;
            }
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                corpus.name,
                corpus.licence,
                corpus.read,
                list(&corpus.overlap),
                list(&corpus.problems),
                list(&dropped)
            );
        }
        out
    }
}
