//! What the virtual GPU counts while a row-by-row kernel runs, against its input read once and its output written once.

use crate::harness::{Address, Device, Random};
use biomistral_nlu_kernels::params::{ArgmaxParams, EmbedParams, HeadLseParams, KvCopyParams, RmsNormParams, Weight};
use biomistral_nlu_kernels::table::{self, Kernel};
use half::bf16;

/// Launches, prints what was counted, and holds it to `bytes` at least moved.
fn at_the_bound<P: Copy>(device: &Device, kernel: &Kernel<P>, params: &P, bytes: usize) {
    let Some(control) = device.control else { return };
    control.forget();
    device.launch(kernel, params);
    let counters: serde_json::Value = serde_json::from_str(&control.counters()).unwrap();
    let count = |what: &str| counters["kernels"][kernel.symbol.name]["total"][what].as_u64().unwrap() as f64;
    let moved = count("sectors") / (bytes as f64 / 32.0);
    let waves = if count("wavefronts_minimum") > 0.0 { count("wavefronts") / count("wavefronts_minimum") } else { 1.0 };
    println!("{:20} {:>20}  {moved:13.3}  {waves:14.3}", kernel.symbol.name, "");
    assert!(moved <= 1.05, "{}: sectors\n{}", kernel.symbol.name, control.profiles());
    assert!(waves == 1.0, "{}: wavefronts", kernel.symbol.name);
}

#[test]
fn streaming_kernels_are_at_the_bound_of_their_bytes() {
    let Some(device) = Device::open("streaming_kernels_are_at_the_bound_of_their_bytes") else { return };
    let Some(control) = device.control else {
        println!("SKIPPED streaming_kernels_are_at_the_bound_of_their_bytes: only the virtual GPU counts");
        return;
    };
    control.configure(r#"{"profile": true}"#).unwrap();
    println!("{:20} {:>20}  sectors/bound  wavefronts/min", "kernel", "");
    let mut random = Random::new(11);
    let (m, c, v) = (8usize, 1024usize, 4096usize);

    let h = device.array(&(0..m * c).map(|_| random.uniform()).collect::<Vec<f32>>());
    let w = device.array(&vec![1f32; c]);
    let x = device.output(&vec![bf16::ZERO; m * c], c, c);
    let norm = RmsNormParams {
        h: h.address(),
        w: w.address(),
        rows: 0,
        x: x.address(),
        ldh: c as i64,
        ldx: c as i64,
        row_count: m as i32,
        channels: c as i32,
        x_row: 0,
        eps: 1e-5,
    };
    // The weights come from the second-level cache, once per row.
    at_the_bound(&device, &table::RMS_NORM, &norm, m * c * (4 + 4 + 2));

    let embeddings = device.array(&random.bf16s(m * c));
    let tokens = device.array(&(0..m as u32).rev().collect::<Vec<u32>>());
    let out = device.output(&vec![0f32; m * c], c, c);
    let embed = EmbedParams {
        table: embeddings.address(),
        tokens: tokens.address(),
        h: out.address(),
        ld: c as i64,
        ldh: c as i64,
        row_count: m as i32,
        channels: c as i32,
    };
    at_the_bound(&device, &table::EMBED, &embed, m * c * (2 + 4));

    let (kv_heads, head_dim, keys) = (2usize, 128usize, 64usize);
    let page = kv_heads * head_dim * keys;
    let cache = device.output(&random.bf16s(2 * page), page, page);
    let arrays = device.array(&[cache.address()]);
    let copy = KvCopyParams {
        arrays: arrays.address(),
        array_count: 1,
        kv_heads: kv_heads as i32,
        head_dim: head_dim as i32,
        keys: keys as i32,
        from: 0,
        to: 1,
    };
    at_the_bound(&device, &table::KV_COPY, &copy, 2 * 2 * page);

    let logits = device.array(&(0..m * v).map(|_| random.uniform()).collect::<Vec<f32>>());
    let mask = device.array(&vec![u32::MAX; m * v / 32]);
    let best = device.output(&vec![0u32; 2 * m], 2, 2);
    let argmax = ArgmaxParams {
        logits: logits.address(),
        mask: mask.address(),
        out: best.address(),
        ld: v as i64,
        mask_ld: v as i64 / 32,
        m: m as i32,
        n: v as i32,
    };
    at_the_bound(&device, &table::ARGMAX, &argmax, m * v * 4 + m * v / 8);

    let (m, n, k) = (128usize, 512usize, 256usize);
    let (x, head) = (device.array(&random.bf16s(m * k)), device.array(&random.bf16s(n * k)));
    let partials = device.output(&vec![0f32; m * n / 64 * 2], n / 64 * 2, n / 64 * 2);
    let sums = device.output(&vec![0f64; 2 * m], 2, 2);
    let lse = HeadLseParams {
        x: x.address(),
        ldx: k as i64,
        rows: 0,
        head: Weight { data: head.address(), scale: 0, ld: k as i64 },
        partials: partials.address(),
        out: sums.address(),
        m: m as i32,
        n: n as i32,
        k: k as i32,
        reserved: 0,
    };
    // A tile of 128 rows of the head reads all rows of x.
    at_the_bound(&device, &table::HEAD_LSE, &lse, 2 * (n / 128 * m * k + n * k) + m * n / 64 * 8);
}
