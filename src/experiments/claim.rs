//! RAPL's claim, measured: few rankings of clips are enough to align a frozen encoder, so that transport to exemplars means what the
//! person wants, better than a scorer learned from the same answers, and also on another arm (Tian et al., arXiv 2310.07932 and
//! 2412.04835).
//!
//! Two simulated tasks with a hidden preference, rollouts of graded quality, a frozen encoder, answers by the hidden return. Every
//! reward is asked to order held-out clips, and frames within them, as the hidden reward does: on clips that look the same as those
//! learned from, and on the same episodes in another room and with another arm.

use std::collections::BTreeMap;

use anyhow::Context as _;
use image::RgbImage;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::cache::{FeatureCache, FeatureCacheConfig};
use rapport::perception::{
    CachedEncoder, DeviceChoice, Encoder, Features, Pca, PcaConfig, PcaScale, open,
};
use rapport::reward::eval::{Interval, pair_accuracy, spearman};
use serde::{Deserialize, Serialize};

use super::filming::{Camera, Order, Set, Take, film};
use super::labels::triplets;
use super::manner::{Manner, Preferred};
use super::rivals::{Method, Rival, RivalsConfig, School, Seen};
use super::statistics::{mean, mean_of_seeds};
use crate::ui::Ui;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimConfig {
    /// Tasks.
    pub tasks: Vec<Preferred>,
    /// Looks of the test clips.
    pub sets: Vec<Set>,
    /// Rewards.
    pub methods: Vec<Method>,
    /// Numbers of answers, ascending; a longer list begins with the shorter ones.
    pub answers: Vec<usize>,
    /// The number of answers that tables show.
    pub headline: usize,
    /// Seeds: clips, answers and starting weights are new with each.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Clips that the answers are about.
    pub pool: usize,
    /// Clips done well that the person shows, as RAPL's experts.
    pub exemplars: usize,
    /// Held-out clips.
    pub test: usize,
    /// Held-out triplets.
    pub test_triplets: usize,
    /// Least difference of returns that the person notices, as a share of their spread.
    pub gap: f64,
    /// Frames of a clip.
    pub frames: usize,
    /// Side of the pictures, pixels.
    pub side: u32,
    /// Frozen encoder.
    pub encoder: String,
    /// Principal components that rewards with answers see.
    pub components: usize,
    /// How the rewards are learned.
    pub rivals: RivalsConfig,
}

impl Default for ClaimConfig {
    fn default() -> Self {
        Self {
            tasks: vec![Preferred::Avoid, Preferred::Group],
            sets: Set::ALL.to_vec(),
            methods: Method::ALL.to_vec(),
            answers: vec![20, 50, 100, 150, 300],
            headline: 150,
            seeds: 5,
            first_seed: 0,
            pool: 200,
            exemplars: 6,
            test: 60,
            test_triplets: 300,
            gap: 0.05,
            frames: 16,
            side: 112,
            encoder: "efficientnet-lite0:block10@112".into(),
            components: 100,
            rivals: RivalsConfig::default(),
        }
    }
}

impl ClaimConfig {
    /// Small enough for a test of the whole way.
    pub fn quick() -> Self {
        Self {
            answers: vec![10, 30],
            headline: 30,
            seeds: 2,
            pool: 30,
            exemplars: 2,
            test: 12,
            test_triplets: 40,
            frames: 8,
            components: 20,
            rivals: RivalsConfig {
                align: rapport::reward::AlignConfig {
                    epochs: 10,
                    ..RivalsConfig::default().align
                },
                steps: rapport::reward::StepsConfig {
                    segmentation: rapport::reward::steps::SegmentationConfig {
                        min_size: 2,
                        ..Default::default()
                    },
                    ..Default::default()
                },
                ..RivalsConfig::default()
            },
            ..Self::default()
        }
    }

    /// Says what is wrong with it, if anything.
    pub fn validate(&self) -> Result<(), String> {
        let check = |holds: bool, sentence: &str| if holds { Ok(()) } else { Err(sentence.into()) };
        check(
            !self.answers.is_empty() && self.answers.is_sorted() && !self.answers.contains(&0),
            "the numbers of answers must be above 0 and ascend",
        )?;
        check(
            self.answers.contains(&self.headline),
            "the headline number of answers must be one of those measured",
        )?;
        check(self.seeds > 0, "there must be at least one seed")?;
        check(
            self.frames >= 2 && self.exemplars > 0 && self.pool >= 3 && self.test >= 6,
            "a claim needs 2 frames, an exemplar, 3 clips to ask about and 6 to test on",
        )?;
        check(
            (0.0..0.5).contains(&self.gap),
            "the gap must be at least 0 and below a half",
        )
    }
}

/// How one reward did on one set of clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Share of held-out triplets whose middle clip is put above the worst. Chance is a half.
    pub triplets: f64,
    /// Share of held-out triplets whose middle clip is nearer to the best than the worst is, where the reward compares clips.
    pub anchored: Option<f64>,
    /// Spearman's correlation of the clips' learned and hidden returns.
    pub between: f64,
    /// Spearman's correlation of learned and hidden reward over the frames of a clip, mean over the third of the clips that the
    /// person likes least, as RAPL's released code does it.
    pub within: f64,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Task.
    pub task: Preferred,
    /// Seed.
    pub seed: u64,
    /// Reward.
    pub method: Method,
    /// Answers it learned from; 0 for those that do not ask.
    pub answers: usize,
    /// Looks of the clips.
    pub set: Set,
    /// What was found.
    #[serde(flatten)]
    pub score: Score,
}

/// A line of the table: one reward on one set, over the seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Task.
    pub task: Preferred,
    /// Looks of the clips.
    pub set: Set,
    /// Reward.
    pub method: Method,
    /// Answers.
    pub answers: usize,
    /// Triplets in the right order.
    pub triplets: Option<Interval>,
    /// Middle nearer to the best than the worst.
    pub anchored: Option<Interval>,
    /// Between clips.
    pub between: Option<Interval>,
    /// Within clips.
    pub within: Option<Interval>,
}

/// RAPL less RLHF on the same clips and answers, over the seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Task.
    pub task: Preferred,
    /// Looks of the clips.
    pub set: Set,
    /// Answers of both.
    pub answers: usize,
    /// Difference of Spearman's correlations between clips.
    pub between: Option<Interval>,
    /// Difference of the shares of triplets.
    pub triplets: Option<Interval>,
}

/// What the clips of a task are like.
#[derive(Clone, Debug, Serialize)]
pub struct Clips {
    /// Task.
    pub task: Preferred,
    /// Least, quartiles and greatest hidden return of the test clips of all seeds.
    pub returns: [f64; 5],
    /// Share of the test clips that are successes by the task's own test.
    pub success: f64,
    /// The same of the exemplars.
    pub exemplar_success: f64,
}

/// The pictures of one test clip for the report, by set.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Task.
    pub task: Preferred,
    /// What the person thinks of it.
    pub hidden_return: f64,
    /// Pictures by set and time.
    pub pictures: Vec<(Set, Vec<RgbImage>)>,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// What was measured.
    pub config: ClaimConfig,
    /// The clips.
    pub clips: Vec<Clips>,
    /// Every reward at every number of answers on every set.
    pub rows: Vec<Row>,
    /// RAPL less RLHF.
    pub differences: Vec<Difference>,
    /// Every single measurement.
    pub measurements: Vec<Measurement>,
    /// Sets that could not be filmed here, and why.
    pub left_out: Vec<(Set, String)>,
    /// Seconds that filming, encoding, and learning with measuring took.
    pub seconds: BTreeMap<&'static str, f64>,
    /// Clips to look at.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

/// One task with one seed: clips filmed and encoded, and what the person thinks of them.
struct Scene {
    school: School,
    triplets: Vec<[usize; 3]>,
    tests: Vec<(Set, Vec<Seen>)>,
    truth: Vec<Vec<f64>>,
    returns: Vec<f64>,
    test_triplets: Vec<[usize; 3]>,
}

impl Claim {
    /// Measures. Sets that need a model that is not on this machine are left out and named.
    pub fn measure(mut config: ClaimConfig, use_cache: Cache, ui: Ui) -> anyhow::Result<Self> {
        let mut encoder = open(&config.encoder, DeviceChoice::Cpu)?;
        if use_cache == Cache::Disk {
            let cache = FeatureCache::new(FeatureCacheConfig::default());
            encoder = Box::new(CachedEncoder::new(encoder, cache));
        }
        let left_out = config.leave_out_what_is_missing();
        let mut claim = Self {
            clips: Vec::new(),
            rows: Vec::new(),
            differences: Vec::new(),
            measurements: Vec::new(),
            left_out,
            seconds: BTreeMap::new(),
            samples: Vec::new(),
            config,
        };
        for task in claim.config.tasks.clone() {
            let (mut returns, mut successes, mut shown) = (Vec::new(), Vec::new(), Vec::new());
            for seed in 0..claim.config.seeds {
                let seed = claim.config.first_seed + seed;
                ui.say(format!("{} seed {seed}", task.name()));
                let takes = claim.timed("filming", |c| Takes::film(&c.config, task, seed, ui))?;
                returns.extend(takes.test.iter().map(|take| take.hidden_return));
                successes.extend(takes.test.iter().map(|take| take.success));
                shown.extend(takes.exemplars.iter().map(|take| take.success));
                if seed == claim.config.first_seed {
                    let samples = samples(&claim.config, task, &takes);
                    claim.samples.extend(samples);
                }
                let scene = claim.timed("encoding", |c| {
                    Scene::encode(&c.config, takes, encoder.as_mut(), seed, ui)
                })?;
                let found =
                    claim.timed("learning", |c| scene.measure(&c.config, task, seed, ui))?;
                claim.measurements.extend(found);
            }
            claim.clips.push(Clips {
                task,
                returns: quartiles(&mut returns),
                success: share(&successes),
                exemplar_success: share(&shown),
            });
        }
        claim.summarise();
        Ok(claim)
    }

    fn timed<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let start = std::time::Instant::now();
        let done = work(self)?;
        *self.seconds.entry(what).or_default() += start.elapsed().as_secs_f64();
        Ok(done)
    }

    /// The measurements of one reward at one number of answers on one set, by seed.
    fn of(&self, task: Preferred, set: Set, method: Method, answers: usize) -> Vec<&Measurement> {
        let wanted =
            |m: &&Measurement| (m.task, m.set, m.method, m.answers) == (task, set, method, answers);
        self.measurements.iter().filter(wanted).collect()
    }

    /// The row of one reward at one number of answers (0 for those that do not ask) on one set.
    pub fn row(&self, task: Preferred, set: Set, method: Method, answers: usize) -> Option<&Row> {
        self.rows
            .iter()
            .find(|r| (r.task, r.set, r.method, r.answers) == (task, set, method, answers))
    }

    fn summarise(&mut self) {
        for &task in &self.config.tasks {
            for &set in &self.config.sets {
                for &method in &self.config.methods {
                    for answers in self.config.answers_of(method) {
                        let found = self.of(task, set, method, answers);
                        let over = |value: &dyn Fn(&Score) -> Option<f64>| {
                            let values: Option<Vec<f64>> =
                                found.iter().map(|m| value(&m.score)).collect();
                            values.and_then(|values| mean_of_seeds(&values))
                        };
                        self.rows.push(Row {
                            task,
                            set,
                            method,
                            answers,
                            triplets: over(&|s| Some(s.triplets)),
                            anchored: over(&|s| s.anchored),
                            between: over(&|s| Some(s.between)),
                            within: over(&|s| Some(s.within)),
                        });
                    }
                }
                for &answers in &self.config.answers {
                    let rapl = self.of(task, set, Method::Rapl, answers);
                    let rlhf = self.of(task, set, Method::Rlhf, answers);
                    let over = |value: &dyn Fn(&Score) -> f64| {
                        let gaps: Vec<f64> = rapl
                            .iter()
                            .zip(&rlhf)
                            .map(|(a, b)| value(&a.score) - value(&b.score))
                            .collect();
                        mean_of_seeds(&gaps)
                    };
                    self.differences.push(Difference {
                        task,
                        set,
                        answers,
                        between: over(&|s| s.between),
                        triplets: over(&|s| s.triplets),
                    });
                }
            }
        }
    }
}

/// Whether features are kept on disk for the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// They are.
    Disk,
    /// They are forgotten.
    None,
}

impl ClaimConfig {
    /// Numbers of answers at which a method is measured.
    pub fn answers_of(&self, method: Method) -> Vec<usize> {
        if method.asks() {
            self.answers.clone()
        } else {
            vec![0]
        }
    }

    /// The number of answers that tables show of a method.
    pub fn headline_of(&self, method: Method) -> usize {
        if method.asks() { self.headline } else { 0 }
    }

    fn leave_out_what_is_missing(&mut self) -> Vec<(Set, String)> {
        let missing = rapport::sim::assets::SO101
            .file("so101_new_calib.xml")
            .err()
            .map(|error| error.to_string());
        let Some(why) = missing else {
            return Vec::new();
        };
        let needs_it = |set: &Set| matches!(set, Set::Arm | Set::RoomAndArm);
        let gone: Vec<_> = self.sets.iter().copied().filter(needs_it).collect();
        self.sets.retain(|set| !needs_it(set));
        gone.into_iter().map(|set| (set, why.clone())).collect()
    }
}

/// The takes of one task with one seed.
struct Takes {
    pool: Vec<Take>,
    exemplars: Vec<Take>,
    test: Vec<Take>,
}

impl Takes {
    fn film(config: &ClaimConfig, task: Preferred, seed: u64, ui: Ui) -> anyhow::Result<Self> {
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
    fn encode(
        config: &ClaimConfig,
        takes: Takes,
        encoder: &mut dyn Encoder,
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
        let see = |clips: Vec<Features>| {
            clips
                .into_iter()
                .map(|whole| {
                    let small = components.transform(&whole)?;
                    Ok(Seen { whole, small })
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

    fn measure(
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
fn samples(config: &ClaimConfig, task: Preferred, takes: &Takes) -> Vec<Sample> {
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

fn quartiles(values: &mut [f64]) -> [f64; 5] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [0, 1, 2, 3, 4].map(|i| values.get(i * last / 4).copied().unwrap_or(f64::NAN))
}

fn share(holds: &[bool]) -> f64 {
    holds.iter().filter(|&&h| h).count() as f64 / holds.len().max(1) as f64
}
