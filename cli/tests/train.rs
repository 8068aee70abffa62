//! `bmn train` killed at random moments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../../train/tests/common/mod.rs"]
mod fixture;

use biomistral_nlu_train::{Event, Trainer};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

fn train(folder: &Path, output: &str) -> Command {
    let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    let config = config
        .replace("output = \"run\"", &format!("output = \"{output}\""))
        .replace("save_every = 4", "save_every = 1");
    let path = folder.join(format!("{output}.toml"));
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bmn"));
    command.args(["train", "--quiet", "--resume", "--config"]).arg(path).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_run_that_is_killed_at_any_moment_ends_in_the_same_bits() {
    let kills: u32 = std::env::var("BMN_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    fixture::fixture(folder.path(), "lora", "");
    let began = Instant::now();
    assert!(train(folder.path(), "through").status().unwrap().success());
    let whole = began.elapsed();
    let adapter =
        |output: &str| std::fs::read(folder.path().join(output).join("adapter/adapter_model.safetensors")).unwrap();
    let want = adapter("through");
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos() as u64;
    let mut killed = 0;
    for round in 0.. {
        if killed >= kills {
            break;
        }
        let output = format!("run{round}");
        loop {
            let mut child = train(folder.path(), &output).spawn().unwrap();
            // Anywhere from before the first step to after the last.
            let share = (biomistral_nlu::random::mix(clock + killed as u64) >> 11) as f64 / (1u64 << 53) as f64;
            std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
            if killed < kills && child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
                continue;
            }
            let ended = child.wait_with_output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
            break;
        }
        assert!(adapter(&output) == want, "other weights after {killed} kills (clock {clock})");
        std::fs::remove_dir_all(folder.path().join(&output)).unwrap();
    }
    println!("{killed} kills");
}

#[test]
fn a_plan_is_printed_and_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fixture::fixture(folder.path(), "lora", "");
    let bmn = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_bmn")).current_dir(folder.path()).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = bmn(&["train", "--config", "config.toml", "--plan"]);
    assert!(code == 0 && out.contains("steps        20\n") && out.contains("memory"), "{out}");
    assert!(!folder.path().join("run").exists(), "a plan leaves nothing behind");
    fixture::fixture(folder.path(), "lora", "colour = \"red\"");
    let (code, _, err) = bmn(&["train", "--config", "config.toml"]);
    assert!(code == 1 && err.contains("colour"), "{err}");
}

/// A limit on the size of files stands for the disk: state.safetensors of the fixture takes some 70 KB.
#[test]
fn a_full_disk_ends_the_run_by_name_and_leaves_the_last_state() {
    let folder = tempfile::tempdir().unwrap();
    fixture::fixture(folder.path(), "lora", "");
    assert!(train(folder.path(), "through").status().unwrap().success());
    let mut config = fixture::config(folder.path(), "run");
    config.run.save_every = 1;
    let stop = |event: Event| !matches!(event, Event::Saved { step: 4 });
    Trainer::new(config, false).unwrap().run(&mut { stop }).unwrap();
    let run = train(folder.path(), "run");
    let command = format!("trap '' XFSZ; ulimit -f 60; exec {} \"$@\"", env!("CARGO_BIN_EXE_bmn"));
    let ended = Command::new("sh").args(["-c", &command, "sh"]).args(run.get_args()).output().unwrap();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && error.contains("state.safetensors"), "{error}");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(folder.path().join("run/checkpoints")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["step-00000003", "step-00000004"]);
    assert!(train(folder.path(), "run").status().unwrap().success());
    let adapter = |output: &str| std::fs::read(folder.path().join(output).join("adapter/adapter_model.safetensors"));
    assert!(adapter("run").unwrap() == adapter("through").unwrap());
}

#[test]
fn peft_computes_the_same_with_an_adapter_written_here() {
    let python = std::env::var_os("BMN_PYTHON");
    let has_peft = |python: &std::ffi::OsString| {
        let ran = Command::new(python).args(["-c", "import peft"]).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let Some(python) = python.filter(has_peft) else {
        println!(
            "SKIPPED peft_computes_the_same_with_an_adapter_written_here: set BMN_PYTHON to one with transformers and peft"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fixture::fixture(folder.path(), "lora", "");
    assert!(train(folder.path(), "run").status().unwrap().success());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/peft_parity.py");
    let paths = ["model", "run/adapter"].map(|name| folder.path().join(name));
    let ran = Command::new(python).arg(script).arg(env!("CARGO_BIN_EXE_bmn")).args(paths).output().unwrap();
    println!("{}", String::from_utf8_lossy(&ran.stdout));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
