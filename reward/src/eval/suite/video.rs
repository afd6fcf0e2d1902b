//! Videos that were tampered with: backwards, frozen, with a fault, with frames of another.

use super::evidence::Evidence;
use crate::eval::corruption::locate;
use crate::eval::interval::{bootstrap_mean, wilson};
use crate::eval::outcome::{Judged, judge};
use crate::eval::playback::{Played, play};
use crate::eval::sample::{Sample, mean};
use crate::eval::verdict::Weight::{Essential, Helpful};
use crate::eval::verdict::{Check, Verdict};
use crate::model::{RewardError, Signal};

const NOTHING_PROGRESSES: &str = "In none of these clips does the task get nearer to done.";

fn played(evidence: &Evidence) -> Result<Vec<Played>, RewardError> {
    let clips = evidence.progressing();
    let samples: Vec<&Sample> = clips.iter().map(|&i| &evidence.samples[i]).collect();
    let signals: Vec<&Signal> = clips.iter().map(|&i| &evidence.signals[i]).collect();
    play(evidence.model, &samples, &signals)
}

pub(super) fn backwards(evidence: &Evidence) -> Check {
    let check = Check::new(
        "backwards",
        "Does it notice a video played backwards?",
        Essential,
    );
    let played = match played(evidence) {
        Ok(played) if played.is_empty() => {
            return check.answer(Verdict::CannotTell, NOTHING_PROGRESSES);
        }
        Ok(played) => played,
        Err(error) => {
            return check.answer(
                Verdict::CannotTell,
                format!("A reversed video cannot be scored: {error}."),
            );
        }
    };
    let of = |pick: fn(&Played) -> f64| played.iter().map(pick).collect::<Vec<_>>();
    let forwards = mean(&of(|p| p.forwards.unwrap_or(0.0)));
    let backwards = mean(&of(|p| p.backwards.unwrap_or(0.0)));
    let direction = of(Played::direction);
    let prefers = of(Played::prefers_forwards);
    let check = check
        .number("rank correlation with time, as recorded", Some(forwards))
        .number("rank correlation with time, backwards", Some(backwards))
        .number("worth more forwards, share of clips", Some(mean(&prefers)));
    let seed = evidence.config.seed;
    if evidence.live() {
        let Some(found) = bootstrap_mean(&direction, seed) else {
            return check;
        };
        let verdict = Verdict::at_least(found.value, 0.5, 0.2);
        let sentence = match verdict {
            Verdict::Good => format!(
                "It falls when the video is played backwards, as it should (rank correlation with time {backwards:.2}, and {forwards:.2} forwards)."
            ),
            _ if backwards > 0.3 => format!(
                "The reward rises when the video is played backwards (rank correlation with time {backwards:.2}): it does not know the direction of time."
            ),
            Verdict::Doubtful => format!(
                "It tells forwards from backwards only weakly (rank correlation with time {forwards:.2} and {backwards:.2})."
            ),
            _ => format!(
                "It can hardly tell a video from the same video played backwards (rank correlation with time {forwards:.2} and {backwards:.2})."
            ),
        };
        check.decided_by(Some(found)).answer(verdict, sentence)
    } else {
        let Some(found) = bootstrap_mean(&prefers, seed) else {
            return check;
        };
        let equal = prefers.iter().filter(|p| **p == 0.5).count();
        let verdict = Verdict::at_least(found.value, 0.9, 0.7);
        let sentence = match verdict {
            Verdict::Good => format!("A video is worth more than the same video played backwards ({:.0} of 100).", 100.0 * found.value),
            _ if 2 * equal > prefers.len() => "A video played backwards is worth as much as the video: the reward does not know the direction of time. For a transport reward, give time a weight.".into(),
            _ => format!("A video is worth more than the same video played backwards in only {:.0} of 100 cases.", 100.0 * found.value),
        };
        check.decided_by(Some(found)).answer(verdict, sentence)
    }
}

pub(super) fn frozen(evidence: &Evidence) -> Check {
    let check = Check::new("frozen", "Does it notice when nothing moves?", Essential);
    let played = match played(evidence) {
        Ok(played) if played.is_empty() => {
            return check.answer(Verdict::CannotTell, NOTHING_PROGRESSES);
        }
        Ok(played) => played,
        Err(error) => {
            return check.answer(
                Verdict::CannotTell,
                format!("A frozen video cannot be scored: {error}."),
            );
        }
    };
    let passes: Vec<f64> = played
        .iter()
        .map(|p| {
            if evidence.live() {
                f64::from(u8::from(p.needs_movement()))
            } else {
                p.prefers_moving()
            }
        })
        .collect();
    let of = |pick: fn(&Played) -> f64| mean(&played.iter().map(pick).collect::<Vec<_>>());
    let (rise, frozen_rise) = (of(|p| p.rise), of(|p| p.frozen_rise));
    let check = check
        .number("rise over the video, deviations", Some(rise))
        .number("rise over the frozen video, deviations", Some(frozen_rise))
        .number(
            "worth more moving, share of clips",
            Some(of(Played::prefers_moving)),
        );
    let Some(share) = bootstrap_mean(&passes, evidence.config.seed) else {
        return check;
    };
    let verdict = Verdict::at_least(share.value, 0.9, 0.6);
    let percent = 100.0 * share.value;
    let sentence = match verdict {
        Verdict::Good if evidence.live() => "It does not rise over a frozen picture.".to_owned(),
        Verdict::Good => "Doing the task is worth more than not moving at all.".into(),
        _ if evidence.live() && frozen_rise > 0.25 * rise.max(0.0) && frozen_rise > 0.1 => {
            "The reward rises although nothing moves: it counts time, not progress.".into()
        }
        _ if evidence.live() => format!(
            "In only {percent:.0} of 100 clips does the reward rise from beginning to end and stay where it is when the picture is frozen."
        ),
        _ => format!(
            "Doing the task is worth more than not moving at all in only {percent:.0} of 100 clips."
        ),
    };
    check.decided_by(Some(share)).answer(verdict, sentence)
}

fn judged(evidence: &Evidence) -> Result<Judged, RewardError> {
    judge(evidence.model, &evidence.samples, &evidence.signals)
}

pub(super) fn outcome(evidence: &Evidence) -> Check {
    let check = Check::new(
        "outcome",
        "Does it know a success from a failure by its end?",
        Helpful,
    );
    let judged = match judged(evidence) {
        Ok(judged) => judged,
        Err(error) => return check.answer(Verdict::CannotTell, error.to_string()),
    };
    let (good, poor) = judged.outcomes;
    let check = check
        .number("successes", Some(good as f64))
        .number("failures", Some(poor as f64))
        .number("area under the curve", judged.outcome);
    let Some(area) = judged.outcome else {
        let lacking = match (good, poor) {
            (0, 0) => "The recordings do not say which clips succeeded (a column next.success).",
            (0, _) => "All clips failed; it takes both to tell.",
            _ => "All clips succeeded; record some that fail.",
        };
        return check.answer(Verdict::CannotTell, lacking);
    };
    if good.min(poor) < 3 {
        return check.answer(
            Verdict::CannotTell,
            format!("{good} successes and {poor} failures are too few; record at least 3 of each."),
        );
    }
    let verdict = Verdict::at_least(area, 0.85, 0.65);
    let percent = 100.0 * area;
    check.answer(verdict, match verdict {
        Verdict::Good => format!("A success ends on a higher reward than a failure in {percent:.0} of 100 cases."),
        Verdict::Doubtful => format!("A success ends on a higher reward than a failure in only {percent:.0} of 100 cases (a coin: 50)."),
        _ => format!("The end of a clip does not tell whether it succeeded: a success ends higher than a failure in {percent:.0} of 100 cases (a coin: 50)."),
    })
}

pub(super) fn process(evidence: &Evidence) -> Check {
    let check = Check::new(
        "process",
        "Does it see a fault on the way that the end does not show?",
        Helpful,
    );
    let judged = match judged(evidence) {
        Ok(judged) if judged.faults == 0 => {
            return check.answer(Verdict::CannotTell, NOTHING_PROGRESSES);
        }
        Ok(judged) => judged,
        Err(error) => {
            return check.answer(
                Verdict::CannotTell,
                format!("A video with a fault cannot be scored: {error}."),
            );
        }
    };
    let within = (!judged.process.is_empty()).then(|| mean(&judged.process));
    let seen = wilson(judged.seen_by_process, judged.faults);
    let share = judged.seen_by_process as f64 / judged.faults as f64;
    let at_end = judged.seen_by_outcome as f64 / judged.faults as f64;
    let verdict = Verdict::at_least(share, 0.8, 0.4);
    let percent = 100.0 * share;
    check
        .number("seen over the whole clip, share", Some(share))
        .number("seen in its last fifth, share", Some(at_end))
        .number("rank correlation with the truth within clips", within)
        .decided_by(seen)
        .answer(verdict, match verdict {
            Verdict::Good => format!("Work undone and done again in the middle of a clip costs reward ({percent:.0} of 100 clips)."),
            _ => format!("Work undone and done again in the middle of a clip costs reward in only {percent:.0} of 100 clips: it looks at the end, or at nothing."),
        })
}

pub(super) fn corruption(evidence: &Evidence) -> Check {
    let check = Check::new(
        "corruption",
        "Does it show where a good clip was spoilt?",
        Helpful,
    );
    let clips = evidence.progressing();
    let samples: Vec<&Sample> = clips
        .iter()
        .map(|&i| &evidence.samples[i])
        .filter(|s| s.success != Some(false))
        .collect();
    let config = &evidence.config.corruption;
    let found = match locate(evidence.model, &samples, config, evidence.config.seed) {
        Ok(Some(found)) => found,
        Ok(None) => {
            return check.answer(
                Verdict::CannotTell,
                format!(
                    "It takes two good clips of at least {} frames.",
                    4 * config.frames
                ),
            );
        }
        Err(error) => {
            return check.answer(
                Verdict::CannotTell,
                format!("A spoilt video cannot be scored: {error}."),
            );
        }
    };
    let share = |n: usize| n as f64 / found.trials as f64;
    let best = found.by_minimum.max(found.by_dip);
    let located = wilson(best, found.trials);
    let verdict = Verdict::at_least(share(best), 0.9, 0.5);
    let percent = 100.0 * share(best);
    check
        .number("least reward inside, share", Some(share(found.by_minimum)))
        .number("deepest dip inside, share", Some(share(found.by_dip)))
        .number("trials", Some(found.trials as f64))
        .decided_by(located)
        .answer(verdict, match verdict {
            Verdict::Good => format!("Where frames of another clip were put in, the reward dips ({percent:.0} of 100)."),
            _ => format!("Frames of another clip put into a good one show as a dip of the reward in only {percent:.0} of 100 cases."),
        })
}
