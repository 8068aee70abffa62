//! Registers, shared memory and spills of every kernel on every architecture are as committed, and nothing spills.
//!
//! `BMN_WRITE_RESOURCES=1` writes the table.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use biomistral_nlu_kernels::{Usage, images, table, why_none};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

#[test]
fn resources_are_as_committed_and_nothing_spills() {
    if let Some(why) = why_none() {
        println!("SKIPPED resources_are_as_committed_and_nothing_spills: {why}");
        return;
    }
    let mut rows = BTreeMap::new();
    for image in images() {
        for cubin in image.cubins {
            for Usage { kernel, registers, shared, stack, spilled } in cubin.usage() {
                let symbol = table::ALL.iter().find(|s| s.name == kernel).unwrap();
                assert_eq!((stack, spilled), (0, 0), "{kernel} sm_{}: bytes of stack and of spills", cubin.arch);
                assert!(registers * symbol.threads <= 65536, "{kernel} sm_{}: no block fits the registers", cubin.arch);
                rows.insert((kernel, cubin.arch), (registers, shared + symbol.shared, spilled));
            }
        }
    }
    let found: BTreeMap<String, String> = rows
        .iter()
        .map(|((kernel, arch), (registers, shared, spilled))| {
            (format!("{kernel}\tsm_{arch}"), format!("{registers}\t{shared}\t{spilled}"))
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources.tsv");
    if std::env::var_os("BMN_WRITE_RESOURCES").is_some() {
        let mut text = String::from("kernel\tarch\tregisters\tshared\tspilled\n");
        for (key, value) in &found {
            writeln!(text, "{key}\t{value}").unwrap();
        }
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(path).unwrap();
    let committed: BTreeMap<String, String> = text
        .lines()
        .skip(1)
        .map(|line| line.match_indices('\t').nth(1).map(|(at, _)| (line[..at].into(), line[at + 1..].into())).unwrap())
        .collect();
    // A development build has fewer architectures (BMN_CUDA_ARCHS); each that it has and the table lists is checked in full.
    let arch = |key: &str| key.split('\t').nth(1).unwrap().to_owned();
    let listed: BTreeSet<String> = committed.keys().map(|key| arch(key)).collect();
    let built: BTreeSet<String> = found.keys().map(|key| arch(key)).collect();
    for arch in built.difference(&listed) {
        println!("SKIPPED registers of {arch}: not in resources.tsv, write it with BMN_WRITE_RESOURCES=1");
    }
    for (key, value) in committed.iter().filter(|(key, _)| built.contains(&arch(key))) {
        assert_eq!(found.get(key), Some(value), "{key}: run this test with BMN_WRITE_RESOURCES=1");
    }
    for key in found.keys().filter(|key| listed.contains(&arch(key))) {
        assert!(committed.contains_key(key), "{key} is not in resources.tsv: run this test with BMN_WRITE_RESOURCES=1");
    }
}
