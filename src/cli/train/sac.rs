//! `--policy sac`: practice in simulation on a reward.

use rapport::policy::{HiddenNorm, Sac, SacConfig};

use super::{Args, seed_with_demonstrations};
use crate::cli::Usage;
use crate::clips::camera_of;
use crate::labelling::Labeller;
use crate::run_dir::{self, MetricsLog};
use crate::schema;
use crate::training::{RewardSource, TrainingConfig, train};
use crate::ui::Ui;

/// Practises.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let word = args.reward.as_deref().ok_or_else(|| {
        Usage("sac needs a reward: --reward DIR, or --reward true to compare".into())
    })?;
    let learned = if word == "true" {
        None
    } else {
        Some(crate::cli::reward::open_reward(word.as_ref(), args.device)?)
    };
    let size = demonstration_size(args)?;
    // A run keeps what it practises in, as it keeps everything else.
    let kept = args.out.join("simulation.toml");
    let mut environment = args.environment.clone();
    if args.resume && environment.simulation.is_none() && kept.exists() {
        environment.simulation = Some(kept.clone());
    }
    let resolved = toml::to_string(&environment.config()?)?;
    let mut practice = environment.practice(size)?;
    let spec = schema::policy_spec(&mut practice)?;
    let mut learner = if args.resume {
        Sac::resume(&args.out)?
    } else {
        run_dir::create(&args.out, "train", args.seed, args)?;
        run_dir::write_atomically(&kept, resolved.as_bytes())?;
        let config = SacConfig {
            hidden: vec![args.hidden; 2],
            critic_norm: HiddenNorm::Layer,
            discount: args.discount,
            batch: 128,
            update_to_data: args.update_to_data,
            initial_random_steps: 500,
            demonstration_share: 0.5,
            ..SacConfig::default()
        };
        let mut learner = Sac::new(spec, config, args.seed)?;
        seed_with_demonstrations(
            args,
            learned.as_ref().map(|(reward, _)| reward),
            &mut learner,
            ui,
        )?;
        learner
    };
    let fps = practice.policy_hz();
    let mut reward = match learned {
        None => RewardSource::Truth,
        Some((reward, encoder)) => {
            RewardSource::Learned(Box::new(Labeller::new(encoder, reward.model, fps)))
        }
    };
    let config = TrainingConfig {
        steps: args.steps,
        reward_scale: args.reward_scale,
        seed: args.seed,
        ..TrainingConfig::default()
    };
    let mut log = MetricsLog::open(&args.out)?;
    let bar = ui.bar(args.steps, &format!("sac on {}", args.environment.env));
    let summary = train(
        &mut practice,
        &mut reward,
        &mut learner,
        &config,
        &args.out,
        &mut log,
        |steps, word| {
            bar.set_position(steps);
            bar.set_message(word.to_owned());
        },
    )?;
    bar.finish_and_clear();
    ui.result(&summary, || {
        let end = if summary.interrupted {
            "; stopped, go on with --resume"
        } else {
            ""
        };
        format!(
            "sac: {} steps, {} updates in {:.0} s -> {}{end}",
            summary.steps,
            summary.updates,
            summary.seconds,
            args.out.display()
        )
    })
}

/// Pictures in practice are as large as the demonstrations', so that both reach the encoder alike.
fn demonstration_size(args: &Args) -> anyhow::Result<(u32, u32)> {
    let Some(dir) = &args.dataset else {
        return Ok((112, 112));
    };
    let dataset = rapport::dataset::Dataset::open(dir)?;
    let frame = dataset.frame(
        0,
        &camera_of(&dataset, args.environment.camera.as_deref())?,
        0,
    )?;
    Ok(frame.dimensions())
}
