//! What a person reads and what a tool reads, of a kernel with four instructions.

use super::*;
use crate::memory::{Access, CopyTraffic};

/// Instruction 2 is inlined into line 40, instruction 3 has no line.
struct Kernel;

impl Listing for Kernel {
    fn ptx_line(&self, pc: u32) -> u32 {
        100 + pc
    }

    fn ptx_text(&self, pc: u32) -> String {
        ["ld.global.f32 %f1, [%rd1];", "st.shared.f32 [%r1], %f1;", "ld.shared.f32 %f2, [%r2];", "ret;"][pc as usize]
            .into()
    }

    fn frames(&self, pc: u32) -> Vec<Frame> {
        let frame = |line, function: Option<&str>| Frame {
            file: "kernels/cu/tile.cu".into(),
            line,
            function: function.map(str::to_owned),
            source: Some(format!("  line {line} of the source")),
        };
        match pc {
            0 | 1 => vec![frame(10 + pc, None)],
            2 => vec![frame(5, Some("fetch")), frame(40, None)],
            _ => Vec::new(),
        }
    }
}

fn race() -> Fault {
    let note = "read after write without a barrier between them: shared offset 8 is byte 8 of `tile` (128 bytes)";
    let other = Other { pc: 1, block: Some(7), warp: Some(1), lane: Some(2), what: "write" };
    let violation = Violation::new(FaultKind::SharedRace, 0b1100, note).with(other);
    let place = Place { kernel: "gemm", block: [1, 2, 0], block_dim: [16, 4, 1], grid_dim: [4, 4, 1], warp: 1, pc: 2 };
    Fault::new(*violation, &place, &Kernel)
}

#[test]
fn a_fault_reads_like_this() {
    let mut fault = race();
    fault.note("warp 0 waits at the barrier at PTX line 198".into());
    let want = "\
shared memory race in kernel gemm block (1,2,0) thread (2,2,0) warp 1 lanes 0x0000000c: \
read after write without a barrier between them: shared offset 8 is byte 8 of `tile` (128 bytes)
  PTX line 102: ld.shared.f32 %f2, [%r2];
    at kernels/cu/tile.cu:5 in fetch  line 5 of the source
    inlined at kernels/cu/tile.cu:40  line 40 of the source
  other access: write by block (3,1,0) thread (2,2,0), PTX line 101: st.shared.f32 [%r1], %f1;
    at kernels/cu/tile.cu:11  line 11 of the source
  warp 0 waits at the barrier at PTX line 198";
    assert_eq!(fault.to_string(), want);
    assert_eq!(fault.code(), 719);
}

#[test]
fn a_fault_is_json_for_tools() {
    let json: serde_json::Value = serde_json::from_str(&race().json()).unwrap();
    assert_eq!(json["kind"], "shared_race");
    assert_eq!(json["block"], serde_json::json!([1, 2, 0]));
    assert_eq!(json["thread"], serde_json::json!([2, 2, 0]));
    assert_eq!(json["site"]["frames"][1]["line"], 40);
    assert_eq!(json["second"]["what"], "write");
    assert_eq!(json["second"]["site"]["ptx_line"], 101);
}

#[test]
fn codes_are_the_drivers() {
    let code = |kind: FaultKind| kind.code();
    assert_eq!((code(FaultKind::OutOfBounds), code(FaultKind::UseAfterFree)), (700, 700));
    assert_eq!((code(FaultKind::Misaligned), code(FaultKind::InvalidInstruction)), (716, 715));
    assert_eq!((code(FaultKind::Hang), code(FaultKind::Assert), code(FaultKind::Unsupported)), (702, 710, 801));
    assert_eq!((code(FaultKind::GlobalRace), code(FaultKind::PendingCopy), code(FaultKind::Trap)), (719, 719, 719));
}

fn profile() -> Profile {
    let access =
        |units, minimum| Access { pointer: [std::ptr::null_mut(); 32], undefined: 0, clash: 0, units, minimum };
    let mut counters = [Counters::default(); 5];
    for lanes in [!0, 0xffff] {
        counters[0].issue(lanes);
        counters[0].global(&access(8, 4));
    }
    counters[1].issue(!0);
    counters[1].shared(&access(3, 1));
    counters[2].issue(!0);
    counters[2].copy(&CopyTraffic { sectors: 16, sectors_minimum: 16, wavefronts: 5, wavefronts_minimum: 4 });
    counters[2].flops = 4096;
    counters[3].issue(1);
    Profile::new("gemm", &counters, &Kernel, Footprint { sectors_read: 20, sectors_written: 3 })
}

#[test]
fn counters_add_up_by_line_and_in_all() {
    let mut profile = profile();
    let total = Counters {
        warps: 5,
        lanes: 32 + 16 + 32 + 32 + 1,
        sectors: 32,
        sectors_minimum: 24,
        wavefronts: 8,
        wavefronts_minimum: 5,
        flops: 4096,
    };
    assert_eq!(profile.total, total);
    let lines: Vec<(u32, u64)> = profile.lines.iter().map(|line| (line.line, line.counters.warps)).collect();
    assert_eq!(lines, [(0, 1), (5, 1), (10, 2), (11, 1)], "the line of the innermost function counts");
    assert_eq!(profile.lines[2].counters.efficiency(), 0.75);
    let once = profile.clone();
    profile += &once;
    assert_eq!((profile.launches, profile.total.sectors, profile.footprint.sectors_written), (2, 64, 6));
    assert_eq!(profile.lines.len(), 4);
    assert_eq!(profile.lines[3].counters.wavefronts, 6);
    let json: serde_json::Value = serde_json::from_str(&profile.json()).unwrap();
    assert_eq!(json["lines"][2]["sectors_minimum"], 16);
    assert_eq!(json["total"]["flops"], 8192);
}

#[test]
fn a_profile_is_a_table() {
    let table = profile().to_string();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "gemm: 1 launches, 5 warp instructions");
    assert!(lines[1].ends_with("0.706"), "{}", lines[1]);
    assert!(lines[2].ends_with("32  minimum 24"));
    assert!(lines[3].ends_with("20  read, 3 written"));
    assert!(lines[4].ends_with("8  minimum 5"));
    assert!(lines[5].ends_with("4096"));
    let row: Vec<&str> = lines[9].split_whitespace().collect();
    assert_eq!(row, ["2", "0.750", "16", "8", "0", "0", "0", "kernels/cu/tile.cu:10"]);
    assert!(lines[7].ends_with("(no line information)"));
}
