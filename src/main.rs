//! The `rapport` binary: one file per subcommand in `cli`, the joining loops beside this file.

mod captions;
mod cli;
mod clips;
mod demo;
mod evaluation;
mod experiments;
mod importing;
mod inference;
mod interrupt;
mod labelling;
mod pictures;
mod practice;
mod prefer;
mod recording;
mod report;
mod run_dir;
mod schema;
mod station;
mod teleops;
mod terminal;
mod text_training;
mod training;
mod ui;
mod viz;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("RAPPORT_LOG")
                .unwrap_or_else(|_| "warn,rapport=info".into()),
        )
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    cli::main()
}
