//! A [`CameraStream`]: any camera on a thread of its own, so that whoever wants a picture gets the newest and never waits for
//! a shutter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::camera::{Camera, CameraError, Frame};

/// A camera that fails this often in a row is given up.
const GIVE_UP: u32 = 10;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Slot {
    newest: Option<(Frame, Instant)>,
    /// What the camera said when it was given up.
    ended: Option<String>,
}

#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    news: Condvar,
    stop: AtomicBool,
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        match self.slot.lock() {
            Ok(slot) => slot,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

/// Keeps the newest frame of a camera. Dropping it ends the thread after the frame under way.
pub struct CameraStream {
    name: String,
    size: (u32, u32),
    patience: Duration,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for CameraStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CameraStream")
            .field("name", &self.name)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl CameraStream {
    /// Starts the thread. A frame that came longer than `patience` ago is not given out.
    ///
    /// Errors: [`CameraError::Open`] where the system gives no thread.
    pub fn start(camera: Box<dyn Camera>, patience: Duration) -> Result<Self, CameraError> {
        let (name, size) = (camera.name().to_owned(), camera.size());
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("camera {name}"))
            .spawn(move || pump(camera, &theirs))
            .map_err(|error| CameraError::Open {
                name: name.clone(),
                cause: error.to_string(),
            })?;
        Ok(Self {
            name,
            size,
            patience,
            shared,
            thread: Some(thread),
        })
    }
}

fn pump(mut camera: Box<dyn Camera>, shared: &Shared) {
    let mut failures = 0;
    while !shared.stop.load(Ordering::Acquire) {
        match camera.capture() {
            Ok(frame) => {
                failures = 0;
                // The old frame is freed after the lock is.
                let old = shared.slot().newest.replace((frame, Instant::now()));
                shared.news.notify_all();
                drop(old);
            }
            Err(error) => {
                failures += 1;
                if failures >= GIVE_UP {
                    shared.slot().ended = Some(error.to_string());
                    shared.news.notify_all();
                    return;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

impl Camera for CameraStream {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    /// The newest frame; waits only where there is none yet, or none fresh enough.
    fn capture(&mut self) -> Result<Frame, CameraError> {
        let deadline = Instant::now() + self.patience;
        let mut slot = self.shared.slot();
        loop {
            if let Some((frame, came)) = &slot.newest
                && came.elapsed() <= self.patience
            {
                return Ok(frame.clone());
            }
            if let Some(cause) = &slot.ended {
                return Err(CameraError::Failed {
                    name: self.name.clone(),
                    cause: cause.clone(),
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CameraError::Stalled {
                    name: self.name.clone(),
                    ms: self.patience.as_millis() as u64,
                });
            }
            slot = match self.shared.news.wait_timeout(slot, left) {
                Ok((slot, _)) => slot,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Drop for CameraStream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A camera that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, bounded};
    use image::RgbImage;

    /// Gives a frame for every message, and fails when there are no more.
    struct Fed(Receiver<u64>);

    impl Camera for Fed {
        fn name(&self) -> &str {
            "wrist"
        }

        fn size(&self) -> (u32, u32) {
            (2, 2)
        }

        fn capture(&mut self) -> Result<Frame, CameraError> {
            match self.0.recv() {
                Ok(sequence) => Ok(Frame {
                    image: RgbImage::new(2, 2),
                    stamp: Duration::from_millis(sequence),
                    sequence,
                }),
                Err(_) => Err(CameraError::Stalled {
                    name: "wrist".into(),
                    ms: 0,
                }),
            }
        }
    }

    #[test]
    fn the_newest_frame_is_given_and_given_again_until_there_is_a_newer_one() {
        let (feed, camera) = bounded(0);
        let patience = Duration::from_secs(20);
        let mut stream = CameraStream::start(Box::new(Fed(camera)), patience).unwrap();
        for sequence in 0..5 {
            feed.send(sequence).unwrap();
        }
        // The fourth frame is in place once the camera waits for the fifth.
        assert!(stream.capture().unwrap().sequence >= 3);
        while stream.capture().unwrap().sequence < 4 {
            std::thread::yield_now();
        }
        assert_eq!(stream.capture().unwrap().sequence, 4);
        drop(feed);
    }

    #[test]
    fn a_camera_that_stops_is_noticed_and_one_that_fails_is_given_up() {
        let (feed, camera) = bounded(0);
        let patience = Duration::from_millis(30);
        let mut stream = CameraStream::start(Box::new(Fed(camera)), patience).unwrap();
        assert!(matches!(stream.capture(), Err(CameraError::Stalled { .. })));
        drop(feed);
        while !matches!(stream.capture(), Err(CameraError::Failed { .. })) {
            std::thread::yield_now();
        }
    }
}
