//! [`PerceptualSteps`]: the reward model.

use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::progress::StepCombiner;
use super::segmentation::{Segmentation, SegmentationConfig, segment};
use super::selection::{column_moments, highest, score};
use crate::eval::labels_from_cuts;
use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::objective::sigmoid;
use crate::store::{Parts, StoredReward, Tensor, Tensors, to_toml};
use crate::transport::Points;

/// How a frame's likeness to a step is measured over the step's features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepForm {
    /// `-(1/M) Σ (a - μ)²/σ`: the paper's formula, with the minus sign that makes it a reward. It divides by the deviation,
    /// not by twice the variance, and has no normalising term.
    #[default]
    Paper,
    /// `-(1/M) Σ [(a - μ)²/(2σ²) + ln σ + ½ ln 2π]`: the mean log-density of independent Gaussians.
    Gaussian,
}

/// How likeness becomes a value in `[0, 1]`. The paper thresholds at ½ and does not say how it gets there; both ways are ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepSquash {
    /// A sigmoid that is ½ halfway between the mean likeness of the step's own frames and of the others in the
    /// demonstrations, and 0.88 at the former.
    #[default]
    Calibrated,
    /// `min(1, e^r)`.
    Exponential,
}

/// How perceptual steps are learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepsConfig {
    /// How each demonstration is cut.
    pub segmentation: SegmentationConfig,
    /// Features kept for each step.
    pub features: usize,
    /// Weight α of the distance between means against the deviations, when features are chosen.
    pub alpha: f64,
    /// How likeness is measured.
    pub form: StepForm,
    /// Least deviation of a feature within a step, in units of its deviation over all frames.
    pub least_deviation: f64,
    /// How likeness becomes a value.
    pub squash: StepSquash,
    /// How values become a reward.
    pub combiner: StepCombiner,
}

impl Default for StepsConfig {
    fn default() -> Self {
        Self {
            segmentation: SegmentationConfig::default(),
            features: 32,
            alpha: 5.0,
            form: StepForm::default(),
            least_deviation: 0.01,
            squash: StepSquash::default(),
            combiner: StepCombiner::default(),
        }
    }
}

/// One feature of one step. Values are normalised as `(x - offset) / scale` before they are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
struct StepFeature {
    index: usize,
    offset: f64,
    scale: f64,
    mean: f64,
    deviation: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Step {
    features: Vec<StepFeature>,
    /// Likeness at which the value is ½.
    middle: f64,
    /// Steepness of the sigmoid there.
    slope: f64,
}

/// A reward for passing through the steps of the demonstrations.
#[derive(Clone, Debug)]
pub struct PerceptualSteps {
    config: StepsConfig,
    encoder: EncoderSpec,
    steps: Vec<Step>,
}

impl PerceptualSteps {
    pub(crate) const KIND: &str = "perceptual-steps";

    /// Learns from demonstrations of one task, each `[time, encoder.dim]`, that pass through the same steps in the same order.
    /// Also gives where each was cut. Fails without demonstrations and when one is too short, of another width or not finite.
    pub fn learn(
        encoder: &EncoderSpec,
        demonstrations: &[Features],
        config: StepsConfig,
    ) -> Result<(Self, Vec<Segmentation>), RewardError> {
        validate(&config)?;
        if demonstrations.is_empty() {
            return Err(RewardError::Other(
                "perceptual steps are learned from demonstrations; give at least one".into(),
            ));
        }
        let mut demos = Vec::new();
        for demonstration in demonstrations {
            check_features(demonstration, encoder)?;
            demos.push(Points::from(demonstration));
        }
        let cuts = demos
            .iter()
            .map(|demo| segment(demo, &config.segmentation))
            .collect::<Result<Vec<_>, _>>()?;
        let labels: Vec<Vec<usize>> = demos
            .iter()
            .zip(&cuts)
            .map(|(demo, s)| labels_from_cuts(&s.cuts, demo.len()))
            .collect();
        let frames: Vec<(&[f64], usize)> = demos
            .iter()
            .zip(&labels)
            .flat_map(|(demo, labels)| (0..demo.len()).map(|t| (demo.row(t), labels[t])))
            .collect();
        let overall = column_moments(encoder.dim, frames.iter().map(|(row, _)| *row));
        let steps = (0..config.segmentation.steps)
            .map(|step| Step::learn(step, &frames, &overall, &config))
            .collect();
        let model = Self {
            config,
            encoder: encoder.clone(),
            steps,
        };
        Ok((model, cuts))
    }

    /// The settings.
    pub fn settings(&self) -> &StepsConfig {
        &self.config
    }

    /// Indices of the features that a step looks at, best first.
    pub fn features_of(&self, step: usize) -> Vec<usize> {
        self.steps
            .get(step)
            .map(|s| s.features.iter().map(|f| f.index).collect())
            .unwrap_or_default()
    }

    /// The value of every step at every frame, in `[0, 1]`, by step and time.
    pub fn values(&self, features: &Features) -> Result<Vec<Vec<f64>>, RewardError> {
        check_features(features, &self.encoder)?;
        let value = |step: &Step, row: &[f32]| {
            let likeness = step.likeness(|i| f64::from(row[i]), self.config.form);
            match self.config.squash {
                StepSquash::Calibrated => sigmoid(step.slope * (likeness - step.middle)),
                StepSquash::Exponential => likeness.exp().min(1.0),
            }
        };
        Ok(self
            .steps
            .iter()
            .map(|step| features.rows().map(|row| value(step, row)).collect())
            .collect())
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: StepsConfig = parts.config()?;
        validate(&config)?;
        let broken = || {
            RewardError::Other(
                "the tensors of `perceptual-steps` do not fit; learn it again".into(),
            )
        };
        let mut steps = Vec::new();
        for i in 0..config.segmentation.steps {
            let table = parts.tensor(&format!("step.{i}.features"))?;
            let squash = parts.tensor(&format!("step.{i}.squash"))?.to_f64();
            if table.shape.len() != 2 || table.shape[1] != 5 || squash.len() != 2 {
                return Err(broken());
            }
            let rows = table.to_f64();
            let features: Vec<StepFeature> = rows
                .as_chunks::<5>()
                .0
                .iter()
                .map(|&[index, offset, scale, mean, deviation]| StepFeature {
                    index: index as usize,
                    offset,
                    scale,
                    mean,
                    deviation,
                })
                .collect();
            if features.iter().any(|f| f.index >= parts.encoder.dim) {
                return Err(broken());
            }
            steps.push(Step {
                features,
                middle: squash[0],
                slope: squash[1],
            });
        }
        Ok(Box::new(Self {
            config,
            encoder: parts.encoder,
            steps,
        }))
    }
}

fn validate(config: &StepsConfig) -> Result<(), RewardError> {
    if config.features == 0 {
        return Err(RewardError::Other(
            "a step must look at something; set steps.features to at least 1".into(),
        ));
    }
    if config.least_deviation.is_nan() || config.least_deviation <= 0.0 {
        return Err(RewardError::Other(
            "steps.least_deviation must be positive".into(),
        ));
    }
    Ok(())
}

impl Step {
    fn learn(
        step: usize,
        frames: &[(&[f64], usize)],
        overall: &(Vec<f64>, Vec<f64>),
        config: &StepsConfig,
    ) -> Self {
        let (offset, scale) = overall;
        let dim = offset.len();
        let part = |inside: bool| {
            let rows = frames
                .iter()
                .filter(move |(_, label)| (*label == step) == inside)
                .map(|(row, _)| *row);
            column_moments(dim, rows)
        };
        let (inside, outside) = (part(true), part(false));
        // In units of each feature's deviation over all frames; one that never changes tells nothing.
        let normal = |i: usize, (mean, deviation): &(Vec<f64>, Vec<f64>)| {
            ((mean[i] - offset[i]) / scale[i], deviation[i] / scale[i])
        };
        let scores: Vec<f64> = (0..dim)
            .map(|i| {
                if scale[i] > 0.0 {
                    score(config.alpha, normal(i, &inside), normal(i, &outside))
                } else {
                    f64::NEG_INFINITY
                }
            })
            .collect();
        let features = highest(&scores, config.features)
            .into_iter()
            .map(|index| {
                let (mean, deviation) = normal(index, &inside);
                StepFeature {
                    index,
                    offset: offset[index],
                    scale: scale[index],
                    mean,
                    deviation: deviation.max(config.least_deviation),
                }
            })
            .collect();
        let mut learned = Self {
            features,
            middle: 0.0,
            slope: 1.0,
        };
        learned.calibrate(step, frames, config.form);
        learned
    }

    /// Puts the sigmoid's middle between the step's own frames and the others.
    fn calibrate(&mut self, step: usize, frames: &[(&[f64], usize)], form: StepForm) {
        let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
        for (row, label) in frames {
            let side = usize::from(*label == step);
            sums[side] += self.likeness(|i| row[i], form);
            counts[side] += 1.0;
        }
        let own = sums[1] / counts[1];
        if counts[0] == 0.0 {
            // A single step: there is nothing to tell it from.
            self.middle = own - 1.0;
            return;
        }
        let gap = own - sums[0] / counts[0];
        self.middle = own - 0.5 * gap;
        if gap > 0.0 {
            self.slope = 4.0 / gap;
        }
    }

    fn likeness(&self, value: impl Fn(usize) -> f64, form: StepForm) -> f64 {
        /// `½ ln 2π`.
        const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;
        if self.features.is_empty() {
            return 0.0;
        }
        let sum: f64 = self
            .features
            .iter()
            .map(|f| {
                let off = (value(f.index) - f.offset) / f.scale - f.mean;
                match form {
                    StepForm::Paper => off * off / f.deviation,
                    StepForm::Gaussian => {
                        0.5 * (off / f.deviation).powi(2) + f.deviation.ln() + HALF_LOG_TAU
                    }
                }
            })
            .sum();
        -sum / self.features.len() as f64
    }
}

impl RewardModel for PerceptualSteps {
    /// The terms `step 1`, `step 2`, … are the steps' values.
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let values = self.values(&clip.features)?;
        let mut signal = Signal::new(self.config.combiner.combine(&values));
        for (i, values) in values.into_iter().enumerate() {
            signal.terms.insert(format!("step {}", i + 1), values);
        }
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for PerceptualSteps {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        to_toml(&self.config).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = Tensors::new();
        for (i, step) in self.steps.iter().enumerate() {
            let rows: Vec<f64> = step
                .features
                .iter()
                .flat_map(|f| [f.index as f64, f.offset, f.scale, f.mean, f.deviation])
                .collect();
            tensors.insert(
                format!("step.{i}.features"),
                Tensor::from_f64(&[step.features.len(), 5], &rows),
            );
            tensors.insert(
                format!("step.{i}.squash"),
                Tensor::from_f64(&[2], &[step.middle, step.slope]),
            );
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{step_jaccard, value_order_correlation};
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    const DIM: usize = 60;

    fn encoder() -> EncoderSpec {
        EncoderSpec {
            name: "test".into(),
            dim: DIM,
            fingerprint: "f".into(),
        }
    }

    /// A demonstration with steps of the given lengths. Ten features tell the steps apart, the others wander.
    fn demonstration(lengths: [usize; 3], seed: u64) -> (Features, Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut noise = |size: f32| size * (rng.random::<f32>() - 0.5);
        let mut wander = [0.0f32; DIM];
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for (step, length) in lengths.into_iter().enumerate() {
            for _ in 0..length {
                for (i, wander) in wander.iter_mut().enumerate() {
                    *wander = 0.9 * *wander + noise(0.4);
                    let level = if i < 10 { (i + step) % 3 } else { 0 } as f32;
                    values.push(level + if i < 10 { noise(0.3) } else { *wander });
                }
                labels.push(step);
            }
        }
        (Features::new(DIM, values), labels)
    }

    fn learned(config: StepsConfig) -> (PerceptualSteps, Vec<Segmentation>) {
        let demos: Vec<Features> = (0..6)
            .map(|i| demonstration([12 + i, 15, 20 - i], i as u64).0)
            .collect();
        PerceptualSteps::learn(&encoder(), &demos, config).unwrap()
    }

    fn small() -> StepsConfig {
        StepsConfig {
            features: 6,
            ..StepsConfig::default()
        }
    }

    #[test]
    fn steps_are_found_and_recognised_in_a_new_clip() {
        let (model, cuts) = learned(small());
        for (i, found) in cuts.iter().enumerate() {
            assert_eq!(found.cuts, [12 + i, 27 + i]);
        }
        for step in 0..3 {
            assert!(model.features_of(step).iter().all(|&i| i < 10));
        }
        let (clip, truth) = demonstration([9, 22, 14], 99);
        for form in [StepForm::Paper, StepForm::Gaussian] {
            for squash in [StepSquash::Calibrated, StepSquash::Exponential] {
                let (model, _) = learned(StepsConfig {
                    form,
                    squash,
                    ..small()
                });
                let values = model.values(&clip).unwrap();
                let best: Vec<usize> = (0..clip.len())
                    .map(|t| {
                        (0..3)
                            .max_by(|&a, &b| values[a][t].total_cmp(&values[b][t]))
                            .unwrap()
                    })
                    .collect();
                let (_, jaccard) = step_jaccard(&best, &truth, 3).unwrap();
                assert!(jaccard > 0.9, "{form:?} {squash:?} {jaccard}");
                assert!(values.iter().flatten().all(|v| (0.0..=1.0).contains(v)));
            }
        }
        let signal = model
            .score(&Clip::from_features(clip, 30.0), &Context::default())
            .unwrap();
        assert!(value_order_correlation(&signal.per_step).unwrap() > 0.85);
        assert_eq!(signal.terms.len(), 3);
    }

    #[test]
    fn a_reward_at_a_time_depends_on_the_past_only() {
        let (model, _) = learned(small());
        let (clip, _) = demonstration([10, 10, 10], 7);
        let score = |features: Features| {
            model
                .score(&Clip::from_features(features, 30.0), &Context::default())
                .unwrap()
                .per_step
        };
        let first: Vec<usize> = (0..17).collect();
        assert_eq!(score(clip.select(&first)), score(clip)[..17]);
    }

    #[test]
    fn one_step_is_possible() {
        let config = StepsConfig {
            segmentation: SegmentationConfig {
                steps: 1,
                ..SegmentationConfig::default()
            },
            ..small()
        };
        let (model, _) = learned(config);
        let (clip, _) = demonstration([10, 10, 10], 7);
        assert!(
            model.values(&clip).unwrap()[0]
                .iter()
                .all(|v| v.is_finite())
        );
    }

    #[test]
    fn it_comes_back_from_a_directory() {
        let (model, _) = learned(small());
        let root = tempfile::tempdir().unwrap();
        let dir = crate::store::RewardDir::new(root.path());
        dir.save(&model, &encoder(), 0).unwrap();
        let loaded = dir.load().unwrap();
        let clip = Clip::from_features(demonstration([10, 10, 10], 7).0, 30.0);
        let before = model.score(&clip, &Context::default()).unwrap();
        let after = loaded
            .score(&encoder(), &clip, &Context::default())
            .unwrap();
        for (a, b) in before.per_step.iter().zip(&after.per_step) {
            assert!((a - b).abs() < 1e-4);
        }
    }

    #[test]
    fn bad_input_is_refused() {
        let (short, _) = demonstration([2, 2, 2], 0);
        assert!(PerceptualSteps::learn(&encoder(), &[short], small()).is_err());
        assert!(PerceptualSteps::learn(&encoder(), &[], small()).is_err());
    }
}
