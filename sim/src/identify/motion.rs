//! Recorded motions, what is wrong with them, and their segments.

use nalgebra::{DMatrix, DVector};
use rapport_robot::{ArmSpec, JointKind, so101};

use super::parameters::LONGEST_DELAY;
use crate::scene::SceneError;

/// Joints of the arm.
pub(crate) const DOF: usize = 6;

/// Shorter motions say nothing, s.
const SHORTEST_S: f64 = 1.0;

/// All motions together must be this long, s.
const SHORTEST_TOTAL_S: f64 = 2.0;

/// A joint that stays within this has not moved, rad: some encoder steps.
pub(crate) const STILL: f64 = 0.02;

/// A position may be beyond the joint's limit by this before it is taken for one in another unit, rad.
const BEYOND: f64 = 0.5;

/// Rows on each side that the velocity at the start of a segment is taken from.
const AROUND: usize = 3;

/// Why nothing can be fitted.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    /// The motions cannot be used.
    #[error("{0}")]
    Motion(String),
    /// The configuration cannot be used.
    #[error("fit: {0}")]
    Config(String),
    /// The arm cannot be simulated.
    #[error(transparent)]
    Scene(#[from] SceneError),
}

/// One recorded motion of an SO-101: where the joints were, and which goals were sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    /// Name for messages (`episode 3`).
    pub name: String,
    /// Time between two measurements, s; the first is at time 0.
    pub period_s: f64,
    /// Measured hinge angles, rad, `[row][6]`.
    pub measured: Vec<[f64; DOF]>,
    /// Time between two goals, s; the first is sent at time 0, and each holds until the next.
    pub goal_period_s: f64,
    /// Goals, hinge angles in rad, `[goal][6]`.
    pub goals: Vec<[f64; DOF]>,
}

impl Motion {
    /// A motion from positions as the robot layer has them: rad, the gripper as a fraction. `ticks` goals are sent for each
    /// row, on a straight line from the row's goal before to its own; 1 where a row's goal is sent with the row and held.
    ///
    /// Errors: [`IdentifyError::Motion`] for rows of another length, numbers that are not finite, positions that this arm
    /// cannot have, and motions that are too short.
    pub fn new(
        name: &str,
        fps: f64,
        measured: &[Vec<f64>],
        sent: &[Vec<f64>],
        ticks: usize,
    ) -> Result<Self, IdentifyError> {
        let spec = so101::spec();
        let wrong = |what: String| Err(IdentifyError::Motion(format!("{name}: {what}")));
        if !(fps.is_finite() && fps > 0.0) || ticks == 0 {
            return wrong("rows and goals a second must be above 0".into());
        }
        if measured.len() != sent.len() {
            return wrong(format!(
                "there are {} measurements and {} goals; a row needs both",
                measured.len(),
                sent.len()
            ));
        }
        let shortest = (SHORTEST_S * fps).ceil() as usize;
        if measured.len() < shortest.max(2 * AROUND + 2) {
            return wrong(format!(
                "{} rows are too short to fit; give motions of at least {SHORTEST_S} s",
                measured.len()
            ));
        }
        let measured = hinge_angles(&spec, measured).map_err(|what| {
            IdentifyError::Motion(format!("{name}: the measured positions: {what}"))
        })?;
        let sent = hinge_angles(&spec, sent)
            .map_err(|what| IdentifyError::Motion(format!("{name}: the goals: {what}")))?;
        let mut goals = Vec::with_capacity(sent.len() * ticks);
        for (row, to) in sent.iter().enumerate() {
            let from = &sent[row.saturating_sub(1)];
            for tick in 1..=ticks {
                let share = tick as f64 / ticks as f64;
                goals.push(std::array::from_fn(|j| from[j] + share * (to[j] - from[j])));
            }
        }
        Ok(Self {
            name: name.into(),
            period_s: 1.0 / fps,
            goal_period_s: 1.0 / (fps * ticks as f64),
            measured,
            goals,
        })
    }

    /// Length, s.
    pub fn seconds(&self) -> f64 {
        self.period_s * (self.measured.len() - 1) as f64
    }

    /// Largest less smallest position of a joint, rad.
    pub fn travel(&self, joint: usize) -> f64 {
        let (low, high) = self
            .measured
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), row| {
                (low.min(row[joint]), high.max(row[joint]))
            });
        high - low
    }

    /// Mean of the goal of every joint over `from..from + length` s. Before the first goal the first one holds.
    pub fn mean_goal(&self, from: f64, length: f64) -> [f64; DOF] {
        let last = self.goals.len() - 1;
        let index = |at: f64| ((at / self.goal_period_s).floor().max(0.0) as usize).min(last);
        // A hair off a boundary counts as on it: times are sums of periods.
        let hair = 1e-9;
        let (first, end) = (index(from + hair), index(from + length - hair));
        if first == end {
            return self.goals[first];
        }
        let mut mean = [0.0; DOF];
        for k in first..=end {
            let begins = if k == first {
                from
            } else {
                k as f64 * self.goal_period_s
            };
            let ends = if k == end {
                from + length
            } else {
                (k + 1) as f64 * self.goal_period_s
            };
            for (mean, goal) in mean.iter_mut().zip(&self.goals[k]) {
                *mean += goal * (ends - begins) / length;
            }
        }
        mean
    }

    /// Position and velocity of every joint at a row, rad and rad/s, by a parabola through the rows around it.
    fn state_at(&self, row: usize) -> ([f64; DOF], [f64; DOF]) {
        let last = self.measured.len() - 1;
        let first = row.saturating_sub(AROUND).min(last - 2 * AROUND);
        let rows = first..=first + 2 * AROUND;
        let time = |r: usize| (r as f64 - row as f64) * self.period_s;
        let design = DMatrix::from_fn(2 * AROUND + 1, 3, |i, power| {
            time(first + i).powi(power as i32)
        });
        let pseudo = design.pseudo_inverse(1e-12);
        let (mut position, mut velocity) = ([0.0; DOF], [0.0; DOF]);
        for joint in 0..DOF {
            let values = DVector::from_iterator(
                2 * AROUND + 1,
                rows.clone().map(|r| self.measured[r][joint]),
            );
            match &pseudo {
                Ok(pseudo) => {
                    let fitted = pseudo * values;
                    (position[joint], velocity[joint]) = (fitted[0], fitted[1]);
                }
                // Times are distinct, so that there always is a parabola.
                Err(_) => position[joint] = self.measured[row][joint],
            }
        }
        (position, velocity)
    }
}

/// A piece of a motion that is replayed on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Index of the motion.
    pub motion: usize,
    /// First row.
    pub from: usize,
    /// Row after the last.
    pub to: usize,
    /// Hinge angles at the first row, rad.
    pub position: [f64; DOF],
    /// Their velocities, rad/s.
    pub velocity: [f64; DOF],
}

impl Segment {
    /// Rows that are compared: all but the first.
    pub fn rows(&self) -> usize {
        self.to - self.from - 1
    }
}

/// Cuts motions into segments of about `length_s`. They begin when the goals on their way are known: what was sent before the
/// recording is not.
///
/// Errors: [`IdentifyError::Motion`] where all together are too short, or no joint moves.
pub fn segments(motions: &[Motion], length_s: f64) -> Result<Vec<Segment>, IdentifyError> {
    let total: f64 = motions.iter().map(Motion::seconds).sum();
    if total < SHORTEST_TOTAL_S {
        return Err(IdentifyError::Motion(format!(
            "{total:.1} s of motion are too short to fit; record at least {SHORTEST_TOTAL_S} s, better a minute"
        )));
    }
    let moves = |joint| motions.iter().any(|motion| motion.travel(joint) > STILL);
    if !(0..DOF).any(moves) {
        return Err(IdentifyError::Motion(
            "no joint moves in these motions; record some in which every joint moves, quickly and slowly".into(),
        ));
    }
    let mut segments = Vec::new();
    for (index, motion) in motions.iter().enumerate() {
        let begin = (LONGEST_DELAY / motion.period_s).ceil() as usize;
        let rows = motion.measured.len() - begin;
        let seconds = rows as f64 * motion.period_s;
        let pieces = (seconds / length_s).round().max(1.0) as usize;
        for piece in 0..pieces {
            let from = begin + piece * (rows - 1) / pieces;
            let (position, velocity) = motion.state_at(from);
            segments.push(Segment {
                motion: index,
                from,
                to: begin + (piece + 1) * (rows - 1) / pieces + 1,
                position,
                velocity,
            });
        }
    }
    Ok(segments)
}

fn hinge_angles(spec: &ArmSpec, rows: &[Vec<f64>]) -> Result<Vec<[f64; DOF]>, String> {
    let mut beyond = [0_usize; DOF];
    let angles = rows
        .iter()
        .enumerate()
        .map(|(r, row)| {
            if row.len() != DOF {
                return Err(format!(
                    "row {r} has {} numbers, {} has {DOF} joints",
                    row.len(),
                    spec.name
                ));
            }
            if row.iter().any(|q| !q.is_finite()) {
                return Err(format!("row {r} holds a number that is not finite"));
            }
            Ok(std::array::from_fn(|j| {
                let joint = &spec.joints[j];
                beyond[j] +=
                    usize::from(row[j] < joint.min - BEYOND || row[j] > joint.max + BEYOND);
                match joint.kind {
                    JointKind::Revolute => row[j],
                    JointKind::Gripper => so101::jaw_angle_from_opening(row[j]),
                }
            }))
        })
        .collect::<Result<Vec<_>, String>>()?;
    // A few rows may be off; a tenth of them is another unit or another arm.
    match (0..DOF).find(|&j| 10 * beyond[j] > rows.len()) {
        Some(j) => Err(format!(
            "{} is far outside its range, so that they are of another arm or in another unit; degrees and a gripper of 0 to 100 are needed, as LeRobot has recorded since 2026",
            spec.joints[j].name
        )),
        None => Ok(angles),
    }
}
