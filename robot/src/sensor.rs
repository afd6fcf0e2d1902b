//! The [`Sensor`] trait: numbers about the world beyond the arm's joints.

/// Why a sensor gave no numbers.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("sensor {name}: {cause}")]
pub struct SensorError {
    /// Which one.
    pub name: String,
    /// What went wrong.
    pub cause: String,
}

/// Something that measures the world: an object tracker, a force sensor, a simulator that knows where things are.
pub trait Sensor: Send {
    /// Name for logs and datasets (`cube`).
    fn name(&self) -> &str;

    /// Names of the numbers (`x`, `y`, `yaw`), fixed for the life of the sensor.
    fn components(&self) -> &[String];

    /// The newest numbers, SI units, one per component.
    fn read(&mut self) -> Result<Vec<f64>, SensorError>;
}
