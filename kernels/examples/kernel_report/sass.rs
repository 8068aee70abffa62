//! The tensor-core share of a kernel's inner loop, counted on the SASS that `nvdisasm -c` prints.
//!
//! A function is cut into basic blocks. Every branch back is a loop: from its target (the head) the ways through the loop's
//! blocks that come back to the head, inner loops passed once. Of these the one with the most HMMA instructions counts, of
//! several the one with the most asynchronous copies, then the shortest: what a warp issues per round while nothing is masked
//! and no edge is near. Instructions whose predicate may be false count as issued, `NOP` too. Of a function's loops the one
//! with the highest share is reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What one round of a loop issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Round {
    /// Tensor-core instructions.
    pub tensor: usize,
    /// Asynchronous copies, global to shared.
    pub copies: usize,
    /// All instructions.
    pub all: usize,
}

impl Round {
    /// Tensor-core instructions among all.
    pub fn share(self) -> f64 {
        self.tensor as f64 / self.all.max(1) as f64
    }
    /// Whether a way with `self` is to be preferred.
    fn beats(self, other: Self) -> bool {
        (self.tensor, self.copies, other.all) > (other.tensor, other.copies, self.all)
    }
    fn and(self, other: Self) -> Self {
        Self { tensor: self.tensor + other.tensor, copies: self.copies + other.copies, all: self.all + other.all }
    }
}

/// The loop of the highest share of every function that has one with tensor-core instructions, and its opcodes.
pub fn inner_loops(sass: &str) -> BTreeMap<String, (Round, BTreeMap<String, usize>)> {
    let mut found = BTreeMap::new();
    let mut name = "";
    let mut lines: Vec<&str> = Vec::new();
    for line in sass.lines().chain([".text.:"]) {
        let Some(next) = line.strip_prefix(".text.") else {
            lines.push(line);
            continue;
        };
        let graph = Graph::of(&lines);
        let best = (0..graph.blocks.len())
            .filter_map(|block| graph.round(block))
            .filter(|(round, _)| round.tensor > 0)
            .max_by(|a, b| a.0.share().total_cmp(&b.0.share()));
        if let Some((round, way)) = best {
            let mut opcodes = BTreeMap::new();
            for opcode in way.iter().flat_map(|&block| &graph.blocks[block].opcodes) {
                *opcodes.entry(opcode.split('.').next().unwrap_or(opcode).to_owned()).or_default() += 1;
            }
            found.insert(name.to_owned(), (round, opcodes));
        }
        (name, lines) = (next.trim_end_matches(':'), Vec::new());
    }
    found
}

/// What `nvdisasm -c` prints of a cubin.
pub fn disassembly(tool: &Path, cubin: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&Command::new(tool).arg("-c").arg(cubin).output()?.stdout).into_owned())
}

/// `nvdisasm` of `$CUDA_HOME`, of `build/cuda` or on `PATH`.
pub fn nvdisasm() -> Option<PathBuf> {
    let homes = std::env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let fetched = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/cuda/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = homes.into_iter().chain([fetched]).chain(std::env::split_paths(&path));
    folders.find_map(|folder| Some(folder.join("nvdisasm")).filter(|tool| tool.is_file()))
}

/// Instructions that are issued one after the other.
#[derive(Default)]
struct Block<'a> {
    opcodes: Vec<&'a str>,
    next: Vec<usize>,
}

struct Graph<'a> {
    blocks: Vec<Block<'a>>,
}

impl<'a> Graph<'a> {
    fn of(lines: &[&'a str]) -> Self {
        let mut blocks = vec![Block::default()];
        let mut labels: HashMap<&str, usize> = HashMap::new();
        let mut branches: Vec<(usize, &str)> = Vec::new();
        let mut falls: Vec<bool> = vec![true];
        for line in lines {
            if line.starts_with(".L_") {
                if !blocks.last().is_some_and(|b| b.opcodes.is_empty()) {
                    blocks.push(Block::default());
                    falls.push(true);
                }
                labels.insert(line.trim_end_matches(':'), blocks.len() - 1);
                continue;
            }
            let Some((_, text)) = line.split_once("*/").filter(|(head, _)| head.trim().starts_with("/*")) else {
                continue;
            };
            let mut words = text.split_whitespace().peekable();
            let guarded = words.next_if(|word| word.starts_with('@')).is_some();
            let Some(opcode) = words.next() else { continue };
            let (block, opcode) = (blocks.len() - 1, opcode.trim_end_matches(';'));
            blocks[block].opcodes.push(opcode);
            // A call without a return address leaves a loop like a branch.
            let leaves = ["BRA", "EXIT", "RET", "JMP", "BRX"].contains(&opcode.split('.').next().unwrap_or_default())
                || opcode.starts_with("CALL.REL.NOINC") && text.contains("`(.L_");
            if leaves {
                // `BRA.DIV ~URZ` and `BRA P1` have a condition without a guard.
                let target = text.split_once("`(").and_then(|(_, tail)| tail.split(')').next());
                branches.extend(target.map(|target| (block, target)));
                falls[block] = guarded || text.contains("BRA.DIV") || words.next().is_some_and(|w| w.ends_with(','));
                blocks.push(Block::default());
                falls.push(true);
            }
        }
        let count = blocks.len();
        for (block, falls) in falls.iter().enumerate().take(count - 1) {
            if *falls {
                blocks[block].next.push(block + 1);
            }
        }
        for (block, target) in branches {
            blocks[block].next.extend(labels.get(target));
        }
        Self { blocks }
    }

    /// The best way from `head` back to it, if there is one.
    fn round(&self, head: usize) -> Option<(Round, Vec<usize>)> {
        let back = |block: &Block<'_>| block.next.contains(&head);
        let latches: Vec<usize> = (head..self.blocks.len()).filter(|&b| back(&self.blocks[b])).collect();
        if latches.is_empty() {
            return None;
        }
        // Blocks from which the head can be reached again, and which the head reaches.
        let mut loops: BTreeSet<usize> = latches.iter().copied().collect();
        let mut open = latches.clone();
        let mut before: HashMap<usize, Vec<usize>> = HashMap::new();
        for (from, block) in self.blocks.iter().enumerate() {
            block.next.iter().for_each(|&to| before.entry(to).or_default().push(from));
        }
        while let Some(block) = open.pop() {
            if block != head {
                open.extend(before.get(&block).into_iter().flatten().filter(|&&b| loops.insert(b)));
            }
        }
        let mut best: HashMap<usize, Option<(Round, Option<usize>)>> = HashMap::new();
        self.way(head, head, &loops, &mut BTreeSet::new(), &mut best);
        let mut way = vec![head];
        while let Some(Some((_, Some(next)))) = best.get(&way[way.len() - 1]) {
            way.push(*next);
        }
        best[&head].map(|(round, _)| (round, way))
    }

    /// The best way from `block` to `head` that stays in the loop, without the branches back to blocks under way.
    fn way(
        &self,
        block: usize,
        head: usize,
        loops: &BTreeSet<usize>,
        under_way: &mut BTreeSet<usize>,
        best: &mut HashMap<usize, Option<(Round, Option<usize>)>>,
    ) -> Option<Round> {
        if let Some(known) = best.get(&block) {
            return known.map(|(round, _)| round);
        }
        under_way.insert(block);
        let this = &self.blocks[block];
        let count = |name: &str| this.opcodes.iter().filter(|o| o.starts_with(name)).count();
        let own = Round { tensor: count("HMMA"), copies: count("LDGSTS"), all: this.opcodes.len() };
        let mut chosen: Option<(Round, Option<usize>)> = None;
        for &next in &this.next {
            let rest = if next == head {
                Some(Round::default())
            } else if loops.contains(&next) && !under_way.contains(&next) {
                self.way(next, head, loops, under_way, best)
            } else {
                None
            };
            let Some(round) = rest.map(|rest| own.and(rest)) else { continue };
            if chosen.is_none_or(|(old, _)| round.beats(old)) {
                chosen = Some((round, Some(next).filter(|&n| n != head)));
            }
        }
        under_way.remove(&block);
        best.insert(block, chosen);
        chosen.map(|(round, _)| round)
    }
}

#[cfg(test)]
mod tests {
    use super::{Round, inner_loops};

    #[test]
    fn the_longest_product_on_the_shortest_way_counts() {
        let code = [
            ".text.f:",
            "        /*0000*/ MOV R1, R2 ;",
            ".L_x_1:",
            "        /*0010*/ HMMA.16816.F32.BF16 R4, R8, R12, R4 ;",
            "        /*0020*/ @!P0 BRA `(.L_x_2) ;",
            "        /*0030*/ FSEL R1, R2, R3, P1 ;",
            ".L_x_3:",
            "        /*0040*/ IADD3 R1, R1, 0x1, RZ ;",
            "        /*0050*/ @P2 BRA `(.L_x_3) ;",
            ".L_x_2:",
            "        /*0060*/ LDSM.16.M88.4 R8, [R3] ;",
            "        /*0070*/ @P1 BRA `(.L_x_1) ;",
            "        /*0080*/ EXIT ;",
            ".text.g:",
            "        /*0000*/ HMMA.16816.F32.BF16 R4, R8, R12, R4 ;",
            "        /*0010*/ EXIT ;",
        ];
        let found = inner_loops(&code.join("\n"));
        assert_eq!(found.len(), 1);
        assert_eq!(found["f"].0, Round { tensor: 1, copies: 0, all: 4 });
        assert_eq!((found["f"].1["HMMA"], found["f"].1.get("FSEL")), (1, None));
    }
}
