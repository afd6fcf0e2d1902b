//! What a person sees while a command runs: messages and progress bars on stderr, the result on stdout.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How to talk to whoever started the command.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ui {
    /// Results as JSON on stdout, no bars.
    pub json: bool,
    /// Nothing on stderr but errors.
    pub quiet: bool,
}

impl Ui {
    /// A progress bar with rate and time left; invisible when nobody looks.
    pub fn bar(&self, length: u64, what: &str) -> ProgressBar {
        let bar = ProgressBar::new(length);
        if self.json || self.quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:>28} {bar:32} {pos}/{len} {per_sec} ETA {eta} {msg}",
        ) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }

    /// One line for the person.
    #[allow(clippy::print_stderr)]
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", line.as_ref());
        }
    }

    /// The command's result: JSON for machines, text for people.
    #[allow(clippy::print_stdout)]
    pub fn result<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(value)?);
        } else {
            println!("{}", text().trim_end());
        }
        Ok(())
    }
}
