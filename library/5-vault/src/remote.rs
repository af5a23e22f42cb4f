//! Key-encryption keys that are held elsewhere: asked by a command or over HTTP, in one protocol.
//!
//! ```text
//! {"do":"current"}                                              {"number":2}
//! {"do":"wrap","number":2,"context":"…","key":"<64 hex>"}       {"wrapped":"<hex>"}
//! {"do":"unwrap","number":2,"context":"…","wrapped":"<hex>"}    {"key":"<64 hex>"}
//! ```
//!
//! A number that is not known is answered with `{"unknown":true}`, what does not unwrap with
//! `{"wrong":true}`. A command gets one question on its standard input and answers on its output; a
//! service gets it by POST.

use std::{
    fmt,
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, process::Command, time::Instant};
use watertight_outbound::{GetOptions, Outbound, SendRequest, Verb};
use watertight_tenancy::BoxFuture;
use watertight_terms::Key;
use zeroize::Zeroizing;

use crate::{WrapFault, Wrapping};

/// An answer has at most so many bytes.
const ANSWER_BYTES: usize = 16 * 1024;
/// An answer comes within so long.
const WITHIN: Duration = Duration::from_secs(5);
/// So long the number of the current key is not asked for again.
const CURRENT_FOR: Duration = Duration::from_secs(30);

/// How whoever holds the keys is asked: a question as JSON, an answer as JSON.
trait Ask: Send + Sync + 'static {
    fn ask(
        &self,
        question: Zeroizing<String>,
    ) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, WrapFault>>;
}

/// Key-encryption keys that are held elsewhere.
pub struct RemoteWrapping {
    whom: Box<dyn Ask>,
    current: Mutex<Option<(Instant, i16)>>,
}

impl RemoteWrapping {
    /// Asks a command: its program and arguments, started anew for each question, without our
    /// environment.
    pub fn command(program: Vec<String>) -> Self {
        Self::of(Box::new(External(program)))
    }

    /// Asks a service at `url`, with a bearer token if it wants one.
    pub fn http(outbound: Outbound, url: String, token: Option<SecretString>) -> Self {
        Self::of(Box::new(Service {
            outbound,
            url,
            token,
        }))
    }

    fn of(whom: Box<dyn Ask>) -> Self {
        let current = Mutex::default();
        Self { whom, current }
    }

    async fn ask(&self, question: Question<'_>) -> Result<Reply, WrapFault> {
        let text = serde_json::to_string(&question)
            .map(Zeroizing::new)
            .map_err(|_| WrapFault::Malformed("the question cannot be written"))?;
        let answered = tokio::time::timeout(WITHIN, self.whom.ask(text)).await;
        let answer =
            answered.map_err(|_| WrapFault::Unreachable("no answer in time".to_owned()))??;
        // What is not understood may hold a key and is not repeated.
        let reply: Reply = serde_json::from_slice(&answer)
            .map_err(|_| WrapFault::Malformed("the answer is not of the protocol's form"))?;
        match question.number {
            Some(number) if reply.unknown => Err(WrapFault::Unknown(number)),
            Some(number) if reply.wrong => Err(WrapFault::Wrong(number)),
            _ => Ok(reply),
        }
    }

    fn known(&self) -> Option<i16> {
        let held = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|(at, _)| at.elapsed() < CURRENT_FOR)
            .map(|(_, number)| number)
    }
}

impl Wrapping for RemoteWrapping {
    fn current(&self) -> BoxFuture<'_, Result<i16, WrapFault>> {
        Box::pin(async move {
            if let Some(number) = self.known() {
                return Ok(number);
            }
            let reply = self.ask(Question::of("current")).await?;
            let number = reply
                .number
                .ok_or(WrapFault::Malformed("it names no current key"))?;
            let mut held = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            *held = Some((Instant::now(), number));
            Ok(number)
        })
    }

    fn wrap<'a>(
        &'a self,
        number: i16,
        context: &'a str,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<Vec<u8>, WrapFault>> {
        Box::pin(async move {
            let digits = Zeroizing::new(hex::encode(key.expose()));
            let reply = self
                .ask(Question {
                    number: Some(number),
                    context: Some(context),
                    key: Some(&digits),
                    ..Question::of("wrap")
                })
                .await?;
            let wrapped = reply.wrapped.as_deref().map(hex::decode);
            match wrapped {
                Some(Ok(wrapped)) => Ok(wrapped),
                _ => Err(WrapFault::Malformed("it gives no wrapped key")),
            }
        })
    }

    fn unwrap<'a>(
        &'a self,
        number: i16,
        context: &'a str,
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Key, WrapFault>> {
        Box::pin(async move {
            let digits = hex::encode(wrapped);
            let reply = self
                .ask(Question {
                    number: Some(number),
                    context: Some(context),
                    wrapped: Some(&digits),
                    ..Question::of("unwrap")
                })
                .await?;
            let mut bytes = Zeroizing::new([0; 32]);
            let digits = reply.key.as_ref().map_or("", |key| key.expose_secret());
            hex::decode_to_slice(digits, bytes.as_mut_slice())
                .map_err(|_| WrapFault::Malformed("it gives no key"))?;
            Ok(Key::new(*bytes))
        })
    }
}

impl fmt::Debug for RemoteWrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteWrapping(…)")
    }
}

#[derive(Serialize)]
struct Question<'a> {
    r#do: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrapped: Option<&'a str>,
}

impl Question<'_> {
    fn of(what: &'static str) -> Self {
        Self {
            r#do: what,
            number: None,
            context: None,
            key: None,
            wrapped: None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reply {
    number: Option<i16>,
    wrapped: Option<String>,
    key: Option<SecretString>,
    unknown: bool,
    wrong: bool,
}

struct External(Vec<String>);

impl Ask for External {
    fn ask(
        &self,
        question: Zeroizing<String>,
    ) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, WrapFault>> {
        Box::pin(async move {
            let failed = |error: std::io::Error| WrapFault::Unreachable(error.to_string());
            let (program, arguments) = self
                .0
                .split_first()
                .ok_or_else(|| WrapFault::Unreachable("no command is given".to_owned()))?;
            let mut child = Command::new(program)
                .args(arguments)
                .env_clear()
                .env("PATH", "/usr/local/bin:/usr/bin:/bin")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .map_err(failed)?;
            if let Some(mut input) = child.stdin.take() {
                // One that answers without reading is judged by what it answers.
                let _ = input.write_all(question.as_bytes()).await;
            }
            let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES + 1));
            if let Some(output) = child.stdout.take() {
                let mut bounded = output.take(ANSWER_BYTES as u64 + 1);
                bounded.read_to_end(&mut answer).await.map_err(failed)?;
            }
            if answer.len() > ANSWER_BYTES {
                return Err(WrapFault::Malformed("the answer is too long"));
            }
            let status = child.wait().await.map_err(failed)?;
            match status.success() {
                true => Ok(answer),
                false => Err(WrapFault::Unreachable(format!(
                    "the command ended with {status}"
                ))),
            }
        })
    }
}

struct Service {
    outbound: Outbound,
    url: String,
    token: Option<SecretString>,
}

impl Ask for Service {
    fn ask(
        &self,
        question: Zeroizing<String>,
    ) -> BoxFuture<'_, Result<Zeroizing<Vec<u8>>, WrapFault>> {
        Box::pin(async move {
            let bearer = |token: &SecretString| {
                let value = format!("Bearer {}", token.expose_secret());
                ("authorization".to_owned(), value)
            };
            let options = GetOptions {
                max_bytes: ANSWER_BYTES,
                headers: self.token.iter().map(bearer).collect(),
                ..GetOptions::default()
            };
            let request = SendRequest {
                verb: Verb::Post,
                url: self.url.clone(),
                json: Some(question.to_string()),
            };
            let answered = self.outbound.send(request, options).await;
            let answer = answered.map_err(|error| WrapFault::Unreachable(error.to_string()))?;
            match answer.is_success() {
                true => Ok(Zeroizing::new(answer.body.to_vec())),
                false => Err(WrapFault::Unreachable(format!(
                    "it answers {}",
                    answer.status
                ))),
            }
        })
    }
}
