//! Cheap practice for the search: the cross-entropy method over open-loop motions in an environment, or a choice among recorded
//! episodes.

use image::RgbImage;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::Features;
use rapport::reward::program::search::{Brief, Column, Practice as Practising};
use rapport::reward::{Clip, Context, ProgramReward, RewardError, RewardModel as _};

use crate::clips::Library;
use crate::interrupt;
use crate::practice::{Practice as _, SimPractice};
use crate::schema::{ACTION, STATE};

/// What a policy did.
#[derive(Clone, Debug)]
pub struct Played {
    /// As reward models see it.
    pub clip: Clip,
    /// What the task itself pays for it, where that is known.
    pub truth: Option<f64>,
    /// Pictures spread over it.
    pub pictures: Vec<RgbImage>,
    /// What it is, in a word.
    pub title: String,
}

/// How much practice a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Effort {
    /// Rounds of the cross-entropy method.
    pub iterations: usize,
    /// Motions tried in each.
    pub samples: usize,
    /// Steps of a motion.
    pub steps: usize,
    /// Points between which a motion is interpolated.
    pub knots: usize,
}

/// Pictures of a rollout.
const PICTURES: usize = 6;

/// An environment in which motions are tried.
pub struct Simulated {
    practice: SimPractice,
    effort: Effort,
    seed: u64,
}

impl Simulated {
    /// Motions of at most the environment's own length. `seed` decides the episode and all chance.
    pub fn new(practice: SimPractice, mut effort: Effort, seed: u64) -> Self {
        effort.steps = effort.steps.min(practice.description().max_steps).max(2);
        effort.knots = effort.knots.clamp(2, effort.steps);
        Self {
            practice,
            effort,
            seed,
        }
    }

    /// What programs may use here.
    pub fn brief(&self, task: Option<&str>) -> Brief {
        let description = self.practice.description();
        let columns = vec![
            Column {
                name: STATE.into(),
                parts: description.observation.clone(),
            },
            Column {
                name: ACTION.into(),
                parts: (0..description.action_len())
                    .map(|i| format!("action {i}"))
                    .collect(),
            },
        ];
        Brief::new(task.unwrap_or(&description.instruction), columns)
    }

    /// Plays a motion given by its knots, `[knots * action_dim]`.
    fn play(&mut self, knots: &[f64], with_pictures: Pictures) -> anyhow::Result<Played> {
        let (effort, practice) = (self.effort, &mut self.practice);
        let width = practice.description().action_len();
        let fps = practice.description().policy_hz;
        let has_camera = !practice.description().cameras.is_empty();
        let steps = effort.steps;
        let (mut states, mut actions, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
        let (mut truth, mut dim) = (0.0, 0);
        practice.reset(self.seed)?;
        for t in 0..steps {
            let place = t as f64 * (effort.knots - 1) as f64 / (steps - 1) as f64;
            let before = (place as usize).min(effort.knots - 2);
            let share = place - before as f64;
            let action: Vec<f32> = (0..width)
                .map(|k| {
                    let (a, b) = (knots[before * width + k], knots[(before + 1) * width + k]);
                    (a + share * (b - a)).clamp(-1.0, 1.0) as f32
                })
                .collect();
            let outcome = practice.step(&action)?;
            dim = outcome.observation.len();
            states.extend(outcome.observation);
            actions.extend(action);
            if let Some(step) = outcome.truth {
                truth += step.reward;
            }
            let wanted = pictures.len() * (steps - 1) / (PICTURES - 1);
            let over = outcome.terminated || outcome.truncated || t + 1 == steps;
            if with_pictures == Pictures::Some
                && has_camera
                && pictures.len() < PICTURES
                && (t >= wanted || over)
            {
                pictures.push(practice.picture()?);
            }
            if over {
                break;
            }
        }
        let mut clip = Clip {
            fps,
            ..Clip::default()
        };
        if dim > 0 {
            clip.columns
                .insert(STATE.into(), Features::new(dim, states));
        }
        clip.columns
            .insert(ACTION.into(), Features::new(width, actions));
        Ok(Played {
            clip,
            truth: Some(truth),
            pictures,
            title: "a motion".into(),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pictures {
    None,
    Some,
}

impl Practising for Simulated {
    type Rollout = Played;

    fn practise(&mut self, reward: &ProgramReward) -> Result<Played, RewardError> {
        let failed = |e: anyhow::Error| RewardError::Other(format!("{e:#}"));
        let width = self.practice.description().action_len();
        let size = self.effort.knots * width;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let (mut mean, mut deviation) = (vec![0.0; size], vec![0.5; size]);
        let elite = (self.effort.samples / 5).max(2).min(self.effort.samples);
        for _ in 0..self.effort.iterations {
            let mut tried = Vec::new();
            for sample in 0..self.effort.samples {
                if interrupt::requested() {
                    return Err(RewardError::Other(
                        "stopped; the rounds so far are kept".into(),
                    ));
                }
                // The mean itself is tried too.
                let share = f64::from(sample > 0);
                let knots: Vec<f64> = (0..size)
                    .map(|k| (mean[k] + share * deviation[k] * normal(&mut rng)).clamp(-1.0, 1.0))
                    .collect();
                let played = self.play(&knots, Pictures::None).map_err(failed)?;
                tried.push((
                    reward.score(&played.clip, &Context::default())?.total(),
                    knots,
                ));
            }
            tried.sort_by(|a, b| b.0.total_cmp(&a.0));
            for k in 0..size {
                let best = || tried[..elite].iter().map(|(_, knots)| knots[k]);
                mean[k] = best().sum::<f64>() / elite as f64;
                let variance = best().map(|v| (v - mean[k]).powi(2)).sum::<f64>() / elite as f64;
                deviation[k] = variance.sqrt() + 0.02;
            }
        }
        self.play(&mean, Pictures::Some).map_err(failed)
    }

    fn clip<'a>(&self, rollout: &'a Played) -> &'a Clip {
        &rollout.clip
    }
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (
        rng.random_range(f64::EPSILON..1.0),
        rng.random_range(0.0..1.0),
    );
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Recorded episodes: what a program would bring about is the episode that it scores highest, per step.
pub struct Recorded {
    episodes: Vec<Played>,
}

impl Recorded {
    /// All episodes of a dataset, with the sum of the column `truth` as what the task pays.
    pub fn new(library: &Library, camera: &str, truth: &str) -> anyhow::Result<Self> {
        let dataset = library.dataset();
        let episodes = (0..dataset.len()).map(|episode| {
            let clip = library.clip(episode)?;
            let sum = clip
                .columns
                .get(truth)
                .map(|c| c.as_slice().iter().map(|&v| f64::from(v)).sum());
            let length = clip.len();
            let pictures = (0..PICTURES.min(length))
                .map(|i| Ok(dataset.frame(episode, camera, i * (length - 1) / (PICTURES - 1))?))
                .collect::<anyhow::Result<_>>()?;
            Ok(Played {
                clip,
                truth: sum,
                pictures,
                title: format!("episode {episode}"),
            })
        });
        Ok(Self {
            episodes: episodes.collect::<anyhow::Result<_>>()?,
        })
    }

    /// What programs may use here: every column but those that hold the truth.
    pub fn brief(&self, task: &str) -> Brief {
        let columns = self.episodes.first().map(|e| &e.clip.columns);
        let columns = columns
            .into_iter()
            .flatten()
            .filter(|(name, _)| !name.starts_with("truth.") && !name.starts_with("next."));
        let columns = columns.map(|(name, column)| Column {
            name: name.clone(),
            parts: vec![String::new(); column.dim()],
        });
        Brief::new(task, columns.collect())
    }
}

impl Practising for Recorded {
    type Rollout = Played;

    fn practise(&mut self, reward: &ProgramReward) -> Result<Played, RewardError> {
        let mut best: Option<(f64, &Played)> = None;
        for episode in &self.episodes {
            let signal = reward.score(&episode.clip, &Context::default())?;
            let mean = signal.total() / signal.per_step.len() as f64;
            if best.is_none_or(|(most, _)| mean > most) {
                best = Some((mean, episode));
            }
        }
        match best {
            Some((_, episode)) => Ok(episode.clone()),
            None => Err(RewardError::Other("the dataset has no episode".into())),
        }
    }

    fn clip<'a>(&self, rollout: &'a Played) -> &'a Clip {
        &rollout.clip
    }
}
