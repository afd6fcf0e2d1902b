//! The learners of `--policy sac`, `td3`, `ppo` and `drq`, as the command line asks for them.

use std::path::Path;

use rapport::policy::{
    AdamConfig, Drq, DrqConfig, HiddenNorm, LearnedImitation, ObservationScaling, PolicySpec, Ppo,
    PpoConfig, PriorityConfig, Sac, SacConfig, Td3, Td3Config,
};

use super::{Norm, Scaling};
use crate::cli::Usage;
use crate::cli::train::{Args, Learner};
use crate::pictures::PictureSpec;

/// A learner with what the command line asks for.
pub(super) fn fresh(
    args: &Args,
    spec: PolicySpec,
) -> anyhow::Result<Box<dyn rapport::policy::Learner>> {
    let options = &args.online;
    let hidden = vec![args.hidden; 2];
    let critic_norm = match options.critic_norm {
        Norm::None => HiddenNorm::None,
        Norm::Layer => HiddenNorm::Layer,
    };
    let adam = AdamConfig {
        learning_rate: options.learning_rate,
        ..Default::default()
    };
    let observation_scaling = match options.scaling {
        Scaling::Running => ObservationScaling::Running,
        Scaling::None => ObservationScaling::None,
    };
    let priority = options.prioritised.then(PriorityConfig::default);
    Ok(match args.policy {
        Learner::Ppo => {
            let usual = PpoConfig::default();
            let adam = |usual: &AdamConfig| AdamConfig {
                learning_rate: options.learning_rate,
                ..usual.clone()
            };
            let config = PpoConfig {
                hidden,
                discount: args.discount,
                batch: options.batch,
                horizon: options.horizon,
                observation_scaling,
                actor_adam: adam(&usual.actor_adam),
                value_adam: adam(&usual.value_adam),
                ..usual
            };
            config.validate().map_err(|e| Usage(e.to_string()))?;
            Box::new(Ppo::new(spec, config, args.seed)?)
        }
        Learner::Drq => {
            let own = PictureSpec::of(&spec)?.map_or(0, |pictures| pictures.own);
            let usual = DrqConfig::default();
            let config = DrqConfig {
                side: (spec.observation_dim.saturating_sub(own) / 3).isqrt(),
                own,
                hidden,
                discount: args.discount,
                n_step: options.n_step.unwrap_or(usual.n_step),
                batch: options.batch,
                update_to_data: args.update_to_data,
                initial_random_steps: options.random_steps,
                noise_steps: args.steps / 2,
                adam,
                ..usual
            };
            config.validate(&spec).map_err(|e| {
                Usage(format!(
                    "{e}; give --pictures pixels@SIDE, such as pixels@48"
                ))
            })?;
            Box::new(Drq::new(spec, config, args.seed)?)
        }
        Learner::Td3 => {
            let config = Td3Config {
                hidden,
                critic_norm,
                discount: args.discount,
                batch: options.batch,
                update_to_data: args.update_to_data,
                initial_random_steps: options.random_steps,
                n_step: options.n_step.unwrap_or(1),
                priority,
                observation_scaling,
                actor_adam: adam.clone(),
                critic_adam: adam,
                ..Td3Config::default()
            };
            config.validate().map_err(|e| Usage(e.to_string()))?;
            Box::new(Td3::new(spec, config, args.seed)?)
        }
        _ => {
            let (learned_imitation, behaviour_cloning_weight) = imitation(args)?;
            let config = SacConfig {
                hidden,
                critic_norm,
                learned_imitation,
                behaviour_cloning_weight,
                discount: args.discount,
                batch: options.batch,
                update_to_data: args.update_to_data,
                initial_random_steps: options.random_steps,
                initial_temperature: options.temperature,
                n_step: options.n_step.unwrap_or(1),
                priority,
                observation_scaling,
                actor_adam: adam.clone(),
                critic_adam: adam.clone(),
                temperature_adam: adam,
                ..SacConfig::default()
            };
            config.validate().map_err(|e| Usage(e.to_string()))?;
            Box::new(Sac::new(spec, config, args.seed)?)
        }
    })
}

/// How much the actor copies demonstrations: learned, or this much.
fn imitation(args: &Args) -> anyhow::Result<(Option<LearnedImitation>, f64)> {
    let Some(word) = args.online.imitation.as_deref() else {
        return Ok((None, 0.0));
    };
    if args.dataset.is_none() {
        return Err(
            Usage("--imitation copies demonstrations: give them with --dataset".into()).into(),
        );
    }
    if word == "learned" {
        return Ok((Some(LearnedImitation::default()), 0.0));
    }
    let weight = word.parse().map_err(|_| {
        Usage(format!(
            "--imitation {word} is neither a weight nor the word learned"
        ))
    })?;
    Ok((None, weight))
}

/// A learner as it was saved.
pub(super) fn resume(
    policy: Learner,
    dir: &Path,
) -> anyhow::Result<Box<dyn rapport::policy::Learner>> {
    Ok(match policy {
        Learner::Ppo => Box::new(Ppo::resume(dir)?),
        Learner::Td3 => Box::new(Td3::resume(dir)?),
        Learner::Drq => Box::new(Drq::resume(dir)?),
        _ => Box::new(Sac::resume(dir)?),
    })
}
