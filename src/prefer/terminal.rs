//! Questions in the terminal, for a session over SSH: pictures of half blocks, one word for each answer.

use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rapport::dataset::Dataset;
use rapport::reward::ClipId;

use super::Shared;
use super::questions::{Answer, Mode, Next, Question};
use super::reply::{expectation, sentence};
use crate::interrupt;
use crate::terminal::side_by_side;

/// The terminal is one tab.
const TAB: &str = "terminal";
const NAMES: [&str; 3] = ["A", "B", "C"];

/// Something typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Answer(Answer),
    Undo,
    Quit,
}

/// Asks until there are enough answers, or the person has enough.
#[allow(clippy::print_stdout)]
pub fn ask(shared: &Shared, dataset: &Dataset, camera: &str) -> anyhow::Result<()> {
    let lines = lines();
    let mut note = String::new();
    loop {
        let (next, answered, plan) = {
            let mut questions = shared.lock();
            let next = questions.next(TAB, None);
            (next, questions.answered(), questions.plan().clone())
        };
        let question = match next {
            Next::Ask(question) => question,
            Next::Exhausted => {
                println!("There are no clips left that were not compared.");
                break;
            }
            Next::Wait | Next::Done => break,
        };
        let clips: Vec<ClipId> = {
            let questions = shared.lock();
            question
                .0
                .iter()
                .map(|&i| questions.clips()[i].clone())
                .collect()
        };
        println!("\n{}", pictures(dataset, camera, &clips)?);
        if !note.is_empty() {
            println!("\x1b[2m{note}\x1b[0m");
        }
        println!("{}", sentence(plan.mode, plan.context.as_deref()));
        let how = match plan.mode {
            Mode::Pairs => "a or b, = equal",
            Mode::Triplets => "best to worst (as `bca`), = equal",
        };
        let word = loop {
            print!(
                "[{}/{}] {how}, s skip, u undo, q quit: ",
                answered + 1,
                plan.count
            );
            std::io::stdout().flush()?;
            let Some(line) = wait(&lines) else {
                println!();
                return Ok(());
            };
            if let Some(word) = parse(&line, plan.mode) {
                break word;
            }
            println!("`{}` is none of these", line.trim());
        };
        note = match word {
            Word::Quit => break,
            Word::Undo => match shared.lock().undo(TAB, None)? {
                true => "Taken back. Here it is again.".into(),
                false => "There is nothing to take back.".into(),
            },
            Word::Answer(answer) => say(shared, &question, &answer)?,
        };
    }
    Ok(())
}

/// Records an answer; what the model had thought of it.
fn say(shared: &Shared, question: &Question, answer: &Answer) -> anyhow::Result<String> {
    let mut questions = shared.lock();
    let belief = questions.belief().cloned();
    questions.answer(TAB, question, answer)?;
    let expected = belief.and_then(|b| expectation(&b, question, answer));
    Ok(expected.unwrap_or_default())
}

/// Lines of the standard input, read beside the program so that Ctrl-C is heard at once.
fn lines() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The next line; none at the end of the input and after Ctrl-C.
fn wait(lines: &Receiver<String>) -> Option<String> {
    while !interrupt::requested() {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => return Some(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

fn parse(line: &str, mode: Mode) -> Option<Word> {
    let word = line.trim().to_lowercase();
    let order = || {
        let places = word.bytes().map(|b| usize::from(b.wrapping_sub(b'a')));
        let mut order: Vec<usize> = places.collect();
        if mode == Mode::Pairs && order.len() == 1 && order[0] < 2 {
            order.push(1 - order[0]);
        }
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted
            .into_iter()
            .eq(0..mode.clips())
            .then_some(Word::Answer(Answer::Order(order)))
    };
    match word.as_str() {
        "q" => Some(Word::Quit),
        "u" => Some(Word::Undo),
        "s" => Some(Word::Answer(Answer::Skip)),
        "=" | "e" => Some(Word::Answer(Answer::Equal)),
        _ => order(),
    }
}

/// Clips of one frame beside each other; longer ones below each other, as beginning, middle and end.
fn pictures(dataset: &Dataset, camera: &str, clips: &[ClipId]) -> anyhow::Result<String> {
    let width = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(96, |size| size.ws_col);
    let columns = |pictures: usize| (u32::from(width.max(40)) / pictures as u32 - 2).min(48);
    if clips.iter().all(|c| c.end - c.start == 1) {
        let mut frames = Vec::new();
        for clip in clips {
            frames.push(dataset.frame(clip.episode, camera, clip.start)?);
        }
        let titled: Vec<_> = NAMES.iter().map(|n| n.to_string()).zip(&frames).collect();
        return Ok(side_by_side(&titled, columns(clips.len())));
    }
    let mut text = String::new();
    for (name, clip) in NAMES.iter().zip(clips) {
        let times = [clip.start, (clip.start + clip.end - 1) / 2, clip.end - 1];
        let mut frames = Vec::new();
        for t in times {
            frames.push(dataset.frame(clip.episode, camera, t)?);
        }
        let titles = [name.to_string(), String::new(), String::new()];
        let titled: Vec<_> = titles.into_iter().zip(&frames).collect();
        text.push_str(&side_by_side(&titled, columns(3).min(32)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_every_letter_once() {
        let order = |line, mode| match parse(line, mode) {
            Some(Word::Answer(Answer::Order(order))) => Some(order),
            _ => None,
        };
        assert_eq!(order("bca", Mode::Triplets), Some(vec![1, 2, 0]));
        assert_eq!(order(" B ", Mode::Pairs), Some(vec![1, 0]));
        assert_eq!(order("ab", Mode::Pairs), Some(vec![0, 1]));
        for bad in ["", "ab", "aab", "abd", "abca", "12 ", "ü"] {
            assert_eq!(parse(bad, Mode::Triplets), None, "{bad}");
        }
        assert_eq!(parse("c", Mode::Pairs), None);
        assert_eq!(parse("=", Mode::Pairs), Some(Word::Answer(Answer::Equal)));
        assert_eq!(parse("S", Mode::Triplets), Some(Word::Answer(Answer::Skip)));
        assert_eq!(parse("u", Mode::Pairs), Some(Word::Undo));
    }
}
