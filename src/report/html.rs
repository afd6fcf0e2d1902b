//! A page in one file: text, numbers, SVG plots and videos embedded as data.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use image::{ImageFormat, RgbImage};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fafafa;margin:0}\
main{max-width:1180px;margin:0 auto;padding:24px}h1{font-size:28px;margin:0 0 4px}h2{margin:36px 0 6px;font-size:20px;border-bottom:1px solid #ddd;padding-bottom:4px}\
p.lead{color:#555;margin:0 0 16px;font-size:17px}.row{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}\
figure{margin:0;background:#fff;border:1px solid #e3e3e3;border-radius:8px;padding:10px;box-sizing:border-box;max-width:100%}\
figure svg,figure video,figure img{max-width:100%;height:auto;display:block}figcaption{color:#555;font-size:13px;margin-top:6px;max-width:540px}\
table{border-collapse:collapse;background:#fff;margin:8px 0}td,th{border:1px solid #e3e3e3;padding:5px 12px;text-align:right}\
td:first-child,th:first-child{text-align:left}th{background:#f1f4f9}tr.best td{font-weight:600;background:#eef6ee}code{background:#eee;padding:1px 4px;border-radius:3px}\
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:12px 0}.card{background:#fff;border:1px solid #e3e3e3;border-radius:8px;padding:12px 18px;min-width:130px}\
.card b{display:block;font-size:26px}.card span{color:#666;font-size:13px}";

/// A page under construction.
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// An empty page with a headline and a sentence below it.
    pub fn new(title: &str, lead: &str) -> Self {
        Self {
            title: title.into(),
            body: format!(
                "<h1>{}</h1><p class=lead>{}</p>",
                escape(title),
                escape(lead)
            ),
        }
    }

    /// A section headline.
    pub fn section(&mut self, title: &str) {
        let _ = write!(self.body, "<h2>{}</h2>", escape(title));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        let _ = write!(self.body, "<p>{}</p>", escape(text));
    }

    /// The numbers that matter, large: `(value, what it is)`.
    pub fn cards(&mut self, cards: &[(String, String)]) {
        self.body.push_str("<div class=cards>");
        for (value, what) in cards {
            let _ = write!(
                self.body,
                "<div class=card><b>{}</b><span>{}</span></div>",
                escape(value),
                escape(what)
            );
        }
        self.body.push_str("</div>");
    }

    /// A table; the rows whose index is in `best` are set off.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>], best: &[usize]) {
        self.body.push_str("<table><tr>");
        for cell in head {
            let _ = write!(self.body, "<th>{}</th>", escape(cell));
        }
        self.body.push_str("</tr>");
        for (i, row) in rows.iter().enumerate() {
            self.body.push_str(if best.contains(&i) {
                "<tr class=best>"
            } else {
                "<tr>"
            });
            for cell in row {
                let _ = write!(self.body, "<td>{}</td>", escape(cell));
            }
            self.body.push_str("</tr>");
        }
        self.body.push_str("</table>");
    }

    /// Opens a row of figures.
    pub fn row(&mut self, figures: &[Figure]) {
        self.body.push_str("<div class=row>");
        for figure in figures {
            let _ = write!(
                self.body,
                "<figure>{}<figcaption>{}</figcaption></figure>",
                figure.content,
                escape(&figure.caption)
            );
        }
        self.body.push_str("</div>");
    }

    /// The whole document.
    pub fn render(&self) -> String {
        format!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>{}</title>\
             <style>{STYLE}</style><main>{}</main></html>\n",
            escape(&self.title),
            self.body
        )
    }
}

/// A picture with a caption.
pub struct Figure {
    content: String,
    caption: String,
}

impl Figure {
    /// From SVG text.
    pub fn svg(svg: &str, caption: &str) -> Self {
        // The XML declaration is not allowed inside HTML.
        let start = svg.find("<svg").unwrap_or(0);
        Self {
            content: svg[start..].to_owned(),
            caption: caption.into(),
        }
    }

    /// A picture, embedded as PNG, `scale` times as large.
    pub fn picture(picture: &RgbImage, scale: u32, caption: &str) -> anyhow::Result<Self> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png)?;
        let data = base64::engine::general_purpose::STANDARD.encode(bytes.into_inner());
        Ok(Self {
            content: format!(
                "<img width={} src='data:image/png;base64,{data}'>",
                scale * picture.width()
            ),
            caption: caption.into(),
        })
    }

    /// From an mp4 file, embedded and looping.
    pub fn video(path: &Path, width: u32, caption: &str) -> anyhow::Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        Ok(Self {
            content: format!(
                "<video width={width} autoplay loop muted playsinline controls src='data:video/mp4;base64,{data}'></video>"
            ),
            caption: caption.into(),
        })
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
