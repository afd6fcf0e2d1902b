//! Textures of the model with their smaller versions (mip levels), and the skybox.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtTexture};

use super::lanes::{F, F3, LANES, three};

/// One image; a texel is 0xBBGGRR.
#[derive(Clone, Debug)]
struct Level {
    width: usize,
    height: usize,
    texels: Vec<u32>,
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
                let mean = |shift: u32| {
                    ((four.iter().map(|t| t >> shift & 0xff).sum::<u32>() + 2) / 4) << shift
                };
                texels.push(mean(0) | mean(8) | mean(16));
            }
        }
        Level {
            width,
            height,
            texels,
        }
    }
}

/// Images one after the other, all of one size, each with a border of one texel so that the four neighbours of every point lie
/// in two pairs.
#[derive(Clone, Debug)]
struct Bordered {
    width: usize,
    height: usize,
    texels: Vec<u32>,
}

impl Bordered {
    /// Adds borders to images of `width` x `height`; `border` maps texel -1 and texel `size` into the image.
    fn new(
        width: usize,
        height: usize,
        images: &[&[u32]],
        border: fn(i32, usize) -> usize,
    ) -> Bordered {
        let mut texels = Vec::with_capacity(images.len() * (width + 2) * (height + 2));
        for image in images {
            for y in -1..=height as i32 {
                let row = &image[border(y, height) * width..][..width];
                texels.extend((-1..=width as i32).map(|x| row[border(x, width)]));
            }
        }
        Bordered {
            width,
            height,
            texels,
        }
    }

    /// Colours at `(u, v)` of image number `face`, blended from four texels; 0 to 1 is the whole image.
    #[inline(always)]
    fn sample(&self, u: F, v: F, face: F) -> F3 {
        let (width, height) = (self.width as f32, self.height as f32);
        // With the border, texel centres are at 1.5, 2.5, ...; the clamps also replace NaN.
        let zero = F::splat(0.0);
        let x = (u * width + F::splat(0.5))
            .max(zero)
            .min(F::splat(width + 0.5));
        let y = (v * height + F::splat(0.5))
            .max(zero)
            .min(F::splat(height + 0.5));
        let (left, top) = (x.floor(), y.floor());
        let (x, y) = (x - left, y - top);
        let stride = self.width as u32 + 2;
        let rows = self.height as u32 + 2;
        // SAFETY: the clamps above leave numbers from 0 to the size; faces are small whole numbers.
        let (left, top, face) = unsafe { (left.to_words(), top.to_words(), face.to_words()) };
        let (mut above, mut below) = ([[0u32; 2]; LANES], [[0u32; 2]; LANES]);
        for i in 0..LANES {
            let first = (face[i]
                .wrapping_mul(rows)
                .wrapping_add(top[i])
                .wrapping_mul(stride)
                .wrapping_add(left[i])) as usize;
            if let Some(pair) = self.texels.get(first..first.wrapping_add(2)) {
                above[i] = [pair[0], pair[1]];
            }
            let second = first + stride as usize;
            if let Some(pair) = self.texels.get(second..second.wrapping_add(2)) {
                below[i] = [pair[0], pair[1]];
            }
        }
        three!(|c| {
            let a = channel(&above, 0, c);
            let b = channel(&above, 1, c);
            let c_ = channel(&below, 0, c);
            let d = channel(&below, 1, c);
            let (top, bottom) = (a + (b - a) * x, c_ + (d - c_) * x);
            (top + (bottom - top) * y) * (1.0 / 255.0)
        })
    }
}

/// Channel `c` of one half of pairs of texels.
#[inline(always)]
fn channel(pairs: &[[u32; 2]; LANES], half: usize, c: usize) -> F {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        out[i] = (pairs[i][half] >> (8 * c) & 0xff) as i32 as f32;
    }
    F::from_array(out)
}

/// A repeating 2D texture.
#[derive(Clone, Debug)]
pub(super) struct Texture {
    /// Each half the size of the one before.
    levels: Vec<Bordered>,
}

impl Texture {
    fn new(base: Level) -> Texture {
        let mut levels = vec![base];
        while let Some(last) = levels.last()
            && last.width.max(last.height) > 1
        {
            levels.push(last.half());
        }
        let repeat = |i: i32, size: usize| i.rem_euclid(size as i32) as usize;
        let levels = levels
            .iter()
            .map(|l| Bordered::new(l.width, l.height, &[&l.texels], repeat))
            .collect();
        Texture { levels }
    }

    /// Colours at `(u, v)` of a level; 1 is a whole texture.
    #[inline(always)]
    pub(super) fn sample(&self, u: F, v: F, level: usize) -> F3 {
        self.levels[level].sample(u - u.floor(), v - v.floor(), F::splat(0.0))
    }

    /// The level whose texels are about as large as a sample that covers `footprint` of the texture.
    #[inline(always)]
    pub(super) fn level(&self, footprint: f32) -> usize {
        let texels = footprint * self.levels[0].width.max(self.levels[0].height) as f32;
        // The exponent of a number times the square root of two is its rounded binary logarithm.
        let exponent = ((texels * std::f32::consts::SQRT_2).to_bits() >> 23) as usize & 0xff;
        exponent.saturating_sub(127).min(self.levels.len() - 1)
    }
}

/// Six square faces around the world: right, left, up, down, front, back.
#[derive(Clone, Debug)]
pub(super) struct Sky(Bordered);

impl Sky {
    /// Colours in world directions. MuJoCo turns the cube map so that its +y is the world's +z.
    #[inline(always)]
    pub(super) fn sample(&self, world: F3) -> F3 {
        let (x, y, z) = (world[0], world[2], -world[1]);
        let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
        // Face, major axis, s and t as in the OpenGL specification, table "Selection of cube map images".
        let zero = F::splat(0.0);
        let on_x = ay.le(ax) & az.le(ax);
        let on_y = az.le(ay);
        let pick = |along_x: F, along_y: F, along_z: F| {
            on_x.select(along_x, on_y.select(along_y, along_z))
        };
        let sign = |v: F| zero.le(v);
        let face = pick(
            sign(x).select(zero, F::splat(1.0)),
            sign(y).select(F::splat(2.0), F::splat(3.0)),
            sign(z).select(F::splat(4.0), F::splat(5.0)),
        );
        let s = pick(sign(x).select(-z, z), x, sign(z).select(x, -x));
        let t = pick(-y, sign(y).select(z, -z), -y);
        let scale = F::splat(0.5) / pick(ax, ay, az);
        self.0
            .sample(s * scale + F::splat(0.5), t * scale + F::splat(0.5), face)
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
                        let channel = |c: usize| {
                            u32::from(texel[if channels < 3 { 0 } else { c }]) << (8 * c)
                        };
                        channel(0) | channel(1) | channel(2)
                    })
                    .collect(),
            });
            let kind = model.tex_type()[id];
            textures.flat.push(match (&image, kind) {
                (Some(image), MjtTexture::mjTEXTURE_2D) => Some(Texture::new(image.clone())),
                _ => None,
            });
            if let (Some(image), MjtTexture::mjTEXTURE_SKYBOX, None) = (&image, kind, &textures.sky)
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
    fn of(image: &Level) -> Sky {
        let side = image.width;
        let faces: Vec<&[u32]> = (0..6)
            .map(|face| {
                let first = if image.height >= 6 * side {
                    face * side * side
                } else {
                    0
                };
                &image.texels[first..first + side * side]
            })
            .collect();
        let end = |i: i32, size: usize| i.clamp(0, size as i32 - 1) as usize;
        Sky(Bordered::new(side, side, &faces, end))
    }
}
