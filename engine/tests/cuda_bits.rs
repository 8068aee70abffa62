//! Same input, same bits on the CUDA device.
#![cfg(feature = "cuda")]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use common::bits::{self, Model, config, random};
use common::gpu::Gpu;

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
