//! The [`Guardian`]: a process that cuts torque when the runtime dies or stops.
//!
//! A servo holds its last goal for ever, and a runtime that is killed (SIGKILL, abort, the out-of-memory killer) or stopped (SIGSTOP) sends no
//! last word. So a small process of its own has the servo port as its standard output and a pipe from the runtime as its standard
//! input. Once torque is on it expects a sign of life with every tick. When the pipe closes without a farewell, or nothing comes for
//! [`SILENCE`], it sends torque off to every servo, several times, since a single frame may collide with the runtime's last one.
//!
//! It cannot help where the port itself is gone.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// The word that makes our program a guardian: its first argument.
pub const COMMAND: &str = "guardian";

/// Without a sign of life for this long, torque goes off.
pub const SILENCE: Duration = Duration::from_secs(1);

/// How often torque off is sent, and the pause between, in which servos forget a half-sent frame of the runtime.
const REPEATS: usize = 5;
const PAUSE: Duration = Duration::from_millis(25);

/// Words of the pipe, a byte each.
const ARMED: u8 = b'+';
const ALIVE: u8 = b'.';
const LIMP: u8 = b'-';

/// The guardian of one port, seen from the runtime. Dropping it with torque on cuts torque.
#[derive(Debug)]
pub struct Guardian {
    process: Child,
    /// None only while it is dropped.
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts `program guardian` on this port. `torque_off` are the bytes that switch all servos off.
    ///
    /// Errors: the program cannot be started, or does not take its task.
    pub fn start(program: &Path, port: OwnedFd, torque_off: &[u8]) -> io::Result<Self> {
        let mut process = Command::new(program)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(port))
            // Ctrl-C in the terminal is for the runtime, which stops the arm itself.
            .process_group(0)
            .spawn()?;
        let mut pipe = process
            .stdin
            .take()
            .ok_or_else(|| io::Error::other("the guardian has no standard input"))?;
        let mut task = String::new();
        for byte in torque_off {
            // Writing to a string does not fail.
            let _ = write!(task, "{byte:02x}");
        }
        task.push('\n');
        pipe.write_all(task.as_bytes())?;
        // A runtime must never wait for its guardian.
        let flags = fcntl_getfl(&pipe)?;
        fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
        Ok(Self {
            process,
            pipe: Some(pipe),
        })
    }

    /// Torque is about to go on: from here on silence is death.
    ///
    /// Errors: the guardian is gone; then torque must not go on.
    pub fn armed(&mut self) -> io::Result<()> {
        self.say(ARMED)
    }

    /// A sign of life.
    ///
    /// Errors: the guardian is gone.
    pub fn alive(&mut self) -> io::Result<()> {
        match self.say(ALIVE) {
            // A guardian that is slow to read has heard enough of them.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// Torque is off and was read back as off.
    ///
    /// Errors: the guardian is gone, which matters no more.
    pub fn limp(&mut self) -> io::Result<()> {
        self.say(LIMP)
    }

    fn say(&mut self, word: u8) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write(&[word]).map(drop),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // The closed pipe ends the process, within 0.2 s; nobody is left to tell of a failure.
        self.pipe = None;
        let _ = self.process.wait();
    }
}

/// What became of a guardian's charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It left with torque off.
    Left,
    /// It died or fell silent, and torque was cut.
    Cut,
}

/// The guardian itself: reads its task and the signs of life from `input`, writes torque off to `port`. Returns when the runtime has gone.
///
/// Errors: the task makes no sense; the port takes no bytes.
pub fn serve(input: &mut (impl Read + AsFd), port: &mut impl Write) -> io::Result<Fate> {
    let torque_off = task(input)?;
    let silence = Timespec {
        tv_sec: SILENCE.as_secs() as _,
        tv_nsec: SILENCE.subsec_nanos() as _,
    };
    let (mut armed, mut fate) = (false, Fate::Left);
    let mut words = [0u8; 256];
    loop {
        let mut fds = [PollFd::new(input, PollFlags::IN)];
        let heard = match poll(&mut fds, armed.then_some(&silence)) {
            Ok(heard) => heard,
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if heard == 0 {
            // Should it wake up, it finds torque off and must arm again.
            (armed, fate) = (false, Fate::Cut);
            cut(port, &torque_off)?;
            continue;
        }
        let count = input.read(&mut words)?;
        if count == 0 {
            if armed {
                cut(port, &torque_off)?;
                fate = Fate::Cut;
            }
            return Ok(fate);
        }
        for word in &words[..count] {
            match *word {
                ARMED => armed = true,
                LIMP => (armed, fate) = (false, Fate::Left),
                _ => {}
            }
        }
    }
}

fn cut(port: &mut impl Write, torque_off: &[u8]) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..REPEATS {
        last = port.write_all(torque_off).and_then(|()| port.flush());
        std::thread::sleep(PAUSE);
    }
    last
}

/// The first line: the bytes to send, in hexadecimal.
fn task(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the guardian was given no task");
    let (mut bytes, mut half, mut letter) = (Vec::new(), None, [0u8]);
    loop {
        if input.read(&mut letter)? == 0 {
            return Err(wrong());
        }
        if letter[0] == b'\n' {
            return if half.is_none() && !bytes.is_empty() {
                Ok(bytes)
            } else {
                Err(wrong())
            };
        }
        let digit = char::from(letter[0]).to_digit(16).ok_or_else(wrong)? as u8;
        match half.take() {
            None => half = Some(digit),
            Some(high) => bytes.push(16 * high + digit),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;

    /// A guardian on a thread: the runtime's end of its pipe, and what it wrote in the end.
    fn guardian() -> (UnixStream, std::thread::JoinHandle<(Fate, Vec<u8>)>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            let mut port = Vec::new();
            (serve(&mut theirs, &mut port).unwrap(), port)
        });
        (ours, thread)
    }

    fn cut_bytes() -> Vec<u8> {
        [0xff, 0x0a].repeat(REPEATS)
    }

    #[test]
    fn a_runtime_that_dies_with_torque_on_has_it_cut() {
        let (mut pipe, thread) = guardian();
        pipe.write_all(b"ff0a\n+...").unwrap();
        drop(pipe);
        assert_eq!(thread.join().unwrap(), (Fate::Cut, cut_bytes()));
    }

    #[test]
    fn a_runtime_that_leaves_limp_is_left_alone() {
        for words in [&b"ff0a\n"[..], b"ff0a\n+..-", b"ff0a\n+.-+.-"] {
            let (mut pipe, thread) = guardian();
            pipe.write_all(words).unwrap();
            drop(pipe);
            assert_eq!(thread.join().unwrap(), (Fate::Left, Vec::new()));
        }
    }

    #[test]
    fn a_runtime_that_falls_silent_has_torque_cut_once_and_may_arm_again() {
        let (mut pipe, thread) = guardian();
        let start = Instant::now();
        pipe.write_all(b"ff0a\n+.").unwrap();
        std::thread::sleep(2 * SILENCE);
        assert!(start.elapsed() > SILENCE);
        pipe.write_all(b"...+.-").unwrap();
        drop(pipe);
        assert_eq!(thread.join().unwrap(), (Fate::Left, cut_bytes()));
    }

    #[test]
    fn a_task_that_makes_no_sense_is_refused() {
        for words in [&b"\n"[..], b"f\n", b"xy\n", b"ff"] {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            ours.write_all(words).unwrap();
            drop(ours);
            assert!(serve(&mut theirs, &mut Vec::new()).is_err());
        }
    }
}
