//! `bmn train` killed at random moments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../../train/tests/common/mod.rs"]
mod fixture;

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
