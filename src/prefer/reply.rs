//! What the page is told: the next question, how far one is, and, after an answer, what the model had expected.

use rapport::reward::ClipId;
use serde::Serialize;

use super::belief::Belief;
use super::questions::{Answer, Mode, Next, Outcome, Question, Questions};

/// Everything that the page shows.
#[derive(Debug, Serialize)]
pub struct State {
    text: String,
    mode: &'static str,
    status: &'static str,
    question: Option<Shown>,
    soon: Vec<usize>,
    answered: usize,
    count: usize,
    skipped: usize,
    undoable: bool,
    last: Option<usize>,
    outcome: Option<&'static str>,
    /// True once there is a model.
    model: bool,
    belief: Option<String>,
    fps: f64,
}

#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    clips: Vec<ShownClip>,
}

#[derive(Debug, Serialize)]
struct ShownClip {
    clip: usize,
    episode: usize,
    start: usize,
    end: usize,
}

impl State {
    /// What comes next for a tab.
    pub fn of(questions: &mut Questions, tab: &str, wanted: Option<&Question>, fps: f64) -> Self {
        let next = questions.next(tab, wanted);
        let plan = questions.plan();
        let shown = |question: &Question| Shown {
            id: question.to_string(),
            clips: question
                .0
                .iter()
                .map(|&clip| {
                    let ClipId {
                        episode,
                        start,
                        end,
                        ..
                    } = questions.clips()[clip];
                    ShownClip {
                        clip,
                        episode,
                        start,
                        end,
                    }
                })
                .collect(),
        };
        let last = questions.last(tab);
        Self {
            text: sentence(plan.mode, plan.context.as_deref()),
            mode: match plan.mode {
                Mode::Pairs => "pairs",
                Mode::Triplets => "triplets",
            },
            status: match next {
                Next::Ask(_) => "asking",
                Next::Wait => "waiting",
                Next::Done => "done",
                Next::Exhausted => "exhausted",
            },
            question: match &next {
                Next::Ask(question) => Some(shown(question)),
                _ => None,
            },
            soon: questions.soon(),
            answered: questions.answered(),
            count: plan.count,
            skipped: questions.skipped(),
            undoable: last.is_some(),
            last,
            outcome: None,
            model: questions.belief().is_some(),
            belief: None,
            fps,
        }
    }

    /// The same after an answer.
    pub fn after(mut self, outcome: Outcome, belief: Option<String>) -> Self {
        self.outcome = Some(match outcome {
            Outcome::Saved => "saved",
            Outcome::Already => "already",
        });
        self.belief = belief;
        self
    }

    /// The same after taking something back.
    pub fn after_undo(mut self, undone: bool) -> Self {
        self.outcome = Some(if undone { "undone" } else { "nothing" });
        self
    }
}

/// The question in words.
pub fn sentence(mode: Mode, context: Option<&str>) -> String {
    match (context, mode) {
        (Some(context), _) => context.to_owned(),
        (None, Mode::Pairs) => "Which do you like better?".into(),
        (None, Mode::Triplets) => "Which do you like best?".into(),
    }
}

/// What the model had expected of an answer, and how often it is right; none before there is a model, and for skips.
pub fn expectation(belief: &Belief, question: &Question, answer: &Answer) -> Option<String> {
    let percent = |p: f64| format!("{:.0} %", 100.0 * p);
    let clips = &question.0;
    let said = match answer {
        Answer::Skip => return None,
        Answer::Order(order) if clips.len() == 2 => {
            let p =
                belief.probability(*clips.get(*order.first()?)?, *clips.get(*order.get(1)?)?)?;
            format!("The model gave your last choice {}.", percent(p))
        }
        Answer::Equal if clips.len() == 2 => {
            let p = belief.probability(clips[0], clips[1])?;
            let (side, p) = if p >= 0.5 {
                ("left", p)
            } else {
                ("right", 1.0 - p)
            };
            format!(
                "The model had leaned {side} on the last pair, {}.",
                percent(p)
            )
        }
        Answer::Equal => return None,
        Answer::Order(order) => {
            let (mut agreed, mut pairs) = (0, 0);
            for (i, better) in order.iter().enumerate() {
                for worse in &order[i + 1..] {
                    pairs += 1;
                    let p = belief.probability(*clips.get(*better)?, *clips.get(*worse)?)?;
                    agreed += usize::from(p > 0.5);
                }
            }
            format!("Of your last order the model had {agreed} of {pairs} pairs right.")
        }
    };
    Some(match belief.accuracy {
        Some(accuracy) => format!(
            "{said} It is right on {} of the answers kept from it.",
            percent(accuracy)
        ),
        None => said,
    })
}
