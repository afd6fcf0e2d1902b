//! From a goal to the next command: position, speed, acceleration, gap, workspace and tool speed.
//!
//! The limiter works on its own last command, not on the measurement, so that the arm's lag is not added to every step. It
//! keeps one promise from step to step: braking all joints together, in proportion, from the last command is safe. That path
//! is a straight line in joint space, so it can be checked before a command goes out, and it is always there to fall
//! back on. A command that would break the promise is blended with the braking command until it does not.

use nalgebra::Vector3;

use crate::guard::config::{JointLimit, Workspace};
use crate::kinematics::Chain;

/// Points of the braking path that are checked.
const BRAKING_POINTS: u32 = 4;

/// The tool may sag between two checked points of a straight joint path by this much, m.
const BETWEEN_POINTS: f64 = 5e-4;

/// The commanded tool's box and speed.
#[derive(Clone, Debug)]
pub(super) struct ToolLimit {
    pub chain: Chain,
    pub workspace: Workspace,
}

/// Which limits have shaped a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shaped {
    pub position: bool,
    pub gap: bool,
    pub velocity: bool,
    pub acceleration: bool,
    pub workspace: bool,
    pub tool_speed: bool,
}

/// The last command and what may follow it.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    joints: Vec<JointLimit>,
    tool: Option<ToolLimit>,
    command: Vec<f64>,
    velocity: Vec<f64>,
    /// Where the command puts the tool.
    tool_at: Vector3<f64>,
    shaped: Shaped,
}

impl Limiter {
    pub fn new(joints: Vec<JointLimit>, tool: Option<ToolLimit>) -> Self {
        let zeros = vec![0.0; joints.len()];
        Self {
            joints,
            tool,
            command: zeros.clone(),
            velocity: zeros,
            tool_at: Vector3::zeros(),
            shaped: Shaped::default(),
        }
    }

    /// At rest at `command`.
    pub fn restart(&mut self, command: &[f64]) {
        self.command.copy_from_slice(command);
        self.velocity.fill(0.0);
        self.find_tool();
    }

    fn find_tool(&mut self) {
        if let Some(tool) = &self.tool {
            self.tool_at = tool.position(&self.command);
        }
    }

    pub fn joints(&self) -> &[JointLimit] {
        &self.joints
    }

    pub fn command(&self) -> &[f64] {
        &self.command
    }

    pub fn resting(&self) -> bool {
        self.velocity.iter().all(|v| *v == 0.0)
    }

    pub fn shaped(&self) -> Shaped {
        self.shaped
    }

    /// Brakes for `dt` seconds. Always possible.
    pub fn brake(&mut self, dt: f64) {
        self.shaped = Shaped::default();
        let velocity = self.braking(dt);
        self.go(velocity, dt);
    }

    /// Moves towards `goal` (finite, `[dof]`) for `dt` seconds, at `share` of the full speed.
    pub fn advance(&mut self, goal: &[f64], measured: &[f64], dt: f64, share: f64) {
        self.shaped = Shaped::default();
        if dt <= 0.0 {
            return;
        }
        let braking = self.braking(dt);
        let mut wish = self.wish(goal, measured, dt, share);
        if self.tool.is_some() {
            self.slow_the_tool(&mut wish, dt);
            self.stay_in_the_box(&mut wish, dt, share);
        }
        self.leave_room(&mut wish, dt);
        for (part, what) in [(1.0, false), (0.7, true), (0.4, true), (0.15, true)] {
            let velocity: Vec<f64> = wish
                .iter()
                .zip(&braking)
                .map(|(wish, brake)| brake + part * (wish - brake))
                .collect();
            if self.is_safe(&velocity, dt) {
                self.shaped.workspace |= what && self.tool.is_some();
                return self.go(velocity, dt);
            }
        }
        self.shaped.workspace |= self.tool.is_some();
        self.go(braking, dt);
    }

    fn go(&mut self, velocity: Vec<f64>, dt: f64) {
        for (i, v) in velocity.into_iter().enumerate() {
            let (low, high) = self.range(i);
            // Rounding only: the promise already keeps the command inside.
            self.command[i] = (self.command[i] + v * dt).clamp(low, high);
            self.velocity[i] = v;
        }
        self.find_tool();
    }

    /// Where joint `i` may go: the limits, and, where it starts outside, the way back.
    fn range(&self, i: usize) -> (f64, f64) {
        let (limit, command) = (&self.joints[i], self.command[i]);
        (limit.min.min(command), limit.max.max(command))
    }

    /// Time to brake all joints together from `velocity`, s.
    fn braking_time(&self, velocity: &[f64]) -> f64 {
        velocity
            .iter()
            .zip(&self.joints)
            .map(|(v, limit)| v.abs() / limit.acceleration)
            .fold(0.0, f64::max)
    }

    fn braking(&self, dt: f64) -> Vec<f64> {
        let time = self.braking_time(&self.velocity);
        let left = if dt < time { 1.0 - dt / time } else { 0.0 };
        self.velocity.iter().map(|v| v * left).collect()
    }

    /// `velocity`, as far as the acceleration limit lets it change in `dt`.
    fn within_acceleration(&self, i: usize, velocity: f64, dt: f64) -> f64 {
        let change = self.joints[i].acceleration * dt;
        velocity.clamp(self.velocity[i] - change, self.velocity[i] + change)
    }

    /// The velocity of each joint alone that arrives at its goal without overshoot.
    fn wish(&mut self, goal: &[f64], measured: &[f64], dt: f64, share: f64) -> Vec<f64> {
        let mut wish = Vec::with_capacity(goal.len());
        for i in 0..goal.len() {
            let limit = self.joints[i];
            let (low, high) = self.range(i);
            let inside = goal[i].clamp(low, high);
            self.shaped.position |= inside != goal[i];
            let near = inside.clamp(measured[i] - limit.gap, measured[i] + limit.gap);
            self.shaped.gap |= near != inside;
            let way = near.clamp(low, high) - self.command[i];
            // v dt + v^2 / 2a = way, solved for v: after this step there is just room to brake.
            let a = limit.acceleration;
            let arriving = a * ((dt * dt + 2.0 * way.abs() / a).sqrt() - dt);
            let fastest = limit.velocity * share;
            self.shaped.velocity |= arriving > fastest;
            let wanted = arriving.min(fastest).copysign(way);
            let reached = self.within_acceleration(i, wanted, dt);
            self.shaped.acceleration |= reached != wanted;
            wish.push(reached);
        }
        wish
    }

    /// Scales the step where the tool would go too fast.
    fn slow_the_tool(&mut self, wish: &mut [f64], dt: f64) {
        let Some(tool) = &self.tool else { return };
        let next = self.after(wish, dt);
        let speed = (tool.position(&next) - self.tool_at).norm() / dt;
        if speed > tool.workspace.speed {
            let share = tool.workspace.speed / speed;
            for (i, wish) in wish.iter_mut().enumerate().take(tool.chain.links.len()) {
                *wish = self.within_acceleration(i, *wish * share, dt);
            }
            self.shaped.tool_speed = true;
        }
    }

    /// Takes the part out of the velocity that goes through a wall of the box, so that the tool slides along it.
    fn stay_in_the_box(&mut self, wish: &mut [f64], dt: f64, share: f64) {
        let Some(tool) = &self.tool else { return };
        let links = tool.chain.links.len();
        let position = self.tool_at;
        let time = dt + 0.5 * self.braking_time(wish);
        // Far from every wall there is nothing to do: the tool's speed is limited already.
        let reach = tool.workspace.speed * time + 2.0 * BETWEEN_POINTS;
        if tool
            .outside(&position)
            .iter()
            .all(|outside| -outside > reach)
        {
            return;
        }
        let jacobian = tool.chain.jacobian(&self.command[..links]);
        for axis in 0..3 {
            for (sign, room) in [
                (-1.0, position[axis] - tool.workspace.min[axis]),
                (1.0, tool.workspace.max[axis] - position[axis]),
            ] {
                let row = jacobian.row(axis) * sign;
                let fastest = (room - 2.0 * BETWEEN_POINTS).max(0.0) / time;
                let approach: f64 = row.iter().zip(wish.iter()).map(|(j, v)| j * v).sum();
                let size = row.norm_squared();
                if approach > fastest && size > 1e-9 {
                    for i in 0..links {
                        let top = self.joints[i].velocity * share;
                        let slower = wish[i] - row[i] * (approach - fastest) / size;
                        wish[i] = self.within_acceleration(i, slower.clamp(-top, top), dt);
                    }
                    self.shaped.workspace = true;
                }
            }
        }
    }

    /// Slows a joint that would have no room left to brake when all brake together.
    fn leave_room(&mut self, wish: &mut [f64], dt: f64) {
        let time = dt + 0.5 * self.braking_time(wish);
        for (i, wish) in wish.iter_mut().enumerate() {
            let (low, high) = self.range(i);
            let [low, high] = [low, high].map(|end| (end - self.command[i]) / time);
            *wish = self.within_acceleration(i, wish.clamp(low, high), dt);
        }
    }

    fn after(&self, velocity: &[f64], dt: f64) -> Vec<f64> {
        self.command
            .iter()
            .zip(velocity)
            .map(|(q, v)| q + v * dt)
            .collect()
    }

    /// Whether `velocity` for `dt` and braking from there keeps every limit.
    fn is_safe(&self, velocity: &[f64], dt: f64) -> bool {
        let next = self.after(velocity, dt);
        let time = self.braking_time(velocity);
        for i in 0..next.len() {
            let (low, high) = self.range(i);
            let end = next[i] + 0.5 * velocity[i] * time;
            if next[i].min(end) < low - 1e-9 || next[i].max(end) > high + 1e-9 {
                return false;
            }
        }
        let Some(tool) = &self.tool else { return true };
        let here = self.tool_at;
        let top = tool.workspace.speed * (1.0 + 1e-6);
        let arrive = tool.position(&next);
        if !tool.permits(&here, &arrive) || (arrive - here).norm() > top * dt {
            return false;
        }
        let mut last = arrive;
        for k in 1..=BRAKING_POINTS {
            let t = time * f64::from(k) / f64::from(BRAKING_POINTS);
            let way = if time > 0.0 {
                t - 0.5 * t * t / time
            } else {
                0.0
            };
            let point = tool.position(&self.shifted(&next, velocity, way));
            let pace = time / f64::from(BRAKING_POINTS);
            if !tool.permits(&here, &point) || (point - last).norm() > top * pace {
                return false;
            }
            last = point;
        }
        true
    }

    fn shifted(&self, from: &[f64], velocity: &[f64], seconds: f64) -> Vec<f64> {
        from.iter()
            .zip(velocity)
            .map(|(q, v)| q + v * seconds)
            .collect()
    }
}

impl ToolLimit {
    pub fn position(&self, joints: &[f64]) -> Vector3<f64> {
        self.chain.base_from_tool(joints).translation.vector
    }

    /// Distance beyond each wall of the box, m; negative inside.
    fn outside(&self, position: &Vector3<f64>) -> [f64; 6] {
        let (min, max) = (&self.workspace.min, &self.workspace.max);
        let [x, y, z] = [position.x, position.y, position.z];
        [
            min[0] - x,
            min[1] - y,
            min[2] - z,
            x - max[0],
            y - max[1],
            z - max[2],
        ]
    }

    /// Whether the way from `here` to `there` stays inside. A tool that starts outside a wall may come back, not go further.
    fn permits(&self, here: &Vector3<f64>, there: &Vector3<f64>) -> bool {
        let (here, there) = (self.outside(here), self.outside(there));
        there
            .iter()
            .zip(&here)
            .all(|(there, here)| *there <= here.max(-BETWEEN_POINTS))
    }
}
