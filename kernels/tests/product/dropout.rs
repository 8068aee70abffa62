//! Dropout against the processor's mask, bit for bit.

use crate::harness::{Address, Device, Random, bits};
use biomistral_nlu_kernels::params::DropoutParams;
use biomistral_nlu_kernels::table;
use half::bf16;

/// engine/src/random.rs: the finaliser of SplitMix64, its upper half.
fn uniform(key: u64, index: u64) -> u32 {
    let x = key.wrapping_add(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 32) as u32
}

/// 0 with probability `p`, else `1 / (1 - p)`.
fn mask(p: f32, key: u64, index: usize) -> f32 {
    if drawn(key, index) < p { 0.0 } else { 1.0 / (1.0 - p) }
}

/// A number in [0, 1).
fn drawn(key: u64, index: usize) -> f32 {
    (uniform(key, index as u64) >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

const KEY: u64 = 0xfedc_ba98_7654_3210;

fn run(device: &Device, rows: usize, columns: usize, p: f32) {
    let what = format!("{rows} x {columns}, p {p}");
    let mut random = Random::new(3);
    let ld = columns.next_multiple_of(4) + 4;
    let params = |x, out| DropoutParams {
        x,
        out,
        ldx: ld as i64,
        ldo: ld as i64 + 4,
        key: KEY,
        rows: rows as i32,
        columns: columns as i32,
        p,
        keep: 1.0 / (1.0 - p),
    };
    let x = random.bf16s(rows * columns);
    let (from, out) = (device.input(&x, columns, ld), device.output(&vec![bf16::NAN; x.len()], columns, ld + 4));
    device.launch(&table::DROPOUT, &params(from.address(), out.address()));
    let expected: Vec<bf16> = x.iter().enumerate().map(|(i, x)| bf16::from_f32(x.to_f32() * mask(p, KEY, i))).collect();
    assert!(device.read(&out) == expected, "{what}");

    let dz: Vec<f32> = (0..x.len()).map(|_| random.uniform()).collect();
    let dx: Vec<f32> = (0..x.len()).map(|_| random.uniform()).collect();
    let (from, out) = (device.input(&dz, columns, ld), device.output(&dx, columns, ld + 4));
    device.launch(&table::DROPOUT_BACKWARD, &params(from.address(), out.address()));
    let expected: Vec<f32> = dz.iter().zip(&dx).enumerate().map(|(i, (dz, dx))| dx + dz * mask(p, KEY, i)).collect();
    assert!(bits(&device.read(&out)) == bits(&expected), "{what}, backward");
}

#[test]
fn masks_are_those_of_the_processor() {
    let Some(device) = Device::open("masks_are_those_of_the_processor") else { return };
    for (rows, columns) in [(1, 1), (3, 2), (2, 7), (3, 64), (2, 1023), (2, 1029)] {
        // The first element is kept at the very p that it draws.
        for p in [0.0, 0.1, 0.9, drawn(KEY, 0)] {
            run(&device, rows, columns, p);
        }
    }
}

#[test]
fn a_mask_drops_as_many_as_it_should() {
    // 3000 draws at p = 0.3: 900 within five standard deviations of 25.
    let dropped = (0..3000).filter(|i| mask(0.3, KEY, *i) == 0.0).count();
    assert!((775..1025).contains(&dropped), "{dropped}");
}
