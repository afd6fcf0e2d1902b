//! The names of a task file, looked up in a model: points, joints, sensors, and what is measured with them.

use mujoco_rs::prelude::*;
use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3};
use toml::Spanned;

use super::error::ModelError;
use super::source::Text;
use super::task::{Clause, Point};
use super::task_check::error_at;

/// The state of a simulation of a shared model.
pub(super) type Data = MjData<std::sync::Arc<MjModel>>;

/// Looks names up, and says where in the task file the wrong ones are.
pub(super) struct Names<'a> {
    pub(super) model: &'a MjModel,
    pub(super) text: &'a Text,
    pub(super) has_goal: bool,
}

/// A [`Point`] of this model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Body(usize),
    Site(usize),
    Geom(usize),
    Goal,
    Fixed([f64; 3]),
}

impl Place {
    pub(super) fn position(&self, data: &Data, goal: [f64; 3]) -> Vector3<f64> {
        Vector3::from(match *self {
            Self::Body(id) => data.xpos()[id],
            Self::Site(id) => data.site_xpos()[id],
            Self::Geom(id) => data.geom_xpos()[id],
            Self::Goal => goal,
            Self::Fixed(place) => place,
        })
    }

    /// How it is turned in the world, w first and not negative.
    pub(super) fn rotation(&self, data: &Data) -> [f64; 4] {
        let matrix = match *self {
            Self::Body(id) => data.xmat()[id],
            Self::Site(id) => data.site_xmat()[id],
            Self::Geom(id) => data.geom_xmat()[id],
            Self::Goal | Self::Fixed(_) => return [1.0, 0.0, 0.0, 0.0],
        };
        let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_row_slice(&matrix));
        let q = UnitQuaternion::from_rotation_matrix(&rotation);
        let sign = if q.w < 0.0 { -1.0 } else { 1.0 };
        [q.w, q.i, q.j, q.k].map(|x| sign * x)
    }

    /// Cosine between its z axis and the vertical.
    fn upright(&self, data: &Data) -> f64 {
        match *self {
            Self::Body(id) => data.xmat()[id][8],
            Self::Site(id) => data.site_xmat()[id][8],
            Self::Geom(id) => data.geom_xmat()[id][8],
            Self::Goal | Self::Fixed(_) => 1.0,
        }
    }

    fn speed(&self, data: &Data) -> f64 {
        let (kind, id) = match *self {
            Self::Body(id) => (MjtObjBase::mjOBJ_XBODY, id),
            Self::Site(id) => (MjtObjBase::mjOBJ_SITE, id),
            Self::Geom(id) => (MjtObjBase::mjOBJ_GEOM, id),
            Self::Goal | Self::Fixed(_) => return 0.0,
        };
        // Rotation first, then translation. The number was looked up in this model.
        let velocity = data
            .try_object_velocity(kind, id, false)
            .unwrap_or_default();
        Vector3::new(velocity[3], velocity[4], velocity[5]).norm()
    }
}

impl Names<'_> {
    /// The number of what is called `name`.
    ///
    /// Errors: which there are.
    pub(super) fn id<T>(
        &self,
        kind: MjtObjBase,
        word: &str,
        name: &str,
        at: &Spanned<T>,
    ) -> Result<usize, ModelError> {
        let found = (!name.contains('\0'))
            .then(|| self.model.name_to_id(kind, name))
            .flatten();
        found.ok_or_else(|| {
            let model = self.model.ffi();
            let count = match kind {
                MjtObjBase::mjOBJ_BODY => model.nbody,
                MjtObjBase::mjOBJ_JOINT => model.njnt,
                MjtObjBase::mjOBJ_GEOM => model.ngeom,
                MjtObjBase::mjOBJ_SITE => model.nsite,
                MjtObjBase::mjOBJ_CAMERA => model.ncam,
                MjtObjBase::mjOBJ_ACTUATOR => model.nactuator,
                MjtObjBase::mjOBJ_SENSOR => model.nsensor,
                MjtObjBase::mjOBJ_KEY => model.nkey,
                _ => 0,
            };
            let known: Vec<&str> = (0..count as usize)
                .filter_map(|id| self.model.id_to_name(kind, id))
                .filter(|known| !known.is_empty())
                .take(40)
                .collect();
            let known = if known.is_empty() {
                format!("it has no named {word}")
            } else {
                format!("it has {}", known.join(", "))
            };
            error_at(
                self.text,
                at,
                format!("the model has no {word} \"{name}\"; {known}"),
            )
        })
    }

    /// A point.
    ///
    /// Errors: names that are not there, a goal where the task has none.
    pub(super) fn place<T>(&self, point: &Point, at: &Spanned<T>) -> Result<Place, ModelError> {
        Ok(match point {
            Point::Body(name) => Place::Body(self.id(MjtObjBase::mjOBJ_BODY, "body", name, at)?),
            Point::Site(name) => Place::Site(self.id(MjtObjBase::mjOBJ_SITE, "site", name, at)?),
            Point::Geom(name) => Place::Geom(self.id(MjtObjBase::mjOBJ_GEOM, "geom", name, at)?),
            Point::Goal if self.has_goal => Place::Goal,
            Point::Goal => return Err(error_at(self.text, at, "the task has no [goal]")),
            Point::Fixed(place) if place.iter().all(|x| x.is_finite()) => Place::Fixed(*place),
            Point::Fixed(_) => return Err(error_at(self.text, at, "a coordinate is not finite")),
        })
    }

    /// A hinge or a slide.
    ///
    /// Errors: names that are not there, joints of other kinds.
    fn single<T>(&self, name: &str, at: &Spanned<T>) -> Result<usize, ModelError> {
        let id = self.id(MjtObjBase::mjOBJ_JOINT, "joint", name, at)?;
        match self.model.jnt_type()[id] {
            MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE => Ok(id),
            _ => Err(error_at(
                self.text,
                at,
                format!("\"{name}\" is not a hinge or slide"),
            )),
        }
    }

    /// Controls of an actuator, or of all.
    ///
    /// Errors: names that are not there.
    pub(super) fn controls<T>(
        &self,
        name: &str,
        at: &Spanned<T>,
    ) -> Result<Vec<usize>, ModelError> {
        if name == "*" {
            return Ok((0..self.model.nu() as usize).collect());
        }
        let id = self.id(MjtObjBase::mjOBJ_ACTUATOR, "actuator", name, at)?;
        let first = self.model.actuator_ctrladr()[id] as usize;
        Ok((first..first + self.model.actuator_ctrlnum()[id] as usize).collect())
    }
}

#[derive(Clone, Debug)]
enum Quantity {
    Distance(Place, Place, [f64; 3]),
    Height(Place),
    Upright(Place),
    Speed(Place),
    Joint(usize),
    Velocity(usize),
    Sensor(std::ops::Range<usize>),
    /// Controls with the middle and half the width of their range.
    Control(Vec<(usize, [f64; 2])>),
}

/// A [`Clause`] of this model.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    quantity: Quantity,
    target: Option<f64>,
    weight: f64,
    near: Option<f64>,
    clip: Option<[f64; 2]>,
    above: Option<f64>,
    below: Option<f64>,
}

impl Measure {
    /// Looks the names of a clause up.
    ///
    /// Errors: names that are not there.
    pub(super) fn new(clause: &Spanned<Clause>, names: &Names<'_>) -> Result<Self, ModelError> {
        let Clause {
            distance,
            axes,
            height,
            upright,
            speed,
            joint,
            velocity,
            sensor,
            control,
            target,
            weight,
            near,
            clip,
            above,
            below,
        } = clause.get_ref();
        let model = names.model;
        let quantity = if let Some([from, to]) = distance {
            let axes = axes.as_deref().unwrap_or("xyz");
            let counts = ['x', 'y', 'z'].map(|axis| if axes.contains(axis) { 1.0 } else { 0.0 });
            Quantity::Distance(names.place(from, clause)?, names.place(to, clause)?, counts)
        } else if let Some(point) = height {
            Quantity::Height(names.place(point, clause)?)
        } else if let Some(point) = upright {
            Quantity::Upright(names.place(point, clause)?)
        } else if let Some(point) = speed {
            Quantity::Speed(names.place(point, clause)?)
        } else if let Some(name) = joint {
            Quantity::Joint(model.jnt_qposadr()[names.single(name, clause)?] as usize)
        } else if let Some(name) = velocity {
            Quantity::Velocity(model.jnt_dofadr()[names.single(name, clause)?] as usize)
        } else if let Some(name) = sensor {
            let id = names.id(MjtObjBase::mjOBJ_SENSOR, "sensor", name, clause)?;
            let first = model.sensor_adr()[id] as usize;
            Quantity::Sensor(first..first + model.sensor_dim()[id] as usize)
        } else {
            let name = control.as_deref().unwrap_or("*");
            let range = |control| {
                let (low, high) = control_range(model, control);
                (
                    control,
                    [0.5 * (low + high), (0.5 * (high - low)).max(1e-12)],
                )
            };
            Quantity::Control(
                names
                    .controls(name, clause)?
                    .into_iter()
                    .map(range)
                    .collect(),
            )
        };
        Ok(Self {
            quantity,
            target: *target,
            weight: weight.unwrap_or(1.0),
            near: *near,
            clip: *clip,
            above: *above,
            below: *below,
        })
    }

    fn value(&self, data: &Data, goal: [f64; 3]) -> f64 {
        let value = match &self.quantity {
            Quantity::Distance(from, to, counts) => {
                let way = to.position(data, goal) - from.position(data, goal);
                way.component_mul(&Vector3::from(*counts)).norm()
            }
            Quantity::Height(place) => place.position(data, goal).z,
            Quantity::Upright(place) => place.upright(data),
            Quantity::Speed(place) => place.speed(data),
            Quantity::Joint(address) => data.qpos()[*address],
            Quantity::Velocity(address) => data.qvel()[*address],
            Quantity::Sensor(range) => {
                let read = &data.sensordata()[range.clone()];
                if let [single] = read {
                    *single
                } else {
                    read.iter().map(|x| x * x).sum::<f64>().sqrt()
                }
            }
            Quantity::Control(controls) => {
                let square = |&(control, [middle, half]): &(usize, [f64; 2])| {
                    let share = (data.ctrl()[control] - middle) / half;
                    share * share
                };
                controls.iter().map(square).sum::<f64>() / controls.len().max(1) as f64
            }
        };
        self.target.map_or(value, |target| (value - target).abs())
    }

    /// What it is worth now.
    pub(super) fn reward(&self, data: &Data, goal: [f64; 3]) -> f64 {
        let mut value = self.value(data, goal);
        if let Some(near) = self.near {
            let share = value / near;
            value = (-share * share).exp();
        }
        if let Some([low, high]) = self.clip {
            value = value.clamp(low, high);
        }
        self.weight * value
    }

    /// How far it is from what it must be; 0 where it is that.
    pub(super) fn missing(&self, data: &Data, goal: [f64; 3]) -> f64 {
        let value = self.value(data, goal);
        let under = self.above.map_or(0.0, |above| (above - value).max(0.0));
        let over = self.below.map_or(0.0, |below| (value - below).max(0.0));
        under + over
    }
}

/// The range of a control; -1 to 1 for one without.
pub(super) fn control_range(model: &MjModel, control: usize) -> (f64, f64) {
    let [low, high] = model.actuator_ctrlrange()[control];
    if model.actuator_ctrllimited()[control] && low < high {
        (low, high)
    } else {
        (-1.0, 1.0)
    }
}
