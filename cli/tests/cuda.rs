//! `bmn` on the virtual GPU: the same commands, `--device cuda:0`.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;
#[path = "../../train/tests/common/mod.rs"]
mod fixture;

use biomistral_nlu::device::DeviceChoice;
use biomistral_nlu::device::cuda::{Cuda, CudaOptions, kernels};
use biomistral_nlu_train::Trainer;
use common::{Ran, bmn, run};
use serde_json::Value;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Runs `bmn ARGS` with the virtual GPU as its driver; `None` after saying that the test is skipped where there are no kernels.
fn on_gpu(test: &str, settings: &str, args: &[&str]) -> Option<Ran> {
    if let Err(why) = kernels() {
        println!("SKIPPED {test}: {why}");
        return None;
    }
    let library = vgpu::library_path().unwrap();
    let output = bmn().args(args).env("LD_PRELOAD", library).env("VGPU", settings).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some(Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) })
}

#[test]
fn doctor_tells_devices_and_why_one_cannot_be_used() {
    let name = "doctor_tells_devices_and_why_one_cannot_be_used";
    let doctor = |settings: &str| {
        let ran = on_gpu(name, settings, &["doctor", "--json"])?;
        assert_eq!(ran.code, 0, "{}", ran.err);
        Some(ran.lines()[0]["cuda"].clone())
    };
    let Some(report) = doctor("{}") else { return };
    assert!(report["kernels"]["architectures"].as_array().unwrap().contains(&"ptx".into()), "{report}");
    let device = &report["devices"][0];
    assert_eq!((&device["device"], &device["compute_capability"]), (&"cuda:0".into(), &"8.6".into()), "{report}");
    assert!(device["unusable"].is_null(), "{report}");
    let old = doctor(r#"{"driver_version": 11040}"#).unwrap();
    assert!(old["unusable"].as_str().unwrap().contains("R525"), "{old}");
    let turing = doctor(r#"{"compute_capability": [7, 5]}"#).unwrap();
    assert!(turing["devices"][0]["unusable"].as_str().unwrap().contains("8.0"), "{turing}");
    let none = doctor(r#"{"init_error": 100}"#).unwrap();
    assert!(none["unusable"].as_str().unwrap().contains("no device"), "{none}");
    let text = on_gpu(name, "{}", &["doctor"]).unwrap().out;
    assert!(text.lines().any(|l| l.starts_with("cuda ") && l.ends_with("usable")), "{text}");
}

#[test]
fn a_device_that_is_not_there_is_one_sentence() {
    // Where there is a real driver, its first thousand devices hardly exist either.
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let model = model.to_str().unwrap();
    assert_eq!(run(&["model", "random", "--shape", "tiny", model], b"").code, 0);
    let ran = run(&["logits", "--model", model, "--ids", "1,2", "--device", "cuda:1000"], b"");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.lines().count() == 1 && ran.err.contains("not supported"), "{}", ran.err);
    assert_eq!(run(&["logits", "--model", model, "--ids", "1,2", "--device", "cuda"], b"").code, 2);
}

#[test]
fn logits_agree_with_the_processor_and_the_plan_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let model = model.to_str().unwrap();
    assert_eq!(run(&["model", "random", "--shape", "tiny", model], b"").code, 0);
    let args = ["logits", "--model", model, "--ids", "1,7,3,200,5,99,42", "--top", "3", "--context", "128", "--device"];
    let Some(gpu) =
        on_gpu("logits_agree_with_the_processor_and_the_plan_is_told", "{}", &[&args[..], &["cuda:0"]].concat())
    else {
        return;
    };
    let cpu = run(&[&args[..], &["cpu"]].concat(), b"");
    assert_eq!((gpu.code, cpu.code), (0, 0), "{}", gpu.err);
    assert!(gpu.err.contains("memory of cuda:0") && gpu.err.contains("128 tokens"), "{}", gpu.err);
    assert!(!cpu.err.contains("memory of"));
    let number = |v: &Value| v.as_f64().unwrap();
    for (gpu, cpu) in gpu.lines().iter().zip(cpu.lines()) {
        assert_eq!(gpu["position"], cpu["position"]);
        for (a, b) in gpu["top"].as_array().unwrap().iter().zip(cpu["top"].as_array().unwrap()) {
            // Both round matrix inputs to bf16; what is summed in another order differs in the last bits.
            assert!((number(&a[1]) - number(&b[1])).abs() < 2e-2, "{a} {b}");
        }
    }
    let small = on_gpu("", r#"{"memory": 100000000}"#, &[&args[..], &["cuda:0"]].concat()).unwrap();
    assert_eq!(small.code, 1);
    let last = small.err.lines().last().unwrap();
    assert!(last.contains(" are free") && last.contains("weights"), "{}", small.err);
}

#[test]
fn every_kernel_of_the_bench_verifies() {
    for (kernel, shapes) in [
        ("embed", ["T=7,V=50,C=40", "T=129,V=9,C=130"]),
        ("rms_norm", ["T=1,C=40", "T=127,C=129"]),
        ("linear_add", ["T=1,N=70,K=40", "T=129,N=127,K=200"]),
        ("gate_up", ["T=7,F=72,C=40", "T=65,F=129,C=66"]),
        ("attention", ["T=1,S=300,H=6,G=2,D=14", "T=70,S=7,H=4,G=1,D=64"]),
        ("head_all", ["V=61,C=40", "V=300,C=129"]),
        ("head_lse", ["T=1,V=61,C=40", "T=9,V=300,C=128"]),
    ] {
        for shape in shapes {
            let args = ["bench", "kernel", kernel, "--shape", shape, "--verify", "--json"];
            let Some(ran) = on_gpu("every_kernel_of_the_bench_verifies", "{}", &args) else { return };
            assert_eq!(ran.code, 0, "{kernel} {shape}: {}", ran.err);
            let report = &ran.lines()[0];
            assert!(report["error"].as_f64() <= report["tolerance"].as_f64(), "{report}");
            assert!(report["milliseconds"].is_null() && report["bytes"].as_u64() > Some(0));
        }
    }
    let args = ["bench", "kernel", "softmax"];
    assert_eq!(run(&args, b"").code, 2);
    assert_eq!(run(&["bench", "kernel", "embed", "--shape", "X=1"], b"").code, 2);
    assert_eq!(run(&["bench"], b"").code, 2);
}

#[test]
fn a_run_trains_on_the_gpu_as_on_the_processor() {
    let name = "a_run_trains_on_the_gpu_as_on_the_processor";
    let folder = tempfile::tempdir().unwrap();
    fixture::fixture(folder.path(), "lora", "");
    let text = std::fs::read_to_string(folder.path().join("config.toml")).unwrap();
    // Two steps, and a validation.
    let text = text
        .replace("epochs = 4", "epochs = 1")
        .replace("batch = 5", "batch = 12")
        .replace("rate = 2e-2", "rate = 1e-3");
    let train = |output: &str, device: &str, more: &[&str]| {
        let path = folder.path().join(format!("{output}.toml"));
        std::fs::write(&path, text.replace("output = \"run\"", &format!("output = \"{output}\""))).unwrap();
        let mut args = vec!["train", "--quiet", "--device", device, "--config", path.to_str().unwrap()];
        args.extend(more);
        on_gpu(name, "{}", &args)
    };
    let losses = |output: &str| -> Vec<f64> {
        let text = std::fs::read_to_string(folder.path().join(output).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["loss"].as_f64().or(line["validation"].as_f64())).collect()
    };
    let Some(ran) = train("there", "cuda:0", &[]) else { return };
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(train("here", "cpu", &[]).unwrap().code, 0);
    let (there, here) = (losses("there"), losses("here"));
    assert!(there.len() >= 3 && there.len() == here.len(), "{there:?} {here:?}");
    // Rounding to bf16 after sums in another order.
    assert!(there.iter().zip(&here).all(|(a, b)| (a / b - 1.0).abs() < 5e-3), "{there:?}, on the processor {here:?}");
    let adapter =
        |output: &str| std::fs::read(folder.path().join(output).join("adapter/adapter_model.safetensors")).unwrap();
    let text = std::fs::read_to_string(folder.path().join("there/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(last["accuracy"].is_f64() && last["f1"].is_f64(), "answered on the device: {last}");
    assert_ne!(adapter("there"), adapter("here"), "the device was not the one asked for");
    let moved = train("there", "cpu", &["--resume"]).unwrap();
    assert!(moved.code == 1 && moved.err.contains("made with device cuda"), "{}", moved.err);
}

#[test]
fn a_run_that_is_killed_on_the_gpu_ends_in_the_same_bits() {
    if let Err(why) = kernels() {
        println!("SKIPPED a_run_that_is_killed_on_the_gpu_ends_in_the_same_bits: {why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fixture::fixture(folder.path(), "lora", "");
    let text = std::fs::read_to_string(folder.path().join("config.toml")).unwrap();
    // Two steps, each saved.
    let text = text
        .replace("epochs = 4", "epochs = 1\nanswers = 0")
        .replace("batch = 5", "batch = 12")
        .replace("save_every = 4", "save_every = 1");
    let train = |output: &str| {
        let path = folder.path().join(format!("{output}.toml"));
        std::fs::write(&path, text.replace("output = \"run\"", &format!("output = \"{output}\""))).unwrap();
        let mut command = bmn();
        command.args(["train", "--quiet", "--resume", "--device", "cuda:0", "--config"]).arg(path);
        command.env("LD_PRELOAD", vgpu::library_path().unwrap()).env("VGPU", "{}");
        command
    };
    let finish = |output: &str| {
        let ended = train(output).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        std::fs::read(folder.path().join(output).join("adapter/adapter_model.safetensors")).unwrap()
    };
    let through = finish("through");
    let mut child = train("killed").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !folder.path().join("killed/checkpoints/step-00000001").exists() {
        assert!(child.try_wait().unwrap().is_none(), "ended before it could be killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("killed/adapter").exists());
    assert!(finish("killed") == through, "other weights after a kill");
}

/// What the virtual GPU hands out while a run goes on is planned before, and not much more is.
#[test]
fn a_plan_covers_what_is_allocated_on_the_gpu() {
    if let Err(why) = kernels() {
        println!("SKIPPED a_plan_covers_what_is_allocated_on_the_gpu: {why}");
        return;
    }
    if vgpu::load().unwrap().is_none() {
        println!("SKIPPED a_plan_covers_what_is_allocated_on_the_gpu: a real driver allocates for others, too");
        return;
    }
    let watch = Cuda::open(&CudaOptions::default()).unwrap();
    let free = || watch.memory().unwrap().0;
    for (method, dropout, pass_tokens, answers) in [("lora", 0.1, 150, 1), ("full", 0.0, 600, 0)] {
        let folder = tempfile::tempdir().unwrap();
        fixture::fixture(folder.path(), method, "");
        let mut config = fixture::config(folder.path(), "run");
        (config.run.epochs, config.run.batch, config.run.pass_tokens) = (1, 12, pass_tokens);
        (config.tuning.dropout, config.run.answers, config.run.device) = (dropout, answers, DeviceChoice::Cuda(0));
        let (before, least) = (free(), AtomicU64::new(u64::MAX));
        let mut trainer = Trainer::new(config, false).unwrap();
        let look = || least.fetch_min(free(), Ordering::Relaxed);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // What answers need is there only while they are given.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    look();
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            trainer.run(&mut |_| look() > 0).unwrap();
            done.store(true, Ordering::Relaxed);
        });
        let (used, plan) = (before - least.into_inner(), trainer.plan().clone());
        println!("{method}: {used} bytes allocated, {} planned: {:?}", plan.cuda, plan.bytes);
        assert_eq!(plan.bytes.iter().map(|(_, bytes)| bytes).sum::<u64>(), plan.cuda);
        assert!(used <= plan.cuda && plan.cuda < 2 * used, "{method}: {used} of {plan:?}");
    }
}
