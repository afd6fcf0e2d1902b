//! [`Fit`]: what learners that copy demonstrations by gradient steps have in common while they learn.

use std::path::Path;

use crate::checkpoint::{Manifest, PolicySpec};
use crate::policy::{Metrics, PolicyError};

/// A fit to demonstrations that can be put down and taken up again, report by report, to the same bits.
///
/// ```text
/// while !fit.is_done() { let report = fit.advance()?; fit.save(dir)?; }
/// ```
pub trait Fit {
    /// Gradient steps made.
    fn steps(&self) -> u64;

    /// Gradient steps in all; the learning rate follows them.
    fn planned(&self) -> u64;

    /// Whether all steps are made.
    fn is_done(&self) -> bool {
        self.steps() >= self.planned()
    }

    /// Gradient steps up to the next report, and what they saw on average. Fails on a number that is none, which is named; what was
    /// saved before stays good.
    fn advance(&mut self) -> Result<Metrics, PolicyError>;

    /// Writes the policy as it would act now, and what is needed to go on exactly. Atomic.
    fn save(&self, dir: &Path) -> Result<(), PolicyError>;
}

/// Refuses to go on with other demonstrations than those of the checkpoint, as far as the number of steps and what a policy sees and does
/// can tell.
pub(crate) fn check_same(
    dir: &Path,
    manifest: &Manifest,
    spec: &PolicySpec,
    (then, now): (u64, u64),
) -> Result<(), PolicyError> {
    let theirs = &manifest.spec;
    let same = theirs.observation_dim == spec.observation_dim
        && theirs.action_dim == spec.action_dim
        && theirs.observation_names == spec.observation_names;
    if same && then == now {
        return Ok(());
    }
    Err(PolicyError::Other(format!(
        "{} was trained on other demonstrations ({then} steps of {} numbers; these have {now} of {}); give the same ones, or train anew",
        dir.display(),
        theirs.observation_dim,
        spec.observation_dim
    )))
}
