//! `mma.sync` of every shape and type, `ldmatrix`, `stmatrix` and `movmatrix`, element by element after the tables of the PTX
//! manual ("Matrix Fragments for mma.m16n8k16 with floating point type" and so on), through the driver.
//!
//! Operands are small integers, so every sum is exact whatever the order and rounding of its terms: results must be equal under
//! every accumulation model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::{Gpu, gpu};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use half::{bf16, f16};
use std::sync::Arc;

/// Row and column of element `index` of a thread's fragment.
type Layout = fn(thread: usize, index: usize) -> (usize, usize);

fn group(thread: usize) -> usize {
    thread / 4
}

fn within(thread: usize) -> usize {
    thread % 4
}

/// An element type: bits of an element, and its value from and to them.
#[derive(Clone, Copy)]
struct Element {
    name: &'static str,
    bits: usize,
    encode: fn(i32) -> u64,
}

const F16: Element = Element { name: "f16", bits: 16, encode: |value| f16::from_f32(value as f32).to_bits().into() };
const BF16: Element = Element { name: "bf16", bits: 16, encode: |value| bf16::from_f32(value as f32).to_bits().into() };
const TF32: Element = Element { name: "tf32", bits: 32, encode: |value| (value as f32).to_bits().into() };
const F32: Element = Element { name: "f32", bits: 32, encode: |value| (value as f32).to_bits().into() };
const S32: Element = Element { name: "s32", bits: 32, encode: |value| value as u32 as u64 };
const S8: Element = Element { name: "s8", bits: 8, encode: |value| value as u8 as u64 };
const U8: Element = Element { name: "u8", bits: 8, encode: |value| value as u8 as u64 };

struct Shape {
    k: usize,
    a: Layout,
    b: Layout,
}

/// C and D of all m16n8 shapes.
const C: Layout = |thread, i| (group(thread) + if i < 2 { 0 } else { 8 }, within(thread) * 2 + (i & 1));

const HALF_K16: Shape = Shape {
    k: 16,
    a: |thread, i| {
        let row = if i < 2 || (4..6).contains(&i) { 0 } else { 8 };
        (group(thread) + row, within(thread) * 2 + (i & 1) + if i < 4 { 0 } else { 8 })
    },
    b: |thread, i| (within(thread) * 2 + (i & 1) + if i < 2 { 0 } else { 8 }, group(thread)),
};
const HALF_K8: Shape = Shape {
    k: 8,
    a: |thread, i| (group(thread) + if i < 2 { 0 } else { 8 }, within(thread) * 2 + (i & 1)),
    b: |thread, i| (within(thread) * 2 + (i & 1), group(thread)),
};
const TF32_K8: Shape = Shape {
    k: 8,
    a: |thread, i| {
        let row = if i == 0 || i == 2 { 0 } else { 8 };
        (group(thread) + row, within(thread) + if i < 2 { 0 } else { 4 })
    },
    b: |thread, i| (within(thread) + if i == 0 { 0 } else { 4 }, group(thread)),
};
const TF32_K4: Shape = Shape {
    k: 4,
    a: |thread, i| (group(thread) + if i == 0 { 0 } else { 8 }, within(thread)),
    b: |thread, _| (within(thread), group(thread)),
};
const BYTE_K32: Shape = Shape {
    k: 32,
    a: |thread, i| {
        let row = if i < 4 || (8..12).contains(&i) { 0 } else { 8 };
        (group(thread) + row, within(thread) * 4 + (i & 3) + if i < 8 { 0 } else { 16 })
    },
    b: |thread, i| (within(thread) * 4 + (i & 3) + if i < 4 { 0 } else { 16 }, group(thread)),
};
const BYTE_K16: Shape = Shape {
    k: 16,
    a: |thread, i| (group(thread) + if i < 4 { 0 } else { 8 }, within(thread) * 4 + (i & 3)),
    b: |thread, i| (within(thread) * 4 + (i & 3), group(thread)),
};

/// Small integers that differ from place to place.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, least: i32, most: i32) -> i32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        least + ((self.0 >> 20) % (most - least + 1) as u64) as i32
    }

    fn matrix(&mut self, rows: usize, columns: usize, least: i32, most: i32) -> Vec<Vec<i32>> {
        (0..rows).map(|_| (0..columns).map(|_| self.next(least, most)).collect()).collect()
    }
}

/// A matrix as 32-bit registers: thread after thread, its registers in order.
fn fragments(matrix: &[Vec<i32>], element: Element, layout: Layout) -> Vec<u32> {
    let per_thread = matrix.len() * matrix[0].len() / 32;
    let per_register = 32 / element.bits;
    let register = |thread: usize, register: usize| {
        (0..per_register).fold(0u64, |bits, part| {
            let (row, column) = layout(thread, register * per_register + part);
            bits | (element.encode)(matrix[row][column]) << (part * element.bits)
        }) as u32
    };
    (0..32).flat_map(|thread| (0..per_thread / per_register).map(move |index| register(thread, index))).collect()
}

/// Leaves in `%rd1` where this thread's registers stand behind the parameter `name`.
fn address(name: &str, registers: usize) -> String {
    let bytes = 4 * registers;
    format!("ld.param.u64 %rd1, [k_{name}];\nmul.wide.u32 %rd2, %r0, {bytes};\nadd.s64 %rd1, %rd1, %rd2;\n")
}

/// Loads this thread's registers from the parameter `name` into `%name0`...
fn load(name: &str, registers: usize) -> String {
    let load = |register| format!("ld.global.b32 %{name}{register}, [%rd1+{}];\n", 4 * register);
    address(name, registers) + &(0..registers).map(load).collect::<String>()
}

/// Stores `%d0`... behind the parameter `d`.
fn store(registers: usize) -> String {
    let store = |register| format!("st.global.b32 [%rd1+{}], %d{register};\n", 4 * register);
    address("d", registers) + &(0..registers).map(store).collect::<String>()
}

fn list(name: &str, registers: usize) -> String {
    let names: Vec<String> = (0..registers).map(|register| format!("%{name}{register}")).collect();
    format!("{{{}}}", names.join(", "))
}

/// An entry `k` over pointers to registers of one warp.
fn kernel(target: u32, names: &[(&str, usize)], body: &str) -> String {
    let params: Vec<String> = names.iter().map(|(name, _)| format!(".param .u64 k_{name}")).collect();
    let registers: String =
        names.iter().map(|(name, count)| format!(".reg .b32 %{name}<{}>;\n", count.max(&1))).collect();
    format!(
        ".version 8.0\n.target sm_{target}\n.address_size 64\n.visible .entry k({})\n{{\n.reg .b32 %r<8>;\n.reg .b64 %rd<4>;\n\
         {registers}.shared .align 16 .b8 tile[1024];\nmov.u32 %r0, %tid.x;\n{body}ret;\n}}\n",
        params.join(", ")
    )
}

/// Runs one warp of the kernel; its last parameter is the output.
fn warp(stream: &Arc<CudaStream>, text: &str, inputs: &[Vec<u32>], output: usize) -> Vec<u32> {
    let function = stream.context().load_module(Ptx::from_src(text)).unwrap().load_function("k").unwrap();
    let inputs: Vec<_> = inputs.iter().map(|input| stream.clone_htod(input).unwrap()).collect();
    // SAFETY: every thread writes its registers.
    let mut result = unsafe { stream.alloc::<u32>(32 * output) }.unwrap();
    let mut launch = stream.launch_builder(&function);
    for input in &inputs {
        launch.arg(input);
    }
    launch.arg(&mut result);
    let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the kernel's parameters are as many pointers.
    unsafe { launch.launch(config) }.unwrap();
    stream.clone_dtoh(&result).unwrap()
}

fn stream(_: &Gpu) -> Arc<CudaStream> {
    CudaContext::new(0).unwrap().new_stream().unwrap()
}

/// Accumulation models of the virtual GPU; a real one has its own.
fn models(gpu: &Gpu, mut check: impl FnMut(&str)) {
    let Some(control) = gpu.control else { return check("hardware") };
    for model in ["sequential", "a100", "h100"] {
        control.configure(&format!(r#"{{"tensor": "{model}"}}"#)).unwrap();
        check(model);
    }
}

fn check_mma(shape: &Shape, a: Element, b: Element, c: Element) {
    let gpu = gpu();
    let stream = stream(&gpu);
    let least = |element: Element| if element.name == "u8" { 0 } else { -4 };
    let mut numbers = Numbers(0x1234_5678_9abc_def1 + shape.k as u64);
    let (left, right) = (numbers.matrix(16, shape.k, least(a), 5), numbers.matrix(shape.k, 8, least(b), 5));
    let added = numbers.matrix(16, 8, -9, 9);
    let expected: Vec<Vec<i32>> = (0..16)
        .map(|m| (0..8).map(|n| added[m][n] + (0..shape.k).map(|k| left[m][k] * right[k][n]).sum::<i32>()).collect())
        .collect();
    let inputs = [fragments(&left, a, shape.a), fragments(&right, b, shape.b), fragments(&added, c, C)];
    let [of_a, of_b, of_c] = [0, 1, 2].map(|input| inputs[input].len() / 32);
    let body = format!(
        "{}{}{}mma.sync.aligned.m16n8k{}.row.col.{}.{}.{}.{} {}, {}, {}, {};\n{}",
        load("a", of_a),
        load("b", of_b),
        load("c", of_c),
        shape.k,
        c.name,
        a.name,
        b.name,
        c.name,
        list("d", of_c),
        list("a", of_a),
        list("b", of_b),
        list("c", of_c),
        store(of_c)
    );
    let text = kernel(80, &[("a", of_a), ("b", of_b), ("c", of_c), ("d", of_c)], &body);
    models(&gpu, |model| {
        let result = warp(&stream, &text, &inputs, of_c);
        assert_eq!(result, fragments(&expected, c, C), "k{} {} {} under {model}", shape.k, a.name, b.name);
    });
}

#[test]
fn mma_of_halves() {
    check_mma(&HALF_K16, F16, F16, F32);
    check_mma(&HALF_K16, F16, F16, F16);
    check_mma(&HALF_K8, F16, F16, F32);
    check_mma(&HALF_K8, F16, F16, F16);
}

#[test]
fn mma_of_bf16() {
    check_mma(&HALF_K16, BF16, BF16, F32);
    check_mma(&HALF_K8, BF16, BF16, F32);
}

#[test]
fn mma_of_tf32() {
    check_mma(&TF32_K8, TF32, TF32, F32);
    check_mma(&TF32_K4, TF32, TF32, F32);
}

#[test]
fn mma_of_bytes() {
    for (a, b) in [(S8, S8), (S8, U8), (U8, S8), (U8, U8)] {
        check_mma(&BYTE_K32, a, b, S32);
        check_mma(&BYTE_K16, a, b, S32);
    }
}

/// Row and column of the two elements that a thread holds of an 8 x 8 matrix of b16.
fn of_8x8(thread: usize, part: usize) -> (usize, usize) {
    (thread / 4, 2 * (thread % 4) + part)
}

/// Four matrices of 8 x 8 elements, each element a number of its own.
fn element(matrix: usize, row: usize, column: usize) -> u32 {
    (matrix * 64 + row * 8 + column) as u32 * 257
}

/// The registers that hold four matrices, thread after thread.
fn registers(count: usize, transposed: bool) -> Vec<u32> {
    let register = |thread, matrix| {
        let part = |part| {
            let (row, column) = of_8x8(thread, part);
            if transposed { element(matrix, column, row) } else { element(matrix, row, column) }
        };
        part(0) | part(1) << 16
    };
    (0..32).flat_map(|thread| (0..count).map(move |matrix| register(thread, matrix))).collect()
}

/// The matrices row after row, two elements to a word: 16 bytes a row.
fn rows(count: usize) -> Vec<u32> {
    let places = (0..count).flat_map(|matrix| (0..8).flat_map(move |row| (0..4).map(move |pair| (matrix, row, pair))));
    places
        .map(|(matrix, row, pair)| element(matrix, row, 2 * pair) | element(matrix, row, 2 * pair + 1) << 16)
        .collect()
}

/// Address of row `lane` of the tile in `%r2`: lanes 0 to 7 name the rows of the first matrix, 8 to 15 of the second.
const ROW_ADDRESS: &str = "mov.u32 %r2, tile;\nshl.b32 %r3, %r0, 4;\nadd.u32 %r2, %r2, %r3;\n";

#[test]
fn matrices_are_loaded_from_shared_memory() {
    let gpu = gpu();
    let stream = stream(&gpu);
    for count in [1, 2, 4] {
        for transposed in [false, true] {
            let trans = if transposed { ".trans" } else { "" };
            // Each thread brings `count` words; 32 * count words are the matrices, row after row.
            let mut body = load("a", count);
            body += &format!("mov.u32 %r2, tile;\nmul.lo.u32 %r3, %r0, {};\nadd.u32 %r2, %r2, %r3;\n", 4 * count);
            for word in 0..count {
                body += &format!("st.shared.b32 [%r2+{}], %a{word};\n", 4 * word);
            }
            body += "bar.sync 0;\n";
            // Lanes that name no row get the first one's address: it is ignored.
            body += &format!(".reg .pred %p1;\nsetp.lt.u32 %p1, %r0, {};\nselp.b32 %r0, %r0, 0, %p1;\n", 8 * count);
            body += ROW_ADDRESS;
            let name = format!("ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16");
            body += &format!("{name} {}, [%r2];\nmov.u32 %r0, %tid.x;\n{}", list("d", count), store(count));
            let text = kernel(80, &[("a", count), ("d", count)], &body);
            assert_eq!(warp(&stream, &text, &[rows(count)], count), registers(count, transposed), "{name}");
        }
    }
}

#[test]
fn matrices_are_stored_to_shared_memory() {
    let gpu = gpu();
    if let Some(control) = gpu.control {
        control.configure(r#"{"compute_capability": [9, 0]}"#).unwrap();
    }
    let stream = stream(&gpu);
    if stream.context().compute_capability().unwrap().0 < 9 {
        println!("SKIPPED matrices_are_stored_to_shared_memory: stmatrix needs compute capability 9.0");
        return;
    }
    for count in [1, 2, 4] {
        for transposed in [false, true] {
            let trans = if transposed { ".trans" } else { "" };
            let name = format!("stmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16");
            let mut body = load("a", count);
            body += &format!(".reg .pred %p1;\nsetp.lt.u32 %p1, %r0, {};\nselp.b32 %r0, %r0, 0, %p1;\n", 8 * count);
            body += ROW_ADDRESS;
            body += &format!("{name} [%r2], {};\nbar.sync 0;\nmov.u32 %r0, %tid.x;\n", list("a", count));
            body += &format!("mov.u32 %r2, tile;\nmul.lo.u32 %r3, %r0, {};\nadd.u32 %r2, %r2, %r3;\n", 4 * count);
            for word in 0..count {
                body += &format!("ld.shared.b32 %d{word}, [%r2+{}];\n", 4 * word);
            }
            body += &store(count);
            let text = kernel(90, &[("a", count), ("d", count)], &body);
            assert_eq!(warp(&stream, &text, &[registers(count, transposed)], count), rows(count), "{name}");
        }
    }
}

#[test]
fn matrices_are_transposed_between_registers() {
    let gpu = gpu();
    let stream = stream(&gpu);
    let body = format!("{}movmatrix.sync.aligned.m8n8.trans.b16 %d0, %a0;\n{}", load("a", 1), store(1));
    let text = kernel(80, &[("a", 1), ("d", 1)], &body);
    assert_eq!(warp(&stream, &text, &[registers(1, false)], 1), registers(1, true));
}

#[test]
fn half_a_warp_cannot_multiply() {
    let gpu = gpu();
    if gpu.control.is_none() {
        println!("SKIPPED half_a_warp_cannot_multiply: it is undefined on a real GPU");
        return;
    }
    let stream = stream(&gpu);
    let mma = "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32";
    let body = format!(
        "{}{}{}.reg .pred %p1;\nsetp.lt.u32 %p1, %r0, 16;\n@!%p1 bra OUT;\n{mma} {}, {}, {}, {};\nOUT:\n{}",
        load("a", 2),
        load("b", 1),
        load("c", 4),
        list("c", 4),
        list("a", 2),
        list("b", 1),
        list("c", 4),
        store(1).replace("%d0", "%c0"),
    );
    let text = kernel(80, &[("a", 2), ("b", 1), ("c", 4), ("d", 1)], &body);
    let function = stream.context().load_module(Ptx::from_src(text)).unwrap().load_function("k").unwrap();
    let zeros = stream.clone_htod(&[0u32; 128]).unwrap();
    let mut result = stream.alloc_zeros::<u32>(32).unwrap();
    let mut launch = stream.launch_builder(&function);
    launch.arg(&zeros).arg(&zeros).arg(&zeros).arg(&mut result);
    let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: four pointers to as much as the kernel touches. The fault may show already, when cudarc records its events.
    let _ = unsafe { launch.launch(config) };
    assert_eq!(common::code(stream.synchronize()), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    assert!(gpu.control.unwrap().last_report().contains("absent lanes"));
}
