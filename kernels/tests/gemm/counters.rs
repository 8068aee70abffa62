//! What the virtual GPU counts while a product runs, against the least that its tiling can do.

use crate::case::{Case, Op, Route};
use crate::harness::Device;

/// Sectors of 32 bytes behind `rows` rows of `bytes` bytes.
fn sectors(rows: usize, bytes: usize) -> u64 {
    (rows * bytes / 32) as u64
}

/// The tile's bound: every block reads its rows of X and of W once, the output moves once (and is read once to be added to),
/// every head of q and k reads its row's angles once.
fn bound(case: &Case, route: Route) -> u64 {
    let weight = if case.int8 { case.k } else { 2 * case.k };
    let columns = if case.op == Op::Swiglu { 2 * case.n } else { case.columns() };
    let (tokens, rows) = match route {
        Route::Gemm => (128, 128),
        Route::Skinny(bucket) => [(8, 32), (16, 32), (32, 64), (64, 64)][bucket],
    };
    let blocks = case.m.div_ceil(tokens) * columns.div_ceil(rows);
    let output = match case.op {
        Op::Add => 8,
        Op::Logits => 4,
        _ => 2,
    };
    let angles = if let Op::Qkv(h, g, d) = case.op { sectors(case.m * (h + g), 4 * d) } else { 0 };
    angles
        + blocks as u64 * (sectors(tokens, 2 * case.k) + sectors(rows, weight))
        + sectors(case.m, case.columns() * output)
}

#[test]
fn traffic_and_flops_are_at_the_bound_of_the_tiles() {
    let Some(device) = Device::open("traffic_and_flops_are_at_the_bound_of_the_tiles") else { return };
    let Some(control) = device.control else {
        println!("SKIPPED traffic_and_flops_are_at_the_bound_of_the_tiles: only the virtual GPU counts");
        return;
    };
    control.configure(r#"{"profile": true, "races": false}"#).unwrap();
    println!("kernel                 M    N    K  sectors/bound  wavefronts/min  tensor flops/2MNK");
    let tiles = [Op::Add, Op::Store, Op::Swiglu, Op::Qkv(2, 1, 64)].map(|op| (op, 128, Route::Gemm));
    let skinny = [8, 16, 32, 64].into_iter().enumerate().flat_map(|(bucket, m)| {
        [Op::Add, Op::Swiglu, Op::Qkv(2, 1, 64), Op::Logits].map(|op| (op, m, Route::Skinny(bucket)))
    });
    for (op, m, route) in tiles.into_iter().chain(skinny) {
        for int8 in [false, true] {
            if int8 && op == Op::Store {
                continue;
            }
            let case = Case { int8, dense: true, ..Case::new(op, m, 256, 512) };
            let data = case.data();
            control.forget();
            data.run(&device, route);
            let counters: serde_json::Value = serde_json::from_str(&control.counters()).unwrap();
            let (name, profile) = counters["kernels"].as_object().unwrap().iter().next().unwrap();
            let count = |what: &str| profile["total"][what].as_u64().unwrap() as f64;
            let columns = if op == Op::Swiglu { 2 * case.n } else { case.columns() };
            let (moved, flops) = (count("sectors") / bound(&case, route) as f64, (2 * m * columns * case.k) as f64);
            let (waves, tensor) = (count("wavefronts") / count("wavefronts_minimum"), count("flops") / flops);
            println!("{name:20} {m:3} {:4} {:4}  {moved:13.3}  {waves:14.3}  {tensor:17.3}", columns, case.k);
            assert!(moved <= 1.10, "{name}: sectors\n{}", control.profiles());
            assert!(waves == 1.0, "{name}: wavefronts");
            assert!(tensor == 1.0, "{name}: tensor-core flops");
        }
    }
}
