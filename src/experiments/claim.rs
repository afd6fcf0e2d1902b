//! RAPL's claim, measured: few rankings of clips are enough to align a frozen encoder, so that transport to exemplars means what the
//! person wants, better than a scorer learned from the same answers, and also on another arm (Tian et al., arXiv 2310.07932 and
//! 2412.04835).
//!
//! Two simulated tasks with a hidden preference, rollouts of graded quality, a frozen encoder, answers by the hidden return. Every
//! reward is asked to order held-out clips, and frames within them, as the hidden reward does: on clips that look the same as those
//! learned from, and on the same episodes in another room and with another arm.

mod config;
pub mod report;
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use image::RgbImage;
use rapport::perception::cache::{FeatureCache, FeatureCacheConfig};
use rapport::perception::{CachedEncoder, DeviceChoice, open};
use rapport::reward::eval::Interval;
use serde::{Deserialize, Serialize};

pub use config::ClaimConfig;

use super::filming::{Set, Take};
use super::manner::Preferred;
use super::rivals::Method;
use super::statistics::mean_of_seeds;
use crate::ui::Ui;
use scene::{Scene, Speech, Takes, samples};

/// How one reward did on one set of clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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

/// What the test clips of a task with one seed are like.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Clips {
    /// Task.
    pub task: Preferred,
    /// Seed.
    pub seed: u64,
    /// Hidden returns of the test clips.
    pub returns: Vec<f64>,
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
    /// Sets and rewards that could not be had here, and why.
    pub left_out: Vec<(String, String)>,
    /// Seconds that filming, encoding, and learning with measuring took.
    pub seconds: BTreeMap<String, f64>,
    /// Clips to look at.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

/// Whether features are kept on disk for the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// They are.
    Disk,
    /// They are forgotten.
    None,
}

impl Claim {
    /// Measures. Sets and rewards that need a model that is not on this machine are left out and named.
    pub fn measure(mut config: ClaimConfig, use_cache: Cache, ui: Ui) -> anyhow::Result<Self> {
        let mut encoder = open(&config.encoder, DeviceChoice::Cpu)?;
        if use_cache == Cache::Disk {
            let cache = FeatureCache::new(FeatureCacheConfig::default());
            encoder = Box::new(CachedEncoder::new(encoder, cache));
        }
        let mut left_out = config.leave_out_what_is_missing();
        let mut speech = None;
        if config.methods.contains(&Method::Text) {
            match Speech::open(&config.encoder, &config.tasks) {
                Ok(open) => speech = Some(open),
                Err(why) => {
                    config.methods.retain(|&method| method != Method::Text);
                    left_out.push((Method::Text.name().into(), why.to_string()));
                }
            }
        }
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
            for seed in 0..claim.config.seeds {
                let seed = claim.config.first_seed + seed;
                ui.say(format!("{} seed {seed}", task.name()));
                let takes = claim.timed("filming", |c| Takes::film(&c.config, task, seed, ui))?;
                claim.clips.push(Clips {
                    task,
                    seed,
                    returns: takes.test.iter().map(|take| take.hidden_return).collect(),
                    success: successes(&takes.test),
                    exemplar_success: successes(&takes.exemplars),
                });
                if seed == claim.config.first_seed {
                    let samples = samples(&claim.config, task, &takes);
                    claim.samples.extend(samples);
                }
                let scene = claim.timed("encoding", |c| {
                    let speech = speech.as_mut();
                    Scene::encode(&c.config, task, takes, (encoder.as_mut(), speech), seed, ui)
                })?;
                let found =
                    claim.timed("learning", |c| scene.measure(&c.config, task, seed, ui))?;
                claim.measurements.extend(found);
            }
        }
        claim.summarise();
        Ok(claim)
    }

    /// Puts earlier runs together, of other seeds or tasks, that were measured in the same way. Fails on files that are not such runs,
    /// on runs that were measured differently, and when a seed occurs twice.
    pub fn together(files: &[PathBuf]) -> anyhow::Result<Self> {
        /// What a file has that cannot be computed from the rest.
        #[derive(Deserialize)]
        struct Run {
            config: ClaimConfig,
            clips: Vec<Clips>,
            measurements: Vec<Measurement>,
            left_out: Vec<(String, String)>,
            seconds: BTreeMap<String, f64>,
        }
        let mut runs = files
            .iter()
            .map(|file| {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                serde_json::from_str::<Run>(&text)
                    .with_context(|| format!("{} is not a claim.json", file.display()))
            })
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter();
        let first = runs.next().context("there is no run to put together")?;
        let mut claim = Self {
            config: first.config,
            clips: first.clips,
            rows: Vec::new(),
            differences: Vec::new(),
            measurements: first.measurements,
            left_out: first.left_out,
            seconds: first.seconds,
            samples: Vec::new(),
        };
        for run in runs {
            let same = ClaimConfig {
                tasks: claim.config.tasks.clone(),
                seeds: claim.config.seeds,
                first_seed: claim.config.first_seed,
                ..run.config.clone()
            };
            anyhow::ensure!(
                same == claim.config,
                "the runs were not measured in the same way"
            );
            claim.clips.extend(run.clips);
            claim.measurements.extend(run.measurements);
            for (what, seconds) in run.seconds {
                *claim.seconds.entry(what).or_default() += seconds;
            }
            for task in run.config.tasks {
                if !claim.config.tasks.contains(&task) {
                    claim.config.tasks.push(task);
                }
            }
        }
        let seeds: BTreeSet<u64> = claim.clips.iter().map(|clips| clips.seed).collect();
        let pairs: BTreeSet<(Preferred, u64)> =
            claim.clips.iter().map(|c| (c.task, c.seed)).collect();
        anyhow::ensure!(
            pairs.len() == claim.clips.len(),
            "a task with one seed occurs in two runs; give each once"
        );
        claim.config.seeds = seeds.len() as u64;
        claim.config.first_seed = seeds.first().copied().unwrap_or_default();
        claim.measurements.sort_by_key(|m| (m.task, m.seed));
        claim.config.tasks.sort_unstable();
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
        *self.seconds.entry(what.into()).or_default() += start.elapsed().as_secs_f64();
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

fn successes(takes: &[Take]) -> f64 {
    takes.iter().filter(|take| take.success).count() as f64 / takes.len().max(1) as f64
}
