//! Products: every epilogue, storage and shape against f64, and the promise that all kernels give a row the same bits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod case;
mod counters;
#[path = "../harness/mod.rs"]
mod harness;

use biomistral_nlu_kernels::params::{GemmParams, ProbeParams};
use biomistral_nlu_kernels::table;
use case::{Case, Op, Route};
use harness::{Address, Device, bits, check};

const ROUTES: [Route; 5] = [Route::Gemm, Route::Skinny(0), Route::Skinny(1), Route::Skinny(2), Route::Skinny(3)];

/// Runs the case by every kernel that takes it, checks each against the oracle, and all against each other bit for bit.
fn verify(device: &Device, case: &Case) {
    let data = case.data();
    let oracle = data.oracle();
    let mut first = None;
    for route in ROUTES {
        if case.op == Op::Logits && route == Route::Gemm {
            continue;
        }
        let what = format!("{case:?} by {route:?}");
        let found = data.run(device, route);
        check(&what, case.columns(), &found, &oracle);
        assert!(
            *first.get_or_insert_with(|| bits(&found)) == bits(&found),
            "{what}: bits differ from the first kernel's"
        );
    }
}

/// A row computed alone has the bits it has among the others.
fn verify_rows_alone(device: &Device, case: &Case, rows: &[usize]) {
    let data = case.data();
    let route = if case.op == Op::Logits { Route::Skinny(3) } else { Route::Gemm };
    let (all, width) = (data.run(device, route), case.columns());
    for &row in rows {
        let alone = data.only(row).run(device, Route::Skinny(0));
        assert!(bits(&alone) == bits(&all[row * width..(row + 1) * width]), "{case:?}: row {row} alone has other bits");
    }
}

#[test]
fn plain_products_of_odd_shapes() {
    let Some(device) = Device::open("plain_products_of_odd_shapes") else { return };
    for (m, n, k) in [(1, 1, 1), (7, 33, 40), (127, 129, 65), (129, 127, 31), (64, 130, 200), (8, 256, 96)] {
        for op in [Op::Add, Op::Store, Op::Logits] {
            verify(&device, &Case::new(op, m, n, k));
        }
    }
    // The last column of an odd width alone in rows that take pairs.
    for op in [Op::Add, Op::Logits] {
        verify(&device, &Case { spare: 1, ..Case::new(op, 9, 35, 16) });
    }
}

#[test]
fn more_rows_than_a_raster_group() {
    let Some(device) = Device::open("more_rows_than_a_raster_group") else { return };
    // Nine tiles of rows: a full group of eight and one of one, over two and three tiles of columns.
    verify(&device, &Case::new(Op::Add, 1030, 256, 16));
    verify(&device, &Case::new(Op::Store, 1150, 258, 8));
}

#[test]
fn swiglu() {
    let Some(device) = Device::open("swiglu") else { return };
    for (m, n, k) in [(1, 1, 16), (7, 72, 104), (129, 65, 33)] {
        verify(&device, &Case::new(Op::Swiglu, m, n, k));
    }
}

#[test]
fn qkv_with_rotation_and_cache() {
    let Some(device) = Device::open("qkv_with_rotation_and_cache") else { return };
    // D/2 a multiple of 8 and not; heads that share a tile and heads that span tiles.
    for (m, k, heads) in
        [(1, 64, (4, 2, 16)), (7, 72, (3, 1, 20)), (129, 40, (2, 1, 128)), (64, 96, (5, 5, 2)), (20, 32, (1, 1, 256))]
    {
        verify(&device, &Case::new(Op::Qkv(heads.0, heads.1, heads.2), m, 0, k));
    }
}

#[test]
fn low_rank_updates() {
    let Some(device) = Device::open("low_rank_updates") else { return };
    verify(&device, &Case::new(Op::Add, 129, 70, 72).lora(3..64, 8, 0).lora(64..129, 16, 0));
    verify(&device, &Case::new(Op::Add, 40, 130, 33).lora(39..40, 65, 0).lora(0..1, 3, 0));
    verify(&device, &Case::new(Op::Swiglu, 20, 66, 64).lora(0..20, 64, 1).lora(5..9, 40, 0));
    let qkv = Case::new(Op::Qkv(2, 1, 40), 30, 0, 48);
    verify(&device, &qkv.lora(2..30, 16, 2).lora(0..30, 8, 0).lora(0..7, 33, 1));
}

#[test]
fn int8_weights() {
    let Some(device) = Device::open("int8_weights") else { return };
    for (m, n, k) in [(1, 5, 16), (65, 129, 72), (9, 40, 33)] {
        for op in [Op::Add, Op::Logits, Op::Swiglu] {
            verify(&device, &Case::new(op, m, n, k).int8());
        }
    }
    verify(&device, &Case::new(Op::Qkv(3, 1, 32), 10, 0, 50).int8());
    verify(&device, &Case::new(Op::Add, 33, 66, 48).int8().lora(3..21, 24, 0));
    verify(&device, &Case::new(Op::Qkv(1, 1, 12), 17, 0, 160).int8().lora(0..17, 16, 0).lora(2..9, 8, 1));
}

#[test]
fn rows_do_not_depend_on_their_neighbours() {
    let Some(device) = Device::open("rows_do_not_depend_on_their_neighbours") else { return };
    let rows = [0, 1, 63, 64, 100, 128];
    verify_rows_alone(&device, &Case::new(Op::Add, 129, 140, 200).lora(0..64, 16, 0).lora(64..129, 8, 0), &rows);
    verify_rows_alone(&device, &Case::new(Op::Swiglu, 129, 40, 100), &rows);
    verify_rows_alone(&device, &Case::new(Op::Qkv(2, 1, 32), 129, 0, 72), &rows);
    verify_rows_alone(&device, &Case::new(Op::Logits, 129, 60, 72), &rows);
    verify_rows_alone(&device, &Case::new(Op::Add, 129, 60, 72).int8(), &rows);
}

#[test]
fn chosen_logits_have_the_bits_of_all_logits() {
    let Some(device) = Device::open("chosen_logits_have_the_bits_of_all_logits") else { return };
    for int8 in [false, true] {
        let (m, n, k) = (5, 150, 104);
        let case = Case { int8, ..Case::new(Op::Logits, m, n, k) };
        let data = case.data();
        let all = data.run(&device, Route::Skinny(0));
        // Repeated, unordered and single ids; asks of none, one behind all ids; more than a block takes.
        let long: Vec<u32> = (0..n as u32).rev().collect();
        let asks: [(u32, &[u32]); 6] =
            [(4, &[149]), (0, &[3, 3, 77, 0]), (2, &[]), (1, &long), (4, &long[..33]), (3, &[])];
        let found = data.run_some(&device, &asks);
        let expected = asks.iter().flat_map(|(row, ids)| ids.iter().map(|id| all[*row as usize * n + *id as usize]));
        assert_eq!(bits(&found), bits(&expected.collect::<Vec<_>>()), "int8 {int8}");
    }
}

#[test]
fn kernels_agree_under_every_accumulation_model() {
    let Some(device) = Device::open("kernels_agree_under_every_accumulation_model") else { return };
    device.under_all(|_| {
        verify(&device, &Case::new(Op::Add, 33, 70, 200).lora(0..9, 16, 0).lora(9..33, 40, 0));
        verify(&device, &Case::new(Op::Swiglu, 9, 40, 130).int8());
        verify(&device, &Case::new(Op::Qkv(2, 1, 16), 17, 0, 96));
        verify_rows_alone(&device, &Case::new(Op::Add, 129, 10, 160).lora(5..70, 8, 0), &[0, 5, 69, 70, 128]);
    });
}

#[test]
fn runs_repeat() {
    let Some(device) = Device::open("runs_repeat") else { return };
    let case = Case::new(Op::Add, 70, 90, 300).lora(0..70, 16, 0);
    let data = case.data();
    for route in [Route::Gemm, Route::Skinny(3)] {
        let first = bits(&data.run(&device, route));
        for _ in 0..3 {
            assert!(bits(&data.run(&device, route)) == first, "{route:?}");
        }
    }
}

#[test]
fn probe_counts() {
    let Some(device) = Device::open("probe_counts") else { return };
    let out = device.output(&[0u32; 300], 300, 300);
    device.launch(&table::PROBE, &ProbeParams { out: out.address(), n: 300, base: 7 });
    assert!(device.read(&out).into_iter().eq(7..307));
}

#[test]
fn no_rows_launch_nothing() {
    let gemm = GemmParams { m: 0, n: 100, ..GemmParams::default() };
    for rows in [0, 8, 65] {
        assert!(table::add(rows, false).launch(&gemm).grid.contains(&0));
    }
}
