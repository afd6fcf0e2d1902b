//! Episodes played by copies of the actor on threads of their own, while the learner learns.
//!
//! Stepping, drawing and labelling of one episode overlap with learning from another. Episode `e` of `n` workers is played by worker
//! `e mod n` with the actor as it was after episode `e - n`, and episodes are learned from in their order: so the result does not
//! depend on which thread was faster, only on `n`. Every queue holds one episode.

use crossbeam_channel::{Receiver, Sender, bounded};
use rapport::policy::{Learner, Mode, Policy};

use super::{Course, Played, RewardSource, episode, episode_seed, learn};
use crate::practice::SimPractice;

/// A place to play and what rewards there.
pub struct Bench {
    /// Where.
    pub practice: SimPractice,
    /// What rewards it.
    pub reward: RewardSource,
}

/// An episode to play: its seed and who plays.
type Order = (u64, Box<dyn Policy>);

/// Trains with all but the first bench as workers; the first is for evaluation.
pub(super) fn train<P: FnMut(u64, &str)>(
    benches: &mut [Bench],
    learner: &mut dyn Learner,
    course: &mut Course<P>,
) -> anyhow::Result<()> {
    let Some((home, benches)) = benches.split_first_mut() else {
        anyhow::bail!("there is no place to practise");
    };
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for bench in benches {
            let (orders, wanted) = bounded::<Order>(1);
            let (done, played) = bounded(1);
            scope.spawn(move || work(bench, &wanted, &done));
            workers.push((orders, played));
        }
        let config = course.config;
        let order = |learner: &dyn Learner, episode: u64| -> anyhow::Result<()> {
            let seed = episode_seed(config.seed, episode);
            let (orders, _) = &workers[episode as usize % workers.len()];
            orders
                .send((seed, learner.explorer(seed)))
                .map_err(|_| anyhow::anyhow!("a worker has ended early"))
        };
        let mut episode = learner.episodes();
        for ahead in 0..workers.len() as u64 {
            order(learner, episode + ahead)?;
        }
        while course.goes_on(learner) {
            let (_, finished) = &workers[episode as usize % workers.len()];
            let mut played: Played = finished
                .recv()
                .map_err(|_| anyhow::anyhow!("a worker has ended early"))??;
            played.scale(config.reward_scale);
            learner.observe(&played.transitions)?;
            let update = learn(learner)?;
            order(learner, episode + workers.len() as u64)?;
            let (practice, reward) = (&mut home.practice, &mut home.reward);
            course.finish(learner, practice, reward, episode, (played, update))?;
            episode += 1;
        }
        // Dropping the queues ends the workers; what they play now is not learned from.
        Ok(())
    })
}

fn work(bench: &mut Bench, wanted: &Receiver<Order>, done: &Sender<anyhow::Result<Played>>) {
    for (seed, mut actor) in wanted {
        let act = &mut |seen: &[f32]| actor.act(seen, Mode::Explore);
        let played = episode::play(&mut bench.practice, act, &mut bench.reward, seed);
        if done.send(played).is_err() {
            break;
        }
    }
}
