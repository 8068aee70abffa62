//! The table, the sources and the images agree.

use crate::table::ALL;
use crate::{Code, images};
use std::collections::BTreeSet;

#[test]
fn table_lists_every_entry_point_of_every_file() {
    if let Some(why) = crate::why_none() {
        println!("SKIPPED table_lists_every_entry_point_of_every_file: {why}");
        return;
    }
    let compiled: BTreeSet<(&str, &str)> = images()
        .iter()
        .flat_map(|i| {
            let entries = i.ptx.lines().filter_map(|l| l.strip_prefix(".visible .entry "));
            entries.map(|e| (i.file, e.trim_end_matches('(')))
        })
        .collect();
    let listed: BTreeSet<(&str, &str)> = ALL.iter().map(|s| (s.file, s.name)).collect();
    assert_eq!(compiled, listed);
    assert_eq!(listed.len(), ALL.len(), "a kernel is listed twice");
}

#[test]
fn artefacts_name_no_folder_of_the_build_machine() {
    for image in images() {
        for line in image.ptx.lines().filter(|l| l.contains(".file")) {
            assert!(line.contains("\"kernels/cu/"), "{}: {line}", image.file);
        }
        for cubin in image.cubins {
            assert!(
                !cubin.bytes.windows(6).any(|w| w == b"/home/" || w == b"/root/"),
                "{} sm_{}",
                image.file,
                cubin.arch
            );
        }
    }
}

#[test]
fn code_is_the_newest_that_the_device_can_run() {
    let Some(image) = images().first() else { return };
    let arch = |major, minor| match image.code(major, minor) {
        Some(Code::Cubin(bytes)) => image.cubins.iter().find(|c| c.bytes == bytes).map_or(0, |c| c.arch),
        Some(Code::Ptx(_)) => 1,
        None => 0,
    };
    if image.cubins.len() < 6 {
        return;
    }
    let picks = [(7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (11, 0), (12, 0), (12, 1)];
    assert_eq!(picks.map(|(a, b)| arch(a, b)), [0, 80, 86, 86, 89, 90, 100, 100, 1, 120, 120]);
}

#[test]
fn int8_order_is_that_of_a_fragment() {
    // The four bytes of lane t: k = 2t, 2t+8, 2t+1, 2t+9.
    for k16 in [0, 16, 160] {
        for t in 0..4 {
            let bytes = [2 * t, 2 * t + 8, 2 * t + 1, 2 * t + 9].map(|k| crate::int8_position(k16 + k));
            assert_eq!(bytes, [0, 1, 2, 3].map(|b| k16 + 4 * t + b));
        }
    }
}

#[test]
fn quantised_rows_are_within_half_a_step() {
    let row: Vec<f32> = (0..37).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
    let mut packed = vec![1i8; crate::int8_row(37) + 16];
    let scale = crate::quantize_row(&row, &mut packed);
    assert_eq!(scale, 1.0 / 127.0);
    for (k, w) in row.iter().enumerate() {
        let q = f32::from(packed[crate::int8_position(k)]);
        assert!((q * scale - w).abs() <= scale * 0.500_01, "{k}");
    }
    let used: BTreeSet<usize> = (0..37).map(crate::int8_position).collect();
    assert!((0..packed.len()).all(|i| used.contains(&i) || packed[i] == 0), "the tail is zero");
    assert_eq!(crate::quantize_row(&[0.0; 16], &mut packed), 0.0);
    assert!(packed.iter().all(|&q| q == 0));
}
