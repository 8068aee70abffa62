//! Kernels of one instruction, and device memory for them.

use crate::exec::{Launch, Module, Options, launch};
use crate::memory::arena;
use crate::report::{Fault, Profile};

/// Device memory that is freed at the end of the test.
pub struct Buffer {
    pub address: u64,
    pub bytes: usize,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        arena().free(self.address);
    }
}

/// Initialised device memory.
pub fn upload(bytes: &[u8]) -> Buffer {
    let buffer = empty(bytes.len());
    // SAFETY: the arena just gave this many bytes at the address.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.address as *mut u8, bytes.len()) };
    arena().mark_initialised(buffer.address, bytes.len());
    buffer
}

/// Device memory without data.
pub fn empty(bytes: usize) -> Buffer {
    Buffer { address: arena().allocate(bytes.max(1)).expect("device memory"), bytes }
}

impl Buffer {
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the buffer is allocated, and no launch runs.
        unsafe { std::slice::from_raw_parts(self.address as *const u8, self.bytes) }.to_vec()
    }

    pub fn words(&self) -> Vec<u32> {
        self.bytes().chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
}

pub fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A module around functions and entries.
pub fn module(text: &str) -> Module {
    Module::load(&format!(".version 8.8\n.target sm_80\n.address_size 64\n{text}\n")).expect("PTX")
}

/// Launches the entry `k` with 64-bit parameters.
pub fn run(text: &str, grid: u32, block: u32, params: &[u64], options: &Options) -> Result<Profile, Box<Fault>> {
    run_dynamic(text, grid, block, 0, params, options)
}

/// The same with dynamic shared memory.
pub fn run_dynamic(
    text: &str,
    grid: u32,
    block: u32,
    shared_dynamic: usize,
    params: &[u64],
    options: &Options,
) -> Result<Profile, Box<Fault>> {
    let module = module(text);
    let function = module.function("k").expect("entry k");
    let params: Vec<u8> = params.iter().flat_map(|p| p.to_le_bytes()).collect();
    let shape =
        Launch { grid: [grid, 1, 1], block: [block, 1, 1], shared_dynamic, params: &params, cooperative: false };
    launch(&function, &shape, options)
}

/// An entry `k(a pointer per name)` with each pointer's per-lane 8-byte slot in `%rd_NAME`.
pub fn entry(names: &[&str], declarations: &str, body: &str) -> String {
    let params: Vec<String> = names.iter().map(|n| format!(".param .u64 k_{n}")).collect();
    let mut text = format!(
        ".visible .entry k({})\n{{\n.reg .b64 %rd_lane, %rd_tmp;\n.reg .b32 %r_tid, %r_cta, %r_ntid;\n",
        params.join(", ")
    );
    for name in names {
        text += &format!(".reg .b64 %rd_{name};\n");
    }
    text += declarations;
    text += "\nmov.u32 %r_tid, %tid.x;\nmov.u32 %r_cta, %ctaid.x;\nmov.u32 %r_ntid, %ntid.x;\n";
    text += "mad.lo.s32 %r_tid, %r_cta, %r_ntid, %r_tid;\nmul.wide.u32 %rd_lane, %r_tid, 8;\n";
    for name in names {
        text += &format!("ld.param.u64 %rd_tmp, [k_{name}];\nadd.s64 %rd_{name}, %rd_tmp, %rd_lane;\n");
    }
    text + body + "\nret;\n}\n"
}

/// Register type of an operand type: predicates are words that are compared with zero.
fn register(ty: &str) -> &str {
    match ty {
        "u8" | "s8" | "b8" => "b16",
        "f16" | "bf16" | "u16" | "s16" | "b16" => "b16",
        "b64" | "u64" | "s64" | "f64" => "b64",
        _ => "b32",
    }
}

fn width(ty: &str) -> usize {
    match register(ty) {
        "b16" => 16,
        "b32" => 32,
        _ => 64,
    }
}

/// Executes `instruction` (with `%d`, `%a`, `%b`, ...) once per row of operands; returns `%d`.
///
/// `result` and `types` name register types; `pred` is a predicate, true when the operand is not 0.
pub fn evaluate(instruction: &str, result: &str, types: &[&str], rows: &[Vec<u64>], options: &Options) -> Vec<u64> {
    let names = &["a", "b", "c", "e"][..types.len()];
    let mut declarations = String::new();
    let mut body = String::new();
    for (name, ty) in names.iter().zip(types) {
        if *ty == "pred" {
            declarations += &format!(".reg .pred %{name};\n.reg .b32 %w{name};\n");
            body += &format!("ld.global.u32 %w{name}, [%rd_{name}];\nsetp.ne.u32 %{name}, %w{name}, 0;\n");
        } else {
            declarations += &format!(".reg .{} %{name};\n", register(ty));
            body += &format!("ld.global.b{} %{name}, [%rd_{name}];\n", width(ty));
        }
    }
    if result == "pred" {
        declarations += ".reg .pred %d, %q;\n.reg .b32 %wd;\n";
        body += &format!("{instruction}\nselp.u32 %wd, 1, 0, %d;\nst.global.u32 [%rd_d], %wd;\n");
    } else {
        declarations += &format!(".reg .{} %d;\n.reg .pred %q;\n", register(result));
        body += &format!("{instruction}\nst.global.b{} [%rd_d], %d;\n", width(result));
    }
    let count = rows.len().next_multiple_of(32);
    let buffers: Vec<Buffer> = (0..types.len())
        .map(|k| {
            let values = (0..count).flat_map(|r| rows[r % rows.len()][k].to_le_bytes());
            upload(&values.collect::<Vec<u8>>())
        })
        .collect();
    let target = upload(&vec![0; count * 8]);
    let mut all = vec!["d"];
    all.extend(names);
    let text = entry(&all, &declarations, &body);
    let params: Vec<u64> = std::iter::once(target.address).chain(buffers.iter().map(|b| b.address)).collect();
    if let Err(fault) = run(&text, count as u32 / 32, 32, &params, options) {
        panic!("{instruction}: {fault}");
    }
    let bytes = target.bytes();
    bytes.chunks_exact(8).take(rows.len()).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// A small generator for operands.
pub struct Operands(pub u64);

impl Operands {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Operands of a type: its interesting values, then random ones of all magnitudes.
pub fn samples(ty: &str, random: usize, seed: u64) -> Vec<u64> {
    let mut out: Vec<u64> = match ty {
        "f32" => [
            0,
            0x8000_0000,
            0x3f80_0000,
            0xbf80_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0001,
            1,
            0x8000_0001,
            0x007f_ffff,
            0x0080_0000,
            0x7f7f_ffff,
            0x3eaa_aaab,
            0x4b80_0001,
            0xc2f6_e979,
        ]
        .to_vec(),
        "f64" => [
            0f64,
            -0.0,
            1.0,
            -1.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            5e-324,
            f64::MIN_POSITIVE,
            f64::MAX,
            1.0 / 3.0,
            16777217.0,
        ]
        .iter()
        .map(|x| x.to_bits())
        .collect(),
        "f16" => [0, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e01, 1, 0x03ff, 0x0400, 0x7bff, 0x3555].to_vec(),
        "bf16" => [0, 0x8000, 0x3f80, 0xbf80, 0x7f80, 0xff80, 0x7fc1, 1, 0x007f, 0x0080, 0x7f7f, 0x3eab].to_vec(),
        "f16x2" => [0x3c00_8000, 0x7bff_0001, 0x7e00_3c00, 0xfc00_7c00, 0x0400_83ff].to_vec(),
        "bf16x2" => [0x3f80_8000, 0x7f7f_0001, 0x7fc0_3f80, 0xff80_7f80, 0x0080_807f].to_vec(),
        "pred" => return vec![0, 1],
        _ => [
            0,
            1,
            2,
            3,
            31,
            32,
            33,
            63,
            64,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x7fff_ffff_ffff_ffff,
            1 << 63,
            u64::MAX,
        ]
        .to_vec(),
    };
    let mut random_bits = Operands(seed ^ 0x9e37_79b9_7f4a_7c15);
    for index in 0..random {
        let bits = random_bits.next();
        out.push(match ty {
            // Every second one of moderate size, so that sums and products do not all overflow.
            "f32" if index % 2 == 0 => u64::from((((bits >> 40) as f32 / 65536.0) - 128.0).to_bits()),
            "f64" if index % 2 == 0 => ((bits >> 11) as f64 / (1u64 << 45) as f64 - 128.0).to_bits(),
            "f16" | "f16x2" if index % 2 == 0 => bits & 0x47ff_47ff | 0x3000_3000 | bits & 0x8000_8000,
            "bf16" | "bf16x2" if index % 2 == 0 => bits & 0x017f_017f | 0x3f00_3f00 | bits & 0x8000_8000,
            _ if index % 3 == 0 => bits >> (bits & 63),
            _ => bits,
        });
    }
    let mask = match width(ty) {
        64 => u64::MAX,
        w => (1 << w) - 1,
    };
    out.iter().map(|v| v & mask).collect()
}

/// All pairs or a mix of samples for the operand types.
pub fn rows(types: &[&str]) -> Vec<Vec<u64>> {
    let columns: Vec<Vec<u64>> = types.iter().enumerate().map(|(k, ty)| samples(ty, 24, 7 + k as u64)).collect();
    match columns.as_slice() {
        [a] => a.iter().map(|a| vec![*a]).collect(),
        [a, b] => a.iter().flat_map(|x| b.iter().map(move |y| vec![*x, *y])).collect(),
        _ => {
            let mut pick = Operands(99);
            let mut one = |column: &Vec<u64>| column[(pick.next() >> 33) as usize % column.len()];
            (0..1500).map(|_| columns.iter().map(&mut one).collect()).collect()
        }
    }
}

/// Executes the instruction on [`rows`] and compares with `expected`, which may return `None` for "not specified".
pub fn check(instruction: &str, result: &str, types: &[&str], expected: impl Fn(&[u64]) -> Option<u64>) {
    let rows = rows(types);
    let got = evaluate(instruction, result, types, &rows, &Options::default());
    let mask = match result {
        "pred" => 1,
        ty if width(ty) == 64 => u64::MAX,
        ty => (1 << width(ty)) - 1,
    };
    let mut checked = 0;
    for (row, got) in rows.iter().zip(got) {
        let Some(want) = expected(row) else { continue };
        checked += 1;
        assert_eq!(got & mask, want & mask, "{instruction} of {row:x?}: got {got:#x}, want {want:#x}");
    }
    assert!(checked * 3 >= rows.len(), "{instruction}: only {checked} of {} rows are specified", rows.len());
}
