//! `rapport prefer` as a program: what was acknowledged survives a kill at any moment, nobody else may answer, and it says what is wrong.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rapport::reward::PreferenceStore;
use serde_json::{Value, json};

fn record(dir: &Path, episodes: &str) {
    let output = Command::new(assert_cmd::cargo::cargo_bin("rapport"))
        .args([
            "record",
            "--robot",
            "sim:so101",
            "--teleop",
            "script:play",
            "--length",
            "4",
            "--quiet",
        ])
        .args([
            "--camera",
            "front=48x48",
            "--episodes",
            episodes,
            "--dataset",
        ])
        .arg(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

struct Page {
    child: Child,
    /// Kept open: what the program says must have somewhere to go.
    _said: BufReader<ChildStderr>,
    base: String,
    token: String,
}

impl Page {
    /// Starts the command and reads the address that it prints. The folder keeps its token, and holds no weights: no model.
    fn start(folder: &Path, words: &[&str]) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("rapport"))
            .args(["prefer", "--json", "--dataset"])
            .arg(folder.join("play"))
            .arg("--out")
            .arg(folder.join("prefs.jsonl"))
            .args(["--port", "0"])
            .args(words)
            .env("RAPPORT_HOME", folder.join("home"))
            .env("RAPPORT_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        said.read_line(&mut url).unwrap();
        let (base, token) = url
            .trim()
            .split_once("/#")
            .unwrap_or_else(|| panic!("said: {url}"));
        Self {
            base: base.into(),
            token: token.into(),
            _said: said,
            child,
        }
    }

    fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let answer = ureq::post(format!("{}{path}", self.base))
            .header("X-Rapport-Token", &self.token)
            .header("Content-Type", "application/json")
            .send(serde_json::to_vec(body).unwrap());
        serde_json::from_str(&answer.ok()?.body_mut().read_to_string().ok()?).ok()
    }

    fn end(mut self) -> Value {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        self.summary()
    }

    fn summary(&mut self) -> Value {
        let mut text = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        serde_json::from_str(&text).unwrap()
    }
}

fn folder(episodes: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    record(&folder.path().join("play"), episodes);
    let prefs = folder.path().join("prefs.jsonl");
    (folder, prefs)
}

/// Clips of an answer, in the order of preference.
fn episodes(state: &Value) -> Vec<u64> {
    let clips = state["question"]["clips"].as_array();
    let clips = clips.unwrap_or_else(|| panic!("no question: {state}"));
    clips
        .iter()
        .map(|c| c["episode"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_kill_at_any_moment_loses_no_answer_and_doubles_none() {
    let (folder, prefs) = folder("24");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    // What two tabs were told is saved: better and worse episode.
    let acknowledged: Mutex<HashSet<(u64, u64)>> = Mutex::default();
    // What a tab has said and does not know to be saved; it says it again, as the page does.
    type Said = Mutex<Option<(Value, (u64, u64))>>;
    let pending: [Said; 2] = Default::default();
    for round in 0..8 {
        let mut page = Page::start(folder.path(), &["--count", "200"]);
        let patience = Duration::from_millis(rng.random_range(5..250));
        std::thread::scope(|scope| {
            for (t, pending) in pending.iter().enumerate() {
                let (page, acknowledged) = (&page, &acknowledged);
                scope.spawn(move || {
                    let tab = format!("{round}-{t}");
                    let mut state = match pending.lock().unwrap().as_ref() {
                        None => page.post("/api/next", &json!({ "tab": tab })),
                        Some((said, _)) => {
                            let mut said = said.clone();
                            said["tab"] = json!(tab);
                            page.post("/api/answer", &said)
                        }
                    };
                    loop {
                        let Some(known) = state else { return };
                        if let Some((_, order)) = pending.lock().unwrap().take() {
                            assert!(known["outcome"] == "saved" || known["outcome"] == "already");
                            // The other tab may have been asked the same, and have been faster: a program that was just started
                            // does not know what is on show. Then it is known already, and kept once.
                            acknowledged.lock().unwrap().insert(order);
                        }
                        // A quick machine gives all the answers before it is killed.
                        if known["question"].is_null() {
                            return;
                        }
                        let shown = episodes(&known);
                        let first = shown[0] > shown[1];
                        let order = if first {
                            (shown[0], shown[1])
                        } else {
                            (shown[1], shown[0])
                        };
                        let said = json!({ "tab": tab, "question": known["question"]["id"],
                            "answer": if first { [0, 1] } else { [1, 0] } });
                        *pending.lock().unwrap() = Some((said.clone(), order));
                        state = page.post("/api/answer", &said);
                    }
                });
            }
            std::thread::sleep(patience);
            page_kill(&page);
        });
        page.child.wait().unwrap();
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    let unknown = pending
        .iter()
        .filter(|p| p.lock().unwrap().is_some())
        .count();
    let mut kept = HashSet::new();
    for record in PreferenceStore::read(&prefs).unwrap() {
        let clips = record.choice.clips();
        let (better, worse) = (clips[0].episode as u64, clips[1].episode as u64);
        assert!(better > worse, "kept as it was said");
        assert!(kept.insert((better, worse)), "{better} and {worse} twice");
    }
    for order in &acknowledged {
        assert!(
            kept.contains(order),
            "{order:?} was acknowledged and is lost"
        );
    }
    assert!(
        kept.len() - acknowledged.len() <= unknown,
        "{} {}",
        kept.len(),
        acknowledged.len()
    );
    assert!(
        acknowledged.len() >= 20,
        "only {} answers came through",
        acknowledged.len()
    );
}

fn page_kill(page: &Page) {
    let id = rustix::process::Pid::from_child(&page.child);
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn only_the_page_with_its_token_may_answer() {
    let (folder, prefs) = folder("5");
    let page = Page::start(
        folder.path(),
        &["--triplets", "--context", "Which is gentler?"],
    );
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let ask = |headers: &[(&str, &str)]| {
        let mut request = agent.post(format!("{}/api/next", page.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send("{\"tab\":\"x\"}").unwrap().status().as_u16()
    };
    let token = ("X-Rapport-Token", page.token.as_str());
    assert_eq!(ask(&[token]), 200);
    assert_eq!(ask(&[token, ("Origin", &page.base)]), 200);
    assert_eq!(ask(&[]), 403);
    assert_eq!(
        ask(&[("X-Rapport-Token", "0123456789abcdef0123456789abcdef")]),
        403
    );
    assert_eq!(ask(&[token, ("Origin", "http://evil.example")]), 403);
    assert_eq!(ask(&[token, ("Origin", "null")]), 403);
    assert_eq!(ask(&[token, ("Host", "evil.example:7878")]), 421);

    let mut html = agent.get(format!("{}/", page.base)).call().unwrap();
    let policy = html.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(
        !html
            .body_mut()
            .read_to_string()
            .unwrap()
            .contains(&page.token)
    );

    let clip = |headers: &[(&str, &str)], name: &str| {
        let mut request = agent.get(format!("{}/clip/{name}", page.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.call().unwrap()
    };
    assert_eq!(clip(&[], "0").status().as_u16(), 403);
    assert_eq!(clip(&[token], "5").status().as_u16(), 404);
    assert_eq!(clip(&[token], "../prefs.jsonl").status().as_u16(), 404);
    let film = clip(&[token], "0").body_mut().read_to_vec().unwrap();
    assert_eq!(film[..4], [4, 0, 0, 0], "four pictures");
    assert_eq!(
        film[20..22],
        [0xff, 0xd8],
        "the first JPEG behind five lengths"
    );

    let state = page.post("/api/next", &json!({ "tab": "x" })).unwrap();
    assert_eq!(state["text"], "Which is gentler?");
    let said = json!({ "tab": "x", "question": state["question"]["id"], "answer": [2, 0, 1] });
    for broken in [
        "{}",
        "nonsense",
        "{\"tab\":\"x\",\"question\":\"0-1-9\",\"answer\":\"equal\"}",
    ] {
        let answer = agent
            .post(format!("{}/api/answer", page.base))
            .header(token.0, token.1);
        assert_eq!(
            answer.send(broken).unwrap().status().as_u16(),
            400,
            "{broken}"
        );
    }
    assert_eq!(page.post("/api/answer", &said).unwrap()["outcome"], "saved");
    // On disk already, while the program runs.
    assert_eq!(std::fs::read_to_string(&prefs).unwrap().lines().count(), 1);
    let summary = page.end();
    assert_eq!(
        (&summary["answers"], &summary["annotator"]),
        (&json!(1), &json!("page"))
    );
    let record = PreferenceStore::read(&prefs).unwrap().remove(0);
    assert_eq!(record.context.as_deref(), Some("Which is gentler?"));
    let kept: Vec<u64> = record
        .choice
        .clips()
        .iter()
        .map(|c| c.episode as u64)
        .collect();
    let shown = episodes(&state);
    assert_eq!(kept, [shown[2], shown[0], shown[1]]);
}

#[test]
fn the_page_ends_the_command_when_the_person_is_finished() {
    let (folder, _) = folder("5");
    let mut page = Page::start(folder.path(), &["--count", "2"]);
    let mut state = page.post("/api/next", &json!({ "tab": "x" })).unwrap();
    for _ in 0..2 {
        let said = json!({ "tab": "x", "question": state["question"]["id"], "answer": "equal" });
        state = page.post("/api/answer", &said).unwrap();
    }
    assert_eq!(state["status"], "done");
    let undone = page
        .post("/api/undo", &json!({ "tab": "x", "last": state["last"] }))
        .unwrap();
    assert_eq!(
        (&undone["outcome"], &undone["answered"]),
        (&json!("undone"), &json!(1))
    );
    page.post("/api/finish", &json!({ "tab": "x" })).unwrap();
    assert_eq!(page.summary()["answers"], 1);
}

#[test]
fn a_port_and_a_file_that_are_taken_are_named() {
    let (folder, _) = folder("4");
    let page = Page::start(folder.path(), &[]);
    let port = page.base.rsplit_once(':').unwrap().1.to_owned();
    let start = |out: &str, port: &str| {
        let output = Command::new(assert_cmd::cargo::cargo_bin("rapport"))
            .args(["prefer", "--dataset"])
            .arg(folder.path().join("play"))
            .arg("--out")
            .arg(folder.path().join(out))
            .args(["--port", port])
            .env("RAPPORT_HOME", folder.path().join("home"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = start("other.jsonl", &port);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&port) && said.contains("--port"), "{said}");
    let (code, said) = start("prefs.jsonl", "0");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process"), "{said}");
    page.end();
}

#[test]
fn the_terminal_asks_records_and_takes_back() {
    let (folder, prefs) = folder("6");
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("rapport"))
        .args(["prefer", "--terminal", "--uniform", "--dataset"])
        .arg(folder.path().join("play"))
        .arg("--out")
        .arg(&prefs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"a\nnonsense\n=\nu\nb\ns\nq\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains('▀') && said.contains("Taken back"), "{said}");
    assert!(said.contains("2 answers (2 new, by terminal)"), "{said}");
    assert!(
        said.contains("Go on with: ") && said.contains("--terminal"),
        "{said}"
    );
    let records = PreferenceStore::read(&prefs).unwrap();
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|r| r.annotator == "terminal" && r.choice.clips().len() == 2)
    );
    assert_eq!(PreferenceStore::open(&prefs).unwrap().skips().count(), 1);
}
