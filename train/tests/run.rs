//! Whole runs of a tiny model: interrupted and not, refused and resumed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use biomistral_nlu::task::{Engine, EngineOptions, ModelSettings};
use biomistral_nlu::weights::{Checkpoint, MergeOptions, MergeSource, PeftAdapter, merge_models, random_checkpoint};
use biomistral_nlu_train::{Config, Corpus, Error, Event, Outcome, Trainer};
use common::{RECORDS, config, fixture};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Runs until done, stopping after each of `stops` and going on with another number of threads.
fn run(config: &Config, stops: &[u64]) -> PathBuf {
    let mut config = config.clone();
    for (i, stop) in stops.iter().enumerate() {
        let mut trainer = Trainer::new(config.clone(), true).unwrap();
        let outcome = trainer.run(&mut |event| !matches!(event, Event::Step { step, .. } if step.0 == *stop)).unwrap();
        assert_eq!(outcome, Outcome::Stopped(*stop));
        config.run.threads = 1 + (i + 1) % 3;
        config.run.activations_mib = i as u64 % 2;
    }
    match Trainer::new(config, true).unwrap().run(&mut |_| true).unwrap() {
        Outcome::Done(folder) => folder,
        other => panic!("{other:?}"),
    }
}

fn metrics(output: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    let without_memory = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("memory_mib");
        line
    };
    text.lines().map(without_memory).collect()
}

#[test]
fn interrupted_runs_end_in_the_same_bits() {
    for (method, file) in [("lora", "adapter_model.safetensors"), ("full", "model.safetensors")] {
        let folder = tempfile::tempdir().unwrap();
        fixture(folder.path(), method, "");
        let through = run(&config(folder.path(), "through"), &[]);
        // Between checkpoints, at one, at a validation, in the last step but one.
        let stopped = run(&config(folder.path(), "stopped"), &[3, 4, 7, 19]);
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert!(read(&through) == read(&stopped), "{method}: other weights after interruptions");
        let lines = metrics(&folder.path().join("through"));
        assert_eq!(lines, metrics(&folder.path().join("stopped")), "{method}");
        let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
        assert_eq!(losses.len(), 4 * RECORDS.div_ceil(5));
        let validation: Vec<f64> = lines.iter().filter_map(|line| line["validation"].as_f64()).collect();
        assert_eq!(validation.len(), 3, "after steps 7 and 14, and at the end");
        // A random model that stays as it is gives an adapter little to work with; full tuning learns by heart.
        let factor = if method == "lora" { 0.98 } else { 0.5 };
        assert!(losses[19] < factor * losses[0] && validation[2] < validation[0], "{losses:?} {validation:?}");
        let last = lines.iter().rfind(|line| line["validation"].is_f64()).unwrap();
        assert!(last["accuracy"].as_f64().is_some_and(|x| (0.0..=1.0).contains(&x)), "{last}");
        assert!(last["f1"].as_f64().is_some_and(|x| (0.0..=1.0).contains(&x)), "{last}");
        assert!(last["answers"]["t2"]["f1"].is_null() && last["answers"]["t0"]["accuracy"].is_null(), "{last}");
        if method == "full" {
            assert_eq!(last["accuracy"], 1.0, "{last}");
        }
        let groups = lines.iter().find(|line| line["groups"].is_object()).unwrap()["groups"].as_object().unwrap();
        assert_eq!(groups.keys().collect::<Vec<_>>(), ["t0", "t1", "t2"]);
        let report = std::fs::read_to_string(folder.path().join("through/report.html")).unwrap();
        assert!(report.matches("<svg").count() == 5 && report.matches("<polyline").count() == 7);
        let checkpoints = std::fs::read_dir(folder.path().join("stopped/checkpoints")).unwrap();
        assert_eq!(checkpoints.count(), 2);
        if method == "lora" {
            let base = Checkpoint::open(&folder.path().join("model")).unwrap();
            let adapter = base.adapter(&through).unwrap();
            assert_eq!(adapter.base(), Some(base.base_id().unwrap()));
            assert_eq!((adapter.parts().len(), adapter.rank(), adapter.parts()[0].scale), (14, 4, 2.0));
            assert!(adapter.parts().iter().all(|part| part.b.iter().any(|b| b.to_f32() != 0.0)));
        } else {
            Checkpoint::open(&through).unwrap().check_complete().unwrap();
        }
    }
}

#[test]
fn a_run_begins_with_an_adapter_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path(), "lora", "");
    let validation = |output: &str| -> Vec<f64> {
        metrics(&folder.path().join(output)).iter().filter_map(|line| line["validation"].as_f64()).collect()
    };
    let first = run(&config(folder.path(), "first"), &[]);
    let mut again = config(folder.path(), "again");
    again.tuning.from = Some(first.clone());
    // A rate that no bf16 weight notices: what is measured is what the run began with.
    again.optimiser.rate = 1e-12;
    let second = run(&again, &[3]);
    let ended = *validation("first").last().unwrap();
    assert!(validation("again").iter().all(|loss| *loss == ended), "{ended} {:?}", validation("again"));
    assert!(ended < validation("first")[0]);
    let parts = |folder: &Path| Checkpoint::open(&again.model).unwrap().adapter(folder).unwrap();
    let same = |a: &PeftAdapter, b: &PeftAdapter| {
        a.parts().iter().zip(b.parts()).all(|(a, b)| a.a == b.a && a.b == b.b && a.target == b.target)
    };
    assert!(same(&parts(&first), &parts(&second)));

    // It learns on from there, and not from other shapes.
    again.optimiser.rate = 2e-2;
    again.output = folder.path().join("on");
    assert!(!same(&parts(&first), &parts(&run(&again, &[]))));
    let change = |edit: &dyn Fn(&mut Config)| {
        let mut config = again.clone();
        config.output = folder.path().join("refused");
        edit(&mut config);
        refused(&config, false)
    };
    let shape = change(&|c| c.tuning.rank = 8);
    assert!(shape.contains("rank 8 and scale 1 on 14") && shape.contains("rank 4 and scale 2 on 14"), "{shape}");
    assert!(change(&|c| c.tuning.targets.truncate(1)).contains("on 2 projections"));
    // A run goes on with the adapter that it began with.
    again.output = folder.path().join("again");
    again.optimiser.rate = 1e-12;
    again.tuning.from = Some(second);
    assert!(refused(&again, true).contains("tuning"));
}

/// The error of starting or running.
/// What counts twice is what stands there twice; weights that are all the same change nothing.
#[test]
fn a_weight_of_the_loss_counts_as_often_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path(), "lora", "");
    let text = std::fs::read_to_string(folder.path().join("train.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let first_step = |name: &str, files: &[(&[usize], f64)]| -> (f64, f64) {
        let mut config = config(folder.path(), name);
        config.tuning.dropout = 0.0;
        // All in one step, over as many passes as it takes.
        (config.run.batch, config.run.epochs, config.validation) = (100, 1, Vec::new());
        config.train = Vec::new();
        for (i, (chosen, loss_weight)) in files.iter().enumerate() {
            let file = folder.path().join(format!("{name}-{i}.jsonl"));
            std::fs::write(&file, chosen.iter().map(|&line| format!("{}\n", lines[line])).collect::<String>()).unwrap();
            config.train.push(Corpus { file, rate: 1.0, loss_weight: *loss_weight });
        }
        let output = config.output.clone();
        run(&config, &[]);
        let line = &metrics(&output)[0];
        (line["loss"].as_f64().unwrap(), line["norm"].as_f64().unwrap())
    };
    let near = |a: (f64, f64), b: (f64, f64)| {
        // Sums of the same bf16 products in another order.
        assert!((a.0 / b.0 - 1.0).abs() < 1e-5 && (a.1 / b.1 - 1.0).abs() < 1e-2, "{a:?} {b:?}");
    };
    let twice = first_step("twice", &[(&[0, 2, 3, 5, 2, 5], 1.0)]);
    near(first_step("weighed", &[(&[0, 3], 1.0), (&[2, 5], 2.0)]), twice);
    near(first_step("halved", &[(&[2, 5], 1.0), (&[0, 3], 0.5)]), twice);
    let once = first_step("once", &[(&[0, 2, 3, 5], 1.0)]);
    near(first_step("all", &[(&[0, 3], 3.0), (&[2, 5], 3.0)]), once);
    // Several times what counts as near: the weights are seen.
    assert!((twice.0 / once.0 - 1.0).abs() > 1e-4 && (twice.1 / once.1 - 1.0).abs() > 3e-2, "{twice:?} {once:?}");
}

fn refused(config: &Config, resume: bool) -> String {
    let error = match Trainer::new(config.clone(), resume) {
        Ok(mut trainer) => trainer.run(&mut |_| true).err(),
        Err(error) => Some(error),
    };
    error.expect("a run that is refused").to_string()
}

#[test]
fn a_run_goes_on_only_as_it_began() {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path(), "lora", "");
    let original = config(folder.path(), "run");
    Trainer::new(original.clone(), false).unwrap().run(&mut |event| !matches!(event, Event::Saved { .. })).unwrap();
    assert!(refused(&original, false).contains("--resume"));
    let change = |edit: &dyn Fn(&mut Config)| {
        let mut config = original.clone();
        edit(&mut config);
        refused(&config, true)
    };
    assert!(change(&|c| c.optimiser.rate = 1e-3).contains("optimiser"));
    assert!(change(&|c| c.tuning.alpha = 9.0).contains("tuning"));
    assert!(change(&|c| c.run.batch = 6).contains("batch"));
    assert!(change(&|c| c.seed = 1).contains("data options"));
    assert!(change(&|c| c.train[0].loss_weight = 2.0).contains("data options"));
    let data = folder.path().join("train.jsonl");
    let text = std::fs::read_to_string(&data).unwrap();
    std::fs::write(&data, text.replacen("aspirin", "heparin", 1)).unwrap();
    assert!(refused(&original, true).contains("made with data"));
    std::fs::write(&data, text).unwrap();

    let model = folder.path().join("model/model.safetensors");
    let weights = std::fs::read(&model).unwrap();
    let changed = [&weights[..weights.len() - 1], &[weights[weights.len() - 1] ^ 1]].concat();
    std::fs::write(&model, changed).unwrap();
    assert!(refused(&original, true).contains("made with model"));
    std::fs::write(&model, &weights).unwrap();

    let checkpoint = folder.path().join("run/checkpoints/step-00000004");
    let state = std::fs::read(checkpoint.join("state.safetensors")).unwrap();
    for broken in [&state[..state.len() - 1], &[&state[..100], &[state[100] ^ 1], &state[101..]].concat(), &[]] {
        std::fs::write(checkpoint.join("state.safetensors"), broken).unwrap();
        assert!(refused(&original, true).contains("state.safetensors"));
    }
    std::fs::write(checkpoint.join("state.safetensors"), &state).unwrap();
    std::fs::write(checkpoint.join("run.json"), "{").unwrap();
    assert!(refused(&original, true).contains("run.json"));
}

#[test]
fn an_adapter_is_refused_by_another_model_of_the_same_shape() {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path(), "lora", "");
    let adapter = run(&config(folder.path(), "run"), &[]);
    let base = Checkpoint::open(&folder.path().join("model")).unwrap();
    let other = folder.path().join("other");
    random_checkpoint(base.config(), 4, &other, &mut |_, _| true).unwrap();
    std::fs::copy(folder.path().join("model/tokenizer.model"), other.join("tokenizer.model")).unwrap();
    let options = |model: &Path| EngineOptions {
        model: model.into(),
        adapters: [("tuned".to_string(), adapter.clone())].into(),
        ..EngineOptions::default()
    };
    let named = |error: Error| {
        let [want, got] =
            [base.path(), &other].map(|path| Checkpoint::open(path).unwrap().base_id().unwrap().to_owned());
        let text = error.to_string();
        let both = text.contains(&want) && text.contains(&got) && text.contains("adapter_model.safetensors");
        assert!(matches!(error, Error::OtherBase { .. }) && both, "{text}");
    };
    let engine = Engine::open(&options(base.path())).unwrap();
    named(Engine::open(&options(&other)).err().unwrap());
    named(
        Engine::open(&EngineOptions { adapters: BTreeMap::new(), merge: Some(adapter.clone()), ..options(&other) })
            .err()
            .unwrap(),
    );
    let plain = Engine::open(&EngineOptions { adapters: BTreeMap::new(), ..options(&other) }).unwrap();
    // Read without a model beside it, and then set.
    let read = PeftAdapter::open(&adapter, base.config()).unwrap();
    assert!(engine.set_adapter("again", &read, ModelSettings::default()).is_ok());
    named(plain.set_adapter("again", &read, ModelSettings::default()).unwrap_err());
    // Merging as well; but what is taken out of a model was made for another one.
    let merge = |from: &Path, to: &str, weight| {
        let sources = vec![(MergeSource::Adapter(adapter.clone()), weight)];
        let options = MergeOptions { sources, drop: 0.0, rescale: true, seed: 0 };
        merge_models(from, &options, &folder.path().join(to), &mut |_, _| true)
    };
    named(merge(&other, "refused", 1.0).unwrap_err());
    merge(base.path(), "merged", 1.0).unwrap();
    merge(&folder.path().join("merged"), "back", -1.0).unwrap();
    assert!(!folder.path().join("refused").exists());
    // The model is asked when the first adapter comes: what was loaded, not what lies in its place by then; and a file that was
    // cut short is told, not read.
    let alone = |model: &Path| Engine::open(&EngineOptions { adapters: BTreeMap::new(), ..options(model) }).unwrap();
    let (late, cut) = (alone(base.path()), alone(&folder.path().join("merged")));
    std::fs::rename(other.join("model.safetensors"), base.path().join("model.safetensors")).unwrap();
    assert!(late.set_adapter("late", &read, ModelSettings::default()).is_ok());
    let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("merged/model.safetensors")).unwrap();
    file.set_len(100).unwrap();
    let error = cut.set_adapter("cut", &read, ModelSettings::default()).unwrap_err();
    assert!(error.code() == 5 && error.to_string().contains("as when it was opened"), "{error}");
}

#[test]
fn records_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path(), "lora", "");
    let data = folder.path().join("train.jsonl");
    let good = std::fs::read_to_string(&data).unwrap();
    let secret = "Mrs Secret";
    for bad in [
        format!("{{\"messages\": [{{\"role\": \"user\", \"content\": \"{secret}\"}}]}}"),
        format!(
            "{{\"messages\": [{{\"role\": \"user\", \"content\": \"{secret}\"}}, {{\"role\": \"assistant\", \"content\": \"\"}}]}}"
        ),
        format!("{{\"messages\": \"{secret}\"}}"),
        format!("{{\"messages\": [{secret}"),
    ] {
        std::fs::write(&data, format!("{good}\n{bad}\n")).unwrap();
        let error = refused(&config(folder.path(), "bad"), false);
        assert!(error.contains(&format!("train.jsonl, line {}", RECORDS + 2)) && !error.contains(secret), "{error}");
    }
    let long = good.lines().next().unwrap().replace("aspirin.", &"aspirin and ".repeat(40));
    std::fs::write(&data, format!("{good}{long}\n")).unwrap();
    let mut config = config(folder.path(), "long");
    let error = Trainer::new(config.clone(), false).err().unwrap();
    assert!(matches!(&error, Error::TooLong { what, limit: 128, .. } if what.contains("line 25")), "{error}");
    config.too_long = biomistral_nlu_train::TooLong::Drop;
    let plan = biomistral_nlu_train::plan(&config).unwrap();
    assert_eq!(plan.examples, (RECORDS, 1));
    config.train[0].rate = 0.5;
    let half = biomistral_nlu_train::plan(&config).unwrap();
    assert_eq!(half.examples.0 + half.examples.1, 13);
    // Labels on all tokens count more of them: all but the first of each example.
    config.labels = biomistral_nlu_train::Labels::All;
    config.train[0].rate = 1.0;
    let all = biomistral_nlu_train::plan(&config).unwrap();
    assert_eq!(all.tokens, (plan.tokens.0, plan.tokens.0 - RECORDS));
    assert!(plan.tokens.1 < all.tokens.1 / 2);
}

#[test]
fn a_jump_of_the_loss_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    fixture(folder.path(), "full", "");
    let mut config = config(folder.path(), "run");
    config.optimiser.rate = 1e30;
    config.optimiser.clip = 0.0;
    let error = refused(&config, false);
    assert!(error.contains("expected finite numbers") && error.contains("train.jsonl:"), "{error}");
}
