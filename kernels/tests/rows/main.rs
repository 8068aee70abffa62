//! Kernels that work row by row: norm, embedding, key and value copies, log-sum-exp, argmax.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod counters;
#[path = "../harness/mod.rs"]
mod harness;

use biomistral_nlu_kernels::params::{
    ArgmaxParams, EmbedParams, HeadLseParams, KvCopyParams, KvMoveParams, RmsNormParams, Weight,
};
use biomistral_nlu_kernels::table::{self, Kernel};
use half::bf16;
use harness::{Address, Device, Expected, Random, check};

fn floats(random: &mut Random, n: usize, size: f32) -> Vec<f32> {
    (0..n).map(|_| size * random.uniform()).collect()
}

#[test]
fn rms_norm_agrees_with_f64_and_with_itself() {
    let Some(device) = Device::open("rms_norm_agrees_with_f64_and_with_itself") else { return };
    let mut random = Random::new(1);
    for (channels, ldh) in [
        (1, 1),
        (6, 7),
        (7, 9),
        (7, 8),
        (64, 64),
        (64, 65),
        (100, 104),
        (1020, 1020),
        (1024, 1028),
        (4096, 4096),
        (8196, 8196),
        (8193, 8193),
    ] {
        let rows = if channels > 1000 { 3 } else { 130 };
        let h = floats(&mut random, rows * channels, 3.0);
        let w = floats(&mut random, channels, 2.0);
        let eps = 1e-1;
        let run = |selection: Option<&[u32]>, x_row: usize| {
            let count = selection.map_or(rows, <[u32]>::len);
            let (h, w) = (device.input(&h, channels, ldh), device.array(&w));
            let list = selection.map(|s| device.array(s));
            let x = device.output(&vec![bf16::ZERO; (x_row + count) * channels], channels, channels + 8 - channels % 8);
            let params = RmsNormParams {
                h: h.address(),
                w: w.address(),
                rows: list.as_ref().map_or(0, Address::address),
                x: x.address(),
                ldh: ldh as i64,
                ldx: (channels + 8 - channels % 8) as i64,
                row_count: count as i32,
                channels: channels as i32,
                x_row: x_row as i32,
                eps,
            };
            device.launch(&table::RMS_NORM, &params);
            let found: Vec<f32> = device.read(&x).iter().map(|v| v.to_f32()).collect();
            assert!(found[..x_row * channels].iter().all(|&v| v == 0.0), "rows before x_row were written");
            found[x_row * channels..].to_vec()
        };
        let expected: Vec<Expected> = h
            .chunks(channels)
            .flat_map(|h| {
                let mean = h.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / channels as f64;
                let scale = 1.0 / (mean + f64::from(eps)).sqrt();
                h.iter()
                    .zip(&w)
                    .map(move |(&h, &w)| {
                        let value = f64::from(h) * scale * f64::from(w);
                        // Half an ulp of bf16, and what f32 sums and rsqrt.approx (2^-22) add.
                        Expected { value, within: value.abs() * (2f64.powi(-8) + 2f64.powi(-18)) }
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        let all = run(None, 0);
        check(&format!("rms_norm of {channels}"), channels, &all, &expected);
        let chosen = [2, 0, 2, 1];
        let some = run(Some(&chosen), 3);
        for (i, &row) in chosen.iter().enumerate() {
            let row = row as usize;
            assert_eq!(some[i * channels..(i + 1) * channels], all[row * channels..(row + 1) * channels], "{channels}");
        }
    }
}

#[test]
fn embed_copies_rows_exactly() {
    let Some(device) = Device::open("embed_copies_rows_exactly") else { return };
    let mut random = Random::new(2);
    for (channels, ldh) in [(1usize, 1), (30, 31), (30, 32), (64, 64), (64, 65), (2056, 2056), (4096, 4100)] {
        let (vocabulary, ld) = (11, channels.next_multiple_of(64));
        let table_rows = random.bf16s(vocabulary * channels);
        let tokens = [3u32, 0, 10, 3];
        let (table_, list) = (device.input(&table_rows, channels, ld), device.array(&tokens));
        let h = device.output(&vec![0f32; tokens.len() * channels], channels, ldh);
        let params = EmbedParams {
            table: table_.address(),
            tokens: list.address(),
            h: h.address(),
            ld: ld as i64,
            ldh: ldh as i64,
            row_count: tokens.len() as i32,
            channels: channels as i32,
        };
        device.launch(&table::EMBED, &params);
        let expected: Vec<f32> = tokens
            .iter()
            .flat_map(|&t| table_rows[t as usize * channels..][..channels].iter().map(|v| v.to_f32()))
            .collect();
        assert_eq!(device.read(&h), expected, "{channels}");
    }
}

/// Two layers' worth of caches `[page][G][64][D]` and their address list.
struct Caches {
    arrays: Vec<harness::Output<bf16>>,
    host: Vec<Vec<bf16>>,
    list: harness::Input,
}

impl Caches {
    fn new(device: &Device, random: &mut Random, pages: usize, heads: usize, dim: usize) -> Self {
        let host: Vec<Vec<bf16>> = (0..4).map(|_| random.bf16s(pages * heads * 64 * dim)).collect();
        let arrays: Vec<_> = host.iter().map(|h| device.output(h, dim, dim)).collect();
        let list = device.array(&arrays.iter().map(Address::address).collect::<Vec<u64>>());
        Caches { arrays, host, list }
    }
    fn check(&self, device: &Device, what: &str) {
        for (array, host) in self.arrays.iter().zip(&self.host) {
            assert!(device.read(array) == *host, "{what}");
        }
    }
}

#[test]
fn keys_are_copied_and_moved_in_every_layer() {
    let Some(device) = Device::open("keys_are_copied_and_moved_in_every_layer") else { return };
    let mut random = Random::new(3);
    let pages = 5;
    for (heads, dim) in [(1, 2), (2, 20), (3, 64), (8, 128), (1, 256)] {
        for keys in [1, 37, 64] {
            let mut caches = Caches::new(&device, &mut random, pages, heads, dim);
            let (from, to) = (4u32, 1u32);
            let params = KvCopyParams {
                arrays: caches.list.address(),
                array_count: 4,
                kv_heads: heads as i32,
                head_dim: dim as i32,
                keys: keys as i32,
                from,
                to,
            };
            device.launch(&table::KV_COPY, &params);
            for host in &mut caches.host {
                for head in 0..heads {
                    let at = |page: u32| (page as usize * heads + head) * 64 * dim;
                    host.copy_within(at(from)..at(from) + keys * dim, at(to));
                }
            }
            caches.check(&device, &format!("copy of {keys} keys of {heads} heads of {dim}"));
        }
        // A chain: what the first move writes the second reads; 130 is in page 2.
        let moves = [(70u32, 71u32), (71, 130), (5, 70), (319, 0), (130, 131)];
        let mut caches = Caches::new(&device, &mut random, pages, heads, dim);
        let flat: Vec<u32> = moves.iter().flat_map(|&(a, b)| [a, b]).collect();
        let list = device.array(&flat);
        let params = KvMoveParams {
            arrays: caches.list.address(),
            moves: list.address(),
            array_count: 4,
            kv_heads: heads as i32,
            head_dim: dim as i32,
            count: moves.len() as i32,
        };
        device.launch(&table::KV_MOVE, &params);
        for host in &mut caches.host {
            for (from, to) in moves {
                for head in 0..heads {
                    let at = |slot: u32| ((slot as usize / 64 * heads + head) * 64 + slot as usize % 64) * dim;
                    host.copy_within(at(from)..at(from) + dim, at(to));
                }
            }
        }
        caches.check(&device, &format!("moves of {heads} heads of {dim}"));
    }
}

/// Log-sum-exp of rows by the device.
fn lse(
    device: &Device,
    kernel: &Kernel<HeadLseParams>,
    x: (&[bf16], usize),
    rows: Option<&[u32]>,
    head: Weight,
    n: usize,
) -> Vec<f64> {
    let (x, k) = x;
    let m = rows.map_or(x.len() / k, <[u32]>::len);
    let ldx = k.next_multiple_of(8) + 8;
    let x = device.input(x, k, ldx);
    let list = rows.map(|r| device.array(r));
    let groups = n.div_ceil(64);
    let partials = device.output(&vec![f32::NAN; m * groups * 2], groups * 2, groups * 2);
    let out = device.output(&vec![f64::NAN; m * 2], 2, 2);
    let params = HeadLseParams {
        x: x.address(),
        ldx: ldx as i64,
        rows: list.as_ref().map_or(0, Address::address),
        head,
        partials: partials.address(),
        out: out.address(),
        m: m as i32,
        n: n as i32,
        k: k as i32,
        reserved: 0,
    };
    device.launch(kernel, &params);
    device.launch(&table::HEAD_LSE_FOLD, &params);
    device.read(&partials);
    device.read(&out).chunks(2).map(|o| o[0] + o[1].ln()).collect()
}

#[test]
fn log_sum_exp_agrees_with_f64_and_is_a_rows_own() {
    let Some(device) = Device::open("log_sum_exp_agrees_with_f64_and_is_a_rows_own") else { return };
    let mut random = Random::new(4);
    for (m, n, k, size) in [
        (1, 1, 8, 1.0),
        (2, 63, 40, 9.0),
        (3, 64, 64, 1.0),
        (5, 65, 64, 20.0),
        (128, 129, 8, 1.0),
        (130, 129, 32, 3.0),
        (2, 5000, 96, 2.0),
    ] {
        let x: Vec<bf16> = random.bf16s(m * k).iter().map(|v| bf16::from_f32(v.to_f32() * size)).collect();
        let head = random.bf16s(n * k);
        let ld = k.next_multiple_of(8) + 8;
        let weights = device.input(&head, k, ld);
        let weight = Weight { data: weights.address(), scale: 0, ld: ld as i64 };
        let found = lse(&device, &table::HEAD_LSE, (&x, k), None, weight, n);
        for (row, &found) in found.iter().enumerate() {
            let (mut sum, mut size) = (0f64, 0f64);
            for h in head.chunks(k) {
                let products = h.iter().zip(&x[row * k..]).map(|(a, b)| a.to_f64() * b.to_f64());
                sum += products.clone().sum::<f64>().exp();
                size = size.max(products.map(f64::abs).sum());
            }
            // A logit is a sum of k products in f32, its distance from the maximum rounded once more, as is its exponential.
            let within = (k as f64 + 8.0) * 2f64.powi(-24) * size + 2f64.powi(-20);
            assert!(
                (found - sum.ln()).abs() <= within,
                "{m} {n} {k}: {found}, expected {} within {within:e}",
                sum.ln()
            );
        }
        // A row alone, chosen, and twice.
        let last = m as u32 - 1;
        let chosen = lse(&device, &table::HEAD_LSE, (&x, k), Some(&[last, 0, last]), weight, n);
        assert_eq!(chosen, [found[m - 1], found[0], found[m - 1]]);
    }
}

#[test]
fn log_sum_exp_of_an_int8_head() {
    let Some(device) = Device::open("log_sum_exp_of_an_int8_head") else { return };
    let mut random = Random::new(5);
    let (m, n, k) = (3, 200, 64);
    let x = random.bf16s(m * k);
    let (mut bytes, mut scales) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let row: Vec<f32> = (0..k).map(|_| random.uniform()).collect();
        let mut quantized = vec![0i8; k];
        scales.push(biomistral_nlu_kernels::quantize_row(&row, &mut quantized));
        bytes.extend(quantized);
    }
    let (data, scale) = (device.array(&bytes), device.array(&scales));
    let weight = Weight { data: data.address(), scale: scale.address(), ld: k as i64 };
    let found = lse(&device, &table::HEAD_LSE_INT8, (&x, k), None, weight, n);
    for (row, &found) in found.iter().enumerate() {
        let logits = bytes.chunks(k).zip(&scales).map(|(h, &scale)| {
            let dot: f64 =
                (0..k).map(|i| f64::from(h[biomistral_nlu_kernels::int8_position(i)]) * x[row * k + i].to_f64()).sum();
            dot * f64::from(scale)
        });
        let expected = logits.map(f64::exp).sum::<f64>().ln();
        assert!((found - expected).abs() <= 1e-4, "row {row}: {found}, expected {expected}");
    }
}

#[test]
fn argmax_is_the_first_largest_allowed() {
    let Some(device) = Device::open("argmax_is_the_first_largest_allowed") else { return };
    let mut random = Random::new(6);
    for n in [1usize, 31, 32, 33, 511, 513, 5000] {
        let m = 4;
        // Few different values: many ties.
        let mut logits: Vec<f32> = (0..m * n).map(|_| random.below(5) as f32 - 3.0).collect();
        logits[n / 2] = f32::NAN;
        logits[n + n / 3] = f32::NEG_INFINITY;
        let words = n.div_ceil(32);
        let mut mask: Vec<u32> = (0..m * words).map(|_| random.next() as u32 & random.next() as u32).collect();
        mask[3 * words..].fill(0);
        for masked in [false, true] {
            let input = device.input(&logits, n, n + 3);
            let bits = device.array(&mask);
            let out = device.output(&vec![0u32; 2 * m], 2, 2);
            let params = ArgmaxParams {
                logits: input.address(),
                mask: if masked { bits.address() } else { 0 },
                out: out.address(),
                ld: n as i64 + 3,
                mask_ld: words as i64,
                m: m as i32,
                n: n as i32,
            };
            device.launch(&table::ARGMAX, &params);
            let found = device.read(&out);
            for row in 0..m {
                let mut best: Option<(f32, usize)> = None;
                for id in 0..n {
                    let z = logits[row * n + id];
                    let allowed = !masked || mask[row * words + id / 32] >> (id % 32) & 1 == 1;
                    if allowed && !z.is_nan() && best.is_none_or(|(top, _)| z > top) {
                        best = Some((z, id));
                    }
                }
                let expected = best.map_or(u32::MAX, |(_, id)| id as u32);
                assert_eq!(found[2 * row + 1], expected, "{n} {masked} row {row}");
                if let Some((value, _)) = best {
                    assert_eq!(found[2 * row], value.to_bits());
                }
            }
        }
    }
}
