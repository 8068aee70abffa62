//! Real corpora, where BMN_CORPORA names them: nearly everything in them is read, and comes back after writing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use biomistral_nlu_formats::{Document, Losses, Unit, bioc, brat, pubtator};
use std::path::{Path, PathBuf};

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
}

fn brat_folder(folder: &Path, losses: &mut Losses) -> Vec<Document> {
    let mut texts = Vec::new();
    files(folder, ".txt", &mut texts);
    let mut documents = Vec::new();
    for path in texts {
        let beside: Vec<String> =
            ["ann", "a1", "a2"].iter().filter_map(|e| std::fs::read_to_string(path.with_extension(e)).ok()).collect();
        if !beside.is_empty() {
            let text = std::fs::read_to_string(&path).unwrap();
            let beside: Vec<&str> = beside.iter().map(String::as_str).collect();
            let id = path.file_stem().unwrap().to_string_lossy();
            documents.push(brat::read(&id, &text, &beside, Unit::CodePoint, losses).unwrap());
        }
    }
    documents
}

#[test]
fn corpora_are_read_whole() {
    let Some(corpora) = std::env::var_os("BMN_CORPORA").map(PathBuf::from) else {
        println!("SKIPPED corpora_are_read_whole: set BMN_CORPORA, `make test` does where they are");
        return;
    };
    // Documents and mentions as the corpora's own pages count them (shared corpora README).
    for (name, documents, mentions) in [("train/anatem", 1212, 13_701), ("train/maccrobat", 200, 25_189)] {
        let mut losses = Losses::default();
        let read = brat_folder(&corpora.join(name), &mut losses);
        let lost: u64 =
            losses.iter().filter(|(what, ..)| what.starts_with("mentions")).map(|(_, count, _)| count).sum();
        println!("{name}: {} documents, {:?}", read.len(), losses);
        assert_eq!(
            (read.len(), read.iter().map(|d| d.mentions.len()).sum::<usize>() + lost as usize),
            (documents, mentions)
        );
        for document in &read {
            let mut losses = Losses::default();
            let written = brat::write(document, Unit::Utf16, &mut losses);
            assert!(losses.iter().all(|(what, ..)| what.contains("ids") || what.contains("names")), "{losses:?}");
            let again = brat::read(&document.id, &document.text, &[&written], Unit::Byte, &mut losses).unwrap();
            assert_eq!(again.mentions.len(), document.mentions.len());
            assert_eq!((again.events.len(), again.relations.len()), (document.events.len(), document.relations.len()));
        }
    }
    let mut losses = Losses::default();
    let mut mentions = 0;
    for part in ["Train", "Dev", "Test"] {
        let file = std::fs::read_to_string(corpora.join(format!("train/biored/{part}.PubTator"))).unwrap();
        let read = pubtator::read(&file, &mut losses).unwrap();
        mentions += read.iter().map(|d| d.mentions.len()).sum::<usize>();
        let mut none = Losses::default();
        assert_eq!(pubtator::read(&pubtator::write(&read, &mut none), &mut none).unwrap(), read);
        assert!(none.is_empty(), "{none:?}");
    }
    println!("biored: {losses:?}");
    assert_eq!(mentions, 20_419);
    for name in ["train/tmvar/test.BioC.xml", "train/drugprot_dev/dev.bioc.xml", "train/euadr/euadr.bioc.xml"] {
        let mut losses = Losses::default();
        let file = std::fs::read_to_string(corpora.join(name)).unwrap();
        let read = bioc::read_xml(&file, Unit::CodePoint, &mut losses).unwrap();
        println!(
            "{name}: {} documents, {} mentions, {losses:?}",
            read.len(),
            read.iter().map(|d| d.mentions.len()).sum::<usize>()
        );
        let mut none = Losses::default();
        let written = bioc::write_xml(&read, Unit::Byte, &mut none).unwrap();
        assert_eq!(bioc::read_xml(&written, Unit::Utf16, &mut none).unwrap(), read);
    }
}
