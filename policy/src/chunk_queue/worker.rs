//! Thinking on a thread of its own.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{ChunkQueue, Source};
use crate::policy::PolicyError;

/// A chunk and the time of the observation it was predicted from.
type Answer = Result<(Vec<f32>, f64), PolicyError>;

/// A thread that predicts chunks, one observation at a time.
pub struct Worker {
    /// Dropped first, which ends the thread.
    questions: Option<Sender<(Vec<f32>, f64)>>,
    answers: Receiver<Answer>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread around `predict`, which turns an observation into a chunk `[k, action_dim]` (such as
    /// [`crate::policy::Policy::chunk`]).
    pub fn spawn(
        mut predict: impl FnMut(&[f32]) -> Result<Vec<f32>, PolicyError> + Send + 'static,
    ) -> Result<Self, PolicyError> {
        let (questions, asked) = bounded::<(Vec<f32>, f64)>(1);
        let (answer, answers) = bounded(1);
        let work = move || {
            for (observation, observed) in asked {
                let chunk = predict(&observation).map(|chunk| (chunk, observed));
                if answer.send(chunk).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("chunks".into())
            .spawn(work)
            .map_err(|e| PolicyError::Other(format!("no thread for the policy: {e}")))?;
        Ok(Self {
            questions: Some(questions),
            answers,
            busy: false,
            thread: Some(thread),
        })
    }

    /// Whether an observation is being thought about.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Hands over an observation made at `observed`, unless one is being thought about. Never waits.
    pub fn offer(&mut self, observation: &[f32], observed: f64) -> Result<(), PolicyError> {
        if self.busy {
            return Ok(());
        }
        let questions = self.questions.as_ref().ok_or_else(gone)?;
        questions
            .try_send((observation.to_vec(), observed))
            .map_err(|_| gone())?;
        self.busy = true;
        Ok(())
    }

    /// The chunk that is ready, if one is, with the time of its observation. Never waits.
    pub fn collect(&mut self) -> Result<Option<(Vec<f32>, f64)>, PolicyError> {
        match self.answers.try_recv() {
            Ok(answer) => {
                self.busy = false;
                answer.map(Some)
            }
            Err(crossbeam_channel::TryRecvError::Empty) => Ok(None),
            Err(crossbeam_channel::TryRecvError::Disconnected) => Err(gone()),
        }
    }

    /// Waits for the chunk that is being thought about.
    pub fn wait(&mut self) -> Result<(Vec<f32>, f64), PolicyError> {
        let answer = self.answers.recv().map_err(|_| gone())?;
        self.busy = false;
        answer
    }
}

fn gone() -> PolicyError {
    PolicyError::Other("the policy's thread has ended; start it again".into())
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.questions = None;
        // Without the receiver an answer under way does not block the thread.
        self.answers = crossbeam_channel::never();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// A [`ChunkQueue`] kept full by a [`Worker`].
pub struct Asynchronous {
    queue: ChunkQueue,
    worker: Worker,
}

impl Asynchronous {
    /// Joins the two.
    pub fn new(queue: ChunkQueue, worker: Worker) -> Self {
        Self { queue, worker }
    }

    /// The action for `now`, from an observation made just before. Waits for the first chunk of an episode only.
    pub fn act(
        &mut self,
        observation: &[f32],
        now: f64,
    ) -> Result<(Vec<f32>, Source), PolicyError> {
        if self.queue.is_new() {
            self.worker.offer(observation, now)?;
            let (chunk, observed) = self.worker.wait()?;
            self.queue.push(&chunk, observed, now)?;
        } else if let Some((chunk, observed)) = self.worker.collect()? {
            self.queue.push(&chunk, observed, now)?;
        }
        let action = self.queue.pop(now);
        if self.queue.needs_chunk(now) {
            self.worker.offer(observation, now)?;
        }
        action
    }

    /// The queue, for its counts.
    pub fn queue(&self) -> &ChunkQueue {
        &self.queue
    }

    /// Called at the start of each episode: forgets the old one's chunks, also one that is under way.
    pub fn reset(&mut self) -> Result<(), PolicyError> {
        if self.worker.is_busy() {
            self.worker.wait()?;
        }
        self.queue.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_queue::{Blend, ChunkQueueConfig, Starvation};

    /// Actions that are their own target times, predicted by a thread that is told when it may answer.
    #[test]
    fn the_loop_never_waits_for_a_slow_policy_and_gets_actions_for_its_time() {
        let config = ChunkQueueConfig {
            period: 1.0,
            blend: Blend::Newest,
            starvation: Starvation::Hold,
            refill: 3,
        };
        let (allow, allowed) = bounded::<()>(10);
        let worker = Worker::spawn(move |observation| {
            allowed.recv().map_err(|_| gone())?;
            Ok((0..6).map(|j| observation[0] + j as f32).collect())
        })
        .unwrap();
        let queue = ChunkQueue::new(config, 1).unwrap();
        let mut policy = Asynchronous::new(queue, worker);
        allow.send(()).unwrap();
        for now in 0..6 {
            let (action, source) = policy.act(&[now as f32], f64::from(now)).unwrap();
            assert_eq!((action[0], source), (now as f32, Source::Chunk));
        }
        // A look was asked for at 2, when three were left, and is not answered: the last action is held.
        let held = policy.act(&[6.0], 6.0).unwrap();
        assert_eq!((held.0[0], held.1), (5.0, Source::Held));
        allow.send(()).unwrap();
        while policy.worker.answers.is_empty() {
            std::thread::yield_now();
        }
        // Seen at 2, its chunk ends at 7.
        assert_eq!(policy.act(&[7.0], 7.0).unwrap(), (vec![7.0], Source::Chunk));
        assert_eq!(policy.queue().counts().stale, 5);
        allow.send(()).unwrap();
        policy.reset().unwrap();
        assert!(policy.queue().is_new());
    }

    #[test]
    fn a_failing_policy_is_reported_and_its_thread_goes_on() {
        let mut worker = Worker::spawn(|observation| match observation[0] {
            0.0 => Err(PolicyError::Other("no".into())),
            x => Ok(vec![x]),
        })
        .unwrap();
        worker.offer(&[0.0], 0.0).unwrap();
        assert!(worker.wait().is_err());
        worker.offer(&[2.0], 1.0).unwrap();
        worker.offer(&[3.0], 1.5).unwrap();
        assert_eq!(worker.wait().unwrap(), (vec![2.0], 1.0));
        assert!(worker.collect().unwrap().is_none());
    }
}
