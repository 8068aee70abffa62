//! A device that computes in f64 and rounds nothing but tuned matrices: between it and torch stands the model's code alone.
#![allow(clippy::needless_range_loop)]

use biomistral_nlu::device::{
    AdamStep, AdamTensor, Attention, Backward, Device, Element, HostMatrix, Linear, LossGradient, Moments, Output,
    PackedRows, RopeTable, RowSelection, Term, Update,
};
use biomistral_nlu::{Error, Result};
use half::bf16;
use std::marker::PhantomData;
use std::ops::Range;

pub struct Exact;

/// `[rows, cols]`.
pub struct Grid {
    values: Vec<f64>,
    rows: usize,
    cols: usize,
}

/// Values that other devices keep as `T`.
pub struct Wide<T>(Vec<f64>, PhantomData<T>);

impl<T> Wide<T> {
    /// The first `len` values, of which there are that many from now on.
    fn fit(&mut self, len: usize) -> &mut [f64] {
        if self.0.len() < len {
            self.0.resize(len, 0.0);
        }
        &mut self.0[..len]
    }
}

fn wide<T: Element>(x: &T) -> f64 {
    match bytemuck::bytes_of(x) {
        [a, b, c, d] => f32::from_ne_bytes([*a, *b, *c, *d]).into(),
        [a, b] => bf16::from_ne_bytes([*a, *b]).into(),
        _ => unreachable!("f32 or bf16"),
    }
}

fn narrow<T: Element>(x: f64) -> T {
    match size_of::<T>() {
        4 => bytemuck::pod_read_unaligned(&(x as f32).to_ne_bytes()),
        _ => bytemuck::pod_read_unaligned(&bf16::from_f64(x).to_ne_bytes()),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `y += factor x`.
fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

fn put(values: &[f64], y: Output<'_, Exact>) {
    match y {
        Output::Round(y) => y.fit(values.len()).copy_from_slice(values),
        Output::Store(y) => y.fit(values.len()).copy_from_slice(values),
        Output::Add(y) => add(y.fit(values.len()), 1.0, values),
    }
}

fn rows_of(rows: RowSelection<'_>) -> Vec<usize> {
    match rows {
        RowSelection::All(t) => (0..t).collect(),
        RowSelection::Some(rows) => rows.iter().map(|row| *row as usize).collect(),
    }
}

fn nothing<T>() -> Result<T> {
    Err(Error::unsupported("inference in f64"))
}

/// A row and head of attention.
struct Look {
    row: usize,
    head: usize,
    /// Columns of the query.
    q: Range<usize>,
    /// Columns of keys and values.
    kv: Range<usize>,
    /// Rows that it sees.
    keys: Range<usize>,
}

fn looks(rows: &PackedRows<'_>) -> Vec<Look> {
    let (d, mut all) = (rows.head_dim, Vec::new());
    for example in rows.examples {
        for (row, head) in example.clone().flat_map(|row| (0..rows.heads).map(move |head| (row, head))) {
            let start = rows.window.map_or(0, |w| (row + 1).saturating_sub(w)).max(example.start);
            let kv = head / (rows.heads / rows.kv_heads) * d;
            all.push(Look { row, head, q: head * d..head * d + d, kv: kv..kv + d, keys: start..row + 1 });
        }
    }
    all
}

impl Device for Exact {
    type Matrix = Grid;
    type Buffer<T: Element> = Wide<T>;
    type Kv = ();

    fn fingerprint(&self) -> String {
        "f64".into()
    }
    fn matrix(&self, host: HostMatrix) -> Result<Grid> {
        Ok(Grid { values: host.data.iter().map(wide).collect(), rows: host.rows, cols: host.cols })
    }
    fn buffer<T: Element>(&self, len: usize) -> Result<Wide<T>> {
        Ok(Wide(vec![0.0; len], PhantomData))
    }
    fn reserve<T: Element>(&self, buffer: &mut Wide<T>, len: usize) -> Result<()> {
        buffer.fit(len);
        Ok(())
    }
    fn write<T: Element>(&self, buffer: &mut Wide<T>, at: usize, data: &[T]) -> Result<()> {
        buffer.0[at..at + data.len()].iter_mut().zip(data).for_each(|(to, from)| *to = wide(from));
        Ok(())
    }
    fn read<T: Element>(&self, buffer: &Wide<T>, at: usize, out: &mut [T]) -> Result<()> {
        out.iter_mut().zip(&buffer.0[at..]).for_each(|(to, from)| *to = narrow(*from));
        Ok(())
    }
    fn kv_page(&self) -> usize {
        1
    }
    fn kv(&self, _: usize, _: usize, _: usize) -> Result<()> {
        nothing()
    }
    fn kv_reserve(&self, _: &mut (), _: usize) -> Result<()> {
        nothing()
    }
    fn kv_page_bytes(&self, _: &()) -> usize {
        0
    }
    fn kv_copy(&self, _: &mut (), _: u32, _: u32, _: usize) -> Result<()> {
        nothing()
    }
    fn kv_move(&self, _: &mut (), _: &[u32], _: &[(u32, u32)]) -> Result<()> {
        nothing()
    }
    fn embed(&self, table: &Grid, tokens: &[u32], h: &mut Wide<f32>) -> Result<()> {
        let c = table.cols;
        for (h, token) in h.fit(tokens.len() * c).chunks_mut(c).zip(tokens) {
            h.copy_from_slice(&table.values[*token as usize * c..][..c]);
        }
        Ok(())
    }
    fn rms_norm(
        &self,
        h: &Wide<f32>,
        w: &Wide<f32>,
        eps: f32,
        rows: RowSelection<'_>,
        x: &mut Wide<bf16>,
        x_row: usize,
    ) -> Result<()> {
        let (c, rows) = (w.0.len(), rows_of(rows));
        for (i, row) in rows.iter().enumerate() {
            let h = &h.0[row * c..][..c];
            let r = 1.0 / (dot(h, h) / c as f64 + f64::from(eps)).sqrt();
            let x = &mut x.fit((x_row + rows.len()) * c)[(x_row + i) * c..][..c];
            (0..c).for_each(|j| x[j] = h[j] * r * w.0[j]);
        }
        Ok(())
    }
    fn qkv(
        &self,
        _: &Wide<bf16>,
        _: [Linear<'_, Self>; 3],
        _: &RopeTable<Self>,
        _: &mut Attention<'_, Self>,
        _: &mut Wide<bf16>,
    ) -> Result<()> {
        nothing()
    }
    fn attention(&self, _: &Wide<bf16>, _: &mut Attention<'_, Self>, _: &mut Wide<bf16>) -> Result<()> {
        nothing()
    }
    fn linear_add(&self, _: &Wide<bf16>, _: Linear<'_, Self>, _: usize, _: &mut Wide<f32>) -> Result<()> {
        nothing()
    }
    fn gate_up(
        &self,
        _: &Wide<bf16>,
        _: Linear<'_, Self>,
        _: Linear<'_, Self>,
        _: usize,
        _: &mut Wide<bf16>,
    ) -> Result<()> {
        nothing()
    }
    fn head_lse(&self, _: &Wide<bf16>, _: &Grid, _: &[u32]) -> Result<Vec<f64>> {
        nothing()
    }
    fn head_some(&self, _: &Wide<bf16>, _: &Grid, _: &[(u32, &[u32])]) -> Result<Vec<f32>> {
        nothing()
    }
    fn head_all(&self, _: &Wide<bf16>, _: &Grid, _: u32) -> Result<Vec<f32>> {
        nothing()
    }
}

impl Backward for Exact {
    fn linear(&self, terms: &[Term<'_, Self>], t: usize, scale: f32, y: Output<'_, Self>) -> Result<()> {
        let n = terms[0].weight.rows;
        let mut sum = vec![0.0; t * n];
        for Term { x, weight: w } in terms {
            for (y, x) in sum.chunks_mut(n).zip(x.0.chunks(w.cols)) {
                y.iter_mut().zip(w.values.chunks(w.cols)).for_each(|(y, w)| *y += f64::from(scale) * dot(x, w));
            }
        }
        put(&sum, y);
        Ok(())
    }
    fn linear_dx(&self, terms: &[Term<'_, Self>], t: usize, scale: f32, dx: Output<'_, Self>) -> Result<()> {
        let k = terms[0].weight.cols;
        let mut sum = vec![0.0; t * k];
        for Term { x: dy, weight: w } in terms {
            for (dx, dy) in sum.chunks_mut(k).zip(dy.0.chunks(w.rows)) {
                dy.iter().zip(w.values.chunks(k)).for_each(|(dy, w)| add(dx, f64::from(scale) * dy, w));
            }
        }
        put(&sum, dx);
        Ok(())
    }
    fn linear_dw(
        &self,
        (dy, n): (&Wide<bf16>, usize),
        (x, k): (&Wide<bf16>, usize),
        t: usize,
        dw: &mut Wide<f32>,
    ) -> Result<()> {
        for (dy, x) in dy.0.chunks(n).zip(x.0.chunks(k)).take(t) {
            dw.0.chunks_mut(k).zip(dy).for_each(|(dw, dy)| add(dw, *dy, x));
        }
        Ok(())
    }
    fn copy(&self, x: &Wide<f32>, [t, n]: [usize; 2], out: &mut Wide<f32>) -> Result<()> {
        out.fit(t * n).copy_from_slice(&x.0[..t * n]);
        Ok(())
    }
    fn round(&self, x: &Wide<f32>, [t, n]: [usize; 2], out: &mut Wide<bf16>) -> Result<()> {
        out.fit(t * n).copy_from_slice(&x.0[..t * n]);
        Ok(())
    }
    fn rope(
        &self,
        x: &Wide<f32>,
        n: usize,
        positions: &[u32],
        table: &RopeTable<Self>,
        inverse: bool,
        out: &mut Wide<bf16>,
    ) -> Result<()> {
        let half = table.cos.0.len() / table.positions;
        let out = out.fit(positions.len() * n);
        for (t, position) in positions.iter().enumerate() {
            for (start, i) in (t * n..(t + 1) * n).step_by(2 * half).flat_map(|s| (0..half).map(move |i| (s, i))) {
                let (a, b) = (x.0[start + i], x.0[start + half + i]);
                let at = *position as usize * half + i;
                let (cos, sin) = (table.cos.0[at], if inverse { -table.sin.0[at] } else { table.sin.0[at] });
                (out[start + i], out[start + half + i]) = (a * cos - b * sin, b * cos + a * sin);
            }
        }
        Ok(())
    }
    fn packed_attention(
        &self,
        [q, k, v]: [&Wide<bf16>; 3],
        rows: &PackedRows<'_>,
        o: &mut Wide<bf16>,
        lse: &mut Wide<f32>,
    ) -> Result<()> {
        let (t, n, g) = (rows.rows(), rows.heads * rows.head_dim, rows.kv_heads * rows.head_dim);
        let scale = 1.0 / (rows.head_dim as f64).sqrt();
        o.fit(t * n).fill(0.0);
        for Look { row: i, head: h, q: of_q, kv: of_kv, keys } in looks(rows) {
            let q = &q.0[i * n..][of_q.clone()];
            let weight: Vec<f64> = keys.clone().map(|j| (scale * dot(q, &k.0[j * g..][of_kv.clone()])).exp()).collect();
            let sum: f64 = weight.iter().sum();
            lse.fit(t * rows.heads)[i * rows.heads + h] = sum.ln();
            for (j, weight) in keys.zip(weight) {
                add(&mut o.0[i * n..][of_q.clone()], weight / sum, &v.0[j * g..][of_kv.clone()]);
            }
        }
        Ok(())
    }
    fn packed_attention_backward(
        &self,
        [q, k, v]: [&Wide<bf16>; 3],
        (o, lse): (&Wide<bf16>, &Wide<f32>),
        d_o: &Wide<bf16>,
        rows: &PackedRows<'_>,
        [dq, dk, dv]: [&mut Wide<f32>; 3],
    ) -> Result<()> {
        let (t, n, g) = (rows.rows(), rows.heads * rows.head_dim, rows.kv_heads * rows.head_dim);
        let scale = 1.0 / (rows.head_dim as f64).sqrt();
        dq.fit(t * n).fill(0.0);
        dk.fit(t * g).fill(0.0);
        dv.fit(t * g).fill(0.0);
        for Look { row: i, head: h, q: of_q, kv: of_kv, keys } in looks(rows) {
            let at = |x: &Wide<bf16>| x.0[i * n..][of_q.clone()].to_vec();
            let (q, d_o, delta) = (at(q), at(d_o), dot(&at(o), &at(d_o)));
            for j in keys {
                let (k, v) = (&k.0[j * g..][of_kv.clone()], &v.0[j * g..][of_kv.clone()]);
                let p = (scale * dot(&q, k) - lse.0[i * rows.heads + h]).exp();
                let ds = p * (dot(&d_o, v) - delta) * scale;
                add(&mut dq.0[i * n..][of_q.clone()], ds, k);
                add(&mut dk.0[j * g..][of_kv.clone()], ds, &q);
                add(&mut dv.0[j * g..][of_kv.clone()], p, &d_o);
            }
        }
        Ok(())
    }
    fn swiglu(&self, gate: &Wide<bf16>, up: &Wide<bf16>, [t, n]: [usize; 2], a: &mut Wide<bf16>) -> Result<()> {
        let of = |(g, u): (&f64, &f64)| g / (1.0 + (-g).exp()) * u;
        a.fit(t * n).iter_mut().zip(gate.0.iter().zip(&up.0)).for_each(|(a, gu)| *a = of(gu));
        Ok(())
    }
    fn swiglu_backward(
        &self,
        da: &Wide<bf16>,
        gate: &Wide<bf16>,
        up: &Wide<bf16>,
        [t, n]: [usize; 2],
        [dgate, dup]: [&mut Wide<bf16>; 2],
    ) -> Result<()> {
        let (dgate, dup) = (dgate.fit(t * n), dup.fit(t * n));
        for i in 0..t * n {
            let (g, u) = (gate.0[i], up.0[i]);
            let s = 1.0 / (1.0 + (-g).exp());
            (dgate[i], dup[i]) = (da.0[i] * u * s * (1.0 + g * (1.0 - s)), da.0[i] * g * s);
        }
        Ok(())
    }
    fn rms_norm_backward(
        &self,
        dx: &Wide<f32>,
        h: &Wide<f32>,
        w: &Wide<f32>,
        eps: f32,
        rows: RowSelection<'_>,
        dh: &mut Wide<f32>,
        mut dw: Option<&mut Wide<f32>>,
    ) -> Result<()> {
        let c = w.0.len();
        for (i, row) in rows_of(rows).into_iter().enumerate() {
            let (dx, h) = (&dx.0[i * c..][..c], &h.0[row * c..][..c]);
            let r = 1.0 / (dot(h, h) / c as f64 + f64::from(eps)).sqrt();
            let mean = (0..c).map(|j| w.0[j] * dx[j] * h[j] * r).sum::<f64>() / c as f64;
            for j in 0..c {
                dh.0[row * c + j] += r * (w.0[j] * dx[j] - h[j] * r * mean);
                if let Some(dw) = &mut dw {
                    dw.0[j] += dx[j] * h[j] * r;
                }
            }
        }
        Ok(())
    }
    fn embed_backward(&self, dh: &Wide<f32>, tokens: &[u32], c: usize, dtable: &mut Wide<f32>) -> Result<()> {
        tokens.iter().zip(dh.0.chunks(c)).for_each(|(t, dh)| add(&mut dtable.0[*t as usize * c..][..c], 1.0, dh));
        Ok(())
    }
    fn cross_entropy(
        &self,
        x: &Wide<bf16>,
        head: &Grid,
        targets: &[u32],
        mut gradient: Option<LossGradient<'_, Self>>,
    ) -> Result<Vec<f64>> {
        let c = head.cols;
        let loss = |(i, (x, target)): (usize, (&[f64], &u32))| {
            let z: Vec<f64> = head.values.chunks(c).map(|w| dot(x, w)).collect();
            let lse = z.iter().map(|z| z.exp()).sum::<f64>().ln();
            if let Some(LossGradient { weight, dx, dhead }) = &mut gradient {
                let dx = &mut dx.fit(targets.len() * c)[i * c..][..c];
                dx.fill(0.0);
                for (v, z) in z.iter().enumerate() {
                    let right = if v == *target as usize { 1.0 } else { 0.0 };
                    let dz = f64::from(*weight) * ((z - lse).exp() - right);
                    add(dx, dz, &head.values[v * c..][..c]);
                    if let Some(dhead) = dhead {
                        add(&mut dhead.0[v * c..][..c], dz, x);
                    }
                }
            }
            lse - z[*target as usize]
        };
        Ok(x.0.chunks(c).zip(targets).enumerate().map(loss).collect())
    }
    fn dropout(&self, _: &Wide<bf16>, _: [usize; 2], _: f32, _: u64, _: &mut Wide<bf16>) -> Result<()> {
        nothing()
    }
    fn dropout_backward(&self, _: &Wide<f32>, _: [usize; 2], _: f32, _: u64, _: &mut Wide<f32>) -> Result<()> {
        nothing()
    }
    fn clear(&self, x: &mut Wide<f32>, [t, n]: [usize; 2]) -> Result<()> {
        x.fit(t * n).fill(0.0);
        Ok(())
    }
    fn sum_squares(&self, xs: &[(&Wide<f32>, usize)]) -> Result<Vec<f64>> {
        Ok(xs.iter().map(|(x, len)| dot(&x.0[..*len], &x.0[..*len])).collect())
    }
    fn adamw(&self, step: &AdamStep, tensors: Vec<AdamTensor<'_, Self>>) -> Result<()> {
        let AdamStep { rate, beta, epsilon, correction, scale } = *step;
        let [rate, epsilon, scale] = [rate, epsilon, scale].map(f64::from);
        let (beta, correction) = (beta.map(f64::from), correction.map(f64::from));
        for AdamTensor { gradient, len, moments, mut parameter, decay, .. } in tensors {
            let Moments::Full { m, v, master } = moments else { return nothing() };
            for i in 0..len {
                let g = gradient.0[i] * scale;
                m.0[i] = beta[0] * m.0[i] + (1.0 - beta[0]) * g;
                v.0[i] = beta[1] * v.0[i] + (1.0 - beta[1]) * g * g;
                let by = m.0[i] * correction[0] / ((v.0[i] * correction[1]).sqrt() + epsilon);
                let after = |w: f64| w - rate * f64::from(decay) * w - rate * by;
                match &mut parameter {
                    Update::Vector(w) => w.0[i] = after(w.0[i]),
                    Update::Matrix(w) => {
                        master.0[i] = after(master.0[i]);
                        w.values[i] = bf16::from_f64(master.0[i]).into();
                    }
                }
            }
        }
        Ok(())
    }
    fn write_matrix(&self, matrix: &mut Grid, values: &[bf16]) -> Result<()> {
        matrix.values = values.iter().map(wide).collect();
        Ok(())
    }
    fn read_matrix(&self, matrix: &Grid) -> Result<Vec<bf16>> {
        Ok(matrix.values.iter().map(|x| narrow(*x)).collect())
    }
}
