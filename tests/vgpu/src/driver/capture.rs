//! Stream capture: work is noted down instead of done, with what it depends on; the rules on what may not happen meanwhile.

use super::context::Context;
use super::errors::{
    ILLEGAL_STATE, INVALID_VALUE, Result, STREAM_CAPTURE_INVALIDATED, STREAM_CAPTURE_MERGE, STREAM_CAPTURE_UNJOINED,
    STREAM_CAPTURE_UNMATCHED, STREAM_CAPTURE_UNSUPPORTED, STREAM_CAPTURE_WRONG_THREAD,
};
use super::graph::Node;
use super::stream::{self, Kind, Stream, Work};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// Captures in progress anywhere in the process.
static ACTIVE: Mutex<Vec<Arc<Capture>>> = Mutex::new(Vec::new());

/// Whom a capture forbids calls that are not safe during one (allocating, waiting).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Every thread.
    Global,
    /// The thread that began it.
    ThreadLocal,
    /// Nobody.
    Relaxed,
}

/// One capture, of one or more streams.
pub struct Capture {
    mode: Mode,
    origin: u64,
    thread: ThreadId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    invalid: bool,
    ended: bool,
    nodes: Vec<Node>,
    /// By stream: the nodes that its next one depends on.
    tails: BTreeMap<u64, Vec<usize>>,
}

fn active() -> MutexGuard<'static, Vec<Arc<Capture>>> {
    ACTIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing will come of this capture: something happened that must not.
    pub fn invalidate(&self) {
        self.state().invalid = true;
    }

    /// That the capture is still good.
    pub fn check(&self) -> Result {
        if self.state().invalid { Err(STREAM_CAPTURE_INVALIDATED) } else { Ok(()) }
    }

    /// Whether the capture is over, well or not.
    pub fn ended(&self) -> bool {
        self.state().ended
    }

    /// Notes down `work` after what `stream` depends on.
    pub fn add(&self, stream: u64, work: Work) -> Result {
        self.check()?;
        let mut state = self.state();
        let node = state.nodes.len();
        let after = state.tails.insert(stream, vec![node]).unwrap_or_default();
        state.nodes.push(Node { after, work });
        Ok(())
    }

    /// What the next node of `stream` would depend on: what an event recorded there stands for.
    pub fn tail(&self, stream: u64) -> Vec<usize> {
        self.state().tails.get(&stream).cloned().unwrap_or_default()
    }

    /// The next node of `stream` depends on `nodes` too; a stream that was no part of the capture becomes one.
    pub fn join(self: &Arc<Capture>, stream: &Stream, nodes: &[usize]) -> Result {
        self.check()?;
        match stream.capture() {
            None if stream.kind == Kind::Legacy => return Err(STREAM_CAPTURE_UNSUPPORTED),
            None => stream.set_capture(Some(self.clone())),
            Some(own) if Arc::ptr_eq(&own, self) => {}
            Some(own) => {
                own.invalidate();
                self.invalidate();
                return Err(STREAM_CAPTURE_MERGE);
            }
        }
        let mut state = self.state();
        let tail = state.tails.entry(stream.handle).or_default();
        for node in nodes {
            if !tail.contains(node) {
                tail.push(*node);
            }
        }
        Ok(())
    }
}

/// `cuStreamBeginCapture`.
pub fn begin(stream: &Stream, mode: c_int) -> Result {
    let mode = match mode {
        0 => Mode::Global,
        1 => Mode::ThreadLocal,
        2 => Mode::Relaxed,
        _ => return Err(INVALID_VALUE),
    };
    if stream.kind == Kind::Legacy {
        return Err(STREAM_CAPTURE_UNSUPPORTED);
    }
    if stream.capture().is_some() {
        return Err(ILLEGAL_STATE);
    }
    let state = Mutex::new(State { tails: BTreeMap::from([(stream.handle, Vec::new())]), ..State::default() });
    let capture = Arc::new(Capture { mode, origin: stream.handle, thread: thread::current().id(), state });
    active().push(capture.clone());
    stream.set_capture(Some(capture));
    Ok(())
}

/// `cuStreamEndCapture`: what was noted down.
pub fn end(stream: &Stream) -> Result<Vec<Node>> {
    let capture = stream.capture().ok_or(ILLEGAL_STATE)?;
    if capture.mode != Mode::Relaxed && capture.thread != thread::current().id() {
        return Err(STREAM_CAPTURE_WRONG_THREAD);
    }
    if capture.origin != stream.handle {
        capture.invalidate();
        return Err(STREAM_CAPTURE_UNMATCHED);
    }
    active().retain(|other| !Arc::ptr_eq(other, &capture));
    for member in stream::of(stream.context.handle) {
        if member.capture().is_some_and(|other| Arc::ptr_eq(&other, &capture)) {
            member.set_capture(None);
        }
    }
    let mut state = capture.state();
    state.ended = true;
    if state.invalid {
        return Err(STREAM_CAPTURE_INVALIDATED);
    }
    let nodes = std::mem::take(&mut state.nodes);
    let mut followed = vec![false; nodes.len()];
    for before in
        nodes.iter().flat_map(|node| &node.after).chain(state.tails.get(&capture.origin).into_iter().flatten())
    {
        followed[*before] = true;
    }
    // A last node that the first stream does not wait for belongs to a stream that was never joined again.
    if followed.contains(&false) { Err(STREAM_CAPTURE_UNJOINED) } else { Ok(nodes) }
}

/// A call that waits for `stream`, which a capturing one never comes to the end of.
pub fn refuse_in_stream(stream: &Stream) -> Result {
    let Some(capture) = stream.capture() else { return Ok(()) };
    capture.invalidate();
    Err(STREAM_CAPTURE_UNSUPPORTED)
}

/// A call that waits for all of `context`.
pub fn refuse_in_context(context: &Context) -> Result {
    let captures: Vec<_> = stream::of(context.handle).iter().filter_map(|stream| stream.capture()).collect();
    for capture in &captures {
        capture.invalidate();
    }
    if captures.is_empty() { Ok(()) } else { Err(STREAM_CAPTURE_UNSUPPORTED) }
}

/// A call that is not safe while this thread, or any thread in global mode, is capturing.
pub fn refuse_unsafe_call() -> Result {
    let thread = thread::current().id();
    let mut refused = false;
    for capture in active().iter() {
        let forbids = match capture.mode {
            Mode::Global => true,
            Mode::ThreadLocal => capture.thread == thread,
            Mode::Relaxed => false,
        };
        if forbids {
            capture.invalidate();
            refused = true;
        }
    }
    if refused { Err(STREAM_CAPTURE_UNSUPPORTED) } else { Ok(()) }
}

/// The context dies with what is captured in it.
pub fn forget(gone: impl Fn(u64) -> bool) {
    active().retain(|capture| !gone(capture.origin));
}
