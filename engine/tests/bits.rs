//! Same input, same bits on the processor, on every instruction set and with any number of threads.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use biomistral_nlu::device::cpu::{Cpu, CpuOptions, Isa};
use biomistral_nlu::model::Mistral;
use biomistral_nlu::weights::Checkpoint;
use common::bits::{self, Model, alone, config, random, text};
use common::same_bits;

/// Runs a test on every instruction set here, with and without a window, with two threads.
fn each(test: impl Fn(&Model)) {
    for window in [None, Some(50)] {
        let checkpoint = random(&config(window), 7);
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512Bf16].into_iter().filter(|isa| *isa <= Isa::detect()) {
            test(&open(&checkpoint, 2, isa));
        }
    }
}

fn open(checkpoint: &Checkpoint, threads: usize, isa: Isa) -> Model {
    let cpu = Cpu::new(CpuOptions { threads: Some(threads), isa: Some(isa) }).unwrap();
    Mistral::open(checkpoint, cpu, &[]).unwrap()
}

#[test]
fn alone_is_among_others_is_again_is_in_pieces() {
    each(bits::alone_is_among_others_is_again_is_in_pieces);
}

#[test]
fn passes_longer_than_the_limit_change_nothing() {
    each(bits::passes_longer_than_the_limit_change_nothing);
}

#[test]
fn threads_change_nothing() {
    let checkpoint = random(&config(Some(50)), 8);
    let tokens = text(5, 200);
    let of = |threads| alone(&open(&checkpoint, threads, Isa::detect()), &tokens);
    let one = of(1);
    assert!((2..5).all(|threads| same_bits(&one, &of(threads))));
}

#[test]
fn a_cached_prefix_changes_nothing() {
    each(bits::a_cached_prefix_changes_nothing);
}

#[test]
fn drafted_is_plain() {
    each(|model| bits::drafted_is_plain(model, &[0, 1, 2, 3, 4, 5, 6]));
}

#[test]
fn adapters_of_neighbours_change_nothing() {
    bits::adapters_of_neighbours_change_nothing(|checkpoint| open(checkpoint, 2, Isa::detect()));
}

#[test]
fn what_cannot_run_leaves_the_session_as_it_was() {
    bits::what_cannot_run_leaves_the_session_as_it_was(&open(&random(&config(None), 9), 1, Isa::detect()));
}
