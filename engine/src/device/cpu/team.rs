//! The threads of a device: one team works through the operations of one forward pass.
//!
//! A fork and join by rayon costs more than a decoded token's smallest products, so the threads are fetched from the pool
//! once per pass and then wait for work: spinning for some microseconds, then yielding, then parked, so that another
//! process that wants a core gets it. Work is claimed by an atomic counter; nobody waits for a thread that has not come.
//! One session at a time has the team; another that finds it taken works on its own thread alone, and one worker of the team
//! stays away for each that does: more threads than cores would have a job wait for a worker that is not running.

use crate::{Error, Result};
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rounds of waiting before a thread yields (about 20 µs), and rounds of yielding before it parks.
const SPINS: u32 = 1000;
const YIELDS: u32 = 50;
/// For so long a session works alone on although the team is free: the other one is back sooner between two passes.
const PATIENCE: Duration = Duration::from_millis(2);

/// A mutable slice whose disjoint parts are written by different tasks.
pub struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Parts` is a `&mut [T]` that is taken apart; `range` leaves disjointness to its caller.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Takes `slice` apart.
    pub fn new(slice: &'a mut [T]) -> Self {
        Parts { start: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// Has the processor fetch the elements in `range`, which may lie past the end.
    pub fn prefetch(&self, range: Range<usize>) {
        for i in range.step_by((64 / size_of::<T>()).max(1)) {
            super::kernel::prefetch(self.start.wrapping_add(i));
        }
    }

    /// The elements in `range`.
    ///
    /// # Safety
    /// No two live results of this function overlap.
    ///
    /// # Panics
    /// If `range` does not lie in the slice.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {}", self.len);
        // SAFETY: in bounds by the assertion, not aliased by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// `state` of a [`Team`]: workers inside the job (low 16 bits), the two flags, and the job's number (high 32 bits).
const OPEN: u64 = 1 << 16;
const DISMISSED: u64 = 1 << 17;
const FLAGS: u64 = OPEN | DISMISSED | 0xffff;

/// A job: ranges of `0..units` are claimed, `units / parts` of what is left at a time, and handed to `work`.
#[derive(Clone, Copy)]
struct Job<'a> {
    work: &'a (dyn Fn(Range<usize>) + Sync),
    units: usize,
    parts: usize,
}

#[repr(align(128))]
struct Alone<T>(T);

/// The threads of one device.
pub struct Team {
    threads: usize,
    pool: Option<rayon::ThreadPool>,
    /// Token of the thread whose pass has the team; 0 when free.
    owner: AtomicU64,
    /// Threads inside a pass, the owner's and those that work alone.
    passes: AtomicUsize,
    state: Alone<AtomicU64>,
    next: Alone<AtomicUsize>,
    job: UnsafeCell<Option<Job<'static>>>,
    failed: AtomicBool,
    parked: AtomicUsize,
    park: Mutex<()>,
    wake: Condvar,
}

// SAFETY: `job` is written only by the owner while no worker is inside, and read only by workers inside (see `run_parts`).
unsafe impl Sync for Team {}

/// A number that only this thread has, not 0.
fn token() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static TOKEN: u64 = NEXT.fetch_add(1, Relaxed));
    TOKEN.with(|token| *token)
}

thread_local! {
    /// Set while this thread works alone in a pass: since when the team has been free.
    static ALONE: Cell<Option<Option<Instant>>> = const { Cell::new(None) };
}

/// Counts a pass; by a panic, too, it ends.
struct Pass<'a>(&'a Team);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        ALONE.set(None);
        self.0.passes.fetch_sub(1, Relaxed);
    }
}

/// Frees the team when a pass ends, by a panic too.
struct Free<'a>(&'a Team);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.owner.store(0, Release);
    }
}

/// Sends the workers back to the pool when a pass ends, by a panic too: the scope waits for them.
struct Dismiss<'a>(&'a Team);

impl Drop for Dismiss<'_> {
    fn drop(&mut self) {
        self.0.state.0.fetch_or(DISMISSED, SeqCst);
        self.0.wake_parked();
    }
}

impl Team {
    /// A team of `threads`, the caller's included.
    pub fn new(threads: usize) -> Result<Self> {
        // A thread's handle is the one thing that does not come from the reserve: the standard library takes it from the system.
        crate::reserve::check()?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(|i| format!("bmn-{i}"));
        let pool = match threads {
            1 => None,
            _ => Some(pool.build().map_err(|e| Error::internal(format!("cannot start {threads} threads: {e}")))?),
        };
        Ok(Team {
            threads,
            pool,
            owner: AtomicU64::new(0),
            passes: AtomicUsize::new(0),
            state: Alone(AtomicU64::new(0)),
            next: Alone(AtomicUsize::new(0)),
            job: UnsafeCell::new(None),
            failed: AtomicBool::new(false),
            parked: AtomicUsize::new(0),
            park: Mutex::new(()),
            wake: Condvar::new(),
        })
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Keeps the threads at hand while `run` runs on the calling thread; without them if other threads have them.
    pub fn pass<R>(&self, run: impl FnOnce() -> R) -> R {
        let Some(pool) = &self.pool else { return run() };
        if ALONE.get().is_some() || self.owner.load(Relaxed) == token() {
            return run();
        }
        let others = self.passes.fetch_add(1, Relaxed);
        let _pass = Pass(self);
        if others + 1 < self.threads && self.take() {
            return self.lead(pool, run);
        }
        ALONE.set(Some(None));
        run()
    }

    /// Makes the calling thread the owner, if there is none.
    fn take(&self) -> bool {
        self.owner.compare_exchange(0, token(), Acquire, Relaxed).is_ok()
    }

    /// Runs `run` on the calling thread, the owner, with the workers at hand.
    fn lead<R>(&self, pool: &rayon::ThreadPool, run: impl FnOnce() -> R) -> R {
        let _free = Free(self);
        // No worker is here: the last pass's scope waited for all of them.
        self.state.0.fetch_and(!FLAGS, SeqCst);
        let mut run = Some(run);
        let mut result = None;
        pool.in_place_scope(|scope| {
            let _dismiss = Dismiss(self);
            (1..self.threads).for_each(|worker| scope.spawn(move |_| self.work(worker)));
            result = run.take().map(|run| run());
        });
        match result {
            Some(result) => result,
            None => unreachable!("the scope ran its closure"),
        }
    }

    /// Whether worker number `worker`, from 1, has a core: the sessions that work alone have theirs.
    fn wanted(&self, worker: usize) -> bool {
        worker + self.passes.load(Relaxed) <= self.threads
    }

    /// Whether a session that works alone in its pass may have the team for an operation: nobody else has worked for a while.
    fn free_again(&self) -> bool {
        let Some(since) = ALONE.get() else { return true };
        if self.owner.load(Relaxed) != 0 || !self.wanted(1) {
            ALONE.set(Some(None));
            return false;
        }
        let now = Instant::now();
        ALONE.set(Some(Some(since.unwrap_or(now))));
        since.is_some_and(|since| now - since > PATIENCE)
    }

    /// Calls `task(0) .. task(tasks - 1)`, each once, on any thread, and returns when all are done. A panic in a task is
    /// [`Error::Internal`].
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) -> Result<()> {
        self.run_parts(Job { work: &|range: Range<usize>| range.for_each(&task), units: tasks, parts: usize::MAX })
    }

    /// Like [`Team::run`] with ranges that cover `0..units`: long ones first, then shorter ones, so that a thread streams
    /// through neighbouring units and all threads still finish together.
    pub fn run_ranges(&self, units: usize, work: impl Fn(Range<usize>) + Sync) -> Result<()> {
        self.run_parts(Job { work: &work, units, parts: 2 * self.threads })
    }

    fn run_parts(&self, job: Job<'_>) -> Result<()> {
        let outcome = if job.units == 0 {
            Ok(())
        } else if job.units == 1 || self.pool.is_none() {
            catch_unwind(AssertUnwindSafe(|| (job.work)(0..job.units)))
        } else if self.owner.load(Relaxed) == token() {
            self.run_shared(job)
        } else if self.free_again() {
            match (&self.pool, ALONE.get()) {
                // Outside of a pass, this operation is one.
                (_, None) => {
                    return self.pass(|| match self.owner.load(Relaxed) == token() {
                        true => self.run_parts(job),
                        false => self.run_alone(job),
                    });
                }
                (Some(pool), _) if self.take() => self.lead(pool, || self.run_shared(job)),
                _ => return self.run_alone(job),
            }
        } else {
            return self.run_alone(job);
        };
        outcome.map_err(|_| Error::internal("a CPU task panicked"))
    }

    fn run_alone(&self, job: Job<'_>) -> Result<()> {
        catch_unwind(AssertUnwindSafe(|| (job.work)(0..job.units))).map_err(|_| Error::internal("a CPU task panicked"))
    }

    /// Runs `job` on this thread and all workers that come while it lasts.
    fn run_shared(&self, job: Job<'_>) -> std::thread::Result<()> {
        self.next.0.store(0, Relaxed);
        // SAFETY: only the lifetime changes. Workers read the job between entering (the state is open) and leaving, and
        // this function closes the state and waits until all have left before it returns, on every path: nothing
        // below panics, `claim` catches. Nobody is inside now, so nobody reads while we write.
        unsafe { *self.job.get() = Some(std::mem::transmute::<Job<'_>, Job<'static>>(job)) };
        let number = (self.state.0.load(Relaxed) & !FLAGS).wrapping_add(1 << 32);
        self.state.0.store(number | OPEN, SeqCst);
        if self.wanted(1) {
            self.wake_parked();
        }
        let mine = self.claim(job);
        self.state.0.fetch_and(!OPEN, AcqRel);
        let mut round = 0;
        while self.state.0.load(Acquire) & 0xffff != 0 {
            pause(&mut round);
        }
        let theirs = self.failed.swap(false, Relaxed);
        if theirs { Err(Box::new(())) } else { mine }
    }

    /// Claims ranges until none is left. After a panic the rest is dropped: the operation has failed.
    fn claim(&self, job: Job<'_>) -> std::thread::Result<()> {
        catch_unwind(AssertUnwindSafe(|| {
            let mut start = self.next.0.load(Relaxed);
            while start < job.units {
                let end = start + ((job.units - start) / job.parts).max(1);
                match self.next.0.compare_exchange_weak(start, end, Relaxed, Relaxed) {
                    Ok(_) => {
                        (job.work)(start..end);
                        start = self.next.0.load(Relaxed);
                    }
                    Err(now) => start = now,
                }
            }
        }))
        .inspect_err(|_| self.next.0.store(job.units, Relaxed))
    }

    fn wake_parked(&self) {
        if self.parked.load(SeqCst) > 0 {
            drop(self.park.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// A worker's pass: takes part in one job after the other until dismissed.
    fn work(&self, worker: usize) {
        let mut done = 0;
        loop {
            let state = self.wait(worker, done);
            if state & DISMISSED != 0 {
                return;
            }
            if self.state.0.compare_exchange(state, state + 1, Acquire, Relaxed).is_err() {
                continue;
            }
            done = state >> 32;
            // SAFETY: we are inside, so the job is there and its owner waits for us (see `run_shared`).
            let job = unsafe { *self.job.get() };
            if let Some(job) = job
                && self.claim(job).is_err()
            {
                self.failed.store(true, Relaxed);
            }
            self.state.0.fetch_sub(1, Release);
        }
    }

    /// Waits until there is a job other than number `done` that wants this worker, or the pass is over.
    fn wait(&self, worker: usize, done: u64) -> u64 {
        let open = |state: u64| state & OPEN != 0 && state >> 32 != done && self.wanted(worker);
        let ready = |state: u64| state & DISMISSED != 0 || open(state);
        let mut round = 0;
        while round < SPINS + YIELDS {
            let state = self.state.0.load(Acquire);
            if ready(state) {
                return state;
            }
            pause(&mut round);
        }
        let mut guard = self.park.lock().unwrap_or_else(PoisonError::into_inner);
        self.parked.fetch_add(1, SeqCst);
        let state = loop {
            let state = self.state.0.load(SeqCst);
            if ready(state) {
                break state;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.parked.fetch_sub(1, SeqCst);
        state
    }
}

/// One round of waiting: the first [`SPINS`] keep the core, later ones offer it.
fn pause(round: &mut u32) {
    match *round < SPINS {
        true => std::hint::spin_loop(),
        false => std::thread::yield_now(),
    }
    *round = round.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn every_task_runs_once_inside_and_outside_passes() {
        for threads in [1, 2, 5] {
            let team = Team::new(threads).unwrap();
            let count = |units: usize| {
                let counts: Vec<AtomicUsize> = (0..units).map(|_| AtomicUsize::new(0)).collect();
                team.run(units, |i| _ = counts[i].fetch_add(1, Relaxed)).unwrap();
                team.run_ranges(units, |range| range.for_each(|i| _ = counts[i].fetch_add(1, Relaxed))).unwrap();
                assert!(counts.iter().all(|count| count.load(Relaxed) == 2), "{threads} threads, {units} units");
            };
            [0, 1, 2, 100].into_iter().for_each(count);
            // Many small jobs in one pass, one within another; long enough pauses that workers park.
            team.pass(|| {
                team.pass(|| (0..300).for_each(|i| count(i % 7)));
                std::thread::sleep(std::time::Duration::from_millis(3));
                count(1000);
            });
        }
    }

    #[test]
    fn a_session_that_works_alone_has_a_core_to_itself() {
        let team = Team::new(2).unwrap();
        let threads = || {
            let ids = Mutex::new(std::collections::HashSet::new());
            let task = |_| {
                ids.lock().unwrap().insert(std::thread::current().id());
                std::thread::sleep(Duration::from_millis(1));
            };
            team.run(20, task).unwrap();
            ids.into_inner().unwrap().len()
        };
        // A worker that is woken on a busy machine may come late.
        let both = || assert!((0..50).any(|_| threads() == 2));
        let (entered, seen, left) = (Barrier::new(2), Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            team.pass(|| {
                both();
                scope.spawn(|| {
                    team.pass(|| {
                        entered.wait();
                        assert_eq!(threads(), 1);
                        seen.wait();
                        left.wait();
                        // The first operation sees that the team is free; it gets it when it stays so.
                        assert_eq!(threads(), 1);
                        both();
                    });
                    both();
                });
                entered.wait();
                assert_eq!(threads(), 1);
                seen.wait();
            });
            left.wait();
        });
        team.pass(both);
    }

    #[test]
    fn a_panic_in_a_task_is_an_error_and_the_team_goes_on() {
        let team = Team::new(3).unwrap();
        for outside in [true, false] {
            let run = || {
                for bad in [0, 7, 99] {
                    let outcome = team.run(100, |i| assert!(i != bad));
                    assert!(matches!(outcome, Err(Error::Internal { .. })), "{bad}");
                    team.run(100, |_| ()).unwrap();
                }
            };
            if outside { run() } else { team.pass(run) }
        }
        let pass = catch_unwind(AssertUnwindSafe(|| team.pass(|| panic!("the caller's own"))));
        assert!(pass.is_err());
        team.pass(|| team.run(100, |_| ())).unwrap();
    }
}
