//! Same input, same bits on the CUDA device.
#![cfg(feature = "cuda")]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use biomistral_nlu::model::{LanguageModel, Mistral, Step};
use common::bits::{self, Model, alone, config, random, read, text};
use common::gpu::Gpu;
use common::same_bits;

/// Runs a test with and without a window.
fn each(name: &str, test: impl Fn(&Model)) {
    for window in [None, Some(50)] {
        let Some(gpu) = Gpu::take(name, r#"{"schedule": "shuffled", "tensor": "h100"}"#) else { return };
        test(&gpu.open(&random(&config(window), 7), &[]));
    }
}

#[test]
fn alone_is_among_others_is_again_is_in_pieces() {
    each("alone_is_among_others_is_again_is_in_pieces", bits::alone_is_among_others_is_again_is_in_pieces);
}

#[test]
fn passes_longer_than_the_limit_change_nothing() {
    each("passes_longer_than_the_limit_change_nothing", bits::passes_longer_than_the_limit_change_nothing);
}

#[test]
fn a_cached_prefix_changes_nothing() {
    each("a_cached_prefix_changes_nothing", bits::a_cached_prefix_changes_nothing);
}

#[test]
fn drafted_is_plain() {
    each("drafted_is_plain", |model| bits::drafted_is_plain(model, &[4, 6]));
}

#[test]
fn adapters_of_neighbours_change_nothing() {
    let Some(gpu) = Gpu::take("adapters_of_neighbours_change_nothing", "{}") else { return };
    bits::adapters_of_neighbours_change_nothing(|checkpoint| gpu.open(checkpoint, &[]));
}

#[test]
fn what_cannot_run_leaves_the_session_as_it_was() {
    let Some(gpu) = Gpu::take("what_cannot_run_leaves_the_session_as_it_was", "{}") else { return };
    bits::what_cannot_run_leaves_the_session_as_it_was(&gpu.open(&random(&config(None), 9), &[]));
}

#[test]
fn decoding_replays_graphs_and_they_change_nothing() {
    let Some(gpu) = Gpu::take("decoding_replays_graphs_and_they_change_nothing", "{}") else { return };
    let model = Mistral::open(&random(&config(Some(50)), 7), gpu.cuda(), &[]).unwrap();
    let mut s = LanguageModel::session(model.clone()).unwrap();
    let sequence = s.sequence(None).unwrap();
    let tokens = text(4, 75);
    read(s.as_mut(), sequence, &tokens[..60], usize::MAX);
    // Steps across the end of a page, where the page table grows.
    let last = read(s.as_mut(), sequence, &tokens[60..], 1);
    assert!(model.device().replays() >= 8, "{} replays", model.device().replays());
    let model: Model = model;
    assert!(same_bits(&last, &alone(&model, &tokens)));
}

#[test]
fn every_number_of_rows_has_its_graph() {
    let Some(gpu) = Gpu::take("every_number_of_rows_has_its_graph", "{}") else { return };
    let model = Mistral::open(&random(&config(None), 7), gpu.cuda(), &[]).unwrap();
    let mut s = LanguageModel::session(model.clone()).unwrap();
    for rows in [1, 2, 4, 8] {
        let texts: Vec<_> = (0..rows).map(|i| text(i, 12)).collect();
        let ids: Vec<_> = texts.iter().map(|_| s.sequence(None).unwrap()).collect();
        let before = model.device().replays();
        let mut last = Vec::new();
        // The prompts, then token by token all together: launched, captured, replayed four times.
        for range in std::iter::once(0..6).chain((6..12).map(|token| token..token + 1)) {
            let keep = [range.len() as u32 - 1];
            let step = |(&sequence, text): (_, &'_ Vec<u32>)| (sequence, text[range.clone()].to_vec());
            let chains: Vec<_> = ids.iter().zip(&texts).map(step).collect();
            let steps =
                chains.iter().map(|(sequence, chain)| Step { sequence: *sequence, chain, tree: &[], keep: &keep });
            s.release_rows(&last);
            last = s.forward(&steps.collect::<Vec<_>>()).unwrap();
        }
        assert!(model.device().replays() >= before + 4, "{rows} rows: {} replays", model.device().replays() - before);
        let among: Vec<_> = last.iter().map(|&row| s.all_logits(row).unwrap()).collect();
        let model: Model = model.clone();
        for (among, text) in among.iter().zip(&texts) {
            assert!(same_bits(among, &alone(&model, text)), "{rows} rows");
        }
        s.release_rows(&last);
        ids.into_iter().for_each(|id| s.release(id));
    }
}

#[test]
fn sessions_on_several_threads_change_nothing() {
    let Some(gpu) = Gpu::take("sessions_on_several_threads_change_nothing", "{}") else { return };
    let model = gpu.open(&random(&config(None), 7), &[]);
    let want: Vec<_> = (0..3).map(|i| alone(&model, &text(i, 40 + 30 * i))).collect();
    std::thread::scope(|scope| {
        for (i, want) in want.iter().enumerate() {
            let model = &model;
            scope.spawn(move || {
                let mut s = model.clone().session().unwrap();
                let sequence = s.sequence(None).unwrap();
                let got = read(s.as_mut(), sequence, &text(i, 40 + 30 * i), 9);
                assert!(same_bits(&got, want), "session {i}");
            });
        }
    });
}
