//! Counters of a launch, per instruction, and the profile per source line that they make.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use serde::Serialize;

use super::Listing;
use crate::memory::{Access, CopyTraffic};

/// Counts of one instruction, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Times a warp executed it.
    pub warps: u64,
    /// Lanes that executed it, over all those times.
    pub lanes: u64,
    /// 32-byte sectors of global memory moved.
    pub sectors: u64,
    /// The least number of sectors that the same bytes fill.
    pub sectors_minimum: u64,
    /// Passes over the banks of shared memory.
    pub wavefronts: u64,
    /// The least number of passes for the same bytes.
    pub wavefronts_minimum: u64,
    /// Floating or integer operations of the tensor cores, two per multiply-add.
    pub flops: u64,
}

impl Counters {
    /// One more execution by `lanes`.
    #[inline]
    pub fn issue(&mut self, lanes: u32) {
        self.warps += 1;
        self.lanes += u64::from(lanes.count_ones());
    }

    /// The traffic of an access to global memory.
    #[inline]
    pub fn global(&mut self, access: &Access) {
        self.sectors += u64::from(access.units);
        self.sectors_minimum += u64::from(access.minimum);
    }

    /// The traffic of an access to shared memory.
    #[inline]
    pub fn shared(&mut self, access: &Access) {
        self.wavefronts += u64::from(access.units);
        self.wavefronts_minimum += u64::from(access.minimum);
    }

    /// The traffic of an asynchronous copy.
    #[inline]
    pub fn copy(&mut self, traffic: &CopyTraffic) {
        self.sectors += u64::from(traffic.sectors);
        self.sectors_minimum += u64::from(traffic.sectors_minimum);
        self.wavefronts += u64::from(traffic.wavefronts);
        self.wavefronts_minimum += u64::from(traffic.wavefronts_minimum);
    }

    /// Executing lanes of 32, on average: 1 without divergence.
    pub fn efficiency(&self) -> f64 {
        ratio(self.lanes, self.warps * 32)
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.warps += other.warps;
        self.lanes += other.lanes;
        self.sectors += other.sectors;
        self.sectors_minimum += other.sectors_minimum;
        self.wavefronts += other.wavefronts;
        self.wavefronts_minimum += other.wavefronts_minimum;
        self.flops += other.flops;
    }
}

/// Distinct 32-byte sectors of global memory that a launch touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Sectors read at least once.
    pub sectors_read: u64,
    /// Sectors written at least once.
    pub sectors_written: u64,
}

/// The counters of one source line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The file, empty for instructions without line information.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// Its text, where the file is found.
    pub source: Option<String>,
    /// Its counts.
    #[serde(flatten)]
    pub counters: Counters,
}

/// The counters of one kernel: in all, and per line of its `.cu` file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// The kernel's name.
    pub kernel: String,
    /// Launches counted.
    pub launches: u64,
    /// All instructions together.
    pub total: Counters,
    /// Processor time that executing them took.
    pub nanoseconds: u64,
    /// Distinct sectors, summed over launches.
    pub footprint: Footprint,
    /// Innermost source lines, by file and line.
    pub lines: Vec<Line>,
}

impl Profile {
    /// One launch: `counters` has an entry per instruction.
    pub fn new(kernel: &str, counters: &[Counters], listing: &dyn Listing, footprint: Footprint) -> Profile {
        let mut total = Counters::default();
        let mut lines: BTreeMap<(String, u32), Counters> = BTreeMap::new();
        for (pc, counts) in counters.iter().enumerate().filter(|(_, counts)| counts.warps != 0) {
            total += *counts;
            let frame = listing.frames(pc as u32).into_iter().next();
            let key = frame.map_or_else(Default::default, |frame| (frame.file, frame.line));
            *lines.entry(key).or_default() += *counts;
        }
        let lines = lines.into_iter().map(|((file, line), counters)| {
            let source = super::source::line(&file, line).map(|text| text.trim().to_owned());
            Line { file, line, source, counters }
        });
        Profile { kernel: kernel.to_owned(), launches: 1, total, nanoseconds: 0, footprint, lines: lines.collect() }
    }

    /// The profile as one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl AddAssign<&Profile> for Profile {
    /// Adds other launches of the same kernel.
    fn add_assign(&mut self, other: &Profile) {
        self.launches += other.launches;
        self.total += other.total;
        self.nanoseconds += other.nanoseconds;
        self.footprint.sectors_read += other.footprint.sectors_read;
        self.footprint.sectors_written += other.footprint.sectors_written;
        for line in &other.lines {
            let key = (&line.file, line.line);
            match self.lines.binary_search_by(|own| (&own.file, own.line).cmp(&key)) {
                Ok(at) => self.lines[at].counters += line.counters,
                Err(at) => self.lines.insert(at, line.clone()),
            }
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

impl fmt::Display for Profile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        writeln!(out, "{}: {} launches, {} warp instructions", self.kernel, self.launches, total.warps)?;
        writeln!(out, "  SIMT efficiency     {:>12.3}", total.efficiency())?;
        writeln!(out, "  global sectors      {:>12}  minimum {}", total.sectors, total.sectors_minimum)?;
        let Footprint { sectors_read, sectors_written } = self.footprint;
        writeln!(out, "  distinct sectors    {:>12}  read, {sectors_written} written", sectors_read)?;
        writeln!(out, "  shared wavefronts   {:>12}  minimum {}", total.wavefronts, total.wavefronts_minimum)?;
        writeln!(out, "  tensor-core flops   {:>12}", total.flops)?;
        let head = ["instr", "lanes", "sectors", "min", "waves", "min", "flops"];
        let [a, b, c, d, e, f, g] = head;
        writeln!(out, "{a:>10} {b:>6} {c:>10} {d:>10} {e:>10} {f:>10} {g:>12}  line")?;
        for line in &self.lines {
            let c = &line.counters;
            write!(out, "{:>10} {:>6.3} {:>10} {:>10} ", c.warps, c.efficiency(), c.sectors, c.sectors_minimum)?;
            write!(out, "{:>10} {:>10} {:>12}  ", c.wavefronts, c.wavefronts_minimum, c.flops)?;
            match (line.file.as_str(), &line.source) {
                ("", _) => writeln!(out, "(no line information)")?,
                (file, Some(text)) => writeln!(out, "{file}:{}  {text}", line.line)?,
                (file, None) => writeln!(out, "{file}:{}", line.line)?,
            }
        }
        Ok(())
    }
}
