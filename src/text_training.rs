//! Training of the image-text model's heads: contrastive, on pictures of the simulator with captions made by rule.

use std::collections::HashMap;

use burn::module::{Module, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::image_text::{Heads, HeadsSize, PICTURE_ENCODER};
use rapport::perception::{DeviceChoice, Features, TextEncoder};
use rapport::reward::RewardError;
use rapport::reward::network::{Descent, training_device, values};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::captions::{Fact, Place, Relation, Scenery, Split, TASKS, View};

/// How the heads are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextTrainingConfig {
    /// Scenes, each in colours of its own.
    pub scenes: usize,
    /// Pictures of each scene.
    pub views: usize,
    /// Steps of descent. 0: the heads stay as they were drawn.
    pub steps: usize,
    /// Pictures in a batch come from so many scenes, [`Self::views_per_scene`] of each: the others of the same scene are the negatives
    /// that only its state tells apart.
    pub scenes_per_batch: usize,
    /// Pictures of each of those scenes.
    pub views_per_scene: usize,
    /// Sentences for each fact of a scene, drawn once: a sentence costs more than a picture.
    pub wordings: usize,
    /// Step size at the start; it falls to nothing along a cosine.
    pub rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of the captions that say what there is rather than how it is: what a baseline sentence says.
    pub scene_share: f64,
    /// Noise on the standardised taps, standard deviation.
    pub noise: f32,
    /// Seed of everything.
    pub seed: u64,
}

impl Default for TextTrainingConfig {
    fn default() -> Self {
        Self {
            scenes: 300,
            views: 12,
            steps: 2_500,
            scenes_per_batch: 24,
            views_per_scene: 8,
            wordings: 3,
            rate: 1e-3,
            weight_decay: 1e-2,
            scene_share: 0.1,
            noise: 0.3,
            seed: 0,
        }
    }
}

impl TextTrainingConfig {
    /// Fails on numbers that train nothing.
    pub fn validate(&self) -> Result<(), RewardError> {
        let counts = [
            self.scenes,
            self.views,
            self.scenes_per_batch,
            self.views_per_scene,
            self.wordings,
        ];
        if counts.contains(&0) || !(self.rate > 0.0 && self.rate.is_finite()) {
            return Err(RewardError::Other(
                "scenes, views, wordings and the step size must be above 0".into(),
            ));
        }
        Ok(())
    }
}

/// Pictures behind the frozen network, and what is true of each.
pub struct Corpus {
    taps: Features,
    facts: Vec<Vec<Fact>>,
    views: usize,
}

impl Corpus {
    /// Draws scenes and pictures, and encodes them. `progress` is told how many scenes are done.
    pub fn draw(
        config: &TextTrainingConfig,
        device: DeviceChoice,
        mut progress: impl FnMut(usize),
    ) -> anyhow::Result<Self> {
        let mut encoder = rapport::perception::open(PICTURE_ENCODER, device)?;
        let (mut taps, mut facts) = (Vec::new(), Vec::new());
        let scenes: Vec<usize> = (0..config.scenes).collect();
        for part in scenes.chunks(8) {
            let drawn: Vec<Vec<View>> = part
                .par_iter()
                .map(|&scene| draw_scene(scene, config))
                .collect::<anyhow::Result<_>>()?;
            for view in drawn.into_iter().flatten() {
                // One by one: the pictures of eight scenes are not worth keeping.
                taps.extend_from_slice(encoder.encode(&[view.picture])?.as_slice());
                facts.push(view.facts);
            }
            progress(part[0] + part.len());
        }
        Ok(Self {
            taps: Features::new(encoder.spec().dim, taps),
            facts,
            views: config.views,
        })
    }
}

fn draw_scene(scene: usize, config: &TextTrainingConfig) -> anyhow::Result<Vec<View>> {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed.wrapping_mul(1_000_003) + scene as u64);
    let task = TASKS[scene % TASKS.len()];
    let mut scenery = Scenery::new(task, Split::Trained, Place::Anywhere, &mut rng)?;
    (0..config.views).map(|_| scenery.view(&mut rng)).collect()
}

/// Sentences for the facts of each scene, and what they mean.
struct Phrases {
    /// By scene and fact: rows of `meanings`.
    said: HashMap<(usize, Fact), Vec<usize>>,
    /// `[sentences, meaning]`.
    meanings: Features,
}

impl Phrases {
    fn draw(
        corpus: &Corpus,
        encoder: &mut dyn TextEncoder,
        wordings: usize,
        rng: &mut ChaCha8Rng,
    ) -> anyhow::Result<Self> {
        let (mut said, mut sentences, mut rows) = (HashMap::new(), Vec::new(), HashMap::new());
        for (picture, facts) in corpus.facts.iter().enumerate() {
            for fact in facts {
                let key = (picture / corpus.views, fact.clone());
                said.entry(key).or_insert_with(|| {
                    let mut one = || {
                        let sentence = fact.sentence(Split::Trained, rng);
                        *rows.entry(sentence.clone()).or_insert_with(|| {
                            sentences.push(sentence);
                            sentences.len() - 1
                        })
                    };
                    (0..wordings).map(|_| one()).collect::<Vec<usize>>()
                });
            }
        }
        let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
        let meanings = encoder.encode_text(&sentences)?;
        Ok(Self { said, meanings })
    }
}

/// The heads and the temperature, which is learned with them.
#[derive(Module, Debug)]
struct Trained {
    heads: Heads,
    /// Logarithm of the inverse temperature, `[1]`.
    log_scale: Param<Tensor<1>>,
}

/// Inverse temperatures stay below this, as CLIP's do.
const SHARPEST: f64 = 100.0;

/// What training came to.
#[derive(Clone, Debug, Serialize)]
pub struct TextTrainingReport {
    /// Mean loss of each hundredth of the steps.
    pub loss: Vec<f64>,
    /// Learned temperature.
    pub temperature: f64,
    /// Different sentences seen.
    pub sentences: usize,
}

/// Trains heads on a corpus by InfoNCE in both directions (van den Oord et al., arXiv 1807.03748; as in CLIP, arXiv 2103.00020): each
/// picture must find the caption that was drawn for it among those of the batch, and each caption its picture. Departs from
/// them: a caption of another picture that is also true of this one is no negative.
pub fn train(
    corpus: &Corpus,
    sentences: &mut dyn TextEncoder,
    config: &TextTrainingConfig,
    mut progress: impl FnMut(usize, f64),
) -> anyhow::Result<(Heads, TextTrainingReport)> {
    config.validate()?;
    let device = training_device();
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let size = HeadsSize::DEFAULT;
    let drawn = size.fill(|inputs| {
        let bound = 1.0 / (inputs as f32).sqrt();
        rng.random_range(-bound..=bound)
    });
    let mut module = Trained {
        heads: Heads::from_state_dict(&drawn, &size, &device)?,
        log_scale: Param::from_tensor(Tensor::from_floats([10.0f32.ln()], &device)),
    };
    let standard = Standard::of(&corpus.taps, size.channels);
    let phrases = Phrases::draw(corpus, sentences, config.wordings, &mut rng)?;
    let mut descent = Descent::new(config.rate, config.weight_decay);
    let (mut losses, mut recent) = (Vec::new(), Vec::new());
    for step in 0..config.steps {
        let share = step as f64 / config.steps as f64;
        descent.rate = config.rate * 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
        let batch = Batch::draw(corpus, &standard, &phrases, config, &mut rng);
        let loss = batch.loss(&module, &device);
        let (next, loss) = descent.step(module, loss)?;
        module = next;
        recent.push(loss);
        if recent.len() >= config.steps.div_ceil(100) {
            let mean = recent.iter().sum::<f64>() / recent.len() as f64;
            losses.push(mean);
            recent.clear();
            progress(step + 1, mean);
        }
    }
    let module = module.valid();
    let scale = f64::from(values(module.log_scale.val().exp())?[0]).min(SHARPEST);
    let report = TextTrainingReport {
        loss: losses,
        temperature: 1.0 / scale,
        sentences: phrases.meanings.len(),
    };
    Ok((standard.fold_into(module.heads)?, report))
}

/// Mean and spread of each channel over places and pictures.
struct Standard {
    mean: Vec<f32>,
    spread: Vec<f32>,
}

impl Standard {
    fn of(taps: &Features, channels: usize) -> Self {
        let (mut sum, mut squares) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        let places = taps.as_slice().chunks_exact(channels);
        let count = places.len() as f64;
        for place in places {
            for (c, &value) in place.iter().enumerate() {
                sum[c] += f64::from(value);
                squares[c] += f64::from(value).powi(2);
            }
        }
        let mean = sum.iter().map(|s| s / count);
        let spread = squares
            .iter()
            .zip(mean.clone())
            .map(|(s, m)| (s / count - m * m).max(1e-8).sqrt() as f32);
        Self {
            spread: spread.collect(),
            mean: mean.map(|m| m as f32).collect(),
        }
    }

    /// A tap in units of spread from the mean.
    fn apply<'a>(&'a self, tap: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        let channels = self.mean.len();
        tap.iter().enumerate().map(move |(i, value)| {
            let c = i % channels;
            (value - self.mean[c]) / self.spread[c]
        })
    }

    /// Heads that take taps as the frozen network gives them: `(x - m)/s W + b = x (W/s) + (b - m/s W)`.
    fn fold_into(&self, mut heads: Heads) -> anyhow::Result<Heads> {
        let device = heads.place.weight.device();
        let channels = self.mean.len();
        let row = |values: Vec<f32>| {
            Tensor::<2>::from_data(TensorData::new(values, [channels, 1]), &device)
        };
        let inverse = row(self.spread.iter().map(|s| 1.0 / s).collect());
        let weight = heads.place.weight.val() * inverse;
        let mean = row(self.mean.clone());
        let shift = (weight.clone() * mean).sum_dim(0).squeeze_dim::<1>(0);
        if let Some(bias) = &heads.place.bias {
            heads.place.bias = Some(Param::from_tensor(bias.val() - shift));
        }
        heads.place.weight = Param::from_tensor(weight);
        Ok(heads)
    }
}

/// Pictures with one caption each.
struct Batch {
    taps: Vec<f32>,
    meanings: Vec<f32>,
    /// Added to the similarities, `[pictures, captions]`: nothing, or so much less that a caption is out of the running.
    mask: Vec<f32>,
    count: usize,
}

impl Batch {
    fn draw(
        corpus: &Corpus,
        standard: &Standard,
        phrases: &Phrases,
        config: &TextTrainingConfig,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let scenes = corpus.facts.len() / corpus.views;
        let (mut taps, mut pictures) = (Vec::new(), Vec::new());
        for _ in 0..config.scenes_per_batch {
            let scene = rng.random_range(0..scenes);
            for _ in 0..config.views_per_scene {
                let picture = scene * corpus.views + rng.random_range(0..corpus.views);
                pictures.push(picture);
                let noise = config.noise;
                for value in standard.apply(corpus.taps.row(picture)) {
                    // Uniform noise of that standard deviation: cheap, and as good as any here.
                    taps.push(value + noise * 3.0f32.sqrt() * rng.random_range(-1.0f32..1.0));
                }
            }
        }
        let mut said = Vec::with_capacity(pictures.len());
        let mut meanings = Vec::new();
        for &picture in &pictures {
            let facts = &corpus.facts[picture];
            let scene = facts.len() - 1;
            let which = if scene == 0 || rng.random_bool(config.scene_share) {
                scene
            } else {
                rng.random_range(0..scene)
            };
            let fact = &facts[which];
            let ways = &phrases.said[&(picture / corpus.views, fact.clone())];
            let way = ways[rng.random_range(0..ways.len())];
            meanings.extend_from_slice(phrases.meanings.row(way));
            said.push(fact);
        }
        let count = pictures.len();
        let mut mask = vec![0.0; count * count];
        for (i, &picture) in pictures.iter().enumerate() {
            for (j, fact) in said.iter().enumerate() {
                if i != j && holds(fact, &corpus.facts[picture]) {
                    mask[i * count + j] = -1e4;
                }
            }
        }
        Self {
            taps,
            meanings,
            mask,
            count,
        }
    }

    fn loss(&self, module: &Trained, device: &Device) -> Tensor<1> {
        let rows = |values: &[f32]| {
            let dim = values.len() / self.count;
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [self.count, dim]), device)
        };
        let pictures = module.heads.image(rows(&self.taps));
        let captions = module.heads.text(rows(&self.meanings));
        let scale = module.log_scale.val().exp().clamp_max(SHARPEST);
        let alike = pictures.matmul(captions.transpose()) * scale.unsqueeze::<2>();
        let logits = alike + rows(&self.mask);
        let own = Tensor::<2>::eye(self.count, device);
        let found = log_softmax(logits.clone(), 1) + log_softmax(logits, 0);
        (found * own).sum() * (-0.5 / self.count as f32)
    }
}

/// Whether a fact is among those that hold. A scene with more in it is still a scene with this in it.
fn holds(fact: &Fact, facts: &[Fact]) -> bool {
    facts.iter().any(|other| {
        fact == other
            || (fact.relation == Relation::Scene
                && other.relation == Relation::Scene
                && fact.things.iter().all(|thing| other.things.contains(thing)))
    })
}
