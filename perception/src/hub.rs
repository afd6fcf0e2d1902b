//! Files of the Hugging Face hub, in its own cache: what Python has fetched is found here, and the other way round.
//!
//! `HF_HOME` (or `HF_HUB_CACHE`) says where the cache is, `HF_ENDPOINT` where the hub is, `HF_HUB_OFFLINE=1` that it is not to be asked.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use crate::encoder::EncoderError;
use crate::files::write_atomically;
use crate::weights::hex;

/// A file of a model's main branch: from the cache, or fetched into it; `None` when the model has no such file.
///
/// # Errors
/// [`EncoderError::Other`] when there is no connection, saying what to do without one; when the model does not exist or is not
/// open to everybody; when what arrives is not what was announced.
pub fn file(repository: &str, name: &str) -> Result<Option<PathBuf>, EncoderError> {
    Hub::from_environment(|name| std::env::var_os(name)).file(repository, name)
}

struct Hub {
    cache: PathBuf,
    endpoint: String,
    offline: bool,
}

/// What the hub says of a file before it is fetched.
struct Announced {
    commit: String,
    /// Its name in the cache: SHA-256 of a large file, another hash of a small one.
    etag: String,
    size: Option<u64>,
}

impl Hub {
    fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let home = std::env::home_dir().unwrap_or_default();
        let cache = set("HF_HUB_CACHE").map(PathBuf::from).unwrap_or_else(|| {
            let hf_home = set("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
                let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
                cache.unwrap_or(home.join(".cache")).join("huggingface")
            });
            hf_home.join("hub")
        });
        let endpoint = set("HF_ENDPOINT")
            .and_then(|value| value.into_string().ok())
            .unwrap_or("https://huggingface.co".into());
        Self {
            cache,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            offline: set("HF_HUB_OFFLINE").is_some_and(|value| value != "0"),
        }
    }

    fn file(&self, repository: &str, name: &str) -> Result<Option<PathBuf>, EncoderError> {
        let folder = self
            .cache
            .join(format!("models--{}", repository.replace('/', "--")));
        if let Some(known) = cached(&folder, name) {
            return Ok(known);
        }
        let failed = |cause: String| {
            EncoderError::Other(format!(
                "cannot fetch {name} of {repository} from {}: {cause}; fetch it where there is a connection (`hf download {repository}`) and copy {} here, or name a folder that holds the model with dir:PATH",
                self.endpoint,
                folder.display()
            ))
        };
        if self.offline {
            return Err(failed("HF_HUB_OFFLINE is set".into()));
        }
        let url = format!("{}/{repository}/resolve/main/{name}", self.endpoint);
        let Some(announced) = self.ask(&url).map_err(failed)? else {
            return Ok(None);
        };
        let blob = folder.join("blobs").join(&announced.etag);
        if !blob.is_file() {
            fetch(&url, &blob, &announced).map_err(failed)?;
        }
        let snapshot = folder.join("snapshots").join(&announced.commit);
        place(&blob, &announced.etag, &snapshot, name)
            .map_err(|error| failed(error.to_string()))?;
        write_atomically(&folder.join("refs/main"), announced.commit.as_bytes())
            .map_err(|error| failed(error.to_string()))?;
        Ok(Some(snapshot.join(name)))
    }

    /// What the hub has under this address; `None` where it has the model but not the file.
    fn ask(&self, url: &str) -> Result<Option<Announced>, String> {
        // The answer to the first request names commit and hash; the storage that it sends on to does not.
        let agent: Agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .build()
            .into();
        let answer = agent.head(url).call().map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200..=399 => {}
            404 if header(answer.headers(), "x-error-code").as_deref() != Some("RepoNotFound") => {
                return Ok(None);
            }
            401 | 403 | 404 => {
                return Err("the model does not exist, or is not open to everybody".into());
            }
            status => return Err(format!("the hub answers with status {status}")),
        }
        let headers = answer.headers();
        let plain = |value: String| {
            let value = value.trim_start_matches("W/").trim_matches('"').to_owned();
            let hash = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric());
            hash.then_some(value)
        };
        let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
        let etag = etag.and_then(plain).ok_or("the hub names no hash")?;
        let commit = header(headers, "x-repo-commit").and_then(plain);
        let size = header(headers, "x-linked-size").or_else(|| header(headers, "content-length"));
        Ok(Some(Announced {
            commit: commit.ok_or("the hub names no commit")?,
            etag,
            size: size.and_then(|size| size.parse().ok()),
        }))
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The file of the commit that was last fetched; `Some(None)` where Python noted that the model has none.
fn cached(folder: &Path, name: &str) -> Option<Option<PathBuf>> {
    let commit = fs::read_to_string(folder.join("refs/main")).ok()?;
    let commit = commit.trim();
    let path = folder.join("snapshots").join(commit).join(name);
    if path.is_file() {
        return Some(Some(path));
    }
    let absent = folder.join(".no_exist").join(commit).join(name);
    absent.exists().then_some(None)
}

/// Fetches to a file beside the blob, goes on where an earlier attempt stopped, and renames it when it is whole.
fn fetch(url: &str, blob: &Path, announced: &Announced) -> Result<(), String> {
    let problem = |error: io::Error| error.to_string();
    let directory = blob.parent().ok_or("the cache has no place")?;
    fs::create_dir_all(directory).map_err(problem)?;
    let partial = blob.with_extension("incomplete");
    let mut have = fs::metadata(&partial).map_or(0, |metadata| metadata.len());
    if announced.size.is_some_and(|size| have > size) {
        have = 0;
    }
    if announced.size != Some(have) || have == 0 {
        let mut request = ureq::get(url);
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let answer: Response<Body> = request.call().map_err(|error| error.to_string())?;
        let resumed = answer.status().as_u16() == 206;
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .append(resumed)
            .truncate(!resumed)
            .open(&partial)
            .map_err(problem)?;
        // Weights are larger than what the client takes for granted.
        let mut body = answer
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        io::copy(&mut body, &mut file).map_err(problem)?;
        file.flush().map_err(problem)?;
        file.sync_all().map_err(problem)?;
    }
    let found = fs::metadata(&partial).map_err(problem)?.len();
    if let Some(size) = announced.size.filter(|&size| size != found) {
        return Err(format!(
            "{found} of {size} bytes arrived; try again to go on from there"
        ));
    }
    if announced.etag.len() == 64 {
        let mut hasher = Sha256::new();
        let mut file = File::open(&partial).map_err(problem)?;
        io::copy(&mut file, &mut HashWriter(&mut hasher)).map_err(problem)?;
        let hash = hex(&hasher.finalize());
        if hash != announced.etag {
            let _ = fs::remove_file(&partial);
            return Err(format!(
                "it has SHA-256 {hash}, the hub announced {}",
                announced.etag
            ));
        }
    }
    fs::rename(&partial, blob).map_err(problem)
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives a blob its name in the snapshot: a link, as Python makes, or a copy where there are none.
fn place(blob: &Path, etag: &str, snapshot: &Path, name: &str) -> io::Result<()> {
    let path = snapshot.join(name);
    if path.is_file() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(snapshot);
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    {
        let depth = 2 + name.matches('/').count();
        let to = PathBuf::from("../".repeat(depth)).join("blobs").join(etag);
        let _ = blob;
        match std::os::unix::fs::symlink(to, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
    #[cfg(not(unix))]
    {
        let _ = etag;
        fs::copy(blob, &path).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
