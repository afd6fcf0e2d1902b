//! Asks the system to schedule the calling thread on time, and says what it answered.

use serde::{Deserialize, Serialize};

/// How a thread is scheduled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scheduling {
    /// First in, first out, before every ordinary thread.
    Fifo {
        /// 1 to 99.
        priority: i32,
    },
    /// Like every other thread: deadlines are met as well as the load allows.
    Ordinary {
        /// Why not better, and what to do about it.
        why: String,
    },
}

/// Tries to put the calling thread under `SCHED_FIFO`; it needs the right to (CAP_SYS_NICE or an `rtprio` limit). Where
/// that fails the thread stays as it is, with the finest timer the system has.
pub fn request_fifo(priority: i32) -> Scheduling {
    #[cfg(target_os = "linux")]
    {
        // Ordinary threads may be woken 50 us late to save power.
        let fine = std::num::NonZeroU64::new(1);
        let slack = rustix::thread::set_current_timer_slack(fine);
        // SAFETY: a C structure of integers, for which zero is a value; some systems have more fields than the priority.
        let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
        parameters.sched_priority = priority;
        // SAFETY: the thread is the calling one and the parameters live until the call returns.
        let code = unsafe {
            libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_FIFO, &parameters)
        };
        if code == 0 {
            return Scheduling::Fifo { priority };
        }
        let error = std::io::Error::from_raw_os_error(code);
        let timer = if slack.is_ok() {
            ""
        } else {
            "; its timers are coarse"
        };
        Scheduling::Ordinary {
            why: format!(
                "SCHED_FIFO {priority} was refused ({error}); allow it with an rtprio limit{timer}"
            ),
        }
    }
    #[cfg(not(target_os = "linux"))]
    Scheduling::Ordinary {
        why: format!("SCHED_FIFO {priority} is asked for on Linux only"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        // 0 is no FIFO priority anywhere.
        let scheduling = std::thread::spawn(|| request_fifo(0)).join().unwrap();
        let Scheduling::Ordinary { why } = scheduling else {
            panic!("priority 0 cannot be granted")
        };
        assert!(why.contains("SCHED_FIFO 0"), "{why}");
    }
}
