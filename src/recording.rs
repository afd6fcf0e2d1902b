//! Recording: a teleoperator moves a station, and every policy step becomes a row of a dataset.

use std::time::Duration;

use anyhow::Context as _;
use image::RgbImage;
use rapport::dataset::EpisodeWriter;
use rapport::robot::action::ActionMapper;
use rapport::robot::{TeleopEvent, Teleoperator, so101, units};
use rapport::sim::Reading;

use crate::interrupt;
use crate::schema;
use crate::station::{Referee, Station};
use crate::viz::{Message, Recording, things};

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time was over or the operator said done.
    Done,
    /// The operator wants it again.
    Redo,
    /// The operator, or Ctrl-C, ends the session.
    Quit,
}

/// What a row needs to know about rates, and about its dataset.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Ticks of the control loop per row.
    pub ticks_per_row: u32,
    /// Rows of an episode.
    pub rows: usize,
    /// Whether the dataset has columns for what servos say of themselves.
    pub servos: schema::Servos,
}

/// Records one episode. `writer` gets every row; `viewer` sees what happens.
pub fn record(
    station: &mut Station,
    teleop: &mut dyn Teleoperator,
    task: &dyn rapport::sim::tasks::Task,
    rates: Rates,
    mut writer: Option<&mut EpisodeWriter>,
    mut viewer: Option<&mut Recording>,
) -> anyhow::Result<End> {
    let mapper = ActionMapper::new(task.action_space(), so101::spec(), so101::chain())?;
    teleop.reset();
    let mut tick = station.tick(None)?;
    let start = station.referee.as_ref().map(|r| r.reading()).transpose()?;
    let begin = tick.time;
    for row in 0..rates.rows {
        let pictures = pictures(station, tick.time)?;
        let age = [tick.age.as_secs_f64() as f32];
        let (before, seen) = (
            tick.state.clone(),
            station.referee.as_ref().map(|r| r.reading()).transpose()?,
        );
        let mut goal = Vec::new();
        let mut control = None;
        let mut end = None;
        for _ in 0..rates.ticks_per_row {
            let (next, event) = teleop.next_goal(&tick.state)?;
            match event {
                Some(TeleopEvent::Redo) => return Ok(End::Redo),
                Some(TeleopEvent::Quit) => end = Some(End::Quit),
                Some(TeleopEvent::Done) | None => {}
            }
            goal = next;
            control = control.or_else(|| teleop.action().map(<[f32]>::to_vec));
            tick = station.tick(Some(&goal))?;
            // Rows of an arm that stands still while somebody tells it to move teach nothing good.
            anyhow::ensure!(
                tick.follows_goals(),
                "the arm was stopped: {}; this episode is not kept",
                tick.reason
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string)
            );
        }
        // What was sent, not what was asked for: the two differ where the guard had to act.
        let sent = tick.sent.clone().unwrap_or_else(|| goal.clone());
        let control = control.map_or_else(|| mapper.action_toward(&sent, &before), Ok)?;
        if let Some(viewer) = viewer.as_deref_mut() {
            show(
                viewer,
                (tick.time - begin).as_secs_f64(),
                &before.positions,
                &pictures,
                station.referee.as_ref().zip(seen.as_ref()),
            );
        }
        if let Some(writer) = writer.as_deref_mut() {
            let truth = match (&station.referee, &seen, &start) {
                (Some(referee), Some(seen), Some(start)) => {
                    let (task, after) = (referee.task(), referee.reading()?);
                    Some(Truth {
                        environment: task
                            .environment_state(seen)
                            .iter()
                            .map(|&v| v as f32)
                            .collect(),
                        reward: task.reward(&after) as f32,
                        success: f32::from(u8::from(task.success(&after))),
                        progress: task.progress(seen) as f32,
                        phase: phase(seen, start, task.success(seen)),
                    })
                }
                _ => None,
            };
            let spec = so101::spec();
            let (state, action) = (
                units::lerobot_from_positions(&spec, &before.positions)?,
                units::lerobot_from_positions(&spec, &sent)?,
            );
            let mut values: Vec<(&str, &[f32])> = vec![
                (schema::STATE, &state),
                (schema::ACTION, &action),
                (schema::CONTROL, &control),
            ];
            if let Some(truth) = &truth {
                values.push((schema::ENVIRONMENT, &truth.environment));
                values.push((schema::REWARD, std::slice::from_ref(&truth.reward)));
                values.push((schema::SUCCESS, std::slice::from_ref(&truth.success)));
                values.push((schema::PROGRESS, std::slice::from_ref(&truth.progress)));
                values.push((schema::PHASE, std::slice::from_ref(&truth.phase)));
            }
            let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
            let requested = units::lerobot_from_positions(&spec, &goal)?;
            let (current, temperature) = (single(&before.currents), single(&before.temperatures));
            // A dataset that was begun by an earlier version, or in the simulator, has no such columns.
            for (name, column) in [
                (schema::REQUESTED, &requested[..]),
                (schema::CURRENT, &current),
                (schema::TEMPERATURE, &temperature),
                (schema::STATE_AGE, &age),
            ] {
                if rates.servos == schema::Servos::Present {
                    values.push((name, column));
                }
            }
            let images: Vec<(&str, &RgbImage)> = pictures
                .iter()
                .map(|(name, image)| (name.as_str(), image))
                .collect();
            writer
                .push(&values, &images)
                .with_context(|| format!("recording row {row}"))?;
        }
        if interrupt::requested() {
            return Ok(End::Quit);
        }
        if let Some(end) = end {
            return Ok(end);
        }
    }
    Ok(End::Done)
}

struct Truth {
    environment: Vec<f32>,
    reward: f32,
    success: f32,
    progress: f32,
    phase: f32,
}

/// 0 before anything moves, 1 on its way, 2 where it should be.
fn phase(seen: &Reading, start: &Reading, done: bool) -> f32 {
    if done {
        2.0
    } else {
        f32::from(u8::from(seen.moved_since(start) > 0.005))
    }
}

/// One picture of every camera, seen at `now` on the loop's clock.
///
/// Errors: a camera fails, or shows what is too old to act on.
pub fn pictures(station: &mut Station, now: Duration) -> anyhow::Result<Vec<(String, RgbImage)>> {
    let oldest = station.oldest_picture;
    let look = |camera: &mut Box<dyn rapport::robot::Camera>| {
        let frame = camera.capture()?;
        let age = now.saturating_sub(frame.stamp);
        anyhow::ensure!(
            oldest.is_none_or(|oldest| age <= oldest),
            "the picture of camera {} is {} ms old; check the camera",
            camera.name(),
            age.as_millis()
        );
        Ok((camera.name().to_owned(), frame.image))
    };
    station.cameras.iter_mut().map(look).collect()
}

/// Shows a moment in the viewer, without ever waiting for it.
pub fn show(
    viewer: &mut Recording,
    seconds: f64,
    joints: &[f64],
    pictures: &[(String, RgbImage)],
    truth: Option<(&Referee, &Reading)>,
) {
    viewer.offer(Message::Time(seconds));
    viewer.offer(Message::Joints(joints.to_vec()));
    for (name, image) in pictures {
        viewer.offer(Message::Image(name.clone(), image.clone()));
    }
    if let Some((referee, seen)) = truth {
        for block in things(referee.world().scene().config(), seen) {
            viewer.offer(block);
        }
    }
}
