//! Training operations against f64, whose gradients are checked by finite differences, and their bits against threads.

#![allow(clippy::needless_range_loop)]

use super::super::kernel::tests::noise;
use super::super::{CpuOptions, Isa};
use super::*;
use crate::device::{Device, HostMatrix, Moments, Update, reference};
use crate::random::mix;

fn isas() -> Vec<Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512Bf16].into_iter().filter(|isa| *isa <= Isa::detect()).collect()
}

/// Every instruction set on one thread and on three.
fn cpus() -> Vec<Cpu> {
    let cpu = |isa, threads| Cpu::new(CpuOptions { threads: Some(threads), isa: Some(isa) }).unwrap();
    isas().into_iter().flat_map(|isa| [cpu(isa, 1), cpu(isa, 3)]).collect()
}

fn matrix(cpu: &Cpu, data: &[bf16], rows: usize, cols: usize) -> CpuMatrix {
    cpu.matrix(HostMatrix { data: MatrixData::Owned(data.to_vec()), rows, cols }).unwrap()
}

fn buffer<T: Element>(cpu: &Cpu, data: &[T]) -> Buffer<T> {
    let mut buffer = cpu.buffer(data.len()).unwrap();
    cpu.write(&mut buffer, 0, data).unwrap();
    buffer
}

fn floats(seed: u64, len: usize) -> Vec<f32> {
    noise(seed, len).iter().map(|x| x.to_f32() * 3.0).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| *x as f64).collect()
}

fn narrow(x: &[bf16]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|y| y.to_bits()).collect()
}

/// The largest difference is at most `tolerance` of the largest value.
fn agrees(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let size = want.iter().fold(0f64, |m, y| m.max(y.abs()));
    let error = got.iter().zip(want).fold(0f64, |m, (y, e)| m.max((*y as f64 - e).abs()));
    assert!(error <= tolerance * size && size > 0.0, "{name}: error {error:e} of {size:e}");
}

/// `gradient` of `f` at `x` agrees with central differences along random directions.
fn is_gradient(name: &str, x: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    for seed in 0..3 {
        let direction: Vec<f64> = noise(900 + seed, x.len()).iter().map(|d| d.to_f64()).collect();
        let at = |step: f64| f(&x.iter().zip(&direction).map(|(x, d)| x + step * d).collect::<Vec<_>>());
        let step = 1e-5;
        let (difference, slope): (f64, f64) =
            ((at(step) - at(-step)) / (2.0 * step), gradient.iter().zip(&direction).map(|(g, d)| g * d).sum());
        // Central differences err by step² of the third derivative, and by 1e-16 / step of rounding.
        assert!((difference - slope).abs() <= 1e-6 * (1.0 + slope.abs()), "{name}: {difference} and {slope}");
    }
}

/// `Σ a b` as the kernels' docs tell it, continuing `sum`.
fn by_the_book(mut sum: f32, k: usize, a: impl Fn(usize) -> bf16, b: impl Fn(usize) -> bf16) -> f32 {
    for p in 0..k.div_ceil(2) {
        for i in [2 * p + 1, 2 * p] {
            if i < k {
                sum = a(i).to_f32().mul_add(b(i).to_f32(), sum);
            }
        }
    }
    sum
}

#[test]
fn products_follow_the_order_bit_by_bit() {
    // Across blocks of rows (512), tiles of columns (48), groups (16), halves (8) and depths (256); odd everywhere.
    for (t, n, k, r) in [(1, 1, 1, 1), (17, 50, 33, 3), (530, 49, 16, 2), (37, 97, 515, 16), (5, 16, 300, 20)] {
        let (x, w) = (noise(1, t * k), noise(2, n * k));
        let (u, b) = (noise(3, t * r), noise(4, n * r));
        let (dy, a) = (noise(5, t * n), noise(6, r * k));
        let start = floats(7, t * n.max(k));
        for cpu in cpus() {
            let name = format!("{:?} T {t} N {n} K {k} R {r}", cpu.isa());
            let (xs, us, dys) = (buffer(&cpu, &x), buffer(&cpu, &u), buffer(&cpu, &dy));
            let (wm, bm, am) = (matrix(&cpu, &w, n, k), matrix(&cpu, &b, n, r), matrix(&cpu, &a, r, k));
            let mut y = buffer(&cpu, &start);
            let terms = [Term { x: &xs, weight: &wm }, Term { x: &us, weight: &bm }];
            cpu.linear(&terms, t, 0.5, Output::Add(&mut y)).unwrap();
            let mut dx = buffer(&cpu, &start);
            let terms = [Term { x: &dys, weight: &wm }, Term { x: &us, weight: &am }];
            cpu.linear_dx(&terms, t, 1.0, Output::Store(&mut dx)).unwrap();
            for i in 0..t {
                for j in 0..n {
                    let sum = by_the_book(0.0, k, |l| x[i * k + l], |l| w[j * k + l]);
                    let sum = by_the_book(sum, r, |l| u[i * r + l], |l| b[j * r + l]);
                    assert_eq!(y[i * n + j], start[i * n + j] + 0.5 * sum, "{name} y {i} {j}");
                }
                for j in 0..k {
                    let sum = by_the_book(0.0, n, |l| dy[i * n + l], |l| w[l * k + j]);
                    let sum = by_the_book(sum, r, |l| u[i * r + l], |l| a[l * k + j]);
                    assert_eq!(dx[i * k + j], sum, "{name} dx {i} {j}");
                }
            }
            let before = floats(8, n * k);
            let mut dw = buffer(&cpu, &before);
            cpu.linear_dw((&dys, n), (&xs, k), t, &mut dw).unwrap();
            for i in 0..n {
                for j in 0..k {
                    let sum = by_the_book(0.0, t, |l| dy[l * n + i], |l| x[l * k + j]);
                    assert_eq!(dw[i * k + j], before[i * k + j] + sum, "{name} dw {i} {j}");
                }
            }
            let mut rounded = buffer(&cpu, &vec![bf16::ZERO; t * n]);
            cpu.linear(&[Term { x: &xs, weight: &wm }], t, 1.0, Output::Round(&mut rounded)).unwrap();
            assert_eq!(rounded[0], bf16::from_f32(by_the_book(0.0, k, |l| x[l], |l| w[l])), "{name}");
        }
    }
}

#[test]
fn shapes_that_disagree_are_errors() {
    let cpu = &cpus()[0];
    let (x, short) = (buffer(cpu, &noise(1, 40)), buffer(cpu, &noise(1, 7)));
    let (w, other) = (matrix(cpu, &noise(2, 40), 4, 10), matrix(cpu, &noise(2, 50), 5, 10));
    let mut y = cpu.buffer::<f32>(16).unwrap();
    for terms in
        [vec![Term { x: &short, weight: &w }], vec![Term { x: &x, weight: &w }, Term { x: &x, weight: &other }], vec![]]
    {
        assert!(cpu.linear(&terms, 4, 1.0, Output::Store(&mut y)).is_err());
    }
    let terms = [Term { x: &x, weight: &w }];
    assert!(cpu.linear(&terms, 4, 1.0, Output::Store(&mut y)).is_ok());
    assert!(cpu.linear(&terms, 5, 1.0, Output::Store(&mut y)).is_err());
    let gradient = |dx| Some(LossGradient { weight: 1.0, dx, dhead: None });
    assert!(cpu.cross_entropy(&x, &w, &[0, 4], gradient(&mut y)).is_err(), "a target beyond the vocabulary");
}

/// Attention of one example in f64 and its gradients: `[T, H·D]`, `[T, G·D]`, `[T, G·D]`.
struct Exact {
    o: Vec<f64>,
    d: [Vec<f64>; 3],
}

fn exact_attention(qkv: &[Vec<f64>; 3], d_o: &[f64], t: usize, [h, g, d]: [usize; 3], window: usize) -> Exact {
    let [q, k, v] = qkv;
    let mut exact = Exact { o: vec![0.0; q.len()], d: qkv.each_ref().map(|x| vec![0.0; x.len()]) };
    let scale = 1.0 / (d as f64).sqrt();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for (i, head) in (0..t).flat_map(|i| (0..h).map(move |head| (i, head))) {
        let row = (i * h + head) * d;
        let key = |j: usize| (j * g + head / (h / g)) * d;
        let keys: Vec<usize> = (0..=i).filter(|j| j + window > i).collect();
        let s: Vec<f64> = keys.iter().map(|&j| scale * dot(&q[row..row + d], &k[key(j)..key(j) + d])).collect();
        let lse = reference::lse(&s);
        let p: Vec<f64> = s.iter().map(|s| (s - lse).exp()).collect();
        let dp: Vec<f64> = keys.iter().map(|&j| dot(&d_o[row..row + d], &v[key(j)..key(j) + d])).collect();
        let mean = dot(&p, &dp);
        for ((&j, p), dp) in keys.iter().zip(&p).zip(&dp) {
            let ds = p * (dp - mean) * scale;
            for c in 0..d {
                exact.o[row + c] += p * v[key(j) + c];
                exact.d[0][row + c] += ds * k[key(j) + c];
                exact.d[1][key(j) + c] += ds * q[row + c];
                exact.d[2][key(j) + c] += p * d_o[row + c];
            }
        }
    }
    exact
}

#[test]
fn attention_and_its_gradients_agree_with_f64() {
    // Examples across tasks (64 rows) and chunks (96), of one row, windows within and beyond them, odd widths.
    for (lengths, [h, g, d], window) in [
        (vec![1, 150, 7], [6, 2, 8], None),
        (vec![131], [2, 2, 10], Some(5)),
        (vec![200, 3], [4, 1, 16], Some(100)),
        (vec![20], [3, 3, 64], Some(2)),
    ] {
        let t: usize = lengths.iter().sum();
        let mut at = 0;
        let examples: Vec<Range<usize>> = lengths.iter().map(|n| (at, at += n).0..at).collect();
        let scaled = |seed, len| noise(seed, len).iter().map(|x| bf16::from_f32(2.0 * x.to_f32())).collect::<Vec<_>>();
        let qkv = [scaled(1, t * h * d), scaled(2, t * g * d), noise(3, t * g * d)];
        let d_o = noise(4, t * h * d);
        let exact: Vec<Exact> = examples
            .iter()
            .map(|rows| {
                let cut = |x: &[bf16], n: usize| reference::wide(&x[rows.start * n..rows.end * n]);
                let inputs = [cut(&qkv[0], h * d), cut(&qkv[1], g * d), cut(&qkv[2], g * d)];
                let d_o = cut(&d_o, h * d);
                let shape = |inputs: &[Vec<f64>; 3]| {
                    exact_attention(inputs, &d_o, rows.len(), [h, g, d], window.unwrap_or(rows.len()))
                };
                let exact = shape(&inputs);
                for side in 0..3 {
                    is_gradient("attention", &inputs[side], &exact.d[side], |x| {
                        let mut inputs = inputs.clone();
                        inputs[side] = x.to_vec();
                        shape(&inputs).o.iter().zip(&d_o).map(|(o, d)| o * d).sum()
                    });
                }
                exact
            })
            .collect();
        let mut first: Option<(Isa, Vec<Vec<u32>>)> = None;
        for cpu in cpus() {
            let name = format!("{:?} {lengths:?} {:?} {window:?}", cpu.isa(), [h, g, d]);
            let rows = PackedRows { examples: &examples, heads: h, kv_heads: g, head_dim: d, window };
            let [q, k, v] = qkv.each_ref().map(|x| buffer(&cpu, x));
            let (mut o, mut lse) = (cpu.buffer(t * h * d).unwrap(), cpu.buffer(t * h).unwrap());
            cpu.packed_attention([&q, &k, &v], &rows, &mut o, &mut lse).unwrap();
            let mut grads = [h, g, g].map(|n| buffer(&cpu, &vec![f32::NAN; t * n * d]));
            let [dq, dk, dv] = &mut grads;
            let d_o = buffer(&cpu, &d_o);
            cpu.packed_attention_backward([&q, &k, &v], (&o, &lse), &d_o, &rows, [dq, dk, dv]).unwrap();
            // Weights and outputs are rounded to bf16: half of 2^-8 each; gradients sum a few such errors.
            let all = |f: &dyn Fn(&Exact) -> &Vec<f64>| exact.iter().flat_map(|e| f(e).clone()).collect::<Vec<f64>>();
            agrees(&format!("{name} o"), &narrow(&o), &all(&|e| &e.o), 1.0 / 128.0);
            for side in 0..3 {
                agrees(&format!("{name} gradient {side}"), &grads[side], &all(&|e| &e.d[side]), 1.0 / 64.0);
            }
            let now: Vec<Vec<u32>> =
                [&narrow(&o)[..], &lse[..], &grads[0][..], &grads[1][..], &grads[2][..]].map(bits).to_vec();
            match &first {
                Some((isa, bits)) if *isa == cpu.isa() => assert!(*bits == now, "{name}: bits differ by threads"),
                _ => first = Some((cpu.isa(), now)),
            }
        }
    }
}

#[test]
fn norm_gradients_agree_with_f64() {
    let (t, c, eps) = (150, 37, 1e-3);
    let (h, w, dx) = (floats(1, t * c), floats(2, c), floats(3, t * c));
    let (hs, ws, dxs) = (wide(&h), wide(&w), wide(&dx));
    let mut dh = vec![0f64; t * c];
    let mut dw = vec![0f64; c];
    for i in 0..t {
        let row = i * c..(i + 1) * c;
        let r = 1.0 / (hs[row.clone()].iter().map(|h| h * h).sum::<f64>() / c as f64 + eps).sqrt();
        let mean: f64 = row.clone().map(|j| ws[j % c] * dxs[j] * hs[j] * r).sum::<f64>() / c as f64;
        for j in row {
            dh[j] = r * (ws[j % c] * dxs[j] - hs[j] * r * mean);
            dw[j % c] += dxs[j] * hs[j] * r;
        }
    }
    let value = |h: &[f64], w: &[f64]| reference::rms_norm(h, w, eps).iter().zip(&dxs).map(|(x, d)| x * d).sum();
    is_gradient("rms_norm, h", &hs, &dh, |h| value(h, &ws));
    is_gradient("rms_norm, w", &ws, &dw, |w| value(&hs, w));
    let mut first: Option<Vec<u32>> = None;
    for cpu in cpus() {
        let before = floats(4, (t + 3) * c);
        let (h, w, dx) = (buffer(&cpu, &h), buffer(&cpu, &w), buffer(&cpu, &dx));
        let (mut got, mut got_w) = (buffer(&cpu, &before), buffer(&cpu, &vec![1f32; c]));
        cpu.rms_norm_backward(&dx, &h, &w, eps as f32, RowSelection::All(t), &mut got, Some(&mut got_w)).unwrap();
        let want: Vec<f64> =
            before.iter().zip(dh.iter().chain(&vec![0.0; 3 * c])).map(|(b, d)| *b as f64 + d).collect();
        // A few f32 roundings of sums of 37 terms, of 150 for the weight.
        agrees("dh", &got, &want, 1e-6);
        agrees("dw", &got_w, &dw.iter().map(|d| d + 1.0).collect::<Vec<_>>(), 1e-5);
        // Two chosen rows: the others stay as they are.
        let mut some = buffer(&cpu, &before);
        cpu.rms_norm_backward(&dx, &h, &w, eps as f32, RowSelection::Some(&[0, 7]), &mut some, None).unwrap();
        assert_eq!(bits(&some[..c]), bits(&got[..c]));
        assert_eq!(bits(&some[c..7 * c]), bits(&before[c..7 * c]));
        assert_ne!(bits(&some[7 * c..8 * c]), bits(&before[7 * c..8 * c]));
        let repeated = RowSelection::Some(&[7, 7]);
        assert!(cpu.rms_norm_backward(&dx, &h, &w, eps as f32, repeated, &mut some, None).is_err());
        let now = [bits(&got), bits(&got_w)].concat();
        assert!(first.get_or_insert_with(|| now.clone()) == &now, "{:?}", cpu.isa());
    }
}

#[test]
fn swiglu_rope_embedding_and_rounding_agree_with_f64() {
    let len = 33_000;
    let (gate, up, da) = (noise(1, len), noise(2, len), noise(3, len));
    let gate: Vec<bf16> = gate.iter().map(|g| bf16::from_f32(8.0 * g.to_f32())).collect();
    let [g, u, d] = [&gate, &up, &da].map(|x| reference::wide(x));
    let sigmoid: Vec<f64> = g.iter().map(|g| 1.0 / (1.0 + (-g).exp())).collect();
    let dgate: Vec<f64> = (0..len).map(|i| d[i] * u[i] * sigmoid[i] * (1.0 + g[i] * (1.0 - sigmoid[i]))).collect();
    let dup: Vec<f64> = (0..len).map(|i| d[i] * g[i] * sigmoid[i]).collect();
    let value = |g: &[f64], u: &[f64]| reference::swiglu(g, u).iter().zip(&d).map(|(a, d)| a * d).sum();
    is_gradient("swiglu, gate", &g, &dgate, |g| value(g, &u));
    is_gradient("swiglu, up", &u, &dup, |u| value(&g, u));
    for cpu in cpus() {
        let [gate, up, da] = [&gate, &up, &da].map(|x| buffer(&cpu, x));
        let [mut a, mut dg, mut du] = [0; 3].map(|_| cpu.buffer(len).unwrap());
        cpu.swiglu(&gate, &up, [1, len], &mut a).unwrap();
        cpu.swiglu_backward(&da, &gate, &up, [1, len], [&mut dg, &mut du]).unwrap();
        // One rounding to bf16.
        let half = 1.0 / 256.0 + 1e-6;
        agrees("a", &narrow(&a), &reference::swiglu(&g, &u), half);
        agrees("dgate", &narrow(&dg), &dgate, half);
        agrees("dup", &narrow(&du), &dup, half);

        let (n, d, positions) = (24, 8, [0, 3, 17]);
        let angle = |i: usize| (i / 4) as f64 * 1e4f64.powf(-2.0 * (i % 4) as f64 / d as f64);
        let table: Vec<(f32, f32)> = (0..18 * 4).map(|i| (angle(i).cos() as f32, angle(i).sin() as f32)).collect();
        let rope = RopeTable {
            cos: buffer(&cpu, &table.iter().map(|t| t.0).collect::<Vec<_>>()),
            sin: buffer(&cpu, &table.iter().map(|t| t.1).collect::<Vec<_>>()),
            positions: 18,
        };
        let x = floats(5, 3 * n);
        let mut want = wide(&x);
        reference::rope(&mut want, n, d, &positions, 1e4);
        let (x, mut y) = (buffer(&cpu, &x), cpu.buffer(3 * n).unwrap());
        cpu.rope(&x, n, &positions, &rope, false, &mut y).unwrap();
        agrees("rope", &narrow(&y), &want, half);
        // The transpose of a rotation is the rotation back.
        let mut back = cpu.buffer(3 * n).unwrap();
        cpu.rope(&buffer(&cpu, &narrow(&y)), n, &positions, &rope, true, &mut back).unwrap();
        agrees("rope back", &narrow(&back), &wide(&x), 2.0 * half);
        assert!(cpu.rope(&x, n, &[18], &rope, false, &mut y).is_err(), "a position beyond the table");

        let dh = floats(6, 4 * 5);
        let mut table = cpu.buffer(3 * 5).unwrap();
        cpu.embed_backward(&buffer(&cpu, &dh), &[2, 0, 2, 2], 5, &mut table).unwrap();
        assert_eq!(table[..5], dh[5..10]);
        assert_eq!(table[5..10], [0.0; 5]);
        assert_eq!(table[10], (dh[0] + dh[10]) + dh[15]);
        assert!(cpu.embed_backward(&buffer(&cpu, &dh), &[3, 0, 0, 0], 5, &mut table).is_err());
        let [threes, none] = [40_000, 0].map(|n| buffer(&cpu, &vec![3f32; n]));
        let sums = cpu.sum_squares(&[(&threes, 40_000), (&none, 0), (&threes, 2), (&threes, PIECE)]).unwrap();
        assert_eq!(sums, [360_000.0, 0.0, 18.0, 9.0 * PIECE as f64]);
    }
}

#[test]
fn cross_entropy_and_its_gradients_agree_with_f64() {
    // Two chunks of 192 rows, odd vocabulary and width.
    let (t, c, v, weight) = (200, 19, 1037, 0.25);
    let (x, head) = (noise(1, t * c), noise(2, v * c));
    let targets: Vec<u32> = (0..t).map(|i| (mix(i as u64) % v as u64) as u32).collect();
    let (xs, heads) = (reference::wide(&x), reference::wide(&head));
    let loss = |xs: &[f64], heads: &[f64]| -> Vec<f64> {
        let z = reference::linear(xs, heads, c);
        z.chunks(v).zip(&targets).map(|(z, &target)| reference::lse(z) - z[target as usize]).collect()
    };
    let want = loss(&xs, &heads);
    let mut dz = reference::linear(&xs, &heads, c);
    for (z, &target) in dz.chunks_mut(v).zip(&targets) {
        let lse = reference::lse(z);
        z.iter_mut().for_each(|z| *z = (*z - lse).exp() * weight);
        z[target as usize] -= weight;
    }
    let (mut dx, mut dhead) = (vec![0f64; t * c], vec![0f64; v * c]);
    for (i, j, l) in (0..t).flat_map(|i| (0..v).flat_map(move |j| (0..c).map(move |l| (i, j, l)))) {
        dx[i * c + l] += dz[i * v + j] * heads[j * c + l];
        dhead[j * c + l] += dz[i * v + j] * xs[i * c + l];
    }
    is_gradient("loss, x", &xs, &dx, |x| weight * loss(x, &heads).iter().sum::<f64>());
    is_gradient("loss, head", &heads, &dhead, |head| weight * loss(&xs, head).iter().sum::<f64>());
    let mut first: Option<(Isa, Vec<u32>)> = None;
    for cpu in cpus() {
        let (x, head) = (buffer(&cpu, &x), matrix(&cpu, &head, v, c));
        let (mut got_x, mut got_head) = (cpu.buffer(t * c).unwrap(), buffer(&cpu, &vec![1f32; v * c]));
        let gradient = LossGradient { weight: weight as f32, dx: &mut got_x, dhead: Some(&mut got_head) };
        let losses = cpu.cross_entropy(&x, &head, &targets, Some(gradient)).unwrap();
        // f32 sums of 19 products, whose log-sum-exp is near 7.
        losses.iter().zip(&want).for_each(|(l, w)| assert!((l - w).abs() < 1e-5, "{l} {w}"));
        assert_eq!(losses, cpu.cross_entropy(&x, &head, &targets, None).unwrap());
        // Probabilities are rounded to bf16.
        agrees("dx", &got_x, &dx, 1.0 / 256.0);
        agrees("dhead", &got_head, &dhead.iter().map(|d| d + 1.0).collect::<Vec<_>>(), 1.0 / 256.0);
        let now = [bits(&got_x), bits(&got_head)].concat();
        match &first {
            Some((isa, bits)) if *isa == cpu.isa() => assert!(*bits == now, "bits differ by threads"),
            _ => first = Some((cpu.isa(), now)),
        }
    }
}

#[test]
fn dropout_keeps_the_mean_and_backward_has_the_same_mask() {
    let (len, p) = (50_000, 0.25);
    let mut first: Option<Vec<bf16>> = None;
    for cpu in cpus() {
        let x = buffer(&cpu, &vec![bf16::from_f32(3.0); len]);
        let [mut y, mut other] = [0; 2].map(|_| cpu.buffer(len).unwrap());
        cpu.dropout(&x, [1, len], p, 42, &mut y).unwrap();
        cpu.dropout(&x, [1, len], p, 43, &mut other).unwrap();
        assert!(y.iter().all(|y| [0.0, 4.0].contains(&y.to_f32())) && y[..] != other[..]);
        let dropped = y.iter().filter(|y| y.to_f32() == 0.0).count() as f64 / len as f64;
        // Five standard deviations of a mean of 50,000 draws.
        assert!((dropped - p as f64).abs() < 5.0 * (0.25f64 * 0.75 / len as f64).sqrt(), "{dropped}");
        let mut dx = buffer(&cpu, &vec![1f32; len]);
        cpu.dropout_backward(&buffer(&cpu, &vec![3f32; len]), [1, len], p, 42, &mut dx).unwrap();
        assert!(dx.iter().zip(y.iter()).all(|(dx, y)| *dx == 1.0 + y.to_f32()));
        assert!(first.get_or_insert_with(|| y.to_vec())[..] == y[..], "{:?}", cpu.isa());
    }
}

fn adam_step(rate: f32) -> AdamStep {
    // The third step with the usual decays.
    let correction = [1.0 / (1.0 - 0.9f32.powi(3)), 1.0 / (1.0 - 0.999f32.powi(3))];
    AdamStep { rate, beta: [0.9, 0.999], epsilon: 1e-8, correction, scale: 0.5 }
}

/// A step of one parameter.
fn adamw(
    cpu: &Cpu,
    step: &AdamStep,
    (decay, key): (f32, u64),
    gradient: &Buffer<f32>,
    moments: &mut Moments<Cpu>,
    parameter: Update<'_, Cpu>,
) -> crate::Result<()> {
    cpu.adamw(step, vec![AdamTensor { gradient, len: gradient.len(), moments, parameter, decay, key }])
}

#[test]
fn adamw_agrees_with_f64() {
    let len = 20_000;
    let (g, m, w) = (floats(1, len), floats(2, len), floats(3, len));
    let v: Vec<f32> = floats(4, len).iter().map(|v| v * v).collect();
    let step = adam_step(1e-2);
    let mut want = [vec![], vec![], vec![]];
    for i in 0..len {
        let g = g[i] as f64 * 0.5;
        let mean = 0.9 * m[i] as f64 + 0.1 * g;
        let square = 0.999 * v[i] as f64 + 0.001 * g * g;
        let (c1, c2) = (1.0 - 0.9f64.powi(3), 1.0 - 0.999f64.powi(3));
        let moved = w[i] as f64 * (1.0 - 1e-2 * 0.1) - 1e-2 * (mean / c1) / ((square / c2).sqrt() + 1e-8);
        [mean, square, moved].into_iter().zip(&mut want).for_each(|(x, want)| want.push(x));
    }
    for cpu in cpus() {
        let g = buffer(&cpu, &g);
        let state = || Moments::<Cpu>::Full { m: buffer(&cpu, &m), v: buffer(&cpu, &v), master: buffer(&cpu, &w) };
        let (mut moments, mut weight) = (state(), matrix(&cpu, &vec![bf16::ZERO; len], 100, 200));
        adamw(&cpu, &step, (0.1, 0), &g, &mut moments, Update::Matrix(&mut weight)).unwrap();
        let Moments::Full { m: got_m, v: got_v, master } = &moments else { unreachable!() };
        // f32 arithmetic; β in f32 is 3e-8 off, and 1 - β₂ 3e-5 of itself.
        for (got, want) in [got_m, got_v, master].into_iter().zip(&want) {
            agrees("adamw", got, want, 1e-6);
        }
        assert!(cpu.read_matrix(&weight).unwrap().iter().zip(master.iter()).all(|(w, m)| *w == bf16::from_f32(*m)));
        let (mut moments, mut vector) = (state(), buffer(&cpu, &w));
        adamw(&cpu, &step, (0.1, 0), &g, &mut moments, Update::Vector(&mut vector)).unwrap();
        assert_eq!(bits(&vector), bits(master));
        let mut short = matrix(&cpu, &noise(1, 10), 2, 5);
        assert!(adamw(&cpu, &step, (0.1, 0), &g, &mut state(), Update::Matrix(&mut short)).is_err());
    }
}

#[test]
fn stochastic_rounding_keeps_the_mean_and_depends_on_the_key_alone() {
    let len = 40_000;
    // A step of an eighth of the distance of neighbours in bf16: rounding to nearest would never move.
    let step = AdamStep { rate: 1.0 / 1024.0, beta: [0.0, 0.0], correction: [1.0; 2], ..adam_step(0.0) };
    let mut first: Option<Vec<bf16>> = None;
    for cpu in cpus() {
        let run = |key| {
            let zeros = || buffer(&cpu, &vec![bf16::ZERO; len]);
            let mut moments = Moments::<Cpu>::Half { m: zeros(), v: zeros() };
            let mut weight = matrix(&cpu, &vec![bf16::ONE; len], 200, 200);
            let gradient = buffer(&cpu, &vec![-2f32; len]);
            adamw(&cpu, &step, (0.0, key), &gradient, &mut moments, Update::Matrix(&mut weight)).unwrap();
            cpu.read_matrix(&weight).unwrap()
        };
        let weights = run(7);
        let up = weights.iter().filter(|w| w.to_f32() == 1.0 + 1.0 / 128.0).count();
        assert_eq!(up + weights.iter().filter(|w| **w == bf16::ONE).count(), len);
        let share = up as f64 / len as f64;
        assert!((share - 0.125).abs() < 5.0 * (0.125f64 * 0.875 / len as f64).sqrt(), "{share}");
        assert_ne!(weights, run(8));
        assert!(first.get_or_insert_with(|| weights.clone()) == &weights, "{:?}", cpu.isa());
    }
}
