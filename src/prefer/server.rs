//! The page in the browser and what it asks for: a small HTTP server for one person, on this machine unless told otherwise.
//!
//! Whoever has the address with its token may answer, nobody else: every request but the one for the empty page carries the token in a header
//! of its own, which no page of another origin can set; names that are not this machine's are refused, so that no other page can
//! become the same origin by moving its name here (DNS rebinding).

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tiny_http::{Header, Method, Request, Response, Server};

use super::Shared;
use super::film::Films;
use super::questions::{Answer, Question};
use super::reply::{State, expectation};
use crate::cli::Usage;
use crate::interrupt;

const PAGE: &str = include_str!("page.html");
/// Answers are small.
const LONGEST_BODY: u64 = 16 << 10;
const THREADS: usize = 4;
const POLL: Duration = Duration::from_millis(150);

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Place {
    /// Address; the loopback one is reached from this machine only.
    pub bind: IpAddr,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Name by which other machines know this one.
    pub host: Option<String>,
}

/// A server that listens and does not answer yet.
pub struct Listening {
    server: Server,
    address: SocketAddr,
    token: String,
    /// Names that the `Host` header may have, beside addresses.
    names: Vec<String>,
}

impl Listening {
    /// Takes the port. Says what to do when another program has it.
    pub fn open(place: &Place, token: String) -> anyhow::Result<Self> {
        let wanted = SocketAddr::new(place.bind, place.port);
        let listener = TcpListener::bind(wanted).map_err(|e| match e.kind() {
            std::io::ErrorKind::AddrInUse => anyhow::Error::from(Usage(format!(
                "port {} is in use, perhaps by another `rapport prefer`; end that one, or give another port with --port (0 takes a free one)",
                place.port
            ))),
            _ => anyhow::Error::from(e).context(format!("cannot listen on {wanted}")),
        })?;
        let address = listener.local_addr()?;
        let server = Server::from_listener(listener, None)
            .map_err(|e| anyhow::anyhow!("cannot listen on {address}: {e}"))?;
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let known_as = place.host.clone().unwrap_or(machine).trim().to_lowercase();
        let mut names = vec!["localhost".to_owned()];
        if !known_as.is_empty() {
            names.extend([known_as.clone(), format!("{known_as}.local")]);
        }
        Ok(Self {
            server,
            address,
            token,
            names,
        })
    }

    /// The address to open, with the token.
    pub fn url(&self) -> String {
        let host = match (self.address.ip(), self.names.get(1)) {
            (ip, Some(name)) if ip.is_unspecified() => name.clone(),
            (IpAddr::V6(ip), _) => format!("[{ip}]"),
            (ip, _) => ip.to_string(),
        };
        format!("http://{host}:{}/#{}", self.address.port(), self.token)
    }

    /// True when other machines can reach it.
    pub fn is_open(&self) -> bool {
        !self.address.ip().is_loopback()
    }

    /// Answers until the person is finished or asks the program to stop.
    pub fn serve(self, shared: &Shared, films: &Films) {
        let handler = Handler {
            listening: &self,
            shared,
            films,
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| handler.run());
            }
        });
    }
}

struct Handler<'a> {
    listening: &'a Listening,
    shared: &'a Shared,
    films: &'a Films,
}

/// What comes back: a status, a kind of content, the content.
struct Reply {
    status: u16,
    kind: &'static str,
    body: Body,
}

enum Body {
    Bytes(Vec<u8>),
    Film(Arc<[u8]>),
}

fn refuse(status: u16, sentence: impl Into<String>) -> Reply {
    Reply {
        status,
        kind: "text/plain; charset=utf-8",
        body: Body::Bytes(sentence.into().into_bytes()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tab {
    tab: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantsNext {
    tab: String,
    wanted: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    tab: String,
    question: String,
    answer: Said,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Order(Vec<usize>),
    Word(Word),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Equal,
    Skip,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Undo {
    tab: String,
    last: Option<usize>,
}

impl Handler<'_> {
    fn run(&self) {
        while !self.shared.is_stopping() && !interrupt::requested() {
            let Ok(Some(mut request)) = self.listening.server.recv_timeout(POLL) else {
                continue;
            };
            let nonce = new_token();
            let reply = self.reply(&mut request, &nonce);
            send(request, reply, &nonce);
        }
        self.shared.stop();
    }

    fn reply(&self, request: &mut Request, nonce: &str) -> Reply {
        if let Some(refusal) = self.check(request) {
            return refusal;
        }
        let path = request
            .url()
            .split('?')
            .next()
            .unwrap_or_default()
            .to_owned();
        match (request.method(), path.as_str()) {
            (Method::Get | Method::Head, "/") => Reply {
                status: 200,
                kind: "text/html; charset=utf-8",
                body: Body::Bytes(PAGE.replace("NONCE", nonce).into_bytes()),
            },
            (Method::Get, path) if path.starts_with("/clip/") => self.film(&path["/clip/".len()..]),
            (Method::Post, path) if path.starts_with("/api/") => {
                let mut body = Vec::new();
                match request
                    .as_reader()
                    .take(LONGEST_BODY)
                    .read_to_end(&mut body)
                {
                    Ok(_) => self.call(path, &body),
                    Err(e) => refuse(400, format!("the request broke off: {e}")),
                }
            }
            _ => refuse(404, "there is nothing here"),
        }
    }

    /// Refuses what does not come from the page.
    fn check(&self, request: &Request) -> Option<Reply> {
        let header = |name: &'static str| {
            let mut found = request.headers().iter().filter(|h| h.field.equiv(name));
            found.next().map(|h| h.value.as_str().to_owned())
        };
        let host = header("Host").unwrap_or_default();
        if !is_own_name(&host, &self.listening.names) {
            return Some(refuse(
                421,
                format!(
                    "this program does not answer to the name `{host}`; use the address that the terminal prints, or give the name with --host"
                ),
            ));
        }
        if header("Origin").is_some_and(|origin| origin != format!("http://{host}")) {
            return Some(refuse(403, "requests of other pages are refused"));
        }
        if matches!(request.method(), Method::Get | Method::Head) && request.url() == "/" {
            return None;
        }
        let token = header("X-Rapport-Token").unwrap_or_default();
        (!is_same(&token, &self.listening.token)).then(|| {
            refuse(
                403,
                "the token is missing or wrong; open the address that the terminal prints",
            )
        })
    }

    fn film(&self, name: &str) -> Reply {
        let clip = name.parse::<usize>().ok();
        let clip = clip.and_then(|i| self.shared.lock().clips().get(i).cloned());
        let Some(clip) = clip else {
            return refuse(404, format!("there is no clip {name}"));
        };
        match self.films.film(&clip) {
            Ok(film) => Reply {
                status: 200,
                kind: "application/octet-stream",
                body: Body::Film(film),
            },
            Err(error) => refuse(500, format!("{error:#}")),
        }
    }

    fn call(&self, path: &str, body: &[u8]) -> Reply {
        let done = match path {
            "/api/next" => read(body).map(|asked: WantsNext| {
                let wanted = asked.wanted.and_then(|w| w.parse::<Question>().ok());
                json(&self.state(&asked.tab, wanted.as_ref()))
            }),
            "/api/answer" => read(body).and_then(|said: Answered| self.answer(&said)),
            "/api/undo" => read(body).and_then(|asked: Undo| self.undo(&asked)),
            "/api/release" => read(body).map(|leaving: Tab| {
                self.shared.lock().release(&leaving.tab);
                json(&serde_json::json!({}))
            }),
            "/api/finish" => {
                self.shared.stop();
                Ok(json(&serde_json::json!({})))
            }
            _ => Err(refuse(404, "there is nothing here")),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    fn state(&self, tab: &str, wanted: Option<&Question>) -> State {
        State::of(&mut self.shared.lock(), tab, wanted, self.films.pace().fps)
    }

    fn undo(&self, asked: &Undo) -> Result<Reply, Reply> {
        let mut questions = self.shared.lock();
        let undone = questions
            .undo(&asked.tab, asked.last)
            .map_err(|e| refuse(500, format!("Not taken back: {e:#}.")))?;
        let state = State::of(&mut questions, &asked.tab, None, self.films.pace().fps);
        Ok(json(&state.after_undo(undone)))
    }

    fn answer(&self, said: &Answered) -> Result<Reply, Reply> {
        let question: Question = said
            .question
            .parse()
            .map_err(|e| refuse(400, format!("{e:#}")))?;
        let answer = match &said.answer {
            Said::Order(order) => Answer::Order(order.clone()),
            Said::Word(Word::Equal) => Answer::Equal,
            Said::Word(Word::Skip) => Answer::Skip,
        };
        let mut questions = self.shared.lock();
        questions
            .check(&question, &answer)
            .map_err(|e| refuse(400, format!("{e:#}")))?;
        // What the model had expected: before it has seen the answer.
        let belief = questions.belief().cloned();
        let expected = belief.and_then(|b| expectation(&b, &question, &answer));
        let outcome = questions
            .answer(&said.tab, &question, &answer)
            .map_err(|e| refuse(500, format!("Not saved: {e:#}.")))?;
        let state = State::of(&mut questions, &said.tab, None, self.films.pace().fps);
        Ok(json(&state.after(outcome, expected)))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Reply {
    match serde_json::to_vec(value) {
        Ok(json) => Reply {
            status: 200,
            kind: "application/json",
            body: Body::Bytes(json),
        },
        Err(e) => refuse(500, e.to_string()),
    }
}

fn read<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body)
        .map_err(|e| refuse(400, format!("the request is not understood: {e}")))
}

fn send(request: Request, reply: Reply, nonce: &str) {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        ("Content-Type", reply.kind),
        ("Content-Security-Policy", policy.as_str()),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    ];
    let bytes = match reply.body {
        Body::Bytes(bytes) => bytes,
        Body::Film(film) => film.to_vec(),
    };
    let mut response = Response::from_data(bytes).with_status_code(reply.status);
    for (name, value) in headers {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    // Whoever asked may be gone.
    let _ = request.respond(response);
}

/// Whether a `Host` header names this machine: an address, which no other page can have as its name, or one of `names`.
fn is_own_name(host: &str, names: &[String]) -> bool {
    let host = host.trim().to_lowercase();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host
            .rsplit_once(':')
            .map_or(host.as_str(), |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || names.iter().any(|n| n == name)
}

/// Compares in a time that does not tell where they differ.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |off, (x, y)| off | (x ^ y))
            == 0
}

/// 128 random bits from the operating system.
pub fn new_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The token of this person on this machine: the same the next time, so that a page that is still open goes on after the program was
/// ended and started again. Where it cannot be kept it is a new one each time.
pub fn kept_token() -> String {
    let path = rapport::perception::weights::data_dir().join("prefer-token");
    if let Ok(token) = std::fs::read_to_string(&path)
        && token.len() == 32
        && token.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return token;
    }
    let token = new_token();
    if let Err(error) = keep(&path, &token) {
        tracing::debug!("{} cannot be kept: {error:#}", path.display());
    }
    token
}

fn keep(path: &std::path::Path, token: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().context("it has no folder")?;
    std::fs::create_dir_all(folder)?;
    // Files made this way are their owner's alone.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(token.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_own_names_are_answered() {
        let names = ["localhost".to_owned(), "lab.local".into()];
        for own in [
            "127.0.0.1:7878",
            "localhost:9000",
            "LOCALHOST",
            "[::1]:7878",
            "192.168.0.7:1",
            "lab.local:80",
        ] {
            assert!(is_own_name(own, &names), "{own}");
        }
        for other in [
            "",
            "evil.example:7878",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
            "lab.local.evil:1",
            "[evil]:1",
        ] {
            assert!(!is_own_name(other, &names), "{other}");
        }
    }

    #[test]
    fn tokens_are_long_and_never_alike() {
        let (a, b) = (new_token(), new_token());
        assert!(a.len() == 32 && a != b);
        assert!(is_same(&a, &a.clone()) && !is_same(&a, &b) && !is_same(&a, ""));
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        assert_eq!(PAGE.matches("NONCE").count(), 2);
        for outside in ["http://", "https://", "src=\"/", "@import", "url("] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place {
            bind: IpAddr::from([127, 0, 0, 1]),
            port: first.local_addr().unwrap().port(),
            host: None,
        };
        let message = Listening::open(&place, new_token())
            .err()
            .unwrap()
            .to_string();
        assert!(
            message.contains(&place.port.to_string()) && message.contains("--port"),
            "{message}"
        );
    }
}
