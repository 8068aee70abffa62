//! `bmn view`: results as a self-contained HTML page or in the terminal.

mod html;
mod marks;
mod page;
mod terminal;

use crate::args::{Format, View};
use crate::input::Input;
use crate::stop::{Result, Stop};
use page::{Page, Texts};
use std::io::{IsTerminal, Write, stdout};

/// Runs `bmn view`.
pub fn view(args: &View) -> Result<()> {
    let mut texts = Texts::new();
    let mut input = Input::new(&args.input, Format::Auto)?;
    while let Some(document) = input.next_document()? {
        if let Ok(document) = document {
            texts.insert(document.id.to_string(), document.fields);
        }
    }
    let mut page = Page::default();
    let mut results = Input::new(&args.results, Format::Jsonl)?;
    while let Some(line) = results.next_document()? {
        match line {
            Ok(document) => page.add(&document.fields, &texts),
            Err(broken) => {
                let line = broken.line.map_or(String::new(), |l| format!("line {l}: "));
                return Err(Stop::failed(format!("results: {line}{}", broken.why)));
            }
        }
    }
    let shown = if args.terminal {
        let colour = args.out.is_none() && stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        terminal::terminal(&page, args.note.as_deref(), colour)
    } else {
        let frame = html::Frame { title: &args.title, note: args.note.as_deref(), banner: args.banner.as_deref() };
        html::html(&page, &frame)
    };
    match &args.out {
        Some(path) => std::fs::write(path, shown).map_err(|e| Stop::failed(format!("{}: {e}", path.display()))),
        None => {
            let mut out = stdout().lock();
            out.write_all(shown.as_bytes()).and_then(|()| out.flush()).map_err(|e| Stop::write("stdout", &e))
        }
    }
}
