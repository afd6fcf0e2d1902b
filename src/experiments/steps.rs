//! Sermanet, Xu and Levine's two tables (arXiv 1612.06699), in their form: how well the steps of a task are found in demonstrations
//! without labels, and how well the step rewards that are learned from them recognise the steps in new videos.
//!
//! The same protocol on other videos: doors, pours and lifts of a simulated arm in place of people filmed with a phone, each in a
//! room of its own, the true steps from the simulator in place of a person's marks, and another network's features. Only the
//! distances to the baselines can be compared.

mod config;
mod judge;
pub mod report;
mod staged;

use anyhow::Context as _;
use image::RgbImage;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport::perception::{DeviceChoice, Encoder, EncoderSpec, Features, open};
use rapport::reward::PerceptualSteps;
use rapport::reward::eval::Interval;
use rapport::reward::steps::Weighting;
use serde::Serialize;

pub use config::BenchConfig;
pub use staged::Staged;

use super::statistics::{mean, mean_of_seeds};
use crate::ui::Ui;
use judge::cuts_of;
use staged::{Video, film};

/// How steps are weighted when they are looked for: the paper's way, and ours.
pub const WEIGHTINGS: [Weighting; 2] = [Weighting::Uniform, Weighting::ByLength];

/// As tables call them.
pub fn weighting_name(weighting: Weighting) -> &'static str {
    match weighting {
        Weighting::Uniform => "as the paper",
        Weighting::ByLength => "weighted by length",
    }
}

/// Intersection over union of each step and their mean, in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Jaccard {
    /// By step.
    pub per_step: Vec<f64>,
    /// Their mean.
    pub mean: f64,
}

/// One measurement: one task, number of steps, way of looking for them, and seed.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Task.
    pub task: Staged,
    /// Seed.
    pub seed: u64,
    /// Number of steps.
    pub steps: usize,
    /// How they were looked for.
    pub weighting: Weighting,
    /// First table: steps found in the demonstrations.
    pub found: Jaccard,
    /// The same of cuts at random, in order, with the same least length.
    pub found_at_random: Jaccard,
    /// The same of cuts at random, in order, anywhere. The paper does not say which of the two its baseline is.
    pub found_anywhere: Jaccard,
    /// Second table: rewards above ½ in new videos.
    pub rewarded: Jaccard,
    /// The same of coin flips.
    pub rewarded_at_random: Jaccard,
    /// Mean distance of the cuts from the true ones, frames.
    pub cut_error: f64,
}

/// A line of a table, over the seeds, in percent.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Each step.
    pub per_step: Vec<Option<Interval>>,
    /// Their mean.
    pub mean: Option<Interval>,
}

/// One task and number of steps in both tables.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Task.
    pub task: Staged,
    /// Number of steps.
    pub steps: usize,
    /// How they were looked for.
    pub weighting: Weighting,
    /// First table.
    pub found: Line,
    /// Its baseline.
    pub found_at_random: Line,
    /// How far the first is above its baseline, points.
    pub found_gap: Option<Interval>,
    /// The baseline that knows of no least length.
    pub found_anywhere: Line,
    /// How far the first is above that one, points.
    pub found_gap_anywhere: Option<Interval>,
    /// Second table.
    pub rewarded: Line,
    /// Its baseline.
    pub rewarded_at_random: Line,
    /// How far the second is above its baseline, points.
    pub rewarded_gap: Option<Interval>,
    /// Mean distance of the cuts from the true ones, frames.
    pub cut_error: Option<Interval>,
}

/// How one test video was rewarded, to look at.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Task.
    pub task: Staged,
    /// Its pictures.
    pub pictures: Vec<RgbImage>,
    /// True first frames of the steps but the first.
    pub truth: Vec<usize>,
    /// Value of each step at each frame.
    pub values: Vec<Vec<f64>>,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// What was measured.
    pub config: BenchConfig,
    /// Both tables.
    pub rows: Vec<Row>,
    /// Every single measurement.
    pub measurements: Vec<Measurement>,
    /// Mean number of frames of a video, by task.
    pub frames: Vec<(Staged, f64)>,
    /// One test video of each task.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

impl Bench {
    /// Measures.
    pub fn measure(config: BenchConfig, ui: Ui) -> anyhow::Result<Self> {
        let mut eyes = Encoders::open(&config.encoders)?;
        let mut bench = Self {
            rows: Vec::new(),
            measurements: Vec::new(),
            frames: Vec::new(),
            samples: Vec::new(),
            config,
        };
        for task in bench.config.tasks.clone() {
            let mut lengths = Vec::new();
            for seed in 0..bench.config.seeds {
                let seed = bench.config.first_seed + seed;
                ui.say(format!("{} seed {seed}", task.name()));
                let videos = film(&bench.config, task, seed, ui)?;
                lengths.extend(videos.iter().map(|video| video.labels.len() as f64));
                let features = eyes.encode_all(&videos, ui)?;
                let clips: Vec<(Features, Vec<usize>)> = features
                    .into_iter()
                    .zip(&videos)
                    .map(|(features, video)| (features, video.labels.clone()))
                    .collect();
                let (learn, test) = clips.split_at(bench.config.demonstrations);
                for steps in bench.config.steps.clone() {
                    for weighting in WEIGHTINGS {
                        let settings = bench.config.settings(steps, weighting);
                        let demonstrations: Vec<Features> =
                            learn.iter().map(|(features, _)| features.clone()).collect();
                        let (model, cuts) =
                            PerceptualSteps::learn(&eyes.spec, &demonstrations, settings)?;
                        let mut rng = ChaCha8Rng::seed_from_u64(seed);
                        rng.set_stream(steps as u64);
                        let cuts: Vec<Vec<usize>> = cuts.into_iter().map(|s| s.cuts).collect();
                        let measurement = bench.config.judge(
                            (task, seed, steps, weighting),
                            learn,
                            &cuts,
                            test,
                            &model,
                            &mut rng,
                        )?;
                        bench.measurements.push(measurement);
                        let is_first = seed == bench.config.first_seed;
                        if is_first && steps == 3 && weighting == Weighting::ByLength {
                            let (features, labels) = &test[0];
                            bench.samples.push(Sample {
                                task,
                                pictures: videos[bench.config.demonstrations].pictures.clone(),
                                truth: cuts_of(labels),
                                values: model.values(features)?,
                            });
                        }
                    }
                }
            }
            let frames = mean(&lengths).context("no video")?;
            bench.frames.push((task, frames));
        }
        bench.summarise();
        Ok(bench)
    }

    fn summarise(&mut self) {
        for &task in &self.config.tasks {
            for &steps in &self.config.steps {
                for weighting in WEIGHTINGS {
                    let of: Vec<&Measurement> = self
                        .measurements
                        .iter()
                        .filter(|m| (m.task, m.steps, m.weighting) == (task, steps, weighting))
                        .collect();
                    let over = |value: &dyn Fn(&Measurement) -> f64| {
                        let values: Vec<f64> = of.iter().map(|m| value(m)).collect();
                        mean_of_seeds(&values)
                    };
                    let line = |part: &dyn Fn(&Measurement) -> &Jaccard| Line {
                        per_step: (0..steps)
                            .map(|step| over(&|m| part(m).per_step[step]))
                            .collect(),
                        mean: over(&|m| part(m).mean),
                    };
                    self.rows.push(Row {
                        task,
                        steps,
                        weighting,
                        found: line(&|m| &m.found),
                        found_at_random: line(&|m| &m.found_at_random),
                        found_gap: over(&|m| m.found.mean - m.found_at_random.mean),
                        found_anywhere: line(&|m| &m.found_anywhere),
                        found_gap_anywhere: over(&|m| m.found.mean - m.found_anywhere.mean),
                        rewarded: line(&|m| &m.rewarded),
                        rewarded_at_random: line(&|m| &m.rewarded_at_random),
                        rewarded_gap: over(&|m| m.rewarded.mean - m.rewarded_at_random.mean),
                        cut_error: over(&|m| m.cut_error),
                    });
                }
            }
        }
    }
}

/// Encoders whose features stand side by side.
struct Encoders {
    encoders: Vec<Box<dyn Encoder>>,
    spec: EncoderSpec,
}

impl Encoders {
    fn open(names: &[String]) -> anyhow::Result<Self> {
        let encoders = names
            .iter()
            .map(|name| Ok(open(name, DeviceChoice::Cpu)?))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let join = |part: &dyn Fn(&EncoderSpec) -> String| {
            let parts: Vec<String> = encoders.iter().map(|e| part(e.spec())).collect();
            parts.join(" + ")
        };
        let spec = EncoderSpec {
            name: join(&|spec| spec.name.clone()),
            dim: encoders.iter().map(|e| e.spec().dim).sum(),
            fingerprint: join(&|spec| spec.fingerprint.clone()),
        };
        Ok(Self { encoders, spec })
    }

    fn encode_all(&mut self, videos: &[Video], ui: Ui) -> anyhow::Result<Vec<Features>> {
        let bar = ui.bar(videos.len() as u64, "encoding");
        let features = videos
            .iter()
            .map(|video| {
                anyhow::ensure!(!crate::interrupt::requested(), "stopped");
                bar.inc(1);
                let parts = self
                    .encoders
                    .iter_mut()
                    .map(|encoder| Ok(encoder.encode(&video.pictures)?))
                    .collect::<anyhow::Result<Vec<_>>>()?;
                let values = (0..video.pictures.len())
                    .flat_map(|t| parts.iter().flat_map(move |part| part.row(t).to_vec()))
                    .collect();
                Ok(Features::new(self.spec.dim, values))
            })
            .collect();
        bar.finish_and_clear();
        features
    }
}
