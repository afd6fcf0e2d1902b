//! The chain as a serial port on a thread of its own, or as a transport in virtual time.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rapport_robot::Clock;
use rapport_robot::feetech::Transport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};

use super::chain::{ServoBusConfig, ServoChain};
use super::plant::{JointPlant, PlantError};

/// The simulation is not left alone for longer than this.
const TICK: Duration = Duration::from_millis(5);

/// A machine that falls behind by more loses the rest: catching up would only put it further behind.
const MAX_CATCH_UP: Duration = Duration::from_millis(250);

/// After this much silence the port is given back to everybody, because a client that was killed could not do it.
const IDLE: Duration = Duration::from_secs(1);

/// Why there is no simulated port.
#[derive(Debug, thiserror::Error)]
pub enum ServoBusError {
    /// The system gives no pseudo-terminal or thread.
    #[error("cannot make a simulated serial port: {0}")]
    System(#[from] io::Error),
    /// The link cannot be made.
    #[error("cannot link {link} to the simulated serial port: {cause}")]
    Link {
        /// Where it should be.
        link: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The arm behind it does not work.
    #[error(transparent)]
    Plant(#[from] PlantError),
}

/// A simulated servo bus as a serial port, until it is dropped, which for a client is the cable being pulled.
#[derive(Debug)]
pub struct ServoBus {
    port: PathBuf,
    link: Option<PathBuf>,
    chain: Arc<Mutex<ServoChain>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl std::fmt::Debug for ServoChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServoChain")
            .field("servos", &self.servos().len())
            .finish_non_exhaustive()
    }
}

impl ServoBus {
    /// Opens a pseudo-terminal and answers on it, in the time of the wall. `link`: a name for the port, replaced when it is an
    /// older link and removed at the end.
    ///
    /// Errors: [`ServoBusError`].
    pub fn start(
        config: &ServoBusConfig,
        plant: Box<dyn JointPlant>,
        link: Option<&Path>,
    ) -> Result<Self, ServoBusError> {
        let chain = Arc::new(Mutex::new(ServoChain::new(config, plant)?));
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .map_err(io::Error::from)?;
        grantpt(&master).map_err(io::Error::from)?;
        unlockpt(&master).map_err(io::Error::from)?;
        let name = ptsname(&master, Vec::new()).map_err(io::Error::from)?;
        let port = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
        // Without an open slave the master would report an error whenever a client leaves.
        let slave = rustix::fs::open(
            &port,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(io::Error::from)?;
        let mut settings = tcgetattr(&slave).map_err(io::Error::from)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings).map_err(io::Error::from)?;
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)
            .map_err(io::Error::from)?;
        if let Some(link) = link {
            make_link(&port, link)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let wire = Wire {
            master,
            slave,
            chain: chain.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("servo-bus".into())
            .spawn(move || wire.serve())?;
        Ok(Self {
            port,
            link: link.map(Path::to_owned),
            chain,
            stop,
            thread: Some(thread),
        })
    }

    /// The path to open: the link, or the port's own.
    pub fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.port)
    }

    /// The servos and their faults, while the bus stands still.
    pub fn chain(&self) -> MutexGuard<'_, ServoChain> {
        lock(&self.chain)
    }

    /// Ends the bus and says whether it came through.
    ///
    /// Errors: [`ServoBusError::Plant`] when the arm behind it failed, [`ServoBusError::System`].
    pub fn stop(mut self) -> Result<(), ServoBusError> {
        self.join()?;
        match self.chain().failure() {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }

    fn join(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let result = match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the servo bus thread panicked")),
            None => return Ok(()),
        };
        if let Some(link) = &self.link
            && std::fs::read_link(link).is_ok_and(|target| target == self.port)
        {
            std::fs::remove_file(link)?;
        }
        result
    }
}

impl Drop for ServoBus {
    fn drop(&mut self) {
        // Nobody is left to tell; who wants to know calls `stop`.
        let _ = self.join();
    }
}

/// Makes the link in one step, in place of an older link but of nothing else.
fn make_link(port: &Path, link: &Path) -> Result<(), ServoBusError> {
    let failed = |cause: String| ServoBusError::Link {
        link: link.to_owned(),
        cause,
    };
    match std::fs::symlink_metadata(link) {
        Ok(found) if !found.is_symlink() => {
            return Err(failed(
                "there is already a file; choose another name".into(),
            ));
        }
        _ => {}
    }
    let mut temporary = link.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    std::os::unix::fs::symlink(port, &temporary)
        .and_then(|()| std::fs::rename(&temporary, link))
        .map_err(|error| failed(error.to_string()))
}

/// The end of the pseudo-terminal where the servos are.
struct Wire {
    master: OwnedFd,
    slave: OwnedFd,
    chain: Arc<Mutex<ServoChain>>,
    stop: Arc<AtomicBool>,
}

impl Wire {
    fn serve(self) -> io::Result<()> {
        let start = Instant::now();
        let mut heard = start;
        let mut lost = Duration::ZERO;
        let mut last = Duration::ZERO;
        let mut buffer = [0u8; 1024];
        while !self.stop.load(Ordering::Relaxed) {
            let due = lock(&self.chain).next_due();
            let now = start.elapsed().saturating_sub(lost);
            let wait = due.map_or(TICK, |at| at.saturating_sub(now).min(TICK));
            let timeout = Timespec {
                tv_sec: wait.as_secs() as _,
                tv_nsec: wait.subsec_nanos() as _,
            };
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let count = match rustix::io::read(&self.master, &mut buffer) {
                Ok(count) => count,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            let mut now = start.elapsed().saturating_sub(lost);
            let skipped = now.saturating_sub(last).saturating_sub(MAX_CATCH_UP);
            lost += skipped;
            now -= skipped;
            last = now;
            let mut chain = lock(&self.chain);
            if count > 0 {
                heard = Instant::now();
                let speed = tcgetattr(&self.slave)?.output_speed();
                chain.set_speed(speed);
                chain.receive(&buffer[..count], now);
            } else {
                chain.advance(now);
            }
            let bytes = chain.take_due(start.elapsed().saturating_sub(lost));
            drop(chain);
            // A line does not wait: what the client does not take is lost.
            match rustix::io::write(&self.master, &bytes) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if heard.elapsed() > IDLE {
                heard = Instant::now();
                ioctl_tiocnxcl(&self.slave)?;
            }
        }
        Ok(())
    }
}

/// The bus in virtual time: time passes only while the driver waits or its [`VirtualBus`] sleeps, so a run is exact, repeatable
/// and fast.
pub struct VirtualPort {
    bus: VirtualBus,
    waiting: Vec<u8>,
}

/// The other side of a [`VirtualPort`]: its servos, and its time as a [`Clock`]. Clones are handles on the same bus.
#[derive(Clone, Debug)]
pub struct VirtualBus {
    chain: Arc<Mutex<ServoChain>>,
    now: Arc<Mutex<Duration>>,
}

impl VirtualBus {
    /// A bus and the port to it.
    ///
    /// Errors: [`PlantError`].
    pub fn new(
        config: &ServoBusConfig,
        plant: Box<dyn JointPlant>,
    ) -> Result<(Self, VirtualPort), PlantError> {
        let bus = Self {
            chain: Arc::new(Mutex::new(ServoChain::new(config, plant)?)),
            now: Arc::default(),
        };
        let port = VirtualPort {
            bus: bus.clone(),
            waiting: Vec::new(),
        };
        Ok((bus, port))
    }

    /// The servos and their faults.
    pub fn chain(&self) -> MutexGuard<'_, ServoChain> {
        lock(&self.chain)
    }

    fn pass_until(&self, moment: Duration) -> Duration {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (*now).max(moment);
        *now
    }
}

impl Clock for VirtualBus {
    fn now(&self) -> Duration {
        self.pass_until(Duration::ZERO)
    }

    fn sleep_until(&mut self, deadline: Duration) {
        let now = self.pass_until(deadline);
        self.chain().advance(now);
    }
}

impl VirtualPort {
    fn fetch(&mut self) {
        let now = self.bus.now();
        let mut chain = lock(&self.bus.chain);
        chain.advance(now);
        self.waiting.extend(chain.take_due(now));
    }
}

impl Transport for VirtualPort {
    fn name(&self) -> &str {
        "virtual port"
    }

    fn now(&self) -> Duration {
        self.bus.now()
    }

    fn discard_input(&mut self) -> io::Result<()> {
        self.fetch();
        self.waiting.clear();
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], _: Duration) -> io::Result<()> {
        let now = self.bus.now();
        self.bus.chain().receive(bytes, now);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Duration) -> io::Result<usize> {
        self.fetch();
        if self.waiting.is_empty() {
            let due = self.bus.chain().next_due();
            self.bus
                .pass_until(due.map_or(deadline, |at| at.min(deadline)));
            self.fetch();
        }
        let count = self.waiting.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.waiting[..count]);
        self.waiting.drain(..count);
        Ok(count)
    }
}

fn lock(chain: &Mutex<ServoChain>) -> MutexGuard<'_, ServoChain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}
