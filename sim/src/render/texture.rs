//! Textures of the model with their smaller versions (mip levels), and the skybox.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtTexture};

use super::lanes::{F, F3, LANES, Words, three};

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
        let (columns, rows) = (shares(self.width, width), shares(self.height, height));
        let mut texels = Vec::with_capacity(width * height);
        for row in &rows {
            for column in &columns {
                let mut sum = [0u64; 3];
                let mut whole = 0;
                for &(y, tall) in row {
                    for &(x, wide) in column {
                        let (texel, share) = (self.texels[y * self.width + x], tall * wide);
                        whole += share;
                        for (c, sum) in sum.iter_mut().enumerate() {
                            *sum += share * u64::from(texel >> (8 * c) & 0xff);
                        }
                    }
                }
                let mean = |c: usize| ((sum[c] + whole / 2) / whole) as u32;
                texels.push(mean(0) | mean(1) << 8 | mean(2) << 16);
            }
        }
        Level {
            width,
            height,
            texels,
        }
    }
}

/// For each of `new` equal parts of a row of `old` texels: the texels in it, each with its share, in parts of `new`.
fn shares(old: usize, new: usize) -> Vec<Vec<(usize, u64)>> {
    (0..new)
        .map(|part| {
            let (from, to) = (part * old, (part + 1) * old);
            (from / new..to.div_ceil(new))
                .map(|texel| {
                    let overlap = to.min((texel + 1) * new) - from.max(texel * new);
                    (texel, overlap as u64)
                })
                .collect()
        })
        .collect()
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
        // The clamps above leave numbers from 0 to the size.
        let (left, top) = (x.cut(), y.cut());
        let (x, y) = (x - left.to_numbers(), y - top.to_numbers());
        let stride = self.width as u32 + 2;
        let rows = self.height as u32 + 2;
        let (left, top, face) = (left.array(), top.array(), face.cut().array());
        let mut corners = [[0u32; LANES]; 4];
        for i in 0..LANES {
            let first = (face[i]
                .wrapping_mul(rows)
                .wrapping_add(top[i])
                .wrapping_mul(stride)
                .wrapping_add(left[i])) as usize;
            if let Some(pair) = self.texels.get(first..first.wrapping_add(2)) {
                (corners[0][i], corners[1][i]) = (pair[0], pair[1]);
            }
            let second = first + stride as usize;
            if let Some(pair) = self.texels.get(second..second.wrapping_add(2)) {
                (corners[2][i], corners[3][i]) = (pair[0], pair[1]);
            }
        }
        let [a, b, c, d] = [
            channels(corners[0]),
            channels(corners[1]),
            channels(corners[2]),
            channels(corners[3]),
        ];
        three!(|i| {
            let (top, bottom) = (a[i] + (b[i] - a[i]) * x, c[i] + (d[i] - c[i]) * x);
            (top + (bottom - top) * y) * (1.0 / 255.0)
        })
    }
}

/// Red, green and blue of texels, 0 to 255.
#[inline(always)]
fn channels(texels: [u32; LANES]) -> F3 {
    let texels = Words::from_array(texels);
    [
        texels.low_byte().to_numbers(),
        texels.right::<8>().low_byte().to_numbers(),
        texels.right::<16>().low_byte().to_numbers(),
    ]
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

    /// Colours at `(u, v)`, 1 being a whole texture, seen so that a sample covers `footprint` of it.
    #[inline(always)]
    pub(super) fn sample(&self, u: F, v: F, footprint: f32) -> F3 {
        let (u, v) = (u - u.floor(), v - v.floor());
        let first = &self.levels[0];
        let texels = footprint * first.width.max(first.height) as f32;
        let (finer, coarser, part) = neighbours(texels, self.levels.len());
        let fine = self.levels[finer].sample(u, v, F::splat(0.0));
        if part == 0.0 {
            return fine;
        }
        let coarse = self.levels[coarser].sample(u, v, F::splat(0.0));
        three!(|i| fine[i] + (coarse[i] - fine[i]) * part)
    }
}

/// The levels, of so many, whose texels are just smaller and just larger than a sample that covers so many `texels` of the first
/// one, and how much the second one counts.
#[inline(always)]
fn neighbours(texels: f32, levels: usize) -> (usize, usize, f32) {
    if texels.is_nan() || texels <= 1.0 {
        return (0, 0, 0.0);
    }
    // The binary logarithm from the bits of the number, straight between powers of two.
    let bits = texels.to_bits();
    let finer = (bits >> 23) as usize - 127;
    if finer + 1 >= levels {
        return (levels - 1, levels - 1, 0.0);
    }
    let part = (bits & 0x7f_ffff) as f32 / (1 << 23) as f32;
    (finer, finer + 1, part)
}

/// Six square faces around a point: right, left, up, down, front, back.
#[derive(Clone, Debug)]
pub(super) struct Cube {
    /// Each half the size of the one before.
    levels: Vec<Bordered>,
}

/// What the longest component of a direction says about the face of a cube it points at.
struct Facing {
    face: F,
    s: F,
    t: F,
    /// Length of that component.
    major: F,
}

/// Face, major axis, s and t as in the OpenGL specification, table "Selection of cube map images".
#[inline(always)]
fn facing([x, y, z]: F3) -> Facing {
    let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
    let zero = F::splat(0.0);
    let on_x = ay.le(ax) & az.le(ax);
    let on_y = az.le(ay);
    let pick =
        |along_x: F, along_y: F, along_z: F| on_x.select(along_x, on_y.select(along_y, along_z));
    let sign = |v: F| zero.le(v);
    Facing {
        face: pick(
            sign(x).select(zero, F::splat(1.0)),
            sign(y).select(F::splat(2.0), F::splat(3.0)),
            sign(z).select(F::splat(4.0), F::splat(5.0)),
        ),
        s: pick(sign(x).select(-z, z), x, sign(z).select(x, -x)),
        t: pick(-y, sign(y).select(z, -z), -y),
        major: pick(ax, ay, az),
    }
}

impl Cube {
    /// An image of a cube holds six squares one below the other, or one square for all six faces.
    fn of(image: &Level) -> Cube {
        let side = image.width.min(image.height);
        let square = |face: usize| {
            let first = if image.height >= 6 * side {
                face * side * side
            } else {
                0
            };
            Level {
                width: side,
                height: side,
                texels: image.texels[first..]
                    .chunks(image.width)
                    .take(side)
                    .flat_map(|row| row[..side].to_vec())
                    .collect(),
            }
        };
        let mut faces: Vec<Level> = (0..6).map(square).collect();
        let end = |i: i32, size: usize| i.clamp(0, size as i32 - 1) as usize;
        let mut levels = Vec::new();
        loop {
            let side = faces[0].width;
            let texels: Vec<&[u32]> = faces.iter().map(|face| &face.texels[..]).collect();
            levels.push(Bordered::new(side, side, &texels, end));
            if side <= 1 {
                return Cube { levels };
            }
            faces = faces.iter().map(Level::half).collect();
        }
    }

    /// Colours in these directions, of any length, seen so that a sample covers `footprint` at distance one from the middle.
    #[inline(always)]
    pub(super) fn sample(&self, direction: F3, footprint: f32) -> F3 {
        let Facing { face, s, t, major } = facing(direction);
        let scale = F::splat(0.5) / major;
        let (u, v) = (s * scale + F::splat(0.5), t * scale + F::splat(0.5));
        let texels = 0.5 * footprint * self.levels[0].width as f32;
        let (finer, coarser, part) = neighbours(texels, self.levels.len());
        let fine = self.levels[finer].sample(u, v, face);
        if part == 0.0 {
            return fine;
        }
        let coarse = self.levels[coarser].sample(u, v, face);
        three!(|i| fine[i] + (coarse[i] - fine[i]) * part)
    }
}

/// All the textures of a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Textures {
    all: Vec<Option<Image>>,
    pub(super) sky: Option<Cube>,
}

/// A texture for geoms.
#[derive(Clone, Debug)]
pub(super) enum Image {
    /// Laid or wrapped on a surface.
    Flat(Texture),
    /// Seen from inside, from the middle of a geom.
    Cube(Cube),
}

impl Textures {
    /// Decodes the textures of `model`; those that cannot be decoded are left out.
    pub(super) fn of(model: &MjModel) -> Textures {
        let mut textures = Textures::default();
        for id in 0..model.ntex() as usize {
            let image = decode(model, id);
            let kind = model.tex_type()[id];
            textures.all.push(match (&image, kind) {
                (Some(image), MjtTexture::mjTEXTURE_2D) => {
                    Some(Image::Flat(Texture::new(image.clone())))
                }
                (Some(image), MjtTexture::mjTEXTURE_CUBE) => Some(Image::Cube(Cube::of(image))),
                _ => None,
            });
            if let (Some(image), MjtTexture::mjTEXTURE_SKYBOX, None) = (&image, kind, &textures.sky)
            {
                textures.sky = Some(Cube::of(image));
            }
        }
        textures
    }

    /// The texture with that number, unless it is a skybox.
    pub(super) fn get(&self, id: i32) -> Option<&Image> {
        usize::try_from(id)
            .ok()
            .and_then(|id| self.all.get(id))
            .and_then(Option::as_ref)
    }
}

/// The image of texture number `id`.
fn decode(model: &MjModel, id: usize) -> Option<Level> {
    let (width, height) = (
        model.tex_width()[id] as usize,
        model.tex_height()[id] as usize,
    );
    let channels = model.tex_nchannel()[id] as usize;
    let from = usize::try_from(model.tex_adr()[id]).ok()?;
    let bytes = model
        .tex_data()
        .get(from..from + width * height * channels)?;
    if width == 0 || height == 0 {
        return None;
    }
    Some(Level {
        width,
        height,
        texels: bytes
            .chunks_exact(channels)
            .map(|texel| {
                let channel =
                    |c: usize| u32::from(texel[if channels < 3 { 0 } else { c }]) << (8 * c);
                channel(0) | channel(1) | channel(2)
            })
            .collect(),
    })
}
