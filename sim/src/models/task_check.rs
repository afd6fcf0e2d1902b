//! Reading a [`TaskFile`], and what is wrong with one in itself.

use std::path::Path;

use toml::Spanned;

use super::error::{ModelError, line_of};
use super::source::Text;
use super::task::{Clause, Goal, Start, TaskFile};

impl TaskFile {
    /// Reads and checks a task file; whether it fits a model is seen when the two meet.
    ///
    /// Errors: the line and what is wrong there.
    pub(super) fn read(path: &Path) -> Result<(Self, Text), ModelError> {
        let text = Text::read(path)?;
        Ok((Self::parse(&text)?, text))
    }

    /// From a text.
    ///
    /// Errors: the line and what is wrong there.
    pub(super) fn parse(text: &Text) -> Result<Self, ModelError> {
        let task: Self = toml::from_str(&text.text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            match error.span() {
                Some(span) => text.error(span.start, message),
                None => ModelError::new(&text.path, message),
            }
        })?;
        task.check(text)?;
        Ok(task)
    }

    fn check(&self, text: &Text) -> Result<(), ModelError> {
        // The place of a value that has no span of its own.
        let at = |key: &str| {
            let found = text
                .text
                .lines()
                .position(|line| line.trim_start().starts_with(key));
            found.map(|line| line + 1)
        };
        let wrong = |key: &str, why: &str| {
            Err(ModelError {
                file: text.path.clone(),
                line: at(key),
                message: format!("{key} {why}"),
            })
        };
        if !(1..=10_000_000).contains(&self.max_steps) {
            return wrong("max_steps", "must be within 1..=10000000");
        }
        if !(0.1..=10_000.0).contains(&self.policy_hz) {
            return wrong("policy_hz", "must be within 0.1..=10000");
        }
        if !(0.0..=60.0).contains(&self.settle_s) {
            return wrong("settle_s", "must be within 0..=60");
        }
        if !self.success_bonus.is_finite() {
            return wrong("success_bonus", "must be finite");
        }
        if !(self.action.step > 0.0 && self.action.step <= 2.0) {
            return wrong("step", "must be above 0 and at most 2");
        }
        if self.success_bonus != 0.0 && self.success.is_empty() {
            return wrong("success_bonus", "needs at least one [[success]]");
        }
        for start in &self.start {
            start
                .get_ref()
                .check()
                .map_err(|why| text.error(start.span().start, why))?;
        }
        if let Some(goal) = &self.goal {
            let Goal { x, y, z, .. } = goal.get_ref();
            if ![x, y, z].into_iter().all(is_range) {
                return Err(text.error(
                    goal.span().start,
                    "a range of the goal is not finite or upside down",
                ));
            }
        }
        for clause in &self.reward {
            clause
                .get_ref()
                .check(Use::Reward)
                .map_err(|why| text.error(clause.span().start, why))?;
        }
        for clause in self.success.iter().chain(&self.failure) {
            clause
                .get_ref()
                .check(Use::Condition)
                .map_err(|why| text.error(clause.span().start, why))?;
        }
        Ok(())
    }
}

fn is_range([low, high]: &[f64; 2]) -> bool {
    low.is_finite() && high.is_finite() && low <= high
}

impl Start {
    fn check(&self) -> Result<(), String> {
        let place = [self.x, self.y, self.z, self.yaw];
        let ranges = place.iter().chain([&self.range, &self.around]).flatten();
        if !ranges.into_iter().all(is_range) {
            return Err("a range of this start is not finite or upside down".into());
        }
        let placed = place.iter().any(Option::is_some);
        match (&self.joint, &self.body) {
            (Some(_), None) if !placed && self.range.is_some() != self.around.is_some() => Ok(()),
            (Some(_), None) => Err("a joint starts within `range` or `around`, one of them".into()),
            (None, Some(_)) if placed && self.range.is_none() && self.around.is_none() => Ok(()),
            (None, Some(_)) => {
                Err("a body starts within `x`, `y`, `z` and `yaw`, at least one of them".into())
            }
            _ => Err("a start names a `joint` or a `body`, one of them".into()),
        }
    }
}

/// What a clause is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Reward,
    Condition,
}

impl Clause {
    fn check(&self, kind: Use) -> Result<(), String> {
        let measures = [
            self.distance.is_some(),
            self.height.is_some(),
            self.upright.is_some(),
            self.speed.is_some(),
            self.joint.is_some(),
            self.velocity.is_some(),
            self.sensor.is_some(),
            self.control.is_some(),
        ];
        if measures.iter().filter(|&&given| given).count() != 1 {
            return Err(
                "needs exactly one measure: distance, height, upright, speed, joint, velocity, sensor or control".into(),
            );
        }
        let numbers = [self.target, self.weight, self.near, self.above, self.below];
        if numbers.iter().flatten().any(|number| !number.is_finite()) {
            return Err("a number here is not finite".into());
        }
        if self.clip.is_some_and(|clip| !is_range(&clip)) {
            return Err("clip is not finite or upside down".into());
        }
        if self.near.is_some_and(|near| near <= 0.0) {
            return Err("near must be above 0".into());
        }
        if let Some(axes) = &self.axes
            && (self.distance.is_none()
                || axes.is_empty()
                || !axes.chars().all(|axis| "xyz".contains(axis)))
        {
            return Err("axes belong to a distance and are some of \"xyz\"".into());
        }
        let (worth, condition) = (
            self.weight.is_some() || self.near.is_some() || self.clip.is_some(),
            self.above.is_some() || self.below.is_some(),
        );
        match kind {
            Use::Reward if condition => {
                Err("`above` and `below` belong to [[success]] and [[failure]]".into())
            }
            Use::Condition if worth => {
                Err("`weight`, `near` and `clip` belong to [[reward]]".into())
            }
            Use::Condition if !condition => Err("says neither `above` nor `below`".into()),
            _ => Ok(()),
        }
    }
}

/// The line of a span, for messages about what is in it.
pub(super) fn error_at<T>(
    text: &Text,
    spanned: &Spanned<T>,
    message: impl Into<String>,
) -> ModelError {
    let line = line_of(&text.text, spanned.span().start);
    ModelError::at(&text.path, line, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TaskFile, ModelError> {
        TaskFile::parse(&Text {
            path: "task.toml".into(),
            text: text.into(),
        })
    }

    #[test]
    fn an_empty_file_is_a_task_with_the_defaults() {
        assert_eq!(parse("").unwrap(), TaskFile::default());
    }

    #[test]
    fn a_mistake_is_reported_with_its_line() {
        for (text, line, part) in [
            ("instruction = \"x\"\nmax_step = 3\n", 2, "unknown field"),
            ("\n\nmax_steps = \"three\"\n", 3, "invalid type"),
            ("max_steps = 3\npolicy_hz = inf\n", 2, "policy_hz must be"),
            (
                "[[reward]]\nheight = \"body:a\"\n\n[[reward]]\nweight = 2.0\n",
                4,
                "exactly one measure",
            ),
            ("[[reward]]\nheight = \"thing:a\"\n", 2, "body:NAME"),
            (
                "[[success]]\nheight = \"body:a\"\n",
                1,
                "neither `above` nor `below`",
            ),
            (
                "[[success]]\nheight = \"body:a\"\nabove = 1\nweight = 2\n",
                1,
                "belong to [[reward]]",
            ),
            ("[[start]]\njoint = \"a\"\n", 1, "`range` or `around`"),
            ("[[start]]\nbody = \"a\"\nx = [2, 1]\n", 1, "upside down"),
            ("a = [[[\n", 1, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{error}");
            assert!(error.message.contains(part), "{error}");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("task.toml:{line}: ")),
                "{error}"
            );
        }
    }
}
