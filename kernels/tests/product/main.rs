//! Products of training, the loss and dropout: against f64, and the promise that tiles do not change bits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod case;
mod dropout;
#[path = "../harness/mod.rs"]
mod harness;
mod loss;

use biomistral_nlu_kernels::params::{AddSlicesParams, GemmParams, LoraPart, ProductParams, ProductTerm, Weight};
use biomistral_nlu_kernels::table;
use case::{Case, Direction, Output};
use harness::{Address, Device, bits, check};

/// Runs the case by every kernel of its direction: each is within the bound of f64, and all give the same bits.
fn verify(device: &Device, case: &Case) -> Vec<f32> {
    let data = case.data();
    let oracle = data.oracle();
    let mut first = None;
    for kernel in case.direction.kernels() {
        let found = data.run(device, kernel);
        check(&format!("{case:?} by {}", kernel.symbol.name), case.n, &found, &oracle);
        let first = first.get_or_insert_with(|| found.clone());
        assert!(bits(first) == bits(&found), "{case:?} by {}: bits differ", kernel.symbol.name);
    }
    first.unwrap()
}

#[test]
fn products_of_odd_shapes_in_all_directions() {
    let Some(device) = Device::open("products_of_odd_shapes_in_all_directions") else { return };
    let outputs = [Output::Round, Output::Store, Output::Add];
    for (i, (m, n, k)) in
        [(1, 1, 1), (7, 33, 40), (127, 129, 65), (130, 127, 31), (33, 160, 200), (128, 256, 16)].into_iter().enumerate()
    {
        for (j, direction) in Direction::ALL.into_iter().enumerate() {
            // Each direction has each output with an odd and an even width.
            verify(&device, &Case::new(direction, outputs[(i + j) % 3], m, n, &[k]));
        }
    }
}

#[test]
fn every_output_of_every_direction() {
    let Some(device) = Device::open("every_output_of_every_direction") else { return };
    for direction in Direction::ALL {
        for output in [Output::Round, Output::Store, Output::Add] {
            for (m, n) in [(17, 34), (18, 37)] {
                verify(&device, &Case::new(direction, output, m, n, &[48]));
            }
        }
    }
}

#[test]
fn more_rows_than_a_raster_group() {
    let Some(device) = Device::open("more_rows_than_a_raster_group") else { return };
    for direction in Direction::ALL {
        verify(&device, &Case::new(direction, Output::Store, 1030, 256, &[8]));
    }
}

#[test]
fn terms_follow_each_other_in_one_sum() {
    let Some(device) = Device::open("terms_follow_each_other_in_one_sum") else { return };
    for direction in [Direction::Linear, Direction::Dx] {
        verify(&device, &Case::new(direction, Output::Store, 40, 70, &[65, 4]));
        // Queries, keys and values, each with its update.
        verify(&device, &Case::new(direction, Output::Add, 21, 33, &[96, 16, 40, 16, 33, 3]));
    }
}

#[test]
fn a_product_with_an_update_has_the_bits_of_inference() {
    let Some(device) = Device::open("a_product_with_an_update_has_the_bits_of_inference") else { return };
    let case = Case::new(Direction::Linear, Output::Add, 37, 44, &[72, 12]);
    let data = case.data();
    let found = verify(&device, &case);
    let (held, params) = data.params(&device);
    let [product, update] = [params.terms[0], params.terms[1]];
    let parts = [LoraPart {
        u: update.a,
        b: update.b,
        ldu: update.lda,
        ldb: update.ldb,
        row_begin: 0,
        row_end: case.m as i32,
        rank: update.k,
        weight: 0,
    }];
    // SAFETY: the struct has no padding (four 8-byte, then four 4-byte fields).
    let parts = device.array(&unsafe { std::mem::transmute::<[LoraPart; 1], [u8; 48]>(parts) });
    let out = device.output(&data.before, case.n, case.n);
    let weight = Weight { data: product.b, scale: 0, ld: product.ldb };
    let gemm = GemmParams {
        x: product.a,
        ldx: product.lda,
        weights: [weight, Weight::default(), Weight::default()],
        lora: parts.address(),
        lora_count: 1,
        m: case.m as i32,
        n: case.n as i32,
        k: product.k,
        out: out.address(),
        ldo: case.n as i64,
        scale: 1.0,
        reserved: 0,
    };
    device.launch(&table::GEMM_ADD, &gemm);
    assert!(bits(&device.read(&out)) == bits(&found));
    drop(held);
}

#[test]
fn rows_do_not_depend_on_their_neighbours() {
    let Some(device) = Device::open("rows_do_not_depend_on_their_neighbours") else { return };
    for direction in [Direction::Linear, Direction::Dx] {
        let case = Case::new(direction, Output::Store, 130, 40, &[72, 16]);
        let data = case.data();
        let all = data.run(&device, direction.kernels()[0]);
        for row in [0, 1, 63, 64, 127, 128, 129] {
            let alone = data.only(row).run(&device, direction.kernels()[1]);
            assert!(bits(&alone) == bits(&all[row * case.n..(row + 1) * case.n]), "{direction:?}: row {row}");
        }
    }
}

/// The rows of `case` in slices of `slice`, added up by `add_slices`.
fn in_slices(device: &Device, case: &Case, slice: usize) -> Vec<f32> {
    let data = case.data();
    let count = case.m * case.n;
    let slices = case.k().div_ceil(slice);
    let mut found = Vec::new();
    for kernel in case.direction.kernels() {
        let (_held, params) = data.params(device);
        let parts = device.output(&vec![f32::NAN; slices * count], case.n, case.n);
        let (out, ldo) = (parts.address(), case.n as i64);
        device.launch(kernel, &ProductParams { out, ldo, output: 1, slice: slice as i32, scale: 1.0, ..params });
        let out = device.output(&data.before, count, count);
        let add = AddSlicesParams {
            slices: parts.address(),
            out: out.address(),
            count: count as i64,
            slice_count: slices as i32,
            reserved: 0,
        };
        device.launch(&table::ADD_SLICES, &add);
        // The sum of what the slices are, in their order.
        let parts = device.read(&parts);
        let sum = |i: usize| (0..slices).fold(0f32, |sum, s| sum + parts[s * count + i]);
        let expected: Vec<f32> = data.before.iter().enumerate().map(|(i, before)| before + sum(i)).collect();
        let values = device.read(&out);
        assert!(bits(&values) == bits(&expected), "{case:?} by {}", kernel.symbol.name);
        assert!(found.is_empty() || bits(&found) == bits(&values), "{case:?} by {}", kernel.symbol.name);
        found = values;
    }
    found
}

#[test]
fn gradients_of_weights_in_slices_of_rows() {
    let Some(device) = Device::open("gradients_of_weights_in_slices_of_rows") else { return };
    // Full slices alone, a last one of one row, fewer rows than a slice.
    for (m, n, k, slice) in [(20, 150, 128, 64), (150, 12, 129, 64), (5, 7, 40, 64)] {
        let case = Case { scale: 1.0, ..Case::new(Direction::Dw, Output::Add, m, n, &[k]) };
        let found = in_slices(&device, &case, slice);
        check(&format!("{case:?}"), n, &found, &case.data().oracle());
        if k <= slice {
            assert!(bits(&found) == bits(&verify(&device, &case)), "one slice is the plain product");
        }
    }
}

#[test]
fn kernels_agree_under_every_accumulation_model() {
    let Some(device) = Device::open("kernels_agree_under_every_accumulation_model") else { return };
    device.under_all(|_| {
        verify(&device, &Case::new(Direction::Linear, Output::Round, 33, 70, &[100, 16]));
        verify(&device, &Case::new(Direction::Dx, Output::Add, 65, 40, &[130, 8, 20]));
        verify(&device, &Case::new(Direction::Dw, Output::Add, 40, 66, &[150]));
        in_slices(&device, &Case::new(Direction::Dw, Output::Add, 16, 70, &[100]), 32);
    });
}

#[test]
fn runs_repeat() {
    let Some(device) = Device::open("runs_repeat") else { return };
    for direction in Direction::ALL {
        let data = Case::new(direction, Output::Add, 40, 70, &[130]).data();
        for kernel in direction.kernels() {
            let first = bits(&data.run(&device, kernel));
            assert!(bits(&data.run(&device, kernel)) == first, "{}", kernel.symbol.name);
        }
    }
}

#[test]
fn nothing_is_launched_for_nothing() {
    let term = ProductTerm { k: 5, ..ProductTerm::default() };
    let params = ProductParams { terms: [term; 6], term_count: 1, slice: i32::MAX, ..ProductParams::default() };
    for kernel in Direction::ALL.into_iter().flat_map(Direction::kernels) {
        assert!(kernel.launch(&ProductParams { m: 0, n: 9, ..params }).grid.contains(&0));
        assert!(kernel.launch(&ProductParams { m: 9, n: 0, ..params }).grid.contains(&0));
        assert_eq!(kernel.launch(&ProductParams { m: 1, n: 1, ..params }).grid, [1, 1, 1]);
    }
}

#[test]
fn the_traffic_of_a_tile_is_its_operands_once() {
    let name = "the_traffic_of_a_tile_is_its_operands_once";
    let Some(device) = Device::open(name) else { return };
    let Some(control) = device.control else { return println!("SKIPPED {name}: only the virtual GPU counts") };
    control.configure(r#"{"profile": true, "races": false}"#).unwrap();
    println!("kernel                 M    N    K  sectors/bound  wavefronts/min  tensor flops/2MNK");
    for direction in Direction::ALL {
        for (kernel, (tile_m, tile_n)) in direction.kernels().iter().zip([(128, 128), (64, 32), (32, 128)]) {
            let (m, n, k) = (tile_m, 2 * tile_n, 256);
            let data = Case { dense: true, ..Case::new(direction, Output::Store, m, n, &[k]) }.data();
            control.forget();
            data.run(&device, kernel);
            let counters: serde_json::Value = serde_json::from_str(&control.counters()).unwrap();
            let profile = &counters["kernels"][kernel.symbol.name]["total"];
            let count = |what: &str| profile[what].as_u64().unwrap() as f64;
            let least = 2 * (tile_m + tile_n) * k * 2 / 32 + m * n * 4 / 32;
            let (moved, flops) = (count("sectors") / least as f64, count("flops") / (2 * m * n * k) as f64);
            let waves = count("wavefronts") / count("wavefronts_minimum");
            println!("{:20} {m:3} {n:4} {k:4}  {moved:13.3}  {waves:14.3}  {flops:17.3}", kernel.symbol.name);
            assert!(moved <= 1.10, "{}: sectors\n{}", kernel.symbol.name, control.profiles());
            assert!(waves == 1.0, "{}: wavefronts\n{}", kernel.symbol.name, control.profiles());
            assert!(flops == 1.0, "{}: tensor-core flops", kernel.symbol.name);
        }
    }
}
