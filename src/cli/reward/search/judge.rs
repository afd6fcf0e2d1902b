//! The person who judges a round, at the terminal: pictures of every result, one line of answer.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use image::RgbImage;
use rapport::reward::RewardError;
use rapport::reward::annotator::Annotator;
use rapport::reward::program::search::{Extremes, Lineup};

use super::rollout::Played;
use crate::interrupt;
use crate::terminal;

/// Whoever judges rounds.
pub type Judge = dyn Annotator<Query = Lineup<Played>, Answer = Extremes>;

/// A person at the terminal. Each round's pictures are also written to a file, for a closer look.
pub struct Terminal {
    out: PathBuf,
}

impl Terminal {
    /// Pictures go to `out`.
    pub fn new(out: &Path) -> Self {
        Self { out: out.into() }
    }

    #[allow(clippy::print_stderr)]
    fn ask(&self, lineup: &Lineup<Played>) -> Result<Option<Extremes>, RewardError> {
        let failed = |e: std::io::Error| RewardError::Other(format!("the terminal: {e}"));
        let count = lineup.rollouts.len();
        for (i, rollout) in lineup.rollouts.iter().enumerate() {
            eprintln!("\n{}: {}", letter(i), describe(rollout));
            let shown: Vec<(String, &RgbImage)> = rollout
                .pictures
                .iter()
                .step_by(2)
                .map(|picture| (String::new(), picture))
                .collect();
            if !shown.is_empty() {
                eprint!("{}", terminal::side_by_side(&shown, 36));
            }
        }
        if let Some(sheet) = sheet(&lineup.rollouts) {
            let path = self.out.join(format!("round-{}.png", lineup.round + 1));
            match sheet.save(&path) {
                Ok(()) => eprintln!(
                    "\nlarger, one row for each of A to {}: {}",
                    letter(count - 1),
                    path.display()
                ),
                Err(e) => eprintln!("\n{}: {e}", path.display()),
            }
        }
        let mut input = std::io::stdin().lock();
        loop {
            eprint!("best and worst (as `ca`), q quit: ");
            std::io::stderr().flush().map_err(failed)?;
            let mut line = String::new();
            if input.read_line(&mut line).map_err(failed)? == 0 || interrupt::requested() {
                return Ok(None);
            }
            match line.trim().to_lowercase().as_str() {
                "q" => return Ok(None),
                word => match parse(word, count) {
                    Some(extremes) => return Ok(Some(extremes)),
                    None => eprintln!(
                        "type two different letters of a to {}",
                        letter(count - 1).to_lowercase()
                    ),
                },
            }
        }
    }
}

impl Annotator for Terminal {
    type Query = Lineup<Played>;
    type Answer = Extremes;

    fn name(&self) -> &str {
        "terminal"
    }

    fn label(&mut self, queries: &[Lineup<Played>]) -> Result<Vec<Option<Extremes>>, RewardError> {
        queries.iter().map(|lineup| self.ask(lineup)).collect()
    }
}

fn letter(i: usize) -> String {
    u8::try_from(i)
        .ok()
        .filter(|i| *i < 26)
        .map_or_else(|| i.to_string(), |i| char::from(b'A' + i).to_string())
}

/// In words and numbers, for environments that cannot be seen.
fn describe(played: &Played) -> String {
    let mut text = format!(
        "{}, {} steps",
        played.title,
        played.clip.columns.values().next().map_or(0, |c| c.len())
    );
    if !played.pictures.is_empty() {
        return text;
    }
    for (name, column) in &played.clip.columns {
        if let Some(last) = column.rows().last() {
            let values: Vec<String> = last.iter().take(12).map(|v| format!("{v:.2}")).collect();
            text.push_str(&format!("; {name} at the end {}", values.join(" ")));
        }
    }
    text
}

/// Best and worst from two letters.
fn parse(word: &str, count: usize) -> Option<Extremes> {
    let [best, worst] = <[u8; 2]>::try_from(word.as_bytes())
        .ok()?
        .map(|b| usize::from(b.wrapping_sub(b'a')));
    (best < count && worst < count && best != worst).then_some(Extremes { best, worst })
}

/// A picture with a row for each rollout; none where nothing can be seen.
fn sheet(rollouts: &[Played]) -> Option<RgbImage> {
    let size = rollouts
        .iter()
        .flat_map(|r| &r.pictures)
        .next()?
        .dimensions();
    let columns = rollouts.iter().map(|r| r.pictures.len()).max()?;
    let mut sheet = RgbImage::new(
        size.0 * u32::try_from(columns).ok()?,
        size.1 * u32::try_from(rollouts.len()).ok()?,
    );
    for (row, rollout) in rollouts.iter().enumerate() {
        for (column, picture) in rollout.pictures.iter().enumerate() {
            image::imageops::replace(
                &mut sheet,
                picture,
                column as i64 * i64::from(size.0),
                row as i64 * i64::from(size.1),
            );
        }
    }
    Some(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rapport::perception::Features;
    use rapport::reward::Clip;

    #[test]
    fn an_answer_is_two_different_letters_of_those_shown() {
        assert_eq!(parse("ca", 3), Some(Extremes { best: 2, worst: 0 }));
        for bad in ["", "a", "aa", "ad", "abc", "1a", "é"] {
            assert_eq!(parse(bad, 3), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_told_in_numbers() {
        let mut clip = Clip::default();
        clip.columns.insert(
            "action".into(),
            Features::new(2, vec![0.0, 1.0, 0.25, -0.5]),
        );
        let mut played = Played {
            clip,
            truth: None,
            pictures: vec![],
            title: "a motion".into(),
        };
        assert_eq!(
            describe(&played),
            "a motion, 2 steps; action at the end 0.25 -0.50"
        );
        assert!(sheet(std::slice::from_ref(&played)).is_none());
        played.pictures = vec![RgbImage::new(4, 3); 2];
        let sheet = sheet(&[played.clone(), played.clone(), played]).unwrap();
        assert_eq!(sheet.dimensions(), (8, 9));
    }
}
