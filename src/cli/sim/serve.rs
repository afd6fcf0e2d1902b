//! `rapport sim serve`: an environment for learners in other languages, one line of JSON at a time.

use std::io::BufRead as _;

use serde::{Deserialize, Serialize};

use crate::cli::environment::EnvironmentArgs;
use crate::practice::{Practice as _, SimPractice};

/// Lend an environment to a learner in another language: a line of JSON in, a line of JSON out.
///
/// First it says what it is: {"env", "observation_dim", "action_dim", "policy_hz"}. Then {"reset": SEED} is answered by
/// {"observation": [...]}, and {"step": [...]} (numbers from -1 to 1) by {"observation", "reward", "success", "terminated", "truncated"}.
/// What cannot be done is answered by {"error": "..."} and changes nothing. The end of the input ends it. `benches/rapport_env.py` is such
/// an environment for Gymnasium, in fifty lines.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    environment: EnvironmentArgs,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Reset(u64),
    Step(Vec<f32>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Hello {
        env: &'a str,
        observation_dim: usize,
        action_dim: usize,
        policy_hz: f64,
    },
    Began {
        observation: Vec<f32>,
    },
    Stepped {
        observation: Vec<f32>,
        reward: f64,
        success: bool,
        terminated: bool,
        truncated: bool,
    },
    Refused {
        error: String,
    },
}

/// Serves until the input ends.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let mut practice = args.environment.practice((112, 112))?;
    let (mut begun, mut out) = (false, std::io::stdout().lock());
    let description = practice.description();
    let hello = Answer::Hello {
        env: &description.name,
        observation_dim: description.observation_len(),
        action_dim: practice.action_dim(),
        policy_hz: description.policy_hz,
    };
    say(&mut out, &hello)?;
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?, &mut practice, &mut begun);
        say(
            &mut out,
            &answer.unwrap_or_else(|error| Answer::Refused {
                error: format!("{error:#}"),
            }),
        )?;
    }
    Ok(())
}

fn answer(
    line: &str,
    practice: &mut SimPractice,
    begun: &mut bool,
) -> anyhow::Result<Answer<'static>> {
    match serde_json::from_str(line)? {
        Request::Reset(seed) => {
            let observation = practice.reset(seed)?;
            *begun = true;
            Ok(Answer::Began { observation })
        }
        Request::Step(action) => {
            anyhow::ensure!(
                *begun,
                "no episode has begun; send {{\"reset\": SEED}} first"
            );
            anyhow::ensure!(
                action.iter().all(|a| a.abs() <= 1.0),
                "components of an action are from -1 to 1"
            );
            let outcome = practice.step(&action)?;
            let truth = outcome.truth;
            *begun = !(outcome.terminated || outcome.truncated);
            Ok(Answer::Stepped {
                observation: outcome.observation,
                reward: truth.map_or(0.0, |truth| truth.reward),
                success: truth.is_some_and(|truth| truth.success),
                terminated: outcome.terminated,
                truncated: outcome.truncated,
            })
        }
    }
}

fn say(out: &mut impl std::io::Write, answer: &Answer<'_>) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
