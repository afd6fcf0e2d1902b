use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one model, `me/tiny`, of one file; it stops in the middle of its first answer.
struct FakeHub {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeHub {
    fn start(content: &'static [u8], etag: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&mut stream.unwrap(), content, &etag, &log);
            }
        });
        Self { endpoint, asked }
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub {
            cache: cache.to_owned(),
            endpoint: self.endpoint.clone(),
            offline: false,
        }
    }
}

fn answer(stream: &mut TcpStream, content: &[u8], etag: &str, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut start) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
            break;
        }
        let line = line.to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.trim().trim_end_matches('-').parse().unwrap();
        }
    }
    let gets = {
        let mut log = log.lock().unwrap();
        log.push(format!("{} from {start}", first.trim()));
        log.iter().filter(|line| line.starts_with("GET")).count()
    };
    let size = content.len();
    let known = first.contains("/me/tiny/resolve/main/model.safetensors");
    let (head, body): (String, &[u8]) = if !known {
        (
            "HTTP/1.1 404 Not Found\r\nX-Error-Code: EntryNotFound\r\nContent-Length: 0\r\n".into(),
            &[],
        )
    } else if first.starts_with("HEAD") {
        (
            format!(
                "HTTP/1.1 200 OK\r\nETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: {size}\r\n"
            ),
            &[],
        )
    } else if start > 0 {
        let rest = &content[start..];
        (
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n",
                rest.len()
            ),
            rest,
        )
    } else {
        // The connection breaks half way, the first time.
        let body = if gets == 1 {
            &content[..size / 2]
        } else {
            content
        };
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n"),
            body,
        )
    };
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(body);
}

fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

#[test]
fn a_file_arrives_after_an_interruption_and_is_then_found_without_asking() {
    let content: &[u8] = b"sixteen bytes!!!";
    let fake = FakeHub::start(content, sha256(content));
    let dir = tempfile::tempdir().unwrap();
    let hub = fake.hub(dir.path());
    assert!(
        hub.file("me/tiny", "model.safetensors").is_err(),
        "the connection broke"
    );
    let path = hub.file("me/tiny", "model.safetensors").unwrap().unwrap();
    let mut found = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut found).unwrap();
    assert_eq!(found, content);
    let asked = fake.asked.lock().unwrap().len();
    assert!(
        fake.asked
            .lock()
            .unwrap()
            .last()
            .unwrap()
            .ends_with("from 8"),
        "it went on where it stopped"
    );
    assert_eq!(
        hub.file("me/tiny", "model.safetensors").unwrap().unwrap(),
        path
    );
    assert_eq!(fake.asked.lock().unwrap().len(), asked);
    // Where Python's own software looks.
    let expected = dir
        .path()
        .join("models--me--tiny/snapshots")
        .join(COMMIT)
        .join("model.safetensors");
    assert_eq!(path, expected);
    assert!(
        !dir.path()
            .join("models--me--tiny/blobs")
            .join(sha256(content))
            .with_extension("incomplete")
            .exists()
    );
}

#[test]
fn a_file_that_the_model_has_not_is_no_error() {
    let fake = FakeHub::start(b"x", sha256(b"x"));
    let dir = tempfile::tempdir().unwrap();
    assert!(
        fake.hub(dir.path())
            .file("me/tiny", "tokenizer.json")
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_file_that_is_not_what_was_announced_is_refused_and_forgotten() {
    let fake = FakeHub::start(b"sixteen bytes!!!", sha256(b"others"));
    let dir = tempfile::tempdir().unwrap();
    let hub = fake.hub(dir.path());
    assert!(hub.file("me/tiny", "model.safetensors").is_err());
    let message = hub
        .file("me/tiny", "model.safetensors")
        .unwrap_err()
        .to_string();
    assert!(message.contains("SHA-256"), "{message}");
    let blobs = dir.path().join("models--me--tiny/blobs");
    assert_eq!(fs::read_dir(blobs).unwrap().count(), 0);
}

#[test]
fn without_a_connection_the_error_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub {
        cache: dir.path().to_owned(),
        endpoint: "http://127.0.0.1:1".into(),
        offline: false,
    };
    for offline in [false, true] {
        hub.offline = offline;
        let message = hub
            .file("me/tiny", "model.safetensors")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("hf download me/tiny") && message.contains("dir:PATH"),
            "{message}"
        );
    }
}

#[test]
fn the_cache_is_where_hugging_faces_own_variables_say() {
    let with = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, OsString)> = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).into()))
            .collect();
        Hub::from_environment(|name| {
            pairs
                .iter()
                .find(|(k, _)| k == name)
                .map(|(_, v)| v.clone())
        })
    };
    assert_eq!(with(&[("HF_HOME", "/h")]).cache, Path::new("/h/hub"));
    assert_eq!(
        with(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]).cache,
        Path::new("/c")
    );
    assert_eq!(
        with(&[("XDG_CACHE_HOME", "/x")]).cache,
        Path::new("/x/huggingface/hub")
    );
    let hub = with(&[("HF_ENDPOINT", "https://mirror.example/")]);
    assert_eq!(
        (hub.endpoint.as_str(), hub.offline),
        ("https://mirror.example", false)
    );
    assert!(with(&[("HF_HUB_OFFLINE", "1")]).offline);
}
