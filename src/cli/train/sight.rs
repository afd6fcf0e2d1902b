//! `--pictures`: what only a simulator knows is replaced by what a camera sees, in demonstrations and in practice.

use anyhow::Context as _;
use rapport::policy::{PolicySpec, Transition};
use rapport::robot::so101;

use super::{Args, Learner};
use crate::clips::{Library, camera_of};
use crate::pictures::{PictureSpec, Reading};
use crate::practice::SimPractice;
use crate::ui::Ui;

/// A policy's description and its demonstrations, seeing.
pub struct Seen {
    /// What the policy sees and does.
    pub spec: PolicySpec,
    /// Tokens of a picture's grid, and numbers of a token.
    pub grid: (usize, usize),
}

/// Puts pictures in the place of what only a simulator knows.
pub fn see(
    args: &Args,
    encoder: &str,
    reading: Reading,
    spec: &PolicySpec,
    demonstrations: &mut [Vec<Transition>],
    ui: Ui,
) -> anyhow::Result<Seen> {
    let dir = args
        .dataset
        .as_deref()
        .context("demonstrations were read from it")?;
    let camera = args.environment.camera.as_deref();
    let mut encoder = rapport::perception::open(encoder, args.device)?;
    let library = Library::encode(dir, camera, &mut *encoder, ui)?;
    let dataset = library.dataset();
    let pictures = PictureSpec {
        encoder: encoder.spec().name.clone(),
        size: dataset
            .frame(0, &camera_of(dataset, camera)?, 0)?
            .dimensions(),
        // Joints and tool.
        own: so101::spec().dof() + 3,
        reading,
    };
    for (episode, features) in demonstrations.iter_mut().zip(library.features()) {
        anyhow::ensure!(
            episode.len() < features.len(),
            "an episode of {} has fewer pictures than steps; run `rapport dataset verify`",
            dir.display()
        );
        for (t, step) in episode.iter_mut().enumerate() {
            for (observation, at) in [
                (&mut step.observation, t),
                (&mut step.next_observation, t + 1),
            ] {
                observation.truncate(pictures.own);
                observation.extend(pictures.read(features.row(at)));
            }
        }
    }
    let dim = encoder.spec().dim;
    Ok(Seen {
        spec: pictures.describe(spec, dim)?,
        grid: pictures.grid(dim),
    })
}

/// The encoder of pictures of a policy that practises, if it sees.
pub fn encoder(args: &Args) -> Option<&str> {
    let usual = (args.policy == Learner::Drq).then_some("pixels@48");
    args.act.pictures.as_deref().or(usual)
}

/// What a policy that practises sees and does.
pub fn seeing(
    args: &Args,
    encoder: &str,
    spec: &PolicySpec,
    practice: &mut SimPractice,
    size: (u32, u32),
) -> anyhow::Result<PolicySpec> {
    let encoder = rapport::perception::open(encoder, args.device)?;
    let pictures = PictureSpec {
        encoder: encoder.spec().name.clone(),
        size,
        // Joints and tool of an arm; elsewhere everything is to be seen.
        own: match practice.arm() {
            Ok(_) => so101::spec().dof() + 3,
            Err(_) => 0,
        },
        reading: Reading::Keypoints,
    };
    pictures.describe(spec, encoder.spec().dim)
}
