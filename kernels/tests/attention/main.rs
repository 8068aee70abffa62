//! Attention on a device: against f64, and bit for bit against itself in every other way of asking.

#[path = "../harness/mod.rs"]
mod harness;

mod case;

use case::{Model, Rows, attend, oracle};
use half::bf16;
use harness::{Device, Random, check};

fn agrees(device: &Device, what: &str, model: &Model, sequences: &[Rows], split_always: bool) -> Vec<bf16> {
    let found = attend(device, model, sequences, split_always, 5);
    let values: Vec<f32> = found.iter().map(|v| v.to_f32()).collect();
    check(&format!("{what} {model:?}"), model.heads * model.head_dim, &values, &oracle(model, sequences));
    found
}

/// A random tree: each node's parent is one of the four before it, or none.
fn tree(nodes: usize, random: &mut Random) -> Vec<u64> {
    let mut tree: Vec<u64> = Vec::new();
    for node in 0..nodes {
        let back = random.below(5);
        let seen = if back == 0 || back > node { 0 } else { tree[node - back] };
        tree.push(seen | 1 << node);
    }
    tree
}

#[test]
fn every_head_dim_and_ratio_agrees_with_f64() {
    let Some(device) = Device::open("every_head_dim_and_ratio_agrees_with_f64") else { return };
    let mut random = Random::new(1);
    let shapes = [
        (2, 1, 1),
        (8, 2, 2),
        (16, 4, 2),
        (20, 3, 1),
        (32, 8, 1),
        (48, 6, 2),
        (64, 9, 3),
        (80, 5, 1),
        (96, 4, 1),
        (112, 2, 1),
        (128, 8, 2),
        (130, 2, 1),
        (192, 7, 1),
        (256, 4, 2),
        (64, 70, 1),
        (16, 33, 1),
    ];
    for (head_dim, heads, kv_heads) in shapes {
        let model = Model { heads, kv_heads, head_dim, window: None };
        let rows = [(0, 70, vec![]), (61, 1, vec![]), (300, 2, tree(5, &mut random)), (0, 1, vec![])];
        let rows = rows.map(|r| Rows::random(&model, r, &mut random));
        let a = agrees(&device, "prompt", &model, &rows, false);
        let b = agrees(&device, "split", &model, &rows, true);
        assert_eq!(a, b, "{model:?}");
    }
}

#[test]
fn every_length_agrees_with_f64() {
    let Some(device) = Device::open("every_length_agrees_with_f64") else { return };
    let mut random = Random::new(2);
    let model = Model { heads: 4, kv_heads: 2, head_dim: 32, window: None };
    for cached in [0, 1, 63, 64, 65, 127, 200, 255, 256, 257, 511, 513] {
        for chain in [1, 7, 63, 64, 65, 127, 129] {
            let rows = [Rows::random(&model, (cached, chain, vec![]), &mut random)];
            let a = agrees(&device, &format!("{cached}+{chain}"), &model, &rows, false);
            let b = agrees(&device, &format!("{cached}+{chain}, split"), &model, &rows, true);
            assert_eq!(a, b, "{cached}+{chain}");
        }
    }
}
