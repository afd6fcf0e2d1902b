//! The [`Rig`]: an arm under its guard, cameras and sensors as one thing that a policy can step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{ActionError, ActionMapper};
use crate::arm::ArmState;
use crate::camera::{Camera, CameraError, Frame};
use crate::control::{Control, ControlReport, Tick};
use crate::control_thread::{ControlError, ControlHandle};
use crate::guard::{GuardError, GuardState, Reason};
use crate::sensor::{Sensor, SensorError};

/// What the policy sees besides pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Joint positions, rad (gripper: fraction), `[dof]`.
    pub joints: Vec<f64>,
    /// Position of the tool in the base frame, m.
    pub tool: [f64; 3],
    /// All sensors, one after the other, `[n]`; names: [`Rig::environment_names`].
    pub environment: Vec<f64>,
    /// When the joints were measured, on the clock of the control loop.
    pub stamp: Duration,
}

/// How old things may be that a policy acts on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RigConfig {
    /// Joints, s.
    pub max_state_age_s: f64,
    /// Pictures, s.
    pub max_frame_age_s: f64,
}

impl Default for RigConfig {
    fn default() -> Self {
        Self {
            max_state_age_s: 0.05,
            max_frame_age_s: 0.15,
        }
    }
}

/// Why the rig did not step.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// The action has no goal. The arm went on for one policy period without it, and the guard has counted it.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The guard does not follow goals.
    #[error("the arm does not move ({state:?}): {}", match .reason { Some(reason) => reason.to_string(), None => "it is not armed; reset the rig".into() })]
    Stopped {
        /// The guard's state.
        state: GuardState,
        /// Why.
        reason: Option<Reason>,
    },
    /// The joints were measured too long ago.
    #[error("the joints were last measured {ms} ms ago; check cable and power")]
    StaleState {
        /// Age.
        ms: u64,
    },
    /// A picture is too old.
    #[error("the picture of camera {camera} is {ms} ms old; check the camera")]
    StaleFrame {
        /// Which camera.
        camera: String,
        /// Age.
        ms: u64,
    },
    /// A camera failed.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// A sensor failed.
    #[error(transparent)]
    Sensor(#[from] SensorError),
    /// The control thread failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The guard refused.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

/// Who turns the control loop.
#[derive(Debug)]
pub enum Drive {
    /// The rig itself, while it steps: for simulated time, where nothing moves between two steps.
    Inline(Box<Control>),
    /// A thread of its own: for a real arm, which does not wait for the policy.
    Threaded(ControlHandle),
}

impl From<Control> for Drive {
    fn from(control: Control) -> Self {
        Self::Inline(Box::new(control))
    }
}

impl From<ControlHandle> for Drive {
    fn from(handle: ControlHandle) -> Self {
        Self::Threaded(handle)
    }
}

impl Drive {
    fn period(&self) -> Duration {
        match self {
            Self::Inline(control) => control.period(),
            Self::Threaded(handle) => handle.period(),
        }
    }

    fn tick(&mut self, goal: Option<&[f64]>) -> Result<Tick, RigError> {
        match self {
            Self::Inline(control) => Ok(control.tick(goal)),
            Self::Threaded(handle) => {
                if let Some(goal) = goal {
                    handle.send_goal(goal.to_vec())?;
                }
                Ok(handle.next_tick()?)
            }
        }
    }

    fn arm(&mut self, state: GuardState) -> Result<(), RigError> {
        match (self, state) {
            (Self::Inline(control), GuardState::Limp) => Ok(control.enable()?),
            (Self::Inline(control), _) => Ok(control.rearm()?),
            (Self::Threaded(handle), GuardState::Limp) => Ok(handle.enable()?),
            (Self::Threaded(handle), _) => Ok(handle.rearm()?),
        }
    }
}

/// Arm, cameras and sensors.
pub struct Rig {
    drive: Drive,
    mapper: ActionMapper,
    cameras: Vec<Box<dyn Camera>>,
    sensors: Vec<Box<dyn Sensor>>,
    config: RigConfig,
    goal: Option<Vec<f64>>,
    last: Option<Tick>,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rig")
            .field("drive", &self.drive)
            .field("space", self.mapper.space())
            .field("cameras", &self.camera_names())
            .field("environment", &self.environment_names())
            .finish_non_exhaustive()
    }
}

impl Rig {
    /// An arm alone. The guard inside `drive` must hold the arm that `mapper` is for.
    pub fn new(drive: impl Into<Drive>, mapper: ActionMapper, config: RigConfig) -> Self {
        Self {
            drive: drive.into(),
            mapper,
            cameras: Vec::new(),
            sensors: Vec::new(),
            config,
            goal: None,
            last: None,
        }
    }

    /// With one more camera.
    pub fn with_camera(mut self, camera: Box<dyn Camera>) -> Self {
        self.cameras.push(camera);
        self
    }

    /// With one more sensor.
    pub fn with_sensor(mut self, sensor: Box<dyn Sensor>) -> Self {
        self.sensors.push(sensor);
        self
    }

    /// The meaning of actions.
    pub fn mapper(&self) -> &ActionMapper {
        &self.mapper
    }

    /// Who turns the loop, for its flags, its report and its guard.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }

    /// Torque off at once, and a latched fault.
    ///
    /// Errors: [`RigError::Guard`] where a torque switch stayed on. A control thread does it within a period, and shows it
    /// in its ticks.
    pub fn emergency_stop(&mut self) -> Result<(), RigError> {
        match &mut self.drive {
            Drive::Inline(control) => Ok(control.emergency_stop()?),
            Drive::Threaded(handle) => {
                handle.emergency_stop();
                Ok(())
            }
        }
    }

    /// Names of the cameras, in the order of [`Rig::frames`].
    pub fn camera_names(&self) -> Vec<&str> {
        self.cameras.iter().map(|camera| camera.name()).collect()
    }

    /// Names of [`Observation::environment`]: `sensor.component`.
    pub fn environment_names(&self) -> Vec<String> {
        let names = |sensor: &dyn Sensor| -> Vec<String> {
            let components = sensor.components().iter();
            components
                .map(|component| format!("{}.{component}", sensor.name()))
                .collect()
        };
        self.sensors
            .iter()
            .flat_map(|sensor| names(sensor.as_ref()))
            .collect()
    }

    /// The last turn of the control loop.
    pub fn last_tick(&self) -> Option<&Tick> {
        self.last.as_ref()
    }

    /// The last goal that was asked for, before the guard shaped it, rad (gripper: fraction), `[dof]`: what a recording calls
    /// the action.
    pub fn goal(&self) -> Option<&[f64]> {
        self.goal.as_deref()
    }

    /// What the control loop did so far.
    pub fn report(&self) -> ControlReport {
        match &self.drive {
            Drive::Inline(control) => control.report(),
            Drive::Threaded(handle) => handle.report(),
        }
    }

    /// Begins an episode where the arm is: arms the guard (turning torque on if it is off), forgets what was commanded, and
    /// returns the first observation.
    ///
    /// Errors: [`RigError::Guard`], [`RigError::Control`] where the arm cannot be armed, and those of [`Rig::observe`].
    pub fn reset(&mut self) -> Result<Observation, RigError> {
        let state = match &self.drive {
            Drive::Inline(control) => control.guard().state(),
            Drive::Threaded(handle) => handle.next_tick()?.guard,
        };
        self.drive.arm(state)?;
        self.mapper.reset();
        self.goal = None;
        self.last = None;
        self.observe()
    }

    /// What is known now: the newest measurement of the joints and the sensors. Turns the loop once where there is none yet.
    ///
    /// Errors: [`RigError::StaleState`], [`RigError::Sensor`], [`RigError::Action`] where the measurement does not fit the arm.
    pub fn observe(&mut self) -> Result<Observation, RigError> {
        let tick = match &self.last {
            Some(tick) => tick,
            None => {
                let tick = self.drive.tick(None)?;
                self.last.insert(tick)
            }
        };
        let state = &tick.state;
        let age = tick.age;
        let stamp = tick.time.saturating_sub(age);
        if age.as_secs_f64() > self.config.max_state_age_s {
            return Err(RigError::StaleState {
                ms: age.as_millis() as u64,
            });
        }
        let tool = self.mapper.tool(state)?;
        let mut environment = Vec::new();
        for sensor in &mut self.sensors {
            let values = sensor.read()?;
            if values.len() != sensor.components().len() {
                return Err(RigError::Sensor(SensorError {
                    name: sensor.name().into(),
                    cause: format!(
                        "it gave {} numbers for {} components",
                        values.len(),
                        sensor.components().len()
                    ),
                }));
            }
            environment.extend(values);
        }
        Ok(Observation {
            joints: state.positions.clone(),
            tool: tool.into(),
            environment,
            stamp,
        })
    }

    /// The newest picture of every camera.
    ///
    /// Errors: [`RigError::Camera`], [`RigError::StaleFrame`].
    pub fn frames(&mut self) -> Result<Vec<Frame>, RigError> {
        let now = self.last.as_ref().map_or(Duration::ZERO, |tick| tick.time);
        let mut frames = Vec::with_capacity(self.cameras.len());
        for camera in &mut self.cameras {
            let frame = camera.capture()?;
            let age = now.saturating_sub(frame.stamp);
            if age.as_secs_f64() > self.config.max_frame_age_s {
                return Err(RigError::StaleFrame {
                    camera: camera.name().into(),
                    ms: age.as_millis() as u64,
                });
            }
            frames.push(frame);
        }
        Ok(frames)
    }

    /// One policy step: turns the action into a goal, goes there in a straight joint line over `period` (rounded to control
    /// periods, one at least), and returns what is known afterwards.
    ///
    /// Errors: [`RigError::Action`] for a bad action, after a period without a new goal; [`RigError::Stopped`] when the guard
    /// does not follow goals any more; those of [`Rig::observe`].
    pub fn step(&mut self, action: &[f32], period: Duration) -> Result<Observation, RigError> {
        let state = self.state()?;
        match self.mapper.goal(action, &state) {
            Ok(goal) => self.step_to(&goal, period),
            Err(error) => {
                // The guard keeps the count of what is not a number, and stops the arm when it goes on.
                let nothing = vec![f64::NAN; state.positions.len()];
                for k in 0..self.ticks(period) {
                    let goal = (k == 0).then_some(nothing.as_slice());
                    self.last = Some(self.drive.tick(goal)?);
                }
                Err(error.into())
            }
        }
    }

    /// One step with a joint goal instead of an action (rad, gripper: fraction, `[dof]`), for teleoperation and replay.
    ///
    /// Errors: as [`Rig::step`].
    pub fn step_to(&mut self, goal: &[f64], period: Duration) -> Result<Observation, RigError> {
        let from = match self.goal.take() {
            Some(goal) => goal,
            None => self.state()?.positions,
        };
        let ticks = self.ticks(period);
        let mut between = goal.to_vec();
        for k in 1..=ticks {
            let share = f64::from(k) / f64::from(ticks);
            for ((between, to), from) in between.iter_mut().zip(goal).zip(&from) {
                *between = from + share * (to - from);
            }
            let tick = self.drive.tick(Some(&between))?;
            let (stopped, state, reason) = (!tick.follows_goals(), tick.guard, tick.reason.clone());
            self.last = Some(tick);
            if stopped {
                return Err(RigError::Stopped { state, reason });
            }
        }
        let finite = goal.iter().all(|q| q.is_finite()) && goal.len() == from.len();
        self.goal = Some(if finite { goal.to_vec() } else { from });
        self.observe()
    }

    /// Brakes, turns torque off, ends the control thread if there is one.
    ///
    /// Errors: [`RigError::Guard`], [`RigError::Control`] where a torque switch stayed on.
    pub fn stop(self) -> Result<ControlReport, RigError> {
        match self.drive {
            Drive::Inline(mut control) => {
                control.stop()?;
                Ok(control.report())
            }
            Drive::Threaded(handle) => Ok(handle.stop()?.1),
        }
    }

    fn ticks(&self, period: Duration) -> u32 {
        let ratio = period.as_secs_f64() / self.drive.period().as_secs_f64();
        (ratio.round() as u32).max(1)
    }

    fn state(&mut self) -> Result<ArmState, RigError> {
        if self.last.is_none() {
            self.last = Some(self.drive.tick(None)?);
        }
        Ok(self
            .last
            .as_ref()
            .map_or_else(ArmState::default, |tick| tick.state.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{ActionSpace, ToolDelta};
    use crate::clock::{Clock as _, SystemClock};
    use crate::control_thread::ControlThreadConfig;
    use crate::guard::{Guard, GuardConfig};
    use crate::so101;
    use crate::testing::Bench;
    use image::RgbImage;

    const PERIOD: Duration = Duration::from_millis(50);

    struct Gripper {
        bench: Bench,
        components: Vec<String>,
    }

    impl Sensor for Gripper {
        fn name(&self) -> &str {
            "jaw"
        }

        fn components(&self) -> &[String] {
            &self.components
        }

        fn read(&mut self) -> Result<Vec<f64>, SensorError> {
            let now = self.bench.now().as_secs_f64();
            Ok(vec![self.bench.world().positions[5], now])
        }
    }

    /// Takes a picture every 33 ms of the bench's time, and none while frozen.
    struct Eye {
        bench: Bench,
        frozen: Option<Duration>,
    }

    impl Camera for Eye {
        fn name(&self) -> &str {
            "front"
        }

        fn size(&self) -> (u32, u32) {
            (4, 3)
        }

        fn capture(&mut self) -> Result<Frame, CameraError> {
            let now = self.frozen.unwrap_or(self.bench.now());
            let sequence = (now.as_millis() / 33) as u64;
            Ok(Frame {
                image: RgbImage::new(4, 3),
                stamp: Duration::from_millis(33 * sequence),
                sequence,
            })
        }
    }

    fn control(bench: &Bench) -> Control {
        let mut config = GuardConfig::so101();
        config.soft_start.speed_share = 1.0;
        let guard = Guard::with_chain(bench.arm(), so101::chain(), config).unwrap();
        Control::new(guard, Box::new(bench.clone()), Duration::from_millis(10)).unwrap()
    }

    fn mapper(space: ActionSpace) -> ActionMapper {
        ActionMapper::new(space, so101::spec(), so101::chain()).unwrap()
    }

    fn rig(bench: &Bench, frozen: Option<Duration>) -> Rig {
        let sensor = Gripper {
            bench: bench.clone(),
            components: vec!["opening".into(), "time".into()],
        };
        Rig::new(
            control(bench),
            mapper(ActionSpace::ToolDelta(ToolDelta::default())),
            RigConfig::default(),
        )
        .with_camera(Box::new(Eye {
            bench: bench.clone(),
            frozen,
        }))
        .with_sensor(Box::new(sensor))
    }

    #[test]
    fn a_step_lasts_a_policy_period_and_moves_the_tool_by_the_action() {
        let bench = Bench::new();
        let mut rig = rig(&bench, None);
        assert_eq!(rig.environment_names(), ["jaw.opening", "jaw.time"]);
        let mut last = rig.reset().unwrap();
        // First down to the default orientation, so that only the asked motion is left.
        for _ in 0..40 {
            last = rig.step(&[0.0; 4], PERIOD).unwrap();
        }
        let start = last.clone();
        for _ in 0..8 {
            let next = rig.step(&[0.0, 0.5, 0.0, -1.0], PERIOD).unwrap();
            assert_eq!(next.stamp - last.stamp, PERIOD);
            last = next;
        }
        for _ in 0..10 {
            last = rig.step(&[0.0; 4], PERIOD).unwrap();
        }
        assert!(
            (last.tool[1] - start.tool[1] - 0.04).abs() < 1e-3,
            "{start:?} {last:?}"
        );
        assert!((last.tool[0] - start.tool[0]).abs() < 1e-3);
        assert_eq!(last.environment[0], last.joints[5]);
        assert_eq!(rig.frames().unwrap().len(), 1);
        rig.stop().unwrap();
        assert!(bench.world().torque.iter().all(|on| !on));
    }

    #[test]
    fn goals_between_two_actions_are_interpolated() {
        let bench = Bench::new();
        let mut rig = rig(&bench, None);
        rig.reset().unwrap();
        let mut goal = bench.world().positions.clone();
        for _ in 0..20 {
            goal[4] += 0.02;
            rig.step_to(&goal, PERIOD).unwrap();
        }
        let world = bench.world();
        let tail = &world.commands[world.commands.len() - 40..];
        for pair in tail.windows(2) {
            let step = pair[1].1[4] - pair[0].1[4];
            assert!((step - 0.004).abs() < 1e-4, "{step}");
        }
    }

    #[test]
    fn actions_that_are_not_numbers_are_errors_and_stop_the_arm_when_they_go_on() {
        let bench = Bench::new();
        let mut rig = rig(&bench, None);
        rig.reset().unwrap();
        rig.step(&[0.0; 4], PERIOD).unwrap();
        for _ in 0..3 {
            let result = rig.step(&[f32::NAN; 4], PERIOD);
            assert!(matches!(result, Err(RigError::Action(_))));
        }
        let result = rig.step(&[0.0; 4], PERIOD);
        assert!(
            matches!(
                result,
                Err(RigError::Stopped {
                    state: GuardState::Fault,
                    ..
                })
            ),
            "{result:?}"
        );
        assert!(rig.reset().is_err());
    }

    #[test]
    fn a_frozen_camera_is_noticed() {
        let bench = Bench::new();
        let mut rig = rig(&bench, Some(Duration::from_millis(10)));
        rig.reset().unwrap();
        assert!(rig.frames().is_ok());
        for _ in 0..4 {
            rig.step(&[0.0; 4], PERIOD).unwrap();
        }
        assert!(matches!(rig.frames(), Err(RigError::StaleFrame { .. })));
    }

    #[test]
    fn joints_that_were_not_measured_lately_are_noticed() {
        let bench = Bench::new();
        let mut rig = rig(&bench, None);
        rig.reset().unwrap();
        bench.world().failing_reads = 6;
        let result = rig.step(&[0.0; 4], Duration::from_millis(60));
        assert!(
            matches!(result, Err(RigError::StaleState { ms: 60 })),
            "{result:?}"
        );
        assert!(rig.step(&[0.0; 4], PERIOD).is_ok());
    }

    #[test]
    fn the_same_rig_runs_on_a_thread() {
        let bench = Bench::new();
        let clock = SystemClock::default();
        let guard = Guard::with_chain(bench.arm(), so101::chain(), GuardConfig::so101()).unwrap();
        let control = Control::new(guard, bench.beside(clock), Duration::from_millis(5)).unwrap();
        let handle = control.spawn(ControlThreadConfig::default()).unwrap();
        let mut rig = Rig::new(
            handle,
            mapper(ActionSpace::JointGoals),
            RigConfig::default(),
        );
        let first = rig.reset().unwrap();
        let mut goal = first.joints.clone();
        goal[0] += 0.02;
        let action = rig.mapper().action_toward(
            &goal,
            &ArmState {
                positions: first.joints.clone(),
                ..ArmState::default()
            },
        );
        let action = action.unwrap();
        let mut last = first;
        for _ in 0..10 {
            last = rig.step(&action, PERIOD).unwrap();
        }
        assert!((last.joints[0] - goal[0]).abs() < 0.01, "{last:?}");
        let report = rig.stop().unwrap();
        assert!(report.guard.goals > 50);
    }
}
