//! A task with a robot in it, stepped by actions.

use super::block::{self, Block, Placed};
use super::robot::{Embodiment, Robot};
use super::space::Space;
use super::task::{DIAGONAL, FORBIDDEN, GOAL_HEIGHT, Layout, Task, touches_forbidden};
use super::vector::{Bounds, Vec2, vec2};

/// Half the width of the arena, m.
pub const ARENA: f64 = 1.1;
/// Actions a second.
pub const POLICY_HZ: f64 = 8.0;
/// Steps of the physics for an action.
const SUBSTEPS: usize = 10;
/// Where the robot begins.
const START: Vec2 = vec2(0.0, -0.6);
/// Most blocks of a task.
const MOST_BLOCKS: usize = 3;

/// A robot, blocks and a zone. Two equal worlds go on bit for bit the same.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    task: Task,
    space: Space,
    robot: Robot,
    placed: Vec<Placed>,
    zone: Bounds,
    /// Whether a block touched the forbidden place since the beginning.
    touched: bool,
}

impl World {
    /// A task at its beginning, with the blocks at `starts`; as many as the task has.
    pub fn new(task: Task, embodiment: Embodiment, starts: &[Vec2]) -> Self {
        let mut space = Space::new(1.0 / POLICY_HZ / SUBSTEPS as f64);
        let zone = block::add_arena(&mut space, ARENA);
        let placed = starts
            .iter()
            .take(task.blocks())
            .map(|&at| block::add(&mut space, at))
            .collect();
        let robot = Robot::new(&mut space, embodiment, START, 0.0);
        let mut world = Self {
            task,
            space,
            robot,
            placed,
            zone,
            touched: false,
        };
        world.note();
        world
    }

    /// A task at its beginning.
    pub fn begin(task: Task, embodiment: Embodiment, layout: Layout, seed: u64) -> Self {
        Self::new(task, embodiment, &task.starts(layout, seed))
    }

    /// The task.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The physics.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The robot.
    pub fn robot(&self) -> &Robot {
        &self.robot
    }

    /// Where the robot is and its angle, rad.
    pub fn robot_pose(&self) -> (Vec2, f64) {
        let body = self.space.body(self.robot.body());
        (body.position, body.angle)
    }

    /// Takes an action, see [`Robot::act`], for an eighth of a second.
    pub fn step(&mut self, action: &[f64]) {
        self.robot.act(action);
        for _ in 0..SUBSTEPS {
            self.robot.update(&mut self.space);
            self.space.step();
        }
        self.note();
    }

    fn note(&mut self) {
        let Self { placed, space, .. } = self;
        let mut places = placed.iter().map(|placed| space.body(placed.body).position);
        self.touched |= places.any(touches_forbidden);
    }

    /// How many blocks there are.
    pub fn block_count(&self) -> usize {
        self.placed.len()
    }

    /// A block.
    pub fn block(&self, i: usize) -> Block {
        let Placed { body, shape } = self.placed[i];
        let body = self.space.body(body);
        Block {
            at: body.position,
            angle: body.angle,
            in_zone: self.zone.contains(&self.space.shape(shape).bounds),
        }
    }

    fn with_blocks<T>(&self, look: impl FnOnce(&[Block]) -> T) -> T {
        let mut blocks = [Block {
            at: Vec2::ZERO,
            angle: 0.0,
            in_zone: false,
        }; MOST_BLOCKS];
        for (i, block) in blocks.iter_mut().enumerate().take(self.placed.len()) {
            *block = self.block(i);
        }
        look(&blocks[..self.placed.len()])
    }

    /// The reward of the present state, and how far it is from done, see [`Task::reward`].
    pub fn reward(&self) -> (f64, f64) {
        self.with_blocks(|blocks| self.task.reward(blocks))
    }

    /// Whether the task is done.
    pub fn is_done(&self) -> bool {
        let clean = self.task != Task::Avoid || !self.touched;
        clean && self.with_blocks(|blocks| self.task.is_done(blocks))
    }

    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        self.space.is_finite()
    }

    /// Names of the observation's components.
    pub fn observation_names(&self) -> Vec<String> {
        let blocks = 0..self.placed.len();
        let mut names: Vec<String> = vec!["robot_x".into(), "robot_y".into()];
        for i in blocks.clone() {
            names.extend([format!("block{i}_x"), format!("block{i}_y")]);
        }
        names.extend(["robot_cos".into(), "robot_sin".into()]);
        names.extend(blocks.clone().map(|i| format!("robot_block{i}_distance")));
        names.extend(blocks.map(|i| format!("block{i}_top_distance")));
        if self.robot.embodiment() == Embodiment::Gripper {
            names.push("finger_width".into());
        }
        match self.task {
            Task::Sweep => {}
            Task::Avoid => names.extend(["forbidden_x".into(), "forbidden_y".into()]),
            Task::Group => names.push("blocks_distance".into()),
        }
        names
    }

    /// Writes the state vector of X-Magical to `out`: places in m, the robot's direction, and distances as parts of the arena's
    /// diagonal. Avoid adds the forbidden place, group the distance between the blocks.
    ///
    /// # Panics
    /// When `out` has another length than there are names.
    pub fn observe(&self, out: &mut [f64]) {
        let (at, angle) = self.robot_pose();
        let n = self.placed.len();
        (out[0], out[1]) = (at.x, at.y);
        (out[2 + 2 * n], out[3 + 2 * n]) = (angle.cos(), angle.sin());
        for i in 0..n {
            let block = self.block(i).at;
            (out[2 + 2 * i], out[3 + 2 * i]) = (block.x, block.y);
            out[4 + 2 * n + i] = at.distance(block) / DIAGONAL;
            out[4 + 3 * n + i] = (GOAL_HEIGHT - block.y).abs() / DIAGONAL;
        }
        let mut next = 4 + 4 * n;
        if let Some(width) = self.robot.finger_width(&self.space) {
            out[next] = width;
            next += 1;
        }
        match self.task {
            Task::Sweep => {}
            Task::Avoid => {
                (out[next], out[next + 1]) = (FORBIDDEN.0.x, FORBIDDEN.0.y);
                next += 2;
            }
            Task::Group => {
                out[next] = self.block(0).at.distance(self.block(1).at) / DIAGONAL;
                next += 1;
            }
        }
        assert_eq!(out.len(), next, "length of the observation");
    }
}
