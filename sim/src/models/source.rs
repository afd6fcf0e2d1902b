//! Reading a model's files before MuJoCo does: what it is made of, and whether MuJoCo can be trusted with it. MuJoCo reports
//! most mistakes, but it allocates what a file asks for, follows what a file points at, and ends the process when memory
//! runs out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node, ParsingOptions};

use super::error::{ModelError, line_of};
use super::limits;

/// The largest XML file that is read.
const LARGEST_XML: u64 = 16 << 20;

/// The largest mesh, texture or height field that is read.
pub(super) const LARGEST_ASSET: u64 = 256 << 20;

/// Files of one model.
const MOST_FILES: usize = 2000;

/// Includes within includes.
const DEEPEST_INCLUDE: usize = 16;

/// An XML file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// All files that decide what a model is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// The XML files, the main one first.
    pub(super) texts: Vec<Text>,
    /// Meshes, textures and the like, in order.
    pub(super) assets: BTreeSet<PathBuf>,
}

impl Text {
    /// Reads a file.
    ///
    /// Errors: when it is not a file, too large, or not UTF-8.
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        check_file(path, LARGEST_XML).map_err(|why| ModelError::new(path, why))?;
        let bytes = fs::read(path)
            .map_err(|error| ModelError::new(path, format!("cannot be read: {error}")))?;
        Self::new(path, bytes)
    }

    fn new(path: &Path, bytes: Vec<u8>) -> Result<Self, ModelError> {
        let text = String::from_utf8(bytes).map_err(|error| {
            let end = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..end]
                .iter()
                .filter(|&&b| b == b'\n')
                .count();
            ModelError::at(path, line, "is not UTF-8 text: save it as UTF-8")
        })?;
        let path = path.to_path_buf();
        Ok(Self { path, text })
    }

    /// An error at a byte of this text.
    pub(super) fn error(&self, offset: usize, message: impl Into<String>) -> ModelError {
        ModelError::at(&self.path, line_of(&self.text, offset), message)
    }

    /// The text without comments, every other byte where it was: comments with `--` in them are common and no reason to
    /// refuse a file.
    pub(super) fn without_comments(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(start) = rest.find("<!--") {
            let end = rest[start + 4..].find("-->").map(|end| start + 4 + end + 3);
            let Some(end) = end else {
                break;
            };
            out.push_str(&rest[..start]);
            out.extend(
                rest[start..end]
                    .bytes()
                    .map(|b| if b == b'\n' { '\n' } else { ' ' }),
            );
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }

    /// Parses `bare`, which is [`without_comments`](Self::without_comments).
    ///
    /// Errors: what is wrong with the XML, and where.
    pub(super) fn parse<'a>(&self, bare: &'a str) -> Result<Document<'a>, ModelError> {
        if let Some(offset) = bare.find('\0') {
            return Err(self.error(offset, "has a zero byte in it: it is not a text file"));
        }
        limits::check_depth(self, bare)?;
        let options = ParsingOptions {
            allow_dtd: false,
            nodes_limit: 2_000_000,
            ..ParsingOptions::default()
        };
        Document::parse_with_options(bare, options).map_err(|error| {
            let line = error.pos().row as usize;
            let message = error.to_string();
            // The position is said already.
            let message = message.split(" at ").next().unwrap_or(&message).to_string();
            ModelError::at(
                &self.path,
                line,
                format!("is not well-formed XML: {message}"),
            )
        })
    }
}

/// Reads everything that an MJCF file needs and checks that MuJoCo can be given it.
///
/// Errors: a file that is missing, not well-formed, or includes itself; a number that is not finite or asks for more than a
/// robot can need.
pub(super) fn mjcf(path: &Path) -> Result<Sources, ModelError> {
    let mut walk = Walk {
        folder: folder(path),
        sources: Sources::default(),
        asset_folders: vec![PathBuf::new()],
        wanted: Vec::new(),
    };
    walk.file(path, &mut Vec::new(), 1)?;
    walk.find_assets()?;
    Ok(walk.sources)
}

/// The folder that relative names in the file at `path` start from.
pub(super) fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// What is known while the files of a model are read.
struct Walk {
    /// Folder of the main file.
    folder: PathBuf,
    sources: Sources,
    /// What `meshdir` and the like say, and nothing.
    asset_folders: Vec<PathBuf>,
    /// Named assets: number of the text, offset, name.
    wanted: Vec<(usize, usize, String)>,
}

impl Walk {
    fn file(
        &mut self,
        path: &Path,
        open: &mut Vec<PathBuf>,
        copies: u64,
    ) -> Result<(), ModelError> {
        let text = Text::read(path)?;
        let bare = text.without_comments();
        let document = text.parse(&bare)?;
        let root = document.root_element();
        let expected = if open.is_empty() {
            "mujoco"
        } else {
            "mujocoinclude"
        };
        if !matches!(root.tag_name().name(), "mujoco" | "mujocoinclude") {
            let found = root.tag_name().name();
            let message = format!("the outermost element is <{found}>, not <{expected}>");
            return Err(text.error(root.range().start, message));
        }
        let canonical = path.canonicalize().unwrap_or_else(|_| path.into());
        open.push(canonical);
        let index = self.sources.texts.len();
        self.sources.texts.push(text.clone());
        if index >= MOST_FILES {
            return Err(ModelError::new(path, "the model includes too many files"));
        }
        // Depth first with a stack of our own: the nesting is the file's to choose.
        let mut stack: Vec<(Node<'_, '_>, u64)> = vec![(root, copies)];
        while let Some((node, copies)) = stack.pop() {
            limits::check_element(&text, node)?;
            let copies = limits::copies(&text, node, copies)?;
            self.compiler(node);
            let include = node.tag_name().name() == "include" || is_model_asset(node);
            match file_attribute(node) {
                Some((offset, name)) if include => {
                    let found = self.find_include(path, name).ok_or_else(|| {
                        text.error(offset, format!("includes \"{name}\", which does not exist"))
                    })?;
                    check_file(&found, LARGEST_XML)
                        .map_err(|why| text.error(offset, format!("{} {why}", found.display())))?;
                    let same = found.canonicalize().unwrap_or_else(|_| found.clone());
                    if open.contains(&same) || open.len() >= DEEPEST_INCLUDE {
                        let message =
                            format!("includes \"{name}\", which includes this file again");
                        return Err(text.error(offset, message));
                    }
                    self.file(&found, open, copies)?;
                }
                Some((offset, name)) => self.wanted.push((index, offset, name.to_string())),
                None => {}
            }
            stack.extend(
                node.children()
                    .filter(Node::is_element)
                    .map(|child| (child, copies)),
            );
        }
        open.pop();
        Ok(())
    }

    fn compiler(&mut self, node: Node<'_, '_>) {
        if node.tag_name().name() == "compiler" {
            for name in ["meshdir", "texturedir", "assetdir"] {
                if let Some(folder) = node.attribute(name) {
                    self.asset_folders.push(folder.into());
                }
            }
        }
    }

    /// MuJoCo looks from the folder of the main file; some write it as seen from the including file.
    fn find_include(&self, from: &Path, name: &str) -> Option<PathBuf> {
        [self.folder.join(name), folder(from).join(name)]
            .into_iter()
            .find(|path| path.exists())
    }

    /// Where each asset is. More than one place may have a file of the name; all of them belong to the model then.
    fn find_assets(&mut self) -> Result<(), ModelError> {
        for (index, offset, name) in &self.wanted {
            let text = &self.sources.texts[*index];
            let base = Path::new(name)
                .file_name()
                .map_or_else(PathBuf::new, PathBuf::from);
            let mut found = false;
            for start in [&self.folder, &folder(&text.path)] {
                for within in &self.asset_folders {
                    for name in [Path::new(name), &base] {
                        let path = start.join(within).join(name);
                        if name.as_os_str().is_empty() || !path.exists() {
                            continue;
                        }
                        check_file(&path, LARGEST_ASSET).map_err(|why| {
                            text.error(*offset, format!("{}: {why}", path.display()))
                        })?;
                        self.sources.assets.insert(path);
                        found = true;
                    }
                }
            }
            if !found {
                return Err(text.error(*offset, format!("the file \"{name}\" does not exist")));
            }
            if self.sources.assets.len() > MOST_FILES {
                return Err(text.error(*offset, "the model has too many files"));
            }
        }
        Ok(())
    }
}

/// `<asset><model file="..."/></asset>`: another model, read as one.
fn is_model_asset(node: Node<'_, '_>) -> bool {
    node.tag_name().name() == "model"
        && node
            .parent()
            .is_some_and(|p| p.tag_name().name() == "asset")
}

/// The file that an element names, and where: its first one; a cube texture's sides are the only ones with several.
fn file_attribute<'a>(node: Node<'a, '_>) -> Option<(usize, &'a str)> {
    let mut files = node
        .attributes()
        .filter(|attribute| attribute.name().starts_with("file"));
    files
        .find(|attribute| !attribute.value().is_empty())
        .map(|attribute| (attribute.range().start, attribute.value()))
}

/// Whether there is a readable file of a sensible size.
pub(super) fn check_file(path: &Path, largest: u64) -> Result<(), String> {
    let about = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !about.is_file() {
        return Err("is not a file".into());
    }
    if about.len() > largest {
        return Err(format!(
            "has {} MB, more than the {} MB that are read",
            about.len() >> 20,
            largest >> 20
        ));
    }
    Ok(())
}
