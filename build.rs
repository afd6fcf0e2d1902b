//! Lets what is linked here find MuJoCo where `./x setup` put it, without `LD_LIBRARY_PATH`; beside an installed binary, in `../lib`.
#![allow(clippy::print_stdout)]

fn main() {
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    let folder = std::env::var_os("MUJOCO_DYNAMIC_LINK_DIR").map(std::path::PathBuf::from);
    if let Some(folder) = folder.and_then(|folder| folder.canonicalize().ok()) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
