//! Copies, rounding, rotary embedding, SwiGLU, norms and embeddings.

use crate::harness::{Address, Device, Expected, Random, bits, check};
use biomistral_nlu_kernels::params::{
    CopyParams, EmbedBackwardParams, RmsNormBackwardParams, RopeParams, SwigluParams,
};
use biomistral_nlu_kernels::table;
use half::bf16;

fn floats(random: &mut Random, n: usize, size: f32) -> Vec<f32> {
    (0..n).map(|_| size * random.uniform()).collect()
}

/// Half an ulp of bf16.
const HALF: f64 = 1.0 / 256.0;

#[test]
fn rows_are_copied_and_rounded() {
    let Some(device) = Device::open("rows_are_copied_and_rounded") else { return };
    let mut random = Random::new(21);
    for (rows, columns) in [(3usize, 1usize), (2, 37), (3, 64), (2, 2056)] {
        let (ldx, ldo) = (columns.next_multiple_of(4), columns.next_multiple_of(64));
        let mut x = floats(&mut random, rows * columns, 3.0);
        // Between two bf16: to even, down and up.
        x[0] = f32::from_bits(0x3f80_8000);
        x[rows * columns - 1] = f32::from_bits(0x3f81_8000);
        let from = device.input(&x, columns, ldx);
        let params = |out: u64, ldo: usize| CopyParams {
            x: from.address(),
            out,
            ldx: ldx as i64,
            ldo: ldo as i64,
            row_count: rows as i32,
            columns: columns as i32,
        };
        let copy = device.output(&vec![f32::NAN; x.len()], columns, ldx + 4);
        device.launch(&table::COPY_ROWS, &params(copy.address(), ldx + 4));
        assert!(bits(&device.read(&copy)) == bits(&x), "{columns}");
        let out = device.output(&vec![bf16::NAN; x.len()], columns, ldo);
        device.launch(&table::ROUND_ROWS, &params(out.address(), ldo));
        let rounded: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
        assert!(device.read(&out) == rounded, "{columns}");
    }
}

#[test]
fn rope_turns_and_turns_back() {
    let Some(device) = Device::open("rope_turns_and_turns_back") else { return };
    let mut random = Random::new(22);
    for (heads, dim) in [(1, 2), (3, 14), (5, 128)] {
        let (rows, columns, half, count) = (4, heads * dim, dim / 2, 9);
        let x = floats(&mut random, rows * columns, 2.0);
        let positions = [8u32, 0, 3, 8];
        let angles: Vec<f64> =
            (0..count * half).map(|i| (i / half) as f64 * 100f64.powf(-((i % half) as f64) / half as f64)).collect();
        let [cos, sin] = [f64::cos, f64::sin].map(|f| angles.iter().map(|a| f(*a) as f32).collect::<Vec<f32>>());
        let turn = |x: &[f32], inverse: bool| {
            let (ldx, ldo) = (columns + 3, columns.next_multiple_of(64));
            let from = device.input(x, columns, ldx);
            let [list, cos, sin] = [device.array(&positions), device.array(&cos), device.array(&sin)];
            let out = device.output(&vec![bf16::NAN; x.len()], columns, ldo);
            let params = RopeParams {
                x: from.address(),
                out: out.address(),
                positions: list.address(),
                cos: cos.address(),
                sin: sin.address(),
                ldx: ldx as i64,
                ldo: ldo as i64,
                row_count: rows as i32,
                columns: columns as i32,
                head_dim: dim as i32,
                inverse: i32::from(inverse),
            };
            device.launch(&table::ROPE_ROWS, &params);
            device.read(&out).iter().map(|x| x.to_f32()).collect::<Vec<f32>>()
        };
        let want = |x: &[f32], sign: f64| {
            let place = |at: usize| (at / columns, at % columns / dim, at % dim);
            let value = |at: usize| {
                let (row, head, i) = place(at);
                let angle = positions[row] as usize * half + i % half;
                let (cos, sin) = (f64::from(cos[angle]), sign * f64::from(sin[angle]));
                let other = f64::from(x[row * columns + head * dim + (i + half) % dim]);
                f64::from(x[at]) * cos + if i < half { -other * sin } else { other * sin }
            };
            let size = f64::from(x.iter().fold(0f32, |m, x| m.max(x.abs())));
            (0..x.len())
                .map(|at| Expected { value: value(at), within: value(at).abs() * HALF + size * 2f64.powi(-22) })
                .collect::<Vec<_>>()
        };
        let turned = turn(&x, false);
        check(&format!("rope of {dim}"), columns, &turned, &want(&x, 1.0));
        check(&format!("back, of {dim}"), columns, &turn(&turned, true), &want(&turned, -1.0));
    }
}

#[test]
fn swiglu_and_its_gradients_agree_with_f64() {
    let Some(device) = Device::open("swiglu_and_its_gradients_agree_with_f64") else { return };
    let mut random = Random::new(23);
    for (rows, columns) in [(2usize, 37usize), (3, 64), (1, 2056)] {
        let ld = columns.next_multiple_of(64);
        let mut values =
            |size: f32| -> Vec<bf16> { (0..rows * columns).map(|_| bf16::from_f32(size * random.uniform())).collect() };
        let (mut gate, up, dout) = (values(6.0), values(3.0), values(2.0));
        // Far out silu is its limit, and its slope 0 or 1.
        (gate[0], gate[1], gate[2]) = (bf16::from_f32(200.0), bf16::from_f32(-200.0), bf16::ZERO);
        device.under_all(|settings| {
            let inputs = [&gate, &up, &dout].map(|x| device.input(x, columns, ld));
            let outputs = [(); 3].map(|()| device.output(&vec![bf16::NAN; rows * columns], columns, ld));
            let [gate_at, up_at, dout_at] = inputs.each_ref().map(Address::address);
            let [out_at, dgate_at, dup_at] = outputs.each_ref().map(Address::address);
            let params = SwigluParams {
                gate: gate_at,
                up: up_at,
                out: out_at,
                dout: dout_at,
                dgate: dgate_at,
                dup: dup_at,
                ld: ld as i64,
                row_count: rows as i32,
                columns: columns as i32,
            };
            device.launch(&table::SWIGLU_ROWS, &params);
            device.launch(&table::SWIGLU_BACKWARD, &params);
            let found = outputs.map(|o| device.read(&o).iter().map(|x| x.to_f32()).collect::<Vec<f32>>());
            let (mut out, mut dgate, mut dup) = (Vec::new(), Vec::new(), Vec::new());
            for ((g, u), d) in gate.iter().zip(&up).zip(&dout) {
                let (g, u, d) = (g.to_f64(), u.to_f64(), d.to_f64());
                let silu = |g: f64| g / (1.0 + (-g).exp());
                // Central difference of the sixth decimal: f64 leaves ten digits.
                let slope = (silu(g + 1e-5) - silu(g - 1e-5)) / 2e-5;
                let of = |value: f64, size: f64| Expected { value, within: value.abs() * HALF + size * 2f64.powi(-19) };
                out.push(of(silu(g) * u, u.abs()));
                dgate.push(of(d * u * slope, (d * u).abs() * (1.0 + g.abs())));
                dup.push(of(d * silu(g), d.abs()));
            }
            for (name, (found, expected)) in ["out", "dgate", "dup"].iter().zip(found.iter().zip([&out, &dgate, &dup]))
            {
                check(&format!("{name}, {columns}, {settings}"), columns, found, expected);
            }
        });
    }
}

#[test]
fn rms_norm_backward_agrees_with_f64_and_with_itself() {
    let Some(device) = Device::open("rms_norm_backward_agrees_with_f64_and_with_itself") else { return };
    let mut random = Random::new(24);
    for (rows, channels) in [(2usize, 1usize), (130, 7), (64, 64), (3, 1028)] {
        let ld = channels.next_multiple_of(4);
        let [h, dx, dh] = [(); 3].map(|()| floats(&mut random, rows * channels, 2.0));
        let (w, dw) = (floats(&mut random, channels, 2.0), floats(&mut random, channels, 1.0));
        let eps = 1e-2;
        let run = |chosen: Option<&[u32]>, weighted: bool| {
            let count = chosen.map_or(rows, <[u32]>::len);
            let inputs = [device.input(&dx[..count * channels], channels, ld), device.input(&h, channels, ld)];
            let (w, list) = (device.array(&w), chosen.map(|rows| device.array(rows)));
            let dh = device.output(&dh, channels, ld);
            let dw = device.output(&dw, channels, channels);
            let r = device.output(&vec![f32::NAN; count], count, count);
            let blocks = count.div_ceil(64);
            let partials = device.output(&vec![f32::NAN; blocks * channels], channels, channels);
            let params = RmsNormBackwardParams {
                dx: inputs[0].address(),
                h: inputs[1].address(),
                w: w.address(),
                rows: list.as_ref().map_or(0, Address::address),
                dh: dh.address(),
                r: if weighted { r.address() } else { 0 },
                partials: partials.address(),
                dw: dw.address(),
                ld: ld as i64,
                row_count: count as i32,
                channels: channels as i32,
                eps,
                reserved: 0,
            };
            device.launch(&table::RMS_NORM_BACKWARD, &params);
            if weighted {
                device.launch(&table::RMS_NORM_DW, &params);
                device.launch(&table::RMS_NORM_DW_FOLD, &params);
            }
            (device.read(&dh), device.read(&dw))
        };
        let expected = |chosen: &[usize]| {
            let mut to_h: Vec<Expected> = dh.iter().map(|x| Expected { value: f64::from(*x), within: 0.0 }).collect();
            let mut to_w: Vec<Expected> = dw.iter().map(|x| Expected { value: f64::from(*x), within: 2e-6 }).collect();
            for (i, &row) in chosen.iter().enumerate() {
                let h: Vec<f64> = h[row * channels..][..channels].iter().map(|x| f64::from(*x)).collect();
                let dx: Vec<f64> = dx[i * channels..][..channels].iter().map(|x| f64::from(*x)).collect();
                let n = channels as f64;
                let r = 1.0 / (h.iter().map(|h| h * h).sum::<f64>() / n + f64::from(eps)).sqrt();
                let terms = || (0..channels).map(|c| f64::from(w[c]) * dx[c] * h[c] * r);
                let (mean, size) = (terms().sum::<f64>() / n, terms().map(f64::abs).sum::<f64>() / n);
                for c in 0..channels {
                    let own = f64::from(w[c]) * dx[c];
                    // Sums of f32 and rsqrt.approx (2^-22); the terms may cancel.
                    let e = &mut to_h[row * channels + c];
                    e.value += r * (own - h[c] * r * mean);
                    e.within += (r * (own.abs() + (h[c] * r).abs() * size) + 2.0) * 2f64.powi(-20);
                    let product = dx[c] * h[c] * r;
                    to_w[c].value += product;
                    to_w[c].within += product.abs() * 2f64.powi(-18);
                }
            }
            (to_h, to_w)
        };
        device.under_all(|settings| {
            let what = format!("{rows} rows of {channels}, {settings}");
            let all: Vec<usize> = (0..rows).collect();
            let ((found_h, found_w), (want_h, want_w)) = (run(None, true), expected(&all));
            check(&format!("dh, {what}"), channels, &found_h, &want_h);
            check(&format!("dw, {what}"), channels, &found_w, &want_w);
            let (unweighted, kept) = run(None, false);
            assert!(bits(&unweighted) == bits(&found_h) && bits(&kept) == bits(&dw), "{what}");
            let chosen: Vec<usize> = (0..rows).filter(|row| row % 3 != 0 || rows == 2).skip(1).collect();
            let list: Vec<u32> = chosen.iter().map(|row| *row as u32).collect();
            let ((found_h, found_w), (want_h, want_w)) = (run(Some(&list), true), expected(&chosen));
            check(&format!("dh of some, {what}"), channels, &found_h, &want_h);
            check(&format!("dw of some, {what}"), channels, &found_w, &want_w);
        });
    }
}

#[test]
fn embedding_gradients_add_up_row_by_row() {
    let Some(device) = Device::open("embedding_gradients_add_up_row_by_row") else { return };
    let mut random = Random::new(25);
    let tokens: Vec<u32> = (0..37).map(|_| [4, 0, 9, 2, 4][random.below(5)]).collect();
    for channels in [1usize, 30, 257] {
        let ldh = channels.next_multiple_of(4);
        let dh = floats(&mut random, tokens.len() * channels, 1.0);
        let before = floats(&mut random, 10 * channels, 1.0);
        let mut expected = before.clone();
        for (&token, dh) in tokens.iter().zip(dh.chunks(channels)) {
            expected[token as usize * channels..][..channels].iter_mut().zip(dh).for_each(|(to, x)| *to += x);
        }
        let mut rows: Vec<u32> = (0..tokens.len() as u32).collect();
        rows.sort_by_key(|row| tokens[*row as usize]);
        let mut segments: Vec<[u32; 3]> = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let token = tokens[*row as usize];
            match segments.last_mut() {
                Some(last) if last[0] == token => last[2] += 1,
                _ => segments.push([token, i as u32, i as u32 + 1]),
            }
        }
        let (from, list, parts) = (device.input(&dh, channels, ldh), device.array(&rows), device.array(&segments));
        let dtable = device.output(&before, channels, channels);
        let params = EmbedBackwardParams {
            dh: from.address(),
            rows: list.address(),
            segments: parts.address(),
            dtable: dtable.address(),
            ldh: ldh as i64,
            segment_count: segments.len() as i32,
            channels: channels as i32,
        };
        device.launch(&table::EMBED_BACKWARD, &params);
        // The same additions in the same order: the same bits.
        assert!(bits(&device.read(&dtable)) == bits(&expected), "{channels}");
    }
}
