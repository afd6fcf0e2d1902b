//! The two curves, for the terminal and as a picture.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use rapport::reward::eval::Interval;

use super::{Bench, Line, Told};
use crate::experiments::statistics::shown;
use crate::report::plots::{COLORS, Curve, Grid, Panel, Stroke};
use crate::run_dir::write_atomically;

/// Shares as whole percents.
pub fn percents(shares: &[f64]) -> String {
    let each: Vec<String> = shares.iter().map(|s| format!("{:.0}", 100.0 * s)).collect();
    format!("{} %", each.join(" "))
}

/// Success by iteration, as a table that is also Markdown.
pub fn table(bench: &Bench) -> String {
    let mut text = String::from("| iteration |");
    for line in &bench.lines {
        let _ = write!(text, " {}: success, % | opening, rad |", line.told.name());
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(2 * bench.lines.len()));
    for i in 0..bench.config.iterations {
        let _ = write!(text, "\n| {} |", i + 1);
        for line in &bench.lines {
            let _ = write!(
                text,
                " {} | {} |",
                shown(line.success[i], 100.0, 0),
                shown(line.opening[i], 1.0, 2)
            );
        }
    }
    for told in Told::ALL {
        let of: Vec<_> = bench.runs.iter().filter(|run| run.told == told).collect();
        let opens = of.iter().filter(|run| run.opens).count();
        let _ = write!(
            text,
            "\n{}: without exploration, {opens} of {} improved policies open the door",
            told.name(),
            of.len()
        );
    }
    let _ = write!(
        text,
        "\n{} rollouts an iteration, {} seeds; ±: half of Student's 95 % interval.",
        bench.config.rollouts, bench.config.seeds
    );
    text
}

/// Writes `door.md`, `door.json` and `door.png` into a folder.
pub fn write(bench: &Bench, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let json = serde_json::to_string_pretty(bench)?;
    write_atomically(&out.join("door.json"), json.as_bytes())?;
    write_atomically(&out.join("door.md"), table(bench).as_bytes())?;
    write_atomically(&out.join("door.png"), &plot(bench).png()?)
}

fn plot(bench: &Bench) -> Grid {
    let panel =
        |title: &str, y: &str, top: f64, unit: f64, part: fn(&Line) -> &[Option<Interval>]| {
            let curves = bench.lines.iter().zip(COLORS).map(|(line, color)| {
                let known: Vec<(f64, Interval)> = part(line)
                    .iter()
                    .enumerate()
                    .filter_map(|(i, interval)| Some((i as f64 + 1.0, (*interval)?)))
                    .collect();
                let bound = |value: f64| (unit * value).clamp(0.0, top);
                Curve {
                    name: line.told.name().into(),
                    points: known.iter().map(|(x, i)| (*x, unit * i.value)).collect(),
                    band: Some((
                        known.iter().map(|(_, i)| bound(i.low)).collect(),
                        known.iter().map(|(_, i)| bound(i.high)).collect(),
                    )),
                    color,
                    stroke: Stroke::Solid,
                }
            });
            Panel {
                title: title.into(),
                x: "iteration".into(),
                y: y.into(),
                curves: curves.collect(),
                range: (0.0, top),
                marks: Vec::new(),
            }
        };
    Grid::new(
        "PI2 on a simulated door",
        vec![vec![
            panel("door opened", "rollouts, %", 100.0, 100.0, |line| {
                &line.success
            }),
            panel("opening at the end", "rad", 0.8, 1.0, |line| &line.opening),
        ]],
    )
}
