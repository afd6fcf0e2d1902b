//! What came out of a fit.

use rapport_robot::so101;
use serde::Serialize;

use super::confidence::{Confidence, IDENTIFIABLE};
use super::motion::DOF;
use super::parameters::{LONGEST_DELAY, Layout};
use crate::arm_config::ArmConfig;
use crate::randomise::{Randomisation, Range};

/// One number of the arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Its name: `delay_s`, `elbow_flex.gain`.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// Before the fit.
    pub before: f64,
    /// After it.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether the motions say enough of it; where not, it stays near the other joints' numbers.
    pub identifiable: bool,
}

/// How far simulated and measured positions of one joint are apart: root mean square, rad.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JointError {
    /// The joint.
    pub joint: String,
    /// On the fitted motions, before.
    pub before_rad: f64,
    /// On the fitted motions, after.
    pub after_rad: f64,
    /// On motions that the fit has not seen, before; `None` where none was held out.
    pub held_out_before_rad: Option<f64>,
    /// On motions that the fit has not seen, after.
    pub held_out_after_rad: Option<f64>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// The arm.
    pub arm: ArmConfig,
    /// What to vary in training: as far as the intervals go.
    pub randomisation: Randomisation,
    /// Every number with its interval.
    pub estimates: Vec<Estimate>,
    /// Errors joint by joint.
    pub joints: Vec<JointError>,
    /// The same over all joints, rad.
    pub before_rad: f64,
    /// After.
    pub after_rad: f64,
    /// On motions that the fit has not seen, rad; `None` where none was held out.
    pub held_out_before_rad: Option<f64>,
    /// After.
    pub held_out_after_rad: Option<f64>,
    /// What the motions cannot tell.
    pub warnings: Vec<String>,
    /// Motions fitted.
    pub motions: usize,
    /// Motions held out.
    pub held_out: usize,
    /// Length of the motions fitted, s.
    pub seconds: f64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Root mean square of residuals `[row x 6]`, joint by joint and over all.
pub(super) fn root_mean_squares(residuals: &[Vec<f64>]) -> ([f64; DOF], f64) {
    let (mut sums, mut rows) = ([0.0; DOF], 0_usize);
    for row in residuals
        .iter()
        .flat_map(|segment| segment.chunks_exact(DOF))
    {
        rows += 1;
        for (sum, off) in sums.iter_mut().zip(row) {
            *sum += off * off;
        }
    }
    let mean = |sum: f64| (sum / rows.max(1) as f64).sqrt();
    let all = mean(sums.iter().sum::<f64>() / DOF as f64);
    (sums.map(mean), all)
}

/// Every number of a [`Layout::PerJoint`] vector with its interval.
pub(super) fn estimates(before: &[f64], x: &[f64], confidence: &Confidence) -> Vec<Estimate> {
    let names = Layout::PerJoint.names();
    let (lowest, highest) = Layout::PerJoint.bounds();
    names
        .into_iter()
        .enumerate()
        .map(|(i, name)| {
            let deviation = confidence.deviation(i);
            let end = |sign: f64| {
                let x = x[i] + sign * 1.96 * deviation;
                Layout::value(i, x.clamp(lowest[i], highest[i]))
            };
            Estimate {
                name,
                unit: Layout::unit(i),
                before: Layout::value(i, before[i]),
                value: Layout::value(i, x[i]),
                low: end(-1.0),
                high: end(1.0),
                identifiable: deviation < IDENTIFIABLE,
            }
        })
        .collect()
}

/// Ranges as wide as the widest interval of each quantity.
pub(super) fn suggested(estimates: &[Estimate]) -> Randomisation {
    // Beyond this it would be another arm, however little the motions say.
    let (narrowest, widest) = (0.5, 2.0);
    let factors = |quantity: &str| {
        let of = estimates.iter().filter(|e| e.name.ends_with(quantity));
        let (low, high) = of.fold((1.0_f64, 1.0_f64), |(low, high), e| {
            (low.min(e.low / e.value), high.max(e.high / e.value))
        });
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        Some(Range::new(
            round(low.max(narrowest)),
            round(high.min(widest)),
        ))
    };
    // A delay can only be added, so the range is that of the interval's width.
    let latency = estimates
        .first()
        .map(|delay| Range::new(0.0, (delay.high - delay.low).clamp(0.0, LONGEST_DELAY)));
    Randomisation {
        gain: factors(".gain"),
        damping: factors(".damping"),
        frictionloss: factors(".frictionloss"),
        armature: factors(".armature"),
        latency_s: latency,
        ..Randomisation::default()
    }
}

/// Errors joint by joint, from root mean squares before and after, fitted and held out.
pub(super) fn joint_errors(
    fitted: ([f64; DOF], [f64; DOF]),
    held_out: Option<([f64; DOF], [f64; DOF])>,
) -> Vec<JointError> {
    let joints = so101::spec().joints.into_iter().enumerate();
    joints
        .map(|(j, joint)| JointError {
            joint: joint.name,
            before_rad: fitted.0[j],
            after_rad: fitted.1[j],
            held_out_before_rad: held_out.map(|(before, _)| before[j]),
            held_out_after_rad: held_out.map(|(_, after)| after[j]),
        })
        .collect()
}
