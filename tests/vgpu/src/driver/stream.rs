//! Streams: a queue and a thread each, ordered among themselves by events and by the legacy stream.

use super::args::Out;
use super::capture::{self, Capture};
use super::context::{self, Context};
use super::errors::{
    INVALID_HANDLE, INVALID_VALUE, NOT_READY, NOT_SUPPORTED, Result, STREAM_CAPTURE_IMPLICIT,
    STREAM_CAPTURE_INVALIDATED, UNKNOWN,
};
use super::handles::Table;
use super::state::state;
use super::{event, event::Event};
use std::collections::VecDeque;
use std::ffi::{c_int, c_uint, c_void};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

static STREAMS: Table<Stream> = Table::new(2);

/// Most to least urgent.
pub const PRIORITIES: RangeInclusive<c_int> = -5..=0;

/// What is executed in a stream, once or, in a graph, at every launch of it.
pub type Work = Arc<dyn Fn() -> Result + Send + Sync>;

/// How a stream stands to the legacy one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The legacy stream itself.
    Legacy,
    /// Waits for the legacy stream, and it for this one.
    Blocking,
    /// Knows nothing of the legacy stream.
    NonBlocking,
}

enum Task {
    /// Skipped once the context has failed.
    Work(Work),
    /// Events and waits: done whatever happened, so that nobody waits for ever.
    Mark(Box<dyn FnOnce() + Send>),
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    submitted: u64,
    completed: u64,
    started: bool,
    closed: bool,
}

/// One stream.
pub struct Stream {
    /// What callers know it by; the default streams have one too, which nobody is given.
    pub handle: u64,
    /// Its context.
    pub context: Arc<Context>,
    /// How it stands to the legacy stream.
    pub kind: Kind,
    priority: c_int,
    queue: Mutex<Queue>,
    changed: Condvar,
    capture: Mutex<Option<Arc<Capture>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new stream of `context`.
pub fn make(context: &Arc<Context>, kind: Kind, priority: c_int) -> Arc<Stream> {
    STREAMS.insert(|handle| Stream {
        handle,
        context: context.clone(),
        kind,
        priority: priority.clamp(*PRIORITIES.start(), *PRIORITIES.end()),
        queue: Mutex::default(),
        changed: Condvar::new(),
        capture: Mutex::default(),
    })
}

/// Every live stream of a context, its default streams among them.
pub fn of(context: u64) -> Vec<Arc<Stream>> {
    STREAMS.all(|stream| stream.context.handle == context)
}

/// The context dies, and its streams with it.
pub fn destroy_all(context: u64) {
    let gone = STREAMS.remove_all(|stream| stream.context.handle == context);
    capture::forget(|origin| gone.iter().any(|stream| stream.handle == origin));
    for stream in gone {
        stream.close();
    }
}

/// The stream of a handle: 0 and 1 are the legacy stream, 2 is the thread's own. The context must be in order.
pub fn by_handle(handle: u64) -> Result<Arc<Stream>> {
    let stream = match handle {
        0 | 1 => context::current()?.legacy_stream(),
        2 => context::current()?.thread_stream(),
        _ => {
            context::current_even_faulty()?;
            STREAMS.get(handle, INVALID_HANDLE)?
        }
    };
    stream.context.healthy()?;
    Ok(stream)
}

impl Stream {
    /// The capture that this stream takes part in.
    pub fn capture(&self) -> Option<Arc<Capture>> {
        locked(&self.capture).clone()
    }

    /// Starts or stops taking part in a capture.
    pub fn set_capture(&self, capture: Option<Arc<Capture>>) {
        *locked(&self.capture) = capture;
    }

    /// Executes `work` after all that is in the stream, or adds it to the graph that is being captured.
    pub fn submit(self: &Arc<Stream>, work: Work) -> Result {
        if let Some(capture) = self.capture() {
            return capture.add(self.handle, work);
        }
        self.order_with_legacy()?;
        self.push(Task::Work(work));
        Ok(())
    }

    /// Calls `mark` once all that is in the stream is done; not for captures.
    pub fn mark(self: &Arc<Stream>, mark: impl FnOnce() + Send + 'static) -> Result {
        self.order_with_legacy()?;
        self.push(Task::Mark(Box::new(mark)));
        Ok(())
    }

    /// Like [`Stream::submit`], and waits for it.
    pub fn submit_and_wait(self: &Arc<Stream>, work: Work) -> Result {
        self.submit(work)?;
        self.drain();
        self.context.healthy()
    }

    /// Waits until all that was submitted before the call is done.
    pub fn drain(&self) {
        let last = locked(&self.queue).submitted;
        self.wait_for(last);
    }

    /// Whether all that was submitted is done.
    pub fn is_idle(&self) -> bool {
        let queue = locked(&self.queue);
        queue.completed == queue.submitted
    }

    fn wait_for(&self, ticket: u64) {
        let mut queue = locked(&self.queue);
        while queue.completed < ticket {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The legacy stream begins after all blocking streams, and they begin after it.
    fn order_with_legacy(self: &Arc<Stream>) -> Result {
        let before: Vec<Arc<Stream>> = match self.kind {
            Kind::NonBlocking => return Ok(()),
            Kind::Blocking => self.context.used_legacy_stream().into_iter().collect(),
            Kind::Legacy => {
                let others =
                    STREAMS.all(|other| other.context.handle == self.context.handle && other.kind == Kind::Blocking);
                for other in &others {
                    if let Some(capture) = other.capture() {
                        capture.invalidate();
                        return Err(STREAM_CAPTURE_IMPLICIT);
                    }
                }
                others
            }
        };
        for stream in before {
            let ticket = locked(&stream.queue).submitted;
            if locked(&stream.queue).completed < ticket {
                self.push(Task::Mark(Box::new(move || stream.wait_for(ticket))));
            }
        }
        Ok(())
    }

    fn push(self: &Arc<Stream>, task: Task) {
        let mut queue = locked(&self.queue);
        queue.submitted += 1;
        queue.tasks.push_back(task);
        if !queue.started {
            queue.started = true;
            let stream = self.clone();
            let worker = std::thread::Builder::new().name("vgpu stream".into()).spawn(move || stream.serve());
            if let Err(error) = worker {
                super::state::say(&format!("vgpu: no thread for a stream: {error}"));
                self.context.poison(super::errors::OPERATING_SYSTEM);
                queue.completed = queue.submitted;
            }
        }
        self.changed.notify_all();
    }

    fn serve(&self) {
        loop {
            let mut queue = locked(&self.queue);
            while queue.tasks.is_empty() && !queue.closed {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(task) = queue.tasks.pop_front() else { return };
            drop(queue);
            match task {
                Task::Work(work) if self.context.healthy().is_ok() => {
                    // A panic in here is an error of ours; the stream must go on or its callers wait for ever.
                    let done = catch_unwind(AssertUnwindSafe(|| work())).unwrap_or_else(|_| {
                        state().report("vgpu: a panic while executing; this is an error in the virtual GPU".into());
                        Err(UNKNOWN)
                    });
                    if let Err(error) = done {
                        self.context.poison(error);
                    }
                }
                Task::Work(_) => {}
                Task::Mark(mark) => mark(),
            }
            locked(&self.queue).completed += 1;
            self.changed.notify_all();
        }
    }

    /// No more work comes; what is queued is still done.
    fn close(&self) {
        locked(&self.queue).closed = true;
        self.changed.notify_all();
    }
}

/// A host function and what it is called with.
struct HostCall {
    function: extern "C" fn(*mut c_void),
    data: *mut c_void,
}

// SAFETY: `cuLaunchHostFunc` is defined to call the function on a thread of the driver's.
unsafe impl Send for HostCall {}
// SAFETY: as above; the caller answers for calls of a graph that is launched in several streams at a time.
unsafe impl Sync for HostCall {}

impl HostCall {
    fn call(&self) {
        (self.function)(self.data);
    }
}

fn create(place: Out<u64>, flags: c_uint, priority: c_int) -> Result {
    let context = context::current()?;
    let kind = match flags {
        0 => Kind::Blocking,
        1 => Kind::NonBlocking,
        _ => return Err(INVALID_VALUE),
    };
    place.set(make(&context, kind, priority).handle)
}

/// Live streams, default ones that were used among them.
pub fn count() -> usize {
    STREAMS.all(|_| true).len()
}

api! {
    fn cuStreamCreate(place: Out<u64>, flags: c_uint) { create(place, flags, 0) }
    fn cuStreamCreateWithPriority(place: Out<u64>, flags: c_uint, priority: c_int) { create(place, flags, priority) }

    /// Returns at once; what is queued is still done.
    fn cuStreamDestroy_v2(handle: u64) {
        let stream = STREAMS.remove(handle, INVALID_HANDLE)?;
        if let Some(capture) = stream.capture() {
            capture.invalidate();
        }
        stream.close();
        Ok(())
    }

    fn cuStreamSynchronize(handle: u64) {
        let stream = by_handle(handle)?;
        capture::refuse_in_stream(&stream)?;
        stream.drain();
        stream.context.healthy()
    }

    fn cuStreamQuery(handle: u64) {
        let stream = by_handle(handle)?;
        capture::refuse_in_stream(&stream)?;
        if stream.is_idle() { stream.context.healthy() } else { Err(NOT_READY) }
    }

    fn cuStreamGetCtx(handle: u64, place: Out<u64>) { place.set(by_handle(handle)?.context.handle) }

    fn cuStreamGetFlags(handle: u64, flags: Out<c_uint>) {
        flags.set(c_uint::from(by_handle(handle)?.kind == Kind::NonBlocking))
    }

    fn cuStreamGetPriority(handle: u64, priority: Out<c_int>) { priority.set(by_handle(handle)?.priority) }

    fn cuStreamWaitEvent(handle: u64, event: u64, flags: c_uint) {
        if flags != 0 {
            return Err(NOT_SUPPORTED);
        }
        let stream = by_handle(handle)?;
        let event: Arc<Event> = event::by_handle(event)?;
        event.hold_back(&stream)
    }

    fn cuLaunchHostFunc(handle: u64, function: Option<extern "C" fn(*mut c_void)>, data: *mut c_void) {
        let stream = by_handle(handle)?;
        let call = HostCall { function: function.ok_or(INVALID_VALUE)?, data };
        stream.submit(Arc::new(move || {
            call.call();
            Ok(())
        }))
    }

    /// Managed memory is always visible everywhere here.
    fn cuStreamAttachMemAsync(handle: u64, _address: u64, _bytes: usize, flags: c_uint) {
        if !matches!(flags, 1 | 2 | 4) {
            return Err(INVALID_VALUE);
        }
        by_handle(handle)?.submit(Arc::new(|| Ok(())))
    }

    fn cuStreamBeginCapture_v2(handle: u64, mode: c_int) {
        let stream = by_handle(handle)?;
        capture::begin(&stream, mode)
    }

    fn cuStreamEndCapture(handle: u64, graph: Out<u64>) {
        let stream = by_handle(handle)?;
        match capture::end(&stream) {
            Ok(nodes) => graph.set(super::graph::make(stream.context.handle, nodes)),
            Err(error) => {
                graph.set(0)?;
                Err(error)
            }
        }
    }

    /// 0 not capturing, 1 capturing, 2 capturing in vain.
    fn cuStreamIsCapturing(handle: u64, status: Out<c_int>) {
        let stream = by_handle(handle)?;
        status.set(match stream.capture() {
            None => 0,
            Some(capture) if capture.check() == Err(STREAM_CAPTURE_INVALIDATED) => 2,
            Some(_) => 1,
        })
    }
}
