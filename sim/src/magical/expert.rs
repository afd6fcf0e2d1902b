//! A scripted operator that solves the tasks, so that there are demonstrations.
//!
//! One movement does all of it: get behind what is to be pushed, look along the way it is to go, and drive.

use std::f64::consts::{FRAC_PI_2, PI};

use super::block::{Block, side};
use super::robot::Embodiment;
use super::task::{FORBIDDEN, TOGETHER, Task};
use super::vector::{Vec2, vec2};
use super::world::World;

/// Fastest drive, m/s.
const SPEED: f64 = 0.8;
/// How far a block is put aside before it goes up past the forbidden place, m.
const ASIDE: f64 = 0.44;

/// The sizes that matter for pushing with a body, m.
struct Reach {
    /// From its centre to that of a block that it pushes.
    contact: f64,
    /// From its centre to that of a block, for it to turn freely.
    clear: f64,
    /// Half the width with which it pushes.
    half: f64,
    /// From its centre to that of a block that it passes.
    beside: f64,
    /// How far it may be off the line when it begins to push.
    tolerance: f64,
}

impl Reach {
    fn new(embodiment: Embodiment) -> Self {
        let block = side() / 2.0;
        match embodiment.stick() {
            None => Self {
                contact: 0.2 + block,
                clear: 0.54,
                half: 0.1,
                beside: 0.2 + block + 0.1,
                tolerance: 0.05,
            },
            Some((width, depth)) => {
                let half = width / 2.0;
                let long = embodiment == Embodiment::Longstick;
                let contact = depth / 2.0 + block;
                Self {
                    contact,
                    clear: if long { contact + 0.05 } else { half + block + 0.05 },
                    half,
                    beside: half + block + 0.04,
                    tolerance: if long { 0.2 } else { 0.05 },
                }
            }
        }
    }
}

/// An operator for one episode.
#[derive(Clone, Debug)]
pub struct Expert {
    /// In avoid: the block is where it can go up.
    aside: bool,
}

impl Default for Expert {
    fn default() -> Self {
        Self::new()
    }
}

/// An angle within half a turn.
fn wrap(angle: f64) -> f64 {
    (angle + PI).rem_euclid(2.0 * PI) - PI
}

/// The angle at which a robot looks along `direction`.
fn heading(direction: Vec2) -> f64 {
    direction.y.atan2(direction.x) - FRAC_PI_2
}

/// The turn that brings the robot round by `error`, rad, within one action: any turn is made within a step of the physics, of
/// which an action has ten.
fn turn(error: f64) -> f64 {
    (error / 10.0).clamp(-0.1, 0.1)
}

impl Expert {
    /// At the beginning of an episode.
    pub fn new() -> Self {
        Self { aside: false }
    }

    /// What it does now: writes the action to `out`, `[action_len]`.
    pub fn act(&mut self, world: &World, out: &mut [f64]) {
        out.fill(0.0);
        let reach = Reach::new(world.robot().embodiment());
        let blocks: Vec<Block> = (0..world.block_count()).map(|i| world.block(i)).collect();
        let (speed, turn) = match world.task() {
            Task::Sweep => Self::sweep(world, &reach, &blocks),
            Task::Avoid => self.avoid(world, &reach, blocks[0].at),
            Task::Group => Self::group(world, &reach, &blocks),
        };
        (out[0], out[1]) = (speed, turn);
    }

    /// As many blocks at once as the body is wide, the others after them.
    fn sweep(world: &World, reach: &Reach, blocks: &[Block]) -> (f64, f64) {
        let mut left: Vec<Vec2> = blocks
            .iter()
            .filter(|block| !block.in_zone)
            .map(|block| block.at)
            .collect();
        left.sort_by(|a, b| a.x.total_cmp(&b.x));
        let x = world.robot_pose().0.x;
        let width = reach.half - 0.04;
        let best = (0..left.len())
            .map(|first| {
                let fits = left[first..]
                    .iter()
                    .take_while(|at| at.x - left[first].x <= 2.0 * width)
                    .count();
                let group = &left[first..first + fits];
                let target = line(group, x, width);
                (fits, (target.x - x).abs(), target)
            })
            .max_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        best.map_or((0.0, 0.0), |(_, _, target)| {
            push(world, reach, target, vec2(0.0, 1.0))
        })
    }

    /// To the nearer side first, then up.
    fn avoid(&mut self, world: &World, reach: &Reach, block: Vec2) -> (f64, f64) {
        self.aside |= block.x.abs() > ASIDE || block.y > FORBIDDEN.0.y + 0.3;
        if self.aside {
            return Self::sweep(world, reach, &[world.block(0)]);
        }
        let place = vec2((ASIDE + 0.1).copysign(block.x), 0.05);
        push(world, reach, block, (place - block).normalize())
    }

    /// One to the other first, then both up.
    fn group(world: &World, reach: &Reach, blocks: &[Block]) -> (f64, f64) {
        let (a, b) = (blocks[0].at, blocks[1].at);
        if a.distance(b) < TOGETHER - 0.07 || a.y.max(b.y) > 0.55 {
            let centre = (a + b) * 0.5;
            if blocks.iter().all(|block| block.in_zone) {
                return (0.0, 0.0);
            }
            let target = vec2(centre.x, a.y.min(b.y));
            return push(world, reach, target, vec2(0.0, 1.0));
        }
        // The outer one goes inwards: there is more room on that side of the other.
        let (near, far) = if a.x.abs() < b.x.abs() { (b, a) } else { (a, b) };
        push(world, reach, near, (far - near).normalize())
    }
}

/// Where to push a group of blocks upwards: a point at the height of the lowest, near `x`, from which all are within `width`.
fn line(group: &[Vec2], x: f64, width: f64) -> Vec2 {
    let lowest = group.iter().map(|at| at.y).fold(f64::INFINITY, f64::min);
    let (first, last) = (group[0].x, group[group.len() - 1].x);
    let middle = (first + last) / 2.0;
    let spare = (first + width - middle).clamp(0.0, 0.04);
    vec2(x.clamp(middle - spare, middle + spare), lowest)
}

/// Pushes what is at `target` along the unit vector `way`.
fn push(world: &World, reach: &Reach, target: Vec2, way: Vec2) -> (f64, f64) {
    let (at, angle) = world.robot_pose();
    let offset = at - target;
    // Along the way and to its left.
    let (along, aside) = (offset.dot(way), offset.dot(way.perp()));
    let place = |along: f64, aside: f64| target + way * along + way.perp() * aside;

    let touching = along > -(reach.contact + 0.04) && along < 0.0;
    let tolerance = if touching {
        reach.half.max(0.08)
    } else {
        reach.tolerance
    };
    if along < -0.5 * reach.contact && aside.abs() < tolerance {
        let error = wrap(heading(way) - (2.0 * aside).clamp(-0.4, 0.4) - angle);
        let speed = if error.abs() < 0.35 { SPEED } else { 0.0 };
        return (speed, turn(error));
    }
    if along < -0.9 * reach.clear {
        return drive(at, angle, place(-reach.clear, 0.0));
    }
    if along > -0.5 * reach.contact && aside.abs() < reach.beside - 0.05 {
        let out = reach.beside.copysign(aside);
        return drive(at, angle, place(along, out));
    }
    drive(at, angle, place(-reach.clear - 0.05, aside))
}

/// Drives to a point, forwards or backwards.
fn drive(at: Vec2, angle: f64, goal: Vec2) -> (f64, f64) {
    let way = goal - at;
    let mut error = wrap(heading(way) - angle);
    let mut sign = 1.0;
    if error.abs() > FRAC_PI_2 {
        error = wrap(error + PI);
        sign = -1.0;
    }
    let speed = if error.abs() < 0.35 {
        (way.length() * 8.0).min(SPEED)
    } else {
        0.0
    };
    (sign * speed, turn(error))
}
