//! An embedding whose distance to the goal is a value: value-implicit pre-training (VIP, Ma et al., arXiv 2210.00030) as a head
//! on frozen features.
//!
//! With `V(o; g) = -‖φ(o) - φ(g)‖` over stretches `(o_0, …, o_k, o_{k+1}, …, g)` of clips,
//!
//! ```text
//! loss = (1 - γ) mean(-V(o_0; g)) + log(ε + mean exp(-(r + γ V(o_{k+1}; g) - V(o_k; g))))    r = -1, ε = 1e-8
//! ```
//!
//! The released code adds the same logarithm over transitions shuffled against the goals, and the norms of the embeddings.

use burn::tensor::Tensor;
use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _};
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::check_clips;
use super::embedding::{EmbeddedGoal, Embedding, EmbeddingConfig, GoalForm};
use crate::model::RewardError;

/// Keeps the logarithm off zero.
const EPSILON: f64 = 1e-8;

/// Training of an embedding by value-implicit pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueConfig {
    /// The head.
    pub embedding: EmbeddingConfig,
    /// What a frame is paid for.
    pub form: GoalForm,
    /// Stretches in a batch. VIP: 32.
    pub batch: usize,
    /// γ. VIP: 0.98.
    pub discount: f64,
    /// Times the transitions are shuffled against the goals. Optional in the released code: 0 or 3.
    pub negatives: usize,
    /// Weight of the mean L1 norm and of the mean L2 norm of the embeddings. VIP: 1e-3.
    pub norm_weight: f64,
}

impl Default for ValueConfig {
    fn default() -> Self {
        Self {
            embedding: EmbeddingConfig::default(),
            form: GoalForm::Difference,
            batch: 32,
            discount: 0.98,
            negatives: 3,
            norm_weight: 1e-3,
        }
    }
}

impl ValueConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        self.embedding.validate()?;
        let fine =
            (0.0..1.0).contains(&self.discount) && (0.0..f64::INFINITY).contains(&self.norm_weight);
        if self.batch == 0 || !fine {
            return Err(RewardError::Other(format!(
                "value learning with a batch of {}, discount {} and norm weight {}; the batch must be at least 1, the discount in 0..1 and the weight not below 0",
                self.batch, self.discount, self.norm_weight
            )));
        }
        Ok(())
    }
}

/// Values before and after transitions, each `[transitions]`. The reward of a transition is -1: none begins at its goal.
pub struct Transitions {
    /// `V(o_k; g)`.
    pub before: Tensor<1>,
    /// `V(o_{k+1}; g)`.
    pub after: Tensor<1>,
}

impl Transitions {
    fn log_mean(self, discount: f64) -> Tensor<1> {
        let residual = self.after * discount - self.before - 1.0;
        ((-residual).exp().mean() + EPSILON).log()
    }
}

/// The loss for values of first frames, `[batch]`, and of transitions of the same goals, plus, where given, of transitions
/// that have nothing to do with their goals.
pub fn value_loss(
    initial: Tensor<1>,
    transitions: Transitions,
    negatives: Option<Transitions>,
    discount: f64,
) -> Tensor<1> {
    let mut loss = initial.mean() * (discount - 1.0) + transitions.log_mean(discount);
    if let Some(negatives) = negatives {
        loss = loss + negatives.log_mean(discount);
    }
    loss
}

/// Frames of a stretch of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    first: usize,
    goal: usize,
    before: usize,
}

impl Stretch {
    /// A start, a later goal and a transition between them, drawn as in the released code: `len` is at least 3.
    fn draw(len: usize, rng: &mut impl Rng) -> Self {
        let first = rng.random_range(0..len - 2);
        let goal = rng.random_range(first + 1..len);
        let before = rng.random_range(first..goal);
        Self {
            first,
            goal,
            before,
        }
    }
}

/// `-‖x - y‖` per row, `[rows]`. The root is kept off zero, where its slope is infinite.
pub(super) fn nearness(x: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
    -((x - y).square().sum_dim(1) + 1e-12).sqrt().squeeze_dim(1)
}

/// Learns an embedding from demonstrations of at least 3 frames, and the reward for nearness to where they end. Also gives the
/// loss of every step.
pub fn train(
    encoder: &EncoderSpec,
    demonstrations: &[Features],
    config: &ValueConfig,
    seed: u64,
) -> Result<(EmbeddedGoal, Vec<f64>), RewardError> {
    config.validate()?;
    check_clips(demonstrations.iter(), encoder, 1, 3)?;
    let (embedding, losses) = Embedding::train(
        demonstrations,
        &config.embedding,
        seed,
        |network, clips, rng, device| {
            let mut frames = [const { Vec::new() }; 4];
            for _ in 0..config.batch {
                let clip = &clips[rng.random_range(0..clips.len())];
                let Stretch {
                    first,
                    goal,
                    before,
                } = Stretch::draw(clip.len(), rng);
                for (frames, t) in frames.iter_mut().zip([first, goal, before, before + 1]) {
                    frames.push(clip.rows(&[t], device));
                }
            }
            let all: Vec<Tensor<2>> = frames.into_iter().flatten().collect();
            let embedded = network.forward(Tensor::cat(all, 0));
            let norms = (embedded.clone().square().sum_dim(1) + 1e-12).sqrt().mean()
                + embedded.clone().abs().sum_dim(1).mean();
            let part = |i: usize| embedded.clone().narrow(0, i * config.batch, config.batch);
            let [first, goal, before, after] = [0, 1, 2, 3].map(part);
            let transitions = Transitions {
                before: nearness(before.clone(), goal.clone()),
                after: nearness(after.clone(), goal.clone()),
            };
            let negatives = (config.negatives > 0).then(|| {
                let shuffled = (0..config.negatives).map(|_| {
                    let mut order: Vec<i64> = (0..config.batch as i64).collect();
                    order.shuffle(rng);
                    let order = Tensor::from_data(order.as_slice(), device);
                    let pick = |x: &Tensor<2>| x.clone().select(0, order.clone());
                    (
                        nearness(pick(&before), goal.clone()),
                        nearness(pick(&after), goal.clone()),
                    )
                });
                let (before, after): (Vec<_>, Vec<_>) = shuffled.unzip();
                Transitions {
                    before: Tensor::cat(before, 0),
                    after: Tensor::cat(after, 0),
                }
            });
            let initial = nearness(first, goal);
            Ok(value_loss(initial, transitions, negatives, config.discount)
                + norms * config.norm_weight)
        },
    )?;
    let reward = EmbeddedGoal::new(
        encoder,
        embedding,
        config.embedding.clone(),
        "value-implicit",
        config.form,
        demonstrations,
    )?;
    Ok((reward, losses))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::value_order_correlation;
    use crate::model::{Clip, Context, RewardModel as _};
    use crate::network::values;
    use crate::progress::synthetic::{World, encoder};
    use burn::tensor::Device;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    fn tensor(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(values, &Device::flex())
    }

    fn transitions() -> Transitions {
        Transitions {
            before: tensor(&[-1.0, -0.8]),
            after: tensor(&[-0.9, -0.7]),
        }
    }

    fn golden(negatives: Option<Transitions>) -> f64 {
        let loss = value_loss(tensor(&[-2.0, -1.5]), transitions(), negatives, 0.98);
        f64::from(values(loss).unwrap()[0])
    }

    #[test]
    fn the_loss_is_the_reference_value() {
        let plain = golden(None);
        assert!((plain - 0.9190020041).abs() < 1e-6, "{plain}");
        // The second logarithm is that of the same expression: on the same transitions it adds the first again.
        let initial = 0.02 * 1.75;
        let both = golden(Some(transitions()));
        assert!((both - (2.0 * plain - initial)).abs() < 1e-6, "{both}");
    }

    #[test]
    fn stretches_lie_within_the_clip_and_in_order() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for len in [3, 4, 20] {
            for _ in 0..200 {
                let s = Stretch::draw(len, &mut rng);
                assert!(
                    s.first <= s.before && s.before < s.goal && s.goal < len,
                    "{s:?}"
                );
            }
        }
    }

    /// VIP's own check: values rise along a clip that was not seen; the difference form adds up to the value gained.
    #[test]
    fn values_rise_along_a_demonstration_not_seen() {
        let world = World::new(12);
        let clips: Vec<Features> = (0..7).map(|i| world.success(30 + i, i as u64)).collect();
        for negatives in [0, 3] {
            let config = ValueConfig {
                negatives,
                form: GoalForm::Distance,
                ..Default::default()
            };
            let (reward, _) = train(&encoder(), &clips[..6], &config, 5).unwrap();
            let clip = Clip::from_features(clips[6].clone(), 10.0);
            let value = reward.score(&clip, &Context::default()).unwrap().per_step;
            let voc = value_order_correlation(&value).unwrap();
            assert!(voc > 0.9, "{negatives} {voc}");
            let failed = Clip::from_features(world.failure(30, 9), 10.0);
            let end = |s: &[f64]| s[s.len() - 1];
            let failed = reward.score(&failed, &Context::default()).unwrap().per_step;
            assert!(end(&failed) < end(&value), "{failed:?}");
            let gains = reward.with_form(GoalForm::Difference);
            let gains = gains.score(&clip, &Context::default()).unwrap();
            assert!((gains.total() - (end(&value) - value[0])).abs() < 1e-9);
            assert_eq!(gains.per_step[0], 0.0);
        }
    }

    #[test]
    fn what_cannot_be_learned_from_is_refused() {
        let short = World::new(1).success(2, 0);
        let error = train(&encoder(), &[short], &ValueConfig::default(), 0).err();
        assert!(error.unwrap().to_string().contains("2 frames"));
        let config = ValueConfig {
            discount: 1.0,
            ..Default::default()
        };
        assert!(config.validate().is_err());
    }
}
