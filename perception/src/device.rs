//! [`DeviceChoice`]: where encoders run.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::encoder::EncoderError;

/// Where an encoder computes. Parsed from `cpu` or `wgpu`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// This machine's processor cores.
    #[default]
    Cpu,
    /// The best graphics adapter that Vulkan, Metal or DX12 offers. Needs the feature `gpu`.
    Wgpu,
}

impl DeviceChoice {
    /// The Burn device of this choice. The adapter is opened once per process and shared.
    ///
    /// # Errors
    /// [`EncoderError::Device`] when `wgpu` is asked for and this program was built without the feature `gpu`, or the
    /// machine has no usable adapter.
    pub fn burn_device(self) -> Result<Device, EncoderError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Wgpu => wgpu_device(),
        }
    }
}

#[cfg(feature = "gpu")]
fn wgpu_device() -> Result<Device, EncoderError> {
    use std::sync::OnceLock;

    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::WgpuInitError;

    // The runtime can be set up once per process, so the verdict is kept too.
    static DEVICE: OnceLock<Result<Device, String>> = OnceLock::new();
    DEVICE
        .get_or_init(|| match Device::wgpu_options().init() {
            Ok(device) => Ok(device),
            // Somebody in this process set the default adapter up before us: it works, share it.
            Err(WgpuInitError::Registration { .. }) => {
                Ok(Device::wgpu(DeviceKind::DefaultDevice))
            }
            Err(error) => Err(error.to_string()),
        })
        .clone()
        .map_err(|reason| {
            EncoderError::Device(format!(
                "no usable graphics adapter ({reason}); install a Vulkan, Metal or DX12 driver, or use --device cpu"
            ))
        })
}

#[cfg(not(feature = "gpu"))]
fn wgpu_device() -> Result<Device, EncoderError> {
    Err(EncoderError::Device(
        "this program was built without GPU support; build it with `--features gpu`, or use --device cpu".into(),
    ))
}

impl FromStr for DeviceChoice {
    type Err = EncoderError;

    fn from_str(text: &str) -> Result<Self, EncoderError> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu),
            other => Err(EncoderError::Device(format!(
                "unknown device `{other}`; the devices are cpu and wgpu"
            ))),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_to_the_same_device() {
        for device in [DeviceChoice::Cpu, DeviceChoice::Wgpu] {
            assert_eq!(device.to_string().parse::<DeviceChoice>().unwrap(), device);
        }
    }

    #[test]
    fn an_unknown_device_is_refused_with_the_known_ones() {
        let message = "tpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert!(message.contains("`tpu`") && message.contains("cpu and wgpu"));
    }

    #[cfg(not(feature = "gpu"))]
    #[test]
    fn wgpu_without_the_feature_says_how_to_get_it() {
        let message = DeviceChoice::Wgpu.burn_device().unwrap_err().to_string();
        assert!(message.contains("--features gpu"), "{message}");
    }
}
