//! A reward put to the test in a simulator: states that no demonstration shows, and motions that are searched for.

use rapport::perception::Features;
use rapport::reward::eval::{
    Check, ClimbConfig, Found, Interval, Rung, Verdict, Weight, bootstrap_over, climb, spearman,
};
use rapport::reward::{Clip, Context, RewardError};

use super::{Args, Opened};
use crate::cli::environment::EnvironmentArgs;
use crate::evaluation::independent_states;
use crate::practice::{Practice as _, SimPractice};
use crate::station::PICTURE;
use crate::ui::Ui;

/// States where arm and object are placed independently.
const STATES: usize = 200;
/// Motions of a round of the search.
const MOTIONS: usize = 16;
/// A motion is a spline through so many actions.
const KNOTS: usize = 5;
/// Pictures scored of a motion.
const PICTURES: usize = 16;
/// Steps of a motion at most.
const MOST_STEPS: usize = 80;

/// What was found in the simulator.
pub struct InSimulator {
    /// The checks.
    pub checks: Vec<Check>,
    /// The search, round by round.
    pub motions: Vec<Rung>,
}

/// Makes the checks that need a simulator.
pub fn examine(
    opened: &mut Opened,
    environment: &EnvironmentArgs,
    args: &Args,
    ui: Ui,
) -> anyhow::Result<InSimulator> {
    let mut practice = environment.practice(PICTURE)?;
    let mut checks = Vec::new();
    if practice.arm().is_ok() {
        checks.push(independent(opened, &mut practice, args.seed)?);
    }
    let mut motions = Vec::new();
    if args.rounds > 0 {
        let (check, rungs) = search(opened, &mut practice, args, ui)?;
        checks.push(check);
        motions = rungs;
    }
    Ok(InSimulator { checks, motions })
}

/// Correlation with the truth on states where the arm is anywhere and the object anywhere else: a reward that follows the arm looks
/// fine on demonstrations, where the two move together, and falls apart here.
fn independent(
    opened: &mut Opened,
    practice: &mut SimPractice,
    seed: u64,
) -> anyhow::Result<Check> {
    let check = Check::new(
        "independent",
        "Does it look at the object, or only at the arm?",
        Weight::Essential,
    );
    if !opened.reward.model.causal() {
        return Ok(check.answer(
            Verdict::CannotTell,
            "This reward judges whole episodes, not single states.",
        ));
    }
    let (frames, truth) = independent_states(practice, STATES, seed)?;
    let features = opened.encoder.encode(&frames)?;
    let rewards = (0..features.len())
        .map(|t| Ok(score(opened, features.select(&[t]))?[0]))
        .collect::<Result<Vec<f64>, RewardError>>();
    let rewards = match rewards {
        Ok(rewards) => rewards,
        Err(error) => {
            return Ok(check.answer(
                Verdict::CannotTell,
                format!("Single states cannot be scored: {error}."),
            ));
        }
    };
    let rho = bootstrap_over(truth.len(), seed, |drawn| {
        let of = |v: &[f64]| drawn.iter().map(|&d| v[d]).collect::<Vec<_>>();
        spearman(&of(&rewards), &of(&truth))
    });
    let Some(rho) = rho else {
        return Ok(check.answer(Verdict::Bad, "It is the same for every state."));
    };
    Ok(verdict_of_states(check, rho))
}

fn verdict_of_states(check: Check, rho: Interval) -> Check {
    let verdict = Verdict::at_least(rho.value, 0.7, 0.3);
    let sentence = match verdict {
        Verdict::Good => format!(
            "With arm and object placed independently it still follows the task (rank correlation {:.2}).",
            rho.value
        ),
        Verdict::Doubtful => format!(
            "With arm and object placed independently it follows the task only roughly (rank correlation {:.2}).",
            rho.value
        ),
        _ => format!(
            "With arm and object placed independently it does not follow the task (rank correlation {:.2}): it looks at the arm. Align it with preferences.",
            rho.value
        ),
    };
    check
        .number("states", Some(STATES as f64))
        .decided_by(Some(rho))
        .answer(verdict, sentence)
}

/// Searches for the motion that the reward likes best, and watches what it is truly worth.
fn search(
    opened: &mut Opened,
    practice: &mut SimPractice,
    args: &Args,
    ui: Ui,
) -> anyhow::Result<(Check, Vec<Rung>)> {
    let check = Check::new(
        "motions",
        "Do motions that it likes do the task?",
        Weight::Essential,
    );
    let (actions, longest) = {
        let description = practice.description();
        (description.action_len(), MOST_STEPS)
    };
    let config = ClimbConfig {
        rounds: args.rounds,
        population: MOTIONS,
        elite: 0.25,
        ..ClimbConfig::default()
    };
    let bar = ui.bar((args.rounds * MOTIONS) as u64, "motions that it likes");
    let found = climb(KNOTS * actions, &config, args.seed, |z| {
        bar.inc(1);
        let motion = Motion { z, actions };
        roll(opened, practice, &motion, longest, args.seed)
            .map_err(|e| RewardError::Other(format!("{e:#}")))
    });
    bar.finish_and_clear();
    let rungs = match found {
        Ok(rungs) => rungs,
        Err(error) => {
            return Ok((
                check.answer(
                    Verdict::CannotTell,
                    format!("Motions cannot be searched for: {error}."),
                ),
                Vec::new(),
            ));
        }
    };
    let (first, last) = (rungs[0], rungs[rungs.len() - 1]);
    let peak = rungs
        .iter()
        .max_by(|a, b| a.truth.total_cmp(&b.truth))
        .unwrap_or(&last);
    let range = rungs
        .iter()
        .fold(0.0f64, |m, r| m.max((r.truth - first.truth).abs()))
        .max(1e-12);
    let (gained, lost) = (last.truth - first.truth, peak.truth - last.truth);
    let check = check
        .number("truth before", Some(first.truth))
        .number("truth after", Some(last.truth))
        .number("reward gained", Some(last.proxy - first.proxy))
        .number("pressure, nats", Some(last.kl));
    let (verdict, sentence) = if last.proxy <= first.proxy {
        (
            Verdict::CannotTell,
            "The search found no motion that it likes better.".to_owned(),
        )
    } else if gained < -0.1 * range {
        (
            Verdict::Bad,
            format!(
                "Motions that it likes better do the task worse: truth {:.3} to {:.3} while the reward rose.",
                first.truth, last.truth
            ),
        )
    } else if lost > 0.5 * range {
        (
            Verdict::Doubtful,
            format!(
                "Pushed beyond {:.1} nats it is gamed: the truth falls while the reward rises.",
                peak.kl
            ),
        )
    } else {
        (
            Verdict::Good,
            format!(
                "Motions that it likes better do the task better (truth {:.3} to {:.3}).",
                first.truth, last.truth
            ),
        )
    };
    Ok((check.answer(verdict, sentence), rungs))
}

/// Actions over time: straight lines between knots, squashed into -1..1.
struct Motion<'a> {
    z: &'a [f64],
    actions: usize,
}

impl Motion<'_> {
    /// The action at a part 0..1 of the motion.
    fn at(&self, part: f64) -> Vec<f32> {
        let place = part.clamp(0.0, 1.0) * (KNOTS - 1) as f64;
        let knot = (place as usize).min(KNOTS - 2);
        let mix = place - knot as f64;
        (0..self.actions)
            .map(|a| {
                let of = |k: usize| self.z[k * self.actions + a];
                ((1.0 - mix) * of(knot) + mix * of(knot + 1)).tanh() as f32
            })
            .collect()
    }
}

/// One motion from the same start: its mean reward, and its mean true reward.
fn roll(
    opened: &mut Opened,
    practice: &mut SimPractice,
    motion: &Motion,
    longest: usize,
    seed: u64,
) -> anyhow::Result<Found> {
    practice.reset(seed)?;
    let every = longest.div_ceil(PICTURES);
    let (mut frames, mut truths) = (Vec::new(), Vec::new());
    for step in 0..longest {
        let outcome = practice.step(&motion.at(step as f64 / (longest - 1) as f64))?;
        truths.push(outcome.truth.map_or(0.0, |t| t.reward));
        let over = outcome.terminated || outcome.truncated;
        if step % every == every - 1 || over {
            frames.push(practice.picture()?);
        }
        if over {
            break;
        }
    }
    let features = opened.encoder.encode(&frames)?;
    let rewards = score(opened, features)?;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    Ok(Found {
        proxy: mean(&rewards),
        truth: mean(&truths),
        strangeness: 0.0,
    })
}

fn score(opened: &Opened, features: Features) -> Result<Vec<f64>, RewardError> {
    let clip = Clip::from_features(features, 1.0);
    let signal = opened
        .reward
        .score(opened.encoder.spec(), &clip, &Context::default())?;
    Ok(signal.per_step)
}
