//! Questions with options: candidates, rotations, calibration, posterior.

use super::answer::{Choice, OptionScore, ShownCandidate, ShownPrompt};
use super::frame::{Prompt, common_prefix};
use super::prompts::Wording;
use super::request::{ChoiceRules, ChoiceStyle};
use super::session::Work;
use crate::decode::{ChoiceRequest, Posterior};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What a prompt says besides its options.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// Variables of the instruction.
    pub variables: Value,
    /// The text, where there is one.
    pub text: Option<String>,
}

/// A question with options.
#[derive(Debug, Clone)]
pub(crate) struct ChoiceAsk {
    pub purpose: &'static str,
    pub wording: Wording,
    /// The options as the answer names them.
    pub labels: Vec<String>,
    /// The options as the prompt spells them.
    pub texts: Vec<String>,
    pub content: Content,
    /// The same without the document: prompts share its beginning, calibration takes its posterior away.
    pub blank: Content,
}

/// A posterior and, where asked for, the prompts behind it.
pub(crate) type Chosen = (Choice, Vec<ShownPrompt>);

/// One prompt to score.
struct Query {
    prompt: Prompt,
    shared: usize,
    /// Texts and token strings in the order of the ask's labels, whatever their order in the prompt.
    texts: Vec<String>,
    choices: Vec<Vec<u32>>,
}

/// The queries of a batch; content-free ones are asked once.
#[derive(Default)]
struct Queries {
    list: Vec<Query>,
    blanks: HashMap<String, usize>,
    /// Content-free prompts, for the beginnings that others share with them.
    beginnings: HashMap<String, Vec<u32>>,
}

/// The queries of one ask, per rotation: its own and the content-free one.
type Plan = Vec<(usize, Option<usize>)>;

impl Work<'_> {
    /// The posterior of every ask, in order.
    pub fn choose(&mut self, asks: Vec<Result<ChoiceAsk>>, rules: &ChoiceRules) -> Vec<Result<Chosen>> {
        let mut queries = Queries::default();
        let plans: Vec<Result<(ChoiceAsk, Plan)>> = asks
            .into_iter()
            .map(|ask| {
                let ask = ask?;
                let plan = self.plan(&ask, rules, &mut queries)?;
                Ok((ask, plan))
            })
            .collect();
        let requests: Vec<ChoiceRequest<'_>> = queries
            .list
            .iter()
            .map(|query| ChoiceRequest {
                prompt: &query.prompt.ids,
                shared: query.shared,
                adapter: self.setting.adapter,
                choices: &query.choices,
            })
            .collect();
        let posteriors = self.decoder.choose(&requests);
        plans
            .into_iter()
            .map(|planned| {
                let (ask, plan) = planned?;
                let choice = choice(&ask.labels, &plan, &posteriors)?;
                let shown =
                    if self.run.show_prompt { self.show(&ask, &plan, &queries, &posteriors)? } else { Vec::new() };
                Ok((choice, shown))
            })
            .collect()
    }

    fn plan(&self, ask: &ChoiceAsk, rules: &ChoiceRules, queries: &mut Queries) -> Result<Plan> {
        let n = ask.texts.len();
        let rotations = rules.permute.min(n);
        let mut plan = Vec::with_capacity(rotations);
        for rotation in 0..rotations {
            let first = rotation * n / rotations;
            let order: Vec<usize> = (0..n).map(|place| (first + place) % n).collect();
            let options: Vec<String> = order
                .iter()
                .enumerate()
                .map(|(place, &option)| self.engine.prompts.option(place, &ask.texts[option]))
                .collect::<Result<_>>()?;
            let message = self.message(ask, &ask.content, &options)?;
            let blank = self.message(ask, &ask.blank, &options)?;
            if !queries.beginnings.contains_key(&blank) {
                let prompt = self.framed(&blank)?;
                queries.beginnings.insert(blank.clone(), prompt.ids);
            }
            let mut query = self.query(&message, &order, &options, rules)?;
            query.shared = queries.beginnings.get(&blank).map_or(0, |ids| common_prefix(&query.prompt.ids, ids));
            queries.list.push(query);
            let own = queries.list.len() - 1;
            let free = match (rules.calibrate, queries.blanks.get(&blank)) {
                (false, _) => None,
                (true, Some(&at)) => Some(at),
                (true, None) => {
                    queries.list.push(self.query(&blank, &order, &options, rules)?);
                    queries.blanks.insert(blank, own + 1);
                    Some(own + 1)
                }
            };
            plan.push((own, free));
        }
        Ok(plan)
    }

    fn message(&self, ask: &ChoiceAsk, content: &Content, options: &[String]) -> Result<String> {
        let prompts = &self.engine.prompts;
        let mut variables = content.variables.clone();
        variables["options"] = json!(options);
        let instruct = prompts.instruct(ask.wording, variables)?;
        prompts.message(&instruct, content.text.as_deref())
    }

    fn query(&self, message: &str, order: &[usize], options: &[String], rules: &ChoiceRules) -> Result<Query> {
        let tokenizer = &self.engine.tokenizer;
        let prompt = self.framed(message)?;
        let mut texts = vec![String::new(); order.len()];
        let mut choices = vec![Vec::new(); order.len()];
        for (place, &option) in order.iter().enumerate() {
            let text = match rules.style {
                ChoiceStyle::Full => options[place].clone(),
                ChoiceStyle::Letter => self.engine.prompts.option_letter(place)?,
            };
            let mut ids = prompt.encode_answer(tokenizer, &text)?;
            if rules.style == ChoiceStyle::Full {
                ids.push(self.setting.frame.terminator());
            }
            texts[option] = text;
            choices[option] = ids;
        }
        Ok(Query { prompt, shared: 0, texts, choices })
    }

    fn show(
        &self,
        ask: &ChoiceAsk,
        plan: &Plan,
        queries: &Queries,
        posteriors: &[Result<Posterior>],
    ) -> Result<Vec<ShownPrompt>> {
        let mut shown = Vec::new();
        for &(own, free) in plan {
            for (at, purpose) in [(Some(own), ask.purpose), (free, "calibrate")] {
                let Some(at) = at else { continue };
                let query = &queries.list[at];
                let posterior = posteriors[at].as_ref().map_err(Error::again)?;
                let candidates = (0..ask.labels.len())
                    .map(|i| ShownCandidate {
                        label: ask.labels[i].clone(),
                        text: query.texts[i].clone(),
                        ids: query.choices[i].clone(),
                        logprob: posterior.logprobs[i],
                    })
                    .collect();
                shown.push(ShownPrompt {
                    purpose: purpose.to_owned(),
                    prompt: query.prompt.spelled(&self.engine.tokenizer),
                    prompt_ids: query.prompt.ids.clone(),
                    candidates,
                    answer_ids: Vec::new(),
                });
            }
        }
        Ok(shown)
    }
}

/// The posterior of one ask: rotations are mixed as `p(i) = mean over rotations of exp(L_i)`, calibrated scores are
/// `ln p(i) - ln p(i | content-free)`.
fn choice(labels: &[String], plan: &Plan, posteriors: &[Result<Posterior>]) -> Result<Choice> {
    let own = mixture(labels.len(), plan.iter().map(|&(own, _)| own), posteriors)?;
    let free = match plan.iter().map(|&(_, free)| free).collect::<Option<Vec<usize>>>() {
        Some(free) => mixture(labels.len(), free.into_iter(), posteriors)?,
        None => vec![0.0; labels.len()],
    };
    let scores: Vec<f64> = own.iter().zip(&free).map(|(own, free)| own - free).collect();
    let total = log_sum_exp(&scores);
    let options: Vec<OptionScore> = labels
        .iter()
        .zip(scores.iter().zip(&own))
        .map(|(label, (score, &logprob))| OptionScore {
            label: label.clone(),
            probability: (score - total).exp(),
            logprob,
        })
        .collect();
    let mut best = 0;
    for i in 1..scores.len() {
        if scores[i] > scores[best] {
            best = i;
        }
    }
    let answer = labels.get(best).ok_or_else(|| Error::internal("a choice without options"))?.clone();
    Ok(Choice { options, answer, outside_mass: (-log_sum_exp(&own).exp_m1()).max(0.0) })
}

fn mixture(
    n: usize,
    rotations: impl ExactSizeIterator<Item = usize> + Clone,
    posteriors: &[Result<Posterior>],
) -> Result<Vec<f64>> {
    let parts = rotations.map(|at| posteriors[at].as_ref().map_err(Error::again)).collect::<Result<Vec<_>>>()?;
    let share = (parts.len() as f64).ln();
    Ok((0..n).map(|i| log_sum_exp(&parts.iter().map(|part| part.logprobs[i]).collect::<Vec<_>>()) - share).collect())
}

/// `ln Σ exp(x)` without overflow.
fn log_sum_exp(x: &[f64]) -> f64 {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY { top } else { top + x.iter().map(|x| (x - top).exp()).sum::<f64>().ln() }
}
