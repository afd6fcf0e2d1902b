//! Textures of the model with their smaller versions (mip levels), and the skybox.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtTexture};

use super::view::Vec3;

/// One image of texels, red, green, blue, in 0..1.
#[derive(Clone, Debug)]
struct Level {
    width: usize,
    height: usize,
    texels: Vec<Vec3>,
}

impl Level {
    /// Half the size, by averaging.
    fn half(&self) -> Level {
        let (width, height) = ((self.width / 2).max(1), (self.height / 2).max(1));
        let mut texels = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let (x0, y0) = ((2 * x).min(self.width - 1), (2 * y).min(self.height - 1));
                let (x1, y1) = ((x0 + 1).min(self.width - 1), (y0 + 1).min(self.height - 1));
                let four = [(x0, y0), (x1, y0), (x0, y1), (x1, y1)]
                    .map(|(x, y)| self.texels[y * self.width + x]);
                texels.push(std::array::from_fn(|c| {
                    0.25 * (four[0][c] + four[1][c] + four[2][c] + four[3][c])
                }));
            }
        }
        Level {
            width,
            height,
            texels,
        }
    }

    /// Blend of the four texels around `(u, v)`; `wrap` maps a texel number into the image.
    fn bilinear(&self, u: f32, v: f32, wrap: impl Fn(i32, usize) -> usize) -> Vec3 {
        let (x, y) = (u * self.width as f32 - 0.5, v * self.height as f32 - 0.5);
        let (x0, y0) = (x.floor(), y.floor());
        let (fx, fy) = (x - x0, y - y0);
        let (xa, xb) = (wrap(x0 as i32, self.width), wrap(x0 as i32 + 1, self.width));
        let (ya, yb) = (
            wrap(y0 as i32, self.height) * self.width,
            wrap(y0 as i32 + 1, self.height) * self.width,
        );
        let (a, b, c, d) = (
            self.texels[ya + xa],
            self.texels[ya + xb],
            self.texels[yb + xa],
            self.texels[yb + xb],
        );
        std::array::from_fn(|i| {
            let (top, bottom) = (a[i] + (b[i] - a[i]) * fx, c[i] + (d[i] - c[i]) * fx);
            top + (bottom - top) * fy
        })
    }
}

/// A repeating 2D texture.
#[derive(Clone, Debug)]
pub(super) struct Texture {
    levels: Vec<Level>,
}

impl Texture {
    fn new(base: Level) -> Texture {
        let mut levels = vec![base];
        while let Some(last) = levels.last()
            && last.width.max(last.height) > 1
        {
            levels.push(last.half());
        }
        Texture { levels }
    }

    /// Colour at `(u, v)` when one sample of the picture covers `footprint` of the texture (1 is all of it).
    pub(super) fn sample(&self, u: f32, v: f32, level: usize) -> Vec3 {
        self.levels[level].bilinear(u - u.floor(), v - v.floor(), |i, n| {
            i.rem_euclid(n as i32) as usize
        })
    }

    /// The level whose texels are about as large as a sample that covers `footprint` of the texture.
    pub(super) fn level(&self, footprint: f32) -> usize {
        let texels = footprint * self.levels[0].width.max(self.levels[0].height) as f32;
        let level = texels.max(1.0).log2();
        (level.round() as usize).min(self.levels.len() - 1)
    }
}

/// Six faces around the world.
#[derive(Clone, Debug)]
pub(super) struct Sky {
    /// Right, left, up, down, front, back.
    faces: Vec<Level>,
}

impl Sky {
    /// Colour in a world direction. MuJoCo turns the cube map so that its +y is the world's +z.
    pub(super) fn sample(&self, world: Vec3) -> Vec3 {
        let (x, y, z) = (world[0], world[2], -world[1]);
        let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
        // Face, major axis, s and t as in the OpenGL specification, table "Selection of cube map images".
        let (face, major, s, t) = if ax >= ay && ax >= az {
            if x > 0.0 {
                (0, ax, -z, -y)
            } else {
                (1, ax, z, -y)
            }
        } else if ay >= az {
            if y > 0.0 {
                (2, ay, x, z)
            } else {
                (3, ay, x, -z)
            }
        } else if z > 0.0 {
            (4, az, x, -y)
        } else {
            (5, az, -x, -y)
        };
        let (u, v) = (0.5 * (s / major + 1.0), 0.5 * (t / major + 1.0));
        self.faces[face].bilinear(u, v, |i, n| i.clamp(0, n as i32 - 1) as usize)
    }
}

/// All the textures of a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Textures {
    flat: Vec<Option<Texture>>,
    pub(super) sky: Option<Sky>,
}

impl Textures {
    /// Decodes the textures of `model`; those that cannot be decoded are left out.
    pub(super) fn of(model: &MjModel) -> Textures {
        let mut textures = Textures::default();
        for id in 0..model.ntex() as usize {
            let (width, height) = (
                model.tex_width()[id] as usize,
                model.tex_height()[id] as usize,
            );
            let channels = model.tex_nchannel()[id] as usize;
            let address = model.tex_adr()[id];
            let bytes = usize::try_from(address)
                .ok()
                .and_then(|from| model.tex_data().get(from..from + width * height * channels));
            let image = bytes.map(|bytes| Level {
                width,
                height,
                texels: bytes
                    .chunks_exact(channels)
                    .map(|texel| {
                        std::array::from_fn(|c| {
                            f32::from(texel[if channels < 3 { 0 } else { c }]) / 255.0
                        })
                    })
                    .collect(),
            });
            let kind = model.tex_type()[id];
            textures.flat.push(match (&image, kind) {
                (Some(image), MjtTexture::mjTEXTURE_2D) => Some(Texture::new(image.clone())),
                _ => None,
            });
            if let (Some(image), MjtTexture::mjTEXTURE_SKYBOX, None) = (image, kind, &textures.sky)
            {
                textures.sky = Some(Sky::of(image));
            }
        }
        textures
    }

    /// The 2D texture with that number.
    pub(super) fn flat(&self, id: i32) -> Option<&Texture> {
        usize::try_from(id)
            .ok()
            .and_then(|id| self.flat.get(id))
            .and_then(Option::as_ref)
    }
}

impl Sky {
    /// A skybox image holds six squares one below the other, or one square for all six faces.
    fn of(image: Level) -> Sky {
        let side = image.width;
        let faces = (0..6)
            .map(|face| {
                let first = if image.height >= 6 * side {
                    face * side * side
                } else {
                    0
                };
                Level {
                    width: side,
                    height: side,
                    texels: image.texels[first..first + side * side].to_vec(),
                }
            })
            .collect();
        Sky { faces }
    }
}
