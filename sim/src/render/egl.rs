//! An OpenGL context without a screen, through EGL.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Once;

use khronos_egl as egl;

type Egl = egl::DynamicInstance<egl::EGL1_5>;

/// A function of the graphics library before its type is known.
type Function = extern "system" fn();

/// `EGL_PLATFORM_DEVICE_EXT` (EGL_EXT_platform_device).
const PLATFORM_DEVICE: egl::Enum = 0x313F;
/// `EGL_PLATFORM_SURFACELESS_MESA` (EGL_MESA_platform_surfaceless).
const PLATFORM_SURFACELESS: egl::Enum = 0x31DD;
/// `GL_RENDERER`.
const GL_RENDERER: u32 = 0x1F01;
/// `GL_MAX_RENDERBUFFER_SIZE`.
const GL_MAX_RENDERBUFFER_SIZE: u32 = 0x84E8;

/// A place where a context may be made.
struct Candidate {
    platform: egl::Enum,
    device: *mut c_void,
    name: String,
    software: bool,
}

/// A context that is current on the thread that made it, and destroyed there.
pub(super) struct EglContext {
    egl: Egl,
    display: egl::Display,
    context: egl::Context,
    /// What draws, in the driver's words, and where it was found.
    pub(super) renderer: String,
    /// Longest side of a picture.
    pub(super) largest: u32,
}

/// Loads the EGL library.
fn load() -> Result<Egl, String> {
    static SINGLE_THREADED_SOFTWARE: Once = Once::new();
    SINGLE_THREADED_SOFTWARE.call_once(|| {
        // Mesa's software renderer reads this once, when its first context is made. For small pictures its worker threads cost
        // more than they bring.
        if std::env::var_os("LP_NUM_THREADS").is_none() {
            // SAFETY: Rust code reads the environment under the lock that this call takes. C code that reads it at
            // the same moment on another thread would race; MuJoCo does not, and Mesa has not been loaded yet.
            unsafe { std::env::set_var("LP_NUM_THREADS", "0") };
        }
    });
    // SAFETY: loading the system's EGL library runs its initialisers, which is what it is made for.
    unsafe { Egl::load_required() }
        .map_err(|error| format!("the EGL 1.5 library cannot be loaded ({error})"))
}

/// The devices in the order of the system, then Mesa's surfaceless platform.
fn candidates(egl: &Egl) -> Vec<Candidate> {
    type QueryDevices =
        extern "system" fn(egl::Int, *mut *mut c_void, *mut egl::Int) -> egl::Boolean;
    type QueryDeviceString = extern "system" fn(*mut c_void, egl::Int) -> *const c_char;
    let mut found = Vec::new();
    let functions = (
        egl.get_proc_address("eglQueryDevicesEXT"),
        egl.get_proc_address("eglQueryDeviceStringEXT"),
    );
    if let (Some(devices), Some(string)) = functions {
        // SAFETY: this is its type in EGL_EXT_device_enumeration; the next one is in EGL_EXT_device_query.
        let query = unsafe { std::mem::transmute::<Function, QueryDevices>(devices) };
        // SAFETY: likewise.
        let string = unsafe { std::mem::transmute::<Function, QueryDeviceString>(string) };
        let mut handles = [std::ptr::null_mut(); 32];
        let mut count = 0;
        if query(handles.len() as egl::Int, handles.as_mut_ptr(), &mut count) == egl::TRUE {
            for (number, &device) in handles.iter().take(count.max(0) as usize).enumerate() {
                let extensions = string(device, egl::EXTENSIONS);
                // SAFETY: EGL answers with null or a string that lives as long as the library.
                let software = !extensions.is_null()
                    && unsafe { CStr::from_ptr(extensions) }
                        .to_string_lossy()
                        .contains("EGL_MESA_device_software");
                let name = format!("EGL device {number}");
                found.push(Candidate {
                    platform: PLATFORM_DEVICE,
                    device,
                    name,
                    software,
                });
            }
        }
    }
    found.push(Candidate {
        platform: PLATFORM_SURFACELESS,
        device: std::ptr::null_mut(),
        name: "EGL surfaceless".to_owned(),
        software: true,
    });
    // The variable that MuJoCo's own programs use to choose among several GPUs.
    let wanted = std::env::var("MUJOCO_EGL_DEVICE_ID")
        .ok()
        .and_then(|id| id.parse::<usize>().ok());
    if let Some(wanted) = wanted.filter(|&id| id + 1 < found.len()) {
        found.swap(0, wanted);
        found.truncate(1);
    }
    // Stable: hardware first, otherwise the system's order.
    found.sort_by_key(|candidate| candidate.software);
    found
}

/// Whether EGL lists a device that is not software.
pub(super) fn lists_gpu() -> bool {
    load().is_ok_and(|egl| candidates(&egl).iter().any(|candidate| !candidate.software))
}

/// Whether OpenGL calls this renderer's name its own for drawing on the CPU.
pub(super) fn is_software(renderer: &str) -> bool {
    let renderer = renderer.to_lowercase();
    ["llvmpipe", "softpipe", "swrast", "software"]
        .iter()
        .any(|name| renderer.contains(name))
}

impl EglContext {
    /// Makes a context current on this thread, on the first device that gives one, GPUs first.
    pub(super) fn open() -> Result<EglContext, String> {
        let egl = load()?;
        let mut failures = Vec::new();
        for candidate in candidates(&egl) {
            match EglContext::make(&egl, &candidate) {
                Ok((display, context)) => {
                    let (renderer, largest) = ask(&egl, &candidate.name);
                    return Ok(EglContext {
                        egl,
                        display,
                        context,
                        renderer,
                        largest,
                    });
                }
                Err(why) => failures.push(format!("{}: {why}", candidate.name)),
            }
        }
        Err(format!(
            "EGL gives no OpenGL context ({})",
            failures.join("; ")
        ))
    }

    fn make(egl: &Egl, candidate: &Candidate) -> Result<(egl::Display, egl::Context), String> {
        let step = |what: &'static str| move |error: egl::Error| format!("{what} fails: {error}");
        // SAFETY: the device came from this library's own list, or is null for the surfaceless platform.
        let display = unsafe {
            egl.get_platform_display(candidate.platform, candidate.device, &[egl::ATTRIB_NONE])
        }
        .map_err(step("opening the display"))?;
        // Never terminated: displays are shared by the whole process.
        egl.initialize(display)
            .map_err(step("initialising the display"))?;
        let attributes = [
            egl::SURFACE_TYPE,
            egl::PBUFFER_BIT,
            egl::RENDERABLE_TYPE,
            egl::OPENGL_BIT,
            egl::DEPTH_SIZE,
            24,
            egl::NONE,
        ];
        let config = egl
            .choose_first_config(display, &attributes)
            .map_err(step("choosing a configuration"))?
            .ok_or_else(|| "it has no OpenGL configuration".to_owned())?;
        egl.bind_api(egl::OPENGL_API)
            .map_err(step("binding OpenGL"))?;
        let context = egl
            .create_context(display, config, None, &[egl::NONE])
            .map_err(step("making a context"))?;
        if let Err(error) = egl.make_current(display, None, None, Some(context)) {
            // Nothing to do if this fails too: the context is unusable either way.
            let _ = egl.destroy_context(display, context);
            return Err(step("making the context current")(error));
        }
        Ok((display, context))
    }
}

/// Asks the driver of the current context what it is (with the `place` where it was found) and how long a picture's side may be.
fn ask(egl: &Egl, place: &str) -> (String, u32) {
    type GetString = extern "system" fn(u32) -> *const c_char;
    type GetInteger = extern "system" fn(u32, *mut i32);
    let mut name = "an unnamed renderer".to_owned();
    if let Some(function) = egl.get_proc_address("glGetString") {
        // SAFETY: this is the function's type; a context is current.
        let get = unsafe { std::mem::transmute::<Function, GetString>(function) };
        let text = get(GL_RENDERER);
        if !text.is_null() {
            // SAFETY: OpenGL strings end in zero and live as long as the context.
            name = unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned();
        }
    }
    let mut largest = 0;
    if let Some(function) = egl.get_proc_address("glGetIntegerv") {
        // SAFETY: this is the function's type; a context is current and the value is one integer.
        let get = unsafe { std::mem::transmute::<Function, GetInteger>(function) };
        get(GL_MAX_RENDERBUFFER_SIZE, &mut largest);
    }
    (format!("{name}, {place}"), largest.max(0) as u32)
}

impl Drop for EglContext {
    fn drop(&mut self) {
        // A context that cannot be released or destroyed ends with the process; there is nobody to tell.
        let _ = self.egl.make_current(self.display, None, None, None);
        let _ = self.egl.destroy_context(self.display, self.context);
    }
}
