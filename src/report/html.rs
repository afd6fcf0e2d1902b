//! A page in one file: text, numbers, SVG plots and videos embedded as data.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use image::{ImageFormat, RgbImage};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#222;--soft:#5b616b;--ground:#fafafa;--sheet:#fff;--line:#e3e3e3;--head:#f1f4f9;--best:#eef6ee;--code:#eee;\
--good:#2e7d46;--doubtful:#b7791f;--bad:#b9352d;--quiet:#7b818a}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#a3a9b3;--ground:#16181c;--sheet:#1f2227;--line:#343941;--head:#282d35;--best:#22332a;--code:#2c3138;\
--good:#58b877;--doubtful:#e0a94f;--bad:#ee776d;--quiet:#8b919b}figure svg{filter:invert(.88) hue-rotate(180deg)}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);margin:0}\
main{max-width:1180px;margin:0 auto;padding:24px}h1{font-size:28px;margin:0 0 4px}h2{margin:36px 0 6px;font-size:20px;border-bottom:1px solid var(--line);padding-bottom:4px}\
p.lead{color:var(--soft);margin:0 0 16px;font-size:17px}p{max-width:860px}.row{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}\
figure{margin:0;background:var(--sheet);border:1px solid var(--line);border-radius:8px;padding:10px;box-sizing:border-box;max-width:100%}\
figure svg,figure video,figure img{max-width:100%;height:auto;display:block}figcaption{color:var(--soft);font-size:13px;margin-top:6px;max-width:520px}\
table{border-collapse:collapse;background:var(--sheet);margin:8px 0}td,th{border:1px solid var(--line);padding:5px 12px;text-align:right;font-variant-numeric:tabular-nums}\
td:first-child,th:first-child{text-align:left}th{background:var(--head)}tr.best td{font-weight:600;background:var(--best)}code{background:var(--code);padding:1px 4px;border-radius:3px}\
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:12px 0}.card{background:var(--sheet);border:1px solid var(--line);border-radius:8px;padding:12px 18px;min-width:130px}\
.card b{display:block;font-size:26px}.card span{color:var(--soft);font-size:13px}\
.verdict{display:flex;gap:18px;align-items:center;background:var(--sheet);border:1px solid var(--line);border-left:6px solid var(--tone);border-radius:8px;padding:16px 20px;margin:16px 0}\
.verdict b{color:var(--tone);font-size:24px;white-space:nowrap}.verdict p{margin:0;font-size:16px}\
.checks{background:var(--sheet);border:1px solid var(--line);border-radius:8px;overflow:hidden;margin:12px 0}\
.check{display:grid;grid-template-columns:112px 1fr 150px;gap:4px 16px;padding:10px 16px;border-top:1px solid var(--line);align-items:start}.check:first-child{border-top:0}\
.check .mark{justify-self:start;color:#fff;background:var(--tone);border-radius:999px;padding:1px 11px;font-size:13px;font-weight:600;white-space:nowrap}\
@media(prefers-color-scheme:dark){.check .mark{color:#16181c}}\
.check b{display:block;font-weight:600}.check p{margin:0;color:var(--soft)}.check.quiet b,.check.quiet p{color:var(--quiet)}\
.check .number{text-align:right;font-variant-numeric:tabular-nums;font-weight:600}.check .number small{display:block;color:var(--soft);font-weight:400}\
@media(max-width:640px){.check{grid-template-columns:1fr}.check .number{text-align:left}}\
.good{--tone:var(--good)}.doubtful{--tone:var(--doubtful)}.bad{--tone:var(--bad)}.cannot-tell{--tone:var(--quiet)}\
details{margin:8px 0}summary{cursor:pointer;color:var(--soft)}";

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

    /// The answer to the page's question: how it stands (`good`, `doubtful`, `bad`, `cannot-tell`), in a word, and why.
    pub fn verdict(&mut self, tone: Tone, word: &str, why: &str) {
        let _ = write!(
            self.body,
            "<div class='verdict {}'><b>{}</b><p>{}</p></div>",
            tone.class(),
            escape(word),
            escape(why)
        );
    }

    /// Questions with their answers, one below the other.
    pub fn answers(&mut self, answers: &[Answer]) {
        self.body.push_str("<div class=checks>");
        for answer in answers {
            let quiet = if answer.tone == Tone::CannotTell {
                " quiet"
            } else {
                ""
            };
            let _ = write!(
                self.body,
                "<div class='check {}{quiet}'><span class=mark>{}</span><div><b>{}</b><p>{}</p></div><div class=number>{}<small>{}</small></div></div>",
                answer.tone.class(),
                escape(&answer.word),
                escape(&answer.question),
                escape(&answer.sentence),
                escape(&answer.number),
                escape(&answer.interval),
            );
        }
        self.body.push_str("</div>");
    }

    /// A table that opens when asked for.
    pub fn folded_table(&mut self, title: &str, head: &[&str], rows: &[Vec<String>]) {
        let _ = write!(self.body, "<details><summary>{}</summary>", escape(title));
        self.table(head, rows, &[]);
        self.body.push_str("</details>");
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

/// How an answer is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Green.
    Good,
    /// Amber.
    Doubtful,
    /// Red.
    Bad,
    /// Grey.
    CannotTell,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Doubtful => "doubtful",
            Self::Bad => "bad",
            Self::CannotTell => "cannot-tell",
        }
    }
}

/// A question and its answer.
pub struct Answer {
    /// How it is coloured.
    pub tone: Tone,
    /// The answer in a word.
    pub word: String,
    /// The question.
    pub question: String,
    /// The answer in a sentence.
    pub sentence: String,
    /// The number that decided, or nothing.
    pub number: String,
    /// How sure it is, or nothing.
    pub interval: String,
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
