//! Inverse kinematics: joints that put the tool at a position and, as far as the arm can, in an orientation.
//!
//! Damped least squares with two priorities (Nakamura, Hanafusa and Yoshikawa 1987; Siciliano and Slotine 1991): each step
//! first reduces the position error, then turns the tool inside the null space of the position task, so a five-joint arm
//! reaches the position exactly and the orientation as well as it can. The damping grows with the squared error
//! (Sugihara 2011), which keeps steps short far from the solution and near singular poses. A joint at its limit that
//! would be pushed further is taken out of the step.

use nalgebra::{Matrix3, SMatrix, SVector, UnitQuaternion, Vector3};

use crate::kinematics::Chain;

/// The longest chain [`Chain::inverse`] takes; the solver works on the stack.
pub const MAX_LINKS: usize = 8;

type Columns = SMatrix<f64, 3, MAX_LINKS>;
type Step = SVector<f64, MAX_LINKS>;

/// How the tool should be turned. Always second to the position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Orientation {
    /// Any way.
    Free,
    /// An axis of the tool, given in its own frame, along a direction of the base frame; spin about it is free. Unit vectors.
    Pointing {
        /// The axis in the tool's frame; SO-101's gripper points along `z`.
        tool_axis: Vector3<f64>,
        /// Where it should point, in the base frame.
        base_direction: Vector3<f64>,
    },
    /// Exactly this way.
    Full(
        /// Rotation of the tool in the base frame.
        UnitQuaternion<f64>,
    ),
}

/// Where the tool should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToolTarget {
    /// Position of the tool in the base frame, m.
    pub position: Vector3<f64>,
    /// How it is turned.
    pub orientation: Orientation,
}

/// How hard [`Chain::inverse`] tries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InverseConfig {
    /// The largest position error that counts as reached, m.
    pub position_tolerance: f64,
    /// The largest orientation error that counts as reached, rad. Infinite: as good as it gets.
    pub orientation_tolerance: f64,
    /// Done when no joint moves further than this in a step and the position is reached, rad.
    pub step_tolerance: f64,
    /// The longest step of one joint, rad.
    pub max_step: f64,
    /// Steps from each start; as many again without the orientation where the position was not reached.
    pub max_iterations: u32,
    /// Further starts, spread over the joint ranges, tried only when the given one fails.
    pub restarts: u32,
}

impl Default for InverseConfig {
    fn default() -> Self {
        Self {
            position_tolerance: 1e-5,
            orientation_tolerance: f64::INFINITY,
            step_tolerance: 1e-5,
            max_step: 0.4,
            max_iterations: 60,
            restarts: 24,
        }
    }
}

impl InverseConfig {
    /// For control loops that start from the previous answer: a few steps, no restarts, 0.1 mm.
    pub fn warm() -> Self {
        Self {
            position_tolerance: 1e-4,
            step_tolerance: 1e-3,
            max_iterations: 12,
            restarts: 0,
            ..Self::default()
        }
    }
}

/// Joints and what is left of the error.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// One per link, rad, inside the limits.
    pub joints: Vec<f64>,
    /// Distance of the tool from the target, m.
    pub position_error: f64,
    /// Angle between the tool's orientation and the target's, rad; 0 for [`Orientation::Free`].
    pub orientation_error: f64,
    /// Steps taken, all starts together.
    pub iterations: u32,
}

/// Why there are no joints for a target.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InverseError {
    /// Nothing inside the limits reaches the target from the starts tried; the best that was found is enclosed.
    #[error(
        "the tool stays {:.1} mm and {:.1} degrees from the target; move the target into the arm's reach",
        .0.position_error * 1e3, .0.orientation_error.to_degrees()
    )]
    Unreachable(Solution),
    /// The call makes no sense.
    #[error("inverse kinematics: {0}")]
    Invalid(&'static str),
}

impl InverseError {
    /// The closest joints found, when the target was valid.
    pub fn best(self) -> Option<Solution> {
        match self {
            Self::Unreachable(solution) => Some(solution),
            Self::Invalid(_) => None,
        }
    }
}

impl Chain {
    /// Joints inside `limits` that bring the tool to `target`, searched from `start` (both: one per link, rad). A start
    /// outside the limits is moved inside.
    ///
    /// Errors: [`InverseError::Unreachable`] with the closest joints found; [`InverseError::Invalid`] for a number that is
    /// not finite, a length that does not fit, or more than [`MAX_LINKS`] links.
    pub fn inverse(
        &self,
        target: &ToolTarget,
        start: &[f64],
        limits: &[(f64, f64)],
        config: &InverseConfig,
    ) -> Result<Solution, InverseError> {
        let links = self.links.len();
        if links == 0 || links > MAX_LINKS {
            return Err(InverseError::Invalid("the chain must have 1 to 8 links"));
        }
        if start.len() != links || limits.len() != links {
            return Err(InverseError::Invalid(
                "start and limits must have one entry per link",
            ));
        }
        if !start.iter().all(|q| q.is_finite()) {
            return Err(InverseError::Invalid("the start is not finite"));
        }
        if limits
            .iter()
            .any(|(low, high)| low.is_nan() || high.is_nan() || low > high)
        {
            return Err(InverseError::Invalid("a limit is NaN or upside down"));
        }
        let Some(target) = target.normalized() else {
            return Err(InverseError::Invalid(
                "the target is not finite or a direction is zero",
            ));
        };
        let search = Search {
            chain: self,
            target,
            limits,
            config,
        };
        let mut best = search.descend(start);
        for restart in 1..=config.restarts {
            if search.reached(&best) {
                break;
            }
            let mut next = search.descend(&search.spread(restart));
            next.iterations += best.iterations;
            best = if search.rank(&next) < search.rank(&best) {
                next
            } else {
                Solution {
                    iterations: next.iterations,
                    ..best
                }
            };
        }
        if search.reached(&best) {
            Ok(best)
        } else {
            Err(InverseError::Unreachable(best))
        }
    }
}

impl ToolTarget {
    /// The same target with unit directions; `None` when that is impossible.
    fn normalized(&self) -> Option<Self> {
        let finite = |v: &Vector3<f64>| v.iter().all(|x| x.is_finite());
        let orientation = match self.orientation {
            Orientation::Free => Orientation::Free,
            Orientation::Pointing {
                tool_axis,
                base_direction,
            } => {
                if !finite(&tool_axis) || !finite(&base_direction) {
                    return None;
                }
                Orientation::Pointing {
                    tool_axis: tool_axis.try_normalize(1e-9)?,
                    base_direction: base_direction.try_normalize(1e-9)?,
                }
            }
            Orientation::Full(rotation) => {
                if !rotation.coords.iter().all(|x| x.is_finite()) {
                    return None;
                }
                Orientation::Full(rotation)
            }
        };
        finite(&self.position).then_some(Self {
            position: self.position,
            orientation,
        })
    }
}

struct Search<'a> {
    chain: &'a Chain,
    target: ToolTarget,
    limits: &'a [(f64, f64)],
    config: &'a InverseConfig,
}

/// Error and Jacobians at one set of joints. Unused columns are zero.
struct Local {
    position_error: Vector3<f64>,
    orientation_error: Vector3<f64>,
    position: Columns,
    orientation: Columns,
}

impl Search<'_> {
    fn reached(&self, solution: &Solution) -> bool {
        solution.position_error <= self.config.position_tolerance
            && solution.orientation_error <= self.config.orientation_tolerance
    }

    /// Lower is better: the position counts until it is reached, then the orientation.
    fn rank(&self, solution: &Solution) -> (f64, f64) {
        let beyond = (solution.position_error - self.config.position_tolerance).max(0.0);
        (beyond, solution.orientation_error)
    }

    /// The `index`th start of a Halton sequence over the joint ranges; a range without end counts as one turn.
    fn spread(&self, index: u32) -> Vec<f64> {
        const PRIMES: [u32; MAX_LINKS] = [2, 3, 5, 7, 11, 13, 17, 19];
        let radical_inverse = |base: u32| {
            let (mut index, mut share, mut sum) = (index, 1.0, 0.0);
            while index > 0 {
                share /= f64::from(base);
                sum += share * f64::from(index % base);
                index /= base;
            }
            sum
        };
        self.limits
            .iter()
            .zip(PRIMES)
            .map(|(&(low, high), base)| {
                let low = low.max(-std::f64::consts::PI);
                let high = high.min(std::f64::consts::PI).max(low);
                low + (high - low) * radical_inverse(base)
            })
            .collect()
    }

    fn local(&self, joints: &[f64]) -> Local {
        let mut axes = [Vector3::zeros(); MAX_LINKS];
        let mut origins = [Vector3::zeros(); MAX_LINKS];
        let mut count = 0;
        let tool = self.chain.walk(joints, |pose| {
            axes[count] = pose.rotation * Vector3::z();
            origins[count] = pose.translation.vector;
            count += 1;
        });
        let mut position = Columns::zeros();
        let mut orientation = Columns::zeros();
        for i in 0..count {
            let lever = tool.translation.vector - origins[i];
            position.set_column(i, &axes[i].cross(&lever));
            orientation.set_column(i, &axes[i]);
        }
        let orientation_error = match self.target.orientation {
            Orientation::Free => {
                orientation = Columns::zeros();
                Vector3::zeros()
            }
            Orientation::Pointing {
                tool_axis,
                base_direction,
            } => {
                let axis = tool.rotation * tool_axis;
                // Spin about the axis itself changes nothing, so it is not part of the task.
                for mut column in orientation.column_iter_mut() {
                    let spin = column.dot(&axis);
                    column.axpy(-spin, &axis, 1.0);
                }
                turn_between(&axis, &base_direction)
            }
            Orientation::Full(rotation) => (rotation * tool.rotation.inverse()).scaled_axis(),
        };
        Local {
            position_error: self.target.position - tool.translation.vector,
            orientation_error,
            position,
            orientation,
        }
    }

    fn descend(&self, start: &[f64]) -> Solution {
        let mut solution = Solution {
            joints: start
                .iter()
                .zip(self.limits)
                .map(|(q, &(low, high))| q.clamp(low, high))
                .collect(),
            position_error: f64::INFINITY,
            orientation_error: f64::INFINITY,
            iterations: 0,
        };
        // Near its limits the arm may have turned itself into a corner; the position comes first, so it may turn back.
        for orientation_share in [1.0, 0.0] {
            self.descend_with(orientation_share, &mut solution);
            if solution.position_error <= self.config.position_tolerance {
                break;
            }
        }
        solution
    }

    fn descend_with(&self, orientation_share: f64, solution: &mut Solution) {
        for iteration in 0..=self.config.max_iterations {
            let mut local = self.local(&solution.joints);
            solution.position_error = local.position_error.norm();
            solution.orientation_error = local.orientation_error.norm();
            local.orientation_error *= orientation_share;
            let step = self.step_inside_limits(local, &solution.joints);
            let done = step.amax() <= self.config.step_tolerance
                && solution.position_error <= self.config.position_tolerance;
            if done || iteration == self.config.max_iterations {
                return;
            }
            let joints = solution.joints.iter_mut().zip(self.limits);
            for ((q, &(low, high)), step) in joints.zip(step.iter()) {
                *q = (*q + step).clamp(low, high);
            }
            solution.iterations += 1;
        }
    }

    /// The step, without the joints that it would push through a limit they already touch.
    fn step_inside_limits(&self, mut local: Local, joints: &[f64]) -> Step {
        loop {
            let mut step = step(&local);
            let largest = step.amax();
            if largest > self.config.max_step {
                step *= self.config.max_step / largest;
            }
            let mut blocked = false;
            for (i, (&q, &(low, high))) in joints.iter().zip(self.limits).enumerate() {
                if (step[i] < 0.0 && q <= low) || (step[i] > 0.0 && q >= high) {
                    local.position.column_mut(i).fill(0.0);
                    local.orientation.column_mut(i).fill(0.0);
                    blocked = true;
                }
            }
            if !blocked {
                return step;
            }
        }
    }
}

/// `J_p^+ e_p + (J_o N)^+ (e_o - J_o J_p^+ e_p)` with damped pseudo-inverses and `N` the null space of `J_p`.
fn step(local: &Local) -> Step {
    let position_damping = 0.5 * local.position_error.norm_squared() + 1e-9;
    let Some(position_core) = damped_core(&local.position, position_damping) else {
        return Step::zeros();
    };
    let first = local
        .position
        .tr_mul(&(position_core * local.position_error));
    if local.orientation_error == Vector3::zeros() {
        return first;
    }
    // J_o N = J_o - (J_o J_p^T) core J_p
    let coupling = (local.orientation * local.position.transpose()) * position_core;
    let free = local.orientation - coupling * local.position;
    let left = local.orientation_error - local.orientation * first;
    let orientation_damping = 0.5 * local.orientation_error.norm_squared() + 1e-3;
    match damped_core(&free, orientation_damping) {
        Some(core) => first + free.tr_mul(&(core * left)),
        None => first,
    }
}

/// `(J J^T + damping I)^-1`.
fn damped_core(jacobian: &Columns, damping: f64) -> Option<Matrix3<f64>> {
    (jacobian * jacobian.transpose() + Matrix3::identity() * damping).try_inverse()
}

/// The rotation vector that turns unit vector `from` onto unit vector `to`.
fn turn_between(from: &Vector3<f64>, to: &Vector3<f64>) -> Vector3<f64> {
    let cross = from.cross(to);
    let (sin, cos) = (cross.norm(), from.dot(to));
    if sin > 1e-9 {
        cross * (sin.atan2(cos) / sin)
    } else if cos > 0.0 {
        cross
    } else {
        // Opposite: any perpendicular axis will do.
        let helper = if from.x.abs() < 0.7 {
            Vector3::x()
        } else {
            Vector3::y()
        };
        from.cross(&helper).normalize() * std::f64::consts::PI
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so101;
    use proptest::prelude::*;

    fn limits() -> Vec<(f64, f64)> {
        so101::spec().joints[..5]
            .iter()
            .map(|joint| (joint.min, joint.max))
            .collect()
    }

    fn joints() -> impl Strategy<Value = Vec<f64>> {
        limits()
            .into_iter()
            .map(|(low, high)| low..high)
            .collect::<Vec<_>>()
    }

    fn target_at(joints: &[f64]) -> ToolTarget {
        let tool = so101::chain().base_from_tool(joints);
        ToolTarget {
            position: tool.translation.vector,
            orientation: Orientation::Pointing {
                tool_axis: Vector3::z(),
                base_direction: tool.rotation * Vector3::z(),
            },
        }
    }

    proptest! {
        #[test]
        fn forward_of_inverse_is_the_target_from_a_near_start(
            goal in joints(),
            offset in prop::collection::vec(-0.15..0.15, 5),
        ) {
            let chain = so101::chain();
            let start: Vec<f64> = goal.iter().zip(&offset).map(|(q, o)| q + o).collect();
            let target = target_at(&goal);
            let found = chain.inverse(&target, &start, &limits(), &InverseConfig::default()).unwrap();
            let tool = chain.base_from_tool(&found.joints);
            let error = (tool.translation.vector - target.position).norm();
            prop_assert!(error <= 1e-5);
            prop_assert!((error - found.position_error).abs() < 1e-12);
            for (q, (low, high)) in found.joints.iter().zip(limits()) {
                prop_assert!((low..=high).contains(q));
            }
        }

        #[test]
        fn any_reachable_position_over_the_table_is_found_from_zero(goal in joints()) {
            let chain = so101::chain();
            prop_assume!(chain.base_from_tool(&goal).translation.z > 0.0);
            let target = ToolTarget { orientation: Orientation::Free, ..target_at(&goal) };
            let found = chain.inverse(&target, &[0.0; 5], &limits(), &InverseConfig::default()).unwrap();
            let tool = chain.base_from_tool(&found.joints);
            prop_assert!((tool.translation.vector - target.position).norm() <= 1e-5);
        }

        #[test]
        fn the_position_is_exact_when_the_direction_is_impossible(
            x in 0.2..0.28_f64, y in -0.1..0.1_f64, z in 0.05..0.15_f64,
        ) {
            // Five joints cannot point sideways at an arbitrary place; they must still get there.
            let target = ToolTarget {
                position: Vector3::new(x, y, z),
                orientation: Orientation::Pointing {
                    tool_axis: Vector3::z(),
                    base_direction: Vector3::y(),
                },
            };
            let found = so101::chain()
                .inverse(&target, &[0.0; 5], &limits(), &InverseConfig::default())
                .unwrap();
            prop_assert!(found.position_error <= 1e-5);
            prop_assert!(found.orientation_error > 0.3);
        }

        #[test]
        fn over_the_table_the_tool_points_straight_down(
            x in 0.15..0.25_f64, y in -0.10..0.10_f64, z in 0.01..0.08_f64,
        ) {
            let target = ToolTarget {
                position: Vector3::new(x, y, z),
                orientation: Orientation::Pointing {
                    tool_axis: Vector3::z(),
                    base_direction: -Vector3::z(),
                },
            };
            let config = InverseConfig { orientation_tolerance: 0.02, ..InverseConfig::default() };
            so101::chain().inverse(&target, &[0.0; 5], &limits(), &config).unwrap();
        }
    }

    #[test]
    fn a_target_out_of_reach_reports_the_residual_and_the_closest_joints() {
        let target = ToolTarget {
            position: Vector3::new(2.0, 0.0, 0.1),
            orientation: Orientation::Free,
        };
        let error = so101::chain()
            .inverse(&target, &[0.0; 5], &limits(), &InverseConfig::default())
            .unwrap_err();
        let best = error.best().unwrap();
        let tool = so101::chain().base_from_tool(&best.joints);
        let left = (tool.translation.vector - target.position).norm();
        assert!((left - best.position_error).abs() < 1e-12);
        assert!(left > 1.4 && left < 1.7, "{left}");
    }

    #[test]
    fn nonsense_is_refused() {
        let chain = so101::chain();
        let good = target_at(&[0.0; 5]);
        let config = InverseConfig::default();
        let nan = ToolTarget {
            position: Vector3::new(f64::NAN, 0.0, 0.0),
            ..good
        };
        for (target, start, limits) in [
            (nan, &[0.0; 5][..], limits()),
            (good, &[0.0; 4][..], limits()),
            (good, &[f64::NAN; 5][..], limits()),
            (good, &[0.0; 5][..], vec![(1.0, -1.0); 5]),
        ] {
            let result = chain.inverse(&target, start, &limits, &config);
            assert!(matches!(result, Err(InverseError::Invalid(_))));
        }
    }
}
