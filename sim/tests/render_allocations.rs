//! The rasteriser asks for memory when it is opened, and never again: memory is shared between threads, and renderers must not be.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use image::RgbImage;
use mujoco_rs::prelude::*;
use rapport_sim::render::{CpuRenderer, Layers, Quality, Renderer as _, Shot};
use rapport_sim::{Scene, tasks};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator; counting needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn pictures_after_the_first_allocate_nothing() {
    let scene = Scene::new(tasks::by_name("so101-push").unwrap().scene()).unwrap();
    let mut data = MjData::new(scene.model().clone());
    data.forward();
    for quality in Quality::ALL {
        let mut renderer = CpuRenderer::new(scene.model(), quality, 64, 48).unwrap();
        let mut pictures = [RgbImage::new(64, 48), RgbImage::new(64, 48)];
        let mut layers = Layers::default();
        let mut look = || {
            let [first, second] = &mut pictures;
            let mut shots = [
                Shot {
                    camera: 0,
                    out: first,
                },
                Shot {
                    camera: 1,
                    out: second,
                },
            ];
            renderer.render_many(&mut data, &mut shots).unwrap();
            renderer.render_layers(&mut data, 0, &mut layers).unwrap();
        };
        look();
        let before = ALLOCATIONS.get();
        for _ in 0..3 {
            look();
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{quality}");
    }
}
