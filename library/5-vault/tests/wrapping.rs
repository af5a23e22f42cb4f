//! Every holder of key-encryption keys: what it wraps it unwraps, and nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use watertight_outbound::{Outbound, OutboundRules};
use watertight_terms::{Key, KeyRing, Random};
use watertight_vault::{RemoteWrapping, RingWrapping, WrapFault, Wrapping};

fn of_ring(ring: KeyRing) -> RingWrapping {
    RingWrapping::new(Arc::new(move || ring.clone()), Random::system())
}

async fn wraps_and_unwraps(wrapping: &dyn Wrapping) {
    let key = Key::new([9; 32]);
    let number = wrapping.current().await.unwrap();
    let wrapped = wrapping.wrap(number, "one", &key).await.unwrap();
    let unwrapped = wrapping.unwrap(number, "one", &wrapped).await.unwrap();
    assert_eq!(unwrapped.expose(), key.expose());
    let elsewhere = wrapping.unwrap(number, "two", &wrapped).await;
    assert_eq!(elsewhere.unwrap_err(), WrapFault::Wrong(number));
    let unknown = wrapping.unwrap(77, "one", &wrapped).await;
    assert_eq!(unknown.unwrap_err(), WrapFault::Unknown(77));
}

#[tokio::test]
async fn a_ring_wraps_and_unwraps() {
    let ring = KeyRing::single(1, Key::new([1; 32]));
    wraps_and_unwraps(&of_ring(ring.clone())).await;
    let wrapped = of_ring(ring.clone())
        .wrap(1, "one", &Key::new([9; 32]))
        .await
        .unwrap();
    // After a rotation the old key still unwraps; another one of its number does not.
    let rotated = of_ring(ring.rotated(2, Key::new([2; 32])));
    assert_eq!(rotated.current().await.unwrap(), 2);
    assert!(rotated.unwrap(1, "one", &wrapped).await.is_ok());
    let wrong = of_ring(KeyRing::single(1, Key::new([3; 32])));
    let refused = wrong.unwrap(1, "one", &wrapped).await;
    assert_eq!(refused.unwrap_err(), WrapFault::Wrong(1));
    for at in 0..wrapped.len() {
        let mut changed = wrapped.clone();
        if let Some(byte) = changed.get_mut(at) {
            *byte ^= 1;
        }
        assert!(
            rotated.unwrap(1, "one", &changed).await.is_err(),
            "byte {at}"
        );
    }
}

/// A stand-in for a service that holds keys: what it was given it gives back under the same number and
/// context. Its keys are number 1 and 2, and 2 is current.
#[derive(Default)]
struct Holder(BTreeMap<String, Value>);

impl Holder {
    fn answer(&mut self, question: &Value) -> Value {
        let text = |name: &str| question[name].as_str().unwrap_or_default().to_owned();
        match question["do"].as_str().unwrap() {
            "current" => json!({ "number": 2 }),
            _ if question["number"] != 2 => json!({ "unknown": true }),
            "wrap" => {
                let wrapped = hex::encode(format!("wrapped {}", self.0.len()));
                let key = json!({ "context": text("context"), "key": text("key") });
                self.0.insert(wrapped.clone(), key);
                json!({ "wrapped": wrapped })
            }
            _ => match self.0.get(&text("wrapped")) {
                Some(held) if held["context"] == question["context"] => {
                    json!({ "key": held["key"] })
                }
                _ => json!({ "wrong": true }),
            },
        }
    }
}

/// Serves a holder over HTTP, to who has the token; gives its `host:port`.
async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut holder = Holder::default();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = String::new();
            let body = loop {
                let mut bytes = [0; 4096];
                let read = stream.read(&mut bytes).await.unwrap();
                heard.push_str(std::str::from_utf8(bytes.get(..read).unwrap()).unwrap());
                let body = heard.split_once("\r\n\r\n").map(|(_, body)| body);
                if let Some(Ok(question)) = body.map(serde_json::from_str::<Value>) {
                    break question;
                }
            };
            let (status, answer) = match heard.contains("authorization: Bearer open sesame") {
                true => ("200 OK", holder.answer(&body).to_string()),
                false => ("401 Unauthorized", String::new()),
            };
            let length = answer.len();
            let text = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
            );
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    address
}

fn http(address: &str, allow: bool, token: &str) -> RemoteWrapping {
    let allow = allow.then(|| address.to_owned()).into_iter().collect();
    let rules = OutboundRules {
        allow,
        ..OutboundRules::default()
    };
    let url = format!("http://{address}/keys");
    RemoteWrapping::http(Outbound::new(rules).unwrap(), url, Some(token.into()))
}

#[tokio::test]
async fn a_service_wraps_and_unwraps_within_the_rules_for_connections_outward() {
    let address = serve().await;
    wraps_and_unwraps(&http(&address, true, "open sesame")).await;
    for refused in [
        http(&address, false, "open sesame"),
        http(&address, true, "guess"),
    ] {
        let answer = refused.current().await;
        assert!(
            matches!(answer, Err(WrapFault::Unreachable(_))),
            "{answer:?}"
        );
    }
}

/// A command of two lines: it keeps what it wraps as it is, under its context.
const COMMAND: &str = r#"#!/bin/sh
question=$(cat)
of() { printf '%s' "$question" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
hex() { printf '%s' "$1" | od -An -tx1 | tr -d ' \n'; }
case "$question" in
  *'"do":"current"'*) echo '{"number":1}' ;;
  *'"number":1'[,}]*'"key"'*) echo '{"wrapped":"'$(hex "$(of context)")$(of key)'"}' ;;
  *'"number":1'[,}]*)
    context=$(hex "$(of context)"); wrapped=$(of wrapped)
    case "$wrapped" in
      "$context"*) echo '{"key":"'${wrapped#"$context"}'"}' ;;
      *) echo '{"wrong":true}' ;;
    esac ;;
  *) echo '{"unknown":true}' ;;
esac
"#;

fn command(text: &str) -> (RemoteWrapping, std::path::PathBuf) {
    let name = format!("wrapping-{}", Random::system().uuid());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let program = vec!["/bin/sh".to_owned(), path.display().to_string()];
    (RemoteWrapping::command(program), path)
}

#[tokio::test]
async fn a_command_wraps_and_unwraps() {
    let (asked, path) = command(COMMAND);
    wraps_and_unwraps(&asked).await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_command_that_answers_otherwise_is_refused_and_not_repeated() {
    for (text, is_form) in [
        ("echo '{\"number\":1,\"key\":\"5ec3e7\",\"more\":1}'", true),
        ("echo 5ec3e7", true),
        ("echo '{}'", true),
        ("head -c 20000 /dev/zero", true),
        ("exit 3", false),
        ("sleep 60", false),
    ] {
        let (asked, path) = command(text);
        let refused = asked.current().await.unwrap_err();
        assert_eq!(
            matches!(refused, WrapFault::Malformed(_)),
            is_form,
            "{text}: {refused}"
        );
        assert!(!refused.to_string().contains("5ec3e7"), "{refused}");
        std::fs::remove_file(path).unwrap();
    }
}
