//! Every operation against plain f64, and its bits against themselves for every batch, tile and number of threads.

use super::kernel::tests::noise;
use super::*;
use crate::device::{LoraPart, SequenceRows, reference};

fn isas() -> Vec<Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512Bf16].into_iter().filter(|isa| *isa <= Isa::detect()).collect()
}

fn cpu(isa: Isa, threads: usize) -> Cpu {
    Cpu::new(CpuOptions { threads: Some(threads), isa: Some(isa) }).unwrap()
}

fn matrix(cpu: &Cpu, seed: u64, rows: usize, cols: usize) -> CpuMatrix {
    cpu.matrix(HostMatrix { data: MatrixData::Owned(noise(seed, rows * cols)), rows, cols }).unwrap()
}

fn buffer<T: Element>(cpu: &Cpu, data: &[T]) -> Buffer<T> {
    let mut buffer = cpu.buffer(data.len()).unwrap();
    cpu.write(&mut buffer, 0, data).unwrap();
    buffer
}

fn floats(seed: u64, len: usize) -> Vec<f32> {
    noise(seed, len).iter().map(|x| x.to_f32() * 3.0).collect()
}

fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|y| y.to_bits()).collect()
}

/// A projection and its low-rank updates: `(rows, R, scale)`.
struct Case {
    k: usize,
    n: usize,
    updates: Vec<(Range<usize>, usize, f32)>,
    seed: u64,
}

impl Case {
    /// Updates begin and end inside tiles, and rows 5..9 have none.
    fn new(k: usize, n: usize, seed: u64) -> Self {
        Case { k, n, updates: vec![(0..5, 4, 2.0), (9..20, 16, 0.5), (20..100, 33, 1.0)], seed }
    }

    fn weight(&self) -> Vec<bf16> {
        noise(self.seed, self.n * self.k)
    }

    fn update(&self, i: usize) -> (Vec<bf16>, Vec<bf16>) {
        let r = self.updates[i].1;
        let seed = self.seed + 10 * i as u64;
        (noise(seed + 1, r * self.k), noise(seed + 2, self.n * r))
    }

    /// Calls `run` with the projection for rows `rows` of the batch, which stand at 0 there.
    fn linear<R>(&self, cpu: &Cpu, rows: Range<usize>, run: impl FnOnce(Linear<'_, Cpu>) -> R) -> R {
        let weight = matrix(cpu, self.seed, self.n, self.k);
        let updates: Vec<_> = (0..self.updates.len())
            .map(|i| {
                let (r, seed) = (self.updates[i].1, self.seed + 10 * i as u64);
                (matrix(cpu, seed + 1, r, self.k), matrix(cpu, seed + 2, self.n, r))
            })
            .collect();
        let shift = |at: usize| at.clamp(rows.start, rows.end) - rows.start;
        let parts = updates.iter().zip(&self.updates);
        let lora: Vec<LoraPart<'_, Cpu>> = parts
            .map(|((a, b), (at, _, scale))| LoraPart { rows: shift(at.start)..shift(at.end), a, b, scale: *scale })
            .filter(|part| !part.rows.is_empty())
            .collect();
        run(Linear { weight: &weight, lora: &lora })
    }

    /// `y` in f64, and in f32 summed one after the other with `u` rounded to bf16: arithmetic of the same precision.
    fn reference(&self, x: &[bf16]) -> (Vec<f64>, Vec<f32>) {
        let f32s = |v: &[bf16]| v.iter().map(|v| v.to_f32()).collect::<Vec<f32>>();
        let mut exact = reference::linear(&reference::wide(x), &reference::wide(&self.weight()), self.k);
        let mut plain = sequential(&f32s(x), &f32s(&self.weight()), self.k);
        for (i, (rows, r, scale)) in self.updates.iter().enumerate() {
            let rows = rows.start.min(x.len() / self.k)..rows.end.min(x.len() / self.k);
            let (a, b) = self.update(i);
            let x = &x[rows.start * self.k..rows.end * self.k];
            let mut u = reference::linear(&reference::wide(x), &reference::wide(&a), self.k);
            u.iter_mut().for_each(|u| *u *= *scale as f64);
            let u16: Vec<f32> =
                sequential(&f32s(x), &f32s(&a), self.k).iter().map(|u| bf16::from_f32(u * scale).to_f32()).collect();
            let range = rows.start * self.n..rows.end * self.n;
            exact[range.clone()]
                .iter_mut()
                .zip(reference::linear(&u, &reference::wide(&b), *r))
                .for_each(|(y, z)| *y += z);
            plain[range].iter_mut().zip(sequential(&u16, &f32s(&b), *r)).for_each(|(y, z)| *y += z);
        }
        (exact, plain)
    }
}

fn sequential(x: &[f32], w: &[f32], k: usize) -> Vec<f32> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).fold(0.0, |sum, (x, w)| sum + x * w);
    x.chunks(k).flat_map(|x| w.chunks(k).map(move |w| dot(x, w))).collect()
}

/// Promise 7 of the design: the error is at most twice that of arithmetic of the same precision; where that has none by
/// luck, one rounding of the largest result.
fn agrees(name: &str, got: &[f32], exact: &[f64], plain: &[f32]) {
    assert_eq!((got.len(), got.len()), (exact.len(), plain.len()), "{name}");
    let size = exact.iter().fold(0f64, |m, y| m.max(y.abs()));
    let error = |y: &[f32]| y.iter().zip(exact).fold(0f64, |m, (y, e)| m.max((*y as f64 - e).abs()));
    let (error, allowed) = (error(got), 2.0 * error(plain) + size * f32::EPSILON as f64);
    assert!(error <= allowed, "{name}: error {error:e}, allowed {allowed:e}");
}

#[test]
fn linear_add_agrees_with_f64() {
    for isa in isas() {
        let cpu = cpu(isa, 2);
        for (k, n) in [(1, 1), (33, 50), (101, 7), (576, 192), (700, 100), (2100, 60)] {
            let case = Case::new(k, n, 7);
            for t in [1, 7, 12, 13, 127, 129] {
                let (x, h) = (noise(3, t * k), floats(4, t * n));
                let mut y = buffer(&cpu, &h);
                case.linear(&cpu, 0..t, |linear| cpu.linear_add(&buffer(&cpu, &x), linear, t, &mut y)).unwrap();
                let (mut exact, mut plain) = case.reference(&x);
                exact.iter_mut().zip(&h).for_each(|(y, h)| *y += *h as f64);
                plain.iter_mut().zip(&h).for_each(|(y, h)| *y += h);
                agrees(&format!("{isa:?} T {t} K {k} N {n}"), &y, &exact, &plain);
            }
        }
    }
}

#[test]
fn rows_have_their_bits_whatever_the_batch_the_threads_and_the_path() {
    let (t, k, n) = (129, 200, 100);
    let (gate, up) = (Case::new(k, n, 7), Case { updates: vec![(3..70, 8, 1.5)], ..Case::new(k, n, 77) });
    let x = noise(3, t * k);
    let run = |isa, threads, rows: Range<usize>| {
        let cpu = cpu(isa, threads);
        let (t, x) = (rows.len(), buffer(&cpu, &x[rows.start * k..rows.end * k]));
        let (mut h, mut a) = (buffer(&cpu, &vec![1f32; t * n]), buffer(&cpu, &vec![bf16::ZERO; t * n]));
        cpu.pass(|| {
            gate.linear(&cpu, rows.clone(), |gate| cpu.linear_add(&x, gate, t, &mut h)).unwrap();
            gate.linear(&cpu, rows.clone(), |gate| {
                up.linear(&cpu, rows.clone(), |up| cpu.gate_up(&x, gate, up, t, &mut a))
            })
        })
        .unwrap();
        let a: Vec<f32> = a.iter().map(|a| a.to_f32()).collect();
        bits(&h).chunks(n).map(<[u32]>::to_vec).zip(bits(&a).chunks(n).map(<[u32]>::to_vec)).collect::<Vec<_>>()
    };
    let want = run(Isa::Portable, 1, 0..t);
    for isa in isas() {
        for threads in 1..=3 {
            assert_eq!(run(isa, threads, 0..t), want, "{isa:?}, {threads} threads");
        }
        for rows in [0..1, 4..5, 6..7, 9..10, 19..21, 40..41, 128..129, 0..12, 3..15, 0..13, 1..64, 60..123] {
            assert_eq!(run(isa, 2, rows.clone()), want[rows.clone()], "{isa:?}, rows {rows:?}");
        }
    }
}

#[test]
fn a_long_batch_is_cut_where_nothing_shows() {
    let (t, k, n) = (1100, 40, 20);
    let case = Case { updates: vec![(500..700, 8, 1.0)], ..Case::new(k, n, 7) };
    let (cpu, x) = (cpu(Isa::detect(), 2), noise(3, t * k));
    let run = |rows: Range<usize>| {
        let mut h = buffer(&cpu, &vec![0f32; rows.len() * n]);
        let x = buffer(&cpu, &x[rows.start * k..rows.end * k]);
        case.linear(&cpu, rows.clone(), |linear| cpu.linear_add(&x, linear, rows.len(), &mut h)).unwrap();
        bits(&h)
    };
    let whole = run(0..t);
    for rows in [0..1, 499..501, 511..514, 690..720, 1023..1026, 1099..1100] {
        assert_eq!(run(rows.clone()), whole[rows.start * n..rows.end * n], "rows {rows:?}");
    }
}

#[test]
fn a_long_reduction_is_halved_where_nothing_shows() {
    // 48 columns of 6000 elements exceed the tile that stays in cache.
    let (k, n) = (6000, 50);
    let x = noise(3, 20 * k);
    let run = |isa, t: usize| {
        let cpu = cpu(isa, 1);
        let mut h = buffer(&cpu, &vec![0f32; t * n]);
        let weight = matrix(&cpu, 1, n, k);
        cpu.linear_add(&buffer(&cpu, &x), Linear { weight: &weight, lora: &[] }, t, &mut h).unwrap();
        bits(&h)
    };
    for isa in isas() {
        assert_eq!(run(isa, 20)[..n], run(isa, 1), "{isa:?}");
    }
}

#[test]
fn gate_up_agrees_with_f64() {
    for isa in isas() {
        let cpu = cpu(isa, 2);
        for (t, k, n) in [(1, 64, 33), (7, 576, 100), (127, 96, 70)] {
            let (gate, up) = (Case { updates: vec![], ..Case::new(k, n, 7) }, Case::new(k, n, 77));
            let x: Vec<bf16> = noise(3, t * k).iter().map(|x| bf16::from_f32(x.to_f32() * 0.3)).collect();
            let mut a = cpu.buffer(t * n).unwrap();
            gate.linear(&cpu, 0..t, |gate| {
                up.linear(&cpu, 0..t, |up| cpu.gate_up(&buffer(&cpu, &x), gate, up, t, &mut a))
            })
            .unwrap();
            let ((g, g32), (u, u32)) = (gate.reference(&x), up.reference(&x));
            let plain = g32.iter().zip(&u32).map(|(g, u)| bf16::from_f32(g / (1.0 + (-g).exp()) * u).to_f32());
            let a: Vec<f32> = a.iter().map(|a| a.to_f32()).collect();
            agrees(&format!("{isa:?} T {t}"), &a, &reference::swiglu(&g, &u), &plain.collect::<Vec<f32>>());
        }
    }
}

#[test]
fn qkv_rotates_queries_and_keys_and_stores_keys_and_values() {
    let (heads, kv_heads, d, k, theta) = (4, 2, 8, 40, 100.0f64);
    for isa in isas() {
        let cpu = cpu(isa, 2);
        // One sequence, from position 0; few rows and many.
        for t in [5usize, 21] {
            let tables = |f: fn(f64) -> f64| -> Vec<f32> {
                (0..t * d / 2)
                    .map(|i| f((i / (d / 2)) as f64 * theta.powf(-2.0 * (i % (d / 2)) as f64 / d as f64)) as f32)
                    .collect()
            };
            let rope =
                RopeTable { cos: buffer(&cpu, &tables(f64::cos)), sin: buffer(&cpu, &tables(f64::sin)), positions: t };
            let positions: Vec<u32> = (0..t as u32).collect();
            let page = SequenceRows { row: 0, cached: 0, chain: t, tree: vec![], pages: vec![0] };
            let layout = crate::device::Layout { positions: positions.clone(), sequences: vec![page] };
            let mut kv = cpu.kv(1, kv_heads, d).unwrap();
            cpu.kv_reserve(&mut kv, 1).unwrap();
            let mut at = Attention { kv: &mut kv, layer: 0, layout: &layout, heads, window: None };
            let x = noise(3, t * k);
            let sizes = [heads * d, kv_heads * d, kv_heads * d];
            let weights: Vec<CpuMatrix> = (0..3).map(|i| matrix(&cpu, 20 + i as u64, sizes[i], k)).collect();
            let linears = [0, 1, 2].map(|i| Linear { weight: &weights[i], lora: &[] });
            let (mut q, mut o) = (cpu.buffer(t * sizes[0]).unwrap(), cpu.buffer(t * sizes[0]).unwrap());
            cpu.qkv(&buffer(&cpu, &x), linears, &rope, &mut at, &mut q).unwrap();
            cpu.attention(&q, &mut at, &mut o).unwrap();
            // In f64: rotated projections, then attention over them.
            let project = |i: usize| reference::linear(&reference::wide(&x), &reference::wide(&weights[i].data), k);
            let mut want: Vec<Vec<f64>> = (0..3).map(project).collect();
            (0..2).for_each(|i| reference::rope(&mut want[i], sizes[i], d, &positions, theta));
            let size = want[0].iter().fold(0f64, |m, q| m.max(q.abs()));
            for (got, want) in q.iter().zip(&want[0]) {
                // Half a unit of bf16 of the value, and f32 sums of 40 products.
                assert!((got.to_f64() - want).abs() <= want.abs() / 256.0 + size * 1e-5, "{isa:?} q {got} {want}");
            }
            for (row, head) in (0..t).flat_map(|row| (0..heads).map(move |head| (row, head))) {
                let (qs, ks) = (&want[0][row * sizes[0] + head * d..][..d], head / 2 * d);
                let score = |j: usize| {
                    qs.iter().zip(&want[1][j * sizes[1] + ks..]).map(|(q, k)| q * k).sum::<f64>() / (d as f64).sqrt()
                };
                let weights: Vec<f64> = (0..=row).map(|j| (score(j) - score(row)).exp()).collect();
                for i in 0..d {
                    let value = |j: usize| weights[j] * want[2][j * sizes[2] + ks + i];
                    let want = (0..=row).map(value).sum::<f64>() / weights.iter().sum::<f64>();
                    let got = o[row * sizes[0] + head * d + i].to_f64();
                    // Queries, keys and values are bf16 (2⁻⁹ each) and scores reach about 10: a few percent.
                    assert!((got - want).abs() < 0.15, "{isa:?} T {t} row {row} head {head}: {got} {want}");
                }
            }
        }
    }
}

#[test]
fn norm_and_embedding_agree_with_f64() {
    for isa in isas() {
        let cpu = cpu(isa, 2);
        for (t, c) in [(1, 1), (3, 17), (20, 576), (40, 33)] {
            let (h, w) = (floats(1, t * c), floats(2, c));
            let wide = |x: &[f32]| x.iter().map(|&x| x as f64).collect::<Vec<f64>>();
            let want = reference::rms_norm(&wide(&h), &wide(&w), 1e-5);
            let rows: Vec<u32> = (0..t as u32).rev().collect();
            let (mut x, mut reversed) = (cpu.buffer(t * c).unwrap(), cpu.buffer((t + 2) * c).unwrap());
            let (h, w) = (buffer(&cpu, &h), buffer(&cpu, &w));
            cpu.rms_norm(&h, &w, 1e-5, RowSelection::All(t), &mut x, 0).unwrap();
            cpu.rms_norm(&h, &w, 1e-5, RowSelection::Some(&rows), &mut reversed, 2).unwrap();
            for (i, (got, want)) in x.iter().zip(&want).enumerate() {
                // Half a unit of bf16 is at most 2⁻⁸ of the value; f32 adds a few 2⁻²⁴.
                assert!((got.to_f64() - want).abs() <= want.abs() * (1.0 / 256.0 + 1e-6), "{isa:?} {i}: {got} {want}");
                assert_eq!(reversed[(t + 1 - i / c) * c + i % c].to_bits(), got.to_bits());
            }
        }
        let table = matrix(&cpu, 5, 9, 17);
        let mut h = cpu.buffer(3 * 17).unwrap();
        cpu.embed(&table, &[8, 0, 3], &mut h).unwrap();
        let want: Vec<f32> = [8, 0, 3].iter().flat_map(|&r| table.row(r)).map(|e| e.to_f32()).collect();
        assert_eq!(h[..], want);
        assert!(matches!(cpu.embed(&table, &[9], &mut h), Err(Error::Invalid { .. })));
    }
}

#[test]
fn the_heads_agree_with_f64_and_with_each_other() {
    let (t, c, v) = (40usize, 64, 500);
    for isa in isas() {
        let cpu = cpu(isa, 2);
        let head = matrix(&cpu, 1, v, c);
        let x = noise(2, t * c);
        let exact = reference::linear(&reference::wide(&x), &reference::wide(&head.data), c);
        let f32s = |v: &[bf16]| v.iter().map(|v| v.to_f32()).collect::<Vec<f32>>();
        let plain = sequential(&f32s(&x), &f32s(&head.data), c);
        let x = buffer(&cpu, &x);
        let all: Vec<u32> = (0..t as u32).collect();
        let lse = cpu.head_lse(&x, &head, &all).unwrap();
        for row in [0, 17, t - 1] {
            let logits = cpu.head_all(&x, &head, row as u32).unwrap();
            let range = row * v..(row + 1) * v;
            agrees(&format!("{isa:?} logits"), &logits, &exact[range.clone()], &plain[range.clone()]);
            let ids = [499, 0, 7, 7, 193, 250, 3, 2, 1, 400, 401];
            let some = cpu.head_some(&x, &head, &[(row as u32, &ids), (0, &[]), (row as u32, &ids[..1])]).unwrap();
            let want: Vec<f32> = ids.iter().chain(&ids[..1]).map(|&id| logits[id as usize]).collect();
            assert_eq!(bits(&some), bits(&want));
            // f32 exponentials (2 ulp) of f32 logits, summed over 500: 1e-6 leaves a factor of two.
            assert!((lse[row] - reference::lse(&exact[range])).abs() < 1e-6, "{isa:?} {} {}", lse[row], row);
            let alone = cpu.head_lse(&x, &head, &[row as u32]).unwrap();
            assert_eq!(alone[0].to_bits(), lse[row].to_bits());
            let chunks: Vec<(f32, f32)> = logits.chunks(192).map(pointwise_max_sum_exp).collect();
            assert_eq!(head::combine(&chunks).to_bits(), lse[row].to_bits(), "head_all gives another normaliser");
        }
        let many: Vec<u32> = (0..100).map(|i| i * 5 % v as u32).collect();
        let some = cpu.head_some(&x, &head, &[(3, &many)]).unwrap();
        let logits = cpu.head_all(&x, &head, 3).unwrap();
        assert_eq!(bits(&some), bits(&many.iter().map(|&id| logits[id as usize]).collect::<Vec<_>>()));
        assert!(matches!(cpu.head_some(&x, &head, &[(0, &[500])]), Err(Error::Invalid { .. })));
        assert!(matches!(cpu.head_lse(&x, &head, &[40]), Err(Error::Shape { .. })));
        assert!(cpu.head_lse(&x, &head, &[]).unwrap().is_empty());
    }
}

fn pointwise_max_sum_exp(y: &[f32]) -> (f32, f32) {
    kernel::pointwise::max_sum_exp(y)
}

#[test]
fn wrong_shapes_are_errors() {
    let cpu = cpu(Isa::detect(), 1);
    let (w, x) = (matrix(&cpu, 1, 6, 8), buffer(&cpu, &noise(2, 16)));
    let mut h = cpu.buffer(12).unwrap();
    let linear = || Linear { weight: &w, lora: &[] };
    assert!(cpu.linear_add(&x, linear(), 2, &mut h).is_ok());
    assert!(matches!(cpu.linear_add(&x, linear(), 3, &mut h), Err(Error::Shape { .. })));
    let (a, b) = (matrix(&cpu, 1, 2, 8), matrix(&cpu, 1, 6, 3));
    let lora = [LoraPart { rows: 0..1, a: &a, b: &b, scale: 1.0 }];
    let bad = Linear { weight: &w, lora: &lora };
    assert!(matches!(cpu.linear_add(&x, bad, 2, &mut h), Err(Error::Shape { .. })));
    let data = MatrixData::Owned(noise(1, 7));
    assert!(matches!(cpu.matrix(HostMatrix { data, rows: 2, cols: 4 }), Err(Error::Shape { .. })));
    assert!(Cpu::new(CpuOptions { threads: Some(0), isa: None }).is_err());
}

/// What the kernels assert is checked before: alone on the caller's thread nothing would catch a panic.
#[test]
fn every_operation_refuses_wrong_shapes() {
    const HUGE: [usize; 2] = [usize::MAX, 1 << 63];
    fn plain(weight: &CpuMatrix) -> Linear<'_, Cpu> {
        Linear { weight, lora: &[] }
    }
    for (isa, threads) in isas().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]) {
        let cpu = cpu(isa, threads);
        let wrong = |op: &str, result: Result<()>| {
            assert!(matches!(result, Err(Error::Shape { .. })), "{op}, {isa:?}, {threads} threads: {result:?}");
        };
        let (w, narrow, low) = (matrix(&cpu, 1, 6, 8), matrix(&cpu, 1, 6, 4), matrix(&cpu, 1, 5, 8));
        let (x, mut y, mut h) = (buffer(&cpu, &noise(2, 16)), cpu.buffer(12).unwrap(), cpu.buffer(12).unwrap());
        for t in [3].into_iter().chain(HUGE) {
            wrong("linear_add", cpu.linear_add(&x, plain(&w), t, &mut h));
            wrong("gate_up", cpu.gate_up(&x, plain(&w), plain(&w), t, &mut y));
            let (gain, all) = (buffer(&cpu, &[1.0; 6]), RowSelection::All(t));
            wrong("rms_norm", cpu.rms_norm(&h, &gain, 1e-5, all, &mut y, 0));
            wrong("rms_norm", cpu.rms_norm(&h, &gain, 1e-5, RowSelection::All(1), &mut y, t));
            wrong("rms_norm", cpu.rms_norm(&h, &gain, 1e-5, RowSelection::Some(&[2]), &mut y, 0));
            wrong("rms_norm", cpu.rms_norm(&h, &cpu.buffer(0).unwrap(), 1e-5, all, &mut y, 0));
            wrong("write", cpu.write(&mut h, t.max(12), &[0.0]));
            wrong("read", cpu.read(&h, t.max(12), &mut [0.0]));
        }
        wrong("gate_up", cpu.gate_up(&x, plain(&w), plain(&narrow), 1, &mut y));
        wrong("gate_up", cpu.gate_up(&x, plain(&w), plain(&low), 1, &mut y));
        wrong("embed", cpu.embed(&w, &[0, 1], &mut h));
        let (a, b) = (matrix(&cpu, 1, 2, 8), matrix(&cpu, 1, 6, 2));
        for (a, b, rows) in [(&a, &b, 0..3), (&narrow, &b, 0..1), (&a, &narrow, 0..1), (&low, &b, 0..1)] {
            let lora = [LoraPart { rows, a, b, scale: 1.0 }];
            wrong("an update", cpu.linear_add(&x, Linear { weight: &w, lora: &lora }, 2, &mut h));
        }
        wrong("head_lse", cpu.head_lse(&x, &w, &[0, 2]).map(drop));
        wrong("head_some", cpu.head_some(&x, &w, &[(u32::MAX, &[0])]).map(drop));
        wrong("head_all", cpu.head_all(&x, &w, 2).map(drop));

        // One head of 4 over two rows, one thing wrong at a time.
        let (square, thin) = (matrix(&cpu, 1, 4, 8), matrix(&cpu, 1, 4, 4));
        let table = |len: usize| RopeTable {
            cos: buffer(&cpu, &vec![1.0; len]),
            sin: buffer(&cpu, &vec![0.0; len]),
            positions: 2,
        };
        let layout = |cached: usize, chain: usize, positions: &[u32]| crate::device::Layout {
            positions: positions.to_vec(),
            sequences: vec![SequenceRows { row: 0, cached, chain, tree: vec![], pages: vec![0] }],
        };
        let fine = layout(0, 2, &[0, 1]);
        let run = |rope: usize,
                   layout: &crate::device::Layout,
                   q: usize,
                   [n_q, n_k, n_v]: [&CpuMatrix; 3],
                   [heads, kv_heads, d]: [usize; 3]| {
            let mut kv = cpu.kv(1, kv_heads, d).unwrap();
            cpu.kv_reserve(&mut kv, 1).unwrap();
            let mut at = Attention { kv: &mut kv, layer: 0, layout, heads, window: None };
            cpu.qkv(&x, [plain(n_q), plain(n_k), plain(n_v)], &table(rope), &mut at, &mut cpu.buffer(q).unwrap())
        };
        let (s, one) = ([&square; 3], [1, 1, 4]);
        run(4, &fine, 8, s, one).unwrap();
        wrong("rope", run(3, &fine, 8, s, one));
        wrong("q", run(4, &fine, 7, s, one));
        wrong("heads", run(4, &fine, 8, s, [3, 1, 4]));
        wrong("no heads", run(4, &fine, 8, s, [0, 1, 4]));
        wrong("heads of the cache", run(4, &fine, 8, s, [1, 2, 4]));
        wrong("heads of the cache", run(4, &fine, 8, s, [1, 1, 2]));
        wrong("keys and values", run(4, &fine, 12, [&square, &square, &low], one));
        wrong("inputs", run(4, &fine, 8, [&square, &square, &thin], one));
        wrong("rows", run(4, &layout(0, 1, &[0, 1]), 8, s, one));
        wrong("x", run(6, &layout(0, 3, &[0, 1, 2]), 12, s, one));
        for (cached, chain) in [(0, usize::MAX), (usize::MAX, 2), (63, 2), (0, 3)] {
            assert!(run(4, &layout(cached, chain, &[0, 1]), 8, s, one).is_err(), "{cached} cached, {chain} rows");
        }
        let mut kv = cpu.kv(1, 1, 4).unwrap();
        cpu.kv_reserve(&mut kv, 1).unwrap();
        let at = &mut Attention { kv: &mut kv, layer: 0, layout: &fine, heads: 1, window: None };
        let short = cpu.buffer(7).unwrap();
        wrong("attention, q", cpu.attention(&short, at, &mut cpu.buffer(8).unwrap()));
        wrong("attention, o", cpu.attention(&x, at, &mut cpu.buffer(7).unwrap()));
    }
}

#[test]
fn sessions_on_several_threads_share_one_device() {
    let cpu = cpu(Isa::detect(), 3);
    let (t, k, n) = (20, 100, 300);
    let weight = matrix(&cpu, 1, n, k);
    let run = |seed: u64| {
        let x = buffer(&cpu, &noise(seed, t * k));
        let mut h = cpu.buffer(t * n).unwrap();
        cpu.pass(|| (0..20).try_for_each(|_| cpu.linear_add(&x, Linear { weight: &weight, lora: &[] }, t, &mut h)))
            .unwrap();
        bits(&h)
    };
    let run = &run;
    let want: Vec<_> = (0..6).map(run).collect();
    std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..6).map(|seed| scope.spawn(move || run(seed))).collect();
        sessions.into_iter().zip(&want).for_each(|(session, want)| assert_eq!(session.join().unwrap(), *want));
    });
}
