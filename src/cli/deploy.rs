//! `rapport deploy`: a policy on an arm.

use std::path::PathBuf;

use anyhow::Context as _;
use rapport::perception::{DeviceChoice, Features};
use rapport::policy::chunk_queue::Counts;
use rapport::policy::{Manifest, load_policy};
use rapport::robot::action::{ActionMapper, ActionSpace};
use rapport::robot::control::ControlReport;
use rapport::robot::guard::GuardState;
use rapport::robot::so101;
use rapport::sim::Pace;
use serde::Serialize;

use super::Usage;
use crate::inference::{Inference, When};
use crate::interrupt;
use crate::labelling::Labeller;
use crate::pictures::Eye;
use crate::practice::observation_vector;
use crate::recording::{pictures, show};
use crate::station::{CameraName, RobotName, Start, Station, StationConfig};
use crate::ui::Ui;
use crate::viz::{Message, Recording};

/// Run a policy on an arm, through the guard, with everything recorded for the viewer.
///
/// The control loop runs at its own rate on its own thread; the policy decides ten times a second; Ctrl-C brakes and turns torque off.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The policy's directory.
    #[arg(long, value_name = "DIR")]
    pub policy: PathBuf,
    /// sim:so101, twin:so101 or so101:/dev/ttyACM0.
    #[arg(long, value_name = "R")]
    pub robot: RobotName,
    /// Seconds in all; on simulated robots the scene begins anew when the task's time is over.
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Goals a second.
    #[arg(long, default_value_t = 50)]
    pub control_hz: u32,
    /// Decisions a second.
    #[arg(long, default_value_t = 10)]
    pub policy_hz: u32,
    /// When the policy thinks: sync (between two ticks), async (ahead, on a thread of its own: the arm never waits for it), or auto
    /// (async for policies that think in chunks, such as act and diffusion).
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub inference: When,
    /// The policy decides and is recorded, the arm does not move.
    #[arg(long)]
    pub shadow: bool,
    /// A learned reward to show live beside the run.
    #[arg(long, value_name = "DIR")]
    pub reward: Option<PathBuf>,
    /// Cameras to record.
    #[arg(long = "camera", value_name = "NAME=SPEC")]
    pub cameras: Vec<CameraName>,
    /// LeRobot calibration of a real arm.
    #[arg(long, value_name = "FILE.json")]
    pub calibration: Option<PathBuf>,
    /// Recording for `rapport view`; `deploy.rrd` in the policy's directory when not given.
    #[arg(long, value_name = "FILE.rrd")]
    pub out: Option<PathBuf>,
    /// Seed of the scenes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// What a deployment did.
#[derive(Debug, Serialize)]
pub struct Deployment {
    /// Episodes on a simulated robot, with how many succeeded.
    pub episodes: usize,
    /// Successes by the task's own test.
    pub successes: usize,
    /// Ticks of the control loop.
    pub ticks: u64,
    /// Median lateness of a tick, microseconds; the largest over the episodes.
    pub lateness_p50_us: f64,
    /// 99th percentile.
    pub lateness_p99_us: f64,
    /// Largest.
    pub lateness_max_us: f64,
    /// Ticks more than 10 ms late.
    pub missed_deadlines: u64,
    /// How often an action was there at its moment, for a policy that thinks ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Counts>,
    /// Torque switches were read back as off after the stop order.
    pub torque_off: bool,
    /// The recording.
    pub recording: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let done = deploy(args, ui)?;
    ui.result(&done, || {
        format!(
            "{} of {} episodes succeed; {} ticks, late by p50 {:.0} us, p99 {:.0} us, max {:.0} us, {} missed by over 10 ms; torque is off and read back; {}",
            done.successes,
            done.episodes,
            done.ticks,
            done.lateness_p50_us,
            done.lateness_p99_us,
            done.lateness_max_us,
            done.missed_deadlines,
            done.recording.display()
        )
    })
}

/// Deploys.
pub fn deploy(args: &Args, ui: Ui) -> anyhow::Result<Deployment> {
    if args.policy_hz == 0 || !args.control_hz.is_multiple_of(args.policy_hz) {
        return Err(Usage(format!(
            "--control-hz {} must be a multiple of --policy-hz {}",
            args.control_hz, args.policy_hz
        ))
        .into());
    }
    let manifest = Manifest::read(&args.policy)?;
    let policy = load_policy(&args.policy)?;
    let mut eye = Eye::of(&manifest.spec, DeviceChoice::Cpu)?;
    let space = &manifest.spec.action_space;
    let task_name = space["task"]
        .as_str()
        .context("the policy does not say which task it is for")?
        .to_owned();
    let action_space: ActionSpace =
        serde_json::from_value(space["space"].clone()).context("the policy's action space")?;
    let config = StationConfig {
        robot: args.robot.clone(),
        task: Some(task_name),
        cameras: args.cameras.clone(),
        control_hz: f64::from(args.control_hz),
        calibration: args.calibration.clone(),
        pace: Pace::WallClock,
    };
    let task = config.task()?;
    let spec = so101::spec();
    let own = spec.dof() + 3;
    if matches!(args.robot, RobotName::Serial(_)) && eye.is_none() && policy.observation_dim() > own
    {
        return Err(Usage(format!(
            "this policy was trained on the simulator's object positions ({} numbers beside the arm's own {own}); a real arm needs a tracker for them, or a policy without",
            policy.observation_dim() - own
        ))
        .into());
    }
    let mut labeller = match &args.reward {
        None => None,
        Some(dir) => {
            let (reward, encoder) = super::reward::open_reward(dir, DeviceChoice::Cpu)?;
            Some(Labeller::new(
                encoder,
                reward.model,
                f64::from(args.policy_hz),
            ))
        }
    };
    let recording = args
        .out
        .clone()
        .unwrap_or_else(|| args.policy.join("deploy.rrd"));
    let cameras: Vec<String> = args.cameras.iter().map(|c| c.name.clone()).collect();
    let names = spec.joints.iter().map(|j| j.name.clone()).collect();
    let mut viewer = Recording::create(&recording, "deploy", so101::chain(), names, &cameras)?;
    if task.name() == "so101-push" {
        // On a real arm nobody else says where the disc is.
        let [x, y] = rapport::sim::tasks::Push::TARGET;
        viewer.send(Message::Block(
            "world/target".into(),
            [x, y, 0.0005],
            [0.04, 0.04, 0.0005],
            [40, 160, 70],
        ));
    }

    let ticks_per_action = args.control_hz / args.policy_hz;
    let period = f64::from(args.policy_hz).recip();
    let mut inference = Inference::new(policy, args.inference, period)?;
    let mut done = Deployment {
        episodes: 0,
        successes: 0,
        ticks: 0,
        lateness_p50_us: 0.0,
        lateness_p99_us: 0.0,
        lateness_max_us: 0.0,
        missed_deadlines: 0,
        chunks: None,
        torque_off: true,
        recording: recording.clone(),
    };
    let total = (args.seconds * f64::from(args.policy_hz)).round() as u64;
    let bar = ui.bar(total, "deploying");
    let mut decisions = 0;
    while decisions < total && !interrupt::requested() {
        let mut station = Station::open(&config, Start::Task(args.seed + done.episodes as u64))?;
        let mut mapper = ActionMapper::new(action_space.clone(), spec.clone(), so101::chain())?;
        inference.reset()?;
        let mut tick = station.tick(None)?;
        let mut previous = tick.state.positions.clone();
        let mut frames = Vec::new();
        let mut success = false;
        let (mut fault, mut holds) = (None, false);
        let length = if station.referee.is_some() {
            task.max_steps() as u64
        } else {
            total
        };
        for _ in 0..length.min(total - decisions) {
            let seen = station.referee.as_ref().map(|r| r.reading()).transpose()?;
            let objects = seen
                .as_ref()
                .map(|s| task.environment_state(s))
                .unwrap_or_default();
            let tool = mapper.tool(&tick.state)?;
            let pictures = pictures(&mut station, tick.time)?;
            let mut observation = observation_vector(&tick.state.positions, &tool.into(), &objects);
            if let Some(eye) = &mut eye {
                let (_, picture) = pictures
                    .first()
                    .context("this policy sees: give it a camera with --camera")?;
                observation = eye.observe(&observation, picture.clone())?;
            }
            let seconds = decisions as f64 * period;
            let action = inference.act(observation, seconds)?;
            let goal = mapper.goal(&action, &tick.state)?;
            show(
                &mut viewer,
                seconds,
                &tick.state.positions,
                &pictures,
                station.referee.as_ref().zip(seen.as_ref()),
            );
            if let (Some(labeller), Some((_, image))) = (&mut labeller, pictures.into_iter().next())
            {
                frames.push(labeller.encode(&[image])?);
            }
            if let Some(seen) = &seen {
                viewer.offer(Message::Scalar("reward/true".into(), task.reward(seen)));
            }
            for k in 1..=ticks_per_action {
                let share = f64::from(k) / f64::from(ticks_per_action);
                let between: Vec<f64> = previous
                    .iter()
                    .zip(&goal)
                    .map(|(a, b)| a + share * (b - a))
                    .collect();
                tick = station.tick((!args.shadow).then_some(&between[..]))?;
                viewer.offer(Message::Scalar(
                    "loop/lateness_ms".into(),
                    tick.lateness.as_secs_f64() * 1e3,
                ));
            }
            previous = goal;
            decisions += 1;
            bar.inc(1);
            if tick.guard == GuardState::Fault {
                fault = tick.reason.clone();
                break;
            }
            if tick.guard == GuardState::Hold && !std::mem::replace(&mut holds, true) {
                let reason = tick
                    .reason
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string);
                tracing::warn!("the arm holds and takes no more goals: {reason}");
            }
            if interrupt::requested() {
                break;
            }
        }
        if let Some(referee) = &station.referee {
            success = task.success(&referee.reading()?);
        }
        add(&mut done, &station.stop()?);
        done.episodes += 1;
        done.successes += usize::from(success);
        if let (Some(labeller), Some(dim)) = (&labeller, frames.first().map(Features::dim)) {
            let rows = frames.len();
            let values = frames.iter().flat_map(|f| f.as_slice().to_vec()).collect();
            let signal = labeller.score(Features::new(dim, values))?;
            for (t, r) in signal.per_step.iter().enumerate() {
                viewer.send(Message::Time(
                    (decisions - rows as u64 + t as u64) as f64 / f64::from(args.policy_hz),
                ));
                viewer.send(Message::Scalar("reward/learned".into(), *r));
            }
        }
        if let Some(reason) = fault {
            viewer.finish()?;
            anyhow::bail!("the guard stopped the arm: {reason}; torque is off");
        }
    }
    bar.finish_and_clear();
    done.chunks = inference.counts();
    let dropped = viewer.finish()?;
    if dropped > 0 {
        tracing::warn!("the viewer's queue was full: {dropped} messages are not in the recording");
    }
    Ok(done)
}

fn add(done: &mut Deployment, report: &ControlReport) {
    let lateness = &report.lateness;
    done.ticks += lateness.ticks;
    done.lateness_p50_us = done.lateness_p50_us.max(lateness.p50_us);
    done.lateness_p99_us = done.lateness_p99_us.max(lateness.p99_us);
    done.lateness_max_us = done.lateness_max_us.max(lateness.max_us);
    done.missed_deadlines += lateness.missed;
}
