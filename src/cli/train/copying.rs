//! The loop of every learner that copies demonstrations by gradient steps.

use rapport::policy::Fit;

use super::Args;
use crate::cli::Usage;
use crate::interrupt;
use crate::run_dir::{self, MetricsLog};
use crate::ui::Ui;

/// What to say of a run that was stopped.
pub const STOPPED: &str = "; stopped, go on with --resume";

/// Begins the run's folder, with a checkpoint from the start, unless an earlier run did: then this must be what it planned.
fn begin(args: &Args, fit: &dyn Fit) -> anyhow::Result<()> {
    let planned = fit.planned();
    if !args.resume {
        run_dir::create(&args.out, "train", args.seed, args)?;
        return Ok(fit.save(&args.out)?);
    }
    if args.updates.is_some_and(|updates| updates != planned) {
        return Err(Usage(format!(
            "{} was begun with --updates {planned}, which its learning rate follows; leave --updates out, or train anew",
            args.out.display()
        ))
        .into());
    }
    Ok(())
}

/// Goes on until all steps are made or a person stops it, and says whether all are. The checkpoint is renewed at every report.
pub fn copy(args: &Args, fit: &mut dyn Fit, what: &str, ui: Ui) -> anyhow::Result<bool> {
    begin(args, fit)?;
    let bar = ui.bar(fit.planned(), what);
    let mut log = MetricsLog::open(&args.out)?;
    while !fit.is_done() && !interrupt::requested() {
        let losses = fit.advance()?;
        fit.save(&args.out)?;
        bar.set_position(fit.steps());
        log.write(&serde_json::json!({ "step": fit.steps(), "update": losses }))?;
    }
    bar.finish_and_clear();
    Ok(fit.is_done())
}
