//! The command line: one file per subcommand.

mod bench;
mod calibrate;
mod config;
mod dataset;
pub mod demo;
pub mod deploy;
mod doctor;
mod encode;
pub mod environment;
pub mod eval;
mod find_cameras;
mod find_port;
mod guardian;
pub mod prefer;
pub mod record;
mod replay;
pub mod reward;
mod setup_motors;
pub mod sim;
mod teleop;
pub mod train;
mod twin;
mod view;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::interrupt;
use crate::ui::Ui;

/// A mistake in what was asked: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Learn what a person wants from a robot by watching; practise in simulation; do it on a real arm.
#[derive(Debug, Parser)]
#[command(
    name = "rapport",
    version,
    args_override_self = true,
    after_help = "Start with `rapport demo`: the whole story on this machine, no GPU, no arm."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON on stdout, and no progress bars.
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but errors.
    #[arg(long, global = true)]
    quiet: bool,
    /// Take options from a TOML file (`episodes = 20`); the command line wins.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Doctor(doctor::Args),
    Record(record::Args),
    Replay(replay::Args),
    Teleop(teleop::Args),
    Dataset(dataset::Args),
    Encode(encode::Args),
    Prefer(prefer::Args),
    Reward(reward::Args),
    Train(train::Args),
    Eval(eval::Args),
    Deploy(deploy::Args),
    Sim(sim::Args),
    #[command(name = "find-port")]
    FindPort(find_port::Args),
    #[command(name = "find-cameras")]
    FindCameras(find_cameras::Args),
    #[command(name = "setup-motors")]
    SetupMotors(setup_motors::Args),
    Calibrate(calibrate::Args),
    Twin(twin::Args),
    View(view::Args),
    Bench(bench::Args),
}

/// Runs the command line of this process.
#[allow(clippy::print_stderr)]
pub fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == rapport::robot::guardian::COMMAND)
    {
        return guardian::run();
    }
    let arguments = match config::expand(std::env::args_os().collect(), &Cli::command()) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("rapport: {error:#}");
            return ExitCode::from(2);
        }
    };
    let cli = match Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help and version to stdout with code 0, mistakes to stderr with code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let ui = Ui {
        json: cli.json,
        quiet: cli.quiet,
    };
    match interrupt::listen().and_then(|()| run(cli.command, ui)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rapport: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Waits until the person presses ENTER; a script's input line by line.
fn press_enter() -> anyhow::Result<()> {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line)? == 0 {
        anyhow::bail!("there is nobody to press ENTER: the standard input has ended");
    }
    Ok(())
}

/// Help for an option that names a task: what it is for, and the tasks there are.
fn tasks(what: &str) -> String {
    let tasks = rapport::sim::tasks::all();
    let names: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
    format!("{what}: {}", names.join(", "))
}

fn run(command: Command, ui: Ui) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args, ui),
        Command::Doctor(args) => doctor::run(&args, ui),
        Command::FindPort(args) => find_port::run(&args, ui),
        Command::FindCameras(args) => find_cameras::run(&args, ui),
        Command::SetupMotors(args) => setup_motors::run(&args, ui),
        Command::Calibrate(args) => calibrate::run(&args, ui),
        Command::Record(args) => record::run(&args, ui),
        Command::Replay(args) => replay::run(&args, ui),
        Command::Teleop(args) => teleop::run(&args, ui),
        Command::Dataset(args) => dataset::run(&args, ui),
        Command::Encode(args) => encode::run(&args, ui),
        Command::Prefer(args) => prefer::run(&args, ui),
        Command::Reward(args) => reward::run(&args, ui),
        Command::Train(args) => train::run(&args, ui),
        Command::Eval(args) => eval::run(&args, ui),
        Command::Deploy(args) => deploy::run(&args, ui),
        Command::Sim(args) => sim::run(&args, ui),
        Command::Twin(args) => twin::run(&args, ui),
        Command::View(args) => view::run(&args, ui),
        Command::Bench(args) => bench::run(&args, ui),
    }
}
