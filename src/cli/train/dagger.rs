//! `--policy dagger`: copying in rounds, an expert saying what to do where the policy itself ends up.

use rapport::policy::dagger::Beta;
use rapport::policy::{BcConfig, Dagger, DaggerConfig};
use rapport::sim::{Script, ScriptConfig};
use serde::{Deserialize, Serialize};

use super::Args;
use super::copying::STOPPED;
use crate::interrupt;
use crate::practice::Practice as _;
use crate::run_dir::{self, MetricsLog};
use crate::schema;
use crate::training::episode_seed;
use crate::ui::Ui;

/// Settings of `dagger`.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct DaggerArgs {
    /// Rounds of practising under the expert's eyes and copying everything so far (`dagger`).
    #[arg(long, default_value_t = 5)]
    pub rounds: u64,
    /// Episodes of a round (`dagger`).
    #[arg(long, default_value_t = 10)]
    pub round_episodes: u64,
}

/// Practises and copies by turns. The expert is the task's scripted operator, with a steady hand.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let mut practice = args.environment.practice((32, 32))?;
    let spec = schema::policy_spec(&mut practice)?;
    let task = practice.arm()?.task().clone();
    let steady = ScriptConfig {
        noise: 0.0,
        ..ScriptConfig::default()
    };
    let mut expert = Script::new(task, steady, args.seed);
    let config = DaggerConfig {
        beta: Beta::FirstOnly,
        cloning: BcConfig {
            hidden: vec![args.hidden; 2],
            loss: args.loss.of_bc(),
            ..BcConfig::default()
        },
        ..DaggerConfig::default()
    };
    // What is done in a round is kept at its end; a round that was broken off is played anew.
    let mut dagger = if args.resume {
        Dagger::resume(&args.out, spec, config, args.seed)?
    } else {
        run_dir::create(&args.out, "train", args.seed, args)?;
        Dagger::new(spec, config, args.seed)?
    };
    let mut log = MetricsLog::open(&args.out)?;
    let rounds = args.dagger.rounds;
    let bar = ui.bar(rounds * args.dagger.round_episodes, "rounds with an expert");
    let played = dagger.interventions();
    let (mut episodes, mut steps) = (
        played.len() as u64,
        played.iter().map(|i| i.steps as usize).sum::<usize>(),
    );
    bar.set_position(episodes);
    while dagger.round() < rounds && !interrupt::requested() {
        let mut successes = 0;
        for _ in 0..args.dagger.round_episodes {
            if interrupt::requested() {
                break;
            }
            let seed = episode_seed(args.seed, episodes);
            let mut observation = practice.reset(seed)?;
            expert.reset(seed);
            dagger.reset();
            let mut episode = Vec::new();
            let success = loop {
                let said = expert.action(&practice.arm()?.reading()?);
                let step = dagger.act(&observation, &said)?;
                let outcome = practice.step(&step.action)?;
                episode.push(step);
                observation = outcome.observation;
                if outcome.terminated || outcome.truncated {
                    break outcome.truth.is_some_and(|truth| truth.success);
                }
            };
            dagger.observe(&episode)?;
            episodes += 1;
            steps += episode.len();
            successes += usize::from(success);
            bar.inc(1);
        }
        if interrupt::requested() {
            break;
        }
        let round = dagger.round();
        let report = dagger.train()?;
        log.write(&serde_json::json!({
            "round": round, "episodes": episodes, "steps": steps, "successes": successes, "validation_loss": report.validation_loss,
        }))?;
        bar.set_message(format!(
            "{successes} of {} succeed",
            args.dagger.round_episodes
        ));
        dagger.save(&args.out)?;
    }
    bar.finish_and_clear();
    let left = rounds - dagger.round();
    let summary = serde_json::json!({ "rounds": dagger.round(), "episodes": episodes, "steps": steps, "interrupted": left > 0 });
    ui.result(&summary, || {
        format!(
            "dagger: {} rounds, {episodes} episodes -> {}{}",
            dagger.round(),
            args.out.display(),
            if left > 0 { STOPPED } else { "" }
        )
    })
}
