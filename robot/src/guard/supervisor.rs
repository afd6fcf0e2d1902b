//! Looks at what the arm measures about itself: temperature, supply, load, joints that do not follow.

use std::time::Duration;

use crate::arm::{ArmSpec, ArmState, JointKind, JointSpec, MotorAlarm};
use crate::guard::config::Supervision;
use crate::guard::report::Reason;

/// A joint that moves this far is not blocked, rad.
const MOVES: f64 = 0.05;

/// A joint runs away when it is this far from its command, rad or fraction, gets further away at this speed, per second, and its motor pushes
/// it there with this share of its torque.
const RUNS: f64 = 0.1;
const RUNS_AT: f64 = 0.2;
const PUSHES: f64 = 0.1;

/// What a measurement asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Fine,
    Warm,
    Hold(Reason),
    /// A fault, and no goal to anybody: one would switch a motor on again that has switched itself off.
    Silence(Reason),
    TorqueOff(Reason),
}

/// Something that may be so for a while, but not for long.
#[derive(Clone, Copy, Debug, Default)]
struct Lasting {
    since: Option<Duration>,
}

impl Lasting {
    /// Whether it has been happening for `seconds`.
    fn lasts(&mut self, now: Duration, happening: bool, seconds: f64) -> bool {
        if !happening {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_sub(since).as_secs_f64() >= seconds
    }
}

#[derive(Clone, Debug)]
pub(super) struct Supervisor {
    config: Supervision,
    supply: Lasting,
    load: Lasting,
    runs: Lasting,
    blocked: Lasting,
    /// The joint that seems blocked, and where it was when it began to.
    stuck: Option<(usize, f64)>,
}

impl Supervisor {
    pub fn new(config: Supervision) -> Self {
        Self {
            config,
            supply: Lasting::default(),
            load: Lasting::default(),
            runs: Lasting::default(),
            blocked: Lasting::default(),
            stuck: None,
        }
    }

    pub fn restart(&mut self) {
        *self = Self::new(self.config);
    }

    /// `command`: what the arm was last sent, or what it measures where nothing was sent. A NaN counts as not measured.
    pub fn look(
        &mut self,
        now: Duration,
        spec: &ArmSpec,
        state: &ArmState,
        command: &[f64],
    ) -> Verdict {
        let joint = |i: usize| {
            spec.joints
                .get(i)
                .map_or(String::new(), |joint| joint.name.clone())
        };
        let config = self.config;
        let mut alarms = state.alarms.iter().enumerate();
        if let Some((i, &alarm)) = alarms.find(|(_, a)| **a != MotorAlarm::None) {
            let reason = Reason::Motor {
                joint: joint(i),
                alarm,
            };
            return match alarm {
                MotorAlarm::CutOut | MotorAlarm::Reset => Verdict::Silence(reason),
                MotorAlarm::Overload | MotorAlarm::Deaf | MotorAlarm::None => Verdict::Hold(reason),
            };
        }
        let outside = |(q, spec): &(&f64, &JointSpec)| {
            **q < spec.min - config.outside || **q > spec.max + config.outside
        };
        let mut placed = state.positions.iter().zip(&spec.joints);
        if let Some((&position, joint)) = placed.find(outside) {
            return Verdict::Hold(Reason::OutOfRange {
                joint: joint.name.clone(),
                position,
            });
        }
        let hottest = extreme(&state.temperatures);
        if let Some((i, celsius)) = hottest
            && celsius >= config.hot
        {
            let reason = Reason::Hot {
                joint: joint(i),
                celsius,
            };
            return if celsius >= config.too_hot {
                Verdict::TorqueOff(reason)
            } else {
                Verdict::Hold(reason)
            };
        }
        let range = config.min_voltage..=config.max_voltage;
        let supply = state
            .voltages
            .iter()
            .position(|volt| !volt.is_nan() && !range.contains(volt));
        if self.supply.lasts(now, supply.is_some(), config.voltage_s)
            && let Some(i) = supply
        {
            let volt = state.voltages[i];
            return Verdict::Hold(Reason::Voltage {
                joint: joint(i),
                volt,
            });
        }
        // A servo that lags behind a command that has turned round looks like this too, for a moment.
        let runs = runaway(spec, state, command);
        if self.runs.lasts(now, runs.is_some(), config.runaway_s)
            && let Some(reason) = runs
        {
            return Verdict::TorqueOff(reason);
        }
        // A gripper that holds something is meant to press, and to stay away from its command.
        let hinge = |i: usize| {
            spec.joints
                .get(i)
                .is_some_and(|joint| joint.kind == JointKind::Revolute)
        };
        let load = state
            .loads
            .iter()
            .enumerate()
            .find(|(i, load)| hinge(*i) && load.abs() > config.load)
            .map(|(i, load)| (i, load.abs()));
        if self.load.lasts(now, load.is_some(), config.load_s)
            && let Some((i, load)) = load
        {
            return Verdict::Hold(Reason::Overload {
                joint: joint(i),
                load,
            });
        }
        if let Some(i) = self.find_stuck(state, command, hinge)
            && self.blocked.lasts(now, true, config.blocked_s)
        {
            let gap = (state.positions[i] - command[i]).abs();
            return Verdict::Hold(Reason::Blocked {
                joint: joint(i),
                gap,
            });
        }
        if hottest.is_some_and(|(_, celsius)| celsius >= config.warm) {
            Verdict::Warm
        } else {
            Verdict::Fine
        }
    }

    /// The joint that is far from its command and has not moved since it first was.
    fn find_stuck(
        &mut self,
        state: &ArmState,
        command: &[f64],
        hinge: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let pairs = state.positions.iter().zip(command).enumerate();
        let far = |(i, (q, c)): &(usize, (&f64, &f64))| {
            hinge(*i) && (*q - *c).abs() > self.config.blocked
        };
        let found = pairs.into_iter().find(far).map(|(i, (q, _))| (i, *q));
        let same = match (found, self.stuck) {
            (Some((i, q)), Some((j, began))) => i == j && (q - began).abs() < MOVES,
            _ => false,
        };
        if !same {
            self.stuck = found;
            self.blocked = Lasting::default();
        }
        found.map(|(i, _)| i)
    }
}

/// The joint that its own motor drives away from its command. A push by hand moves a joint too, but against its motor.
fn runaway(spec: &ArmSpec, state: &ArmState, command: &[f64]) -> Option<Reason> {
    let motion = state.velocities.iter().zip(&state.loads);
    let joints = state.positions.iter().zip(command).zip(motion);
    let runs = |((q, c), (v, load)): ((&f64, &f64), (&f64, &f64))| {
        let away = (q - c).signum();
        (q - c).abs() > RUNS && v * away > RUNS_AT && load * away > PUSHES
    };
    let at = joints.into_iter().position(runs)?;
    Some(Reason::Runaway {
        joint: spec.joints.get(at)?.name.clone(),
    })
}

/// The largest value and where it is.
fn extreme(values: &[f64]) -> Option<(usize, f64)> {
    let measured = values
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, v)| !v.is_nan());
    measured.max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so101;

    fn look(supervisor: &mut Supervisor, ms: u64, state: &ArmState, command: &[f64]) -> Verdict {
        supervisor.look(Duration::from_millis(ms), &so101::spec(), state, command)
    }

    #[test]
    fn a_hot_motor_is_seen_beside_one_that_was_not_measured() {
        let mut temperatures = vec![f64::NAN; 6];
        temperatures[2] = 65.0;
        let state = ArmState {
            temperatures,
            voltages: vec![f64::NAN; 6],
            ..ArmState::default()
        };
        let verdict = look(&mut Supervisor::new(Supervision::default()), 0, &state, &[]);
        let reason = Reason::Hot {
            joint: "elbow_flex".into(),
            celsius: 65.0,
        };
        assert_eq!(verdict, Verdict::Hold(reason));
    }

    #[test]
    fn a_load_that_lasts_holds_except_on_the_gripper() {
        for (joint, held) in [(1, true), (5, false)] {
            let mut supervisor = Supervisor::new(Supervision::default());
            let mut loads = vec![0.1; 6];
            loads[joint] = -1.0;
            let state = ArmState {
                loads,
                ..ArmState::default()
            };
            let verdicts: Vec<_> = (0..200)
                .map(|k| look(&mut supervisor, 10 * k, &state, &[]))
                .collect();
            assert_eq!(verdicts[0], Verdict::Fine);
            assert_eq!(
                matches!(verdicts[199], Verdict::Hold(Reason::Overload { .. })),
                held
            );
        }
    }

    #[test]
    fn a_motor_that_drives_away_from_its_command_is_told_from_a_hand_that_pushes() {
        for (load, away) in [(0.4, true), (-0.4, false)] {
            let mut state = ArmState {
                positions: vec![0.0; 6],
                velocities: vec![0.0; 6],
                loads: vec![0.0; 6],
                ..ArmState::default()
            };
            (state.positions[2], state.velocities[2], state.loads[2]) = (0.12, 0.5, load);
            let mut supervisor = Supervisor::new(Supervision::default());
            assert_eq!(look(&mut supervisor, 0, &state, &[0.0; 6]), Verdict::Fine);
            let verdict = look(&mut supervisor, 60, &state, &[0.0; 6]);
            assert_eq!(
                matches!(verdict, Verdict::TorqueOff(Reason::Runaway { .. })),
                away
            );
        }
    }

    #[test]
    fn a_joint_that_lags_while_it_moves_is_not_blocked() {
        let mut supervisor = Supervisor::new(Supervision::default());
        for k in 0..400 {
            let q = 0.004 * k as f64;
            let state = ArmState {
                positions: vec![q; 4],
                ..ArmState::default()
            };
            let verdict = look(&mut supervisor, 10 * k, &state, &[q + 0.2; 4]);
            assert_eq!(verdict, Verdict::Fine);
        }
    }
}
