//! `rapport reward search`: a reward program that you like, found by showing you what several lead to, round after round.

mod chat;
mod judge;
mod rollout;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rapport::reward::program::search::{
    Brief, Evolve, EvolveConfig, Practice, Proposer, Rewrite, RewriteConfig, Round, ScoredBy,
    SearchConfig, next_round,
};
use rapport::reward::{Context, Program, ProgramReward, RewardDir, RewardModel as _};
use serde::{Deserialize, Serialize};

use super::super::Usage;
use super::super::environment::EnvironmentArgs;
use crate::clips::{Library, camera_of};
use crate::interrupt;
use crate::run_dir::write_atomically;
use crate::schema;
use crate::ui::Ui;
use chat::{Endpoint, EndpointConfig};
use judge::{Judge, Terminal};
use rollout::{Effort, Played, Recorded, Simulated};

/// Find a reward program by saying which of several results is best and which is worst.
///
/// In each round programs are proposed, a motion is practised with each, and you look at what came of them. The next programs start
/// from what you liked. A search that was stopped goes on when it is started again; the best program so far is always the reward
/// in --out.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Who writes the programs: seeded changes of the best one, or a language model behind an OpenAI-compatible service.
    #[arg(long, value_enum, default_value_t = ProposerKind::Evolve)]
    pub proposer: ProposerKind,
    /// Programs in a round.
    #[arg(long, default_value_t = 6)]
    pub k: usize,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Where motions are practised.
    #[command(flatten)]
    pub environment: EnvironmentArgs,
    /// Choose among recorded episodes instead of practising.
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    /// The task in words; default: the environment's own. For the language model.
    #[arg(long, value_name = "TEXT")]
    pub goal: Option<String>,
    /// Who judges: you, or an oracle that stands in for you.
    #[arg(long, value_enum, default_value_t = Annotator::Person)]
    pub annotator: Annotator,
    /// What the oracle wants: a reward program in a file; default: the task's own reward.
    #[arg(long, value_name = "FILE")]
    pub oracle: Option<PathBuf>,
    /// Rounds of practice for each program.
    #[arg(long, default_value_t = 8)]
    pub iterations: usize,
    /// Motions tried in each of them.
    #[arg(long, default_value_t = 16)]
    pub samples: usize,
    /// Longest motion, steps.
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// The language model's service, up to, not including, /chat/completions.
    #[arg(long, default_value = "http://localhost:8080/v1", value_name = "URL")]
    pub endpoint: String,
    /// The language model's name there.
    #[arg(long, default_value = "default")]
    pub model: String,
    /// Environment variable that holds the service's key, where it needs one.
    #[arg(long, value_name = "NAME")]
    pub key_variable: Option<String>,
    /// Longest wait for an answer of the language model, seconds.
    #[arg(long, default_value_t = 120.0)]
    pub timeout: f64,
    /// Seed of proposals, practice and the episode.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The reward's directory; the rounds are kept in it too.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Who writes the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProposerKind {
    /// Seeded changes of the best program.
    Evolve,
    /// A language model.
    Llm,
}

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Annotator {
    /// Whoever sits at the terminal.
    Person,
    /// A score that stands in for a person.
    Oracle,
}

/// What a search is about: rounds of another one do not belong to it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    proposer: ProposerKind,
    place: String,
    programs: usize,
    seed: u64,
    effort: Effort,
    brief: Brief,
}

#[derive(Serialize)]
struct Summary {
    rounds: usize,
    new: usize,
    comparisons: usize,
    practised: usize,
    best_truth: Option<f64>,
    program: String,
    out: PathBuf,
}

const ROUNDS: &str = "search.jsonl";
const PLAN: &str = "search.json";
/// What an evolved program's encoder is, where it uses no picture: the cheapest there is.
const ENCODER: &str = "pixels@8";

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let config = SearchConfig {
        programs: args.k,
        rounds: args.rounds,
    };
    config.validate().map_err(|e| Usage(e.to_string()))?;
    if args.iterations == 0 || args.samples < 2 || args.steps < 2 {
        return Err(Usage(
            "--iterations must be at least 1, --samples and --steps at least 2".into(),
        )
        .into());
    }
    if !args.timeout.is_finite() || args.timeout <= 0.0 {
        return Err(Usage("--timeout must be a positive number of seconds".into()).into());
    }
    let effort = Effort {
        iterations: args.iterations,
        samples: args.samples,
        steps: args.steps,
        knots: 6,
    };
    match &args.dataset {
        Some(dir) => {
            let mut encoder =
                rapport::perception::open(ENCODER, rapport::perception::DeviceChoice::Cpu)?;
            let camera = args.environment.camera.as_deref();
            let library = Library::encode(dir, camera, &mut *encoder, ui)?;
            let camera = camera_of(library.dataset(), camera)?;
            let mut recorded = Recorded::new(&library, &camera, schema::PROGRESS)?;
            let task = args
                .goal
                .clone()
                .or_else(|| library.dataset().tasks().first().cloned());
            let brief = recorded.brief(&task.unwrap_or_else(|| "the task in the episodes".into()));
            search(
                args,
                ui,
                config,
                effort,
                brief,
                &dir.display().to_string(),
                &mut recorded,
            )
        }
        None => {
            let practice = args.environment.practice((160, 120))?;
            let mut simulated = Simulated::new(practice, effort, args.seed);
            let brief = simulated.brief(args.goal.as_deref());
            search(
                args,
                ui,
                config,
                effort,
                brief,
                args.environment.env(),
                &mut simulated,
            )
        }
    }
}

fn search(
    args: &Args,
    ui: Ui,
    config: SearchConfig,
    effort: Effort,
    brief: Brief,
    place: &str,
    practice: &mut impl Practice<Rollout = Played>,
) -> anyhow::Result<()> {
    let plan = Plan {
        proposer: args.proposer,
        place: place.into(),
        programs: args.k,
        seed: args.seed,
        effort,
        brief,
    };
    let mut rounds = resume(&args.out, &plan)?;
    let before = rounds.len();
    let mut proposer = proposer(args)?;
    let mut judge: Box<Judge> = match args.annotator {
        Annotator::Person => Box::new(Terminal::new(&args.out)),
        Annotator::Oracle => Box::new(oracle(args.oracle.as_deref(), &plan.brief)?),
    };
    while rounds.len() < args.rounds && !interrupt::requested() {
        ui.say(format!(
            "round {} of {}: practising with {} programs",
            rounds.len() + 1,
            args.rounds,
            args.k
        ));
        let played = next_round(
            &plan.brief,
            config,
            &rounds,
            proposer.as_mut(),
            practice,
            judge.as_mut(),
        );
        let Some(round) = played? else {
            ui.say("no answer; start the command again to go on");
            break;
        };
        keep(&args.out, &round, args.seed)?;
        rounds.push(round);
    }
    let Some(last) = rounds.last() else {
        anyhow::bail!("no round was judged; there is no reward yet");
    };
    if rounds.len() == before {
        // The search may have been stopped between the round and the reward.
        leave(&args.out, last, args.seed)?;
    }
    let best = ProgramReward::new(last.best_program().clone())?;
    let done = SearchConfig {
        rounds: rounds.len(),
        ..config
    };
    let summary = Summary {
        rounds: rounds.len(),
        new: rounds.len() - before,
        comparisons: done.comparisons(),
        practised: (rounds.len() - before) * args.k,
        best_truth: practice
            .practise(&best)
            .ok()
            .and_then(|played| played.truth),
        program: best.program().to_string(),
        out: args.out.clone(),
    };
    ui.result(&summary, || {
        let truth = summary.best_truth.map_or(String::new(), |t| {
            format!("; the task itself pays {t:.3} for what it leads to")
        });
        format!(
            "{} rounds ({} new), {} comparisons{truth}\n{}-> {}",
            summary.rounds,
            summary.new,
            summary.comparisons,
            summary.program,
            summary.out.display()
        )
    })
}

fn proposer(args: &Args) -> anyhow::Result<Box<dyn Proposer>> {
    Ok(match args.proposer {
        ProposerKind::Evolve => Box::new(Evolve::new(EvolveConfig {
            seed: args.seed,
            ..EvolveConfig::default()
        })?),
        ProposerKind::Llm => {
            let key = args.key_variable.as_deref().map(|name| {
                std::env::var(name)
                    .map_err(|_| Usage(format!("the environment variable {name} is not set")))
            });
            let endpoint = Endpoint::new(EndpointConfig {
                url: args.endpoint.clone(),
                model: args.model.clone(),
                key: key.transpose()?,
                temperature: 1.0,
                timeout: Duration::from_secs_f64(args.timeout),
                retries: 4,
                pause: Duration::from_secs(1),
            });
            Box::new(Rewrite::new(endpoint, RewriteConfig::default()))
        }
    })
}

/// The task's own reward, or a program's, in a person's place.
fn oracle(
    file: Option<&Path>,
    brief: &Brief,
) -> anyhow::Result<ScoredBy<Played, impl FnMut(&Played) -> f64 + use<>>> {
    let wanted = file
        .map(|file| {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            let program: Program = text
                .parse()
                .map_err(|e| Usage(format!("{}: {e}", file.display())))?;
            brief
                .check(&program)
                .map_err(|e| Usage(format!("{}: {e}", file.display())))?;
            anyhow::Ok(ProgramReward::new(program)?)
        })
        .transpose()?;
    Ok(ScoredBy::new(move |played: &Played| match &wanted {
        Some(reward) => reward
            .score(&played.clip, &Context::default())
            .map_or(f64::NAN, |signal| signal.total()),
        None => played.truth.unwrap_or(f64::NAN),
    }))
}

/// The rounds that are there already. Fails on those of another search.
fn resume(out: &Path, plan: &Plan) -> anyhow::Result<Vec<Round>> {
    let path = out.join(PLAN);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let there: Plan =
                serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
            if there != *plan {
                return Err(Usage(format!(
                    "{} holds a search with other settings; give another --out, or the same settings to go on",
                    out.display()
                ))
                .into());
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
            write_atomically(&path, &serde_json::to_vec_pretty(plan)?)?;
        }
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    }
    let path = out.join(ROUNDS);
    match std::fs::read_to_string(&path) {
        Ok(text) => text
            .lines()
            .enumerate()
            .map(|(i, line)| {
                serde_json::from_str(line)
                    .with_context(|| format!("{}, line {}", path.display(), i + 1))
            })
            .collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e).with_context(|| path.display().to_string()),
    }
}

/// Adds a round to those that are there, and leaves its best program as the reward.
fn keep(out: &Path, round: &Round, seed: u64) -> anyhow::Result<()> {
    let path = out.join(ROUNDS);
    let mut text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| path.display().to_string())?,
    };
    text.push_str(&serde_json::to_string(round)?);
    text.push('\n');
    write_atomically(&path, text.as_bytes())?;
    leave(out, round, seed)
}

/// Makes a round's best program the reward.
fn leave(out: &Path, round: &Round, seed: u64) -> anyhow::Result<()> {
    let reward = ProgramReward::new(round.best_program().clone())?;
    let encoder = rapport::perception::open(ENCODER, rapport::perception::DeviceChoice::Cpu)?;
    RewardDir::new(out).save(&reward, encoder.spec(), seed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use rapport::reward::Clip;

    #[derive(clap::Parser)]
    #[command(args_override_self = true)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(out: &Path, more: &[&str]) -> Args {
        let out = out.display().to_string();
        let line = [
            "search",
            "--env",
            "MountainCarContinuous-v0",
            "--annotator",
            "oracle",
            "--k",
            "3",
            "--rounds",
            "2",
            "--iterations",
            "1",
            "--samples",
            "3",
            "--steps",
            "12",
            "--out",
            &out,
        ];
        Line::parse_from(line.iter().chain(more)).args
    }

    const QUIET: Ui = Ui {
        json: false,
        quiet: true,
    };

    #[test]
    fn a_search_leaves_a_reward_and_goes_on_where_it_stopped() {
        let root = tempfile::tempdir().unwrap();
        let (whole, parts) = (root.path().join("whole"), root.path().join("parts"));
        run(&args(&whole, &[]), QUIET).unwrap();
        run(&args(&parts, &["--rounds", "1"]), QUIET).unwrap();
        run(&args(&parts, &[]), QUIET).unwrap();
        let read = |dir: &Path| std::fs::read_to_string(dir.join(ROUNDS)).unwrap();
        assert_eq!(read(&whole).lines().count(), 2);
        assert_eq!(read(&whole), read(&parts));

        let loaded = RewardDir::new(&whole).load().unwrap();
        assert_eq!(loaded.kind, "program");
        let mut clip = Clip::default();
        for (name, dim) in [("observation.state", 2), ("action", 1)] {
            let zeros = rapport::perception::Features::new(dim, vec![0.0; 3 * dim]);
            clip.columns.insert(name.into(), zeros);
        }
        assert!(loaded.model.score(&clip, &Context::default()).is_ok());

        // Another search does not go on with these rounds.
        let error = run(&args(&whole, &["--seed", "9"]), QUIET).unwrap_err();
        assert!(error.to_string().contains("other settings"), "{error}");
        for bad in [["--k", "1"], ["--samples", "1"], ["--timeout", "0"]] {
            assert!(run(&args(&whole, &bad), QUIET).unwrap_err().is::<Usage>());
        }
    }

    #[test]
    fn a_language_model_s_programs_are_practised_and_its_mistakes_sent_back() {
        let root = tempfile::tempdir().unwrap();
        let replies = [
            "go = action[0]",
            "go = velocity",
            "go = 2 * observation.state[1]",
            "go = -norm(action)",
        ];
        let replies = replies.map(|r| chat::tests::completion(&format!("```\n{r}\n```")));
        let (url, seen) = chat::tests::serve(replies.into());
        let more = ["--proposer", "llm", "--endpoint", &url, "--rounds", "1"];
        run(&args(root.path(), &more), QUIET).unwrap();
        assert_eq!(seen.try_iter().count(), 4);
        let text = std::fs::read_to_string(root.path().join(ROUNDS)).unwrap();
        assert!(
            text.contains("go = 2 * observation.state[1]") && !text.contains("velocity"),
            "{text}"
        );
    }

    #[test]
    fn the_oracle_s_program_is_checked_before_anything_is_practised() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("wanted.txt");
        let file_name = file.display().to_string();
        for (text, part) in [
            ("r = (", "line 1"),
            ("r = norm(features)", "no column `features`"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = run(
                &args(&root.path().join("out"), &["--oracle", &file_name]),
                QUIET,
            )
            .unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        std::fs::write(&file, "r = -norm(delta(action))").unwrap();
        run(
            &args(&root.path().join("out"), &["--oracle", &file_name]),
            QUIET,
        )
        .unwrap();
    }
}
