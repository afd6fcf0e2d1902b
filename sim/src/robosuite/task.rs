//! The tasks of robosuite 1.0.1 of which there are demonstrations, and when each is done, from `_check_success` in its
//! `environments/*.py`, with the numbers of its constructors.

use std::sync::Arc;

use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_data::MjData;

use crate::log::{Referee, Verdict};

/// A task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Lift a cube.
    Lift,
    /// Stack a cube on another.
    Stack,
    /// Open a door with a latch.
    Door,
    /// Sort four things into four bins.
    PickPlace,
    /// Put two nuts on two pegs.
    NutAssembly,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 5] = [
        Self::Lift,
        Self::Stack,
        Self::Door,
        Self::PickPlace,
        Self::NutAssembly,
    ];

    /// The task of the environment that robosuite calls `name`.
    pub fn by_environment(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|task| task.environment() == name)
    }

    /// What robosuite calls its environment.
    pub fn environment(self) -> &'static str {
        match self {
            Self::Lift => "Lift",
            Self::Stack => "Stack",
            Self::Door => "Door",
            Self::PickPlace => "PickPlace",
            Self::NutAssembly => "NutAssembly",
        }
    }

    /// The task in words.
    pub fn instruction(self) -> &'static str {
        match self {
            Self::Lift => "lift the red cube off the table",
            Self::Stack => "stack the red cube on the green cube",
            Self::Door => "turn the handle and open the door",
            Self::PickPlace => {
                "put the milk, the bread, the cereal and the can each into its own bin"
            }
            Self::NutAssembly => {
                "put the square nut on the square peg and the round nut on the round peg"
            }
        }
    }

    /// Bodies that matter.
    pub(super) fn bodies(self) -> &'static [&'static str] {
        match self {
            Self::Lift => &["cube"],
            Self::Stack => &["cubeA", "cubeB"],
            Self::Door => &["Door"],
            Self::PickPlace => &ITEMS,
            Self::NutAssembly => &["SquareNut0", "RoundNut0", "peg1", "peg2"],
        }
    }

    /// Joints that matter and are not the robot's.
    pub(super) fn joints(self) -> &'static [&'static str] {
        match self {
            Self::Door => &["door_hinge", "latch_joint"],
            _ => &[],
        }
    }

    /// Places that matter.
    pub(super) fn sites(self) -> &'static [&'static str] {
        match self {
            Self::Door => &["door_handle"],
            _ => &[],
        }
    }
}

/// What is sorted, in the order of the bins.
const ITEMS: [&str; 4] = ["Milk0", "Bread0", "Cereal0", "Can0"];

/// Height of the table of `Lift` and `Stack`, m.
const TABLE_M: f64 = 0.8;

/// A cube whose centre is this far above the table is lifted, m.
const LIFTED_M: f64 = 0.04;

/// A door whose hinge has turned this far is open, rad.
const OPEN_RAD: f64 = 0.3;

/// Middle of the four bins of `PickPlace` and the bottom of them, m.
const BINS_M: [f64; 3] = [0.1, 0.28, 0.8];

/// Size of the four bins together, m.
const BINS_SIZE_M: [f64; 2] = [0.39, 0.49];

/// Something in a bin is at most this far above its bottom, m.
const BIN_DEPTH_M: f64 = 0.1;

/// Height of the table of `NutAssembly`, m.
const PEG_TABLE_M: f64 = 0.82;

/// A nut on a peg is this close to its axis, along x and y, m.
const ON_PEG_M: f64 = 0.03;

/// A nut on a peg is at most this far above the table, m.
const PEG_DEPTH_M: f64 = 0.05;

/// The hand has let go where `1 - tanh(10 d)` is below this, with `d` its distance in m: 4.2 cm.
const NEAR: f64 = 0.6;

/// Judges states of one task.
pub(super) struct Judge {
    task: Task,
    /// The place between the fingers.
    grip: usize,
    /// Things that are moved, in the order of the task's condition.
    things: Vec<usize>,
    /// Where they go, where that is a body.
    goals: Vec<usize>,
    /// Hinge of the door in the positions.
    hinge: Option<usize>,
    /// Geoms of both cubes of `Stack`.
    cubes: Vec<usize>,
    /// Geoms of the fingertips.
    tips: Vec<usize>,
}

impl Judge {
    /// Finds what the task's condition asks about.
    ///
    /// Errors: what the model does not have.
    pub(super) fn new(task: Task, model: &MjModel) -> Result<Self, String> {
        let find = |kind: MjtObjBase, what: &str, names: &[&str]| -> Result<Vec<usize>, String> {
            names
                .iter()
                .map(|name| {
                    model
                        .name_to_id(kind, name)
                        .ok_or_else(|| format!("it has no {what} {name}"))
                })
                .collect()
        };
        let bodies = |names: &[&str]| find(MjtObjBase::mjOBJ_BODY, "body", names);
        let geoms = |names: &[&str]| find(MjtObjBase::mjOBJ_GEOM, "geom", names);
        let grip = find(MjtObjBase::mjOBJ_SITE, "site", &["gripper0_grip_site"])?[0];
        let mut judge = Self {
            task,
            grip,
            things: Vec::new(),
            goals: Vec::new(),
            hinge: None,
            cubes: Vec::new(),
            tips: Vec::new(),
        };
        match task {
            Task::Lift => judge.things = bodies(&["cube"])?,
            Task::Stack => {
                judge.things = bodies(&["cubeA"])?;
                judge.cubes = geoms(&["cubeA", "cubeB"])?;
                judge.tips = geoms(&[
                    "gripper0_finger1_tip_collision",
                    "gripper0_finger2_tip_collision",
                ])?;
            }
            Task::Door => {
                let hinge = find(MjtObjBase::mjOBJ_JOINT, "joint", &["door_hinge"])?[0];
                judge.hinge = Some(model.jnt_qposadr()[hinge] as usize);
            }
            Task::PickPlace => judge.things = bodies(&ITEMS)?,
            Task::NutAssembly => {
                judge.things = bodies(&["SquareNut0", "RoundNut0"])?;
                judge.goals = bodies(&["peg1", "peg2"])?;
            }
        }
        Ok(judge)
    }

    /// How much of the task is done, 0 to 1: robosuite's sparse reward.
    fn done(&self, data: &MjData<Arc<MjModel>>) -> f64 {
        let place = |body: usize| data.xpos()[body];
        let all = |done: &dyn Fn(usize) -> bool| {
            let count = (0..self.things.len()).filter(|&i| done(i)).count();
            count as f64 / self.things.len() as f64
        };
        match self.task {
            Task::Lift => all(&|i| place(self.things[i])[2] > TABLE_M + LIFTED_M),
            Task::Stack => all(&|i| {
                place(self.things[i])[2] > TABLE_M + LIFTED_M
                    && self.touches(data, &self.cubes[..1], &self.cubes[1..])
                    && !self.touches(data, &self.cubes[..1], &self.tips)
            }),
            Task::Door => {
                let open = self
                    .hinge
                    .is_some_and(|hinge| data.qpos()[hinge] > OPEN_RAD);
                f64::from(u8::from(open))
            }
            Task::PickPlace => all(&|i| {
                let thing = place(self.things[i]);
                in_bin(thing, i) && self.let_go(data, thing)
            }),
            Task::NutAssembly => all(&|i| {
                let (nut, peg) = (place(self.things[i]), place(self.goals[i]));
                on_peg(nut, peg) && self.let_go(data, nut)
            }),
        }
    }

    /// Whether any geom of one kind touches any of another.
    fn touches(&self, data: &MjData<Arc<MjModel>>, one: &[usize], other: &[usize]) -> bool {
        data.contact().iter().any(|contact| {
            let [a, b] = [contact.geom[0] as usize, contact.geom[1] as usize];
            one.contains(&a) && other.contains(&b) || one.contains(&b) && other.contains(&a)
        })
    }

    /// Whether the hand is away from a place.
    fn let_go(&self, data: &MjData<Arc<MjModel>>, place: [f64; 3]) -> bool {
        let hand = data.site_xpos()[self.grip];
        let squares: f64 = (0..3).map(|i| (hand[i] - place[i]).powi(2)).sum();
        1.0 - (10.0 * squares.sqrt()).tanh() < NEAR
    }
}

impl Referee for Judge {
    fn judge(&self, _row: usize, data: &MjData<Arc<MjModel>>) -> Verdict {
        let reward = self.done(data);
        Verdict {
            reward,
            success: reward >= 1.0,
        }
    }
}

/// Whether a place is in bin number `bin`: 0 and 2 have the smaller x, 0 and 1 the smaller y.
fn in_bin(place: [f64; 3], bin: usize) -> bool {
    let half = BINS_SIZE_M.map(|size| size / 2.0);
    let low = [
        BINS_M[0] - if bin.is_multiple_of(2) { half[0] } else { 0.0 },
        BINS_M[1] - if bin < 2 { half[1] } else { 0.0 },
    ];
    let within = |i: usize| low[i] < place[i] && place[i] < low[i] + half[i];
    within(0) && within(1) && BINS_M[2] < place[2] && place[2] < BINS_M[2] + BIN_DEPTH_M
}

/// Whether a nut is on a peg.
fn on_peg(nut: [f64; 3], peg: [f64; 3]) -> bool {
    (0..2).all(|i| (nut[i] - peg[i]).abs() < ON_PEG_M) && nut[2] < PEG_TABLE_M + PEG_DEPTH_M
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bin_holds_only_its_own_corner() {
        let corners = [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)];
        for (i, (x, y)) in corners.into_iter().enumerate() {
            let place = [BINS_M[0] + x * 0.1, BINS_M[1] + y * 0.12, 0.84];
            for bin in 0..4 {
                assert_eq!(in_bin(place, bin), bin == i, "{place:?} in bin {bin}");
            }
            assert!(!in_bin([place[0], place[1], 0.95], i), "too high");
        }
    }

    #[test]
    fn a_nut_must_be_down_and_around_its_peg() {
        let peg = [0.23, 0.1, 0.85];
        assert!(on_peg([0.22, 0.11, 0.83], peg));
        assert!(!on_peg([0.22, 0.11, 0.88], peg), "above the peg");
        assert!(!on_peg([0.22, 0.14, 0.83], peg), "beside the peg");
    }

    #[test]
    fn environments_have_the_names_of_robosuite() {
        assert_eq!(Task::by_environment("NutAssembly"), Some(Task::NutAssembly));
        assert_eq!(Task::by_environment("Wipe"), None);
    }
}
