//! Calibration files as LeRobot writes and reads them, and what they mean.
//!
//! A file is one JSON object: motor name -> `id`, `drive_mode`, `homing_offset`, `range_min`, `range_max`, indented by four, in
//! the order of the joints. The middle of a body joint's range is zero, and LeRobot counts 4095 (not 4096) ticks to a turn there;
//! the gripper goes from 0 at `range_min` to 1 at `range_max`.

use std::f64::consts::TAU;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::arm::{ArmSpec, JointKind};

/// The largest tick of an encoder with 4096 steps; also LeRobot's ticks per turn.
pub const MAX_TICK: i32 = 4095;

/// Largest homing offset that the servo's register holds, either sign.
pub const MAX_HOMING_OFFSET: i32 = 2047;

/// A joint that was swept over less than this (30 degrees) was not swept.
pub const MIN_RANGE: i32 = 341;

/// Ticks that the default calibration leaves beyond the arm's limits (2 degrees).
const DEFAULT_MARGIN: f64 = 23.0;

/// The middle of the encoder.
const CENTRE: i32 = 2048;

/// Why there is no usable calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The file cannot be read.
    #[error("cannot read the calibration {path}: {source}; make one with `rapport calibrate`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the calibration {path}: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a calibration.
    #[error("{path} is not a calibration file: {cause}; make one with `rapport calibrate`")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// It is one, and it cannot be true.
    #[error("calibration: {0}; calibrate again with `rapport calibrate`")]
    Invalid(String),
}

/// Calibration of one motor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotorCalibration {
    /// Bus address.
    pub id: u8,
    /// 1 turns a gripper's sense around. Body joints ignore it, as they do in LeRobot.
    pub drive_mode: u8,
    /// Present position = actual position - this, ticks.
    pub homing_offset: i32,
    /// Smallest position, ticks.
    pub range_min: i32,
    /// Largest position, ticks.
    pub range_max: i32,
}

impl MotorCalibration {
    /// Change of position per tick: rad, or opening fraction.
    pub fn position_per_tick(&self, kind: JointKind) -> f64 {
        match kind {
            JointKind::Revolute => TAU / f64::from(MAX_TICK),
            JointKind::Gripper => {
                let per_tick = 1.0 / f64::from(self.range_max - self.range_min);
                if self.drive_mode == 0 {
                    per_tick
                } else {
                    -per_tick
                }
            }
        }
    }

    /// Position at a tick: rad from the middle of the range, or the opening fraction, which is held in `0..=1`.
    pub fn position_from_ticks(&self, kind: JointKind, ticks: f64) -> f64 {
        let position = (ticks - self.zero_tick(kind)) * self.position_per_tick(kind);
        match kind {
            JointKind::Revolute => position,
            JointKind::Gripper => position.clamp(0.0, 1.0),
        }
    }

    /// Tick of a position, neither rounded nor limited.
    pub fn ticks_from_position(&self, kind: JointKind, position: f64) -> f64 {
        self.zero_tick(kind) + position / self.position_per_tick(kind)
    }

    /// The nearest whole tick inside the calibrated range; `None` for a position that is not finite.
    pub fn goal_tick(&self, kind: JointKind, position: f64) -> Option<i32> {
        let (low, high) = (f64::from(self.range_min), f64::from(self.range_max));
        let tick = self.ticks_from_position(kind, position).round();
        position.is_finite().then(|| tick.clamp(low, high) as i32)
    }

    fn zero_tick(&self, kind: JointKind) -> f64 {
        match kind {
            JointKind::Revolute => f64::from(self.range_min + self.range_max) / 2.0,
            JointKind::Gripper if self.drive_mode == 0 => f64::from(self.range_min),
            JointKind::Gripper => f64::from(self.range_max),
        }
    }

    fn check(&self, name: &str) -> Result<(), CalibrationError> {
        let invalid = |cause: String| Err(CalibrationError::Invalid(format!("{name}: {cause}")));
        if self.id > 253 {
            return invalid(format!("no motor has the id {}", self.id));
        }
        if self.drive_mode > 1 {
            return invalid(format!("drive_mode is {}, not 0 or 1", self.drive_mode));
        }
        if self.homing_offset.abs() > MAX_HOMING_OFFSET {
            return invalid(format!(
                "a homing offset of {} does not fit into the servo, which holds {MAX_HOMING_OFFSET}",
                self.homing_offset
            ));
        }
        if self.range_min < 0 || self.range_max > MAX_TICK {
            return invalid(format!(
                "the range {}..{} leaves the encoder's 0..{MAX_TICK}",
                self.range_min, self.range_max
            ));
        }
        if self.range_min > self.range_max {
            return invalid(format!(
                "the range {}..{} runs backwards",
                self.range_min, self.range_max
            ));
        }
        if self.range_max - self.range_min < MIN_RANGE {
            return invalid(format!(
                "the range {}..{} is less than 30 degrees: the joint was not moved to both of its ends",
                self.range_min, self.range_max
            ));
        }
        Ok(())
    }
}

/// Calibration of an arm: its motors by name, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    motors: Vec<(String, MotorCalibration)>,
}

impl Calibration {
    /// From motors in the order of the joints.
    ///
    /// Errors: [`CalibrationError::Invalid`] when a name or id occurs twice or a number cannot be.
    pub fn new(motors: Vec<(String, MotorCalibration)>) -> Result<Self, CalibrationError> {
        let calibration = Self { motors };
        calibration.check_motors()?;
        Ok(calibration)
    }

    /// For an arm that nobody has calibrated (a simulated one): no offsets, motor ids 1, 2, ... and ranges around the middle of the
    /// encoder that span the arm's limits. `gripper_span`: how far the gripper's hinge turns from closed to open, rad.
    pub fn uncalibrated(spec: &ArmSpec, gripper_span: f64) -> Self {
        let motor = |(index, joint): (usize, &crate::arm::JointSpec)| {
            let half = match joint.kind {
                JointKind::Revolute => {
                    joint.min.abs().max(joint.max.abs()) * f64::from(MAX_TICK) / TAU
                        + DEFAULT_MARGIN
                }
                JointKind::Gripper => gripper_span / 2.0 * 4096.0 / TAU,
            };
            let half = (half.ceil() as i32).clamp(MIN_RANGE, MAX_TICK - CENTRE);
            let calibration = MotorCalibration {
                id: index as u8 + 1,
                drive_mode: 0,
                homing_offset: 0,
                range_min: CENTRE - half,
                range_max: CENTRE + half,
            };
            (joint.name.clone(), calibration)
        };
        Self {
            motors: spec.joints.iter().enumerate().map(motor).collect(),
        }
    }

    /// Reads a file.
    ///
    /// Errors: [`CalibrationError::Read`], [`CalibrationError::Syntax`], [`CalibrationError::Invalid`].
    pub fn load(path: &Path) -> Result<Self, CalibrationError> {
        let text = fs::read_to_string(path).map_err(|source| CalibrationError::Read {
            path: path.to_owned(),
            source,
        })?;
        let calibration: Self =
            serde_json::from_str(&text).map_err(|error| CalibrationError::Syntax {
                path: path.to_owned(),
                cause: error.to_string(),
            })?;
        calibration.check_motors()?;
        Ok(calibration)
    }

    /// Writes the file, whole or not at all.
    ///
    /// Errors: [`CalibrationError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), CalibrationError> {
        let failed = |source| CalibrationError::Write {
            path: path.to_owned(),
            source,
        };
        write_whole(path, self.to_json().map_err(failed)?.as_bytes()).map_err(failed)
    }

    /// The file's text.
    ///
    /// Errors: none in practice; the serialiser's signature has one.
    pub fn to_json(&self) -> io::Result<String> {
        let mut text = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        self.serialize(&mut serde_json::Serializer::with_formatter(
            &mut text, format,
        ))?;
        String::from_utf8(text).map_err(io::Error::other)
    }

    /// The motors in the order of the file.
    pub fn motors(&self) -> impl ExactSizeIterator<Item = (&str, &MotorCalibration)> {
        self.motors
            .iter()
            .map(|(name, motor)| (name.as_str(), motor))
    }

    /// One motor.
    pub fn motor(&self, name: &str) -> Option<&MotorCalibration> {
        self.motors()
            .find_map(|(n, motor)| (n == name).then_some(motor))
    }

    /// Whether this calibrates exactly the joints of `spec`.
    ///
    /// Errors: [`CalibrationError::Invalid`] naming what is missing or too many.
    pub fn check(&self, spec: &ArmSpec) -> Result<(), CalibrationError> {
        self.check_motors()?;
        for joint in &spec.joints {
            if self.motor(&joint.name).is_none() {
                return Err(CalibrationError::Invalid(format!(
                    "{} of {} is missing",
                    joint.name, spec.name
                )));
            }
        }
        for (name, _) in self.motors() {
            if !spec.joints.iter().any(|joint| joint.name == name) {
                return Err(CalibrationError::Invalid(format!(
                    "{} has no joint {name}",
                    spec.name
                )));
            }
        }
        Ok(())
    }

    /// What looks wrong though it could be: ranges that differ much from the arm's own, as when two motors are exchanged, a joint was not
    /// moved to its ends, or its horn sits wrongly. One sentence each.
    pub fn doubts(&self, spec: &ArmSpec) -> Vec<String> {
        let span = |motor: &MotorCalibration| {
            f64::from(motor.range_max - motor.range_min) * TAU / f64::from(MAX_TICK)
        };
        let mut doubts = Vec::new();
        for joint in &spec.joints {
            let (Some(motor), JointKind::Revolute) = (self.motor(&joint.name), joint.kind) else {
                continue;
            };
            let (span, usual) = (span(motor), joint.max - joint.min);
            // A joint that turns all the way round is calibrated to a whole turn, which is more than its arm lets it.
            let whole = motor.range_min == 0 && motor.range_max == MAX_TICK;
            if !whole && !(0.75 * usual..=1.25 * usual).contains(&span) {
                doubts.push(format!(
                    "{} turns by {:.0} degrees, that of an {} by {:.0}: was it moved to both ends, is it the right motor?",
                    joint.name,
                    span.to_degrees(),
                    spec.name,
                    usual.to_degrees()
                ));
            }
        }
        doubts
    }

    fn check_motors(&self) -> Result<(), CalibrationError> {
        for (index, (name, motor)) in self.motors.iter().enumerate() {
            motor.check(name)?;
            for (other_name, other) in &self.motors[..index] {
                if other_name == name {
                    return Err(CalibrationError::Invalid(format!("{name} is there twice")));
                }
                if other.id == motor.id {
                    return Err(CalibrationError::Invalid(format!(
                        "{other_name} and {name} both have the id {}",
                        motor.id
                    )));
                }
            }
        }
        Ok(())
    }
}

impl Serialize for Calibration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.motors.len()))?;
        for (name, motor) in &self.motors {
            map.serialize_entry(name, motor)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Calibration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Motors;

        impl<'de> Visitor<'de> for Motors {
            type Value = Calibration;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of motors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Calibration, A::Error> {
                let mut motors: Vec<(String, MotorCalibration)> = Vec::new();
                while let Some((name, motor)) = map.next_entry::<String, MotorCalibration>()? {
                    if motors.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("{name} is there twice")));
                    }
                    motors.push((name, motor));
                }
                Ok(Calibration { motors })
            }
        }

        deserializer.deserialize_map(Motors)
    }
}

/// Temporary file, sync, rename, sync of the directory.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::so101;

    /// As LeRobot 0.6 wrote it for a real arm's layout.
    const FILE: &str = r#"{
    "shoulder_pan": {
        "id": 1,
        "drive_mode": 0,
        "homing_offset": -312,
        "range_min": 741,
        "range_max": 3390
    },
    "gripper": {
        "id": 6,
        "drive_mode": 0,
        "homing_offset": 1407,
        "range_min": 2031,
        "range_max": 3476
    }
}"#;

    fn span() -> f64 {
        so101::GRIPPER_OPEN - so101::GRIPPER_CLOSED
    }

    fn motor(range_min: i32, range_max: i32) -> MotorCalibration {
        MotorCalibration {
            id: 1,
            drive_mode: 0,
            homing_offset: 0,
            range_min,
            range_max,
        }
    }

    #[test]
    fn a_file_is_written_back_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arms/follower.json");
        let calibration: Calibration = serde_json::from_str(FILE).unwrap();
        calibration.save(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), FILE);
        assert_eq!(Calibration::load(&path).unwrap(), calibration);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_middle_of_the_range_is_zero_and_4095_ticks_are_a_turn() {
        let pan = motor(741, 3390);
        let rad = |ticks| pan.position_from_ticks(JointKind::Revolute, ticks);
        assert!(rad(2065.5).abs() < 1e-12);
        assert!((rad(2065.5 + 4095.0 / 4.0).to_degrees() - 90.0).abs() < 1e-9);
        // LeRobot: (1000 - 2065.5) * 360 / 4095.
        assert!((rad(1000.0).to_degrees() + 93.670_329_67).abs() < 1e-6);
    }

    #[test]
    fn the_gripper_is_a_fraction_of_its_range_in_either_sense() {
        let mut gripper = motor(2031, 3476);
        let open = |g: &MotorCalibration, t| g.position_from_ticks(JointKind::Gripper, t);
        assert_eq!(open(&gripper, 2031.0), 0.0);
        assert_eq!(open(&gripper, 3476.0), 1.0);
        assert_eq!(open(&gripper, 1900.0), 0.0);
        assert_eq!(gripper.goal_tick(JointKind::Gripper, 0.5), Some(2754));
        gripper.drive_mode = 1;
        assert_eq!(open(&gripper, 2031.0), 1.0);
        assert_eq!(gripper.goal_tick(JointKind::Gripper, 0.0), Some(3476));
    }

    #[test]
    fn goals_stay_inside_the_range_and_must_be_numbers() {
        let pan = motor(741, 3390);
        assert_eq!(pan.goal_tick(JointKind::Revolute, 1e30), Some(3390));
        assert_eq!(pan.goal_tick(JointKind::Revolute, -9.0), Some(741));
        assert_eq!(pan.goal_tick(JointKind::Revolute, f64::NAN), None);
        assert_eq!(pan.goal_tick(JointKind::Revolute, f64::INFINITY), None);
    }

    #[test]
    fn an_uncalibrated_arm_spans_its_limits() {
        let spec = so101::spec();
        let calibration = Calibration::uncalibrated(&spec, span());
        calibration.check(&spec).unwrap();
        for (joint, (name, motor)) in spec.joints.iter().zip(calibration.motors()) {
            assert_eq!(joint.name, name);
            assert_eq!(motor.range_min + motor.range_max, 2 * CENTRE);
            let ends = [motor.range_min, motor.range_max]
                .map(|t| motor.position_from_ticks(joint.kind, f64::from(t)));
            assert!(ends[0] <= joint.min && ends[1] >= joint.max, "{name}");
        }
        let gripper = calibration.motor("gripper").unwrap();
        assert_eq!((gripper.range_min, gripper.range_max), (1422, 2674));
    }

    #[test]
    fn what_cannot_be_true_is_named() {
        let spec = so101::spec();
        let good = Calibration::uncalibrated(&spec, span());
        let broken = |change: fn(&mut Vec<(String, MotorCalibration)>)| {
            let mut motors = good.motors.clone();
            change(&mut motors);
            let error = Calibration { motors }.check(&spec).unwrap_err().to_string();
            assert!(error.contains("calibrate again"), "{error}");
            error
        };
        assert!(broken(|m| m[2].1.homing_offset = 2048).contains("elbow_flex: a homing offset"));
        assert!(broken(|m| m[0].1.range_min = -1).contains("leaves the encoder"));
        assert!(broken(|m| m[0].1.range_max = 4096).contains("leaves the encoder"));
        assert!(broken(|m| m[1].1.range_max = m[1].1.range_min - 1).contains("runs backwards"));
        assert!(broken(|m| m[1].1.range_max = m[1].1.range_min + 50).contains("30 degrees"));
        assert!(broken(|m| m[5].1.id = 1).contains("shoulder_pan and gripper both have the id 1"));
        assert!(broken(|m| m[5].1.id = 254).contains("no motor has the id"));
        assert!(broken(|m| m[5].1.drive_mode = 2).contains("drive_mode"));
        assert!(broken(|m| drop(m.pop())).contains("gripper of so101 is missing"));
        assert!(
            broken(|m| m.push(("tail".into(), MotorCalibration { id: 9, ..m[0].1 })))
                .contains("so101 has no joint tail")
        );
    }

    #[test]
    fn what_is_no_calibration_is_refused_with_the_file_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let missing = Calibration::load(&path).unwrap_err().to_string();
        assert!(missing.contains("x.json") && missing.contains("rapport calibrate"));
        for text in [
            "",
            "[]",
            r#"{"a": 1}"#,
            r#"{"a": {"id": 1, "drive_mode": 0, "homing_offset": 0.5, "range_min": 0, "range_max": 4095}}"#,
            r#"{"a": {"id": 1, "drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": 4095, "colour": 1}}"#,
            r#"{"a": {"id": 1, "drive_mode": 0, "homing_offset": 0, "range_min": 0}}"#,
        ] {
            fs::write(&path, text).unwrap();
            let error = Calibration::load(&path).unwrap_err();
            assert!(matches!(error, CalibrationError::Syntax { .. }), "{text}");
        }
        let twice = FILE.replace("gripper", "shoulder_pan");
        fs::write(&path, twice).unwrap();
        assert!(Calibration::load(&path).is_err());
    }

    proptest! {
        #[test]
        fn positions_round_trip_within_half_a_tick(
            min in 0i32..1500, span in MIN_RANGE..2500, at in 0.0f64..1.0, reversed in 0u8..2,
        ) {
            let motor = MotorCalibration { drive_mode: reversed, ..motor(min, min + span) };
            for kind in [JointKind::Revolute, JointKind::Gripper] {
                let ticks = f64::from(min) + at * f64::from(span);
                let position = motor.position_from_ticks(kind, ticks);
                let back = motor.goal_tick(kind, position).unwrap();
                prop_assert!((f64::from(back) - ticks).abs() <= 0.500_001);
            }
        }

        #[test]
        fn a_goal_never_leaves_the_range(position in any::<f64>(), min in 0i32..1500, span in MIN_RANGE..2500) {
            let motor = motor(min, min + span);
            for kind in [JointKind::Revolute, JointKind::Gripper] {
                match motor.goal_tick(kind, position) {
                    Some(tick) => prop_assert!((min..=min + span).contains(&tick)),
                    None => prop_assert!(!position.is_finite()),
                }
            }
        }
    }
}
