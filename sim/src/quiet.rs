//! MuJoCo does not write to the terminal or into the working directory.

use std::sync::Once;

use mujoco_rs::prelude::*;

/// Keeps MuJoCo from writing a log file into the working directory; what it warns of is read from the data and becomes an
/// error.
pub(crate) fn quiet_mujoco() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let config = log_config()
            .with_logto_console(false)
            .with_logto_file(false);
        // SAFETY: two flags are written once, before this crate compiles its first model; MuJoCo reads them only when it
        // has something to say.
        unsafe { set_log_config(config) };
    });
}
