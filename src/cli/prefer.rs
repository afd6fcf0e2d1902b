//! `rapport prefer`: a person chooses between clips, in the browser or in the terminal; every answer is on disk before the next question.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport::dataset::Dataset;
use rapport::reward::{Choice, ClipId, Preference, PreferenceStore};
use serde::Serialize;

use super::Usage;
use super::reward::Eyes;
use crate::clips::{camera_of, dataset_name};
use crate::interrupt;
use crate::prefer::film::{Films, Pace};
use crate::prefer::questions::{Mode, Plan, Questions, sample};
use crate::prefer::server::{Listening, Place, kept_token};
use crate::prefer::thinking::{self, think};
use crate::prefer::{Shared, terminal};
use crate::schema::PROGRESS;
use crate::ui::Ui;

/// Seconds of a clip at most, where nothing else is asked for.
const CLIP_SECONDS: f64 = 3.0;

/// Choose between clips: what you want is learned from it.
///
/// Opens a page for your browser (the address is printed) with two clips beside each other. Choose with the arrow keys, by click or by
/// touch; down is equal, S skips, U takes back. Every answer is on disk before the next pair shows, and a session goes on where it
/// ended when it is started again. Several tabs may answer at once. On a machine without a browser: `--terminal`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The dataset the clips come from.
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Where the answers go, one JSON object a line.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
    /// A dataset of demonstrations whose last frame counts as better than anything: it heads every ranking without being asked for.
    #[arg(long, value_name = "DIR")]
    pub demonstrations: Option<PathBuf>,
    /// Answers in all, earlier sessions included.
    #[arg(
        long = "count",
        visible_alias = "answers",
        value_name = "N",
        default_value_t = 300
    )]
    pub answers: usize,
    /// Two clips a question [default].
    #[arg(long, conflicts_with = "triplets")]
    pub pairs: bool,
    /// Three clips a question, to be put in order [default with --annotator oracle].
    #[arg(long)]
    pub triplets: bool,
    /// Frames of a clip [default: up to three seconds; 1 with --annotator oracle].
    #[arg(long, value_name = "N")]
    pub frames: Option<usize>,
    /// What to ask, in words: "Which is gentler?". It is kept with each answer, as the situation in which it holds.
    #[arg(long, value_name = "TEXT")]
    pub context: Option<String>,
    /// Who answers: you, or an oracle that reads the simulator's ground truth from the dataset and stands in for a person.
    #[arg(long, value_enum, default_value_t = Annotator::Person)]
    pub annotator: Annotator,
    /// Ask in this terminal instead of in the browser.
    #[arg(long)]
    pub terminal: bool,
    /// Name of the person, kept with each answer.
    #[arg(long, default_value = "me")]
    pub user: String,
    /// Port of the page; 0 takes a free one.
    #[arg(long, default_value_t = 7878)]
    pub port: u16,
    /// Address to listen on. 0.0.0.0 lets other machines in: whoever has the printed address may answer, and can read the pictures on the way.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Name by which other machines know this one, where it is not the one that it calls itself.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Ask at random to the end, without a model that chooses questions.
    #[arg(long)]
    pub uniform: bool,
    #[command(flatten)]
    pub eyes: Eyes,
    /// Seed of the questions.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Args {
    /// What the command line gives when only these two are named.
    pub fn new(dataset: PathBuf, out: PathBuf) -> Self {
        Self {
            dataset,
            out,
            demonstrations: None,
            answers: 300,
            pairs: false,
            triplets: false,
            frames: None,
            context: None,
            annotator: Annotator::Person,
            terminal: false,
            user: "me".into(),
            port: 7878,
            bind: IpAddr::from([127, 0, 0, 1]),
            host: None,
            uniform: false,
            eyes: Eyes {
                encoder: "efficientnet-lite0:block10@112".into(),
                device: rapport::perception::DeviceChoice::Cpu,
                camera: None,
            },
            seed: 0,
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Annotator {
    /// You.
    Person,
    /// Ground truth of the simulator, in place of a person.
    Oracle,
}

#[derive(Serialize)]
struct Summary {
    answers: usize,
    new: usize,
    skipped: usize,
    annotator: &'static str,
    /// Share of held-out pairs that the model of the questions has in order.
    accuracy: Option<f64>,
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.frames == Some(0) {
        return Err(Usage("--frames must be at least 1".into()).into());
    }
    if args.user.is_empty() {
        return Err(Usage("--user is empty; give a name".into()).into());
    }
    let dataset = Dataset::open(&args.dataset)?;
    let clips = clips(args, &dataset)?;
    let demonstrations = args
        .demonstrations
        .as_deref()
        .map(ends)
        .transpose()?
        .unwrap_or_default();
    let mode = mode(args);
    if clips.len() < mode.clips() {
        return Err(Usage(format!(
            "{} has {} clips of that length; {} are needed",
            args.dataset.display(),
            clips.len(),
            mode.clips()
        ))
        .into());
    }
    let summary = match args.annotator {
        Annotator::Oracle => answer_from_truth(args, &dataset, &clips, &demonstrations)?,
        Annotator::Person => ask(args, dataset, clips, demonstrations, ui)?,
    };
    ui.result(&summary, || {
        let done = format!(
            "{} answers ({} new, by {}) in {}",
            summary.answers,
            summary.new,
            summary.annotator,
            summary.out.display()
        );
        if summary.answers < args.answers {
            format!("{done}\nGo on with: {}", command_line())
        } else {
            done
        }
    })
}

fn mode(args: &Args) -> Mode {
    match (args.pairs, args.triplets, args.annotator) {
        (true, _, _) | (false, false, Annotator::Person) => Mode::Pairs,
        (false, true, _) | (false, false, Annotator::Oracle) => Mode::Triplets,
    }
}

/// Asks a person.
fn ask(
    args: &Args,
    dataset: Dataset,
    clips: Vec<ClipId>,
    demonstrations: Vec<ClipId>,
    ui: Ui,
) -> anyhow::Result<Summary> {
    let camera = camera_of(&dataset, args.eyes.camera.as_deref())?;
    let annotator = if args.terminal { "terminal" } else { "page" };
    let plan = Plan {
        mode: mode(args),
        count: args.answers,
        seed: args.seed,
        user: args.user.clone(),
        annotator: annotator.into(),
        context: args.context.clone(),
    };
    // The port first: without it there is nothing to open.
    let place = Place {
        bind: args.bind,
        port: args.port,
        host: args.host.clone(),
    };
    let listening = (!args.terminal)
        .then(|| Listening::open(&place, kept_token()))
        .transpose()?;
    let longest = clips.iter().map(|c| c.end - c.start).max().unwrap_or(1);
    let pace = Pace::new(f64::from(dataset.info().fps), longest);
    let dataset = Arc::new(dataset);
    let store = PreferenceStore::open(&args.out)?;
    let questions = Questions::new(plan, clips, demonstrations, store)?;
    let before = questions.answered();
    let shared = Arc::new(Shared::new(questions));
    if !args.uniform {
        let (encoder, device) = (args.eyes.encoder.clone(), args.eyes.device);
        let eyes = thinking::Eyes {
            dataset: Arc::clone(&dataset),
            camera: camera.clone(),
            open: Box::new(move || Ok(rapport::perception::open(&encoder, device)?)),
        };
        let shared = Arc::clone(&shared);
        // Nobody waits for it at the end: what it has found so far is in the feature cache.
        std::thread::spawn(move || think(&shared, eyes));
    }
    match listening {
        None => terminal::ask(&shared, &dataset, &camera)?,
        Some(listening) => {
            announce(&listening, ui);
            listening.serve(&shared, &Films::new(dataset, camera, pace));
        }
    }
    shared.stop();
    let questions = shared.lock();
    let answers = questions.answered();
    Ok(Summary {
        answers,
        new: answers.saturating_sub(before),
        skipped: questions.skipped(),
        annotator,
        accuracy: questions.belief().and_then(|b| b.accuracy),
        out: args.out.clone(),
    })
}

/// Says where the page is. Said even to who wants to hear nothing: without the address the command is of no use.
#[allow(clippy::print_stderr)]
fn announce(listening: &Listening, ui: Ui) {
    eprintln!("{}", listening.url());
    ui.say("Open this address in a browser. Every answer is saved at once; Ctrl-C ends.");
    if listening.is_open() {
        ui.say("Other machines on this network can reach it; the part behind # is the key, so give it only to whom you trust.");
    }
}

/// Lets the simulator's ground truth answer.
fn answer_from_truth(
    args: &Args,
    dataset: &Dataset,
    clips: &[ClipId],
    demonstrations: &[ClipId],
) -> anyhow::Result<Summary> {
    let truth = truth(dataset)?;
    let value = |clip: &ClipId| {
        (clip.start..clip.end)
            .map(|t| truth[clip.episode].row(t)[0])
            .sum::<f32>()
    };
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let mut store = PreferenceStore::open(&args.out)?;
    let before = store.records().len();
    // Questions are drawn in the order of the seed, so that a session goes on with the ones it has not asked.
    let mut asked = 0;
    while store.records().len() < args.answers && !interrupt::requested() {
        let question = sample(clips, mode(args).clips(), &mut rng);
        let head = (!demonstrations.is_empty())
            .then(|| demonstrations[rng.random_range(0..demonstrations.len())].clone());
        asked += 1;
        if asked <= before {
            continue;
        }
        let mut order: Vec<&ClipId> = question.iter().map(|&i| &clips[i]).collect();
        order.sort_by(|a, b| value(b).total_cmp(&value(a)));
        let ranked = head.into_iter().chain(order.into_iter().cloned());
        let mut record = Preference::now(
            Choice::Rank {
                clips: ranked.collect(),
            },
            &args.user,
            "oracle",
        )?;
        record.context = args.context.clone();
        store.append(record)?;
    }
    Ok(Summary {
        answers: store.records().len(),
        new: store.records().len() - before,
        skipped: 0,
        annotator: "oracle",
        accuracy: None,
        out: args.out.clone(),
    })
}

/// The stretches of episodes that questions are about: of `--frames` frames each, else as long as fits into a few seconds.
fn clips(args: &Args, dataset: &Dataset) -> anyhow::Result<Vec<ClipId>> {
    let name = dataset_name(&args.dataset);
    let frames = match args.annotator {
        Annotator::Person => args.frames,
        Annotator::Oracle => Some(args.frames.unwrap_or(1)),
    };
    let most = (CLIP_SECONDS * f64::from(dataset.info().fps))
        .round()
        .max(1.0) as usize;
    let mut clips = Vec::new();
    for episode in 0..dataset.len() {
        let length = dataset.meta(episode)?.length;
        let bounds: Vec<(usize, usize)> = match frames {
            Some(frames) => (0..length / frames)
                .map(|i| (i * frames, (i + 1) * frames))
                .collect(),
            None => {
                let parts = length.div_ceil(most);
                (0..parts)
                    .map(|i| (i * length / parts, (i + 1) * length / parts))
                    .collect()
            }
        };
        clips.extend(bounds.into_iter().map(|(start, end)| ClipId {
            dataset: name.clone(),
            episode,
            start,
            end,
        }));
    }
    Ok(clips)
}

/// The last frame of every demonstration.
fn ends(dir: &Path) -> anyhow::Result<Vec<ClipId>> {
    let dataset = Dataset::open(dir)?;
    let name = dataset_name(dir);
    (0..dataset.len())
        .map(|episode| {
            let end = dataset.meta(episode)?.length;
            Ok(ClipId {
                dataset: name.clone(),
                episode,
                start: end.saturating_sub(1),
                end,
            })
        })
        .collect()
}

/// What the simulator knew of every episode.
fn truth(dataset: &Dataset) -> anyhow::Result<Vec<rapport::dataset::Column>> {
    (0..dataset.len())
        .map(|episode| {
            dataset.episode_columns(episode)?.columns.remove(PROGRESS).ok_or_else(|| {
                Usage(format!("{} has no column {PROGRESS}; the oracle needs a dataset recorded in the simulator", dataset.dir().display())).into()
            })
        })
        .collect()
}

/// The words of this process, as they can be typed again.
fn command_line() -> String {
    let quoted = std::env::args().map(|word| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_different_clips_of_different_episodes() {
        let clips: Vec<_> = (0..9)
            .map(|i| ClipId {
                dataset: "d".into(),
                episode: i / 3,
                start: i % 3,
                end: i % 3 + 1,
            })
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            let question = sample(&clips, 3, &mut rng);
            let episodes: std::collections::HashSet<_> =
                question.iter().map(|&i| clips[i].episode).collect();
            assert_eq!(episodes.len(), 3);
        }
    }
}
