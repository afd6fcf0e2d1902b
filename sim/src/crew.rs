//! [`Crew`]: threads that wait for the next piece of short work without going to sleep at once.
//!
//! A step of a few environments takes tens of microseconds, about what the system needs to wake a sleeping thread. So a helper
//! looks for more work for a moment before it sleeps, and the caller does a part of the work itself instead of waiting.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a helper looks for more work before it sleeps. Longer costs a core its time when steps are rare; shorter costs the
/// waking time when they follow each other.
const AWAKE: Duration = Duration::from_micros(200);

/// Work that every thread does its own part of, by its number.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// A caller's helpers.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Orders>,
    /// Changes with every order; a helper that is awake watches it without the lock.
    order: AtomicU64,
    /// Helpers that have not finished the present order.
    busy: AtomicUsize,
    awaken: Condvar,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

#[derive(Default)]
struct Orders {
    number: u64,
    /// The work, for as long as [`Crew::run`] waits for it.
    work: Option<&'static Work<'static>>,
    caller: Option<std::thread::Thread>,
    dismissed: bool,
    asleep: usize,
}

impl Crew {
    /// A crew of `threads` in all, the caller's among them. Fails when the system gives no threads.
    pub fn new(threads: NonZero<usize>) -> std::io::Result<Self> {
        let mut crew = Self {
            shared: Arc::default(),
            helpers: Vec::new(),
        };
        for number in 1..threads.get() {
            let shared = Arc::clone(&crew.shared);
            let helper = std::thread::Builder::new()
                .name(format!("env-{number}"))
                .spawn(move || shared.help(number))?;
            crew.helpers.push(helper);
        }
        Ok(crew)
    }

    /// Threads in all.
    pub fn len(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Calls `work` with 0 on this thread and with 1, 2, … on the others, and returns when all are done. A panic of any of
    /// them goes on here.
    pub fn run(&mut self, work: &Work<'_>) {
        if self.helpers.is_empty() {
            return work(0);
        }
        // SAFETY: the reference is used only by helpers counted in `busy`, and this function does not return, nor unwind,
        // before that count is zero and the reference is gone from the orders. `&mut self` keeps a second order out.
        let forever = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        self.shared.begin(forever, self.helpers.len());
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        self.shared.finish();
        let theirs = lock(&self.shared.panic).take();
        if let Some(panic) = own.err().or(theirs) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let mut orders = lock(&self.shared.orders);
        orders.dismissed = true;
        self.shared.order.fetch_add(1, Ordering::Release);
        drop(orders);
        self.shared.awaken.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper's panic has gone on in `run`.
            let _ = helper.join();
        }
    }
}

impl Shared {
    fn begin(&self, work: &'static Work<'static>, helpers: usize) {
        let mut orders = lock(&self.orders);
        orders.number += 1;
        orders.work = Some(work);
        orders.caller = Some(std::thread::current());
        self.busy.store(helpers, Ordering::Relaxed);
        self.order.fetch_add(1, Ordering::Release);
        let asleep = orders.asleep;
        drop(orders);
        if asleep > 0 {
            self.awaken.notify_all();
        }
    }

    /// Waits for the helpers.
    fn finish(&self) {
        let since = Instant::now();
        while self.busy.load(Ordering::Acquire) > 0 {
            if since.elapsed() < AWAKE {
                std::hint::spin_loop();
            } else {
                std::thread::park();
            }
        }
        lock(&self.orders).work = None;
    }

    /// A helper's life.
    fn help(&self, thread: usize) {
        let mut done = 0;
        while let Some((number, work, caller)) = self.next(done) {
            done = number;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(thread))) {
                lock(&self.panic).get_or_insert(panic);
            }
            if self.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
                caller.unpark();
            }
        }
    }

    /// The order after number `done`, when it comes; none when the crew is dismissed.
    fn next(&self, done: u64) -> Option<(u64, &'static Work<'static>, std::thread::Thread)> {
        let seen = self.order.load(Ordering::Acquire);
        let since = Instant::now();
        while seen == done && self.order.load(Ordering::Acquire) == seen && since.elapsed() < AWAKE
        {
            std::hint::spin_loop();
        }
        let mut orders = lock(&self.orders);
        loop {
            if orders.dismissed {
                return None;
            }
            if orders.number != done
                && let (Some(work), Some(caller)) = (orders.work, orders.caller.clone())
            {
                return Some((orders.number, work, caller));
            }
            orders.asleep += 1;
            orders = self
                .awaken
                .wait(orders)
                .unwrap_or_else(PoisonError::into_inner);
            orders.asleep -= 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crew(threads: usize) -> Crew {
        Crew::new(NonZero::new(threads).unwrap()).unwrap()
    }

    #[test]
    fn every_thread_does_its_part_once_for_every_order() {
        for threads in 1..=4 {
            let mut crew = crew(threads);
            let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for order in 0..2_000 {
                crew.run(&|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts
                        .iter()
                        .all(|c| c.load(Ordering::Relaxed) == order + 1)
                );
                if order % 500 == 0 {
                    // Long enough for the helpers to fall asleep.
                    std::thread::sleep(10 * AWAKE);
                }
            }
        }
    }

    #[test]
    fn a_panic_goes_on_at_the_caller_and_the_crew_still_works() {
        let mut crew = crew(3);
        for guilty in 0..3 {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                crew.run(&|i| assert!(i != guilty, "thread {i}"));
            }));
            assert!(caught.is_err());
        }
        let sum = AtomicUsize::new(0);
        crew.run(&|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 3);
    }
}
