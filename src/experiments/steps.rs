//! Sermanet, Xu and Levine's two tables (arXiv 1612.06699), in their form: how well the steps of a task are found in demonstrations
//! without labels, and how well the step rewards that are learned from them recognise the steps in new videos.
//!
//! The same protocol on other videos: doors, pours and lifts of a simulated arm in place of people filmed with a phone, each in a
//! room of its own, the true steps from the simulator in place of a person's marks, and another network's features. Only the
//! distances to the baselines can be compared.

use anyhow::Context as _;
use image::RgbImage;
use rand::seq::index::sample;
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::{DeviceChoice, Encoder, EncoderSpec, Features, open};
use rapport::reward::eval::{Interval, labels_from_cuts, step_jaccard};
use rapport::reward::steps::{SegmentationConfig, Weighting};
use rapport::reward::{PerceptualSteps, StepsConfig};
use rapport::sim::randomise::{Randomisation, Range};
use rapport::sim::render::Backend;
use rapport::sim::{Env, EnvConfig, Reading, Script, ScriptConfig};
use serde::{Deserialize, Serialize};

use super::side_by_side::side_by_side;
use super::statistics::{mean, mean_of_seeds};
use crate::ui::Ui;

/// A task whose steps are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staged {
    /// Open a door: reach the handle, hook the finger behind it, open.
    Door,
    /// Pour: fetch the cup, carry it, tip it.
    Pour,
    /// Lift a cube: reach it, close on it, lift it.
    Lift,
}

impl Staged {
    /// All.
    pub const ALL: [Self; 3] = [Self::Door, Self::Pour, Self::Lift];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Pour => "pour",
            Self::Lift => "lift",
        }
    }

    fn task(self) -> &'static str {
        match self {
            Self::Door => "so101-door",
            Self::Pour => "so101-pour",
            Self::Lift => "so101-lift",
        }
    }

    /// What the steps are, by their number.
    pub fn steps(self, count: usize) -> &'static [&'static str] {
        match (self, count) {
            (Self::Door, 2) => &["reach", "open"],
            (Self::Door, _) => &["reach", "hook", "open"],
            (Self::Pour, 2) => &["fetch", "carry and pour"],
            (Self::Pour, _) => &["fetch", "carry", "pour"],
            (Self::Lift, 2) => &["reach and grasp", "lift"],
            (Self::Lift, _) => &["reach", "grasp", "lift"],
        }
    }

    /// Which of three steps has begun in this state, were it the only one known.
    fn begun(self, reading: &Reading) -> usize {
        match self {
            Self::Door => {
                let Some(door) = reading.fixtures.first() else {
                    return 0;
                };
                let way = door.handle - reading.tool();
                if door.opening > 0.05 {
                    2
                } else {
                    usize::from(way.xy().norm() < 0.015 && way.z > -0.01)
                }
            }
            Self::Pour => {
                let Some(cup) = reading.objects.first() else {
                    return 0;
                };
                let up = cup.base_from_object.rotation * nalgebra::Vector3::z();
                // Half its height stands on the table; tipped by 30 degrees it pours soon.
                if up.z < 0.87 {
                    2
                } else {
                    usize::from(cup.position().z > 0.030 + 0.010)
                }
            }
            Self::Lift => {
                let Some(cube) = reading.cube() else {
                    return 0;
                };
                if cube.position().z > 0.015 + 0.005 {
                    2
                } else {
                    usize::from(reading.grip() < -0.1)
                }
            }
        }
    }
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchConfig {
    /// Tasks.
    pub tasks: Vec<Staged>,
    /// Numbers of steps, 2 or 3.
    pub steps: Vec<usize>,
    /// Demonstrations learned from; the paper has 11 of pouring.
    pub demonstrations: usize,
    /// Demonstrations kept for the second table.
    pub tests: usize,
    /// Seeds: demonstrations and rooms are new with each.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Frozen encoders, whose features stand side by side.
    pub encoders: Vec<String>,
    /// Side of the pictures, pixels.
    pub side: u32,
    /// Least frames of a step.
    pub min_size: usize,
    /// Draws of the baselines for each video.
    pub draws: usize,
    /// What differs between the videos.
    pub rooms: Randomisation,
}

impl Default for BenchConfig {
    fn default() -> Self {
        Self {
            tasks: Staged::ALL.to_vec(),
            steps: vec![2, 3],
            demonstrations: 11,
            tests: 11,
            seeds: 5,
            first_seed: 0,
            encoders: vec!["efficientnet-lite0:block10@112".into()],
            side: 112,
            min_size: 5,
            draws: 200,
            rooms: Randomisation {
                colour: Some(Range::new(-0.25, 0.2)),
                light: Some(Range::new(0.6, 1.4)),
                light_m: Some(Range::new(-0.3, 0.3)),
                camera_m: Some(Range::new(-0.02, 0.02)),
                camera_rad: Some(Range::new(-0.04, 0.04)),
                ..Randomisation::default()
            },
        }
    }
}

impl BenchConfig {
    /// Small enough for a test of the whole way.
    pub fn quick() -> Self {
        Self {
            tasks: vec![Staged::Lift],
            demonstrations: 3,
            tests: 2,
            seeds: 2,
            draws: 50,
            ..Self::default()
        }
    }

    /// Says what is wrong with it, if anything.
    pub fn validate(&self) -> Result<(), String> {
        let check = |holds: bool, sentence: &str| if holds { Ok(()) } else { Err(sentence.into()) };
        check(
            self.steps.iter().all(|steps| (2..=3).contains(steps)),
            "the true steps are known for 2 and 3 steps",
        )?;
        check(
            self.demonstrations > 0 && self.tests > 0 && self.seeds > 0 && self.draws > 0,
            "demonstrations, tests, seeds and draws must be above 0",
        )?;
        check(self.min_size > 0, "the least step has at least one frame")?;
        check(!self.encoders.is_empty(), "name at least one encoder")
    }
}

/// How steps are weighted when they are looked for: the paper's way, and ours.
pub const WEIGHTINGS: [Weighting; 2] = [Weighting::Uniform, Weighting::ByLength];

/// As tables call them.
pub fn weighting_name(weighting: Weighting) -> &'static str {
    match weighting {
        Weighting::Uniform => "as the paper",
        Weighting::ByLength => "weighted by length",
    }
}

/// One demonstration.
struct Video {
    pictures: Vec<RgbImage>,
    /// Which of three steps each frame belongs to.
    labels: Vec<usize>,
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

impl BenchConfig {
    fn settings(&self, steps: usize, weighting: Weighting) -> StepsConfig {
        StepsConfig {
            segmentation: SegmentationConfig {
                steps,
                min_size: self.min_size,
                weighting,
                ..SegmentationConfig::default()
            },
            ..StepsConfig::default()
        }
    }

    fn judge(
        &self,
        (task, seed, steps, weighting): (Staged, u64, usize, Weighting),
        learn: &[(Features, Vec<usize>)],
        cuts: &[Vec<usize>],
        test: &[(Features, Vec<usize>)],
        model: &PerceptualSteps,
        rng: &mut ChaCha8Rng,
    ) -> anyhow::Result<Measurement> {
        let (mut found, mut found_at_random) = (Vec::new(), Vec::new());
        let mut errors = Vec::new();
        for ((_, labels), cuts) in learn.iter().zip(cuts) {
            let truth = fewer(labels, steps);
            found.push(labelled(
                &labels_from_cuts(cuts, truth.len()),
                &truth,
                steps,
            )?);
            for _ in 0..self.draws {
                let cuts = ordered_at_random(truth.len(), steps, self.min_size, rng);
                let labels = labels_from_cuts(&cuts, truth.len());
                found_at_random.push(labelled(&labels, &truth, steps)?);
            }
            let apart = rapport::reward::eval::boundary_error(cuts, &cuts_of(&truth));
            errors.extend(apart);
        }
        let (mut rewarded, mut rewarded_at_random) = (Vec::new(), Vec::new());
        for (features, labels) in test {
            let truth = fewer(labels, steps);
            let values = model.values(features)?;
            rewarded.push(above_half(&values, &truth));
            for _ in 0..self.draws {
                let coins: Vec<Vec<f64>> = (0..steps)
                    .map(|_| truth.iter().map(|_| rng.random()).collect())
                    .collect();
                rewarded_at_random.push(above_half(&coins, &truth));
            }
        }
        Ok(Measurement {
            task,
            seed,
            steps,
            weighting,
            found: Jaccard::mean_of(&found, steps),
            found_at_random: Jaccard::mean_of(&found_at_random, steps),
            rewarded: Jaccard::mean_of(&rewarded, steps),
            rewarded_at_random: Jaccard::mean_of(&rewarded_at_random, steps),
            cut_error: mean(&errors).context("no cut to compare")?,
        })
    }
}

impl Jaccard {
    /// The mean over videos, each a share by step; in percent.
    fn mean_of(videos: &[Vec<f64>], steps: usize) -> Self {
        let per_step: Vec<f64> = (0..steps)
            .map(|step| {
                let known: Vec<f64> = videos
                    .iter()
                    .map(|video| video[step])
                    .filter(|share| !share.is_nan())
                    .collect();
                100.0 * mean(&known).unwrap_or(0.0)
            })
            .collect();
        let mean = per_step.iter().sum::<f64>() / steps as f64;
        Self { per_step, mean }
    }
}

/// Three steps as two: the first two are one.
fn fewer(labels: &[usize], steps: usize) -> Vec<usize> {
    labels
        .iter()
        .map(|&label| if steps == 2 { label / 2 } else { label })
        .collect()
}

fn labelled(found: &[usize], truth: &[usize], steps: usize) -> anyhow::Result<Vec<f64>> {
    let (per_step, _) = step_jaccard(found, truth, steps).context("a video has no frame")?;
    // A step that is in neither is no agreement either.
    Ok(per_step.into_iter().map(|j| j.unwrap_or(0.0)).collect())
}

/// Intersection over union of the frames whose value is above ½ with those of the step, by step.
fn above_half(values: &[Vec<f64>], truth: &[usize]) -> Vec<f64> {
    values
        .iter()
        .enumerate()
        .map(|(step, values)| {
            let (mut both, mut either) = (0.0, 0.0);
            for (value, label) in values.iter().zip(truth) {
                let (found, is) = (*value > 0.5, *label == step);
                both += f64::from(u8::from(found && is));
                either += f64::from(u8::from(found || is));
            }
            both / either
        })
        .collect()
}

/// First frames of the steps but the first.
fn cuts_of(labels: &[usize]) -> Vec<usize> {
    (1..labels.len())
        .filter(|&t| labels[t] != labels[t - 1])
        .collect()
}

/// Cuts of `frames` into `steps` of at least `min_size`, all such cuts equally likely.
fn ordered_at_random(
    frames: usize,
    steps: usize,
    min_size: usize,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let free = frames - steps * min_size;
    // As many ways as to choose among the free frames and the cuts themselves.
    let mut places = sample(rng, free + steps - 1, steps - 1).into_vec();
    places.sort_unstable();
    places
        .into_iter()
        .enumerate()
        .map(|(i, place)| place - i + (i + 1) * min_size)
        .collect()
}

/// Films as many successful demonstrations as are wanted, each in a room of its own.
fn film(config: &BenchConfig, task: Staged, seed: u64, ui: Ui) -> anyhow::Result<Vec<Video>> {
    let count = config.demonstrations + config.tests;
    let bar = ui.bar(count as u64, "filming demonstrations");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut videos = Vec::with_capacity(count);
    // An operator with an unsteady hand fails now and then; a demonstration is a success.
    for _ in 0..5 {
        let wanted = count - videos.len();
        let seeds: Vec<u64> = (0..wanted).map(|_| rng.random()).collect();
        let taken = side_by_side(
            &seeds,
            || bar.inc(1),
            || {
                let mut env = Env::new(
                    task.task(),
                    EnvConfig {
                        renderer: Backend::Cpu,
                        image_width: config.side,
                        image_height: config.side,
                        randomisation: config.rooms.clone(),
                        ..EnvConfig::default()
                    },
                )?;
                Ok(move |seed: &u64| demonstrate(&mut env, task, *seed))
            },
        )?;
        let usable = |video: &Video| {
            let cuts = cuts_of(&video.labels);
            cuts.len() == 2 && video.labels.len() >= 3 * config.min_size
        };
        videos.extend(taken.into_iter().flatten().filter(usable));
        if videos.len() >= count {
            break;
        }
    }
    bar.finish_and_clear();
    anyhow::ensure!(
        videos.len() >= count,
        "only {} of {count} demonstrations of {} succeeded",
        videos.len(),
        task.name()
    );
    Ok(videos)
}

/// One demonstration; None when it failed.
fn demonstrate(env: &mut Env, task: Staged, seed: u64) -> anyhow::Result<Option<Video>> {
    env.reset(seed)?;
    let mut script = Script::new(env.task().clone(), ScriptConfig::default(), seed);
    let mut video = Video {
        pictures: Vec::new(),
        labels: Vec::new(),
    };
    let mut step = 0;
    for _ in 0..env.max_steps() {
        let reading = env.reading()?;
        // A step that has begun is not begun again.
        step = step.max(task.begun(&reading));
        video.pictures.push(env.render("front")?);
        video.labels.push(step);
        let action = script.action(&reading);
        if script.is_done() {
            return Ok(Some(video));
        }
        env.step(&action)?;
    }
    Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_cuts_are_in_order_long_enough_and_all_equally_likely() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let cuts = ordered_at_random(9, 3, 2, &mut rng);
            let ends = [0, cuts[0], cuts[1], 9];
            assert!(ends.windows(2).all(|w| w[1] >= w[0] + 2), "{cuts:?}");
            *seen.entry(cuts).or_insert(0) += 1;
        }
        // Three free frames among three steps: 10 ways.
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|n| (480..720).contains(n)), "{seen:?}");
    }

    #[test]
    fn three_steps_become_two_and_cuts_are_where_labels_change() {
        let labels = [0, 0, 1, 1, 2];
        assert_eq!(fewer(&labels, 2), [0, 0, 0, 0, 1]);
        assert_eq!(cuts_of(&labels), [2, 4]);
        assert_eq!(cuts_of(&fewer(&labels, 2)), [4]);
    }

    #[test]
    fn a_reward_above_a_half_says_that_the_frame_is_of_the_step() {
        let values = [vec![0.9, 0.9, 0.2, 0.1], vec![0.4, 0.6, 0.7, 0.3]];
        assert_eq!(above_half(&values, &[0, 0, 1, 1]), [1.0, 1.0 / 3.0]);
    }
}
