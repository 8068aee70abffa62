//! Attention on a device: against f64, and bit for bit against itself in every other way of asking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

#[path = "../harness/mod.rs"]
mod harness;

mod case;

use biomistral_nlu_kernels::table;
use case::{Model, Rows, attend, oracle};
use half::bf16;
use harness::{Device, Random, check};
use std::sync::RwLock;

/// Held for reading by tests that the settings of the virtual GPU must not change under.
static SETTINGS: RwLock<()> = RwLock::new(());

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
    let _settings = SETTINGS.read().unwrap();
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
    let _settings = SETTINGS.read().unwrap();
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

/// A window of W keys, the row's own included, at every place of a page and a split. The queries look for the key just
/// before the window and the key after their own even harder than for those inside: one key too many shows at once.
#[test]
fn window_holds_exactly_w_keys() {
    let Some(device) = Device::open("window_holds_exactly_w_keys") else { return };
    let _settings = SETTINGS.read().unwrap();
    let mut random = Random::new(3);
    for window in [1, 4, 63, 64, 65, 200, 256, 300] {
        let model = Model { heads: 2, kv_heads: 1, head_dim: 64, window: Some(window) };
        for (cached, chain) in [(0, 129), (250, 9), (330, 70)] {
            let mut rows = Rows::random(&model, (cached, chain, vec![]), &mut random);
            // Key p is the unit vector of p mod 64; a query sums those of the positions around its window's edges.
            for (i, k) in rows.keys.k.iter_mut().enumerate() {
                *k = bf16::from_f32(if i / 64 % 64 == i % 64 { 4.0 } else { 0.0 });
            }
            for (i, q) in rows.q.iter_mut().enumerate() {
                let (position, column) = ((cached + i / 128) as i64, (i % 64) as i64);
                let at = |p: i64| p.rem_euclid(64) == column;
                let first = position + 1 - window as i64;
                let wish = if at(first - 1) || at(position + 1) { 18.0 } else { 0.0 };
                *q = bf16::from_f32(wish + if at(first) || at(position) { 9.0 } else { 0.0 });
            }
            let what = format!("window {window}, {cached}+{chain}");
            let a = agrees(&device, &what, &model, std::slice::from_ref(&rows), false);
            let b = agrees(&device, &what, &model, std::slice::from_ref(&rows), true);
            assert_eq!(a, b, "{what}");
        }
    }
}

/// Queries that look for the next key: a causal mask that lets one more through shows at once. The same for nodes of a tree and
/// the nodes that are not their ancestors.
#[test]
fn future_keys_and_other_branches_are_not_seen() {
    let Some(device) = Device::open("future_keys_and_other_branches_are_not_seen") else { return };
    let _settings = SETTINGS.read().unwrap();
    let mut random = Random::new(4);
    let model = Model { heads: 2, kv_heads: 2, head_dim: 32, window: None };
    for (cached, chain, nodes) in [(0, 130, 0), (0, 20, 12), (60, 1, 12), (250, 3, 12), (700, 1, 64), (0, 0, 30)] {
        let mut rows = Rows::random(&model, (cached, chain, tree(nodes, &mut random)), &mut random);
        let slots = cached + rows.len();
        // Scores grow with the slot.
        for (i, k) in rows.keys.k.iter_mut().enumerate() {
            *k = bf16::from_f32((i / 64) as f32 / slots as f32 - 0.5 + k.to_f32() / 8.0);
        }
        rows.q.iter_mut().for_each(|q| *q = bf16::from_f32(6.0 + q.to_f32()));
        let what = format!("{cached}+{chain}+{nodes}");
        let a = agrees(&device, &what, &model, std::slice::from_ref(&rows), false);
        let b = agrees(&device, &what, &model, std::slice::from_ref(&rows), true);
        assert_eq!(a, b, "{what}");
    }
}

/// A row has the same bits as a row of a prompt, decoded alone, in a draft, after a cached prefix, as a node of a tree, beside
/// other sequences, with other page numbers, and again.
#[test]
fn a_row_has_one_result() {
    let Some(device) = Device::open("a_row_has_one_result") else { return };
    let _settings = SETTINGS.read().unwrap();
    let mut random = Random::new(6);
    for (head_dim, heads, kv_heads, window) in
        [(64, 4, 1, None), (128, 2, 2, Some(100)), (16, 6, 2, None), (256, 3, 1, Some(300))]
    {
        let model = Model { heads, kv_heads, head_dim, window };
        let width = heads * head_dim;
        let whole = Rows::random(&model, (0, 600, vec![]), &mut random);
        let prompt = attend(&device, &model, std::slice::from_ref(&whole), false, 1);
        let same = |what: &str, rows: std::ops::Range<usize>, found: &[bf16]| {
            let expected = &prompt[rows.start * width..rows.end * width];
            let differs = expected.iter().zip(found).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!((differs, found.len()), (None, expected.len()), "{what}, rows {rows:?} of {model:?}");
        };
        same("again, other pages", 0..600, &attend(&device, &model, std::slice::from_ref(&whole), false, 2));
        for row in [0, 1, 63, 64, 255, 256, 257, 511, 512, 599] {
            let alone = whole.part(&model, row..row + 1);
            same("decoded", row..row + 1, &attend(&device, &model, std::slice::from_ref(&alone), true, 3));
            same("decoded or prompt", row..row + 1, &attend(&device, &model, &[alone], false, 4));
        }
        for rows in [500..563, 250..300, 190..193, 100..600, 255..600] {
            let part = whole.part(&model, rows.clone());
            same("after a prefix", rows.clone(), &attend(&device, &model, std::slice::from_ref(&part), false, 5));
            if rows.len() < 64 {
                same("draft", rows.clone(), &attend(&device, &model, std::slice::from_ref(&part), true, 6));
                // Among 63 others of other sequences.
                let other = Rows::random(&model, (301, 64 - rows.len(), vec![]), &mut random);
                let both = attend(&device, &model, &[other.clone(), part], true, 7);
                same("beside another", rows, &both[other.len() * width..]);
            }
        }
        // Rows 300.. of the prompt as a path through a tree: its nodes lie between others.
        for (start, length) in [(300, 20), (255, 6), (63, 3), (510, 4)] {
            let part = whole.part(&model, start - 2..start + length);
            let noise = Rows::random(&model, (0, 2 * length, vec![]), &mut random);
            let mut rows = whole.part(&model, start - 2..start);
            let mut path = 0u64;
            for i in 0..length {
                // A stranger, then the path's next node.
                let key = |from: &Rows, slot: usize| from.keys.gather(&model, &[slot]);
                for (from, slot) in [(&noise, i), (&part, start + i)] {
                    let key = key(from, slot);
                    rows.keys.k.extend(key.k);
                    rows.keys.v.extend(key.v);
                }
                rows.q.extend(noise.row(&model, i..i + 1));
                rows.q.extend(part.row(&model, 2 + i..3 + i));
                rows.tree.push(path | 1 << (2 * i));
                path |= 1 << (2 * i + 1);
                rows.tree.push(path);
            }
            for split_always in [false, true] {
                let found = attend(&device, &model, std::slice::from_ref(&rows), split_always, 8);
                for i in 0..length {
                    let at = (2 + 2 * i + 1) * width;
                    same("node", start + i..start + i + 1, &found[at..at + width]);
                }
            }
        }
    }
}

/// Scores that grow from block to block by more than a reference stays behind, in every other token: their rows' references
/// follow, those of the rows between do not, and a row has the bits that it has alone.
#[test]
fn references_follow_the_rows_whose_scores_grow() {
    let Some(device) = Device::open("references_follow_the_rows_whose_scores_grow") else { return };
    let _settings = SETTINGS.read().unwrap();
    let mut random = Random::new(11);
    for head_dim in [32, 64, 128, 256] {
        let model = Model { heads: 2, kv_heads: 1, head_dim, window: None };
        let mut rows = Rows::random(&model, (150, 100, vec![]), &mut random);
        // 2^8.6 per block of 64 keys.
        rows.keys
            .k
            .iter_mut()
            .step_by(head_dim)
            .enumerate()
            .for_each(|(p, k)| *k = bf16::from_f32((p / 64 * 2) as f32));
        let growth = 3.0 * (head_dim as f32).sqrt();
        rows.q.iter_mut().step_by(head_dim).enumerate().for_each(|(row, q)| {
            *q = bf16::from_f32(if row / 2 % 2 == 0 { growth } else { -growth });
        });
        let what = format!("growth of D = {head_dim}");
        let prompt = agrees(&device, &what, &model, std::slice::from_ref(&rows), false);
        let split = agrees(&device, &what, &model, std::slice::from_ref(&rows), true);
        assert_eq!(prompt, split, "{what}");
        for row in [0, 1, 41, 42, 98, 99] {
            let alone = attend(&device, &model, &[rows.part(&model, row..row + 1)], row % 2 == 0, 3);
            assert_eq!(alone, prompt[row * 2 * head_dim..(row + 1) * 2 * head_dim], "{what}, row {row}");
        }
    }
}

/// NaN and infinities in values, keys and queries change the rows that see them, to what these rows are alone, and no other bit:
/// not of earlier rows of the same tile, of other sequences, of other branches.
#[test]
fn what_is_not_finite_stays_with_the_rows_that_see_it() {
    let Some(device) = Device::open("what_is_not_finite_stays_with_the_rows_that_see_it") else { return };
    let _settings = SETTINGS.read().unwrap();
    let mut random = Random::new(10);
    let nan = bf16::NAN;
    let models = [(64, 4, 2, None), (128, 2, 1, Some(70)), (20, 3, 1, None), (256, 2, 1, Some(130))];
    for (head_dim, heads, kv_heads, window) in models {
        let model = Model { heads, kv_heads, head_dim, window };
        let (cached, chain, width) = (190, 150, heads * head_dim);
        let clean = Rows::random(&model, (cached, chain, vec![]), &mut random);
        let mut rows = clean.clone();
        let at = |slot: usize, column: usize| slot * kv_heads * head_dim + column; // of kv head 0
        rows.keys.v[at(200, 3)] = nan;
        rows.keys.v[at(260, head_dim - 1)] = bf16::INFINITY;
        rows.keys.v[at(261, head_dim - 1)] = bf16::NEG_INFINITY;
        rows.keys.k[at(320, 1)] = nan;
        rows.q[20 * width..][..head_dim].fill(nan);
        let sees = |row: usize, head: usize| {
            let seen = (cached + row + 1).saturating_sub(window.unwrap_or(usize::MAX))..cached + row + 1;
            head < heads / kv_heads && [200, 260, 261, 320].iter().any(|slot| seen.contains(slot))
                || (row, head) == (20, 0)
        };
        let mut stranger = Rows::random(&model, (100, 3, vec![]), &mut random);
        stranger.keys.k.fill(nan);
        stranger.keys.v.fill(nan);
        for split_always in [false, true] {
            let expected = attend(&device, &model, std::slice::from_ref(&clean), split_always, 1);
            let both = [stranger.clone(), rows.clone()];
            let found = attend(&device, &model, &both, split_always, 2).split_off(stranger.len() * width);
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let (row, head) = (i / width, i % width / head_dim);
                let (found, expected) = (found.to_bits(), expected.to_bits());
                assert!(found == expected || sees(row, head), "row {row} head {head}: {found:x}, {model:?}");
            }
            for row in [10, 20, 21, 71, 149] {
                let alone = attend(&device, &model, &[rows.part(&model, row..row + 1)], split_always, 3);
                let together = &found[row * width..(row + 1) * width];
                assert!(alone.iter().zip(together).all(|(a, b)| a.to_bits() == b.to_bits()), "row {row} of {model:?}");
                assert!(alone.iter().any(|v| v.is_nan()) || !sees(row, 0), "row {row} of {model:?}");
            }
        }
        // Nodes of a tree, whose window starts behind the NaN or not: no key of the chain is touched.
        let clean = Rows::random(&model, (250, 3, tree(12, &mut random)), &mut random);
        let mut rows = clean.clone();
        rows.keys.v[at(253 + 5, 0)] = nan;
        rows.keys.k[at(253 + 2, 0)] = nan;
        let expected = attend(&device, &model, std::slice::from_ref(&clean), false, 1);
        let found = attend(&device, &model, std::slice::from_ref(&rows), false, 1);
        for row in 0..clean.len() {
            if !clean.slots(row).iter().any(|slot| [258, 255].contains(slot)) {
                let bits = |all: &[bf16]| all[row * width..][..width].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&found), bits(&expected), "node {row} of {model:?}");
            }
        }
    }
}

/// The virtual GPU, which alone has settings and counters, or a line that says why the test is skipped.
fn virtual_gpu(test: &str) -> Option<&'static vgpu::Control> {
    let control = vgpu::load().unwrap();
    if control.is_none() {
        println!("SKIPPED {test}: it is about the virtual GPU");
    }
    control
}

/// The order of warps and blocks, the tensor cores' way of adding and the approximate functions' errors may be any; results stay
/// within the bound, and a prompt's rows stay the decoded rows.
#[test]
fn every_hardware_model_and_schedule() {
    let Some(device) = Device::open("every_hardware_model_and_schedule") else { return };
    let _settings = SETTINGS.write().unwrap();
    let Some(control) = virtual_gpu("every_hardware_model_and_schedule") else { return };
    let mut random = Random::new(8);
    for settings in [
        r#"{"tensor":"sequential","approx":"perturbed","schedule":"shuffled","seed":1}"#,
        r#"{"tensor":"a100","approx":"perturbed","schedule":"shuffled","seed":2}"#,
        r#"{"tensor":"h100","approx":"exact","schedule":"shuffled","seed":3,"resident_blocks":4}"#,
    ] {
        control.configure(settings).unwrap();
        for (head_dim, heads, kv_heads, window) in [(64, 4, 1, None), (128, 4, 2, Some(90)), (256, 2, 1, None)] {
            let model = Model { heads, kv_heads, head_dim, window };
            let rows = [(0, 70, vec![]), (300, 2, tree(9, &mut random)), (127, 1, vec![])];
            let rows = rows.map(|r| Rows::random(&model, r, &mut random));
            let a = agrees(&device, settings, &model, &rows, false);
            let b = agrees(&device, settings, &model, &rows, true);
            assert_eq!(a, b, "{settings} {model:?}");
        }
    }
    control.reset();
}

/// What a launch moves and multiplies is what its tiles need: no bank conflict, no sector twice, no product too many.
#[test]
fn traffic_and_flops_are_at_the_bound_of_attention_tiles() {
    let Some(device) = Device::open("traffic_and_flops_are_at_the_bound_of_attention_tiles") else { return };
    let _settings = SETTINGS.write().unwrap();
    let Some(control) = virtual_gpu("traffic_and_flops_are_at_the_bound_of_attention_tiles") else { return };
    let mut random = Random::new(9);
    println!("kernel                cached rows  sectors/bound  wavefronts/min  tensor flops/tile  tensor flops/seen");
    for head_dim in [16, 32, 64, 96, 128, 256] {
        let model = Model { heads: 8, kv_heads: 2, head_dim, window: None };
        let (prompt, split) = table::attention(head_dim).unwrap();
        // Tiles of 64 rows (32 beyond D = 128), four heads to a token; a row of q, o, k or v has `sectors` sectors.
        let (tile, sectors) = (if head_dim > 128 { 32 } else { 64 }, head_dim as u64 / 16);
        for (kernel, rows, split_always) in [
            (prompt, (0, 256, vec![]), false),
            (split, (2047, 1, vec![]), true),
            (split, (2044, 4, vec![]), true),
            (split, (960, 64, vec![]), true),
        ] {
            control.reset();
            control.configure(r#"{"profile":true}"#).unwrap();
            let rows = Rows::random(&model, rows, &mut random);
            attend(&device, &model, std::slice::from_ref(&rows), split_always, 1);
            let counters: serde_json::Value = serde_json::from_str(&control.counters()).unwrap();
            let total = &counters["kernels"][kernel.symbol.name]["total"];
            let of = |name: &str| total[name].as_u64().unwrap_or_else(|| panic!("{name} in {counters}"));
            let what = format!("{} on {}+{}: {total}", kernel.symbol.name, rows.cached, rows.chain);

            // Keys that tile t of a kv head visits, all its rows' together; a block is multiplied whole, 16 rows at a time.
            let packed = rows.len() * 4;
            let (mut keys, mut products, mut reads) = (0, 0, 0);
            for first in (0..packed).step_by(tile) {
                let last = (first + tile).min(packed);
                let end = rows.cached + last.div_ceil(4);
                keys += end as u64;
                let blocks = (end.div_ceil(64) * 64) as u64;
                products += blocks * (last - first).next_multiple_of(16) as u64;
                reads += (last - first) as u64 * if split_always { end.div_ceil(256) as u64 } else { 2 };
            }
            let flops = 2 * 2 * head_dim as u64 * products * 2;
            assert_eq!(of("flops"), flops, "{what}");
            assert_eq!(of("wavefronts"), of("wavefronts_minimum"), "{what}");
            // q per visit, o (or in f32 its partials), k and v.
            let written = if split_always { 2 * reads * sectors } else { 0 };
            let bound = 2 * (reads * sectors + written + 2 * keys * sectors);
            // Rows of q that start within a sector, items, positions and page numbers come on top: noticeable in tiny heads.
            let slack = if head_dim < 64 { 1.20 } else { 1.10 };
            // Products that the rows ask for, the diagonal's masked half not counted.
            let seen = (0..rows.len()).map(|row| rows.slots(row).len() as u64).sum::<u64>() * 8 * 4 * head_dim as u64;
            let ratio = |part: u64, whole: u64| part as f64 / whole as f64;
            println!(
                "{:20} {:7} {:4}  {:13.3}  {:14.3}  {:17.3}  {:17.3}",
                kernel.symbol.name,
                rows.cached,
                rows.chain,
                ratio(of("sectors"), bound),
                ratio(of("wavefronts"), of("wavefronts_minimum")),
                ratio(of("flops"), flops),
                ratio(of("flops"), seen)
            );
            assert!(of("sectors") as f64 <= slack * bound as f64, "{what}: bound {bound}");
        }
    }
    control.reset();
}
