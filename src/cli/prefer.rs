//! `rapport prefer`: a person ranks clips in the terminal; every answer is on disk before the next question.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rapport::dataset::Dataset;
use rapport::reward::{Choice, ClipId, Preference, PreferenceStore};
use serde::Serialize;

use super::Usage;
use crate::clips::{camera_of, dataset_name};
use crate::interrupt;
use crate::schema::PROGRESS;
use crate::terminal;
use crate::ui::Ui;

/// Rank clips, best first: what you want is learned from the order.
///
/// Each question shows three clips of the dataset and takes one answer, such as `bca`: B best, A worst. `s` skips,
/// `q` ends; the session goes on where it ended when it is started again.
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
    /// Answers in all.
    #[arg(long, default_value_t = 300)]
    pub answers: usize,
    /// Frames of a clip.
    #[arg(long, default_value_t = 1)]
    pub frames: usize,
    /// Who answers: you, or an oracle that reads the simulator's ground truth from the dataset and stands in for a person.
    #[arg(long, value_enum, default_value_t = Annotator::Person)]
    pub annotator: Annotator,
    /// Name of the person, kept with each answer.
    #[arg(long, default_value = "me")]
    pub user: String,
    /// Camera; needed when the dataset has several.
    #[arg(long)]
    pub camera: Option<String>,
    /// Seed of the questions.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Annotator {
    /// Whoever sits at the terminal.
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
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.frames == 0 {
        return Err(Usage("--frames must be at least 1".into()).into());
    }
    let dataset = Dataset::open(&args.dataset)?;
    let name = dataset_name(&args.dataset);
    let clips = clips(&dataset, &name, args.frames)?;
    if clips.len() < 3 {
        return Err(Usage(format!(
            "{} has {} clips of {} frames; three are needed",
            args.dataset.display(),
            clips.len(),
            args.frames
        ))
        .into());
    }
    let demonstrations = args
        .demonstrations
        .as_deref()
        .map(ends)
        .transpose()?
        .unwrap_or_default();
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let mut store = PreferenceStore::open(&args.out)?;
    let before = store.records().len();
    let mut skipped = 0;
    let camera = camera_of(&dataset, args.camera.as_deref());
    let mut asker: Box<Asker> = match args.annotator {
        Annotator::Oracle => Box::new(oracle(&dataset)?),
        Annotator::Person => Box::new(person(&dataset, camera?, args.answers)),
    };
    let annotator = match args.annotator {
        Annotator::Oracle => "oracle",
        Annotator::Person => "terminal",
    };
    // Questions are drawn in the order of the seed, so that a session goes on with the ones it has not asked.
    let mut asked = 0;
    while store.records().len() < args.answers && !interrupt::requested() {
        let question = draw(&clips, &mut rng);
        let head = (!demonstrations.is_empty())
            .then(|| demonstrations[rng.random_range(0..demonstrations.len())].clone());
        asked += 1;
        if asked <= before {
            continue;
        }
        match asker(&question, store.records().len())? {
            Answer::Order(order) => {
                let ranked = head.into_iter().chain(order.map(|i| question[i].clone()));
                store.append(Preference::now(
                    Choice::Rank {
                        clips: ranked.collect(),
                    },
                    &args.user,
                    annotator,
                )?)?;
            }
            Answer::Skip => skipped += 1,
            Answer::End => break,
        }
    }
    let summary = Summary {
        answers: store.records().len(),
        new: store.records().len() - before,
        skipped,
        annotator,
        out: args.out.clone(),
    };
    ui.result(&summary, || {
        format!(
            "{} answers ({} new, by {}) in {}",
            summary.answers,
            summary.new,
            summary.annotator,
            summary.out.display()
        )
    })
}

/// Answers a question, given how many were answered before.
type Asker<'a> = dyn FnMut(&[ClipId; 3], usize) -> anyhow::Result<Answer> + 'a;

enum Answer {
    Order([usize; 3]),
    Skip,
    End,
}

/// Every non-overlapping stretch of `frames` frames.
fn clips(dataset: &Dataset, name: &str, frames: usize) -> anyhow::Result<Vec<ClipId>> {
    let mut clips = Vec::new();
    for episode in 0..dataset.len() {
        let length = dataset.meta(episode)?.length;
        for start in (0..length.saturating_sub(frames - 1)).step_by(frames) {
            clips.push(ClipId {
                dataset: name.into(),
                episode,
                start,
                end: start + frames,
            });
        }
    }
    Ok(clips)
}

/// The last frame of every demonstration.
fn ends(dir: &std::path::Path) -> anyhow::Result<Vec<ClipId>> {
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

/// Three clips of different episodes where there are that many.
fn draw(clips: &[ClipId], rng: &mut ChaCha8Rng) -> [ClipId; 3] {
    let mut pick = || clips[rng.random_range(0..clips.len())].clone();
    let first = pick();
    let mut others = Vec::new();
    for attempt in 0.. {
        let next = pick();
        let fresh = next != first && !others.contains(&next);
        let apart = next.episode != first.episode
            && others.iter().all(|o: &ClipId| o.episode != next.episode);
        if fresh && (apart || attempt > 50) {
            others.push(next);
            if others.len() == 2 {
                break;
            }
        }
    }
    let mut question = [first, others.remove(0), others.remove(0)];
    question.shuffle(rng);
    question
}

fn oracle(
    dataset: &Dataset,
) -> anyhow::Result<impl FnMut(&[ClipId; 3], usize) -> anyhow::Result<Answer>> {
    let truth = (0..dataset.len())
        .map(|episode| {
            dataset.episode_columns(episode)?.columns.remove(PROGRESS).ok_or_else(|| {
                Usage(format!("{} has no column {PROGRESS}; the oracle needs a dataset recorded in the simulator", dataset.dir().display())).into()
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(move |clips: &[ClipId; 3], _| {
        let value = |clip: &ClipId| {
            (clip.start..clip.end)
                .map(|t| truth[clip.episode].row(t)[0])
                .sum::<f32>()
        };
        let mut order = [0, 1, 2];
        order.sort_by(|&a, &b| value(&clips[b]).total_cmp(&value(&clips[a])));
        Ok(Answer::Order(order))
    })
}

#[allow(clippy::print_stdout)]
fn person(
    dataset: &Dataset,
    camera: String,
    wanted: usize,
) -> impl FnMut(&[ClipId; 3], usize) -> anyhow::Result<Answer> {
    move |clips, answered| {
        let names = ["A", "B", "C"];
        let mut frames = Vec::new();
        for clip in clips {
            frames.push(dataset.frame(clip.episode, &camera, (clip.start + clip.end - 1) / 2)?);
        }
        let pictures: Vec<_> = names.iter().map(|n| n.to_string()).zip(&frames).collect();
        println!("\n{}", terminal::side_by_side(&pictures, 44));
        loop {
            print!(
                "[{}/{wanted}] best to worst (as `bca`), s skip, q quit: ",
                answered + 1
            );
            std::io::stdout().flush()?;
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line)? == 0 || interrupt::requested() {
                return Ok(Answer::End);
            }
            match line.trim().to_lowercase().as_str() {
                "q" => return Ok(Answer::End),
                "s" => return Ok(Answer::Skip),
                word => {
                    if let Some(order) = parse_order(word) {
                        return Ok(Answer::Order(order));
                    }
                    println!("type the three letters a, b, c in your order");
                }
            }
        }
    }
}

fn parse_order(word: &str) -> Option<[usize; 3]> {
    let order: Vec<usize> = word
        .bytes()
        .map(|b| usize::from(b.wrapping_sub(b'a')))
        .collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    (sorted == [0, 1, 2]).then(|| [order[0], order[1], order[2]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_three_different_letters() {
        assert_eq!(parse_order("bca"), Some([1, 2, 0]));
        for bad in ["", "ab", "aab", "abd", "abca", "12 "] {
            assert_eq!(parse_order(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_question_has_three_different_clips() {
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
            let [a, b, c] = draw(&clips, &mut rng);
            assert!(a.episode != b.episode && b.episode != c.episode && a.episode != c.episode);
        }
    }
}
