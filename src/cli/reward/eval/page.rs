//! The page: the verdict, the checks, and the curves behind them.

use rapport::reward::eval::{Check, Point, Probe, Rung, Sample, Verdict};

use super::{Args, Report, unit};
use crate::report::html::{Answer, Figure, Page, Tone};
use crate::report::plots::{Axes, Series, lines, ranking};

/// Episodes drawn.
const EPISODES: usize = 6;

/// The whole page.
pub fn page(report: &Report, samples: &[Sample], args: &Args) -> Page {
    let x = &report.examination;
    let mut page = Page::new(
        "Can this reward be trusted?",
        &format!(
            "{} reward {} on {} episodes of {}",
            report.evaluation.kind,
            args.reward.display(),
            report.evaluation.episodes,
            args.dataset.display()
        ),
    );
    page.verdict(tone(x.verdict), headline(x.verdict), &x.summary);
    let mut checks: Vec<&Check> = x.checks.iter().collect();
    // What speaks against it first.
    checks.sort_by_key(|c| match c.verdict {
        Verdict::Bad => 0,
        Verdict::Doubtful => 1,
        Verdict::Good => 2,
        Verdict::CannotTell => 3,
    });
    let answers: Vec<Answer> = checks.into_iter().map(answer).collect();
    page.answers(&answers);
    pressure(&mut page, report);
    episodes(&mut page, report, samples);
    insight(&mut page, report);
    numbers(&mut page, report);
    page
}

fn headline(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "Yes",
        Verdict::Doubtful => "With care",
        Verdict::Bad => "No",
        Verdict::CannotTell => "Cannot tell",
    }
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Good => Tone::Good,
        Verdict::Doubtful => Tone::Doubtful,
        Verdict::Bad => Tone::Bad,
        Verdict::CannotTell => Tone::CannotTell,
    }
}

fn answer(check: &Check) -> Answer {
    let show = |v: f64| format!("{v:.2}");
    Answer {
        tone: tone(check.verdict),
        word: check.verdict.word().into(),
        question: check.question.clone(),
        sentence: check.sentence.clone(),
        number: check.value.map_or(String::new(), |v| show(v.value)),
        interval: check
            .value
            .filter(|v| v.low < v.high)
            .map_or(String::new(), |v| {
                format!("{} to {}", show(v.low), show(v.high))
            }),
    }
}

/// Reward and truth while something optimises against the reward.
fn pressure(page: &mut Page, report: &Report) {
    let x = &report.examination;
    let mut figures = Vec::new();
    if x.pressure.len() > 1 {
        figures.push(Figure::svg(
            &best_of(&x.pressure, x.turn.map(|t| t.peak)),
            "The best of N recorded stretches, N doubling to the right. Band: 95 % interval of the truth. Where the truth falls while the reward rises, the reward is gamed.",
        ));
    }
    if x.climb.len() > 1 {
        figures.push(Figure::svg(
            &climbed("searching the space of pictures' features", &x.climb),
            "The cross-entropy method looks for the features that the reward likes best; the truth is that of the nearest recorded pictures.",
        ));
    }
    if report.motions.len() > 1 {
        figures.push(Figure::svg(
            &climbed("searching for motions in the simulator", &report.motions),
            "The cross-entropy method looks for the motion that the reward likes best; the simulator says what it is truly worth.",
        ));
    }
    if !figures.is_empty() {
        page.section("Under pressure");
        page.text("A policy is a search for what the reward likes. These searches do the same on a small scale, and watch the truth, which the reward never sees.");
        page.row(&figures);
    }
}

fn best_of(points: &[Point], peak: Option<usize>) -> String {
    let proxy: Vec<f64> = points.iter().map(|p| p.proxy).collect();
    let (low, high) = range(points.iter().flat_map(|p| [p.truth.value, p.ideal]));
    let scaled = |v: f64| (v - low) / (high - low).max(1e-12);
    let at = |pick: &dyn Fn(&Point) -> f64| -> Vec<(f64, f64)> {
        points.iter().map(|p| (p.kl, pick(p))).collect()
    };
    let mut truth = Series::new("truth", at(&|p| scaled(p.truth.value)));
    truth.band = Some(
        points
            .iter()
            .map(|p| (scaled(p.truth.low), scaled(p.truth.high)))
            .unzip(),
    );
    let reward = points
        .iter()
        .zip(unit(&proxy))
        .map(|(p, v)| (p.kl, v))
        .collect();
    let marks: Vec<f64> = peak
        .filter(|&p| p + 1 < points.len() && p > 0)
        .map(|p| points[p].kl)
        .into_iter()
        .collect();
    let axes = Axes {
        title: "picking the best of N",
        x: "pressure (nats)",
        y: "scaled to 0..1",
        marks: &marks,
    };
    let series = [
        Series::new("reward", reward),
        truth,
        Series::new("best possible", at(&|p| scaled(p.ideal))),
    ];
    lines(&axes, &series)
}

fn climbed(title: &str, rungs: &[Rung]) -> String {
    let curve = |pick: fn(&Rung) -> f64| {
        let values: Vec<f64> = rungs.iter().map(pick).collect();
        rungs
            .iter()
            .zip(unit(&values))
            .map(|(r, v)| (r.kl, v))
            .collect::<Vec<_>>()
    };
    let axes = Axes {
        title,
        x: "pressure (nats)",
        y: "scaled to 0..1",
        marks: &[],
    };
    lines(
        &axes,
        &[
            Series::new("reward", curve(|r| r.proxy)),
            Series::new("truth", curve(|r| r.truth)),
        ],
    )
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    })
}

/// Some episodes, good and bad ones.
fn episodes(page: &mut Page, report: &Report, samples: &[Sample]) {
    let all = &report.evaluation.per_episode;
    if all.is_empty() {
        return;
    }
    page.section("Episodes");
    page.text(
        "The reward along recorded episodes, all episodes on one scale, and the truth on its own.",
    );
    let (low, high) = range(all.iter().flat_map(|e| e.reward.iter().copied()));
    let (least, most) = range(
        samples
            .iter()
            .filter_map(|s| s.truth.as_ref())
            .flatten()
            .copied(),
    );
    let scaled = |v: &[f64], low: f64, high: f64| -> Vec<f64> {
        v.iter()
            .map(|v| (v - low) / (high - low).max(1e-12))
            .collect()
    };
    let figures: Vec<Figure> = chosen(samples)
        .into_iter()
        .filter_map(|i| Some((all.get(i)?, &samples[i])))
        .map(|(e, sample)| {
            let step = 1.0 / sample.clip.fps.max(1e-6);
            let reward = scaled(&e.reward, low, high);
            let mut series = vec![Series::over_time("reward", &reward, step)];
            series.extend(
                sample
                    .truth
                    .as_ref()
                    .map(|t| Series::over_time("truth", &scaled(t, least, most), step)),
            );
            let outcome = match sample.success {
                Some(true) => ", success",
                Some(false) => ", failure",
                None => "",
            };
            let title = format!("episode {}{outcome}", e.episode);
            let axes = Axes {
                title: &title,
                x: "time (s)",
                y: "scaled to 0..1",
                marks: &[],
            };
            Figure::svg(&lines(&axes, &series), "")
        })
        .collect();
    page.row(&figures);
}

/// Successes and failures in turn, the first ones of each.
fn chosen(samples: &[Sample]) -> Vec<usize> {
    let (good, poor): (Vec<usize>, Vec<usize>) =
        (0..samples.len()).partition(|&i| samples[i].success != Some(false));
    let longest = good.len().max(poor.len());
    (0..longest)
        .flat_map(|k| [good.get(k), poor.get(k)])
        .flatten()
        .copied()
        .take(EPISODES)
        .collect()
}

/// What the reward looks at.
fn insight(page: &mut Page, report: &Report) {
    let x = &report.examination;
    let probes: Vec<_> = x.probes.iter().filter(|p| p.read.is_some()).collect();
    if probes.is_empty() {
        return;
    }
    page.section("What it looks at");
    page.text("A linear probe predicts each quantity, on episodes it was not fitted on, from the numbers that the reward looks at (left); and how closely the reward itself goes along with each (right). A reward should go along with the truth more than with anything else.");
    let bar = |pick: &dyn Fn(&Probe) -> Option<f64>| -> Vec<(String, f64)> {
        probes
            .iter()
            .map(|p| (p.dimension.clone(), pick(p).unwrap_or(0.0)))
            .collect()
    };
    let read = bar(&|p| p.read);
    let rewarded = bar(&|p| p.rewarded);
    page.row(&[
        Figure::svg(
            &ranking(
                "what can be read",
                "rank correlation, held out",
                &read,
                "truth",
            ),
            "",
        ),
        Figure::svg(
            &ranking("what is rewarded", "rank correlation", &rewarded, "truth"),
            "",
        ),
    ]);
    if let Some(c) = &x.calibration {
        let kept = Series::new("kept", c.coverage.clone());
        let promised = Series::new("promised", c.coverage.iter().map(|v| (v.0, v.0)).collect());
        let axes = Axes {
            title: "does its uncertainty hold?",
            x: "share promised",
            y: "share inside",
            marks: &[],
        };
        page.row(&[Figure::svg(
            &lines(&axes, &[kept, promised]),
            "Below the line: surer than it may be.",
        )]);
    }
}

/// Everything measured.
fn numbers(page: &mut Page, report: &Report) {
    page.section("All numbers");
    let mut rows = Vec::new();
    for check in &report.examination.checks {
        for (name, value) in &check.numbers {
            rows.push(vec![
                check.question.clone(),
                name.clone(),
                value.map_or("not defined".into(), |v| format!("{v:.3}")),
            ]);
        }
    }
    page.folded_table("every check", &["question", "measured", "value"], &rows);
    let per_episode: Vec<Vec<String>> = report
        .evaluation
        .per_episode
        .iter()
        .map(|e| {
            let show = |v: Option<f64>| v.map_or("n/a".into(), |v| format!("{v:.2}"));
            vec![
                e.episode.to_string(),
                show(e.spearman_time),
                show(e.spearman_truth),
                format!("{:.3}", e.reward.iter().sum::<f64>()),
            ]
        })
        .collect();
    page.folded_table(
        "every episode",
        &["episode", "Spearman with time", "with truth", "return"],
        &per_episode,
    );
}
