//! `rapport doctor`: what works on this machine, and what to do about the rest.

mod arm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rapport::perception::DeviceChoice;
use rapport::perception::weights::{EFFICIENTNET_LITE0, MINI_LM_WEIGHTS, PinnedFile};
use rapport::robot::SystemClock;
use rapport::robot::feetech::list_ports;
use rapport::robot::realtime::{Scheduling, request_fifo};
use rapport::sim::render::{Backend, Quality};
use rapport::sim::{Scene, SceneConfig, SimCamera, World};
use serde::Serialize;

use super::Usage;
use crate::station::RobotName;
use crate::ui::Ui;

/// Look at what works here: graphics, physics, weights, ports, cameras, timing; and at an arm, if one is named.
///
/// Nothing is changed. An arm is only read, unless --move is given.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// so101:/dev/ttyACM0: look at this arm too.
    #[arg(long, value_name = "R", requires = "calibration")]
    robot: Option<RobotName>,
    /// Its LeRobot calibration.
    #[arg(long, value_name = "FILE.json")]
    calibration: Option<PathBuf>,
    /// Move every joint of the arm by two degrees and back, to see that each does what it is told. Torque goes on for some seconds.
    #[arg(long = "move", requires = "robot")]
    sanity_move: bool,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It works.
    Works,
    /// It is not here, and not everybody needs it.
    Missing,
    /// It is wrong.
    Wrong,
}

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn works(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Works,
            found: found.into(),
            advice: None,
        }
    }

    fn missing(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Missing,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    fn wrong(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Wrong,
            ..Self::missing(what, found, advice)
        }
    }
}

/// Runs the command. Fails when something is wrong, not when something is missing.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let mut findings = vec![
        processor(),
        timing(),
        physics(),
        pictures(Backend::Cpu),
        pictures(Backend::Gl),
        adapter(),
        weights("vision weights", EFFICIENTNET_LITE0),
        weights("sentence weights", MINI_LM_WEIGHTS),
        ports(),
        cameras(),
    ];
    if let Some(robot) = &args.robot {
        let RobotName::Serial(path) = robot else {
            return Err(Usage("a doctor looks at real arms: so101:PATH".into()).into());
        };
        let file = args.calibration.as_deref().unwrap_or(path);
        findings.extend(arm::look(
            &path.display().to_string(),
            file,
            args.sanity_move,
        ));
    }
    ui.result(&findings, || {
        let lines = findings.iter().map(|finding| {
            let sign = match finding.verdict {
                Verdict::Works => "works  ",
                Verdict::Missing => "missing",
                Verdict::Wrong => "WRONG  ",
            };
            let mut line = format!("{sign}  {:<17} {}", finding.what, finding.found);
            if let Some(advice) = &finding.advice {
                line += &format!("\n{:28}{advice}", "");
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    let wrong: Vec<_> = findings
        .iter()
        .filter(|f| f.verdict == Verdict::Wrong)
        .map(|f| f.what)
        .collect();
    match wrong[..] {
        [] => Ok(()),
        _ => anyhow::bail!("something is wrong: {}", wrong.join(", ")),
    }
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Finding::works("processor", format!("{cores} cores"))
}

/// How late a thread wakes, with and without real-time scheduling: a tenth of a second of 1 kHz each.
fn timing() -> Finding {
    const WHAT: &str = "timing";
    let measured = std::thread::spawn(|| {
        let ordinary = worst_lateness();
        let scheduling = request_fifo(50);
        (ordinary, worst_lateness(), scheduling)
    });
    let Ok((ordinary, fifo, scheduling)) = measured.join() else {
        return Finding::wrong(WHAT, "the measuring thread failed", "run it again");
    };
    match scheduling {
        Scheduling::Fifo { .. } => Finding::works(
            WHAT,
            format!(
                "real-time scheduling is allowed; late by at most {fifo:.2} ms (ordinary: {ordinary:.2} ms)"
            ),
        ),
        Scheduling::Ordinary { why } => Finding::missing(
            WHAT,
            format!("late by at most {ordinary:.2} ms; {why}"),
            "add `@realtime - rtprio 95` and `@realtime - memlock unlimited` to /etc/security/limits.d/rapport.conf, join the group, log in again",
        ),
    }
}

/// Milliseconds.
fn worst_lateness() -> f64 {
    use rapport::robot::Clock as _;
    let mut clock = SystemClock::default();
    let mut worst = Duration::ZERO;
    for k in 1..=100_u32 {
        let deadline = Duration::from_millis(1) * k;
        clock.sleep_until(deadline);
        worst = worst.max(clock.now().saturating_sub(deadline));
    }
    worst.as_secs_f64() * 1e3
}

fn world() -> anyhow::Result<World> {
    Ok(World::new(Scene::new(SceneConfig::default())?)?)
}

fn physics() -> Finding {
    const WHAT: &str = "physics";
    let step = || -> anyhow::Result<f64> {
        let world = world()?;
        let start = Instant::now();
        world.advance_until(Duration::from_secs(2))?;
        Ok(2.0 / start.elapsed().as_secs_f64())
    };
    match step() {
        Ok(rate) => Finding::works(
            WHAT,
            format!(
                "MuJoCo {}, {rate:.0} times as fast as life",
                rapport::sim::mujoco_version()
            ),
        ),
        Err(error) => Finding::wrong(WHAT, error.to_string(), "run `./x setup`"),
    }
}

fn pictures(backend: Backend) -> Finding {
    let what = match backend {
        Backend::Gl => "OpenGL pictures",
        _ => "pictures",
    };
    let draw = || -> anyhow::Result<f64> {
        use rapport::robot::Camera as _;
        let mut camera = SimCamera::new(world()?, "front", (224, 224), backend, Quality::Fast)?;
        camera.capture()?;
        let start = Instant::now();
        for _ in 0..20 {
            camera.capture()?;
        }
        Ok(20.0 / start.elapsed().as_secs_f64())
    };
    match draw() {
        Ok(rate) => Finding::works(what, format!("{rate:.0} a second of 224 x 224")),
        Err(error) if backend == Backend::Gl => Finding::missing(
            what,
            error.to_string(),
            "not needed: the processor draws them; with a GPU install its driver and libegl1",
        ),
        Err(error) => Finding::wrong(what, error.to_string(), "run `./x setup`"),
    }
}

fn adapter() -> Finding {
    const WHAT: &str = "GPU";
    match DeviceChoice::Wgpu.burn_device() {
        Ok(_) => Finding::works(WHAT, "--device wgpu"),
        Err(error) => Finding::missing(
            WHAT,
            error.to_string(),
            "not needed: everything runs on the processor",
        ),
    }
}

fn weights(what: &'static str, file: PinnedFile) -> Finding {
    match file.locate() {
        Ok(found) => Finding::works(what, found.path.display().to_string()),
        Err(error) => Finding::missing(what, error.to_string(), "run `./x setup`"),
    }
}

fn ports() -> Finding {
    const WHAT: &str = "serial ports";
    match list_ports() {
        Ok(ports) if ports.is_empty() => Finding::missing(
            WHAT,
            "none",
            "plug the arm's adapter in; `rapport twin` makes a simulated one",
        ),
        Ok(ports) => {
            let closed: Vec<_> = ports
                .iter()
                .filter(|port| {
                    let opened = std::fs::OpenOptions::new()
                        .read(true)
                        .write(true)
                        .open(&port.path);
                    opened.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
                })
                .map(|port| port.path.display().to_string())
                .collect();
            let names: Vec<_> = ports
                .iter()
                .map(|port| port.path.display().to_string())
                .collect();
            if closed.is_empty() {
                Finding::works(WHAT, names.join(", "))
            } else {
                Finding::wrong(
                    WHAT,
                    format!("this user may not open {}", closed.join(", ")),
                    "sudo usermod -aG dialout $USER, then log in again",
                )
            }
        }
        Err(error) => Finding::wrong(WHAT, error.to_string(), "look into the system log"),
    }
}

fn cameras() -> Finding {
    const WHAT: &str = "cameras";
    match std::fs::read_dir("/sys/class/video4linux").map(Iterator::count) {
        Ok(count) if count > 0 => Finding::works(WHAT, "`rapport find-cameras` lists them"),
        _ => Finding::missing(WHAT, "none", "plug one in; simulated robots have their own"),
    }
}
