//! What tests ask of the virtual device beside the driver's API; [`crate::loading`] finds these by their names.

use super::args::{Out, Text};
use super::config::Config;
use super::errors::INVALID_VALUE;
use super::state::state;
use super::{context, event, module, stream};
use serde_json::json;
use std::sync::atomic::Ordering;

/// Hands out `text`: as much as fits `room` bytes with a NUL behind it; returns the bytes of the whole.
fn hand_out(text: &str, place: Out<u8>, room: usize) -> usize {
    if room > 0 {
        let mut bytes = text.as_bytes()[..text.len().min(room - 1)].to_vec();
        bytes.push(0);
        let _ = place.set_all(&bytes, room);
    }
    text.len()
}

api! {
    /// Changes settings, see [`Config`]; what is wrong with them is then the last report.
    fn vgpuConfigure(settings: Text) {
        match state().config().changed(settings.get()?) {
            Ok(config) => {
                state().configure(config);
                Ok(())
            }
            Err(why) => {
                state().report(format!("vgpu: settings: {why}"));
                Err(INVALID_VALUE)
            }
        }
    }

    /// Forgets the last report and what was counted; settings stay.
    fn vgpuForget() {
        state().forget();
        Ok(())
    }

    /// Settings as the process began with; reports and counters forgotten; a lost device is back.
    fn vgpuReset() {
        let config = match std::env::var("VGPU") {
            Ok(settings) => Config::default().changed(&settings).map_err(|_| INVALID_VALUE)?,
            Err(_) => Config::default(),
        };
        state().configure(config);
        state().forget();
        Ok(())
    }
}

/// The last fault in full, empty if there was none.
#[unsafe(no_mangle)]
extern "C" fn vgpuLastReport(place: Out<u8>, room: usize) -> usize {
    hand_out(&state().last_report(), place, room)
}

/// What there is and what was counted, as JSON.
#[unsafe(no_mangle)]
extern "C" fn vgpuCounters(place: Out<u8>, room: usize) -> usize {
    let state = state();
    let device = json!({
        "launches": state.launches.load(Ordering::Relaxed),
        "used": state.used(),
        "pinned": state.pinned(),
        "contexts": context::count(),
        "streams": stream::count(),
        "events": event::count(),
        "modules": module::count(),
        "traces": state.traces(),
    });
    let text = state.profiles(|kernels| json!({"device": device, "kernels": kernels}).to_string());
    hand_out(&text, place, room)
}

/// What was counted, as tables to read.
#[unsafe(no_mangle)]
extern "C" fn vgpuProfiles(place: Out<u8>, room: usize) -> usize {
    let text: String = state().profiles(|kernels| kernels.values().map(|profile| format!("{profile}\n")).collect());
    hand_out(&text, place, room)
}
