//! One task with one seed: filmed, encoded, learned from, measured.

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::image_text::{ImageTextEncoder, PICTURE_ENCODER, TextHalf};
use rapport::perception::{
    DeviceChoice, Encoder, Features, Pca, PcaConfig, PcaScale, TextEncoder as _,
};
use rapport::reward::eval::{pair_accuracy, spearman};
use rapport::reward::matching::TextMatchConfig;

use super::{ClaimConfig, Measurement, Sample, Score};
use crate::experiments::filming::{Camera, Order, Set, Take, film};
use crate::experiments::labels::triplets;
use crate::experiments::manner::{Manner, Preferred};
use crate::experiments::rivals::{Rival, School, Seen, Sentences};
use crate::experiments::statistics::mean;
use crate::ui::Ui;

/// One task with one seed: clips filmed and encoded, and what the person thinks of them.
pub(super) struct Scene {
    school: School,
    triplets: Vec<[usize; 3]>,
    tests: Vec<(Set, Vec<Seen>)>,
    truth: Vec<Vec<f64>>,
    returns: Vec<f64>,
    test_triplets: Vec<[usize; 3]>,
}

/// Pictures and sentences in one space: both halves of the image-text model that comes with Rapport.
pub(super) struct Speech {
    pictures: ImageTextEncoder,
    words: TextHalf,
}

impl Speech {
    /// Fails on another encoder than the one that the model stands on, without its weights, and on a task whose goal and baseline
    /// mean the same to it.
    pub fn open(encoder: &str, tasks: &[Preferred]) -> anyhow::Result<Self> {
        anyhow::ensure!(
            encoder == PICTURE_ENCODER,
            "sentences can be compared with features of {PICTURE_ENCODER} only, these are of {encoder}"
        );
        let mut speech = Self {
            pictures: ImageTextEncoder::open(DeviceChoice::Cpu, None)?,
            words: TextHalf::open(DeviceChoice::Cpu, None)?,
        };
        for &task in tasks {
            speech.sentences(task)?.reward()?;
        }
        Ok(speech)
    }

    fn sentences(&mut self, task: Preferred) -> anyhow::Result<Sentences> {
        let (goal, baseline) = task.in_words();
        Ok(Sentences {
            space: self.pictures.spec().clone(),
            goals: self.words.encode_text(&[goal])?,
            baselines: self.words.encode_text(&[baseline])?,
            config: TextMatchConfig {
                goal: vec![goal.into()],
                baseline: vec![baseline.into()],
                ..TextMatchConfig::default()
            },
        })
    }
}

/// The takes of one task with one seed.
pub(super) struct Takes {
    pool: Vec<Take>,
    pub exemplars: Vec<Take>,
    pub test: Vec<Take>,
}

impl Takes {
    pub fn film(config: &ClaimConfig, task: Preferred, seed: u64, ui: Ui) -> anyhow::Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let camera = Camera {
            frames: config.frames,
            side: config.side,
        };
        let total = config.pool + config.exemplars + config.test;
        let bar = ui.bar(total as u64, "filming rollouts");
        let mut shoot = |count: usize, sets: &[Set], manner: fn(&mut ChaCha8Rng) -> Manner| {
            let orders: Vec<Order> = (0..count)
                .map(|_| Order {
                    manner: manner(&mut rng),
                    seed: rng.random(),
                })
                .collect();
            film(task, sets, camera, &orders, || bar.inc(1))
        };
        let takes = Self {
            exemplars: shoot(config.exemplars, &[Set::Same], Manner::good)?,
            pool: shoot(config.pool, &[Set::Same], Manner::any)?,
            test: shoot(config.test, &config.sets, Manner::any)?,
        };
        bar.finish_and_clear();
        Ok(takes)
    }
}

impl Scene {
    pub fn encode(
        config: &ClaimConfig,
        task: Preferred,
        takes: Takes,
        (encoder, mut speech): (&mut dyn Encoder, Option<&mut Speech>),
        seed: u64,
        ui: Ui,
    ) -> anyhow::Result<Self> {
        let sets = config.sets.len();
        let total = takes.pool.len() + takes.exemplars.len() + sets * takes.test.len();
        let bar = ui.bar(total as u64, "encoding clips");
        let mut encode = |takes: &mut [Take], set: usize| {
            takes
                .iter_mut()
                .map(|take| {
                    anyhow::ensure!(!crate::interrupt::requested(), "stopped");
                    bar.inc(1);
                    // The pictures are not needed any more.
                    let pictures = std::mem::take(&mut take.pictures[set]);
                    Ok(encoder.encode(&pictures)?)
                })
                .collect::<anyhow::Result<Vec<Features>>>()
        };
        let Takes {
            mut pool,
            mut exemplars,
            mut test,
        } = takes;
        let pool_features = encode(&mut pool, 0)?;
        let exemplar_features = encode(&mut exemplars, 0)?;
        let test_features = (0..sets)
            .map(|set| encode(&mut test, set))
            .collect::<anyhow::Result<Vec<_>>>()?;
        bar.finish_and_clear();

        let components = Pca::fit(
            &frames_of(&pool_features),
            &PcaConfig {
                components: config.components,
                scale: PcaScale::Variance,
            },
        )?;
        let sentences = speech
            .as_mut()
            .map(|speech| speech.sentences(task))
            .transpose()?;
        let see = |clips: Vec<Features>| {
            clips
                .into_iter()
                .map(|whole| {
                    let small = components.transform(&whole)?;
                    let spoken = speech
                        .as_ref()
                        .map(|speech| speech.pictures.embed_taps(&whole))
                        .transpose()?;
                    Ok(Seen {
                        whole,
                        small,
                        spoken,
                    })
                })
                .collect::<anyhow::Result<Vec<Seen>>>()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        let most = *config.answers.last().context("no number of answers")?;
        let returns =
            |takes: &[Take]| -> Vec<f64> { takes.iter().map(|take| take.hidden_return).collect() };
        let triplets_of = triplets(&returns(&pool), most, config.gap, &mut rng)?;
        let test_triplets = triplets(&returns(&test), config.test_triplets, config.gap, &mut rng)?;
        Ok(Self {
            school: School {
                encoder: encoder.spec().clone(),
                pool: see(pool_features)?,
                exemplars: see(exemplar_features)?,
                sentences,
            },
            triplets: triplets_of,
            tests: config
                .sets
                .iter()
                .copied()
                .zip(test_features)
                .map(|(set, clips)| Ok((set, see(clips)?)))
                .collect::<anyhow::Result<_>>()?,
            returns: returns(&test),
            truth: test.into_iter().map(|take| take.truth).collect(),
            test_triplets,
        })
    }

    pub fn measure(
        &self,
        config: &ClaimConfig,
        task: Preferred,
        seed: u64,
        ui: Ui,
    ) -> anyhow::Result<Vec<Measurement>> {
        let count: usize = config
            .methods
            .iter()
            .map(|&method| config.answers_of(method).len())
            .sum();
        let bar = ui.bar(count as u64, "learning rewards");
        let mut found = Vec::new();
        for &method in &config.methods {
            for answers in config.answers_of(method) {
                anyhow::ensure!(!crate::interrupt::requested(), "stopped");
                bar.set_message(format!("{} {answers}", method.name()));
                let triplets = &self.triplets[..answers];
                let rival = Rival::learn(method, &self.school, triplets, &config.rivals, seed)?;
                for (set, clips) in &self.tests {
                    found.push(Measurement {
                        task,
                        seed,
                        method,
                        answers,
                        set: *set,
                        score: self.score(&rival, clips)?,
                    });
                }
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(found)
    }

    fn score(&self, rival: &Rival, clips: &[Seen]) -> anyhow::Result<Score> {
        let rewards = clips
            .iter()
            .map(|clip| rival.score(clip))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let learned: Vec<f64> = rewards.iter().map(|r| r.iter().sum()).collect();
        let pairs: Vec<(f64, f64)> = self
            .test_triplets
            .iter()
            .map(|&[_, middle, worst]| (learned[middle], learned[worst]))
            .collect();
        let nearer = self
            .test_triplets
            .iter()
            .map(|three| rival.is_nearer(three.map(|i| &clips[i])))
            .collect::<anyhow::Result<Option<Vec<bool>>>>()?;
        let mut order: Vec<usize> = (0..clips.len()).collect();
        order.sort_by(|&a, &b| self.returns[a].total_cmp(&self.returns[b]));
        // A clip in which nothing happens, or a reward that never changes, has no correlation: it says nothing, which counts 0.
        let within: Vec<f64> = order[..clips.len() / 3]
            .iter()
            .map(|&i| spearman(&rewards[i], &self.truth[i]).unwrap_or(0.0))
            .collect();
        Ok(Score {
            triplets: pair_accuracy(&pairs).context("no held-out triplet")?,
            anchored: nearer.map(|nearer| share(&nearer)),
            between: spearman(&learned, &self.returns).unwrap_or(0.0),
            within: mean(&within).context("too few held-out clips")?,
        })
    }
}

/// Frames for the principal components, taken evenly from all clips.
fn frames_of(clips: &[Features]) -> Features {
    const MOST: usize = 1200;
    let dim = clips.first().map_or(1, Features::dim);
    let rows: Vec<&[f32]> = clips.iter().flat_map(|clip| clip.rows()).collect();
    let count = rows.len().min(MOST);
    let values = (0..count)
        .flat_map(|i| rows[i * rows.len() / count].to_vec())
        .collect();
    Features::new(dim, values)
}

/// The best, a middling and the worst of the test clips.
pub(super) fn samples(config: &ClaimConfig, task: Preferred, takes: &Takes) -> Vec<Sample> {
    let mut order: Vec<&Take> = takes.test.iter().collect();
    order.sort_by(|a, b| b.hidden_return.total_cmp(&a.hidden_return));
    [0, order.len() / 2, order.len() - 1]
        .into_iter()
        .map(|i| Sample {
            task,
            hidden_return: order[i].hidden_return,
            pictures: config
                .sets
                .iter()
                .copied()
                .zip(order[i].pictures.iter().cloned())
                .collect(),
        })
        .collect()
}

fn share(holds: &[bool]) -> f64 {
    holds.iter().filter(|&&h| h).count() as f64 / holds.len().max(1) as f64
}
