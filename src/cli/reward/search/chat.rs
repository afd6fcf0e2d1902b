//! [`Endpoint`]: a language model behind any service that speaks OpenAI's chat completions, on this machine or elsewhere.

use std::time::Duration;

use rapport::reward::RewardError;
use rapport::reward::program::search::{Chat, Message};
use serde::{Deserialize, Serialize};

use crate::interrupt;

/// Where the model is and how patient to be.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Up to, not including, `/chat/completions`: `http://localhost:8080/v1`.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// Sent as a bearer token.
    pub key: Option<String>,
    /// How much chance there is in an answer.
    pub temperature: f64,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Times that a busy or broken service is asked again.
    pub retries: usize,
    /// Wait before the first of those, doubled before each next one; what the service itself asks for goes first.
    pub pause: Duration,
}

/// Longest wait that a service may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest answer, bytes.
const LARGEST_ANSWER: u64 = 4 << 20;

/// A client of such a service.
pub struct Endpoint {
    config: EndpointConfig,
    agent: ureq::Agent,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: &'a [Message],
    temperature: f64,
}

#[derive(Deserialize)]
struct Response {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Reply,
}

#[derive(Deserialize)]
struct Reply {
    content: Option<String>,
}

/// How a question went.
enum Outcome {
    Answer(String),
    /// Worth asking again, after what the service asked for.
    Again(String, Option<Duration>),
    Failure(String),
}

impl Endpoint {
    /// A client; nothing is sent yet.
    pub fn new(config: EndpointConfig) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(config.timeout))
            .http_status_as_error(false)
            .build()
            .into();
        Self { config, agent }
    }

    fn ask(&self, conversation: &[Message]) -> Outcome {
        let url = format!("{}/chat/completions", self.config.url.trim_end_matches('/'));
        let mut request = self.agent.post(&url);
        if let Some(key) = &self.config.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let body = Request {
            model: &self.config.model,
            messages: conversation,
            temperature: self.config.temperature,
        };
        let mut response = match request.send_json(&body) {
            Ok(response) => response,
            Err(error @ (ureq::Error::BadUri(_) | ureq::Error::HostNotFound)) => {
                return Outcome::Failure(error.to_string());
            }
            Err(error) => return Outcome::Again(error.to_string(), None),
        };
        let status = response.status().as_u16();
        let wait = response
            .headers()
            .get("retry-after")
            .and_then(|v| v.to_str().ok()?.parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let text = response
            .body_mut()
            .with_config()
            .limit(LARGEST_ANSWER)
            .read_to_string();
        let text = match text {
            Ok(text) => text,
            Err(error) => return Outcome::Again(error.to_string(), None),
        };
        let start: String = text.chars().take(200).collect();
        match status {
            200..=299 => match serde_json::from_str::<Response>(&text) {
                Ok(response) => match response
                    .choices
                    .into_iter()
                    .next()
                    .and_then(|c| c.message.content)
                {
                    Some(content) => Outcome::Answer(content),
                    None => Outcome::Failure(format!("the answer holds no text: {start}")),
                },
                Err(error) => Outcome::Failure(format!(
                    "the answer is none of a chat completion ({error}): {start}"
                )),
            },
            408 | 429 | 500..=599 => Outcome::Again(format!("status {status}: {start}"), wait),
            _ => Outcome::Failure(format!("status {status}: {start}")),
        }
    }
}

impl Chat for Endpoint {
    fn name(&self) -> &str {
        &self.config.model
    }

    fn complete(&mut self, conversation: &[Message]) -> Result<String, RewardError> {
        let fail = |cause: String| {
            RewardError::Other(format!(
                "{} at {}: {cause}",
                self.config.model, self.config.url
            ))
        };
        let mut pause = self.config.pause;
        for attempt in 0.. {
            let (cause, wait) = match self.ask(conversation) {
                Outcome::Answer(text) => return Ok(text),
                Outcome::Failure(cause) => return Err(fail(cause)),
                Outcome::Again(cause, wait) => (cause, wait),
            };
            if attempt >= self.config.retries {
                return Err(fail(format!("{cause} (asked {} times)", attempt + 1)));
            }
            let end = std::time::Instant::now() + wait.unwrap_or(pause).min(LONGEST_PAUSE);
            while std::time::Instant::now() < end {
                if interrupt::requested() {
                    return Err(fail("stopped while waiting to ask again".into()));
                }
                let left = end.saturating_duration_since(std::time::Instant::now());
                std::thread::sleep(left.min(Duration::from_millis(100)));
            }
            pause *= 2;
        }
        Err(fail("no attempt was made".into()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rapport::reward::program::search::Role;
    use std::sync::mpsc;

    /// What a served request was.
    pub struct Seen {
        path: String,
        key: Option<String>,
        body: serde_json::Value,
    }

    /// A service on this machine that gives these answers, one after another; `None` never answers.
    pub fn serve(answers: Vec<Option<(u16, String)>>) -> (String, mpsc::Receiver<Seen>) {
        let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", server.server_addr());
        let (tell, seen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for answer in answers {
                let mut request = server.recv().unwrap();
                let body = serde_json::from_reader(request.as_reader()).unwrap();
                let key = request
                    .headers()
                    .iter()
                    .find(|h| h.field.equiv("authorization"))
                    .map(|h| h.value.to_string());
                let path = request.url().to_owned();
                tell.send(Seen { path, key, body }).unwrap();
                match answer {
                    Some((status, text)) => {
                        let mut response =
                            tiny_http::Response::from_string(text).with_status_code(status);
                        if status == 429 {
                            let header =
                                tiny_http::Header::from_bytes("Retry-After", "0.01").unwrap();
                            response = response.with_header(header);
                        }
                        request.respond(response).unwrap();
                    }
                    None => held.push(request),
                }
            }
            // Whoever still waits is let go when the test is long over.
            std::thread::sleep(Duration::from_secs(5));
        });
        (url, seen)
    }

    pub fn completion(text: &str) -> Option<(u16, String)> {
        let message = serde_json::json!({"role": "assistant", "content": text});
        let body = serde_json::json!({"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
        Some((200, body.to_string()))
    }

    fn endpoint(url: &str, retries: usize) -> Endpoint {
        Endpoint::new(EndpointConfig {
            url: url.into(),
            model: "small".into(),
            key: Some("secret".into()),
            temperature: 0.5,
            timeout: Duration::from_millis(500),
            retries,
            pause: Duration::from_millis(1),
        })
    }

    fn question() -> Vec<Message> {
        vec![Message {
            role: Role::User,
            content: "write".into(),
        }]
    }

    #[test]
    fn a_question_is_sent_as_the_interface_has_it_and_the_answer_read() {
        let (url, seen) = serve(vec![completion("r = 1")]);
        assert_eq!(endpoint(&url, 0).complete(&question()).unwrap(), "r = 1");
        let seen = seen.recv().unwrap();
        assert_eq!(
            (seen.path.as_str(), seen.key.as_deref()),
            ("/v1/chat/completions", Some("Bearer secret"))
        );
        let expected = serde_json::json!({"model": "small", "messages": [{"role": "user", "content": "write"}], "temperature": 0.5});
        assert_eq!(seen.body, expected);
    }

    #[test]
    fn a_busy_service_is_asked_again() {
        let (url, seen) = serve(vec![
            Some((429, "slow down".into())),
            Some((503, "soon".into())),
            completion("here"),
        ]);
        assert_eq!(endpoint(&url, 2).complete(&question()).unwrap(), "here");
        assert_eq!(seen.try_iter().count(), 3);
        let (url, _seen) = serve(vec![
            Some((429, "slow down".into())),
            Some((429, "no".into())),
        ]);
        let message = endpoint(&url, 1)
            .complete(&question())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("status 429: no (asked 2 times)"),
            "{message}"
        );
    }

    #[test]
    fn an_answer_of_another_kind_is_said() {
        for (text, part) in [
            ("nonsense", "none of a chat completion"),
            (r#"{"choices": []}"#, "holds no text"),
            (
                r#"{"choices": [{"message": {"content": null}}]}"#,
                "holds no text",
            ),
        ] {
            let (url, seen) = serve(vec![Some((200, text.into()))]);
            let message = endpoint(&url, 3)
                .complete(&question())
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(part) && message.contains(&url),
                "{message}"
            );
            assert_eq!(seen.try_iter().count(), 1);
        }
        let (url, seen) = serve(vec![Some((401, "who are you".into()))]);
        let message = endpoint(&url, 3)
            .complete(&question())
            .unwrap_err()
            .to_string();
        assert!(message.contains("status 401: who are you"), "{message}");
        assert!(!message.contains("secret"));
        assert_eq!(seen.try_iter().count(), 1);
    }

    #[test]
    fn a_service_that_does_not_answer_is_given_up() {
        let (url, seen) = serve(vec![None, None]);
        let message = endpoint(&url, 1)
            .complete(&question())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("timeout") && message.contains("asked 2 times"),
            "{message}"
        );
        assert_eq!(seen.try_iter().count(), 2);
        // And where there is none at all.
        let message = endpoint("http://127.0.0.1:9/v1", 0)
            .complete(&question())
            .unwrap_err()
            .to_string();
        assert!(message.contains("127.0.0.1:9"), "{message}");
    }
}
