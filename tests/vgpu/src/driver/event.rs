//! Events: points in streams that can be waited for and timed.

use super::args::Out;
use super::capture::Capture;
use super::context::{self, Context};
use super::errors::{
    CAPTURED_EVENT, INVALID_HANDLE, INVALID_VALUE, NOT_READY, NOT_SUPPORTED, Result, STREAM_CAPTURE_ISOLATION,
};
use super::handles::Table;
use super::stream::{self, Stream};
use std::ffi::c_uint;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

static EVENTS: Table<Event> = Table::new(3);

const DISABLE_TIMING: c_uint = 2;

/// One event.
pub struct Event {
    handle: u64,
    context: Arc<Context>,
    timed: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Times it was recorded, and how many of these the streams have come past.
    recorded: u64,
    reached: u64,
    at: Option<Instant>,
    /// Last recorded in a capture: after these of its nodes.
    captured: Option<(Arc<Capture>, Vec<usize>)>,
}

/// The event of a handle.
pub fn by_handle(handle: u64) -> Result<Arc<Event>> {
    let event = EVENTS.get(handle, INVALID_HANDLE)?;
    event.context.healthy()?;
    Ok(event)
}

/// The context dies, and its events with it.
pub fn destroy_all(context: u64) {
    EVENTS.remove_all(|event| event.context.handle == context);
}

impl Event {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(self: &Arc<Event>, stream: &Arc<Stream>) -> Result {
        if let Some(capture) = stream.capture() {
            capture.check()?;
            let tail = capture.tail(stream.handle);
            self.state().captured = Some((capture, tail));
            return Ok(());
        }
        let ticket = {
            let mut state = self.state();
            state.captured = None;
            state.recorded += 1;
            state.recorded
        };
        let event = self.clone();
        stream.mark(move || event.reach(ticket)).inspect_err(|_| self.reach(ticket))
    }

    fn reach(&self, ticket: u64) {
        let mut state = self.state();
        // A later record may have been reached first, in another stream.
        if state.reached < ticket {
            state.reached = ticket;
            state.at = Some(Instant::now());
        }
        self.changed.notify_all();
    }

    /// What comes next in `stream` waits for the event as it is recorded now.
    pub fn hold_back(self: &Arc<Event>, stream: &Arc<Stream>) -> Result {
        let (ticket, captured) = {
            let state = self.state();
            (state.recorded, state.captured.clone())
        };
        if let Some((capture, nodes)) = captured {
            return if capture.ended() { Err(CAPTURED_EVENT) } else { capture.join(stream, &nodes) };
        }
        if ticket == 0 {
            return Ok(());
        }
        if let Some(capture) = stream.capture() {
            capture.invalidate();
            return Err(STREAM_CAPTURE_ISOLATION);
        }
        let event = self.clone();
        stream.mark(move || event.wait_for(ticket))
    }

    fn wait_for(&self, ticket: u64) {
        let mut state = self.state();
        while state.reached < ticket {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// That the event is no part of a capture, which asking after it would spoil.
    fn outside_capture(&self) -> Result {
        match &self.state().captured {
            Some((capture, _)) => {
                capture.invalidate();
                Err(CAPTURED_EVENT)
            }
            None => Ok(()),
        }
    }

    fn is_reached(&self) -> bool {
        let state = self.state();
        state.reached >= state.recorded
    }
}

fn elapsed(milliseconds: Out<f32>, start: u64, end: u64) -> Result {
    let (start, end) = (by_handle(start)?, by_handle(end)?);
    let mut times = [None; 2];
    for (event, time) in [&start, &end].into_iter().zip(&mut times) {
        event.outside_capture()?;
        if !event.timed || event.state().recorded == 0 {
            return Err(INVALID_HANDLE);
        }
        if !event.is_reached() {
            return Err(NOT_READY);
        }
        *time = event.state().at;
    }
    let [Some(start), Some(end)] = times else { return Err(INVALID_HANDLE) };
    let seconds = if end >= start { (end - start).as_secs_f64() } else { -(start - end).as_secs_f64() };
    milliseconds.set((seconds * 1e3) as f32)
}

/// Live events.
pub fn count() -> usize {
    EVENTS.all(|_| true).len()
}

api! {
    fn cuEventCreate(place: Out<u64>, flags: c_uint) {
        let context = context::current()?;
        if flags > 7 {
            return Err(INVALID_VALUE);
        }
        let event = EVENTS.insert(|handle| Event {
            handle,
            context,
            timed: flags & DISABLE_TIMING == 0,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        place.set(event.handle)
    }

    fn cuEventDestroy_v2(handle: u64) { EVENTS.remove(handle, INVALID_HANDLE).map(|_| ()) }

    fn cuEventRecord(handle: u64, stream: u64) {
        let stream = stream::by_handle(stream)?;
        by_handle(handle)?.record(&stream)
    }

    fn cuEventRecordWithFlags(handle: u64, stream: u64, flags: c_uint) {
        if flags != 0 {
            return Err(NOT_SUPPORTED);
        }
        let stream = stream::by_handle(stream)?;
        by_handle(handle)?.record(&stream)
    }

    /// An event that was never recorded counts as reached.
    fn cuEventQuery(handle: u64) {
        let event = by_handle(handle)?;
        event.outside_capture()?;
        if event.is_reached() { event.context.healthy() } else { Err(NOT_READY) }
    }

    fn cuEventSynchronize(handle: u64) {
        let event = by_handle(handle)?;
        event.outside_capture()?;
        let ticket = event.state().recorded;
        event.wait_for(ticket);
        event.context.healthy()
    }

    /// Host time between the moments at which the streams came past the events.
    fn cuEventElapsedTime(milliseconds: Out<f32>, start: u64, end: u64) { elapsed(milliseconds, start, end) }
    fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: u64, end: u64) { elapsed(milliseconds, start, end) }
}
