//! RAPL's claim as a table, a plot and a page.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use image::RgbImage;
use rapport::reward::eval::Interval;

use super::{Claim, Clips, Row};
use crate::experiments::filming::Set;
use crate::experiments::manner::Preferred;
use crate::experiments::rivals::Method;
use crate::experiments::statistics::mean;
use crate::report::html::{Figure, Page};
use crate::report::plots::{Curve, Grid, Panel, Stroke};
use crate::run_dir::write_atomically;

/// A row for every reward and set at the number of answers of the headline.
pub fn table(claim: &Claim) -> String {
    let mut text = format!(
        "{:7}{:20}{:28}{:>18}{:>18}{:>18}{:>18}\n",
        "task", "clips", "reward", "triplets", "nearer", "rho between", "rho within"
    );
    for row in headline(claim) {
        let _ = writeln!(
            text,
            "{:7}{:20}{:28}{:>18}{:>18}{:>18}{:>18}",
            row.task.name(),
            row.set.name(),
            row.method.name(),
            plain(row.triplets),
            plain(row.anchored),
            plain(row.between),
            plain(row.within),
        );
    }
    let _ = writeln!(
        text,
        "\nRAPL less RLHF, {} answers, rho between:",
        claim.config.headline
    );
    for difference in &claim.differences {
        if difference.answers == claim.config.headline {
            let _ = writeln!(
                text,
                "{:7}{:20}{}",
                difference.task.name(),
                difference.set.name(),
                plain(difference.between)
            );
        }
    }
    let _ = write!(
        text,
        "\n{} answers, {} seeds; mean and half the width of Student's 95 % interval. triplets: held-out triplets whose middle clip is put above\nthe worst (chance .50); nearer: whose middle is nearer to the best than the worst is; rho: Spearman with the hidden reward.",
        claim.config.headline, claim.config.seeds
    );
    for (what, why) in &claim.left_out {
        let _ = write!(text, "\nleft out: {what}: {why}");
    }
    text
}

/// Writes `claim.html`, `claim.json` and `claim.png` into a folder.
pub fn write(claim: &Claim, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let json = serde_json::to_string_pretty(claim)?;
    write_atomically(&out.join("claim.json"), json.as_bytes())?;
    let grid = plot(claim);
    write_atomically(&out.join("claim.png"), &grid.png()?)?;
    write_atomically(
        &out.join("claim.html"),
        page(claim, &grid)?.render().as_bytes(),
    )
}

fn headline(claim: &Claim) -> impl Iterator<Item = &Row> {
    claim
        .rows
        .iter()
        .filter(|row| row.answers == claim.config.headline_of(row.method))
}

/// Mean and half width.
fn plain(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "-".into(),
        |i| format!("{:.2} ± {:.2}", i.value, 0.5 * (i.high - i.low)),
    )
}

fn color(method: Method) -> &'static str {
    match method {
        Method::Rapl => "#3b6fd4",
        Method::RaplSharp => "#12938f",
        Method::Rlhf => "#e08a2c",
        Method::Transport => "#8a8f98",
        Method::Steps => "#3d9a50",
        Method::Goal => "#c8423b",
        Method::Text => "#7d55b5",
    }
}

/// Spearman between clips over the number of answers: a row for each task, a column for each set.
fn plot(claim: &Claim) -> Grid {
    let rows = claim
        .config
        .tasks
        .iter()
        .map(|&task| {
            claim
                .config
                .sets
                .iter()
                .map(|&set| panel(claim, task, set))
                .collect()
        })
        .collect();
    Grid::new("Which reward orders clips as the person does?", rows)
}

fn panel(claim: &Claim, task: Preferred, set: Set) -> Panel {
    let answers = &claim.config.answers;
    let ends = [answers[0], answers[answers.len() - 1]];
    let curves = claim
        .config
        .methods
        .iter()
        .map(|&method| {
            let at = if method.asks() {
                answers
            } else {
                &ends.to_vec()
            };
            let known: Vec<(f64, Interval)> = at
                .iter()
                .filter_map(|&n| {
                    let measured = if method.asks() { n } else { 0 };
                    let row = claim.row(task, set, method, measured)?;
                    Some((n as f64, row.between?))
                })
                .collect();
            let band = method.asks().then(|| {
                let (low, high) = known.iter().map(|(_, i)| (i.low, i.high)).unzip();
                (low, high)
            });
            Curve {
                name: method.name().into(),
                points: known.iter().map(|(n, i)| (*n, i.value)).collect(),
                band,
                color: color(method),
                stroke: if method.asks() {
                    Stroke::Solid
                } else {
                    Stroke::Dashed
                },
            }
        })
        .collect();
    Panel {
        title: format!("{}: {}", task.name(), set.name()),
        x: "answers".into(),
        y: "Spearman".into(),
        curves,
        range: (-0.4, 1.0),
        marks: Vec::new(),
    }
}

fn page(claim: &Claim, grid: &Grid) -> anyhow::Result<Page> {
    let config = &claim.config;
    let mut page = Page::new(
        "RAPL's claim, measured",
        "Few rankings align a frozen encoder so that transport to exemplars means what the person wants. Better than a scorer learned from the same answers? And on another arm?",
    );
    let mut cards = Vec::new();
    for &task in &config.tasks {
        for &set in &[Set::Same, Set::Arm] {
            for method in [Method::Rapl, Method::Rlhf] {
                let row = claim.row(task, set, method, config.headline);
                if let Some(between) = row.and_then(|row| row.between) {
                    cards.push((
                        format!("{:.2}", between.value),
                        format!("{}, {}: {}", method.name(), task.name(), set.name()),
                    ));
                }
            }
        }
    }
    page.cards(&cards);
    page.section("Over the number of answers");
    page.row(&[Figure::svg(
        &grid.svg(),
        "Spearman's correlation of learned and hidden return over held-out clips. Bands: Student's 95 % interval over seeds. Dashed: rewards that ask nobody.",
    )]);
    page.section(&format!("At {} answers", config.headline));
    let head = [
        "task",
        "clips",
        "reward",
        "triplets in order",
        "middle nearer",
        "Spearman between clips",
        "Spearman within clips",
    ];
    let rows: Vec<&Row> = headline(claim).collect();
    let best: Vec<usize> = (0..rows.len())
        .filter(|&i| {
            let value = |row: &Row| row.between.map_or(f64::MIN, |b| b.value);
            rows.iter()
                .filter(|row| (row.task, row.set) == (rows[i].task, rows[i].set))
                .all(|row| value(row) <= value(rows[i]))
        })
        .collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.task.name().into(),
                row.set.name().into(),
                row.method.name().into(),
                plain(row.triplets),
                plain(row.anchored),
                plain(row.between),
                plain(row.within),
            ]
        })
        .collect();
    page.table(&head, &cells, &best);
    page.text("Triplets in order: held-out triplets whose middle clip gets more reward than the worst (chance 0.5). Middle nearer: whose middle clip is nearer to the best than the worst is, for rewards that compare clips. Within clips: over the frames of each of the third of the clips that the person likes least, as RAPL's released code does it.");
    page.section("The clips");
    for &task in &config.tasks {
        let of: Vec<_> = claim.clips.iter().filter(|c| c.task == task).collect();
        let mut returns: Vec<f64> = of.iter().flat_map(|c| c.returns.clone()).collect();
        returns.sort_by(f64::total_cmp);
        let quartiles: Vec<String> = (0..5)
            .filter_map(|i| returns.get(i * (returns.len() - 1) / 4))
            .map(|quartile| format!("{quartile:.2}"))
            .collect();
        let percent = |share: fn(&Clips) -> f64| {
            let shares: Vec<f64> = of.iter().map(|c| share(c)).collect();
            100.0 * mean(&shares).unwrap_or(0.0)
        };
        page.text(&format!(
            "{}: hidden returns of the test clips {} (least, quartiles, greatest); {:.0} % of them and {:.0} % of the exemplars are successes.",
            task.name(),
            quartiles.join(" / "),
            percent(|c| c.success),
            percent(|c| c.exemplar_success)
        ));
    }
    for sample in &claim.samples {
        let strips = sample
            .pictures
            .iter()
            .map(|(set, pictures)| {
                let caption = format!(
                    "{}, {}: hidden return {:.2}",
                    sample.task.name(),
                    set.name(),
                    sample.hidden_return
                );
                Figure::picture(&strip(pictures, 5), 1, &caption)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        page.row(&strips);
    }
    page.section("Repeat it");
    page.text(&format!(
        "rapport bench claim --seeds {} --seed {}. Encoder: {}, frozen. {} clips to ask about, {} exemplars, {} held-out clips, {} frames each. Everything, each seed by itself, is in claim.json.",
        config.seeds,
        config.first_seed,
        config.encoder,
        config.pool,
        config.exemplars,
        config.test,
        config.frames
    ));
    let seconds: Vec<Vec<String>> = claim
        .seconds
        .iter()
        .map(|(what, seconds)| vec![what.clone(), format!("{seconds:.0} s")])
        .collect();
    page.table(&["stage", "time"], &seconds, &[]);
    Ok(page)
}

/// Some pictures of a clip side by side, evenly in time.
pub fn strip(pictures: &[RgbImage], count: usize) -> RgbImage {
    let Some(first) = pictures.first() else {
        return RgbImage::new(1, 1);
    };
    let count = count.min(pictures.len()).max(1);
    let (width, height) = first.dimensions();
    let mut strip = RgbImage::new(width * count as u32, height);
    for i in 0..count {
        let t = i * (pictures.len() - 1) / (count - 1).max(1);
        image::imageops::replace(&mut strip, &pictures[t], i64::from(width) * i as i64, 0);
    }
    strip
}
