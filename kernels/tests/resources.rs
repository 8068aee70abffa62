//! Registers, shared memory and spills of every kernel on every architecture are as committed, and nothing spills; the inner loops
//! of GEMM and attention issue no instruction more than known.
//!
//! `BMN_WRITE_RESOURCES=1` writes the table of registers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../examples/kernel_report/sass.rs"]
mod sass;

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
    // A development build has fewer architectures (BMN_CUDA_ARCHS). Every kernel is listed for the first; where it is listed for
    // another, that is checked as well.
    let mut unlisted = 0;
    for (key, value) in &found {
        match committed.get(key) {
            Some(listed) => assert_eq!(value, listed, "{key}: run this test with BMN_WRITE_RESOURCES=1"),
            None if !key.ends_with("sm_80") => unlisted += 1,
            None => panic!("{key} is not in resources.tsv: run this test with BMN_WRITE_RESOURCES=1"),
        }
    }
    if unlisted > 0 {
        println!("SKIPPED resources of {unlisted} kernels and architectures: not in resources.tsv");
    }
    let built: BTreeSet<&str> = found.keys().filter_map(|key| key.split('\t').nth(1)).collect();
    for key in committed.keys().filter(|key| key.split('\t').nth(1).is_some_and(|arch| built.contains(arch))) {
        assert!(found.contains_key(key), "{key} is in resources.tsv, and there is no such kernel");
    }
}

/// HMMA and all instructions of a round of the inner loop on sm_80, and the share that FlashAttention-2's and CUTLASS's
/// best kernels have (docs/kernels.md).
const ROUNDS: [(&str, &str, usize, usize, f64); 8] = [
    ("gemm", "gemm_store", 64, 124, 0.452),
    ("gemm", "gemm_add", 64, 124, 0.452),
    ("gemm", "gemm_swiglu", 64, 124, 0.452),
    ("gemm", "gemm_qkv", 64, 124, 0.452),
    ("attention_prompt", "attention_prompt_64", 64, 287, 0.221),
    ("attention_prompt", "attention_prompt_96", 96, 346, 0.259),
    ("attention_prompt", "attention_prompt_128", 128, 405, 0.283),
    ("attention_prompt", "attention_prompt_256", 128, 379, 0.336),
];

#[test]
fn inner_loops_issue_what_is_known() {
    let cubins = images().iter().flat_map(|image| image.cubins.iter().map(move |cubin| (image.file, cubin)));
    let cubins: Vec<_> =
        cubins.filter(|(name, cubin)| cubin.arch == 80 && ROUNDS.iter().any(|r| r.0 == *name)).collect();
    let (Some(tool), false) = (sass::nvdisasm(), cubins.is_empty()) else {
        println!("SKIPPED inner_loops_issue_what_is_known: no nvdisasm, or no machine code for sm_80");
        return;
    };
    let file = std::env::temp_dir().join(format!("inner-loops-{}.cubin", std::process::id()));
    let mut checked = 0;
    for (name, cubin) in cubins {
        std::fs::write(&file, cubin.bytes).unwrap();
        let loops = sass::inner_loops(&sass::disassembly(&tool, &file).unwrap());
        for (_, kernel, tensor, all, theirs) in ROUNDS.iter().filter(|round| round.0 == name) {
            let (round, _) = &loops[*kernel];
            assert_eq!((round.tensor, round.all), (*tensor, *all), "{kernel}: HMMA of all instructions");
            assert!(round.share() > *theirs, "{kernel}: {:.3} is no more than {theirs}", round.share());
            checked += 1;
        }
    }
    std::fs::remove_file(file).unwrap();
    assert_eq!(checked, ROUNDS.len());
}
