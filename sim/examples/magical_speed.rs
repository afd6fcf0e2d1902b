//! Steps a CPU second of X-Magical on one thread, with state and reward, then with a picture: `cargo run -p rapport-sim --example
//! magical_speed`.
//!
//! The Python original makes about 6,000 to 9,000 steps a CPU second without drawing.

use std::error::Error;
use std::time::Duration;

use image::RgbImage;
use rapport_sim::env::EnvConfig;
use rapport_sim::environment;
use rapport_sim::magical::Embodiment;
use rustix::time::{ClockId, clock_gettime};

const STEPS: usize = 20_000;

/// CPU time of this process so far.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))?)
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    for embodiment in Embodiment::ALL {
        let name = format!("x-magical-{}", embodiment.name());
        let mut env = environment::make(&name, &EnvConfig::default())?;
        let mut observation = vec![0.0; env.description().observation_len()];
        let mut action = vec![0.0; env.description().action_len()];
        for size in [0, 64, 128, 224, 384] {
            let mut picture = RgbImage::new(size, size);
            let steps = if size == 0 { STEPS } else { STEPS / 20 };
            let start = cpu()?;
            for step in 0..steps {
                if step % env.description().max_steps == 0 {
                    env.reset(step as u64)?;
                }
                for (i, a) in action.iter_mut().enumerate() {
                    *a = ((step * (7 + i)) as f64 * 0.37).sin();
                }
                env.step(&action)?;
                env.observe(&mut observation);
                if size > 0 {
                    env.render("allo", &mut picture)?;
                }
            }
            let rate = steps as f64 / (cpu()? - start).as_secs_f64();
            match size {
                0 => println!("{name}: {rate:.0} steps/cpu-s"),
                _ => println!("{name}, with a picture of {size} x {size}: {rate:.0} steps/cpu-s"),
            }
        }
    }
    Ok(())
}
