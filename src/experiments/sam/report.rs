//! Scores and gradients by constraint, for the terminal and as a picture.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::{Bench, CONSTRAINTS, Run, name};
use crate::experiments::statistics::shown;
use crate::report::plots::{COLORS, Curve, Grid, Panel, Stroke};
use crate::run_dir::write_atomically;

/// Scores as a table that is also Markdown.
pub fn table(bench: &Bench) -> String {
    let mut text = String::from(
        "| steepness kept by | last score, % | last third, % | its worst, % | seeds at 80 % | gradient norm |\n|---|---|---|---|---|---|",
    );
    for line in &bench.lines {
        let _ = write!(
            text,
            "\n| {} | {} | {} | {} | {} of {} | {} |",
            name(line.constraint),
            shown(line.last, 100.0, 0),
            shown(line.late, 100.0, 0),
            shown(line.worst, 100.0, 0),
            line.good,
            bench.config.seeds,
            shown(line.gradient, 1.0, 2),
        );
    }
    let mean = |value: fn(&Run) -> f64| {
        bench.runs.iter().map(value).sum::<f64>() / bench.runs.len().max(1) as f64
    };
    let _ = write!(
        text,
        "\n{}: {} demonstrations, {} steps; score 0: random actions ({:.0}), 1: the expert ({:.0}). {} seeds; ±: half of Student's 95 % interval.",
        bench.config.env,
        bench.config.demonstrations,
        bench.config.steps,
        mean(|run| run.random),
        mean(|run| run.expert),
        bench.config.seeds,
    );
    text
}

/// Writes `sam.md`, `sam.json` and `sam.png` into a folder.
pub fn write(bench: &Bench, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let json = serde_json::to_string_pretty(bench)?;
    write_atomically(&out.join("sam.json"), json.as_bytes())?;
    write_atomically(&out.join("sam.md"), table(bench).as_bytes())?;
    write_atomically(&out.join("sam.png"), &plot(bench).png()?)
}

fn plot(bench: &Bench) -> Grid {
    let panel = |title: &str, y: &str, range: (f64, f64), part: fn(&Run) -> Vec<(u64, f64)>| {
        let curves = CONSTRAINTS
            .iter()
            .zip(COLORS)
            .flat_map(|(constraint, color)| {
                let of = bench.runs.iter().filter(|r| r.constraint == *constraint);
                // Every run, not a mean: what fails in one seed of five is what there is to see.
                of.map(move |run| Curve {
                    name: name(*constraint).into(),
                    points: part(run)
                        .into_iter()
                        .map(|(steps, value)| (steps as f64 / 1e3, value.clamp(range.0, range.1)))
                        .collect(),
                    band: None,
                    color,
                    stroke: Stroke::Solid,
                })
            });
        Panel {
            title: title.into(),
            x: "thousand steps".into(),
            y: y.into(),
            curves: curves.collect(),
            range,
            marks: Vec::new(),
        }
    };
    Grid::new(
        "Imitation by an adversary, every seed",
        vec![vec![
            panel("way from random to expert", "%", (-20.0, 110.0), |run| {
                let percent = |(steps, value): &(u64, f64)| (*steps, 100.0 * run.score(*value));
                run.returns.iter().map(percent).collect()
            }),
            panel("gradient of the discriminator", "norm", (0.0, 6.0), |run| {
                run.gradients.clone()
            }),
        ]],
    )
}
