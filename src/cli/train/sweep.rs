//! `--sweep FILE`: the same training with other settings, several runs at a time, each a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use clap::ValueEnum as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::reward::eval::Interval;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Args;
use crate::cli::Usage;
use crate::experiments::statistics::mean_of_seeds;
use crate::interrupt;
use crate::run_dir::write_atomically;
use crate::ui::Ui;

/// What is varied.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sweep {
    /// So many random settings instead of every combination.
    samples: Option<usize>,
    /// Seed of those.
    #[serde(default)]
    seed: u64,
    /// Options of `rapport train` and what they are to be.
    vary: BTreeMap<String, Values>,
}

/// What an option is to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    /// One of these.
    List(Vec<toml::Value>),
    /// Any number between.
    Range {
        low: f64,
        high: f64,
        /// Evenly over the logarithm.
        #[serde(default)]
        log: bool,
    },
}

/// One setting: options and their values, as words.
type Setting = Vec<(String, String)>;

/// How a run went.
#[derive(Clone, Debug, Serialize)]
struct Run {
    folder: PathBuf,
    setting: BTreeMap<String, String>,
    /// What the run said of itself; none where it failed or was stopped.
    summary: Option<Value>,
}

/// Numbers that runs are compared by, the most important first, and whether more is better.
const SCORES: [(&str, &str, bool); 4] = [
    ("success rate", "/evaluation/success_rate", true),
    ("return", "/evaluation/true_return", true),
    ("validation loss", "/validation_loss", false),
    ("training loss", "/training_loss", false),
];

/// Runs everything that has not been run yet, and compares.
pub fn run(args: &Args, file: &Path, ui: Ui) -> anyhow::Result<()> {
    let practises = matches!(
        args.policy,
        super::Learner::Ppo | super::Learner::Sac | super::Learner::Td3
    );
    if practises && args.online.eval_every == 0 {
        return Err(Usage("a sweep compares evaluations: give --eval-every".into()).into());
    }
    let text = std::fs::read_to_string(file)
        .map_err(|e| Usage(format!("cannot read {}: {e}", file.display())))?;
    let sweep: Sweep =
        toml::from_str(&text).map_err(|e| Usage(format!("{} is no sweep: {e}", file.display())))?;
    let settings = sweep.settings().map_err(Usage)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}", args.out.display()))?;
    let runs: Vec<Run> = settings
        .iter()
        .map(|setting| Run {
            folder: args.out.join(name(setting)),
            setting: setting.iter().cloned().collect(),
            summary: None,
        })
        .collect();
    let bar = ui.bar(runs.len() as u64, "sweep");
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(runs));
    let jobs = match args.jobs {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            while !interrupt::requested() {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(setting) = settings.get(at) else {
                    break;
                };
                let folder = args.out.join(name(setting));
                let summary = one(&folder, setting, goes_on(args, setting))?;
                runs.lock().expect("no run panics")[at].summary = summary;
                bar.inc(1);
            }
            Ok(())
        };
        let workers: Vec<_> = (0..jobs.min(settings.len()))
            .map(|_| scope.spawn(work))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a run of the sweep panicked")))
        })
    })?;
    bar.finish_and_clear();
    let mut runs = runs.into_inner().expect("no run panics");
    runs.sort_by(|a, b| better(a.summary.as_ref(), b.summary.as_ref()));
    let text = table(&runs);
    write_atomically(&args.out.join("sweep.md"), text.as_bytes())?;
    let json = serde_json::to_string_pretty(&runs)?;
    write_atomically(&args.out.join("sweep.json"), json.as_bytes())?;
    ui.result(&runs, || text.clone())?;
    let missing = runs.iter().filter(|run| run.summary.is_none()).count();
    anyhow::ensure!(
        missing == 0 || interrupt::requested(),
        "{missing} of {} runs failed; what they said is in the .log files of {}",
        runs.len(),
        args.out.display()
    );
    if interrupt::requested() {
        ui.say("stopped; the same command goes on");
    }
    Ok(())
}

impl Sweep {
    fn settings(&self) -> Result<Vec<Setting>, String> {
        for (option, values) in &self.vary {
            match values {
                Values::List(list) if list.is_empty() => {
                    return Err(format!("vary.{option} is an empty list"));
                }
                Values::Range { .. } if self.samples.is_none() => {
                    return Err(format!(
                        "vary.{option} is a range: say how many `samples` to draw"
                    ));
                }
                Values::Range { low, high, log } if !(low < high && (!log || *low > 0.0)) => {
                    return Err(format!(
                        "vary.{option} needs low < high, and low above 0 where log = true"
                    ));
                }
                _ => {}
            }
        }
        let Some(samples) = self.samples else {
            let mut settings = vec![Setting::new()];
            for (option, values) in &self.vary {
                let Values::List(list) = values else { continue };
                settings = settings
                    .iter()
                    .flat_map(|setting| {
                        list.iter().map(move |value| {
                            let mut setting = setting.clone();
                            setting.push((option.replace('_', "-"), word(value)));
                            setting
                        })
                    })
                    .collect();
            }
            return Ok(settings);
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut draw = |values: &Values| match values {
            Values::List(list) => word(&list[rng.random_range(0..list.len())]),
            Values::Range { low, high, log } => {
                let share: f64 = rng.random();
                let value = if *log {
                    (low.ln() + share * (high / low).ln()).exp()
                } else {
                    low + share * (high - low)
                };
                format!("{value:.4e}")
            }
        };
        Ok((0..samples)
            .map(|_| {
                let vary = self.vary.iter();
                vary.map(|(option, values)| (option.replace('_', "-"), draw(values)))
                    .collect()
            })
            .collect())
    }
}

fn word(value: &toml::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a stopped run of this setting can be resumed; what is varied can be the learner or the reward.
fn goes_on(args: &Args, setting: &Setting) -> bool {
    let varied = |option: &str| setting.iter().find(|(name, _)| name == option);
    let policy = varied("policy").map_or(Some(args.policy), |(_, name)| {
        super::Learner::from_str(name, true).ok()
    });
    let reward = varied("reward").map_or(args.reward.as_deref(), |(_, name)| Some(name));
    policy.is_some_and(super::Learner::goes_on) && reward != Some("adversary")
}

/// A folder's name: the setting itself.
fn name(setting: &Setting) -> String {
    let parts: Vec<String> = setting
        .iter()
        .map(|(option, value)| format!("{option}={}", value.replace(['/', ' '], "_")))
        .collect();
    parts.join(",")
}

/// Runs one setting, unless it is done; one that was stopped goes on where its learner can, and else begins anew. None where it failed or was stopped.
fn one(folder: &Path, setting: &Setting, goes_on: bool) -> anyhow::Result<Option<Value>> {
    let done = folder.join("summary.json");
    if let Ok(text) = std::fs::read_to_string(&done) {
        return Ok(Some(serde_json::from_str(&text)?));
    }
    let mut log = folder.as_os_str().to_owned();
    log.push(".log");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words()).arg("--out").arg(folder).arg("--json");
    for (option, value) in setting {
        // One word, so that a negative number is no option.
        command.arg(format!("--{option}={value}"));
    }
    if folder.join("policy.toml").exists() {
        if goes_on {
            command.arg("--resume");
        } else {
            // The sweep's own folder, of a run that was stopped before it was done.
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(File::create(&log)?)
        .stdout(Stdio::piped())
        .spawn()
        .and_then(wait)
        .context("cannot run a setting of the sweep")?;
    if !output.status.success() {
        return Ok(None);
    }
    let summary: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} said something unexpected", folder.display()))?;
    // Not every learner says that it was stopped.
    if summary["interrupted"] == true || (!goes_on && interrupt::requested()) {
        return Ok(None);
    }
    write_atomically(&done, output.stdout.as_slice())?;
    Ok(Some(summary))
}

/// Waits for a run; a person who stops the sweep stops its runs.
fn wait(mut child: std::process::Child) -> std::io::Result<std::process::Output> {
    let mut told = false;
    while child.try_wait()?.is_none() {
        if interrupt::requested() && !told {
            told = true;
            // From a terminal it has been told already; a second signal would end it at once.
            std::thread::sleep(std::time::Duration::from_millis(500));
            if child.try_wait()?.is_none() && !rustix::termios::isatty(std::io::stdin()) {
                let id = rustix::process::Pid::from_child(&child);
                let _ = rustix::process::kill_process(id, rustix::process::Signal::INT);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.wait_with_output()
}

/// The words of this command but for the sweep.
fn words() -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--sweep" || text == "--jobs" {
            words.next();
        } else if !text.starts_with("--sweep=") && !text.starts_with("--jobs=") {
            kept.push(word);
        }
    }
    kept
}

fn better(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    let score = |of: Option<&Value>, path: &str| of.and_then(|v| v.pointer(path)?.as_f64());
    let mut order = a.is_none().cmp(&b.is_none());
    for (_, path, more) in SCORES {
        let (a, b) = (score(a, path), score(b, path));
        let by = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
        order = order.then(if more { by.reverse() } else { by });
    }
    order
}

/// One line for each setting but for the seed, over which the numbers are averaged.
fn table(runs: &[Run]) -> String {
    let mut groups: Vec<(BTreeMap<String, String>, Vec<&Run>)> = Vec::new();
    for run in runs {
        let mut setting = run.setting.clone();
        setting.remove("seed");
        match groups.iter_mut().find(|(known, _)| *known == setting) {
            Some((_, runs)) => runs.push(run),
            None => groups.push((setting, vec![run])),
        }
    }
    let value = |run: &Run, path: &str| run.summary.as_ref()?.pointer(path)?.as_f64();
    let scores: Vec<_> = SCORES
        .into_iter()
        .filter(|(_, path, _)| runs.iter().any(|run| value(run, path).is_some()))
        .collect();
    let mean = |runs: &[&Run], path: &str| -> Option<Interval> {
        let values: Vec<f64> = runs.iter().filter_map(|run| value(run, path)).collect();
        mean_of_seeds(&values)
    };
    if let Some((_, path, more)) = scores.first() {
        let key = |runs: &[&Run]| mean(runs, path).map(|i| if *more { -i.value } else { i.value });
        groups.sort_by(|(_, a), (_, b)| {
            let (a, b) = (key(a), key(b));
            a.is_none()
                .cmp(&b.is_none())
                .then(a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal))
        });
    }
    let options: Vec<&String> = groups
        .first()
        .map_or(Vec::new(), |(s, _)| s.keys().collect());
    let mut text = String::from("|");
    for option in &options {
        let _ = write!(text, " {option} |");
    }
    text.push_str(" runs |");
    for (name, ..) in &scores {
        let _ = write!(text, " {name} |");
    }
    text.push_str("\n|");
    text.push_str(&"---|".repeat(options.len() + 1 + scores.len()));
    for (setting, runs) in &groups {
        text.push_str("\n|");
        for option in &options {
            let _ = write!(text, " {} |", setting.get(*option).map_or("", |v| v));
        }
        let done = runs.iter().filter(|run| run.summary.is_some()).count();
        let _ = write!(text, " {done} of {} |", runs.len());
        for (_, path, _) in &scores {
            let cell = mean(runs, path).map_or("-".into(), |i| match runs.len() {
                1 => format!("{:.4}", i.value),
                _ => format!("{:.4} ± {:.4}", i.value, 0.5 * (i.high - i.low)),
            });
            let _ = write!(text, " {cell} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Vec<Setting>, String> {
        toml::from_str::<Sweep>(text).unwrap().settings()
    }

    #[test]
    fn lists_are_combined_and_ranges_are_drawn_from() {
        let all = settings("vary.hidden = [64, 128]\nvary.seed = [0, 1, 2]").unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!(name(&all[0]), "hidden=64,seed=0");
        let text = "samples = 50\n[vary]\nlearning_rate = { low = 1e-4, high = 1e-2, log = true }\npolicy = [\"sac\"]";
        let drawn = settings(text).unwrap();
        assert_eq!(drawn, settings(text).unwrap());
        let rates: Vec<f64> = drawn.iter().map(|s| s[0].1.parse().unwrap()).collect();
        assert!(rates.iter().all(|r| (1e-4..=1e-2).contains(r)));
        let low = rates.iter().filter(|r| **r < 1e-3).count();
        assert!((15..=35).contains(&low), "{low} of 50 in the lower decade");
        assert_eq!(drawn[0][0].0, "learning-rate");
    }

    #[test]
    fn what_cannot_be_varied_is_named() {
        let wrong = [
            ("vary.hidden = []", "vary.hidden is an empty list"),
            ("vary.x = { low = 0, high = 1 }", "say how many `samples`"),
            (
                "samples = 3\nvary.x = { low = 0, high = 1, log = true }",
                "low above 0",
            ),
        ];
        for (text, said) in wrong {
            let error = settings(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn seeds_are_averaged_and_the_best_setting_is_first() {
        let run = |hidden: &str, seed: &str, value: f64| Run {
            folder: PathBuf::new(),
            setting: [("hidden", hidden), ("seed", seed)]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            summary: Some(serde_json::json!({ "evaluation": { "true_return": value } })),
        };
        let runs = [
            run("64", "0", 1.0),
            run("64", "1", 3.0),
            run("128", "0", 4.0),
            run("128", "1", 6.0),
        ];
        let text = table(&runs);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| hidden | runs | return |");
        assert!(lines[2].starts_with("| 128 | 2 of 2 | 5.0000 ±"), "{text}");
        assert!(lines[3].starts_with("| 64 | 2 of 2 | 2.0000 ±"), "{text}");
    }
}
