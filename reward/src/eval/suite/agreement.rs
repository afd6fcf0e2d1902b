//! Does the reward agree with the truth, with time, and with itself?

use super::evidence::Evidence;
use crate::eval::interval::{bootstrap_mean, bootstrap_over};
use crate::eval::pairs::pairs_in_order;
use crate::eval::rank::{epic_distance, kendall, pearson, spearman, value_order_correlation};
use crate::eval::sample::{deviation, mean};
use crate::eval::segments::{boundary_error, cuts, labels_from_cuts, step_jaccard, steps_passed};
use crate::eval::verdict::Weight::{Essential, Helpful};
use crate::eval::verdict::{Check, Verdict};

/// Fewest whole clips that say something about returns.
pub(super) const FEWEST_CLIPS: usize = 8;

pub(super) fn varies(evidence: &Evidence) -> Check {
    let rewards = evidence.rewards();
    let wholes: Vec<f64> = evidence.signals.iter().map(|s| mean(&s.per_step)).collect();
    let check = Check::new(
        "varies",
        "Does it say different things about different pictures?",
        Essential,
    )
    .number("deviation", Some(deviation(&rewards)))
    .number("deviation between clips", Some(deviation(&wholes)));
    if rewards.len() < 2 {
        check.answer(Verdict::CannotTell, "There is only one picture.")
    } else if evidence.varies() {
        check.answer(Verdict::Good, "The reward tells pictures apart.")
    } else {
        check.answer(
            Verdict::Bad,
            "The reward is the same for every picture: it says nothing.",
        )
    }
}

pub(super) fn truth(evidence: &Evidence) -> Check {
    let seed = evidence.config.seed;
    let check = Check::new("truth", "Does it follow the truth?", Essential);
    let known = evidence.with_truth();
    if known.is_empty() {
        return check.answer(
            Verdict::CannotTell,
            "The recordings do not hold the truth (a column next.reward or truth.progress).",
        );
    }
    let within: Vec<(Option<f64>, Option<f64>)> = known
        .iter()
        .map(|&i| {
            let (reward, truth) = (
                &evidence.signals[i].per_step,
                evidence.samples[i].truth.as_deref().unwrap_or(&[]),
            );
            (spearman(reward, truth), kendall(reward, truth))
        })
        .collect();
    let spearmans: Vec<f64> = within.iter().filter_map(|w| w.0).collect();
    let kendalls: Vec<f64> = within.iter().filter_map(|w| w.1).collect();
    let average = |values: &[f64]| (!values.is_empty()).then(|| mean(values));
    let check = check
        .number("Spearman within a clip, mean", average(&spearmans))
        .number("Kendall within a clip, mean", average(&kendalls));
    let (value, what) = if evidence.live() {
        let value = bootstrap_over(known.len(), seed, |drawn| {
            let clips: Vec<usize> = drawn.iter().map(|&d| known[d]).collect();
            let (reward, truth) = evidence.pooled(&clips);
            spearman(&reward, &truth)
        });
        (value, "pictures")
    } else {
        let wholes = evidence.wholes();
        if wholes.len() < FEWEST_CLIPS {
            return check.answer(Verdict::CannotTell, format!("This reward judges whole episodes, and {} are too few to compare with the truth; record at least {FEWEST_CLIPS}.", wholes.len()));
        }
        let value = bootstrap_over(wholes.len(), seed, |drawn| {
            let of = |pick: fn(&crate::eval::pressure::Choice) -> f64| {
                drawn.iter().map(|&d| pick(&wholes[d])).collect::<Vec<_>>()
            };
            spearman(&of(|c| c.proxy), &of(|c| c.truth))
        });
        (value, "clips")
    };
    match value {
        None if !evidence.varies() => check.answer(
            Verdict::Bad,
            "A reward that never changes cannot follow the truth.",
        ),
        None => check.answer(
            Verdict::CannotTell,
            "The truth is the same all the time, so that nothing can follow it.",
        ),
        Some(rho) => {
            let mut verdict = Verdict::at_least(rho.value, 0.7, 0.3);
            if verdict == Verdict::Good && rho.low < 0.3 {
                verdict = Verdict::Doubtful;
            }
            let sentence = match verdict {
                Verdict::Good => format!(
                    "{} that are better are worth more (rank correlation with the truth {:.2}).",
                    capital(what),
                    rho.value
                ),
                Verdict::Doubtful => format!(
                    "It follows the truth only roughly (rank correlation {:.2}, 95 % interval {:.2} to {:.2}).",
                    rho.value, rho.low, rho.high
                ),
                _ if rho.value < -0.3 => format!(
                    "It is the wrong way round: {what} that are better are worth less (rank correlation {:.2}).",
                    rho.value
                ),
                _ => format!(
                    "It hardly follows the truth (rank correlation {:.2}).",
                    rho.value
                ),
            };
            check.decided_by(Some(rho)).answer(verdict, sentence)
        }
    }
}

pub(super) fn epic(evidence: &Evidence) -> Check {
    let check = Check::new(
        "epic",
        "How far is it from the true reward, scale aside (EPIC)?",
        Helpful,
    );
    let known = evidence.with_truth();
    let wholes = evidence.wholes();
    let rho_of = |drawn: &[usize]| {
        let (reward, truth) = if evidence.live() {
            let clips: Vec<usize> = drawn.iter().map(|&d| known[d]).collect();
            evidence.pooled(&clips)
        } else {
            drawn
                .iter()
                .map(|&d| (wholes[d].proxy, wholes[d].truth))
                .unzip()
        };
        Some((pearson(&reward, &truth)?, epic_distance(&reward, &truth)?))
    };
    let count = known.len();
    if count == 0 || (!evidence.live() && count < FEWEST_CLIPS) {
        return check.answer(
            Verdict::CannotTell,
            "Too little is known of the truth to measure a distance.",
        );
    }
    let rho = bootstrap_over(count, evidence.config.seed, |d| rho_of(d).map(|r| r.0));
    let distance = bootstrap_over(count, evidence.config.seed, |d| rho_of(d).map(|r| r.1));
    let check = check.number("Pearson", rho.map(|r| r.value));
    match distance {
        None if !evidence.varies() => check.answer(
            Verdict::Bad,
            "A reward that never changes has no distance to the true one; it is as far as can be from useful.",
        ),
        None => check.answer(Verdict::CannotTell, "The truth never changes."),
        Some(d) => {
            // The same bounds as for the rank correlation, 0.7 and 0.3, as distances.
            let verdict = Verdict::at_least(-d.value, -0.39, -0.6);
            let sentence = match verdict {
                Verdict::Good => format!("Up to scale it is close to the true reward (EPIC distance {:.2}; 0 is equal, 0.71 unrelated, 1 opposite).", d.value),
                Verdict::Doubtful => format!("It is some way from the true reward (EPIC distance {:.2}; 0 is equal, 0.71 unrelated).", d.value),
                _ => format!("It is about as far from the true reward as chance (EPIC distance {:.2}; 0.71 is unrelated, 1 opposite).", d.value),
            };
            check.decided_by(Some(d)).answer(verdict, sentence)
        }
    }
}

pub(super) fn pairs(evidence: &Evidence) -> Check {
    let check = Check::new(
        "pairs",
        "Of two clips, does it prefer the better one?",
        Essential,
    );
    let choices = evidence.stretches();
    if !evidence.live() && choices.len() < FEWEST_CLIPS {
        return check.answer(
            Verdict::CannotTell,
            format!(
                "{} clips are too few to compare; record at least {FEWEST_CLIPS}.",
                choices.len()
            ),
        );
    }
    let Some(found) = pairs_in_order(&choices, evidence.config.seed) else {
        return check.answer(
            Verdict::CannotTell,
            "No two clips are known to differ in how good they are.",
        );
    };
    let accuracy = found.accuracy;
    let mut verdict = Verdict::at_least(accuracy.value, 0.8, 0.6);
    if verdict == Verdict::Good && accuracy.low < 0.6 {
        verdict = Verdict::Doubtful;
    }
    let percent = 100.0 * accuracy.value;
    let sentence = match verdict {
        Verdict::Good => {
            format!("It prefers the better of two clips in {percent:.0} of 100 cases.")
        }
        Verdict::Doubtful => format!(
            "It prefers the better of two clips in only {percent:.0} of 100 cases (95 % interval {:.0} to {:.0}; a coin has 50).",
            100.0 * accuracy.low,
            100.0 * accuracy.high
        ),
        _ => format!(
            "Asked which of two clips is better it is right in {percent:.0} of 100 cases; a coin has 50."
        ),
    };
    check
        .number("pairs", Some(found.pairs as f64))
        .decided_by(Some(accuracy))
        .answer(verdict, sentence)
}

pub(super) fn time(evidence: &Evidence) -> Check {
    let check = Check::new("time", "Does it rise as the task is done?", Helpful);
    let clips = evidence.progressing();
    let of_time: Vec<f64> = clips
        .iter()
        .map(|&i| value_order_correlation(&evidence.signals[i].per_step).unwrap_or(0.0))
        .collect();
    let of_time_kendall: Vec<f64> = clips
        .iter()
        .map(|&i| {
            let reward = &evidence.signals[i].per_step;
            let time: Vec<f64> = (0..reward.len()).map(|t| t as f64).collect();
            kendall(reward, &time).unwrap_or(0.0)
        })
        .collect();
    let Some(voc) = bootstrap_mean(&of_time, evidence.config.seed) else {
        return check.answer(
            Verdict::CannotTell,
            "In none of these clips does the task get nearer to done.",
        );
    };
    let check = check
        .number("Kendall, mean", Some(mean(&of_time_kendall)))
        .number("clips", Some(clips.len() as f64))
        .decided_by(Some(voc));
    if !evidence.live() {
        return check.answer(Verdict::CannotTell, "This reward judges whole episodes: within a good one every step may be worth the same.");
    }
    let verdict = Verdict::at_least(voc.value, 0.7, 0.3);
    let sentence = match verdict {
        Verdict::Good => format!(
            "It rises as a clip goes on (rank correlation with time {:.2}).",
            voc.value
        ),
        Verdict::Doubtful => format!(
            "It rises over a clip, with long stretches that do not (rank correlation with time {:.2}).",
            voc.value
        ),
        _ => format!(
            "It does not rise while the task is being done (rank correlation with time {:.2}).",
            voc.value
        ),
    };
    check.answer(verdict, sentence)
}

pub(super) fn steps(evidence: &Evidence) -> Check {
    let check = Check::new(
        "steps",
        "Does it find the steps of the task where they are?",
        Helpful,
    );
    let (mut jaccards, mut by_order, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (sample, signal) in evidence.samples.iter().zip(&evidence.signals) {
        let (Some(found), Some(phase)) = (steps_passed(signal), &sample.phase) else {
            continue;
        };
        let steps = 1 + phase.iter().chain(&found).max().copied().unwrap_or(0);
        jaccards.extend(step_jaccard(&found, phase, steps).map(|(_, mean)| mean));
        errors.extend(boundary_error(&cuts(&found), &cuts(phase)));
        // What steps of one length would get: the right order is not yet the right place.
        let even: Vec<usize> = (1..steps).map(|k| k * phase.len() / steps).collect();
        let even = labels_from_cuts(&even, phase.len());
        by_order.extend(step_jaccard(&even, phase, steps).map(|(_, mean)| mean));
    }
    let Some(jaccard) = bootstrap_mean(&jaccards, evidence.config.seed) else {
        return check.answer(
            Verdict::CannotTell,
            "The reward has no steps, or the recordings do not say where they are.",
        );
    };
    let verdict = Verdict::at_least(jaccard.value, 0.75, 0.5);
    let sentence = match verdict {
        Verdict::Good => format!(
            "Its steps are those of the task ({:.0} % of frames shared).",
            100.0 * jaccard.value
        ),
        Verdict::Doubtful => format!(
            "Its steps are roughly those of the task ({:.0} % of frames shared).",
            100.0 * jaccard.value
        ),
        _ => format!(
            "Its steps are not those of the task ({:.0} % of frames shared).",
            100.0 * jaccard.value
        ),
    };
    let average = |v: &[f64]| (!v.is_empty()).then(|| mean(v));
    check
        .number("steps of one length", average(&by_order))
        .number("boundary error, frames", average(&errors))
        .decided_by(Some(jaccard))
        .answer(verdict, sentence)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or(String::new(), |c| c.to_uppercase().chain(letters).collect())
}
