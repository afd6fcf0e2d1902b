//! What a model may ask for. Beyond these MuJoCo would allocate until the machine has no memory left, never come back, or
//! end the process; no robot comes near them.
//!
//! Seen with MuJoCo 3.17: nested `replicate`, a large `flexcomp` or `hfield`, and two billion solver iterations do not come
//! back; `memory="16K"` compiles and ends the process in the first step with contacts (more is given, see
//! [`load`](super::load)); a position that is not a number is set back in silence. It refuses by itself: mutual includes, deep
//! nesting, builtin textures and custom numbers of impossible sizes, and an allocation that fails while it compiles.

use roxmltree::{Attribute, Node};

use super::error::ModelError;
use super::source::Text;

/// No number of a model is larger.
const LARGEST_NUMBER: f64 = 1e12;

/// Elements within elements; MuJoCo reads them recursively.
const DEEPEST: usize = 256;

/// Copies that `replicate`, `composite` and the like make of one thing, all together.
const MOST_COPIES: u64 = 20_000;

/// The largest memory for contacts and constraints, bytes.
pub(super) const MOST_MEMORY: f64 = 1e9;

/// Attributes that say how much of something there is, and how much there may be.
const COUNTS: [(&str, f64); 30] = [
    ("width", 4096.0),
    ("height", 8192.0),
    ("gridsize", 64.0),
    ("nrow", 2048.0),
    ("ncol", 2048.0),
    ("resolution", 4096.0),
    ("nsample", 10_000.0),
    ("maxhullvert", 100_000.0),
    ("octree_maxdepth", 8.0),
    ("params", 256.0),
    ("actdim", 1000.0),
    ("iterations", 10_000.0),
    ("ls_iterations", 10_000.0),
    ("noslip_iterations", 10_000.0),
    ("ccd_iterations", 10_000.0),
    ("mpr_iterations", 10_000.0),
    ("sdf_iterations", 1000.0),
    ("sdf_initpoints", 1000.0),
    ("njmax", 100_000.0),
    ("nconmax", 100_000.0),
    ("nstack", 1e8),
    ("nuserdata", 1e6),
    ("nkey", 10_000.0),
    ("nuser_body", 1000.0),
    ("nuser_jnt", 1000.0),
    ("nuser_geom", 1000.0),
    ("nuser_site", 1000.0),
    ("nuser_cam", 1000.0),
    ("nuser_tendon", 1000.0),
    ("nuser_actuator", 1000.0),
];

/// Attributes that hold words, so that a body may be called `nan`.
fn holds_words(name: &str) -> bool {
    const WORDS: [&str; 16] = [
        "name",
        "class",
        "childclass",
        "mesh",
        "material",
        "texture",
        "hfield",
        "joint",
        "tendon",
        "site",
        "body",
        "actuator",
        "target",
        "prefix",
        "model",
        "data",
    ];
    WORDS.contains(&name)
        || name.starts_with("file")
        || name.ends_with("dir")
        || name.starts_with("body")
        || name.starts_with("joint")
        || name.starts_with("geom")
        || name.ends_with("name")
}

/// Refuses a text whose elements are nested too deeply for any parser that calls itself.
pub(super) fn check_depth(text: &Text, bare: &str) -> Result<(), ModelError> {
    let bytes = bare.as_bytes();
    let mut depth = 0_usize;
    for (offset, window) in bytes.windows(2).enumerate() {
        match window {
            [b'<', b'/'] => depth = depth.saturating_sub(1),
            [b'<', b'!' | b'?'] => {}
            [b'<', _] => depth += 1,
            [b'/', b'>'] => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth > DEEPEST {
            return Err(text.error(
                offset,
                format!("elements are nested more than {DEEPEST} deep"),
            ));
        }
    }
    Ok(())
}

/// Refuses numbers that are not finite or ask for too much.
pub(super) fn check_element(text: &Text, node: Node<'_, '_>) -> Result<(), ModelError> {
    for attribute in node.attributes() {
        if holds_words(attribute.name()) {
            continue;
        }
        let wrong = |why: String| {
            let message = format!(
                "{}=\"{}\" {why}",
                attribute.name(),
                shortened(attribute.value())
            );
            Err(text.error(attribute.range().start, message))
        };
        for token in attribute.value().split_ascii_whitespace() {
            let Some(number) = number(token) else {
                continue;
            };
            if !number.is_finite() {
                return wrong("is not a finite number".into());
            }
            if number.abs() > LARGEST_NUMBER {
                return wrong(format!("is larger than {LARGEST_NUMBER:e}"));
            }
            if let Some(most) = most(node, &attribute) {
                if number > most {
                    return wrong(format!("asks for too much: at most {most} is allowed"));
                }
                // MuJoCo takes -1 for "as many as needed".
                if number < -1.0 {
                    return wrong("is below zero".into());
                }
            }
        }
        if attribute.name() == "memory" && bytes(attribute.value()).is_some_and(|n| n > MOST_MEMORY)
        {
            return wrong("asks for too much memory: at most 1 GB is allowed".into());
        }
    }
    Ok(())
}

/// How many copies of what is inside `node` there are, if there are `copies` of itself.
///
/// Errors: when they are too many.
pub(super) fn copies(text: &Text, node: Node<'_, '_>, copies: u64) -> Result<u64, ModelError> {
    let Some(count) = node.attribute("count") else {
        return Ok(copies);
    };
    let all = count
        .split_ascii_whitespace()
        .filter_map(number)
        .fold(copies as f64, |all, n| all * n.max(1.0));
    if all > MOST_COPIES as f64 {
        let message = format!(
            "count=\"{}\" makes {all:.0} copies, at most {MOST_COPIES} are allowed",
            shortened(count)
        );
        return Err(text.error(node.range().start, message));
    }
    Ok(all as u64)
}

fn most(node: Node<'_, '_>, attribute: &Attribute<'_, '_>) -> Option<f64> {
    let name = attribute.name();
    if name == "size" && node.tag_name().name() == "numeric" {
        return Some(10_000.0);
    }
    COUNTS
        .iter()
        .find(|(known, _)| *known == name || (name == "nuser_sensor" && *known == "nuser_body"))
        .map(|(_, most)| *most)
}

/// A number as C reads one, as far as Rust does; infinite where it is too large for a double.
fn number(token: &str) -> Option<f64> {
    let bare = token.trim_start_matches(['+', '-']);
    if bare
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("nan("))
    {
        return Some(f64::NAN);
    }
    token.parse().ok()
}

/// `10M` in bytes.
fn bytes(value: &str) -> Option<f64> {
    let value = value.trim();
    let (digits, unit) = match value.char_indices().last()? {
        (last, unit) if unit.is_ascii_alphabetic() => (&value[..last], unit.to_ascii_uppercase()),
        _ => (value, ' '),
    };
    let power = " KMGTPE".find(unit)?;
    Some(digits.trim().parse::<f64>().ok()? * 1024_f64.powi(power as i32))
}

/// The beginning of a long value.
fn shortened(value: &str) -> String {
    let mut short: String = value.chars().take(40).collect();
    if short.len() < value.len() {
        short.push_str("...");
    }
    short
}
