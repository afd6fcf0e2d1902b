//! What `--teleop` names.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport::robot::action::ActionMapper;
use rapport::robot::calibration::Calibration;
use rapport::robot::feetech::FeetechArm;
use rapport::robot::leader::Leader;
use rapport::robot::{ArmState, TeleopError, TeleopEvent, Teleoperator, so101};
use rapport::sim::tasks::Task;
use rapport::sim::{ScriptConfig, ScriptedTeleop};

use crate::cli::Usage;
use crate::station::Station;

/// Whether `--teleop` names something that there is, before anything is opened or made.
pub fn check(name: &str, task: &dyn Task) -> anyhow::Result<()> {
    let own =
        |script: &str| task.name() == script || task.name().strip_prefix("so101-") == Some(script);
    match name.split_once(':') {
        Some(("script", script)) if script == "play" || own(script) => Ok(()),
        Some(("script", script)) => Err(Usage(format!(
            "there is no script {script} for {}; take script:{} or script:play",
            task.name(),
            task.name()
        ))
        .into()),
        Some(("leader", path)) if !path.is_empty() => Ok(()),
        _ => Err(Usage(format!(
            "there is no teleoperator {name}; take script:TASK, script:play or leader:PATH"
        ))
        .into()),
    }
}

/// Opens the teleoperator called `name` for a station: `script:TASK`, `script:play` or `leader:PATH`.
pub fn open(
    name: &str,
    station: &Station,
    task: &Arc<dyn Task>,
    policy_hz: f64,
    seed: u64,
    leader_calibration: Option<&std::path::Path>,
) -> anyhow::Result<Box<dyn Teleoperator>> {
    check(name, &**task)?;
    if name == "script:play" {
        return Ok(Box::new(Play::new(&**task, policy_hz, seed)?));
    }
    if let Some(path) = name.strip_prefix("leader:") {
        let file = leader_calibration.ok_or_else(|| {
            Usage("a leader arm needs its calibration: --leader-calibration FILE.json".into())
        })?;
        let calibration = Calibration::load(file)?;
        let leader = FeetechArm::connect(path, &calibration)?;
        return Ok(Box::new(Leader::new(Box::new(leader), so101::spec())?));
    }
    let referee = station
        .referee
        .as_ref()
        .ok_or_else(|| Usage("a script needs a simulated robot".into()))?;
    let (task, world) = (task.clone(), referee.world().clone());
    Ok(Box::new(ScriptedTeleop::new(
        task,
        world,
        ScriptConfig::default(),
        policy_hz,
        seed,
    )?))
}

/// An arm waving about: smooth random actions in the task's own action space, for clips to choose between.
pub struct Play {
    mapper: ActionMapper,
    rng: ChaCha8Rng,
    action: Vec<f32>,
    goal: Option<(Duration, Vec<f64>)>,
    period: Duration,
}

impl Play {
    /// Waves `policy_hz` times a second.
    pub fn new(task: &dyn Task, policy_hz: f64, seed: u64) -> anyhow::Result<Self> {
        let mapper = ActionMapper::new(task.action_space(), so101::spec(), so101::chain())?;
        let action = vec![0.0; mapper.action_len()];
        Ok(Self {
            mapper,
            rng: ChaCha8Rng::seed_from_u64(seed),
            action,
            goal: None,
            period: Duration::from_secs_f64(1.0 / policy_hz),
        })
    }
}

impl Teleoperator for Play {
    fn name(&self) -> &str {
        "script:play"
    }

    fn next_goal(
        &mut self,
        follower: &ArmState,
    ) -> Result<(Vec<f64>, Option<TeleopEvent>), TeleopError> {
        let now = follower.stamp;
        if let Some((since, goal)) = &self.goal
            && now < *since + self.period
        {
            return Ok((goal.clone(), None));
        }
        for a in &mut self.action {
            *a = (0.8 * *a + self.rng.random_range(-0.6..=0.6)).clamp(-1.0, 1.0);
        }
        let goal = self
            .mapper
            .goal(&self.action, follower)
            .map_err(|e| TeleopError {
                name: self.name().into(),
                cause: e.to_string(),
            })?;
        self.goal = Some((now, goal.clone()));
        Ok((goal, None))
    }

    fn action(&self) -> Option<&[f32]> {
        Some(&self.action)
    }

    fn reset(&mut self) {
        self.mapper.reset();
        self.goal = None;
        self.action.fill(0.0);
    }
}
