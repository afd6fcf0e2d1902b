//! `rapport guardian`: not for people. The process that cuts torque when the one that started it dies.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;

use rapport::robot::guardian::serve;

/// Serves the runtime at the other end of standard input, on the port that is standard output.
pub fn run() -> ExitCode {
    match guard() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the guardian of the arm failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn guard() -> io::Result<()> {
    // Whoever ends the runtime with these must not end this one first.
    let deaf = Arc::default();
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
        signal_hook::consts::SIGPIPE,
    ] {
        signal_hook::flag::register(signal, Arc::clone(&deaf))?;
    }
    // The descriptors themselves: a buffer in between would hide a sign of life from the wait for it.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut port = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    serve(&mut input, &mut port)?;
    Ok(())
}
