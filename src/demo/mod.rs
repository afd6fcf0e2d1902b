//! The demo: every stage calls the same code as its subcommand, and the report tells what came of it.

mod jobs;
mod panda;
mod story;
mod write_up;

pub use story::Story;
