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
    /// Whether it changes to the line of the next block on a curve.
    curves: bool,
}

impl Reach {
    fn new(embodiment: Embodiment) -> Self {
        let block = side() / 2.0;
        match embodiment.stick() {
            None => Self {
                contact: 0.2 + block,
                clear: 0.54,
                half: 0.1,
                beside: 0.2 + block + 0.05,
                tolerance: 0.05,
                curves: true,
            },
            Some((width, depth)) => {
                let half = width / 2.0;
                let long = embodiment == Embodiment::Longstick;
                let contact = depth / 2.0 + block;
                Self {
                    contact,
                    clear: if long {
                        contact + 0.05
                    } else {
                        half + block + 0.05
                    },
                    half,
                    beside: half + block + 0.04,
                    tolerance: if long { 0.2 } else { 0.05 },
                    curves: embodiment == Embodiment::Shortstick,
                }
            }
        }
    }
}

/// An operator for one episode.
#[derive(Clone, Debug)]
pub struct Expert {
    /// In avoid and group: the blocks are where they can go up.
    ready: bool,
    /// It is on its way back from what it has pushed.
    backing: bool,
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
        Self {
            ready: false,
            backing: false,
        }
    }

    /// What it does now: writes the action to `out`, `[action_len]`.
    pub fn act(&mut self, world: &World, out: &mut [f64]) {
        out.fill(0.0);
        let reach = Reach::new(world.robot().embodiment());
        let blocks: Vec<Block> = (0..world.block_count()).map(|i| world.block(i)).collect();
        let (speed, turn) = match world.task() {
            Task::Sweep => self.sweep(world, &reach, &blocks),
            Task::Avoid => self.avoid(world, &reach, blocks[0].at),
            Task::Group => self.group(world, &reach, &blocks),
        };
        (out[0], out[1]) = (speed, turn);
    }

    /// As many blocks at once as the body is wide, the others after them.
    fn sweep(&mut self, world: &World, reach: &Reach, blocks: &[Block]) -> (f64, f64) {
        let mut left: Vec<Vec2> = blocks
            .iter()
            .filter(|block| !block.in_zone)
            .map(|block| block.at)
            .collect();
        left.sort_by(|a, b| a.x.total_cmp(&b.x));
        let x = world.robot_pose().0.x;
        let width = reach.half - 0.04;
        // From one end to the other: the middle is on the way.
        let best = (0..left.len())
            .filter(|&first| width > 0.2 || first == 0 || first + 1 == left.len())
            .map(|first| {
                let fits = left[first..]
                    .iter()
                    .take_while(|at| at.x - left[first].x <= 2.0 * width)
                    .count();
                let group = &left[first..first + fits];
                let target = line(group, x, width);
                let spread = (group[fits - 1].x - group[0].x) / 2.0;
                (fits, (target.x - x).abs(), (target, spread))
            })
            .max_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        match best {
            Some((_, _, target)) => self.push(world, reach, target, vec2(0.0, 1.0)),
            None => (0.0, 0.0),
        }
    }

    /// To the nearer side first, then up.
    fn avoid(&mut self, world: &World, reach: &Reach, block: Vec2) -> (f64, f64) {
        self.ready |= block.x.abs() > ASIDE || block.y > FORBIDDEN.0.y + 0.3;
        if self.ready {
            return self.sweep(world, reach, &[world.block(0)]);
        }
        let place = vec2((ASIDE + 0.1).copysign(block.x), 0.05);
        self.push(world, reach, (block, 0.0), (place - block).normalize())
    }

    /// One to the other first, then both up.
    fn group(&mut self, world: &World, reach: &Reach, blocks: &[Block]) -> (f64, f64) {
        let (a, b) = (blocks[0].at, blocks[1].at);
        self.ready |= a.distance(b) < TOGETHER - 0.09;
        if self.ready {
            if blocks.iter().all(|block| block.in_zone) {
                return (0.0, 0.0);
            }
            let target = vec2((a.x + b.x) * 0.5, a.y.min(b.y));
            let spread = (a.x - b.x).abs() / 2.0;
            return self.push(world, reach, (target, spread), vec2(0.0, 1.0));
        }
        // The one that is nearer to the middle has more room behind it.
        let (pushed, other) = if a.x.abs() < b.x.abs() {
            (a, b)
        } else {
            (b, a)
        };
        self.push(
            world,
            reach,
            (pushed, 0.0),
            vec2((other.x - pushed.x).signum(), 0.0),
        )
    }

    /// Pushes what is at a point, as far as `spread` to both sides, along the unit vector `way`.
    fn push(
        &mut self,
        world: &World,
        reach: &Reach,
        (target, spread): (Vec2, f64),
        way: Vec2,
    ) -> (f64, f64) {
        let (at, angle) = world.robot_pose();
        let offset = at - target;
        // Along the way and to its left.
        let (along, aside) = (offset.dot(way), offset.dot(way.perp()));
        let place = |along: f64, aside: f64| target + way * along + way.perp() * aside;

        let touching = along > -(reach.contact + 0.04);
        let tolerance = if touching {
            reach.half.max(0.08)
        } else {
            reach.tolerance
        };
        if along < -0.2 * reach.contact && aside.abs() < tolerance {
            // A wide body has to be straight before it touches.
            let near = reach.half > 0.5 && along > -(reach.contact + 0.12);
            let correction = if near {
                0.0
            } else {
                (2.0 * aside).clamp(-0.4, 0.4)
            };
            let error = wrap(heading(way) - correction - angle);
            let speed = if error.abs() < 0.35 { SPEED } else { 0.0 };
            return (speed, turn(error));
        }
        let beside = reach.beside + spread;
        let blocked = along > -0.5 * reach.contact && aside.abs() < beside - 0.05;
        if reach.curves && !blocked {
            if along > -reach.clear {
                self.backing = true;
            } else if along < -(reach.clear + 0.3) {
                self.backing = false;
            }
            return self.change_line((along, aside), heading(way) - angle);
        }
        if along < -0.9 * reach.clear {
            return drive(world, place(-reach.clear, 0.0));
        }
        if blocked {
            return drive(world, place(along, beside.copysign(aside)));
        }
        drive(world, place(-reach.clear - 0.05, aside))
    }

    /// Gets onto the line along which it will push on two arcs, the second of which ends on it. `place`: along the line and to its
    /// left; `straight`: the turn that would bring it in line.
    fn change_line(&self, (along, aside): (f64, f64), straight: f64) -> (f64, f64) {
        // As tight as it turns at full speed.
        const RADIUS: f64 = 0.38;
        let tilt = (1.0 - aside.abs() / RADIUS).max(0.0).acos().copysign(aside);
        if !self.backing {
            return (SPEED, turn(wrap(straight - tilt)));
        }
        // Not yet past the blocks that are still in their places.
        let start = if aside.abs() < 0.6 { 0.0 } else { -0.1 };
        let tilt = if along > start { 0.0 } else { tilt };
        (-SPEED, turn(wrap(straight + tilt)))
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

/// Drives to a point, forwards or backwards: what turns less, but with what sticks out in front away from a wall at the side.
fn drive(world: &World, goal: Vec2) -> (f64, f64) {
    let (at, angle) = world.robot_pose();
    let way = goal - at;
    let forward = wrap(heading(way) - angle);
    let sideways = way.x.abs() > way.y.abs();
    let backwards = if sideways && world.robot().embodiment() == Embodiment::Gripper {
        way.x * goal.x > 0.0
    } else {
        forward.abs() > FRAC_PI_2
    };
    let (error, sign) = if backwards {
        (wrap(forward + PI), -1.0)
    } else {
        (forward, 1.0)
    };
    let speed = if error.abs() < 0.35 {
        (way.length() * 8.0).min(SPEED)
    } else {
        0.0
    };
    (sign * speed, turn(error))
}
