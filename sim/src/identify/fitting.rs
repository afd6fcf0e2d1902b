//! The stages of a fit.

use std::ops::ControlFlow;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_robot::so101;
use serde::{Deserialize, Serialize};

use super::confidence::Confidence;
use super::motion::{DOF, IdentifyError, Motion, STILL, Segment, segments};
use super::parameters::{DELAY_UNIT, Layout};
use super::replay::Replay;
use super::report::{Fit, estimates, joint_errors, root_mean_squares, suggested};
use super::solve::{Prior, Problem, Solution};
use crate::arm_config::ArmConfig;

/// How to fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Seed of the starts and of which motions are held out.
    pub seed: u64,
    /// Starts of the first stage; the first is the arm of `start`.
    pub starts: usize,
    /// Length of the segments that are replayed, s.
    pub segment_s: f64,
    /// Share of the motions that is held out to be predicted.
    pub held_out: f64,
    /// Most steps of each stage.
    pub iterations: usize,
    /// What the arm is compared with, and where the search starts.
    pub start: ArmConfig,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            starts: 3,
            segment_s: 3.0,
            held_out: 0.2,
            iterations: 12,
            start: ArmConfig::default(),
        }
    }
}

/// How far a fit is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps taken.
    pub done: usize,
    /// Most steps there can be.
    pub total: usize,
    /// Root mean square of the present residuals, rad.
    pub rms_rad: f64,
}

/// Segments that the starts are tried on, and steps taken from each.
const TRIAL: (usize, usize) = (8, 6);

/// Before any motion was seen the numbers may be off by this factor's logarithm, and the delay by this many units.
const UNKNOWN: (f64, f64) = (1.0, 5.0);

/// One joint may differ from the others by this factor's logarithm.
const ALIKE: f64 = 0.5;

/// No sensor is better than this, rad: half a step of a 12-bit encoder.
const FINEST: f64 = 0.0008;

/// Fits an arm to motions. The same seed gives the same fit. `progress` may end it: what was found by then comes back.
///
/// Errors: [`IdentifyError::Motion`] where the motions are too short or nothing moves; [`IdentifyError::Config`].
pub fn fit(
    motions: &[Motion],
    config: &FitConfig,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fit, IdentifyError> {
    check(config)?;
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let all = segments(motions, config.segment_s)?;
    let unseen = hold_out(motions.len(), config.held_out, &mut rng);
    let (held_out, seen): (Vec<Segment>, Vec<Segment>) =
        all.into_iter().partition(|segment| unseen[segment.motion]);
    let replay = Replay::new(motions)?;
    let mut stages = Stages {
        replay: &replay,
        done: 0,
        total: config.starts * TRIAL.1 + 3 * config.iterations,
        progress: &mut progress,
    };

    // All joints alike, from several starts.
    let shared = Layout::Shared;
    let usual = shared.vector(&config.start);
    let prior = prior(&usual, UNKNOWN);
    let few: Vec<Segment> = spread(&seen, TRIAL.0);
    let mut best: Option<Solution> = None;
    for start in 0..config.starts.max(1) {
        let mut from = usual.clone();
        if start > 0 {
            from[0] = rng.random_range(0.0..0.1) / DELAY_UNIT;
            for x in &mut from[1..] {
                *x += rng.random_range(-0.7..0.7);
            }
        }
        let tried = stages.run(shared, &few, &prior, [0.01; DOF], from, TRIAL.1);
        if best.as_ref().is_none_or(|best| tried.cost < best.cost) {
            best = Some(tried);
        }
        stages.done = (start + 1) * TRIAL.1;
    }
    let from = best.map_or_else(|| usual.clone(), |best| best.x);
    let alike = stages.run(shared, &seen, &prior, [0.01; DOF], from, config.iterations);
    stages.done = config.starts * TRIAL.1 + config.iterations;

    // Each joint on its own, in units of what is left; once more with what is left then.
    let each = Layout::PerJoint;
    let mut x = each.vector(&shared.arm(&alike.x));
    let prior = self::prior(&x, (ALIKE, UNKNOWN.1));
    let mut stopped = alike.stopped;
    let mut sigma = stages.deviations(&each.arm(&x), &seen);
    for _ in 0..2 {
        let solution = stages.run(each, &seen, &prior, sigma, x, config.iterations);
        stages.done += config.iterations;
        x = solution.x;
        stopped |= solution.stopped;
        sigma = stages.deviations(&each.arm(&x), &seen);
    }
    let confidence = if stopped {
        Confidence::of_prior(&prior)
    } else {
        stages
            .confidence(&x, &seen, &prior, sigma)
            .unwrap_or_else(|| Confidence::of_prior(&prior))
    };

    let arm = each.arm(&x);
    let arms = [config.start.clone(), arm.clone()];
    let errors = |segments: &[Segment]| {
        let mut residuals = replay.residuals(&arms, segments).into_iter();
        let mut next = || root_mean_squares(&residuals.next().unwrap_or_default());
        (next(), next())
    };
    let fitted = errors(&seen);
    let predicted = (!held_out.is_empty()).then(|| errors(&held_out));
    let mut warnings = still(motions, &unseen);
    if stopped {
        warnings.push("the fit was stopped before its end: these are the best numbers so far, and their intervals are not known".into());
    } else {
        warnings.extend(confidence.warnings());
    }
    if held_out.is_empty() {
        warnings.push("there is only one motion, so that none was held out to be predicted".into());
    }
    let estimates = estimates(&each.vector(&config.start), &x, &confidence);
    let in_use = motions.iter().zip(&unseen).filter(|(_, unseen)| !**unseen);
    Ok(Fit {
        arm,
        randomisation: suggested(&estimates),
        estimates,
        joints: joint_errors(
            (fitted.0.0, fitted.1.0),
            predicted.map(|(before, after)| (before.0, after.0)),
        ),
        before_rad: fitted.0.1,
        after_rad: fitted.1.1,
        held_out_before_rad: predicted.map(|(before, _)| before.1),
        held_out_after_rad: predicted.map(|(_, after)| after.1),
        warnings,
        motions: unseen.iter().filter(|unseen| !**unseen).count(),
        held_out: unseen.iter().filter(|unseen| **unseen).count(),
        seconds: in_use.map(|(motion, _)| motion.seconds()).sum(),
        interrupted: stopped,
    })
}

fn check(config: &FitConfig) -> Result<(), IdentifyError> {
    let wrong = |what: &str| Err(IdentifyError::Config(what.into()));
    if config.starts == 0 || config.iterations == 0 {
        return wrong("starts and iterations must be above 0");
    }
    if !(config.segment_s.is_finite() && config.segment_s >= 0.5) {
        return wrong("segment_s must be at least 0.5");
    }
    if !(0.0..=0.9).contains(&config.held_out) {
        return wrong("held_out must be within 0..=0.9");
    }
    match config.start.problem() {
        Some(problem) => Err(IdentifyError::Config(problem)),
        None => Ok(()),
    }
}

/// A vector is about `mean`, give or take (logarithm, delay units).
fn prior(mean: &[f64], (logarithm, delay): (f64, f64)) -> Prior {
    let mut deviation = vec![logarithm; mean.len()];
    deviation[0] = delay;
    Prior {
        mean: mean.to_vec(),
        deviation,
    }
}

/// Which motions are held out: that share, but at least one stays, and at least one is held out where there are several.
fn hold_out(count: usize, share: f64, rng: &mut ChaCha8Rng) -> Vec<bool> {
    let wanted = (count as f64 * share).round() as usize;
    let least = usize::from(share > 0.0);
    let mut left = wanted.max(least).min(count.saturating_sub(1));
    let mut unseen = vec![false; count];
    while left > 0 {
        let pick = &mut unseen[rng.random_range(0..count)];
        left -= usize::from(!*pick);
        *pick = true;
    }
    unseen
}

/// At most `count` segments, from everywhere.
fn spread(segments: &[Segment], count: usize) -> Vec<Segment> {
    let step = segments.len().div_ceil(count).max(1);
    segments.iter().step_by(step).cloned().collect()
}

/// A sentence for each joint that does not move.
fn still(motions: &[Motion], unseen: &[bool]) -> Vec<String> {
    let joints = so101::spec().joints.into_iter().enumerate();
    joints
        .filter(|(j, _)| {
            let mut seen = motions.iter().zip(unseen).filter(|(_, unseen)| !**unseen);
            seen.all(|(motion, _)| motion.travel(*j) <= STILL)
        })
        .map(|(_, joint)| {
            format!(
                "{} does not move in these motions; its numbers are the other joints'",
                joint.name
            )
        })
        .collect()
}

/// What all stages need.
struct Stages<'a> {
    replay: &'a Replay<'a>,
    done: usize,
    total: usize,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

impl Stages<'_> {
    fn run(
        &mut self,
        layout: Layout,
        segments: &[Segment],
        prior: &Prior,
        sigma: [f64; DOF],
        from: Vec<f64>,
        iterations: usize,
    ) -> Solution {
        let (low, high) = layout.bounds();
        let replay = self.replay;
        let mut problem = Problem {
            residuals: &mut |candidates| weighted(replay, layout, candidates, segments, sigma),
            prior,
            bounds: (&low, &high),
            iterations,
        };
        let mut step = 0;
        problem.minimise(from, |residuals| {
            let squares: f64 = residuals
                .chunks_exact(DOF)
                .flat_map(|row| row.iter().zip(&sigma).map(|(r, sigma)| (r * sigma).powi(2)))
                .sum();
            let progress = Progress {
                done: self.done + step,
                total: self.total,
                rms_rad: (squares / residuals.len().max(1) as f64).sqrt(),
            };
            step += 1;
            (self.progress)(progress)
        })
    }

    /// What is left joint by joint, rad.
    fn deviations(&self, arm: &ArmConfig, segments: &[Segment]) -> [f64; DOF] {
        let residuals = self.replay.residuals(std::slice::from_ref(arm), segments);
        let (joints, _) = root_mean_squares(residuals.first().map_or(&[], Vec::as_slice));
        joints.map(|deviation| deviation.max(FINEST))
    }

    fn confidence(
        &self,
        x: &[f64],
        segments: &[Segment],
        prior: &Prior,
        sigma: [f64; DOF],
    ) -> Option<Confidence> {
        let layout = Layout::PerJoint;
        let (low, high) = layout.bounds();
        let replay = self.replay;
        let mut residuals =
            |candidates: &[Vec<f64>]| weighted(replay, layout, candidates, segments, sigma);
        let r = residuals(&[x.to_vec()]).pop()?;
        let mut problem = Problem {
            residuals: &mut residuals,
            prior,
            bounds: (&low, &high),
            iterations: 0,
        };
        let jacobian = problem.jacobian(x);
        let rows: Vec<usize> = segments.iter().map(|s| DOF * s.rows()).collect();
        Confidence::new(&jacobian, &r, &rows, prior)
    }
}

/// Residuals of all segments, one after the other, in units of `sigma`.
fn weighted(
    replay: &Replay<'_>,
    layout: Layout,
    candidates: &[Vec<f64>],
    segments: &[Segment],
    sigma: [f64; DOF],
) -> Vec<Vec<f64>> {
    let arms: Vec<ArmConfig> = candidates.iter().map(|x| layout.arm(x)).collect();
    let mut residuals: Vec<Vec<f64>> = replay
        .residuals(&arms, segments)
        .into_iter()
        .map(|segments| segments.concat())
        .collect();
    for row in residuals.iter_mut().flat_map(|r| r.chunks_exact_mut(DOF)) {
        for (residual, sigma) in row.iter_mut().zip(&sigma) {
            *residual /= sigma;
        }
    }
    residuals
}
