//! Learning from recorded episodes alone: `iql`, and what a reward says about the steps that `bc` copies.

use anyhow::Context as _;
use rapport::policy::{AdamConfig, Iql, IqlConfig, Learner as _};
use rapport::reward::progress::ra_bc::{RaBc, RaBcConfig};

use super::{Args, seed_with_demonstrations};
use crate::cli::Usage;
use crate::clips::Library;
use crate::interrupt;
use crate::run_dir::{self, MetricsLog};
use crate::schema;
use crate::ui::Ui;

/// Updates between two lines of `metrics.jsonl`.
const LOG_EVERY: u64 = 100;
/// Updates between two checkpoints.
const SAVE_EVERY: u64 = 5_000;
/// Steps ahead that progress is compared over: two seconds at the usual rate, as recordings here last a few.
const AHEAD: usize = 20;

/// `rapport train --policy iql`.
pub fn iql(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.dataset.is_none() {
        return Err(
            Usage("iql learns from recorded episodes: give them with --dataset".into()).into(),
        );
    }
    let word = args.reward.as_deref().ok_or_else(|| {
        Usage("iql needs a reward: --reward DIR, or --reward true for the recorded one".into())
    })?;
    let learned = match word {
        "true" => None,
        dir => Some(super::super::reward::open_reward(
            dir.as_ref(),
            args.device,
        )?),
    };
    let mut learner = if args.resume {
        Iql::resume(&args.out)?
    } else {
        let mut practice = args.environment.practice((32, 32))?;
        let spec = schema::policy_spec(&mut practice)?;
        let adam = AdamConfig::default();
        let config = IqlConfig {
            hidden: vec![args.hidden; 2],
            discount: args.discount,
            batch: 128,
            offline_updates: args.updates,
            actor_adam: adam.clone(),
            critic_adam: adam.clone(),
            value_adam: adam,
            ..IqlConfig::default()
        };
        let mut learner = Iql::new(spec, config, args.seed)?;
        let reward = learned.as_ref().map(|(reward, _)| reward);
        seed_with_demonstrations(args, reward, &mut learner, ui)?;
        run_dir::create(&args.out, "train", args.seed, args)?;
        learner
    };
    let bar = ui.bar(learner.config().offline_updates, "iql on recorded episodes");
    let mut log = MetricsLog::open(&args.out)?;
    while learner.updates_due() > 0 && !interrupt::requested() {
        let metrics = learner.update()?;
        let done = learner.updates();
        bar.set_position(done);
        if done.is_multiple_of(LOG_EVERY) {
            log.write(&serde_json::json!({ "updates": done, "update": metrics }))?;
        }
        if done.is_multiple_of(SAVE_EVERY) {
            learner.save(&args.out)?;
        }
    }
    bar.finish_and_clear();
    learner.save(&args.out)?;
    let (updates, steps, left) = (
        learner.updates(),
        learner.replay().len(),
        learner.updates_due(),
    );
    let summary =
        serde_json::json!({ "recorded_steps": steps, "updates": updates, "interrupted": left > 0 });
    ui.result(&summary, || {
        let end = if left > 0 {
            "; stopped, go on with --resume"
        } else {
            ""
        };
        format!(
            "iql: {steps} recorded steps, {updates} updates -> {}{end}",
            args.out.display()
        )
    })
}

/// How much each step of the demonstrations counts, by episode and action: RA-BC's weights of the progress that a reward sees.
/// None without `--reward`.
pub fn weights(args: &Args, ui: Ui) -> anyhow::Result<Option<Vec<Vec<f32>>>> {
    let Some(word) = args.reward.as_deref() else {
        return Ok(None);
    };
    if word == "true" {
        return Err(Usage(
            "bc weighs steps by a learned reward: give its directory with --reward, or none".into(),
        )
        .into());
    }
    let dir = args.dataset.as_deref().context("no --dataset")?;
    let (reward, mut encoder) = super::super::reward::open_reward(word.as_ref(), args.device)?;
    let camera = args.environment.camera.as_deref();
    let library = Library::encode(dir, camera, &mut *encoder, ui)?;
    let progress = (0..library.dataset().len())
        .map(|episode| {
            let clip = library.clip(episode)?;
            Ok(reward.model.score(&clip, &Default::default())?.per_step)
        })
        .collect::<anyhow::Result<Vec<Vec<f64>>>>()?;
    let config = RaBcConfig {
        chunk: AHEAD,
        ..RaBcConfig::default()
    };
    let weigher = RaBc::fit(&progress, &config)?;
    // The last row is what the last action led to.
    let weights = progress.iter().map(|progress| {
        let all = weigher.weights(progress);
        let actions = all.len().saturating_sub(1);
        all[..actions].iter().map(|&w| w as f32).collect()
    });
    Ok(Some(weights.collect()))
}
