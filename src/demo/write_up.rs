//! The demo's report: one HTML page, and a short film.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use rapport::dataset::{VideoCodec, video};
use serde::Deserialize;

use super::story::{Method, Story, folder, run_of};
use crate::cli::demo::Args;
use crate::cli::reward::unit;
use crate::report::html::{Figure, Page};
use crate::report::plots::{Axes, Series, bars, lines};
use crate::run_dir::write_atomically;

/// Writes `report.html` and `demo.json`.
pub fn write(story: &Story, args: &Args) -> anyhow::Result<()> {
    write_atomically(
        &story.out.join("demo.json"),
        serde_json::to_string_pretty(story)?.as_bytes(),
    )?;
    let mut page = Page::new(
        "Rapport: from demonstrations to a moving arm",
        "A reward learned from video and answers, practised in simulation, deployed through the servo driver. No ground truth in the loop.",
    );
    headline(&mut page, story);
    policies(&mut page, story, args)?;
    rewards(&mut page, story);
    demonstrations(&mut page, story)?;
    deployment(&mut page, story);
    page.section("Repeat it");
    page.text(&format!(
        "rapport demo --seeds {} --answers {} --steps {} --demonstrations {} --clips {}. All numbers are in demo.json; every run's folder holds its configuration, seed and metrics.",
        args.seeds, args.answers, args.steps, args.demonstrations, args.clips
    ));
    let rows: Vec<_> = story
        .seconds
        .iter()
        .map(|(stage, seconds)| vec![stage.clone(), format!("{seconds:.0} s")])
        .collect();
    page.table(&["stage", "time"], &rows, &[]);
    write_atomically(&story.report, page.render().as_bytes())
}

fn headline(page: &mut Page, story: &Story) {
    let percent = |method: Method| {
        let found = story.methods.iter().find(|m| m.method == method);
        found.map_or("n/a".into(), |m| format!("{:.0} %", 100.0 * m.pooled.value))
    };
    let spearman = |i: usize| {
        story
            .rewards
            .get(i)
            .map_or("n/a".into(), |r| format!("{:.2}", r.independent.spearman))
    };
    page.cards(&[
        (
            percent(Method::Aligned),
            "true success, policy from the aligned reward".into(),
        ),
        (
            percent(Method::Unaligned),
            "true success, policy from the unaligned reward".into(),
        ),
        (
            story.answers.to_string(),
            "answers, by the oracle in place of a person".into(),
        ),
        (story.demonstrations.to_string(), "demonstrations".into()),
        (
            format!("{} -> {}", spearman(0), spearman(1)),
            "Spearman of reward and truth, before and after alignment".into(),
        ),
    ]);
}

fn policies(page: &mut Page, story: &Story, args: &Args) -> anyhow::Result<()> {
    page.section("Policies");
    page.text("so101-push: push the red cube onto the green disc from a random start. Success is the task's own test at the end of the episode, which no training saw (but for the true reward, which is there to compare with).");
    let rows: Vec<_> = story
        .methods
        .iter()
        .map(|m| {
            (
                m.method.title().to_owned(),
                100.0 * m.pooled.value,
                100.0 * m.pooled.low,
                100.0 * m.pooled.high,
            )
        })
        .collect();
    let mut series = Vec::new();
    for method in [Method::Aligned, Method::Unaligned, Method::TrueReward] {
        series.push(learning_curve(
            method.title(),
            (0..args.seeds).map(|seed| run_of(args, method, seed)),
        )?);
    }
    let axes = Axes {
        title: "true success while practising",
        x: "steps in the task",
        y: "share of the last 20 episodes",
        marks: &[],
    };
    page.row(&[
        Figure::svg(&bars("success by the task's own test", "%", &rows), "Bars: all episodes of all seeds; whiskers: Wilson 95 % interval."),
        Figure::svg(&lines(&axes, &series), "Exploring policies; mean over seeds, band from least to most. The learners never saw this number."),
    ]);
    let table: Vec<_> = story
        .methods
        .iter()
        .map(|m| {
            vec![
                m.method.title().into(),
                format!("{:.0} %", 100.0 * m.pooled.value),
                format!(
                    "{:.0} .. {:.0} %",
                    100.0 * m.pooled.low,
                    100.0 * m.pooled.high
                ),
                m.seeds
                    .iter()
                    .map(|s| format!("{}/{}", s.successes, s.episodes))
                    .collect::<Vec<_>>()
                    .join("  "),
                format!(
                    "{:.2}",
                    m.seeds.iter().map(|s| s.true_return).sum::<f64>() / m.seeds.len() as f64
                ),
            ]
        })
        .collect();
    page.table(
        &[
            "method",
            "success",
            "95 % interval",
            "each seed",
            "true return",
        ],
        &table,
        &[0],
    );
    let mut films = Vec::new();
    for method in &story.methods {
        if let Some(path) = first_film(&story.out.join("videos"), method.method)? {
            films.push(Figure::video(&path, 260, method.method.title())?);
        }
    }
    page.row(&films);
    Ok(())
}

fn rewards(page: &mut Page, story: &Story) {
    page.section("Rewards");
    page.text("What a state is worth: minus the distance to the demonstrations' last frames. Unaligned, features are compared as the frozen network has them, and mostly follow the arm. Aligned, they are seen through a linear head trained on the answers (RAPL), and follow the cube. SAC practises on the transport reward in the same two embeddings. With demonstrations beside the replay buffer both may train well; the correlation on independent states says which of the two means the task.");
    let rows: Vec<_> = story
        .rewards
        .iter()
        .zip(&story.on_demonstrations)
        .map(|(state, demos)| {
            let show = |i: &Option<rapport::reward::eval::Interval>| {
                i.map_or("n/a".into(), |i| format!("{:.2}", i.value))
            };
            vec![
                folder(&state.reward),
                format!("{:.3}", state.independent.spearman),
                show(&demos.spearman_time),
                show(&demos.spearman_truth),
            ]
        })
        .collect();
    page.table(
        &[
            "reward",
            "Spearman with truth, arm and cube independent",
            "with time, demonstrations",
            "with truth, demonstrations",
        ],
        &rows,
        &[1],
    );
    let mut figures = Vec::new();
    for episode in 0..2 {
        let curves: Vec<_> = story
            .on_demonstrations
            .iter()
            .zip(["unaligned", "aligned"])
            .filter_map(|(e, name)| {
                Some(Series::over_time(
                    name,
                    &unit(&e.per_episode.get(episode)?.reward),
                    0.1,
                ))
            })
            .collect();
        let title = format!("demonstration {episode}");
        figures.push(Figure::svg(
            &lines(
                &Axes {
                    title: &title,
                    x: "time (s)",
                    y: "reward, scaled to 0..1",
                    marks: &[],
                },
                &curves,
            ),
            "",
        ));
    }
    page.row(&figures);
}

fn demonstrations(page: &mut Page, story: &Story) -> anyhow::Result<()> {
    page.section("Real demonstrations of another arm");
    page.text("Five tele-operated demonstrations of a Franka Panda. Reward: minus the distance to the clip's own last frame, in pooled ImageNet features and in pixels. Grey lines: the steps found by the exact segmentation.");
    let rows: Vec<_> = story
        .panda
        .iter()
        .map(|c| {
            vec![
                c.name.clone(),
                format!("{:.2}", c.spearman_features),
                format!("{:.2}", c.spearman_pixels),
                format!("{:?}", c.cuts),
            ]
        })
        .collect();
    page.table(
        &[
            "clip",
            "Spearman with time, features",
            "pixels",
            "steps begin at frames",
        ],
        &rows,
        &[],
    );
    let mut figures = Vec::new();
    for clip in &story.panda {
        let series = [
            Series::over_time("features", &unit(&clip.curves.0), 1.0),
            Series::over_time("pixels", &unit(&clip.curves.1), 1.0),
        ];
        let marks: Vec<f64> = clip.cuts.iter().map(|&c| c as f64).collect();
        figures.push(Figure::svg(
            &lines(
                &Axes {
                    title: &clip.name,
                    x: "frame",
                    y: "reward, scaled to 0..1",
                    marks: &marks,
                },
                &series,
            ),
            "",
        ));
        figures.push(Figure::video(
            &story.out.join("panda").join(format!("{}.mp4", clip.name)),
            224,
            &clip.name,
        )?);
    }
    page.row(&figures);
    Ok(())
}

fn deployment(page: &mut Page, story: &Story) {
    page.section("Deployed");
    let d = &story.deployment;
    page.text(&format!(
        "The policy on the twin: the real Feetech driver, a pseudo-terminal, six servos answering byte for byte, MuJoCo behind them. {} of {} episodes succeed. {} ticks at 50 Hz: late by {:.2} ms (median), {:.2} ms (p99), {:.2} ms (largest); {} missed by over 10 ms. After each episode the stop order turned torque off, and the switches were read back as off.",
        d.successes,
        d.episodes,
        d.ticks,
        d.lateness_p50_us / 1e3,
        d.lateness_p99_us / 1e3,
        d.lateness_max_us / 1e3,
        d.missed_deadlines
    ));
    page.text(&format!(
        "rapport view {} shows the run: arm, camera, learned and true reward, joints, loop timing.",
        d.recording.display()
    ));
}

#[derive(Deserialize)]
struct MetricsLine {
    steps: u64,
    success: bool,
}

/// Success over the last 20 episodes, mean and range over seeds, at a common grid of steps.
fn learning_curve(name: &str, runs: impl Iterator<Item = PathBuf>) -> anyhow::Result<Series> {
    const WINDOW: usize = 20;
    let mut at: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for run in runs {
        let text = std::fs::read_to_string(run.join("metrics.jsonl"))?;
        let lines: Vec<MetricsLine> = text
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect();
        for (i, line) in lines.iter().enumerate().skip(WINDOW - 1).step_by(5) {
            let wins = lines[i + 1 - WINDOW..=i]
                .iter()
                .filter(|l| l.success)
                .count();
            at.entry(line.steps)
                .or_default()
                .push(wins as f64 / WINDOW as f64);
        }
    }
    let mut series = Series::new(name, Vec::new());
    let (mut low, mut high) = (Vec::new(), Vec::new());
    for (steps, values) in at {
        series.points.push((
            steps as f64,
            values.iter().sum::<f64>() / values.len() as f64,
        ));
        low.push(values.iter().copied().fold(f64::INFINITY, f64::min));
        high.push(values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    }
    series.band = Some((low, high));
    Ok(series)
}

fn first_film(videos: &Path, method: Method) -> anyhow::Result<Option<PathBuf>> {
    let dir = videos.join(method.folder());
    if !dir.exists() {
        return Ok(None);
    }
    let mut films: Vec<_> = std::fs::read_dir(dir)?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "mp4"))
        .collect();
    films.sort();
    Ok(films.into_iter().next())
}

/// `demo.mp4`: the methods side by side, the same starts.
pub fn film(story: &Story) -> anyhow::Result<()> {
    let mut columns = Vec::new();
    for method in Method::ALL {
        if let Some(path) = first_film(&story.out.join("videos"), method)? {
            columns.push(video::read_frames(&path)?.0);
        }
    }
    let Some(first) = columns.first().and_then(|c| c.first()) else {
        return Ok(());
    };
    let (width, height) = first.dimensions();
    let length = columns.iter().map(Vec::len).max().unwrap_or(0);
    let frames: Vec<RgbImage> = (0..length)
        .map(|t| {
            let mut frame = RgbImage::new(width * columns.len() as u32, height);
            for (i, column) in columns.iter().enumerate() {
                if let Some(picture) = column.get(t).or(column.last()) {
                    image::imageops::replace(&mut frame, picture, i64::from(width) * i as i64, 0);
                }
            }
            frame
        })
        .collect();
    Ok(video::write(
        story.out.join("demo.mp4"),
        &frames,
        10,
        VideoCodec::H264,
    )?)
}
