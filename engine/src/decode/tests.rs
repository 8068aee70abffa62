//! Against brute force over the toy model: every answer is recomputed from whole histories, one full row at a time.

use super::toy::{Automaton, Counts, Toy};
use super::*;
use crate::Error;
use crate::model::{AdapterId, LanguageModel};
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

const VOCAB: u32 = 40;

fn decoder(toy: Toy, change: impl FnOnce(&mut DecoderOptions)) -> (Decoder, Arc<Mutex<Counts>>) {
    let counts = toy.counts.clone();
    let mut options = DecoderOptions::new(toy.config());
    change(&mut options);
    (Decoder::new(Arc::new(toy).session().unwrap(), options), counts)
}

fn toy(seed: u64) -> Toy {
    Toy::new(seed, VOCAB as usize, 400)
}

fn prompts() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..VOCAB, 1..40)
}

/// Distinct choices, each ended by token 0, which occurs nowhere else.
fn choices() -> impl Strategy<Value = Vec<Vec<u32>>> {
    let choice = prop::collection::vec(1..5u32, 0..9).prop_map(|mut tokens| {
        tokens.push(0);
        tokens
    });
    prop::collection::hash_set(choice, 1..30).prop_map(|set| set.into_iter().collect())
}

/// Forced runs, narrow and wide choices, asides.
fn automata() -> impl Strategy<Value = Automaton> {
    let degree = prop_oneof![4 => Just(1usize), 3 => 2usize..4, 1 => 10usize..14];
    let aside = prop::option::weighted(0.2, (0..4usize, any::<bool>(), 0..VOCAB));
    let state = (degree, prop::collection::vec((0..VOCAB, 1u32..5), 14), aside);
    prop::collection::vec(state, 1..25).prop_map(|states| {
        let last = states.len() as u32;
        let edges = states.iter().enumerate().map(|(from, (degree, edges, _))| {
            edges.iter().take(*degree).map(|(token, jump)| (*token, last.min(from as u32 + jump))).collect()
        });
        let mut automaton = Automaton::new(edges.chain([Vec::new()]).collect());
        for (state, (_, _, aside)) in states.into_iter().enumerate() {
            if let Some((steps, last, end)) = aside {
                automaton.put_aside(state as u32, steps, last, end);
            }
        }
        automaton
    })
}

/// Greedy decoding as its definition says: whole histories, full rows.
fn greedy(toy: &Toy, adapter: Option<AdapterId>, prompt: &[u32], automaton: &Automaton) -> Generated {
    let mut automaton = automaton.clone();
    let (mut state, mut history, mut out) = (automaton.start(), prompt.to_vec(), Generated::default());
    loop {
        let allowed = automaton.allowed(state).to_vec();
        if allowed.is_empty() {
            return out;
        }
        if let Some(aside) = automaton.aside(state) {
            let score = |i: usize| toy.log_probs(adapter, &[&history[..], &aside[..i]].concat())[aside[i] as usize];
            out.asides.push((0..aside.len()).map(score).sum());
        }
        let scores = toy.log_probs(adapter, &history);
        let logits = toy.logits(adapter, &history);
        let top = allowed.iter().map(|&t| logits[t as usize]).fold(f32::MIN, f32::max);
        let token = *allowed.iter().find(|&&t| logits[t as usize] == top).unwrap();
        out.tokens.push(token);
        out.logprobs.push(scores[token as usize]);
        out.mass.push(allowed.iter().map(|&t| scores[t as usize].exp()).sum());
        history.push(token);
        state = automaton.advance(state, token).unwrap();
    }
}

fn bits(x: &[f64]) -> Vec<u64> {
    x.iter().map(|v| v.to_bits()).collect()
}

fn generate_one(
    decoder: &mut Decoder,
    prompt: &[u32],
    shared: usize,
    automaton: &Automaton,
) -> crate::Result<Generated> {
    let mut automaton = automaton.clone();
    let mut request = [Generation { prompt, shared, adapter: None, constraint: &mut automaton }];
    decoder.generate(&mut request).pop().unwrap()
}

fn choose_one(decoder: &mut Decoder, prompt: &[u32], choices: &[Vec<u32>]) -> crate::Result<Posterior> {
    decoder.choose(&[ChoiceRequest { prompt, shared: 0, adapter: None, choices }]).pop().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn posterior_is_that_of_separate_full_passes(seed: u64, prompt in prompts(), choices in choices()) {
        let reference = toy(seed);
        let (mut decoder, counts) = decoder(toy(seed), |_| ());
        let found = choose_one(&mut decoder, &prompt, &choices).unwrap();
        let mut scores = Vec::new();
        for choice in &choices {
            let mut history = prompt.clone();
            let mut score = 0.0;
            for &token in choice {
                score += reference.log_probs(None, &history)[token as usize];
                history.push(token);
            }
            scores.push(score);
        }
        let total: f64 = scores.iter().map(|l| l.exp()).sum();
        for (i, score) in scores.iter().enumerate() {
            // Two orders of summing at most 9 f64 log-probabilities of magnitude below 10.
            prop_assert!((found.logprobs[i] - score).abs() < 1e-12);
            prop_assert!((found.probabilities[i] - score.exp() / total).abs() < 1e-12);
        }
        prop_assert!((found.outside_mass - (1.0 - total)).abs() < 1e-12);
        let counts = counts.lock().unwrap();
        prop_assert_eq!((counts.sequences, counts.rows), (0, 0));
    }

    #[test]
    fn posterior_does_not_depend_on_the_split(seed: u64, prompt in prompts(), choices in choices(), rows in 1usize..12, pass in 1usize..9) {
        let (mut whole, _) = decoder(toy(seed), |_| ());
        let (mut split, counts) = decoder(toy(seed), |o| { o.tree_rows = rows; o.pass_rows = pass });
        let (whole, split) = (choose_one(&mut whole, &prompt, &choices).unwrap(), choose_one(&mut split, &prompt, &choices).unwrap());
        prop_assert_eq!(bits(&whole.logprobs), bits(&split.logprobs));
        prop_assert_eq!(bits(&whole.probabilities), bits(&split.probabilities));
        prop_assert_eq!(counts.lock().unwrap().rows, 0);
    }

    #[test]
    fn plain_and_speculative_are_greedy(
        seed: u64, prompt in prompts(), automaton in automata(), draft_rows in 0usize..40, pass_rows in 1usize..20, floor in 0.0..0.3f64,
    ) {
        let reference = greedy(&toy(seed), None, &prompt, &automaton);
        for (mode, scores) in [
            (Mode::Plain, Scores::LogProbAndMass), (Mode::Speculative, Scores::LogProbAndMass),
            (Mode::Plain, Scores::None), (Mode::Speculative, Scores::None), (Mode::Speculative, Scores::LogProb),
        ] {
            let (mut decoder, counts) = decoder(toy(seed), |o| {
                *o = DecoderOptions { mode, scores, draft_rows, draft_floor: floor, pass_rows, ..o.clone() };
            });
            let found = generate_one(&mut decoder, &prompt, 0, &automaton).unwrap();
            prop_assert_eq!(&found.tokens, &reference.tokens);
            let logprobs = if scores == Scores::None { &[][..] } else { &reference.logprobs };
            let mass = if scores == Scores::LogProbAndMass { &reference.mass[..] } else { &[] };
            // The reference sums the same exponentials in another order.
            prop_assert_eq!(found.logprobs.len(), logprobs.len());
            prop_assert_eq!(found.mass.len(), mass.len());
            prop_assert!(found.logprobs.iter().zip(logprobs).all(|(a, b)| (a - b).abs() < 1e-12));
            prop_assert!(found.mass.iter().zip(mass).all(|(a, b)| (a - b).abs() < 1e-12));
            let asides = if scores == Scores::None { &[][..] } else { &reference.asides };
            prop_assert_eq!(found.asides.len(), asides.len());
            prop_assert!(found.asides.iter().zip(asides).all(|(a, b)| (a - b).abs() < 1e-12));
            let counts = counts.lock().unwrap();
            prop_assert_eq!((counts.sequences, counts.rows), (0, 0));
            if mode == Mode::Plain {
                prop_assert_eq!((found.passes, found.accepted), (found.tokens.len(), 0));
            } else {
                prop_assert!(found.accepted <= found.drafted);
                // A pass says at least one token; only the tail of an answer and forced runs longer than a pass add passes.
                prop_assert!(found.passes <= found.tokens.len() + 1 || pass_rows < found.tokens.len());
            }
        }
    }

    #[test]
    fn drafted_scores_are_the_plain_bits(seed: u64, prompt in prompts(), automaton in automata(), draft_rows in 1usize..64) {
        let change = |mode| move |o: &mut DecoderOptions| {
            *o = DecoderOptions { mode, scores: Scores::LogProbAndMass, draft_rows, draft_floor: 0.0, ..o.clone() };
        };
        let (mut plain, _) = decoder(toy(seed), change(Mode::Plain));
        let (mut drafted, _) = decoder(toy(seed), change(Mode::Speculative));
        let (plain, drafted) =
            (generate_one(&mut plain, &prompt, 0, &automaton).unwrap(), generate_one(&mut drafted, &prompt, 0, &automaton).unwrap());
        prop_assert_eq!(plain.tokens, drafted.tokens);
        prop_assert_eq!(bits(&plain.logprobs), bits(&drafted.logprobs));
        prop_assert_eq!(bits(&plain.mass), bits(&drafted.mass));
        prop_assert_eq!(bits(&plain.asides), bits(&drafted.asides));
    }

    #[test]
    fn batch_is_alone(
        seed: u64, requests in prop::collection::vec((prompts(), automata(), 0usize..40, 0u32..3), 1..12),
        live in 1usize..6, pass_rows in 1usize..50, prefix_tokens in 0usize..60,
    ) {
        let adapter = |a: u32| (a > 0).then_some(AdapterId(a));
        let (mut batch, counts) = decoder(toy(seed), |o| {
            *o = DecoderOptions { live_sequences: live, pass_rows, prefix_tokens, scores: Scores::LogProbAndMass, ..o.clone() };
        });
        let mut automata: Vec<Automaton> = requests.iter().map(|r| r.1.clone()).collect();
        let mut generations: Vec<Generation<'_>> = requests.iter().zip(&mut automata).map(|((prompt, _, shared, a), constraint)| {
            Generation { prompt, shared: (*shared).min(prompt.len()), adapter: adapter(*a), constraint }
        }).collect();
        let first = batch.generate(&mut generations);
        let second = batch.generate(&mut generations);
        for (((prompt, automaton, _, a), first), second) in requests.iter().zip(first).zip(second) {
            let (mut alone, _) = decoder(toy(seed), |o| o.scores = Scores::LogProbAndMass);
            let mut automaton = automaton.clone();
            let mut request = [Generation { prompt, shared: 0, adapter: adapter(*a), constraint: &mut automaton }];
            let alone = alone.generate(&mut request).pop().unwrap().unwrap();
            for found in [first.unwrap(), second.unwrap()] {
                prop_assert_eq!(&found.tokens, &alone.tokens);
                prop_assert_eq!(bits(&found.logprobs), bits(&alone.logprobs));
                prop_assert_eq!(bits(&found.mass), bits(&alone.mass));
                prop_assert_eq!(bits(&found.asides), bits(&alone.asides));
            }
        }
        for a in 0..3 {
            batch.forget_prefixes(|of| of == adapter(a));
        }
        let counts = counts.lock().unwrap();
        prop_assert_eq!((counts.sequences, counts.rows), (0, 0));
    }
}

/// All spans that the automaton allows, scored one full row at a time.
fn exhaustive(toy: &Toy, prompt: &[u32], automaton: &Automaton, ends: &[u32]) -> Vec<Candidate> {
    let mut automaton = automaton.clone();
    let mut spans = Vec::new();
    let mut open = vec![(automaton.start(), Vec::new(), 0.0)];
    while let Some((state, tokens, logprob)) = open.pop() {
        let scores = toy.log_probs(None, &[prompt, &tokens].concat());
        let mut ended = 0.0;
        for token in automaton.allowed(state).to_vec() {
            let next = automaton.advance(state, token).unwrap();
            if ends.contains(&token) || automaton.allowed(next).is_empty() {
                ended += scores[token as usize].exp();
            } else {
                open.push((next, [&tokens[..], &[token]].concat(), logprob + scores[token as usize]));
            }
        }
        if ended > 0.0 {
            spans.push(Candidate { tokens, logprob: logprob + ended.ln() });
        }
    }
    spans
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn top_spans_are_the_best_of_all(
        seed: u64, prompt in prompts(), automaton in automata(), ends in 0..VOCAB, count in 0usize..8, draft_rows in 0usize..70, pick: u16,
    ) {
        let ends: Vec<u32> = (ends..VOCAB).step_by(3).collect();
        let mut all = exhaustive(&toy(seed), &prompt, &automaton, &ends);
        let none = all.remove(pick as usize % all.len());
        all.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
        let (mut decoder, counts) = decoder(toy(seed), |o| o.draft_rows = draft_rows);
        let mut constraint = automaton.clone();
        let start = constraint.start();
        let query = SpanQuery {
            prompt: &prompt, shared: 0, adapter: None, constraint: &mut constraint, start, ends: &ends, none: &none.tokens, count,
        };
        let found = decoder.top_spans(&mut [query]).pop().unwrap().unwrap();
        prop_assert!((found.none - none.logprob).abs() < 1e-12);
        prop_assert_eq!(found.spans.len(), count.min(all.len()));
        for (found, best) in found.spans.iter().zip(&all) {
            prop_assert!((found.logprob - best.logprob).abs() < 1e-12);
            // Equal scores may come in either order, but each span with its own.
            let same = all.iter().find(|span| span.tokens == found.tokens);
            prop_assert!(same.is_some_and(|span| (span.logprob - found.logprob).abs() < 1e-12));
        }
        prop_assert!(found.spans.windows(2).all(|pair| pair[0].tokens != pair[1].tokens));
        let counts = counts.lock().unwrap();
        prop_assert_eq!((counts.sequences, counts.rows), (0, 0));
    }
}

#[test]
fn presence_is_the_share_of_first_tokens() {
    let automaton = Automaton::new(vec![vec![(1, 1), (2, 1), (3, 1)], vec![(4, 2)], vec![]]);
    let (mut decoder, _) = decoder(toy(10), |_| ());
    let mut constraint = automaton;
    let query = SpanQuery {
        prompt: &[7, 8],
        shared: 0,
        adapter: None,
        constraint: &mut constraint,
        start: StateId(0),
        ends: &[4],
        none: &[2],
        count: 1,
    };
    let found = decoder.top_spans(&mut [query]).pop().unwrap().unwrap();
    let p: Vec<f64> = toy(10).log_probs(None, &[7, 8]).iter().map(|l| l.exp()).collect();
    assert!((found.presence - (p[1] + p[3]) / (p[1] + p[2] + p[3])).abs() < 1e-12);
    // The first token, then its end: two passes at most.
    assert_eq!(found.passes, 2);
}

#[test]
fn choices_that_cannot_be_scored_are_refused() {
    let (mut decoder, counts) = decoder(toy(1), |_| ());
    let mut why = |prompt: &[u32], choices: &[Vec<u32>]| match choose_one(&mut decoder, prompt, choices) {
        Err(Error::Invalid { what }) => what,
        other => panic!("{other:?}"),
    };
    assert!(why(&[1], &[]).contains("at least one choice"));
    assert!(why(&[1], &[vec![1], vec![]]).contains("at least one choice"));
    assert!(why(&[], &[vec![1]]).contains("no token"));
    assert!(why(&[1], &[vec![2, 0], vec![1], vec![2, 0]]).contains("choices 0 and 2 are the same"));
    assert!(why(&[1], &[vec![2, 3, 0], vec![2, 3]]).contains("choice 1 is the beginning of choice 0"));
    assert!(why(&[1], &[vec![VOCAB]]).contains("token 40"));
    assert!(why(&[VOCAB], &[vec![1]]).contains("token 40"));
    assert_eq!(counts.lock().unwrap().passes, 0);
}

#[test]
fn a_choice_that_begins_another_but_for_its_terminator_is_fine() {
    let (mut decoder, _) = decoder(toy(3), |_| ());
    let posterior = choose_one(&mut decoder, &[5, 6], &[vec![7, 0], vec![7, 8, 9, 0]]).unwrap();
    assert!((posterior.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-15);
}

#[test]
fn choices_take_one_pass() {
    let (mut decoder, counts) = decoder(toy(4), |_| ());
    let choices: Vec<Vec<u32>> = (1..9).map(|i| vec![i, i + 1, i + 2, 0]).collect();
    choose_one(&mut decoder, &[1, 2, 3], &choices).unwrap();
    let counts = counts.lock().unwrap();
    assert_eq!((counts.passes, counts.computed), (1, 3 + 8 * 3));
}

#[test]
fn calibration_divides_by_the_content_free_answer() {
    let posterior =
        |p: [f64; 2]| Posterior { logprobs: p.map(f64::ln).to_vec(), probabilities: vec![], outside_mass: 0.0 };
    let calibrated = posterior([0.3, 0.1]).calibrated(&posterior([0.6, 0.1])).unwrap();
    assert!((calibrated[0] - 1.0 / 3.0).abs() < 1e-15 && (calibrated[1] - 2.0 / 3.0).abs() < 1e-15);
    assert!(
        posterior([0.3, 0.1])
            .calibrated(&Posterior { logprobs: vec![0.0], probabilities: vec![], outside_mass: 0.0 })
            .is_err()
    );
}

#[test]
fn length_is_checked_to_the_token() {
    let limit = 20;
    let prompt = vec![1; 18];
    let (mut decoder, counts) = decoder(Toy::new(5, VOCAB as usize, limit), |_| ());
    assert!(choose_one(&mut decoder, &prompt, &[vec![1, 2, 0]]).is_ok());
    let too_long = choose_one(&mut decoder, &prompt, &[vec![1, 2, 3, 0]]);
    assert!(matches!(too_long, Err(Error::TooLong { need: 21, limit: 20, .. })), "{too_long:?}");

    let line = |n: u32| Automaton::new((0..n).map(|i| vec![(3, i + 1), (4, i + 1)]).chain([vec![]]).collect());
    let forced = |n: u32| Automaton::new((0..n).map(|i| vec![(3, i + 1)]).chain([vec![]]).collect());
    for mode in [Mode::Plain, Mode::Speculative] {
        decoder.set_mode(mode);
        for automaton in [line(3), forced(3)] {
            assert_eq!(generate_one(&mut decoder, &prompt, 0, &automaton).unwrap().tokens.len(), 3);
        }
        for automaton in [line(4), forced(4), forced(100)] {
            let too_long = generate_one(&mut decoder, &prompt, 0, &automaton);
            assert!(matches!(too_long, Err(Error::TooLong { need: 21, limit: 20, .. })), "{mode:?} {too_long:?}");
        }
    }
    let too_long = generate_one(&mut decoder, &[1; 23], 0, &line(1));
    assert!(matches!(too_long, Err(Error::TooLong { need: 23, limit: 20, .. })));
    let counts = counts.lock().unwrap();
    assert_eq!((counts.sequences, counts.rows), (0, 0));
}

#[test]
fn a_failing_request_fails_alone() {
    let mut poisoned = toy(6);
    poisoned.poison = Some(39);
    let (mut decoder, counts) = decoder(poisoned, |o| o.pass_rows = 7);
    let automaton = Automaton::new(vec![vec![(1, 1), (2, 2)], vec![(3, 2)], vec![(4, 3), (5, 3)], vec![]]);
    let good: Vec<u32> = (1..20).collect();
    let prompts = [good.clone(), vec![1; 401], vec![], vec![1, 39, 2], good.clone(), vec![39; 3], vec![VOCAB], good];
    let mut automata = vec![automaton.clone(); prompts.len()];
    let mut requests: Vec<Generation<'_>> = prompts
        .iter()
        .zip(&mut automata)
        .enumerate()
        .map(|(i, (prompt, constraint))| {
            let adapter = (i == 4).then_some(AdapterId(99));
            Generation { prompt, shared: prompt.len().min(2), adapter, constraint }
        })
        .collect();
    let found = decoder.generate(&mut requests);
    assert!(matches!(found[1], Err(Error::TooLong { need: 401, limit: 400, .. })));
    assert!(matches!(found[2], Err(Error::Invalid { .. })));
    assert!(matches!(found[3], Err(Error::Device { .. })));
    assert!(matches!(found[4], Err(Error::Invalid { .. })));
    assert!(matches!(found[5], Err(Error::Device { .. })));
    assert!(matches!(found[6], Err(Error::Invalid { .. })));
    let reference = greedy(&toy(6), None, &prompts[0], &automaton);
    assert_eq!(found[0].as_ref().unwrap().tokens, reference.tokens);
    assert_eq!(found[7].as_ref().unwrap().tokens, reference.tokens);
    decoder.forget_prefixes(|of| of.is_none());
    let counts = counts.lock().unwrap();
    assert_eq!((counts.sequences, counts.rows), (0, 0));
}

#[test]
fn cancelling_ends_open_requests_and_leaves_nothing() {
    let line = Automaton::new((0..9).map(|i| vec![(3, i + 1), (4, i + 1)]).chain([vec![]]).collect());
    for after in 1..12 {
        let mut toy = toy(7);
        let flag = Arc::new(AtomicBool::new(false));
        toy.trip = Some((after, flag.clone()));
        let (mut decoder, counts) = decoder(toy, |o| {
            *o = DecoderOptions { mode: Mode::Plain, live_sequences: 2, prefix_tokens: 0, ..o.clone() };
        });
        decoder.halt_by(Halt { flag: Some(flag), deadline: None });
        let mut automata = vec![line.clone(); 5];
        let mut requests: Vec<Generation<'_>> = automata
            .iter_mut()
            .map(|constraint| Generation { prompt: &[1, 2], shared: 0, adapter: None, constraint })
            .collect();
        let found = decoder.generate(&mut requests);
        let done = found.iter().filter(|r| r.is_ok()).count();
        assert_eq!(done, if after < 9 { 0 } else { 2 });
        assert!(found.iter().all(|r| matches!(r, Ok(_) | Err(Error::Cancelled))));
        let counts = counts.lock().unwrap();
        assert_eq!((counts.passes, counts.sequences, counts.rows), (after, 0, 0));
    }
}

#[test]
fn prefixes_stay_until_others_need_the_room() {
    let (mut decoder, counts) = decoder(toy(8), |o| o.prefix_tokens = 20);
    let automaton = Automaton::new(vec![vec![(1, 1), (2, 1)], vec![]]);
    let prompt = |kind: u32| [vec![kind; 9], vec![30, 31]].concat();
    let mut computed = |kind: u32| {
        let before = counts.lock().unwrap().computed;
        generate_one(&mut decoder, &prompt(kind), 9, &automaton).unwrap();
        counts.lock().unwrap().computed - before
    };
    assert_eq!([computed(1), computed(1)], [11, 2]);
    assert_eq!([computed(2), computed(1), computed(2)], [11, 2, 2]);
    // A third prefix takes the place of the least recently used.
    assert_eq!([computed(3), computed(2), computed(1)], [11, 2, 11]);
    assert_eq!(counts.lock().unwrap().sequences, 2);
}

#[test]
fn forced_answers_take_one_pass_and_score_each_token() {
    let (mut decoder, counts) = decoder(toy(9), |_| ());
    let tokens: Vec<u32> = (1..30).collect();
    let scores = decoder.score(&[Continuation { prompt: &[5, 6, 7], shared: 0, adapter: None, tokens: &tokens }]);
    let scores = scores.into_iter().next().unwrap().unwrap();
    let reference = toy(9);
    let mut history = vec![5, 6, 7];
    for (token, score) in tokens.iter().zip(&scores) {
        assert!((reference.log_probs(None, &history)[*token as usize] - score).abs() < 1e-12);
        history.push(*token);
    }
    assert_eq!(scores.len(), 29);
    let counts = counts.lock().unwrap();
    // The last token is never read.
    assert_eq!((counts.passes, counts.computed), (1, 3 + 28));
}
