//! What the CUDA device says when the machine fails it, and that a new one works afterwards. On the virtual GPU only.
#![cfg(feature = "cuda")]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use biomistral_nlu::Error;
use biomistral_nlu::device::cuda::{Cuda, CudaOptions};
use biomistral_nlu::device::{DeviceChoice, MemoryPlan};
use biomistral_nlu::model::{Mistral, Opening, Placement, Step, TreeNode, open};
use biomistral_nlu::weights::Checkpoint;
use common::bits::{Model, alone, config, random, read, text};
use common::gpu::Gpu;
use common::same_bits;
use std::sync::Arc;

/// The virtual GPU with these settings, and its control.
fn take(test: &str, settings: &str) -> Option<(Gpu, &'static vgpu::Control)> {
    let gpu = Gpu::take(test, settings)?;
    let Some(control) = gpu.control else {
        println!("SKIPPED {test}: faults are the virtual GPU's");
        return None;
    };
    Some((gpu, control))
}

fn refusal(settings: &str, control: &vgpu::Control) -> Error {
    control.reset();
    control.configure(settings).unwrap();
    Cuda::open(&CudaOptions::default()).err().unwrap_or_else(|| panic!("{settings} opens"))
}

fn counter(control: &vgpu::Control, name: &str) -> u64 {
    let counters: serde_json::Value = serde_json::from_str(&control.counters()).unwrap();
    counters["device"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
}

/// A prompt, a tree, its commit, a fork and another token: every kind of allocation and launch there is.
fn work(model: &Model) -> biomistral_nlu::Result<Vec<f32>> {
    let mut s = model.clone().session()?;
    let tokens = text(3, 70);
    let sequence = s.sequence(None)?;
    let tree = [TreeNode { token: 5, parent: None }, TreeNode { token: 6, parent: None }];
    let rows = s.forward(&[Step { sequence, chain: &tokens, tree: &tree, keep: &[69, 70] }])?;
    s.normalisers(&rows)?;
    s.logits(&[(rows[0], &[1, 2])])?;
    s.commit(sequence, &[1])?;
    let fork = s.fork(sequence, 68)?;
    let rows = s.forward(&[Step { sequence: fork, chain: &[7], tree: &[], keep: &[0] }])?;
    s.all_logits(rows[0])
}

#[test]
fn a_device_that_cannot_be_used_is_refused_in_one_sentence() {
    let Some((_gpu, control)) = take("a_device_that_cannot_be_used_is_refused_in_one_sentence", "{}") else { return };
    for (settings, says) in [
        (r#"{"devices": 0}"#, "device"),
        (r#"{"init_error": 100}"#, "no device"),
        (r#"{"driver_version": 11040}"#, "11.4"),
        (r#"{"compute_capability": [7, 5]}"#, "7.5"),
        (r#"{"compute_capability": [12, 0], "driver_version": 12040}"#, "12.8"),
        // The first image has machine code for the device, which the virtual driver never takes, and then PTX.
        (r#"{"fail_module": {"at": 1, "code": 200}}"#, "cannot read"),
        (r#"{"fail_module": {"at": 2, "code": 222}}"#, "update the driver"),
        (r#"{"fail_module": {"at": 2, "code": 218}}"#, "cannot read"),
        (r#"{"fail_module": {"at": 2, "code": 209}}"#, "no image"),
    ] {
        let error = refusal(settings, control);
        let text = error.to_string();
        assert!(text.contains(says) && !text.contains('\n'), "{settings}: {text}");
        assert!(
            matches!(error, Error::NoDevice { .. } | Error::Unsupported { .. } | Error::Format { .. }),
            "{settings}: {error:?}"
        );
    }
    control.reset();
    let error = Cuda::open(&CudaOptions { ordinal: 3, ..CudaOptions::default() }).err().unwrap();
    assert!(error.code() == 9 && error.to_string().contains("cuda:3"), "{error}");
    assert!(Cuda::open(&CudaOptions::default()).is_ok());
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_figures_before_anything_is_allocated() {
    let name = "a_model_that_does_not_fit_is_refused_with_figures_before_anything_is_allocated";
    let Some((_gpu, control)) = take(name, r#"{"memory": 300000000}"#) else { return };
    let checkpoint = random(&config(None), 7);
    let mut plan: Option<MemoryPlan> = None;
    let mut weights = 0;
    let mut tell = |opening: Opening<'_>| match opening {
        Opening::Plan(of) => plan = Some(of.clone()),
        Opening::Weights { .. } => weights += 1,
    };
    let cuda = Placement { device: DeviceChoice::Cuda(0), ..Placement::default() };
    let error = open(&checkpoint, &cuda, &[], &mut tell).err().unwrap();
    let plan = plan.unwrap();
    assert!(matches!(&error, Error::OutOfMemory { want, free, .. } if *want == plan.need() && *free == plan.free));
    assert!(plan.free <= 300_000_000 && plan.need() > plan.free && weights == 0);
    let auto = open(&checkpoint, &Placement::default(), &[], &mut |_| {}).unwrap();
    assert!(auto.fingerprint().starts_with("cpu/"), "{}", auto.fingerprint());
    assert_eq!(counter(control, "used"), 0);
    control.reset();
    let auto = open(&checkpoint, &Placement::default(), &[], &mut |_| {}).unwrap();
    assert!(auto.fingerprint().starts_with("cuda/sm_86/"), "{}", auto.fingerprint());
}

#[test]
fn memory_that_runs_out_anywhere_is_an_error_and_no_more() {
    let name = "memory_that_runs_out_anywhere_is_an_error_and_no_more";
    let Some((gpu, control)) = take(name, "{}") else { return };
    let checkpoint = random(&config(Some(50)), 7);
    let want = work(&gpu.open(&checkpoint, &[])).unwrap();
    let (mut opened, mut failed) = (0, 0);
    for kind in ["fail_allocation", "fail_pinned"] {
        // Until no allocation is that late: the cache alone, which asks for less when it cannot have what it wanted, makes some
        // failures go unnoticed.
        let (mut n, mut unnoticed) = (1, 0);
        while unnoticed < 8 {
            control.configure(&format!(r#"{{"{kind}": {n}}}"#)).unwrap();
            let model: Result<Arc<Mistral<Cuda>>, _> =
                Cuda::open(&CudaOptions::default()).and_then(|cuda| Mistral::open(&checkpoint, cuda, &[]));
            let outcome = match &model {
                Err(error) => Err(error.to_string()),
                Ok(model) => {
                    opened += 1;
                    let model: Model = model.clone();
                    let first = work(&model).map_err(|e| {
                        assert!(matches!(e, Error::OutOfMemory { .. }), "{kind} {n}: {e:?}");
                        e.to_string()
                    });
                    // The same model goes on: one allocation failed, nothing else did.
                    control.configure("{}").unwrap();
                    assert!(same_bits(&work(&model).unwrap(), &want), "{kind} {n}");
                    first
                }
            };
            if let Err(error) = model {
                assert!(matches!(error, Error::OutOfMemory { .. }), "{kind} {n}: {error:?}");
            }
            match outcome {
                Ok(logits) => {
                    assert!(same_bits(&logits, &want));
                    unnoticed += 1;
                }
                Err(_) => (failed, unnoticed) = (failed + 1, 0),
            }
            n += 1;
        }
    }
    assert!(opened > 3 && failed > 6, "{opened} opened, {failed} failed");
    assert_eq!(counter(control, "used"), 0, "bytes that nothing holds");
}

/// Errors from the failure on, and the right bits after reopening.
fn fails_and_comes_back(gpu: &Gpu, control: &vgpu::Control, settings: &str, checkpoint: &Checkpoint) {
    let want = work(&gpu.open(checkpoint, &[])).unwrap();
    let model = gpu.open(checkpoint, &[]);
    let mut session = model.clone().session().unwrap();
    let sequence = session.sequence(None).unwrap();
    read(session.as_mut(), sequence, &text(1, 20), usize::MAX);
    control.configure(settings).unwrap();
    let error = work(&model).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{settings}: {error:?}");
    // The device is gone for this engine: every call says so, none hangs or ends the process.
    for _ in 0..2 {
        assert!(
            session.forward(&[Step { sequence, chain: &[1], tree: &[], keep: &[0] }]).is_err() || {
                // A launch whose failure shows when it is waited for.
                let rows = session.forward(&[Step { sequence, chain: &[1], tree: &[], keep: &[0] }]);
                rows.and_then(|rows| session.all_logits(rows[0])).is_err()
            }
        );
        assert!(work(&model).is_err(), "{settings}");
    }
    drop(session);
    drop(model);
    control.configure("{}").unwrap();
    assert!(same_bits(&work(&gpu.open(checkpoint, &[])).unwrap(), &want), "{settings}");
}

#[test]
fn a_launch_that_fails_leaves_errors_and_a_new_engine_works() {
    let name = "a_launch_that_fails_leaves_errors_and_a_new_engine_works";
    let Some((gpu, control)) = take(name, r#"{"quiet": true}"#) else { return };
    let checkpoint = random(&config(None), 7);
    for settings in [
        r#"{"fail_launch": 1}"#,
        r#"{"fail_launch": {"at": 9, "code": 700}}"#,
        r#"{"fail_launch": {"at": 21, "code": 715}}"#,
        r#"{"lose_device": 5}"#,
    ] {
        fails_and_comes_back(&gpu, control, settings, &checkpoint);
    }
}

#[test]
fn a_launch_that_is_refused_leaves_the_engine_as_it_was() {
    let name = "a_launch_that_is_refused_leaves_the_engine_as_it_was";
    let Some((gpu, control)) = take(name, r#"{"quiet": true}"#) else { return };
    let model = gpu.open(&random(&config(None), 7), &[]);
    let want = alone(&model, &text(1, 30));
    let mut s = model.clone().session().unwrap();
    let sequence = s.sequence(None).unwrap();
    read(s.as_mut(), sequence, &text(1, 29), usize::MAX);
    // 701: too many resources asked for, which the driver says at once.
    control.configure(r#"{"fail_launch": {"at": 4, "code": 701}}"#).unwrap();
    let step = Step { sequence, chain: &text(1, 30)[29..], tree: &[], keep: &[0] };
    assert!(matches!(s.forward(&[step]), Err(Error::Device { code: 701, .. })));
    assert_eq!(s.len(sequence), 29);
    assert!(same_bits(&read(s.as_mut(), sequence, step.chain, 1), &want));
}

#[test]
fn what_held_a_text_is_wiped_when_asked() {
    // Token ids as the lists of a pass hold them.
    let watch = r#"{"watch": "!\u0000\u0000\u0000\"\u0000\u0000\u0000#\u0000\u0000\u0000"}"#;
    let Some((_gpu, control)) = take("what_held_a_text_is_wiped_when_asked", watch) else { return };
    let checkpoint = random(&config(None), 7);
    let traces = |wipe| {
        let before = counter(control, "traces");
        let cuda = Cuda::open(&CudaOptions { wipe, ..CudaOptions::default() }).unwrap();
        let model: Model = Mistral::open(&checkpoint, cuda, &[]).unwrap();
        alone(&model, &[33, 34, 35]);
        drop(model);
        counter(control, "traces") - before
    };
    assert!(traces(false) > 0, "the watch sees what is left behind");
    assert_eq!(traces(true), 0);
}
