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
