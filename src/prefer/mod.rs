//! Asking a person which clip is better: in the browser ([`server`]) or in the terminal ([`terminal`]), over the same [`Questions`].

pub mod belief;
pub mod film;
pub mod questions;
mod reply;
pub mod server;
pub mod terminal;
pub mod thinking;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use questions::Questions;

/// The questions behind a lock, for all tabs and the thread that thinks.
pub struct Shared {
    questions: Mutex<Questions>,
    stopping: AtomicBool,
}

impl Shared {
    /// Shares the questions.
    pub fn new(questions: Questions) -> Self {
        Self {
            questions: Mutex::new(questions),
            stopping: AtomicBool::new(false),
        }
    }

    /// The questions. Answers are written under this lock, one after the other.
    pub fn lock(&self) -> MutexGuard<'_, Questions> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every thread to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// True once everything should end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
