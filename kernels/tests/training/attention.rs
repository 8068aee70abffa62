//! Attention of packed examples, forward and backward.

use crate::harness::{Address, Device, Input, Output, bits, check};
use crate::oracle::Case;
use biomistral_nlu_kernels::packed_items;
use biomistral_nlu_kernels::params::PackedAttentionParams;
use biomistral_nlu_kernels::table::{self, packed};
use half::bf16;

/// Everything that the kernels read and write.
struct Found {
    o: Vec<f32>,
    lse: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

fn run(device: &Device, case: &Case) -> Found {
    let kernels = packed(case.dim).unwrap();
    let (t, hd, gd) = (case.rows(), case.heads * case.dim, case.kv_heads * case.dim);
    let (ldq, ldk) = (hd.next_multiple_of(8) + 8, gd.next_multiple_of(8) + 16);
    let (ld_dq, ld_dk) = (hd + 6, gd + 2);
    let [q, d_o] = [&case.q, &case.d_o].map(|x| device.input(x, hd, ldq));
    let [k, v] = [&case.k, &case.v].map(|x| device.input(x, gd, ldk));
    let nan = |n: usize| vec![f32::NAN; n];
    let o = device.output(&vec![bf16::NAN; t * hd], hd, ldq);
    let [lse, delta] = [(); 2].map(|()| device.output(&nan(t * case.heads), case.heads, case.heads));
    let dq = device.output(&nan(t * hd), hd, ld_dq);
    let [dk, dv]: [Output<f32>; 2] = [(); 2].map(|()| device.output(&nan(t * gd), gd, ld_dk));
    let items = packed_items(&case.examples, kernels.rows).unwrap();
    let words: Vec<[u32; 4]> = items.iter().map(|i| [i.start, i.length, i.first, i.reserved]).collect();
    let list: Input = device.array(&words);
    let root = 1.0 / (case.dim as f64).sqrt();
    let mut params = PackedAttentionParams {
        q: q.address(),
        k: k.address(),
        v: v.address(),
        o: o.address(),
        d_o: d_o.address(),
        lse: lse.address(),
        delta: delta.address(),
        dq: dq.address(),
        dk: dk.address(),
        dv: dv.address(),
        ldq: ldq as i64,
        ldk: ldk as i64,
        ld_dq: ld_dq as i64,
        ld_dk: ld_dk as i64,
        items: list.address(),
        item_count: items.len() as i32,
        rows: t as i32,
        heads: case.heads as i32,
        kv_heads: case.kv_heads as i32,
        head_dim: case.dim as i32,
        window: case.window.unwrap_or(0) as u32,
        scale: (std::f64::consts::LOG2_E * root) as f32,
        root: root as f32,
    };
    device.launch(kernels.forward, &params);
    device.launch(&table::PACKED_DELTA, &params);
    // Read again from where they end with the last row.
    let read = [&lse, &delta].map(|x| device.array(&device.read(x)));
    [params.lse, params.delta] = [read[0].address(), read[1].address()];
    device.launch(kernels.dq, &params);
    device.launch(kernels.dkv, &params);
    let o = device.read(&o).iter().map(|x| x.to_f32()).collect();
    Found { o, lse: device.read(&lse), dq: device.read(&dq), dk: device.read(&dk), dv: device.read(&dv) }
}

/// Lengths around the tiles of 64 (32 for wide heads), heads in and out of groups, widths with and without padding.
fn cases() -> Vec<Case> {
    vec![
        Case::new(1, &[1, 65, 130], [4, 2], 16, None),
        Case::new(2, &[70, 3], [2, 1], 8, Some(5)),
        Case::new(3, &[33, 100], [3, 3], 14, Some(64)),
        Case::new(4, &[64, 129], [3, 1], 64, None),
        Case::new(5, &[90], [2, 2], 40, Some(1)),
        Case::new(6, &[66, 2], [2, 1], 128, Some(30)),
        Case::new(7, &[70], [2, 1], 256, None),
        Case::new(8, &[40, 33], [1, 1], 132, Some(20)),
    ]
}

#[test]
fn attention_and_its_gradients_agree_with_f64() {
    let Some(device) = Device::open("attention_and_its_gradients_agree_with_f64") else { return };
    for case in cases() {
        let answer = case.answer();
        let what =
            format!("{:?} {}/{} of {} window {:?}", case.examples, case.heads, case.kv_heads, case.dim, case.window);
        device.under_all(|settings| {
            let found = run(&device, &case);
            let (hd, gd) = (case.heads * case.dim, case.kv_heads * case.dim);
            check(&format!("o, {what}, {settings}"), hd, &found.o, &answer.o);
            check(&format!("lse, {what}, {settings}"), case.heads, &found.lse, &answer.lse);
            check(&format!("dq, {what}, {settings}"), hd, &found.dq, &answer.dq);
            check(&format!("dk, {what}, {settings}"), gd, &found.dk, &answer.dk);
            check(&format!("dv, {what}, {settings}"), gd, &found.dv, &answer.dv);
        });
    }
}

/// The oracle's gradients are the slopes of its own output.
#[test]
fn the_oracles_gradients_are_slopes() {
    let case = Case::new(9, &[3, 7], [4, 2], 4, Some(4));
    let answer = case.answer();
    for (pick, gradient) in [(0, &answer.dq), (1, &answer.dk), (2, &answer.dv)] {
        for at in [5usize, 40, 71] {
            let moved = |by: f32| {
                let mut case = case.clone();
                let x = match pick {
                    0 => &mut case.q[at],
                    1 => &mut case.k[at],
                    _ => &mut case.v[at],
                };
                *x = bf16::from_f32(x.to_f32() + by);
                (x.to_f64(), case.loss())
            };
            let ((high, up), (low, down)) = (moved(0.02), moved(-0.02));
            let slope = (up - down) / (high - low);
            // Second order in a step of 2 %.
            assert!((slope - gradient[at].value).abs() < 2e-3, "{pick} {at}: {slope}, {}", gradient[at].value);
        }
    }
}

/// An example's bits do not depend on its neighbours, even where those are NaN.
#[test]
fn packed_examples_do_not_see_each_other() {
    let Some(device) = Device::open("packed_examples_do_not_see_each_other") else { return };
    for (dim, window) in [(16, None), (16, Some(9)), (130, None)] {
        let mut case = Case::new(11, &[20, 71, 5], [2, 1], dim, window);
        let alone = run(&device, &case.only(1));
        let rows = case.examples[1].clone();
        for (x, n) in [(&mut case.q, 2 * dim), (&mut case.k, dim), (&mut case.v, dim), (&mut case.d_o, 2 * dim)] {
            x[..rows.start * n].fill(bf16::NAN);
            x[rows.end * n..].fill(bf16::NAN);
        }
        let packed = run(&device, &case);
        let cut = |x: &[f32], n: usize| bits(&x[rows.start * n..rows.end * n]);
        for (name, packed, alone, n) in [
            ("o", &packed.o, &alone.o, 2 * dim),
            ("lse", &packed.lse, &alone.lse, 2),
            ("dq", &packed.dq, &alone.dq, 2 * dim),
            ("dk", &packed.dk, &alone.dk, dim),
            ("dv", &packed.dv, &alone.dv, dim),
        ] {
            assert!(cut(packed, n) == bits(alone), "{name}, {dim}, {window:?}");
        }
    }
}
