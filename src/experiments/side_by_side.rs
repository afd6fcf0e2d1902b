//! Many simulated episodes on all cores.

use crate::interrupt;

/// Does all jobs, on as many threads as there are cores, each with a worker of its own that `make` makes; `tick` hears of every
/// job that is done. The results come in the order of the jobs and do not depend on the number of threads.
pub fn side_by_side<J, T, W>(
    jobs: &[J],
    mut tick: impl FnMut(),
    make: impl Fn() -> anyhow::Result<W> + Sync,
) -> anyhow::Result<Vec<T>>
where
    J: Sync,
    T: Send,
    W: FnMut(&J) -> anyhow::Result<T>,
{
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = jobs.len().div_ceil(threads).max(1);
    let (done, progress) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let make = &make;
        let workers: Vec<_> = jobs
            .chunks(share)
            .map(|jobs| {
                let done = done.clone();
                scope.spawn(move || {
                    let mut work = make()?;
                    jobs.iter()
                        .map(|job| {
                            anyhow::ensure!(!interrupt::requested(), "stopped");
                            let result = work(job)?;
                            // Nobody listens any more when another worker failed.
                            let _ = done.send(());
                            Ok(result)
                        })
                        .collect::<anyhow::Result<Vec<_>>>()
                })
            })
            .collect();
        drop(done);
        progress.iter().for_each(|()| tick());
        let mut results = Vec::with_capacity(jobs.len());
        for worker in workers {
            let part = worker
                .join()
                .map_err(|_| anyhow::anyhow!("simulating an episode failed; this is a bug"))?;
            results.extend(part?);
        }
        Ok(results)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_and_each_is_heard_of() {
        let jobs: Vec<u64> = (0..17).collect();
        let mut heard = 0;
        let results = side_by_side(&jobs, || heard += 1, || Ok(|job: &u64| Ok(job * job)));
        assert_eq!(
            results.unwrap(),
            jobs.iter().map(|j| j * j).collect::<Vec<_>>()
        );
        assert_eq!(heard, 17);
    }

    #[test]
    fn a_job_that_fails_fails_all() {
        let work = |job: &u64| {
            anyhow::ensure!(*job < 3, "job {job} cannot be done");
            Ok(())
        };
        let error = side_by_side(&[1, 2, 3], || (), || Ok(work)).unwrap_err();
        assert!(error.to_string().contains("job 3"), "{error}");
    }
}
