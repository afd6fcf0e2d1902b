//! The device that a bench's last word asks for.

use burn::tensor::Device;

/// None for the processor; the graphics adapter for `gpu`.
pub fn named(word: Option<String>) -> Option<Device> {
    match word.as_deref() {
        None | Some("cpu") => None,
        Some("gpu") => Some(adapter()),
        Some(other) => panic!("no device {other}: cpu or gpu"),
    }
}

#[cfg(feature = "gpu")]
fn adapter() -> Device {
    Device::wgpu_options()
        .init()
        .expect("no usable graphics adapter")
}

#[cfg(not(feature = "gpu"))]
fn adapter() -> Device {
    panic!("built without the feature gpu")
}
