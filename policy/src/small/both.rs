//! Two pieces of work side by side, where each is worth another thread.
//!
//! What is computed never depends on it: each number is summed up by one thread, in the same order as on one thread.

/// Multiply-adds of a piece below which waking another thread takes longer than it saves: some 20 µs.
const LEAST: usize = 1 << 20;

/// Threads that a product may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The caller's: something else runs beside it.
    #[default]
    One,
    /// Half of the rows each.
    Two,
}

/// Whether a piece of so many multiply-adds is worth a thread.
pub(crate) fn pays(multiply_adds: usize) -> bool {
    multiply_adds >= LEAST
}

/// Both results; each piece is about so many multiply-adds.
pub(crate) fn both<A: Send, B: Send>(
    multiply_adds: usize,
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    if pays(multiply_adds) {
        rayon::join(first, second)
    } else {
        (first(), second())
    }
}

/// `work` on a thread of the pool if it will call [`both`] with pieces of so many multiply-adds: one hand-over instead of one
/// for each call.
pub(crate) fn among<R: Send>(multiply_adds: usize, work: impl FnOnce() -> R + Send) -> R {
    if pays(multiply_adds) {
        rayon::scope(|_| work())
    } else {
        work()
    }
}
