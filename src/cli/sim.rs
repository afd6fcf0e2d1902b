//! `rapport sim`: the simulation itself; `rapport sim fit` makes the simulated arm move as a recorded one did, `rapport sim serve` lends an
//! environment to others.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rapport::dataset::{Column, Dataset, Episode};
use rapport::robot::{so101, units};
use rapport::sim::env::EnvConfig;
use rapport::sim::identify::{self, Fit, FitConfig, Motion};
use serde::Serialize;

use super::Usage;
use crate::interrupt;
use crate::run_dir::write_atomically;
use crate::schema;
use crate::ui::Ui;

mod serve;

/// Work on the simulation itself.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    Fit(FitArgs),
    Serve(serve::ServeArgs),
}

/// Fit friction, damping, gains, rotor inertia and delay of the simulated SO-101 to recorded motions.
///
/// Replays the dataset's goals (`action`) in simulation and minimises the difference to the measured positions
/// (`observation.state`). Ctrl-C stops and writes the best so far.
#[derive(Clone, Debug, clap::Args)]
struct FitArgs {
    /// Recorded motions in LeRobot's units: every joint moving, quickly and slowly, best without touching anything.
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// The fitted simulation, for `rapport train --sim` and `rapport eval --sim`.
    #[arg(long, value_name = "FILE.toml")]
    out: Option<PathBuf>,
    /// A simulation to start from and to compare with; the public model when not given.
    #[arg(long = "sim", value_name = "FILE.toml")]
    simulation: Option<PathBuf>,
    /// What was sent between two rows: the row's goal at once (as LeRobot records), or a line from the goal before to it.
    #[arg(long, value_enum, default_value_t = Goals::Hold)]
    goals: Goals,
    /// Goals a second on that line.
    #[arg(long, default_value_t = 50)]
    control_hz: u32,
    /// Share of the episodes that is not fitted but predicted, to see whether the fit means anything.
    #[arg(long, default_value_t = 0.2)]
    held_out: f64,
    /// Starts of the search.
    #[arg(long, default_value_t = 3)]
    starts: usize,
    /// Seed of the starts and of which episodes are held out.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Goals {
    /// The row's goal is sent with the row and held.
    Hold,
    /// The row's goal is reached on a line, as `rapport record` with --control-hz above --fps does it.
    Line,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    match &args.command {
        Command::Fit(args) => fit(args, ui),
        Command::Serve(args) => serve::run(args),
    }
}

/// The simulation that a file describes, or the usual one. A file need not say everything.
pub fn env_config(file: Option<&Path>) -> anyhow::Result<EnvConfig> {
    let Some(file) = file else {
        return Ok(EnvConfig::default());
    };
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} describes no simulation", file.display()))
}

fn fit(args: &FitArgs, ui: Ui) -> anyhow::Result<()> {
    let motions = motions(args)?;
    let config = FitConfig {
        seed: args.seed,
        starts: args.starts,
        held_out: args.held_out,
        start: env_config(args.simulation.as_deref())?.arm,
        ..FitConfig::default()
    };
    let bar = ui.bar(1, "fitting the arm");
    let fit = identify::fit(&motions, &config, |progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(format!("{:.4} rad", progress.rms_rad));
        if interrupt::requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .with_context(|| format!("{} cannot be fitted", args.dataset.display()))?;
    bar.finish_and_clear();
    if let Some(out) = &args.out {
        write_atomically(out, file(&fit, &args.dataset)?.as_bytes())?;
    }
    ui.result(&fit, || text(&fit, args.out.as_deref()))
}

/// The dataset's episodes.
fn motions(args: &FitArgs) -> anyhow::Result<Vec<Motion>> {
    let dir = args.dataset.display();
    if !args.dataset.exists() {
        return Err(Usage(format!(
            "{dir} does not exist; give the folder of a LeRobot dataset"
        ))
        .into());
    }
    let dataset = Dataset::open(&args.dataset)?;
    let fps = dataset.info().fps;
    let ticks = match args.goals {
        Goals::Hold => 1,
        Goals::Line if fps > 0 && args.control_hz.is_multiple_of(fps) => args.control_hz / fps,
        Goals::Line => {
            return Err(Usage(format!(
                "--control-hz {} must be a multiple of the dataset's {fps} rows a second",
                args.control_hz
            ))
            .into());
        }
    };
    (0..dataset.len())
        .map(|index| {
            let episode = dataset.episode_columns(index)?;
            let name = format!("episode {index}");
            let measured = positions(&episode, schema::STATE, "where the joints were")
                .with_context(|| format!("{dir} cannot be fitted"))?;
            let sent = positions(&episode, schema::ACTION, "which goals were sent")
                .with_context(|| format!("{dir} cannot be fitted"))?;
            Motion::new(&name, f64::from(fps), &measured, &sent, ticks as usize)
                .with_context(|| format!("{dir} cannot be fitted"))
        })
        .collect()
}

/// A column of joint positions: rad, the gripper as a fraction.
fn positions(episode: &Episode, name: &str, what: &str) -> anyhow::Result<Vec<Vec<f64>>> {
    let column: &Column = episode
        .columns
        .get(name)
        .with_context(|| format!("it has no column {name}, which says {what}"))?;
    let spec = so101::spec();
    let names = units::lerobot_names(&spec);
    anyhow::ensure!(
        column.dim == names.len(),
        "its {name} has {} components, an SO-101 has {} joints: it is of another arm",
        column.dim,
        names.len()
    );
    anyhow::ensure!(
        column.names.len() != names.len() || column.names == names,
        "its {name} is {}, an SO-101's is {}: it is of another arm",
        column.names.join(", "),
        names.join(", ")
    );
    (0..column.len())
        .map(|t| Ok(units::positions_from_lerobot(&spec, column.row(t))?))
        .collect()
}

/// The part of an [`EnvConfig`] that was fitted, as a file with a heading.
fn file(fit: &Fit, dataset: &Path) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Fitted<'a> {
        arm: &'a rapport::sim::ArmConfig,
        randomisation: &'a rapport::sim::Randomisation,
    }
    let mut text = format!(
        "# Fitted to {} ({:.0} s of motion) by `rapport sim fit`: {:.4} rad apart before, {:.4} after.\n",
        dataset.display(),
        fit.seconds,
        fit.before_rad,
        fit.after_rad
    );
    if let Some((before, after)) = fit.held_out_before_rad.zip(fit.held_out_after_rad) {
        let _ = writeln!(
            text,
            "# On episodes it has not seen: {before:.4} rad before, {after:.4} after."
        );
    }
    for warning in &fit.warnings {
        let _ = writeln!(text, "# Note: {warning}.");
    }
    text.push_str("# The randomisation covers the 95 % intervals; remove it to practise in the fitted arm alone.\n\n");
    text.push_str(&toml::to_string(&Fitted {
        arm: &fit.arm,
        randomisation: &fit.randomisation,
    })?);
    Ok(text)
}

fn text(fit: &Fit, out: Option<&Path>) -> String {
    let mut text = format!(
        "{} motions, {:.0} s, and {} held out; simulated less measured, root mean square in rad:\n{:16} {:>9} {:>9} {:>9} {:>9}\n",
        fit.motions, fit.seconds, fit.held_out, "", "before", "after", "held out:", "after"
    );
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.4}"));
    for joint in &fit.joints {
        let _ = writeln!(
            text,
            "{:16} {:9.4} {:9.4} {:>9} {:>9}",
            joint.joint,
            joint.before_rad,
            joint.after_rad,
            number(joint.held_out_before_rad),
            number(joint.held_out_after_rad)
        );
    }
    let _ = writeln!(
        text,
        "{:16} {:9.4} {:9.4} {:>9} {:>9}\n",
        "all",
        fit.before_rad,
        fit.after_rad,
        number(fit.held_out_before_rad),
        number(fit.held_out_after_rad)
    );
    for e in &fit.estimates {
        let _ = writeln!(
            text,
            "{:28} {:8.4} -> {:8.4} ({:.4} .. {:.4}) {}{}",
            e.name,
            e.before,
            e.value,
            e.low,
            e.high,
            e.unit,
            if e.identifiable {
                ""
            } else {
                "  not identifiable"
            }
        );
    }
    for warning in &fit.warnings {
        let _ = writeln!(text, "note: {warning}");
    }
    if let Some(out) = out {
        let _ = writeln!(text, "-> {}", out.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rapport::dataset::{DatasetConfig, DatasetWriter, Feature, VideoCodec};
    use rapport::sim::{Scene, SceneConfig, World};

    const QUIET: Ui = Ui {
        json: true,
        quiet: true,
    };

    fn arguments(dir: &Path, out: Option<&Path>) -> FitArgs {
        FitArgs {
            dataset: dir.to_owned(),
            out: out.map(Path::to_owned),
            simulation: None,
            goals: Goals::Hold,
            control_hz: 50,
            held_out: 0.3,
            starts: 1,
            seed: 0,
        }
    }

    /// A dataset of rows of states and actions, each of so many components.
    fn dataset(dir: &Path, columns: &[(&str, usize)], rows: &[Vec<[f32; 6]>]) {
        let joints = units::lerobot_names(&so101::spec());
        let feature = |&(name, dim): &(&str, usize)| match dim {
            6 => Feature::named(name, joints.clone()),
            dim => Feature::new(name, dim),
        };
        let config = DatasetConfig {
            fps: 50,
            robot_type: "so_follower".into(),
            features: columns.iter().map(feature).collect(),
            cameras: Vec::new(),
            codec: VideoCodec::default(),
        };
        let mut writer = DatasetWriter::create(dir, config).unwrap();
        for pair in rows.chunks(2) {
            let mut episode = writer.begin("move").unwrap();
            for (state, action) in pair[0].iter().zip(&pair[1]) {
                let values: Vec<(&str, &[f32])> = columns
                    .iter()
                    .map(|&(name, dim)| {
                        let row = if name == schema::ACTION {
                            action
                        } else {
                            state
                        };
                        (name, &row[..dim.min(6)])
                    })
                    .collect();
                episode.push(&values, &[]).unwrap();
            }
            writer.save(episode).unwrap();
        }
    }

    /// States and actions of a softer and later arm than the usual one.
    fn motion(episode: usize) -> [Vec<[f32; 6]>; 2] {
        let mut scene = SceneConfig::default();
        scene.arm.servo.delay_s = 0.03;
        for joint in so101::spec().joints {
            let mut config = scene.arm.joint(&joint.name);
            config.gain = 12.0;
            scene.arm.joints.insert(joint.name, config);
        }
        let world = World::new(Scene::new(scene).unwrap()).unwrap();
        let middle = [0.0, -0.6, 0.4, 0.5, 0.0, 0.5];
        world.place_arm(&middle).unwrap();
        let spec = so101::spec();
        let row = |positions: &[f64]| -> [f32; 6] {
            let row = units::lerobot_from_positions(&spec, positions).unwrap();
            row.try_into().unwrap()
        };
        let (mut states, mut actions) = (Vec::new(), Vec::new());
        for t in 0..150 {
            states.push(row(&world.arm_state().unwrap().positions));
            let goal: Vec<f64> = (0..6)
                .map(|j| {
                    let phase = (0.08 + 0.013 * j as f64) * t as f64 + (episode + j) as f64;
                    middle[j] + 0.3 * phase.sin()
                })
                .collect();
            for (j, &angle) in goal.iter().enumerate() {
                let angle = if j == 5 {
                    so101::jaw_angle_from_opening(angle)
                } else {
                    angle
                };
                world.set_servo_goal(j, angle).unwrap();
            }
            actions.push(row(&goal));
            world.advance(4).unwrap();
        }
        [states, actions]
    }

    #[test]
    fn a_dataset_becomes_a_file_that_training_loads() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, out) = (
            folder.path().join("motions"),
            folder.path().join("arm.toml"),
        );
        let rows: Vec<_> = (0..3).flat_map(motion).collect();
        dataset(&dir, &[(schema::STATE, 6), (schema::ACTION, 6)], &rows);
        fit(&arguments(&dir, Some(&out)), QUIET).unwrap();
        let config = env_config(Some(&out)).unwrap();
        assert!((config.arm.servo.delay_s - 0.03).abs() < 0.01);
        assert!((config.arm.joint("shoulder_lift").gain - 12.0).abs() < 1.2);
        let gain = config.randomisation.gain.unwrap();
        assert!(gain.low <= 1.0 && gain.high >= 1.0);
        let practice = crate::practice::SimPractice::new("so101-push", &config, None, (16, 16));
        practice.unwrap();
    }

    #[test]
    fn a_dataset_that_cannot_be_fitted_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str, columns: &[(&str, usize)], rows: &[Vec<[f32; 6]>]| {
            let dir = folder.path().join(name);
            dataset(&dir, columns, rows);
            let error = fit(&arguments(&dir, None), QUIET).unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains(name) && !text.contains('\n'), "{text}");
            text
        };
        let (state, action) = ((schema::STATE, 6), (schema::ACTION, 6));
        let still = || vec![[0.0, -30.0, 20.0, 30.0, 0.0, 50.0]; 150];
        let rows = [still(), still()];
        assert!(refused("no-action", &[state], &rows).contains("no column action"));
        assert!(refused("no-state", &[action], &rows).contains("no column observation.state"));
        let other = refused("other", &[(schema::STATE, 4), (schema::ACTION, 4)], &rows);
        assert!(other.contains("another arm"), "{other}");
        assert!(refused("still", &[state, action], &rows).contains("no joint moves"));
        let short = [still()[..20].to_vec(), still()[..20].to_vec()];
        assert!(refused("short", &[state, action], &short).contains("too short"));
        let missing = fit(&arguments(&folder.path().join("none"), None), QUIET).unwrap_err();
        assert!(missing.is::<Usage>());
    }

    #[test]
    fn a_file_that_is_no_simulation_names_itself_and_the_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("arm.toml");
        std::fs::write(&file, "[arm.servo]\ndelay = 0.1\n").unwrap();
        let text = format!("{:#}", env_config(Some(&file)).unwrap_err());
        assert!(
            text.contains("arm.toml") && text.contains("delay"),
            "{text}"
        );
        let usual = env_config(None).unwrap();
        assert!(usual.randomisation.is_none());
        // What a run keeps is read back as it was.
        std::fs::write(&file, toml::to_string(&usual).unwrap()).unwrap();
        assert_eq!(env_config(Some(&file)).unwrap(), usual);
    }
}
