//! Pictures in a terminal: two pixels a character, upper and lower half block, 24-bit colour.

use std::fmt::Write as _;

use image::RgbImage;
use image::imageops::{FilterType, resize};

/// The image as text lines, `columns` characters wide.
pub fn blocks(image: &RgbImage, columns: u32) -> Vec<String> {
    let rows = (image.height() * columns / image.width().max(1)).max(2) & !1;
    let small = resize(image, columns, rows, FilterType::Triangle);
    (0..rows / 2)
        .map(|row| {
            let mut line = String::new();
            for column in 0..columns {
                let [r, g, b] = small.get_pixel(column, 2 * row).0;
                let [s, h, c] = small.get_pixel(column, 2 * row + 1).0;
                let _ = write!(line, "\x1b[38;2;{r};{g};{b}m\x1b[48;2;{s};{h};{c}m▀");
            }
            line.push_str("\x1b[0m");
            line
        })
        .collect()
}

/// Pictures beside each other with a title above each, as one text.
pub fn side_by_side(pictures: &[(String, &RgbImage)], columns: u32) -> String {
    let blocks: Vec<Vec<String>> = pictures
        .iter()
        .map(|(_, image)| blocks(image, columns))
        .collect();
    let mut text = String::new();
    for (title, _) in pictures {
        let _ = write!(text, "{title:<width$}", width = columns as usize + 2);
    }
    text.push('\n');
    for row in 0..blocks.iter().map(Vec::len).max().unwrap_or(0) {
        for block in &blocks {
            match block.get(row) {
                Some(line) => text.push_str(line),
                None => text.push_str(&" ".repeat(columns as usize)),
            }
            text.push_str("  ");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_shape_and_colours() {
        let image = RgbImage::from_fn(8, 8, |_, y| {
            if y < 4 {
                image::Rgb([255, 0, 0])
            } else {
                image::Rgb([0, 0, 255])
            }
        });
        let lines = blocks(&image, 8);
        assert_eq!(lines.len(), 4);
        assert!(lines[0].contains("38;2;255;0;0") && lines[3].contains("48;2;0;0;255"));
        assert_eq!(lines[0].matches('▀').count(), 8);
    }
}
