//! [`Background`]: an annotator on a thread of its own. Asking it never waits; it answers the newest questions first, in
//! batches, and no question twice.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Annotator, AnswerCache, check_count};
use crate::model::RewardError;

/// Settings of a [`Background`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackgroundConfig {
    /// Most questions given to the annotator at once. ONI uses 100 to 500 (arXiv 2410.23022).
    pub batch: usize,
    /// Most questions that wait; beyond it the oldest is dropped and may be asked again. ONI keeps 10,000.
    pub backlog: usize,
    /// Where answers are kept between runs, one JSON object a line. None: only in memory.
    pub cache: Option<PathBuf>,
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self {
            batch: 100,
            backlog: 10_000,
            cache: None,
        }
    }
}

impl BackgroundConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.batch == 0 || self.backlog == 0 {
            return Err(RewardError::Other(format!(
                "annotator.batch is {} and annotator.backlog {}; both must be at least 1",
                self.batch, self.backlog
            )));
        }
        Ok(())
    }
}

/// How a [`Background`] is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackgroundStatus {
    /// Questions that wait.
    pub waiting: usize,
    /// Questions that the annotator has before it.
    pub asked: usize,
    /// Questions answered in this run.
    pub answered: usize,
    /// Questions the annotator had no answer for in this run; they are not asked again in it.
    pub unanswered: usize,
    /// Questions dropped because too many waited.
    pub dropped: usize,
    /// Batches that failed.
    pub failed: usize,
    /// Why the last one did.
    pub failure: Option<String>,
}

/// An annotator on a thread of its own.
///
/// [`Background::ask`] takes a lock that the other thread holds only to move questions and answers, never while it asks,
/// writes or waits. A batch that failed goes back to the waiting questions and is tried again after a pause that doubles
/// from 0.1 s to 30 s. Dropping it waits for the batch under way, whose answers are kept.
pub struct Background<Q, A> {
    shared: Arc<Shared<Q, A>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<Q, A> {
    config: BackgroundConfig,
    state: Mutex<State<Q, A>>,
    /// Rung when there is something to do, something done, or it is time to stop.
    bell: Condvar,
}

struct State<Q, A> {
    /// Oldest first.
    waiting: VecDeque<Q>,
    /// Waiting, asked or answered.
    known: HashSet<Q>,
    /// Answers that were not collected yet.
    fresh: Vec<(Q, A)>,
    status: BackgroundStatus,
    stop: bool,
}

impl<Q: Eq + Hash, A> State<Q, A> {
    /// Drops the oldest questions beyond the backlog.
    fn trim(&mut self, backlog: usize) {
        while self.waiting.len() > backlog {
            if let Some(oldest) = self.waiting.pop_front() {
                self.known.remove(&oldest);
                self.status.dropped += 1;
            }
        }
        self.status.waiting = self.waiting.len();
    }
}

impl<Q, A> Shared<Q, A> {
    /// No step under the lock can leave the state half changed, so a poisoned lock's state is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q, A> Background<Q, A>
where
    Q: Clone + Eq + Hash + Send + Serialize + DeserializeOwned + 'static,
    A: Clone + Send + Serialize + DeserializeOwned + 'static,
{
    /// Starts the thread. What the cache's file holds is given out by the first [`Background::collect`]. Fails on settings
    /// that make no sense, on a cache that cannot be used, and when there is no thread to be had.
    pub fn start(
        annotator: impl Annotator<Query = Q, Answer = A> + 'static,
        config: BackgroundConfig,
    ) -> Result<Self, RewardError> {
        config.validate()?;
        let cache: AnswerCache<Q, A> = match &config.cache {
            Some(path) => AnswerCache::open(path)?,
            None => AnswerCache::in_memory(),
        };
        let remembered: Vec<(Q, A)> = cache.iter().map(|(q, a)| (q.clone(), a.clone())).collect();
        let shared = Arc::new(Shared {
            config,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                known: remembered.iter().map(|(q, _)| q.clone()).collect(),
                fresh: remembered,
                status: BackgroundStatus::default(),
                stop: false,
            }),
            bell: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("annotator".into())
            .spawn(move || work(&theirs, annotator, cache))
            .map_err(|e| RewardError::Other(format!("no thread for the annotator: {e}")))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Asks, unless it was asked before. Never waits for an answer.
    pub fn ask(&self, query: &Q) {
        let mut state = self.shared.lock();
        if state.known.contains(query) {
            return;
        }
        state.known.insert(query.clone());
        state.waiting.push_back(query.clone());
        state.trim(self.shared.config.backlog);
        drop(state);
        self.shared.bell.notify_all();
    }

    /// Answers that came in since the last call, in the order in which they came.
    pub fn collect(&self) -> Vec<(Q, A)> {
        std::mem::take(&mut self.shared.lock().fresh)
    }

    /// How it is doing.
    pub fn status(&self) -> BackgroundStatus {
        self.shared.lock().status.clone()
    }

    /// Waits until nothing is waiting or asked any more, at most so long. True when that came about.
    pub fn settle(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            if state.status.waiting == 0 && state.status.asked == 0 {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .shared
                .bell
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl<Q, A> Drop for Background<Q, A> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.bell.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the annotator has been reported by the thread itself; there is nobody left to tell here.
            let _ = thread.join();
        }
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the thread does until it is told to stop.
fn work<Q, A>(
    shared: &Shared<Q, A>,
    mut annotator: impl Annotator<Query = Q, Answer = A>,
    mut cache: AnswerCache<Q, A>,
) where
    Q: Clone + Eq + Hash + Serialize + DeserializeOwned,
    A: Clone + Serialize + DeserializeOwned,
{
    let mut pause = SHORTEST_PAUSE;
    while let Some(batch) = next_batch(shared) {
        let answered = annotator.label(&batch).and_then(|answers| {
            check_count(annotator.name(), batch.len(), answers.len())?;
            let fresh: Vec<(Q, A)> = batch
                .iter()
                .zip(answers)
                .filter_map(|(q, a)| Some((q.clone(), a?)))
                .collect();
            cache.extend(&fresh)?;
            Ok(fresh)
        });
        let mut state = shared.lock();
        state.status.asked = 0;
        match answered {
            Ok(fresh) => {
                pause = SHORTEST_PAUSE;
                state.status.answered += fresh.len();
                state.status.unanswered += batch.len() - fresh.len();
                state.fresh.extend(fresh);
                drop(state);
                shared.bell.notify_all();
            }
            Err(error) => {
                state.status.failed += 1;
                state.status.failure = Some(error.to_string());
                for query in batch.into_iter().rev() {
                    state.waiting.push_back(query);
                }
                state.trim(shared.config.backlog);
                rest(shared, state, pause);
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
    }
}

/// The newest questions, newest first, once there are any; none when it is time to stop.
fn next_batch<Q, A>(shared: &Shared<Q, A>) -> Option<Vec<Q>> {
    let mut state = shared.lock();
    loop {
        if state.stop {
            return None;
        }
        if !state.waiting.is_empty() {
            let keep = state.waiting.len().saturating_sub(shared.config.batch);
            let batch: Vec<Q> = state.waiting.drain(keep..).rev().collect();
            state.status.waiting = keep;
            state.status.asked = batch.len();
            return Some(batch);
        }
        state = shared
            .bell
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// Sleeps, unless it is time to stop.
fn rest<Q, A>(shared: &Shared<Q, A>, mut state: MutexGuard<'_, State<Q, A>>, pause: Duration) {
    let end = Instant::now() + pause;
    while !state.stop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        state = shared
            .bell
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Says how long a text is, after each permit; fails on the first `failures` batches; knows nothing of the empty text.
    struct Lengths {
        permits: mpsc::Receiver<()>,
        asked: mpsc::Sender<Vec<String>>,
        failures: usize,
    }

    impl Annotator for Lengths {
        type Query = String;
        type Answer = usize;

        fn name(&self) -> &str {
            "lengths"
        }

        fn label(&mut self, queries: &[String]) -> Result<Vec<Option<usize>>, RewardError> {
            self.asked.send(queries.to_vec()).unwrap();
            self.permits.recv().unwrap();
            if self.failures > 0 {
                self.failures -= 1;
                return Err(RewardError::Other("nobody is there".into()));
            }
            let length = |q: &String| (!q.is_empty()).then_some(q.len());
            Ok(queries.iter().map(length).collect())
        }
    }

    struct Rig {
        background: Background<String, usize>,
        permits: mpsc::Sender<()>,
        asked: mpsc::Receiver<Vec<String>>,
    }

    fn rig(failures: usize, config: BackgroundConfig) -> Rig {
        let (permits, permits_in) = mpsc::channel();
        let (asked_out, asked) = mpsc::channel();
        let annotator = Lengths {
            permits: permits_in,
            asked: asked_out,
            failures,
        };
        Rig {
            background: Background::start(annotator, config).unwrap(),
            permits,
            asked,
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn questions_are_answered_newest_first_in_batches_and_never_twice() {
        let config = BackgroundConfig {
            batch: 2,
            backlog: 3,
            cache: None,
        };
        let Rig {
            background,
            permits,
            asked,
        } = rig(0, config);
        let ask = |text: &str| background.ask(&text.to_owned());
        ask("first");
        assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), ["first"]);
        // While the annotator thinks, asking goes on; the oldest of four is dropped, a known one is not taken again.
        for text in ["a", "bb", "", "first", "dddd", "dddd"] {
            ask(text);
        }
        let status = background.status();
        assert_eq!((status.waiting, status.asked, status.dropped), (3, 1, 1));
        for _ in 0..3 {
            permits.send(()).unwrap();
        }
        assert!(background.settle(PATIENCE));
        assert_eq!(
            asked.try_iter().collect::<Vec<_>>(),
            [vec!["dddd", ""], vec!["bb"]]
        );
        let answers: Vec<_> = background.collect().into_iter().map(|(_, a)| a).collect();
        assert_eq!(answers, [5, 4, 2]);
        assert!(background.collect().is_empty());
        let status = background.status();
        assert_eq!((status.answered, status.unanswered), (3, 1));
        // What was dropped may be asked again; what had no answer may not.
        ask("");
        ask("a");
        permits.send(()).unwrap();
        assert!(background.settle(PATIENCE));
        assert_eq!(background.collect(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_failed_batch_is_tried_again_and_the_failure_told() {
        let Rig {
            background,
            permits,
            asked,
        } = rig(1, BackgroundConfig::default());
        background.ask(&"abc".to_owned());
        permits.send(()).unwrap();
        permits.send(()).unwrap();
        assert!(background.settle(PATIENCE) || background.settle(PATIENCE));
        assert_eq!(background.collect(), [("abc".to_owned(), 3)]);
        assert_eq!(asked.try_iter().count(), 2);
        let status = background.status();
        assert_eq!(status.failed, 1);
        assert_eq!(status.failure.as_deref(), Some("nobody is there"));
    }

    #[test]
    fn answers_outlive_the_run() {
        let root = tempfile::tempdir().unwrap();
        let config = BackgroundConfig {
            cache: Some(root.path().join("answers.jsonl")),
            ..BackgroundConfig::default()
        };
        {
            let Rig {
                background,
                permits,
                asked: _asked,
            } = rig(0, config.clone());
            background.ask(&"abc".to_owned());
            permits.send(()).unwrap();
            assert!(background.settle(PATIENCE));
        }
        let Rig {
            background,
            permits,
            asked,
        } = rig(0, config);
        assert_eq!(background.collect(), [("abc".to_owned(), 3)]);
        background.ask(&"abc".to_owned());
        background.ask(&"de".to_owned());
        permits.send(()).unwrap();
        assert!(background.settle(PATIENCE));
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [["de"]]);
    }

    #[test]
    fn settings_that_ask_nothing_are_refused() {
        let config = BackgroundConfig {
            batch: 0,
            ..BackgroundConfig::default()
        };
        assert!(config.validate().is_err());
    }
}
