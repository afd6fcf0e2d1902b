//! What a camera sees besides colour: how far away things are, and which they are.

/// Depth, geoms and bodies of a picture, one number per pixel, rows top to bottom. Buffers are reused from one picture to the
/// next.
///
/// What is written is what the ray through the middle of a pixel meets first, whatever the quality of the pictures: nothing
/// is averaged. Only solid things count; a geom with an opacity below 1 is neither seen nor does it hide what is behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Distance along the optical axis, m; infinite where there is nothing.
    pub depth: Vec<f32>,
    /// Number of the geom in the model; -1 where there is nothing, or something that is no geom, such as a site.
    pub geom: Vec<i32>,
    /// Number of that geom's body in the model; -1 where `geom` is -1. The world itself is body 0.
    pub body: Vec<i32>,
}

impl Layers {
    /// Makes room for a picture of `width` x `height` pixels in which there is nothing.
    pub(super) fn clear(&mut self, width: u32, height: u32) {
        let pixels = width as usize * height as usize;
        (self.width, self.height) = (width, height);
        self.depth.clear();
        self.depth.resize(pixels, f32::INFINITY);
        for ids in [&mut self.geom, &mut self.body] {
            ids.clear();
            ids.resize(pixels, -1);
        }
    }

    /// Writes the body of every pixel from its geom; `geom_bodies` is the body of each geom of the model.
    pub(super) fn find_bodies(&mut self, geom_bodies: &[i32]) {
        for (body, &geom) in self.body.iter_mut().zip(&self.geom) {
            *body = usize::try_from(geom)
                .ok()
                .and_then(|geom| geom_bodies.get(geom).copied())
                .unwrap_or(-1);
        }
    }
}
