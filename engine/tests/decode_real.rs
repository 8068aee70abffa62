//! Decoding on real transformers: every answer equals, bit by bit, what separate whole passes over whole histories give.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use biomistral_nlu::decode::{
    Candidate, ChoiceRequest, Constraint, Decoder, DecoderOptions, Generated, Generation, Mode, Scores, SpanGrammar,
    SpanPolicy, SpanQuery, StateId,
};
use biomistral_nlu::device::cpu::{Cpu, CpuOptions};
use biomistral_nlu::model::{AdapterId, LanguageModel, Mistral, Step};
use biomistral_nlu::text::{Segment, Tokenizer};
use biomistral_nlu::weights::{Checkpoint, PeftAdapter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

fn open(name: &str, threads: usize) -> Arc<dyn LanguageModel> {
    let checkpoint = Checkpoint::open(&golden(name).join("model")).unwrap();
    let cpu = Cpu::new(CpuOptions { threads: Some(threads), isa: None }).unwrap();
    Mistral::open(&checkpoint, cpu, &[]).unwrap()
}

const MODELS: [&str; 4] = ["mistral_window", "mistral_mqa", "llama_tied_odd", "mistral_d32"];

fn decoder(model: &Arc<dyn LanguageModel>, change: impl FnOnce(&mut DecoderOptions)) -> Decoder {
    let mut options = DecoderOptions::new(model.config());
    change(&mut options);
    Decoder::new(model.clone().session().unwrap(), options)
}

/// Small numbers that look random.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % sides
    }

    fn tokens(&mut self, len: u32, vocabulary: usize) -> Vec<u32> {
        (0..len).map(|_| self.roll(vocabulary as u32)).collect()
    }
}

/// Logits and normaliser after a history, read as one chain in a session of its own.
fn row(model: &Arc<dyn LanguageModel>, adapter: Option<AdapterId>, history: &[u32]) -> (Vec<f32>, f64) {
    let mut session = model.clone().session().unwrap();
    let sequence = session.sequence(adapter).unwrap();
    let last = [history.len() as u32 - 1];
    let rows = session.forward(&[Step { sequence, chain: history, tree: &[], keep: &last }]).unwrap();
    (session.all_logits(rows[0]).unwrap(), session.normalisers(&rows).unwrap()[0])
}

fn log_prob(model: &Arc<dyn LanguageModel>, adapter: Option<AdapterId>, history: &[u32], token: u32) -> f64 {
    let (logits, normaliser) = row(model, adapter, history);
    (f64::from(logits[token as usize]) - normaliser).min(0.0)
}

/// An acyclic automaton with forced runs, narrow and wide choices.
#[derive(Clone)]
struct Automaton {
    edges: Vec<Vec<(u32, u32)>>,
    allowed: Vec<Vec<u32>>,
}

impl Automaton {
    fn random(dice: &mut Dice, states: u32, degrees: [u32; 4], vocabulary: usize) -> Self {
        let mut edges: Vec<Vec<(u32, u32)>> = Vec::new();
        for from in 0..states {
            let degree = degrees[dice.roll(4) as usize];
            let mut of: Vec<(u32, u32)> =
                (0..degree).map(|_| (dice.roll(vocabulary as u32), states.min(from + 1 + dice.roll(3)))).collect();
            of.sort();
            of.dedup_by_key(|(token, _)| *token);
            edges.push(of);
        }
        edges.push(Vec::new());
        let allowed = edges.iter().map(|of| of.iter().map(|(token, _)| *token).collect()).collect();
        Automaton { edges, allowed }
    }
}

impl Constraint for Automaton {
    fn start(&self) -> StateId {
        StateId(0)
    }

    fn allowed(&mut self, state: StateId) -> &[u32] {
        &self.allowed[state.0 as usize]
    }

    fn advance(&mut self, state: StateId, token: u32) -> Option<StateId> {
        let of = &self.edges[state.0 as usize];
        of.iter().find(|(t, _)| *t == token).map(|(_, to)| StateId(*to))
    }
}

fn bits(x: &[f64]) -> Vec<u64> {
    x.iter().map(|v| v.to_bits()).collect()
}

fn same(a: &Generated, b: &Generated) {
    assert_eq!(a.tokens, b.tokens);
    assert_eq!(bits(&a.logprobs), bits(&b.logprobs));
    assert_eq!(bits(&a.mass), bits(&b.mass));
}

#[test]
fn posteriors_are_those_of_separate_whole_passes() {
    for (seed, name) in MODELS.into_iter().enumerate() {
        let (one, two) = (open(name, 1), open(name, 2));
        let vocabulary = one.config().vocab_size;
        let mut dice = Dice::new(77 + seed as u64);
        let prompts: Vec<Vec<u32>> = (0..5).map(|i| dice.tokens(1 + 9 * i, vocabulary)).collect();
        let choices: Vec<Vec<u32>> = (0..9)
            .map(|i| {
                let mut choice: Vec<u32> = (0..i / 2).map(|_| 3 + dice.roll(2)).collect();
                choice.extend([10 + i, 2]);
                choice
            })
            .collect();
        let reference: Vec<Vec<u64>> = prompts
            .iter()
            .map(|prompt| {
                let score = |choice: &Vec<u32>| {
                    let tokens =
                        (0..choice.len()).map(|i| log_prob(&one, None, &[prompt, &choice[..i]].concat(), choice[i]));
                    tokens.sum::<f64>().to_bits()
                };
                choices.iter().map(score).collect()
            })
            .collect();
        for (model, tree_rows, pass_rows, live, shared) in
            [(&one, 64, 512, 1, 0), (&two, 64, 512, 8, 0), (&two, 3, 7, 3, 5), (&one, 1, 1, 2, 30)]
        {
            let mut decoder = decoder(model, |o| {
                *o = DecoderOptions { tree_rows, pass_rows, live_sequences: live, ..o.clone() };
            });
            let requests: Vec<ChoiceRequest<'_>> = prompts
                .iter()
                .map(|prompt| ChoiceRequest {
                    prompt,
                    shared: shared.min(prompt.len()),
                    adapter: None,
                    choices: &choices,
                })
                .collect();
            // The second time prefixes come from the cache.
            for _ in 0..2 {
                for (found, reference) in decoder.choose(&requests).into_iter().zip(&reference) {
                    assert_eq!(
                        &bits(&found.unwrap().logprobs),
                        reference,
                        "{name} {tree_rows} {pass_rows} {live} {shared}"
                    );
                }
            }
        }
    }
}

#[test]
fn answers_are_greedy_and_the_same_however_they_are_computed() {
    for (seed, name) in MODELS.into_iter().enumerate() {
        let (one, two) = (open(name, 1), open(name, 2));
        let vocabulary = one.config().vocab_size;
        let adapter = (name == "mistral_window").then(|| {
            let peft = PeftAdapter::open(&golden(name).join("all_linear_r4"), one.config()).unwrap();
            [&one, &two].map(|model| model.load_adapter(peft.parts()).unwrap())[0]
        });
        let mut dice = Dice::new(7 + seed as u64);
        let requests: Vec<(Vec<u32>, Automaton, Option<AdapterId>)> = (0..6)
            .map(|i| {
                let len = 1 + dice.roll(60);
                let prompt = dice.tokens(len, vocabulary);
                (prompt, Automaton::random(&mut dice, 20, [1, 1, 2, 12], vocabulary), adapter.filter(|_| i % 2 == 0))
            })
            .collect();
        let reference: Vec<Generated> = requests
            .iter()
            .map(|(prompt, automaton, adapter)| {
                let (mut out, mut history, mut at) = (Generated::default(), prompt.clone(), 0);
                while !automaton.allowed[at].is_empty() {
                    let (logits, normaliser) = row(&one, *adapter, &history);
                    let top = automaton.edges[at].iter().map(|(t, _)| logits[*t as usize]).fold(f32::MIN, f32::max);
                    let (token, to) = *automaton.edges[at].iter().find(|(t, _)| logits[*t as usize] == top).unwrap();
                    out.tokens.push(token);
                    out.logprobs.push((f64::from(top) - normaliser).min(0.0));
                    let mass =
                        automaton.allowed[at].iter().map(|t| (f64::from(logits[*t as usize]) - normaliser).exp());
                    // Rounding of the normaliser must not make it more than everything.
                    out.mass.push(mass.sum::<f64>().min(1.0));
                    history.push(token);
                    at = to as usize;
                }
                out
            })
            .collect();
        let mut first: Option<Vec<Generated>> = None;
        for (model, mode, draft_rows, pass_rows, live, shared) in [
            (&one, Mode::Plain, 0, 512, 1, 0),
            (&two, Mode::Plain, 0, 16, 6, 9),
            (&one, Mode::Speculative, 12, 512, 1, 0),
            (&two, Mode::Speculative, 64, 512, 4, 9),
            (&two, Mode::Speculative, 200, 5, 6, 40),
        ] {
            let mut decoder = decoder(model, |o| {
                let scores = Scores::LogProbAndMass;
                *o = DecoderOptions {
                    mode,
                    draft_rows,
                    pass_rows,
                    live_sequences: live,
                    scores,
                    draft_floor: 0.0,
                    ..o.clone()
                };
            });
            let mut automata: Vec<Automaton> = requests.iter().map(|r| r.1.clone()).collect();
            let mut generations: Vec<Generation<'_>> = requests
                .iter()
                .zip(&mut automata)
                .map(|((prompt, _, adapter), constraint)| Generation {
                    prompt,
                    shared: shared.min(prompt.len()),
                    adapter: *adapter,
                    constraint,
                })
                .collect();
            for _ in 0..2 {
                let found: Vec<Generated> =
                    decoder.generate(&mut generations).into_iter().map(|r| r.unwrap()).collect();
                for (found, reference) in found.iter().zip(&reference) {
                    assert_eq!(found.tokens, reference.tokens, "{name} {mode:?} {draft_rows}");
                    assert_eq!(bits(&found.logprobs), bits(&reference.logprobs), "{name} {mode:?} {draft_rows}");
                    // The same exponentials, summed in another order.
                    assert!(found.mass.iter().zip(&reference.mass).all(|(a, b)| (a - b).abs() < 1e-12));
                }
                let first = first.get_or_insert_with(|| found.clone());
                first.iter().zip(&found).for_each(|(a, b)| same(a, b));
            }
        }
    }
}

#[test]
fn top_spans_are_the_best_of_all() {
    for (seed, name) in MODELS.into_iter().enumerate() {
        let model = open(name, 2);
        let vocabulary = model.config().vocab_size;
        let mut dice = Dice::new(40 + seed as u64);
        let prompt = dice.tokens(20, vocabulary);
        let automaton = Automaton::random(&mut dice, 8, [4, 1, 4, 5], vocabulary);
        let ends: Vec<u32> = (0..vocabulary as u32).step_by(9).collect();
        let mut all = Vec::new();
        let mut open = vec![(0, Vec::new(), 0.0)];
        while let Some((state, tokens, logprob)) = open.pop() {
            let (logits, normaliser) = row(&model, None, &[&prompt[..], &tokens].concat());
            let mut ended = 0.0;
            for &(token, to) in &automaton.edges[state] {
                let score = (f64::from(logits[token as usize]) - normaliser).min(0.0);
                if ends.contains(&token) || automaton.edges[to as usize].is_empty() {
                    ended += score.exp();
                } else {
                    open.push((to as usize, [&tokens[..], &[token]].concat(), logprob + score));
                }
            }
            if ended > 0.0 {
                all.push(Candidate { tokens, logprob: logprob + f64::ln(ended) });
            }
        }
        all.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
        assert!(all.len() > 20, "{name}: {} spans are too few to rank", all.len());
        let none = all.remove(all.len() / 2);
        let mut constraint = automaton.clone();
        let query = SpanQuery {
            prompt: &prompt,
            shared: 7,
            adapter: None,
            constraint: &mut constraint,
            start: StateId(0),
            ends: &ends,
            none: &none.tokens,
            count: 10,
        };
        let found = decoder(&model, |_| ()).top_spans(&mut [query]).pop().unwrap().unwrap();
        assert!((found.none - none.logprob).abs() < 1e-12);
        assert_eq!(found.spans.len(), 10);
        for (found, best) in found.spans.iter().zip(&all) {
            assert_eq!(found.tokens, best.tokens, "{name}");
            assert!((found.logprob - best.logprob).abs() < 1e-12);
        }
    }
}

const NOTES: [&str; 2] = [
    "A 67-year-old woman came in with three days of fever, productive cough and pleuritic chest pain. She has type 2 diabetes \
     mellitus and chronic kidney disease, and takes metformin 500 mg and lisinopril. Chest X-ray showed consolidation of the \
     right lower lobe. Ceftriaxone and azithromycin were started. Blood cultures are pending.",
    "Señor de 54 años. Progressive dyspnoea (NYHA III) and ankle oedema, no chest pain.\nEcho: ejection fraction 30 %, severe \
     mitral regurgitation. SpO₂ 91 % on air.\nPlan: furosemide 40 mg, bisoprolol 2.5 mg; cardiac MRI.",
];

/// Extraction by the demo model: drafted answers equal plain ones, and every span stands in the text.
#[test]
fn demo_model_extracts_the_same_spans_with_and_without_drafts() {
    let Some(path) = std::env::var_os("BMN_DEMO_MODEL").map(PathBuf::from) else {
        println!(
            "SKIPPED demo_model_extracts_the_same_spans_with_and_without_drafts: set BMN_DEMO_MODEL, `make test` does"
        );
        return;
    };
    let tokenizer = Arc::new(Tokenizer::open(&path).unwrap());
    let cpu = Cpu::new(CpuOptions::default()).unwrap();
    let model: Arc<dyn LanguageModel> = Mistral::open(&Checkpoint::open(&path).unwrap(), cpu, &[]).unwrap();
    let (start, end) = (tokenizer.control("<|im_start|>").unwrap(), tokenizer.control("<|im_end|>").unwrap());
    let labels: Vec<String> = ["Problem", "Treatment", "Test", "Body site", "Allergy"].map(String::from).to_vec();
    let instruction = "user\nList the spans of each type exactly as they stand in the text, one type per line, as in\n\
        Problem: span ... span\nTreatment: None\nTypes: Problem, Treatment, Test, Body site, Allergy.\nMedical text:";
    let policy = SpanPolicy { max_spans: Some(8), max_words: Some(8), ..SpanPolicy::default() };
    let prompts: Vec<Vec<u32>> = NOTES
        .iter()
        .map(|note| {
            let text = |text: &str| Segment::Text(text.to_owned());
            let segments = [
                Segment::Control(start),
                text(&format!("{instruction}{note}")),
                Segment::Control(end),
                text("\n"),
                Segment::Control(start),
                text("assistant\n"),
            ];
            tokenizer.encode_segments(&segments).unwrap()
        })
        .collect();
    let shared = prompts[0].iter().zip(&prompts[1]).take_while(|(a, b)| a == b).count();
    let mut runs = Vec::new();
    for (mode, draft_rows, floor) in [
        (Mode::Plain, 0, 1.0),
        (Mode::Speculative, 0, 1.0),
        (Mode::Speculative, 12, 0.05),
        (Mode::Speculative, 12, 0.02),
        (Mode::Speculative, 64, 0.005),
    ] {
        let mut grammars: Vec<SpanGrammar> = NOTES
            .iter()
            .map(|note| SpanGrammar::new(&tokenizer, note, &labels, &policy, end, "assistant\n").unwrap())
            .collect();
        let mut decoder = decoder(&model, |o| {
            let (scores, live_sequences) = (Scores::LogProbAndMass, 1);
            *o = DecoderOptions { mode, draft_rows, draft_floor: floor, scores, live_sequences, ..o.clone() };
        });
        let mut requests: Vec<Generation<'_>> = prompts
            .iter()
            .zip(&mut grammars)
            .map(|(prompt, constraint)| Generation { prompt, shared, adapter: None, constraint })
            .collect();
        let clock = std::time::Instant::now();
        let found: Vec<Generated> = decoder.generate(&mut requests).into_iter().map(|r| r.unwrap()).collect();
        let seconds = clock.elapsed().as_secs_f64();
        for ((found, grammar), note) in found.iter().zip(&mut grammars).zip(NOTES) {
            let lines = grammar.read(&found.tokens).unwrap();
            assert_eq!(found.asides.len(), labels.len());
            let spans: Vec<&str> = lines.iter().flat_map(|l| &l.spans).map(|s| &note[s.range.clone()]).collect();
            let nones = lines.iter().filter(|line| line.none.is_some()).count();
            let Generated { passes, drafted, accepted, .. } = found;
            println!(
                "{mode:?} {draft_rows} {floor}: {} tokens, {} spans, {nones} None, {passes} passes, {drafted} drafted, {accepted} accepted",
                found.tokens.len(),
                spans.len(),
            );
        }
        println!("{seconds:.2} s for both");
        runs.push(found);
    }
    for run in &runs[1..] {
        for (plain, drafted) in runs[0].iter().zip(run) {
            same(plain, drafted);
            assert_eq!(bits(&plain.asides), bits(&drafted.asides));
        }
    }
    println!("{}", String::from_utf8_lossy(&tokenizer.decode(&runs[0][0].tokens)));
}
