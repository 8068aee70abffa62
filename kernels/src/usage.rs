//! What a kernel takes of a multiprocessor, from `ptxas -v`.

use crate::Cubin;

/// Resources of one kernel on one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// `extern "C"` name.
    pub kernel: &'static str,
    /// Registers per thread.
    pub registers: u32,
    /// Static shared memory, bytes; the table says the dynamic.
    pub shared: u32,
    /// Stack per thread, bytes.
    pub stack: u32,
    /// Spilled loads and stores, bytes.
    pub spilled: u32,
}

impl Cubin {
    /// The resources of every kernel of the image.
    pub fn usage(&self) -> Vec<Usage> {
        let mut all = Vec::new();
        let mut now = Usage::default();
        for line in self.resources.lines() {
            if let Some(name) = line.split("Compiling entry function '").nth(1) {
                now = Usage { kernel: name.split('\'').next().unwrap_or(name), ..Usage::default() };
            } else if line.contains("bytes stack frame") {
                now.stack = before(line, "bytes stack frame");
                now.spilled = before(line, "bytes spill stores") + before(line, "bytes spill loads");
            } else if line.contains("Used ") {
                now.registers = before(line, "registers");
                now.shared = before(line, "bytes smem");
                all.push(now);
            }
        }
        all
    }
}

/// The number before `unit`, 0 where the line does not name it.
fn before(line: &str, unit: &str) -> u32 {
    let number =
        line.split_once(unit).and_then(|(head, _)| head.trim_end().rsplit([' ', ',', ':']).next()?.parse().ok());
    number.unwrap_or(0)
}
