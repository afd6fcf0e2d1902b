//! [`CausalProgress`]: how far along the task is, from the frames so far (ReWiND, Zhang et al., arXiv 2505.10911; with stages
//! as SARM, Chen et al., arXiv 2509.25358, whose stages people name and ours are found without labels).

use burn::module::Module as _;
use burn::tensor::activation::{log_softmax, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::rewind::Window;
use super::stages::{Stages, Standing, standing};
use super::transformer::{CausalTransformer, Shape};
use super::{Standard, check_clips, spread};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::network::{self, Descent, training_device, values};
use crate::steps::SegmentationConfig;
use crate::store::{Parts, StoredReward, Tensors, prefixed};

/// Stretches scored in one go.
const AT_ONCE: usize = 64;

/// Settings of a [`CausalProgress`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgressConfig {
    /// Width of the transformer. ReWiND: 512.
    pub width: usize,
    /// Heads of its attention; they share the width. ReWiND: 8.
    pub heads: usize,
    /// Its layers. ReWiND: 4.
    pub layers: usize,
    /// Frames seen at once, spread over all so far. ReWiND: 16.
    pub frames: usize,
    /// Steps down the gradient.
    pub steps: usize,
    /// Stretches in a batch. ReWiND: 1024.
    pub batch: usize,
    /// Adam's step size at the start, from where it falls along half a cosine. ReWiND: 1e-4.
    pub rate: f64,
    /// Step size at the end. ReWiND: 1e-5.
    pub last_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of stretches that are rewound. ReWiND: 0.8.
    pub rewind: f64,
    /// Share of stretches shown with another task's name, where there are several; their progress is nothing. ReWiND: 0.2.
    pub mismatch: f64,
    /// Cuts demonstrations into stages, whose number is then read off too; none: progress grows evenly with time.
    pub stages: Option<SegmentationConfig>,
}

impl Default for ProgressConfig {
    fn default() -> Self {
        Self {
            width: 64,
            heads: 4,
            layers: 2,
            frames: 16,
            steps: 400,
            batch: 32,
            rate: 1e-3,
            last_rate: 1e-4,
            weight_decay: 1e-4,
            rewind: 0.8,
            mismatch: 0.2,
            stages: None,
        }
    }
}

impl ProgressConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.heads == 0 || self.width == 0 || !self.width.is_multiple_of(self.heads) {
            return Err(RewardError::Other(format!(
                "{} heads do not share a width of {}; give a width that is a multiple of the heads",
                self.heads, self.width
            )));
        }
        if self.frames == 0 || self.batch == 0 {
            return Err(RewardError::Other(
                "progress needs at least 1 frame and a batch of at least 1; raise progress.frames or progress.batch".into(),
            ));
        }
        for (name, share) in [("rewind", self.rewind), ("mismatch", self.mismatch)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(RewardError::Other(format!(
                    "progress.{name} is {share}; give a share in 0..=1"
                )));
            }
        }
        let rate = |rate: f64| rate > 0.0 && rate.is_finite();
        if !(rate(self.rate) && rate(self.last_rate) && self.weight_decay >= 0.0) {
            return Err(RewardError::Other(format!(
                "progress.rate is {}, last_rate {} and weight_decay {}; rates must be above 0 and the decay not below it",
                self.rate, self.last_rate, self.weight_decay
            )));
        }
        Ok(())
    }

    /// Step size at a step.
    fn rate_at(&self, step: usize) -> f64 {
        let along = step as f64 / self.steps.max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * along).cos());
        self.last_rate + (self.rate - self.last_rate) * cosine
    }
}

/// How a training went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgressReport {
    /// Loss of every step.
    pub losses: Vec<f64>,
    /// Where each demonstration was cut into stages.
    pub cuts: Vec<Vec<usize>>,
}

/// Settings on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    learned: ProgressConfig,
    tasks: Vec<String>,
    stages: Stages,
}

/// Reward `r_t` = progress in `[0, 1]` after the frames up to `t`, of which a fixed number, spread evenly, is looked at.
pub struct CausalProgress {
    stored: Stored,
    encoder: EncoderSpec,
    standard: Standard,
    network: CausalTransformer,
    tensors: Tensors,
}

/// What a batch of stretches should come to.
struct Batch {
    frames: Tensor<3>,
    tasks: Vec<usize>,
    /// Progress within the stage, `[batch, time]`.
    progress: Tensor<2>,
    /// 1 at the stage, `[batch, time, stages]`.
    stage: Tensor<3>,
}

/// A demonstration, ready for training.
struct Shown {
    values: Vec<f32>,
    len: usize,
    task: usize,
    cuts: Option<Vec<usize>>,
}

impl CausalProgress {
    pub(crate) const KIND: &str = "causal-progress";

    /// Learns from successful demonstrations of at least 3 frames, each with the name of its task. Fails with too few, too
    /// short or unusable ones.
    pub fn train(
        encoder: &EncoderSpec,
        demonstrations: &[(String, Features)],
        config: &ProgressConfig,
        seed: u64,
    ) -> Result<(Self, ProgressReport), RewardError> {
        config.validate()?;
        check_clips(demonstrations.iter().map(|(_, clip)| clip), encoder, 1, 3)?;
        let mut tasks: Vec<String> = demonstrations.iter().map(|(t, _)| t.clone()).collect();
        tasks.sort();
        tasks.dedup();
        let clips: Vec<&Features> = demonstrations.iter().map(|(_, clip)| clip).collect();
        let (stages, cuts) = match &config.stages {
            Some(stages) => {
                let (stages, cuts) = Stages::discover(&clips, stages)?;
                (stages, Some(cuts))
            }
            None => (Stages::one(), None),
        };
        let standard = Standard::fit(encoder.dim, clips.iter().copied());
        let shown: Vec<Shown> = demonstrations
            .iter()
            .enumerate()
            .map(|(i, (task, clip))| Shown {
                values: standard.apply(clip.as_slice()),
                len: clip.len(),
                task: tasks.partition_point(|t| t < task),
                cuts: cuts.as_ref().map(|cuts| cuts[i].clone()),
            })
            .collect();
        let shape = shape(encoder.dim, tasks.len(), stages.len(), config);
        let device = training_device();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut network = CausalTransformer::new(shape, &mut rng, &device);
        let mut descent = Descent::new(config.rate, config.weight_decay);
        let mut losses = Vec::with_capacity(config.steps);
        for step in 0..config.steps {
            descent.rate = config.rate_at(step);
            let batch = Batch::draw(&shown, shape, config, &mut rng, &device);
            let loss = batch.loss(&network, stages.len());
            let value;
            (network, value) = descent.step(network, loss)?;
            losses.push(value);
        }
        let network = network.valid();
        let tensors = network::tensors(&network)?;
        let stored = Stored {
            learned: config.clone(),
            tasks,
            stages,
        };
        let model = Self {
            stored,
            encoder: encoder.clone(),
            standard,
            network,
            tensors,
        };
        let cuts = cuts.unwrap_or_default();
        Ok((model, ProgressReport { losses, cuts }))
    }

    /// The tasks it was learned on.
    pub fn tasks(&self) -> &[String] {
        &self.stored.tasks
    }

    /// Its stages.
    pub fn stages(&self) -> &Stages {
        &self.stored.stages
    }

    fn task(&self, context: &Context) -> Result<usize, RewardError> {
        let tasks = &self.stored.tasks;
        let found = match &context.task {
            None if tasks.len() == 1 => Some(0),
            None => None,
            Some(task) => tasks.iter().position(|t| t == task),
        };
        found.ok_or_else(|| {
            RewardError::Other(format!(
                "progress was learned on the tasks {tasks:?} and asked about {}; name one of them",
                context
                    .task
                    .as_ref()
                    .map_or("no task".into(), |t| format!("{t:?}"))
            ))
        })
    }

    /// Where the last frame of each of some stretches of equal length stands, or, of a single one, every frame.
    fn look(
        &self,
        scaled: &[f32],
        stretches: &[Vec<usize>],
        task: usize,
    ) -> Result<Vec<Standing>, RewardError> {
        let dim = self.encoder.dim;
        let (count, time) = (stretches.len(), stretches[0].len());
        let picked: Vec<f32> = stretches
            .iter()
            .flatten()
            .flat_map(|&t| &scaled[t * dim..(t + 1) * dim])
            .copied()
            .collect();
        let frames = TensorData::new(picked, [count, time, dim]);
        let frames = Tensor::from_data(frames, &Device::flex());
        let (tau, stage) = self.network.forward(frames, &vec![task; count]);
        let tau = values(sigmoid(tau))?;
        let stage = values(stage)?;
        let stages = self.stored.stages.len();
        let seen = if count == 1 { 0..time } else { time - 1..time };
        let mut found = Vec::with_capacity(count * seen.len());
        for i in 0..count {
            for t in seen.clone() {
                let at = i * time + t;
                let logits = &stage[at * stages..(at + 1) * stages];
                let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
                found.push((best.map_or(0, |(k, _)| k), f64::from(tau[at])));
            }
        }
        Ok(found)
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let mut stored: Stored = parts.config()?;
        stored.learned.validate()?;
        stored.stages = stored.stages.checked()?;
        if stored.tasks.is_empty() {
            return Err(RewardError::Other(
                "a progress model without tasks; learn the reward again".into(),
            ));
        }
        let dim = parts.encoder.dim;
        let shape = shape(
            dim,
            stored.tasks.len(),
            stored.stages.len(),
            &stored.learned,
        );
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let network = CausalTransformer::new(shape, &mut rng, &Device::flex());
        let tensors = parts.tensors_under("network");
        Ok(Box::new(Self {
            network: network::load(network, &tensors)?,
            standard: Standard::restore(dim, &parts.tensors_under("standard"))?,
            stored,
            encoder: parts.encoder,
            tensors,
        }))
    }
}

fn shape(features: usize, tasks: usize, stages: usize, config: &ProgressConfig) -> Shape {
    Shape {
        features,
        tasks,
        stages,
        width: config.width,
        heads: config.heads,
        layers: config.layers,
    }
}

impl Batch {
    fn draw(
        shown: &[Shown],
        shape: Shape,
        config: &ProgressConfig,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let (batch, time) = (config.batch, config.frames);
        let mut frames = Vec::with_capacity(batch * time * shape.features);
        let mut progress = Vec::with_capacity(batch * time);
        let mut stage = vec![0.0f32; batch * time * shape.stages];
        let mut tasks = Vec::with_capacity(batch);
        for _ in 0..batch {
            let clip = &shown[rng.random_range(0..shown.len())];
            let window = if rng.random_bool(config.rewind) {
                Window::rewound(clip.len, rng)
            } else {
                Window::forwards(clip.len, rng)
            };
            let wrong = shape.tasks > 1 && rng.random_bool(config.mismatch);
            tasks.push(if wrong {
                (clip.task + rng.random_range(1..shape.tasks)) % shape.tasks
            } else {
                clip.task
            });
            let order = window.frames();
            let within = window.targets(clip.len);
            let mut picked = spread(order.len(), time);
            // A stretch that is too short stands still at its end.
            picked.resize(time, order.len() - 1);
            for at in picked {
                let frame = order[at];
                let row = &clip.values[frame * shape.features..(frame + 1) * shape.features];
                frames.extend_from_slice(row);
                let (k, tau) = match &clip.cuts {
                    _ if wrong => (0, 0.0),
                    Some(cuts) => standing(frame, cuts, clip.len),
                    None => (0, within[at]),
                };
                stage[progress.len() * shape.stages + k] = 1.0;
                progress.push(tau as f32);
            }
        }
        let tensor = |values, shape: [usize; 3]| {
            Tensor::<3>::from_data(TensorData::new(values, shape), device)
        };
        Self {
            frames: tensor(frames, [batch, time, shape.features]),
            progress: Tensor::from_data(TensorData::new(progress, [batch, time]), device),
            stage: tensor(stage, [batch, time, shape.stages]),
            tasks,
        }
    }

    /// Mean squared error of the progress, plus, with stages, the cross-entropy of the stage.
    fn loss(self, network: &CausalTransformer, stages: usize) -> Tensor<1> {
        let (progress, stage) = network.forward(self.frames, &self.tasks);
        let off = (sigmoid(progress) - self.progress).square().mean();
        if stages == 1 {
            return off;
        }
        let [batch, time, _] = self.stage.dims();
        let surprise = -(log_softmax(stage, 2) * self.stage).sum() / (batch * time) as f64;
        off + surprise
    }
}

impl RewardModel for CausalProgress {
    /// Terms: `stage`, counted from 0, and `within`, the progress in it, where there are several stages.
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError> {
        check_features(&clip.features, &self.encoder)?;
        let task = self.task(context)?;
        let scaled = self.standard.apply(clip.features.as_slice());
        let most = self.stored.learned.frames;
        // The first frames are all in one stretch: what a frame sees there is what came before it.
        let start = clip.len().min(most);
        let mut found = self.look(&scaled, &[(0..start).collect()], task)?;
        let later: Vec<Vec<usize>> = (start..clip.len()).map(|t| spread(t + 1, most)).collect();
        for stretches in later.chunks(AT_ONCE) {
            let seen = self.look(&scaled, stretches, task)?;
            // A stretch on its own gives all its frames, of which the last is asked for.
            found.extend_from_slice(&seen[seen.len() - stretches.len()..]);
        }
        let stages = &self.stored.stages;
        let per_step: Vec<f64> = found
            .iter()
            .map(|&(k, tau)| stages.progress(k, tau))
            .collect();
        if let Some(step) = per_step.iter().position(|p| !p.is_finite()) {
            return Err(RewardError::NotFinite {
                what: "the progress".into(),
                step,
            });
        }
        let mut signal = Signal::new(per_step);
        if stages.len() > 1 {
            let term = |of: fn(&Standing) -> f64| found.iter().map(of).collect();
            signal.terms.insert("stage".into(), term(|s| s.0 as f64));
            signal.terms.insert("within".into(), term(|s| s.1));
        }
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for CausalProgress {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        crate::store::to_toml(&self.stored).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = prefixed("network", self.tensors.clone());
        tensors.extend(prefixed("standard", self.standard.tensors()));
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests;
