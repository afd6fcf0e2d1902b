//! [`Rewrite`]: proposals by a language model, which reads the last best and worst program, what their terms did, and how they
//! differ.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::super::source::Program;
use super::{Brief, Candidate, Proposer, Round};
use crate::model::RewardError;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Standing instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A language model that continues conversations.
pub trait Chat {
    /// What it is called in records.
    fn name(&self) -> &str;

    /// The model's next turn.
    fn complete(&mut self, conversation: &[Message]) -> Result<String, RewardError>;
}

/// Settings of a [`Rewrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewriteConfig {
    /// Times that a program with a mistake is sent back with what is wrong.
    pub corrections: usize,
}

impl Default for RewriteConfig {
    fn default() -> Self {
        Self { corrections: 2 }
    }
}

/// A proposer that asks a language model for each program.
pub struct Rewrite<C> {
    chat: C,
    config: RewriteConfig,
}

impl<C: Chat> Rewrite<C> {
    /// A proposer with this model.
    pub fn new(chat: C, config: RewriteConfig) -> Self {
        Self { chat, config }
    }

    /// The model.
    pub fn chat(&self) -> &C {
        &self.chat
    }
}

impl<C: Chat> Proposer for Rewrite<C> {
    fn name(&self) -> &str {
        self.chat.name()
    }

    fn propose(
        &mut self,
        brief: &Brief,
        rounds: &[Round],
        count: usize,
    ) -> Result<Vec<Program>, RewardError> {
        let mut programs = Vec::<Program>::new();
        for _ in 0..count {
            let mut conversation = vec![
                Message {
                    role: Role::System,
                    content: LANGUAGE.into(),
                },
                Message {
                    role: Role::User,
                    content: request(brief, rounds, &programs),
                },
            ];
            let mut mistake = String::new();
            for _ in 0..=self.config.corrections {
                let reply = self.chat.complete(&conversation)?;
                let read = read(&reply).and_then(|program| brief.check(&program).map(|()| program));
                match read {
                    Ok(program) => {
                        programs.push(program);
                        mistake.clear();
                        break;
                    }
                    Err(error) => mistake = error.to_string(),
                }
                conversation.push(Message {
                    role: Role::Assistant,
                    content: reply,
                });
                let content = format!(
                    "That cannot be used: {mistake}. Write the whole program again, corrected, in one ``` block."
                );
                conversation.push(Message {
                    role: Role::User,
                    content,
                });
            }
            if !mistake.is_empty() {
                return Err(RewardError::Other(format!(
                    "{} wrote no usable program in {} attempts; the last mistake: {mistake}",
                    self.chat.name(),
                    self.config.corrections + 1
                )));
            }
        }
        Ok(programs)
    }
}

/// How programs are written, for a model that has never seen one.
const LANGUAGE: &str = "\
You write reward functions for a robot in a small language. A program is a list of lines `name = expression`; the reward of a \
step is the sum of all of them, and higher is better. `let name = expression` lines before them give names to expressions. \
Expressions: numbers; columns (`observation.state`), one number of a column (`observation.state[3]`, counted from 0), some of them \
(`observation.state[0..3]`, the end not included); rows `[0.1, 0.2]`; + - * /; < <= > >= && || ! (1 or 0); \
if(condition, a, b); min(a, b) max(a, b) abs exp sqrt tanh sigmoid; norm(row) sum(row) mean(row) dot(a, b) distance(a, b); delta(x), \
the change since the step before. Names with other characters stand between backquotes. Every line must come to one number. \
Comments start with #. There is nothing else: no loops, no other functions.
Example:
```
let hand = observation.state[0..2]
let block = observation.state[2..4]
reach = -distance(hand, block)
gentle = -0.1 * norm(delta(action))
```
Answer with one program in one ``` block.";

/// What is asked for.
fn request(brief: &Brief, rounds: &[Round], others: &[Program]) -> String {
    let mut text = format!("The task: {}\n\nColumns:\n", brief.task);
    for column in &brief.columns {
        let parts: Vec<String> = column
            .parts
            .iter()
            .enumerate()
            .map(|(i, part)| {
                if part.is_empty() {
                    format!("[{i}]")
                } else {
                    format!("[{i}] {part}")
                }
            })
            .collect();
        let _ = writeln!(text, "- `{}`: {}", column.name, parts.join(", "));
    }
    if let Some(round) = rounds.last() {
        let (best, worst) = (
            &round.candidates[round.best],
            &round.candidates[round.worst],
        );
        text.push_str("\nA policy was trained with each of several programs, and a person looked at what they did.\n");
        describe(
            &mut text,
            "The person liked the result of this program best",
            best,
        );
        describe(
            &mut text,
            "The person liked the result of this program least",
            worst,
        );
        if let Some(before) = rounds
            .len()
            .checked_sub(2)
            .map(|i| rounds[i].best_program())
            && *before != best.program
        {
            let _ = write!(
                text,
                "\nThe best of the round before was this one; what was changed since then was liked:\n```\n{before}```\n"
            );
        }
        text.push_str(
            "\nFind out from the differences what the person wants, keep what makes the best program good, drop what makes the worst \
             one bad, scale terms so that none drowns the others, and write a better program.\n",
        );
    }
    if !others.is_empty() {
        text.push_str("\nThese were proposed already; write a different one:\n");
        for program in others {
            let _ = write!(text, "```\n{program}```\n");
        }
    }
    text
}

fn describe(text: &mut String, title: &str, candidate: &Candidate) {
    let _ = write!(
        text,
        "\n{title}:\n```\n{}```\nWhat its terms did:\n",
        candidate.program
    );
    for (name, trace) in &candidate.traces {
        let samples: Vec<String> = trace.samples.iter().map(|v| format!("{v:.3}")).collect();
        let _ = writeln!(
            text,
            "- {name}: total {:.3}, from {:.3} to {:.3}; over time {}",
            trace.total,
            trace.least,
            trace.most,
            samples.join(", ")
        );
    }
}

/// The program in a reply: what stands in the last block between ``` lines, or the whole reply.
fn read(reply: &str) -> Result<Program, RewardError> {
    let fences: Vec<usize> = reply.match_indices("```").map(|(i, _)| i).collect();
    let text = match fences[..] {
        [.., open, close] if fences.len().is_multiple_of(2) => {
            let block = &reply[open + 3..close];
            // The rest of the opening line names a language.
            block.split_once('\n').map_or(block, |(_, rest)| rest)
        }
        // A reply that was cut off, with its last block open.
        [.., open] => reply[open + 3..]
            .split_once('\n')
            .map_or("", |(_, rest)| rest),
        [] => reply,
    };
    Ok(text.parse::<Program>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::search::{Column, Trace};

    /// Says what it was given, in order, and remembers what it was asked.
    struct Script {
        replies: Vec<&'static str>,
        asked: Vec<Vec<Message>>,
    }

    impl Chat for Script {
        fn name(&self) -> &str {
            "script"
        }

        fn complete(&mut self, conversation: &[Message]) -> Result<String, RewardError> {
            self.asked.push(conversation.to_vec());
            if self.replies.is_empty() {
                return Err(RewardError::Other("no more replies".into()));
            }
            Ok(self.replies.remove(0).into())
        }
    }

    fn brief() -> Brief {
        let columns = vec![Column {
            name: "action".into(),
            parts: vec!["left".into(), "right".into()],
        }];
        Brief::new("push gently", columns)
    }

    fn rewrite(replies: &[&'static str]) -> Rewrite<Script> {
        let chat = Script {
            replies: replies.to_vec(),
            asked: Vec::new(),
        };
        Rewrite::new(chat, RewriteConfig::default())
    }

    #[test]
    fn programs_are_read_from_replies_and_mistakes_sent_back() {
        let mut proposer = rewrite(&[
            "Here:\n```reward\na = -norm(action)\n```\nGood luck!",
            "```\na = -norm(actoin)\n```",
            "```\na = -norm(action\n```",
            "a = action[1]",
        ]);
        let programs = proposer.propose(&brief(), &[], 2).unwrap();
        assert_eq!(programs[0].to_string(), "a = -norm(action)\n");
        assert_eq!(programs[1].to_string(), "a = action[1]\n");
        let asked = &proposer.chat().asked;
        assert!(
            asked[0][1].content.contains("push gently")
                && asked[0][1].content.contains("[1] right")
        );
        assert!(
            asked[1][1]
                .content
                .contains("write a different one:\n```\na = -norm(action)\n```")
        );
        assert!(asked[2][3].content.contains("`actoin`"));
        assert!(
            asked[3][5]
                .content
                .contains("line 2, column 1: the end stands where"),
            "{}",
            asked[3][5].content
        );
    }

    #[test]
    fn the_best_the_worst_and_what_their_terms_did_are_told() {
        let candidate = |text: &str, total| Candidate {
            program: text.parse().unwrap(),
            traces: [(
                "t".to_owned(),
                Trace {
                    total,
                    least: -1.5,
                    most: 2.0,
                    samples: vec![0.25, 0.5],
                },
            )]
            .into(),
        };
        let round = |best: &str| Round {
            candidates: vec![
                candidate("t = 9", 9.0),
                candidate(best, 3.0),
                candidate("t = -action[0]", -3.0),
            ],
            best: 1,
            worst: 2,
        };
        let mut proposer = rewrite(&["t = 1"]);
        proposer
            .propose(&brief(), &[round("t = 7"), round("t = action[0]")], 1)
            .unwrap();
        let text = &proposer.chat().asked[0][1].content;
        let places: Vec<usize> = [
            "best:\n```\nt = action[0]",
            "total 3.000, from -1.500 to 2.000; over time 0.250, 0.500",
            "least:\n```\nt = -action[0]",
            "t = 7",
        ]
        .iter()
        .map(|part| text.find(part).unwrap_or_else(|| panic!("{part}\n{text}")))
        .collect();
        assert!(places.is_sorted());
        assert!(!text.contains("t = 9"));
    }

    #[test]
    fn a_model_that_cannot_write_programs_is_given_up() {
        let mut proposer = rewrite(&["I cannot.", "Really.", "```\nx = zzz\n```"]);
        let message = proposer.propose(&brief(), &[], 1).unwrap_err().to_string();
        assert!(
            message.contains("in 3 attempts") && message.contains("zzz"),
            "{message}"
        );
    }
}
