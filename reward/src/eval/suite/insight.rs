//! What the reward looks at, how sure it is, and how much it must look at.

use std::collections::BTreeMap;

use rapport_perception::Features;

use super::evidence::{Evidence, Frames};
use crate::eval::calibration::{Calibration, calibration, line};
use crate::eval::economy::{Sampling, sampling};
use crate::eval::probe::{Probe, Prober, utility};
use crate::eval::verdict::Weight::Helpful;
use crate::eval::verdict::{Check, Verdict};
use crate::model::RewardError;

/// The dimension that is the truth itself.
pub const TRUTH: &str = "truth";

pub(super) fn probes(evidence: &Evidence) -> (Check, Vec<Probe>, Option<f64>) {
    let check = Check::new(
        "probes",
        "Is the state of the task visible in what it looks at?",
        Helpful,
    );
    let silent = |sentence: String| {
        (
            check.clone().answer(Verdict::CannotTell, sentence),
            Vec::new(),
            None,
        )
    };
    let probes = match probe_all(evidence) {
        Ok(Some(probes)) => probes,
        Ok(None) => {
            return silent("It takes two clips and ten frames to see what can be read.".into());
        }
        Err(error) => return silent(error.to_string()),
    };
    let utility = utility(&probes);
    let mut check = check.clone().number("utility", utility);
    for probe in &probes {
        check = check.number(&format!("read: {}", probe.dimension), probe.read);
        check = check.number(&format!("rewarded: {}", probe.dimension), probe.rewarded);
    }
    let Some((read, chance)) = probes
        .iter()
        .find(|p| p.dimension == TRUTH)
        .and_then(|p| Some((p.read?, p.chance.unwrap_or(0.0))))
    else {
        let sentence = "The truth is not known, or always the same.";
        return (check.answer(Verdict::CannotTell, sentence), probes, utility);
    };
    // A dimension other than the truth that the reward follows more closely than the truth.
    let rewarded = |p: &Probe| p.rewarded.map_or(0.0, f64::abs);
    let of_truth = probes
        .iter()
        .find(|p| p.dimension == TRUTH)
        .map_or(0.0, rewarded);
    let rival = probes
        .iter()
        .filter(|p| p.dimension != TRUTH)
        .max_by(|a, b| rewarded(a).total_cmp(&rewarded(b)))
        .filter(|p| rewarded(p) > of_truth + 0.15);
    let mut verdict = Verdict::at_least(read, 0.7, 0.4);
    if verdict == Verdict::Good && rival.is_some() {
        verdict = Verdict::Doubtful;
    }
    let sentence = match (verdict, rival) {
        (Verdict::Bad, _) => format!(
            "What it looks at hardly shows how the task stands (held-out rank correlation {read:.2}, by chance {chance:.2}): another encoder or camera may help."
        ),
        (_, Some(rival)) => format!(
            "It follows {} (rank correlation {:.2}) more than the truth ({of_truth:.2}).",
            rival.dimension,
            rewarded(rival)
        ),
        (Verdict::Doubtful, None) => format!(
            "What it looks at shows roughly how the task stands (held-out rank correlation {read:.2})."
        ),
        _ => format!(
            "What it looks at shows how the task stands (held-out rank correlation {read:.2}, by chance {chance:.2})."
        ),
    };
    (check.answer(verdict, sentence), probes, utility)
}

fn probe_all(evidence: &Evidence) -> Result<Option<Vec<Probe>>, RewardError> {
    let config = &evidence.config.probe;
    let frames = evidence.frames(config.frames);
    let tables: Vec<Features> = evidence
        .samples
        .iter()
        .map(|s| evidence.model.representation(&s.clip))
        .collect::<Result<_, _>>()?;
    let Some(rows) = frames.rows(&tables) else {
        return Ok(None);
    };
    let prober = Prober::new(&rows, &frames.clips, config, evidence.config.seed)?;
    Ok(prober.map(|prober| {
        dimensions(evidence, &frames)
            .iter()
            .map(|(name, values)| prober.probe(name, values, &frames.reward))
            .collect()
    }))
}

/// What is known of every frame, by name.
fn dimensions(evidence: &Evidence, frames: &Frames) -> BTreeMap<String, Vec<f64>> {
    let mut found = BTreeMap::new();
    let pick = |of: &dyn Fn(usize, usize) -> Option<f64>| -> Option<Vec<f64>> {
        frames.places.iter().map(|&(i, t)| of(i, t)).collect()
    };
    if let Some(values) = pick(&|i, t| evidence.samples[i].truth.as_ref().map(|v| v[t])) {
        found.insert(TRUTH.to_owned(), values);
    }
    let names = evidence.samples.iter().flat_map(|s| s.dimensions.keys());
    let names: std::collections::BTreeSet<_> = names.collect();
    for name in names {
        let of = |i: usize, t: usize| {
            let values: &Vec<f64> = evidence.samples[i].dimensions.get(name)?;
            values.get(t).copied()
        };
        if let Some(values) = pick(&of) {
            found.insert(name.clone(), values);
        }
    }
    found
}

pub(super) fn uncertainty(evidence: &Evidence) -> (Check, Option<Calibration>) {
    let check = Check::new(
        "uncertainty",
        "Does it know when it does not know?",
        Helpful,
    );
    let (mut rewards, mut truths, mut deviations): (Vec<f64>, Vec<f64>, Vec<f64>) =
        Default::default();
    let mut sure = false;
    for (sample, signal) in evidence.samples.iter().zip(&evidence.signals) {
        sure |= signal.uncertainty.is_some();
        if let (Some(truth), Some(of)) = (&sample.truth, &signal.uncertainty) {
            rewards.extend(&signal.per_step);
            truths.extend(truth);
            deviations.extend(of);
        }
    }
    // What the reward would say were it sure is a line of the truth: rewards have no unit of their own. The line is fitted from
    // the truth, which has no error, to the reward, which has.
    let found = line(&truths, &rewards).and_then(|(slope, offset)| {
        let errors: Vec<f64> = rewards
            .iter()
            .zip(&truths)
            .map(|(r, t)| r - (slope * t + offset))
            .collect();
        calibration(&errors, &deviations)
    });
    let Some(found) = found else {
        let sentence = if sure {
            "The truth that its errors would be measured by is not known or never changes."
        } else {
            "It does not say how sure it is; an ensemble would."
        };
        return (check.answer(Verdict::CannotTell, sentence), None);
    };
    let knows = found.knows_where.unwrap_or(0.0);
    let verdict = if found.error > 0.3 || knows <= 0.0 {
        Verdict::Bad
    } else if found.error > 0.12 || knows < 0.2 {
        Verdict::Doubtful
    } else {
        Verdict::Good
    };
    let promised = found.coverage.iter().find(|c| c.0 == 0.9);
    let kept = 100.0 * promised.map_or(0.0, |c| c.1);
    let sentence = match verdict {
        Verdict::Good => {
            format!("It is sure where it may be: of its 90 % intervals {kept:.0} % hold.")
        }
        _ if knows <= 0.0 => {
            "It is no less sure where it is wrong: its uncertainty says nothing.".into()
        }
        _ if found.slack < -0.05 => {
            format!("It is surer than it may be: of its 90 % intervals only {kept:.0} % hold.")
        }
        _ if found.slack > 0.05 => {
            format!("It is less sure than it could be: of its 90 % intervals {kept:.0} % hold.")
        }
        _ => format!("It knows only roughly where it is wrong (rank correlation {knows:.2})."),
    };
    let check = check
        .number("calibration error", Some(found.error))
        .number("rank correlation with its errors", found.knows_where)
        .number("error over deviation", found.ratio)
        .answer(verdict, sentence);
    (check, Some(found))
}

pub(super) fn economy(evidence: &Evidence) -> (Check, Vec<Sampling>) {
    let check = Check::new("economy", "How many frames of a clip must it see?", Helpful);
    let seed = evidence.config.seed;
    let found = match sampling(evidence.model, &evidence.samples, &evidence.signals, seed) {
        Ok(found) if found.iter().all(|s| s.agreement.is_none()) => {
            let sentence = "It takes five clips of different worth to say.";
            return (check.answer(Verdict::CannotTell, sentence), found);
        }
        Ok(found) => found,
        Err(error) => {
            let sentence = format!("Single frames cannot be scored: {error}.");
            return (check.answer(Verdict::CannotTell, sentence), Vec::new());
        }
    };
    let mut check = check;
    for s in &found {
        check = check.number(&format!("agreement of {:>2} frames", s.frames), s.agreement);
    }
    let enough = found
        .iter()
        .find(|s| s.agreement.is_some_and(|rho| rho > 0.95));
    let check = match enough {
        Some(s) => check.answer(
            Verdict::Good,
            format!(
                "{} frame{} of each clip ({:.0} % of the work) rank clips as all frames do.",
                s.frames,
                if s.frames == 1 { "" } else { "s" },
                100.0 * s.share
            ),
        ),
        None => check.answer(
            Verdict::Doubtful,
            "It must see nearly all frames of a clip to say what it is worth.",
        ),
    };
    (check, found)
}
