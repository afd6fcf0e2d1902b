//! A doctor's look at an arm: its calibration, its bus, its servos, and how each joint answers a small move.

use std::path::Path;
use std::time::{Duration, Instant};

use rapport::robot::calibration::Calibration;
use rapport::robot::control::Control;
use rapport::robot::feetech::FeetechArm;
use rapport::robot::guard::{Guard, GuardConfig};
use rapport::robot::{Arm as _, SystemClock, so101};

use super::Finding;

/// Looks at an arm, and moves it a little if asked to.
pub(super) fn look(port: &str, calibration: &Path, moves: bool) -> Vec<Finding> {
    const WHAT: &str = "arm";
    let wrong = |error: &dyn std::fmt::Display| {
        vec![Finding::wrong(
            WHAT,
            error.to_string(),
            "mend that, then run `rapport doctor` again",
        )]
    };
    let calibration = match Calibration::load(calibration) {
        Ok(calibration) => calibration,
        Err(error) => return wrong(&error),
    };
    let mut findings = Vec::new();
    for doubt in calibration.doubts(&so101::spec()) {
        findings.push(Finding::wrong(
            "calibration",
            doubt,
            "run `rapport calibrate`",
        ));
    }
    let mut arm = match FeetechArm::connect(port, &calibration) {
        Ok(arm) => arm,
        Err(error) => return wrong(&error),
    };
    let mut slowest = Duration::ZERO;
    let mut failed = 0;
    for _ in 0..100 {
        let start = Instant::now();
        failed += u32::from(arm.read().is_err());
        slowest = slowest.max(start.elapsed());
    }
    let slowest = slowest.as_secs_f64() * 1e3;
    let found = format!(
        "{} of 100 readings came, the slowest took {slowest:.1} ms",
        100 - failed
    );
    findings.push(if failed > 2 {
        Finding::wrong(
            "bus",
            found,
            "check the cables and the plugs between the servos",
        )
    } else if slowest > 10.0 {
        Finding::missing(
            "bus",
            found,
            "an FTDI adapter needs latency_timer = 1 (/sys/bus/usb-serial/devices/*/latency_timer)",
        )
    } else {
        Finding::works("bus", found)
    });
    for (name, reading) in arm.readings() {
        let Some(reading) = reading else { continue };
        let t = reading.telemetry;
        let found = format!(
            "{name}: {:.1} V, {:.0} degrees Celsius, {}",
            t.voltage, t.temperature, reading.alarms
        );
        findings.push(if reading.alarms.is_clear() {
            Finding::works("servo", found)
        } else {
            Finding::wrong(
                "servo",
                found,
                "let it cool, check the supply, power-cycle the arm",
            )
        });
    }
    if moves {
        match sanity(arm) {
            Ok(more) => findings.extend(more),
            Err(error) => findings.push(Finding::wrong(
                "motion",
                format!("{error:#}"),
                "hold the arm and cut its power if it does not go limp",
            )),
        }
    }
    findings
}

fn sanity(arm: FeetechArm) -> anyhow::Result<Vec<Finding>> {
    let arm = arm.guarded_by(&std::env::current_exe()?)?;
    let guard = Guard::with_chain(Box::new(arm), so101::chain(), GuardConfig::so101())?;
    let mut control = Control::new(
        guard,
        Box::new(SystemClock::default()),
        Duration::from_millis(10),
    )?;
    control.enable()?;
    let responses = control.sanity_move();
    let reason = control.guard().reason().map(ToString::to_string);
    control.stop()?;
    let mut findings: Vec<_> = responses
        .iter()
        .map(|r| {
            let found = format!(
                "{}: asked for {:+.3}, moved {:+.3}, others {:.3}",
                r.name, r.asked, r.moved, r.others
            );
            if r.is_right() {
                Finding::works("motion", found)
            } else {
                Finding::wrong(
                    "motion",
                    found,
                    "see that nothing blocks it; compare the motors' ids with their places",
                )
            }
        })
        .collect();
    if responses.len() < so101::spec().joints.len() {
        findings.push(Finding::wrong(
            "motion",
            reason.unwrap_or_else(|| "it was ended early".into()),
            "mend that first",
        ));
    }
    Ok(findings)
}
