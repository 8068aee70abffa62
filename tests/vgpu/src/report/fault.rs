//! A fault with everything a person needs to find it: kernel, block, thread, lanes, PTX, `.cu` lines, second access.

use std::fmt;

use serde::Serialize;

use super::source;
use super::{FaultKind, Violation};

/// What a kernel knows about its instructions; the interpreter implements it.
pub trait Listing {
    /// Line of the instruction in the PTX text, from 1.
    fn ptx_line(&self, pc: u32) -> u32;
    /// The instruction as the PTX text has it.
    fn ptx_text(&self, pc: u32) -> String;
    /// Source lines from the innermost inlined function outwards; empty without line information.
    fn frames(&self, pc: u32) -> Vec<Frame>;
}

/// One line of source that an instruction belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// The path that the line information names.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// The inlined function that this line stands in, where known.
    pub function: Option<String>,
    /// The line's text; looked up in the file when `None`.
    pub source: Option<String>,
}

/// Which warp of which launch executes what.
pub struct Place<'a> {
    /// The kernel's name.
    pub kernel: &'a str,
    /// Block index.
    pub block: [u32; 3],
    /// Threads of a block in each direction.
    pub block_dim: [u32; 3],
    /// Blocks of the grid in each direction.
    pub grid_dim: [u32; 3],
    /// Warp within the block.
    pub warp: u32,
    /// The instruction.
    pub pc: u32,
}

/// An instruction in its sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Site {
    /// Line in the PTX text.
    pub ptx_line: u32,
    /// The instruction's text.
    pub ptx: String,
    /// Source lines, innermost first.
    pub frames: Vec<Frame>,
}

/// The other side of a race.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Second {
    /// What it did.
    pub what: String,
    /// Its block; `None` where it is the fault's own.
    pub block: Option<[u32; 3]>,
    /// Its thread, or the first of its warp; `None` where unknown.
    pub thread: Option<[u32; 3]>,
    /// Its instruction.
    pub site: Site,
}

/// A launch stopped by a broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The rule.
    pub kind: FaultKind,
    /// The kernel's name.
    pub kernel: String,
    /// Block index.
    pub block: [u32; 3],
    /// The first offending thread.
    pub thread: [u32; 3],
    /// Its warp within the block.
    pub warp: u32,
    /// All offending lanes of the warp.
    pub lanes: u32,
    /// The circumstances: address and allocation, barrier counts.
    pub note: String,
    /// The instruction.
    pub site: Site,
    /// The second access of a race.
    pub second: Option<Second>,
    /// What else was going on.
    pub notes: Vec<String>,
}

impl Fault {
    /// Gives a violation its place in the sources.
    pub fn new(violation: Violation, place: &Place<'_>, listing: &dyn Listing) -> Fault {
        let lane = if violation.lanes == 0 { 0 } else { violation.lanes.trailing_zeros() };
        let second = violation.other.as_ref().map(|other| Second {
            what: other.what.to_owned(),
            block: other.block.map(|block| position(block, place.grid_dim)),
            thread: other.warp.map(|warp| position(warp * 32 + other.lane.unwrap_or(0), place.block_dim)),
            site: Site::new(other.pc, listing),
        });
        Fault {
            kind: violation.kind,
            kernel: place.kernel.to_owned(),
            block: place.block,
            thread: position(place.warp * 32 + lane, place.block_dim),
            warp: place.warp,
            lanes: violation.lanes,
            note: violation.note,
            site: Site::new(place.pc, listing),
            second,
            notes: Vec::new(),
        }
    }

    /// Adds a line about what else was going on, such as where the other lanes wait.
    pub fn note(&mut self, line: String) {
        self.notes.push(line);
    }

    /// The `CUresult` that the launch answers.
    pub fn code(&self) -> u32 {
        self.kind.code()
    }

    /// The fault as one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Site {
    pub(crate) fn new(pc: u32, listing: &dyn Listing) -> Site {
        let mut frames = listing.frames(pc);
        for frame in &mut frames {
            if frame.source.is_none() {
                frame.source = source::line(&frame.file, frame.line);
            }
        }
        Site { ptx_line: listing.ptx_line(pc), ptx: listing.ptx_text(pc), frames }
    }
}

/// The `index`-th position of a box of `extent`, x fastest.
fn position(index: u32, extent: [u32; 3]) -> [u32; 3] {
    let (x, y) = (extent[0].max(1), extent[1].max(1));
    [index % x, index / x % y, index / x / y]
}

impl fmt::Display for Site {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PTX line {}: {}", self.ptx_line, self.ptx)?;
        for (depth, frame) in self.frames.iter().enumerate() {
            let word = if depth == 0 { "at" } else { "inlined at" };
            write!(out, "\n    {word} {}:{}", frame.file, frame.line)?;
            if let Some(function) = &frame.function {
                write!(out, " in {function}")?;
            }
            if let Some(text) = &frame.source {
                write!(out, "  {}", text.trim())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        write!(out, "{} in kernel {} block ({bx},{by},{bz}) ", self.kind.title(), self.kernel)?;
        write!(out, "thread ({tx},{ty},{tz}) warp {} lanes 0x{:08x}", self.warp, self.lanes)?;
        if !self.note.is_empty() {
            write!(out, ": {}", self.note)?;
        }
        write!(out, "\n  {}", self.site)?;
        if let Some(second) = &self.second {
            write!(out, "\n  other access: {}", second.what)?;
            if let Some([x, y, z]) = second.block {
                write!(out, " by block ({x},{y},{z})")?;
            }
            if let Some([x, y, z]) = second.thread {
                write!(out, " thread ({x},{y},{z})")?;
            }
            write!(out, ", {}", second.site)?;
        }
        for note in &self.notes {
            write!(out, "\n  {note}")?;
        }
        Ok(())
    }
}
