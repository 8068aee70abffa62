//! Same input, same bits, on whatever device the model runs: a row's result does not depend on its neighbours, the cache, or on
//! being drafted.
//!
//! Texts cross pages, softmax blocks and the window's edge. All comparisons are of bits.

use super::{golden, same_bits};
use biomistral_nlu::model::{AdapterId, LanguageModel, ModelSession, RowId, SequenceId, Step, TreeNode};
use biomistral_nlu::weights::{Architecture, Checkpoint, ModelConfig, PeftAdapter, random_checkpoint};
use std::sync::Arc;

/// A model on some device.
pub type Model = Arc<dyn LanguageModel>;

pub const VOCABULARY: usize = 61;

/// Odd sizes, grouped queries.
pub fn config(window: Option<usize>) -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Mistral,
        hidden_size: 40,
        intermediate_size: 72,
        layers: 2,
        heads: 6,
        kv_heads: 2,
        head_dim: 14,
        vocab_size: VOCABULARY,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        sliding_window: window,
        max_positions: 1400,
        tied_head: false,
    }
}

/// A checkpoint of random weights.
pub fn random(config: &ModelConfig, seed: u64) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    random_checkpoint(config, seed, &path, &mut |_, _| true).unwrap();
    // Mapped files stay readable when their folder is gone.
    Checkpoint::open(&path).unwrap()
}

fn session(model: &Model) -> Box<dyn ModelSession> {
    model.clone().session().unwrap()
}

/// `n` token ids that depend on `seed`.
pub fn text(seed: usize, n: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i * 31 + i * 7 + seed * 13 + seed * seed) % VOCABULARY) as u32).collect()
}

/// Reads `tokens` after what the sequence holds, in passes of `pieces` tokens; the logits of the last.
pub fn read(s: &mut dyn ModelSession, sequence: SequenceId, tokens: &[u32], piece: usize) -> Vec<f32> {
    let mut last = Vec::new();
    for chain in tokens.chunks(piece) {
        let rows = s.forward(&[Step { sequence, chain, tree: &[], keep: &[chain.len() as u32 - 1] }]).unwrap();
        last = s.all_logits(rows[0]).unwrap();
        s.release_rows(&rows);
    }
    last
}

pub fn alone(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let mut s = session(model);
    let sequence = s.sequence(None).unwrap();
    read(s.as_mut(), sequence, tokens, usize::MAX)
}

pub fn alone_is_among_others_is_again_is_in_pieces(model: &Model) {
    let texts: Vec<Vec<u32>> = (0..64).map(|i| text(i, 1 + (i * 37) % 150)).collect();
    let mut s = session(model);
    let ids: Vec<_> = texts.iter().map(|_| s.sequence(None).unwrap()).collect();
    let keep: Vec<[u32; 1]> = texts.iter().map(|t| [t.len() as u32 - 1]).collect();
    let steps: Vec<_> =
        (0..64).map(|i| Step { sequence: ids[i], chain: &texts[i], tree: &[], keep: &keep[i] }).collect();
    let rows = s.forward(&steps).unwrap();
    let lse = s.normalisers(&rows).unwrap();
    for i in [0, 1, 3, 17, 40, 63] {
        let among = s.all_logits(rows[i]).unwrap();
        assert!(same_bits(&among, &alone(model, &texts[i])), "text {i} among 63 others");
        let again = s.sequence(None).unwrap();
        assert!(same_bits(&among, &read(s.as_mut(), again, &texts[i], 7)), "text {i} in pieces of 7");
        let single = s.normalisers(&rows[i..=i]).unwrap();
        assert_eq!(lse[i].to_bits(), single[0].to_bits(), "log-sum-exp of text {i}");
        let chosen = s.logits(&[(rows[i], &[60, 5, 5])]).unwrap();
        assert!(same_bits(&chosen, &[among[60], among[5], among[5]]), "chosen logits of text {i}");
    }
}

pub fn passes_longer_than_the_limit_change_nothing(model: &Model) {
    let tokens = text(3, 1300);
    let mut s = session(model);
    let sequence = s.sequence(None).unwrap();
    assert!(same_bits(&alone(model, &tokens), &read(s.as_mut(), sequence, &tokens, 333)));
}

pub fn a_cached_prefix_changes_nothing(model: &Model) {
    let tokens = text(9, 150);
    let want = alone(model, &tokens);
    let mut s = session(model);
    let prefix = s.sequence(None).unwrap();
    read(s.as_mut(), prefix, &tokens[..140], usize::MAX);
    // On both sides of page ends, and everything.
    for len in [1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 140] {
        let other = s.fork(prefix, len).unwrap();
        read(s.as_mut(), other, &text(77, 40), usize::MAX);
        let fork = s.fork(prefix, len).unwrap();
        assert!(same_bits(&want, &read(s.as_mut(), fork, &tokens[len..], usize::MAX)), "prefix of {len}");
        s.release(fork);
        s.release(other);
    }
    assert!(same_bits(&want, &read(s.as_mut(), prefix, &tokens[140..], usize::MAX)), "the prefix itself goes on");
    s.release(prefix);
    assert_eq!(s.cache_bytes(), 0);
}

/// `leaves` of seven nodes are looked at.
pub fn drafted_is_plain(model: &Model, leaves: &[usize]) {
    // A tree with three branches below a chain; node 5 is a deep leaf.
    let node = |token, parent| TreeNode { token, parent };
    let tree = [
        node(4, None),
        node(9, None),
        node(12, Some(0)),
        node(13, Some(1)),
        node(14, Some(0)),
        node(15, Some(2)),
        node(16, Some(3)),
    ];
    let path = |mut n: usize| {
        let mut path = vec![n as u32];
        while let Some(parent) = tree[n].parent {
            n = parent as usize;
            path.insert(0, parent);
        }
        path
    };
    for (cached, chain) in [(0, 1), (0, 62), (63, 0), (61, 2), (15, 1), (100, 30), (129, 0)] {
        let before = text(1, cached);
        let chain = text(2, chain);
        for &leaf in leaves {
            let mut s = session(model);
            let sequence = s.sequence(None).unwrap();
            if cached > 0 {
                read(s.as_mut(), sequence, &before, usize::MAX);
            }
            let keep = [(chain.len() + leaf) as u32];
            let rows = s.forward(&[Step { sequence, chain: &chain, tree: &tree, keep: &keep }]).unwrap();
            let drafted = s.all_logits(rows[0]).unwrap();
            let spoken: Vec<u32> = path(leaf).iter().map(|&n| tree[n as usize].token).collect();
            let whole = [&before[..], &chain, &spoken].concat();
            assert!(same_bits(&drafted, &alone(model, &whole)), "node {leaf} after {cached} + {}", chain.len());
            s.commit(sequence, &path(leaf)).unwrap();
            assert_eq!(s.len(sequence), whole.len());
            let after = read(s.as_mut(), sequence, &[33, 34], 1);
            assert!(same_bits(&after, &alone(model, &[&whole[..], &[33, 34]].concat())), "after committing {leaf}");
        }
    }
}

pub fn adapters_of_neighbours_change_nothing(open: impl Fn(&Checkpoint) -> Model) {
    let folder = golden("mistral_window");
    let checkpoint = Checkpoint::open(&folder.join("model")).unwrap();
    let model = open(&checkpoint);
    let load = |name: &str| {
        let peft = PeftAdapter::open(&folder.join(name), checkpoint.config()).unwrap();
        model.load_adapter(peft.parts()).unwrap()
    };
    let adapters = [None, Some(load("all_linear_r4")), Some(load("rslora_qv_r8")), None, Some(load("patterns"))];
    let tokens = text(6, 40);
    let mut s = session(&model);
    let ids: Vec<_> = adapters.iter().map(|&a| s.sequence(a).unwrap()).collect();
    let steps: Vec<_> = ids.iter().map(|&sequence| Step { sequence, chain: &tokens, tree: &[], keep: &[39] }).collect();
    let rows = s.forward(&steps).unwrap();
    let packed: Vec<_> = rows.iter().map(|&row| s.all_logits(row).unwrap()).collect();
    for (i, &adapter) in adapters.iter().enumerate() {
        let sequence = s.sequence(adapter).unwrap();
        assert!(same_bits(&packed[i], &read(s.as_mut(), sequence, &tokens, usize::MAX)), "adapter {i}");
    }
    assert!(same_bits(&packed[0], &packed[3]) && !same_bits(&packed[0], &packed[1]));
}

/// `model` has no window.
pub fn what_cannot_run_leaves_the_session_as_it_was(model: &Model) {
    let mut s = session(model);
    let a = s.sequence(None).unwrap();
    read(s.as_mut(), a, &text(1, 20), usize::MAX);
    let node = |parent| TreeNode { token: 1, parent };
    let wide = [node(None); 65];
    let backwards = [node(Some(0))];
    let long = text(2, 1381);
    let step = Step { sequence: a, chain: &[1], tree: &[], keep: &[] };
    let bad: [&[Step<'_>]; 8] = [
        &[step, step],
        &[Step { sequence: SequenceId(99), ..step }],
        &[Step { chain: &[], ..step }],
        &[Step { chain: &[VOCABULARY as u32], ..step }],
        &[Step { tree: &wide, ..step }],
        &[Step { tree: &backwards, ..step }],
        &[Step { keep: &[1], ..step }],
        &[Step { chain: &long, ..step }],
    ];
    for (i, steps) in bad.into_iter().enumerate() {
        assert!(s.forward(steps).is_err(), "step {i}");
        assert_eq!(s.len(a), 20);
    }
    assert!(s.fork(a, 21).is_err() && s.commit(a, &[0]).is_err() && s.sequence(Some(AdapterId(0))).is_err());
    assert!(s.all_logits(RowId(0)).is_err() && s.logits(&[]).unwrap().is_empty());
    let more = read(s.as_mut(), a, &[5], 1);
    assert!(same_bits(&more, &alone(model, &[&text(1, 20)[..], &[5]].concat())));
}
