//! `--policy iql`: learning from recorded episodes alone.

use rapport::policy::{AdamConfig, Iql, IqlConfig, Learner as _};

use super::{Args, labelled_demonstrations};
use crate::cli::Usage;
use crate::interrupt;
use crate::run_dir::{self, MetricsLog};
use crate::schema;
use crate::ui::Ui;

/// Updates between two lines of `metrics.jsonl`.
const LOG_EVERY: u64 = 100;
/// Updates between two checkpoints.
const SAVE_EVERY: u64 = 5_000;
/// Updates, if nobody says how many.
const UPDATES: u64 = 20_000;

/// Learns from recorded episodes.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
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
        dir => Some(crate::cli::reward::open_reward(dir.as_ref(), args.device)?),
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
            offline_updates: args.updates.unwrap_or(UPDATES),
            actor_adam: adam.clone(),
            critic_adam: adam.clone(),
            value_adam: adam,
            ..IqlConfig::default()
        };
        let mut learner = Iql::new(spec, config, args.seed)?;
        let reward = learned.as_ref().map(|(reward, _)| reward);
        for episode in labelled_demonstrations(args, reward, learner.spec(), ui)? {
            learner.observe_demonstration(&episode)?;
        }
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
