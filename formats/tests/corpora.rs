//! Counts of the corpora at hand against those published with them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use biomistral_nlu_formats::corpora::{self, Corpus};
use biomistral_nlu_formats::{Document, Trouble};
use std::path::PathBuf;

fn folder(part: &str, name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("BMN_CORPORA") else {
        println!("SKIPPED corpora: set BMN_CORPORA, `make test` does");
        return None;
    };
    let folder = PathBuf::from(folder).join(part).join(name);
    folder.is_dir().then_some(folder)
}

fn sum(corpus: &Corpus, of: impl Fn(&Document) -> usize) -> usize {
    corpus.splits.iter().flat_map(|split| &split.documents).map(of).sum()
}

/// Documents, mentions, events, relations, classed documents, pairs, questions.
fn counts(corpus: &Corpus) -> [usize; 7] {
    [
        sum(corpus, |_| 1),
        sum(corpus, |document| document.mentions.len()),
        sum(corpus, |document| document.events.len()),
        sum(corpus, |document| document.relations.len()),
        sum(corpus, |document| usize::from(!document.classes.is_empty())),
        corpus.splits.iter().map(|split| split.pairs.len()).sum(),
        corpus.splits.iter().map(|split| split.questions.len()).sum(),
    ]
}

/// Folder, name, counts, problems.
type Published = (&'static str, &'static str, [usize; 7], &'static [(Trouble, usize)]);

#[test]
fn counts_are_those_published() {
    // Published numbers; behind `//` why one that is published differently is right. Mentions of BioNLP-ST sets are entities and triggers;
    // relations of brat files are R and * lines together (maccrobat 16,307 + 2,023; sets of equals elsewhere).
    #[rustfmt::skip]
    let expected: &[Published] = &[
        ("train", "anatem", [1212, 13_701, 0, 0, 0, 0, 0], &[]),
        ("train", "linnaeus", [23_155, 4263, 0, 0, 0, 0, 0], &[]),
        ("train", "s800", [8193, 3708, 0, 0, 0, 0, 0], &[]),
        ("train", "craft", [22_030, 57_634, 0, 0, 0, 0, 0], &[]),
        ("train", "tmvar", [500, 1431, 0, 0, 0, 0, 0], &[]),
        ("train", "variome", [120, 6991, 0, 4650, 0, 0, 0], &[]),
        ("train", "biored", [600, 20_419, 0, 6503, 0, 0, 0], &[]),
        // The file of the first half ends inside its 114th document.
        ("train", "drugprot_dev", [463, 11_863, 0, 2327, 0, 0, 0], &[(Trouble::Truncated, 1)]),
        // Three annotations of the BioC file are not the text at their offsets. 355 masked sentences and 38 abstracts.
        ("train", "euadr", [393, 1436, 0, 521, 0, 0, 0], &[(Trouble::Differs, 3)]),
        // Published as 894 and 206 sentences; 2,534 pairs.
        ("train", "bioinfer", [1100, 4421, 0, 2534, 0, 0, 0], &[]),
        // One document per sentence: 6,821 and 279 relations, 16,695 sentences without.
        ("train", "ade_v2", [21_180, 11_330, 0, 7100, 20_967, 0, 0], &[]),
        ("train", "bionlp13cg", [400, 24_489, 11_718, 642, 0, 0, 0], &[]),
        ("train", "bionlp13pc", [350, 16_809, 8121, 583, 0, 0, 0], &[]),
        ("train", "bionlp13ge", [471, 13_042, 6016, 432, 0, 0, 0], &[]),
        ("train", "bionlp11epi", [800, 12_976, 2453, 608, 0, 0, 0], &[]),
        ("train", "bionlp11id", [198, 10_704, 2779, 201, 0, 0, 0], &[]),
        // Sentences 2,898 + 961 + 968, events 5,019.
        ("train", "phee", [4827, 31_920, 5019, 0, 0, 0, 0], &[]),
        ("train", "maccrobat", [200, 25_189, 14_368, 18_330, 0, 0, 0], &[]),
        ("train", "leaf_lct", [1006, 56_067, 27_966, 10_410, 0, 0, 0], &[]),
        // 1,126 abstracts, 99 of them without a label.
        ("train", "drsm", [1027, 0, 0, 0, 1027, 0, 0], &[(Trouble::Unlabelled, 99)]),
        // 67 and 20 visits.
        ("train", "aci_bench", [87, 0, 0, 0, 0, 0, 0], &[]),
        ("train", "mts_dialog", [1701, 0, 0, 0, 1701, 0, 0], &[]),
        ("train", "medical_abstracts", [2888, 0, 0, 0, 2888, 0, 0], &[]),
        ("train", "negex", [2376, 0, 0, 0, 2376, 0, 0], &[]),
        ("train", "nli4ct", [0, 0, 0, 0, 0, 2400, 0], &[]),
        // 8,588 and 302 pairs, one of them without its second question.
        ("train", "rqe", [0, 0, 0, 0, 0, 8889, 0], &[(Trouble::Unlabelled, 1)]),
        ("train", "healthver", [0, 0, 0, 0, 0, 3740, 0], &[]),
        ("train", "general_nli", [0, 0, 0, 0, 0, 21_783, 0], &[]),
        // 4,545 valid rows; the same evidence and answer by several annotators is one question.
        ("train", "evidence_inference", [0, 0, 0, 0, 0, 0, 3124], &[]),
        // 1,273 + 2,816 + 1,089, of which 14 have an option twice.
        ("train", "mcqa", [0, 0, 0, 0, 0, 0, 5164], &[(Trouble::Unlabelled, 14)]),
        ("train", "stsb", [0, 0, 0, 0, 0, 8628, 0], &[]),
        // The 3,630 pairs of part B, and the 111 of part A.
        ("train", "ehr_rel", [0, 0, 0, 0, 0, 3741, 0], &[]),
        ("train", "mqp", [0, 0, 0, 0, 0, 3048, 0], &[]),
        ("dev", "ncbi_disease", [100, 787, 0, 0, 0, 0, 0], &[]),
        // Train and development: 5,203 + 4,182 and 5,347 + 4,244 mentions, 1,038 and 1,012 relations.
        ("dev", "bc5cdr", [1000, 18_976, 0, 2050, 0, 0, 0], &[]),
        // 18,265 lines and 14,499 of alternatives; one and three are not the text at their offsets.
        ("dev", "bc2gm", [15_000, 18_264, 0, 0, 0, 0, 0], &[(Trouble::Differs, 4)]),
        ("dev", "jnlpba", [1739, 4551, 0, 0, 0, 0, 0], &[]),
        ("dev", "gad", [4796, 9592, 0, 4796, 0, 0, 0], &[]),
        ("dev", "hoc", [9972, 0, 0, 0, 2953, 0, 0], &[]),
        ("dev", "pubmedqa", [0, 0, 0, 0, 0, 0, 500], &[]),
    ];
    for (part, name, counts_published, problems) in expected {
        let Some(folder) = folder(part, name) else { continue };
        let corpus = corpora::read(name, &folder).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(counts(&corpus), *counts_published, "{name}");
        assert_eq!(corpus.problems.counts().into_iter().collect::<Vec<_>>(), *problems, "{name}");
        assert_eq!(sum(&corpus, |d| d.alternatives.len()), if *name == "bc2gm" { 14_496 } else { 0 }, "{name}");
        for document in corpus.splits.iter().flat_map(|split| &split.documents) {
            for place in document.mentions.iter().flat_map(|mention| &mention.places) {
                assert!(document.text.get(place.clone()).is_some_and(|span| !span.is_empty()), "{name}");
            }
        }
    }
}

#[test]
fn interactions_of_drugs_are_all_their_pairs() {
    let Some(folder) = folder("dev", "ddi2013") else { return };
    let corpus = corpora::read("ddi2013", &folder).unwrap();
    let labels = |none: bool| sum(&corpus, |d| d.relations.iter().filter(|r| (r.label == "none") == none).count());
    // 27,792 pairs, less the four of an entity whose text is not at its offsets; 4,020 interact in this distribution.
    assert_eq!(labels(true) + labels(false), 27_792 - 4);
    assert_eq!(corpus.splits.len(), 2);
    assert_eq!(
        corpus.problems.counts().into_iter().collect::<Vec<_>>(),
        [(Trouble::Differs, 1), (Trouble::Dangling, 4)]
    );
}
