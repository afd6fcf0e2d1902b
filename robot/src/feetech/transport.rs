//! What carries the bytes of a servo bus, and what can be wrong with it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::termios::{ioctl_tiocexcl, ioctl_tiocnxcl};
use serial2::SerialPort;

/// A byte stream to a bus, with its own clock, so that a test may run faster than the wall.
pub trait Transport: Send {
    /// Name for messages (`/dev/ttyACM0`).
    fn name(&self) -> &str;

    /// Time on the transport's clock.
    fn now(&self) -> Duration;

    /// Throws away everything received and not yet read.
    fn discard_input(&mut self) -> io::Result<()>;

    /// Sends all bytes before `deadline`; on [`io::ErrorKind::TimedOut`] the unsent rest is thrown away, never sent later.
    fn send(&mut self, bytes: &[u8], deadline: Duration) -> io::Result<()>;

    /// Waits until `deadline` for bytes; 0 when none came. A device that is gone is an error, never 0.
    fn receive(&mut self, buffer: &mut [u8], deadline: Duration) -> io::Result<usize>;

    /// The open port for another process, which may outlive this one; `None` where there is no port of the system.
    ///
    /// Errors: the system has no descriptor left.
    fn share(&self) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {port}: {cause}", port = self.port(), cause = self.cause())]
pub enum PortError {
    /// No such file.
    Missing {
        /// Device path.
        port: String,
    },
    /// The file's permissions do not allow it.
    Permission {
        /// Device path.
        port: String,
    },
    /// Somebody else holds it.
    Busy {
        /// Device path.
        port: String,
    },
    /// It is not a serial port.
    NotSerial {
        /// Device path.
        port: String,
    },
    /// The device behind the file is not there.
    NoDevice {
        /// Device path.
        port: String,
    },
    /// Anything else.
    Other {
        /// Device path.
        port: String,
        /// What the system said.
        source: io::Error,
    },
}

impl PortError {
    /// The port that was asked for.
    pub fn port(&self) -> &str {
        match self {
            Self::Missing { port }
            | Self::Permission { port }
            | Self::Busy { port }
            | Self::NotSerial { port }
            | Self::NoDevice { port }
            | Self::Other { port, .. } => port,
        }
    }

    /// What is wrong, without the port's name.
    pub fn cause(&self) -> String {
        match self {
            Self::Missing { .. } => "there is no such port".into(),
            Self::Permission { .. } => "this user may not open it".into(),
            Self::Busy { .. } => "another program uses it".into(),
            Self::NotSerial { .. } => "it is not a serial port".into(),
            Self::NoDevice { .. } => "no device answers behind it".into(),
            Self::Other { source, .. } => source.to_string(),
        }
    }

    /// What a person can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "plug the adapter in and list the ports with `rapport find-port`"
            }
            Self::Permission { .. } => {
                "add the user to the group that owns the port (often `dialout`) and log in again"
            }
            Self::Busy { .. } => "close the other program",
            Self::NotSerial { .. } => "give the path of a serial port, for example /dev/ttyACM0",
            Self::NoDevice { .. } | Self::Other { .. } => {
                "unplug the adapter, plug it in again and look into the system log"
            }
        }
    }

    fn classify(port: &str, error: io::Error) -> Self {
        use rustix::io::Errno;
        let port = port.to_owned();
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Self::Missing { port },
            Some(Errno::ACCESS | Errno::PERM) => Self::Permission { port },
            Some(Errno::BUSY | Errno::WOULDBLOCK) => Self::Busy { port },
            Some(Errno::NOTTY | Errno::ISDIR | Errno::INVAL) => Self::NotSerial { port },
            Some(Errno::NXIO | Errno::NODEV | Errno::IO) => Self::NoDevice { port },
            _ => Self::Other {
                port,
                source: error,
            },
        }
    }
}

/// A serial port of this machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PortInfo {
    /// Device path (`/dev/ttyACM0`).
    pub path: PathBuf,
    /// Its name by maker, model and serial number, where the system gives one: it stays when the numbering changes.
    pub by_id: Option<PathBuf>,
}

/// The serial ports of this machine that a servo adapter could be behind.
///
/// Errors: the system does not tell its ports.
pub fn list_ports() -> io::Result<Vec<PortInfo>> {
    let mut names = Vec::new();
    // Where this folder is missing there are no such names.
    if let Ok(folder) = std::fs::read_dir("/dev/serial/by-id") {
        for entry in folder {
            let name = entry?.path();
            names.push((std::fs::canonicalize(&name)?, name));
        }
    }
    let mut ports = SerialPort::available_ports()?;
    ports.sort();
    Ok(ports
        .into_iter()
        .map(|path| PortInfo {
            by_id: names
                .iter()
                .find(|(target, _)| *target == path)
                .map(|(_, name)| name.clone()),
            path,
        })
        .collect())
}

/// The error means that the device is gone for good (unplugged, or the process behind a pseudo-terminal has ended).
pub fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::IO | Errno::NODEV | Errno::NXIO | Errno::PIPE | Errno::BADF)
    ) || matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected
    )
}

/// A serial port that nobody else can open meanwhile.
#[derive(Debug)]
pub struct SerialTransport {
    name: String,
    port: SerialPort,
    start: Instant,
}

impl SerialTransport {
    /// Opens the port raw, 8N1, and claims it: TIOCEXCL keeps other users out, the lock keeps out other drivers of ours even
    /// when they run as root. Sends nothing and leaves the modem lines alone.
    pub fn open(path: &str, baud: u32) -> Result<Self, PortError> {
        let classify = |error| PortError::classify(path, error);
        let port = SerialPort::open(path, baud).map_err(classify)?;
        flock(&port, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| classify(errno.into()))?;
        ioctl_tiocexcl(&port).map_err(|errno| classify(errno.into()))?;
        Ok(Self {
            name: path.to_owned(),
            port,
            start: Instant::now(),
        })
    }

    /// Waits for `flags` until `deadline`; false when it has passed.
    fn wait(&self, flags: PollFlags, deadline: Duration) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_sub(self.now());
            let timeout = Timespec {
                tv_sec: left.as_secs() as _,
                tv_nsec: left.subsec_nanos() as _,
            };
            let mut fds = [PollFd::new(&self.port, flags)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Ok(false),
                // A hang-up also ends the wait; the following read or write then reports it.
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for SerialTransport {
    fn drop(&mut self) {
        // A pseudo-terminal outlives its clients and would stay exclusive. Nothing is left to do when this fails.
        let _ = ioctl_tiocnxcl(&self.port);
    }
}

impl Transport for SerialTransport {
    fn name(&self) -> &str {
        &self.name
    }

    fn share(&self) -> io::Result<Option<OwnedFd>> {
        self.port.as_fd().try_clone_to_owned().map(Some)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn discard_input(&mut self) -> io::Result<()> {
        self.port.discard_input_buffer()
    }

    fn send(&mut self, bytes: &[u8], deadline: Duration) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !self.wait(PollFlags::OUT, deadline)? {
                self.port.discard_buffers()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.port.write(rest) {
                Ok(0) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Duration) -> io::Result<usize> {
        loop {
            if !self.wait(PollFlags::IN, deadline)? {
                return Ok(0);
            }
            match self.port.read(buffer) {
                // Ready to read and nothing there: the other end has hung up.
                Ok(0) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.now() >= deadline {
                        return Ok(0);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
