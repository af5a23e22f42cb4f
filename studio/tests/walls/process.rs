//! A server in a process of its own, from the binary that operators run, over the same database.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use studio::{commands::write_private, demo::ORIGIN};
use tokio::net::TcpListener;
use watertight_identity::double::Double;
use watertight_terms::{Clock, Random};

use crate::world::World;

/// The process. It goes with its test.
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) base: String,
    /// Where the stand-in for Clerk publishes its keys to it.
    keys: SocketAddr,
}

impl Process {
    /// Starts one, which listens when this gives it.
    pub(crate) async fn serve(world: &World) -> Self {
        Self::trusting(world, &[]).await
    }

    /// The same, which writes its log to a file.
    pub(crate) async fn logging(world: &World, log: &std::path::Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        Self::started(world, &[], log.into()).await
    }

    /// The same, which trusts further instances of Clerk's, each by its issuer.
    async fn trusting(world: &World, further: &[(&str, &Double)]) -> Self {
        Self::started(world, further, Stdio::inherit()).await
    }

    async fn started(world: &World, further: &[(&str, &Double)], log: Stdio) -> Self {
        let keys = publish_keys(&world.double).await;
        let (mut instances, mut allowed) = (String::new(), vec![keys.to_string()]);
        for (issuer, double) in further {
            let keys = publish_keys(double).await;
            allowed.push(keys.to_string());
            instances += &format!(
                "[[clerk.further_instances]]\nissuer = \"{issuer}\"\njwks_url = \"{}\"\n",
                jwks_url(keys)
            );
        }
        let first = world.config.keys.location.with_file_name("studio.toml");
        let second = first.with_file_name("second.toml");
        let text = std::fs::read_to_string(&first)
            .unwrap()
            .replace("https://clerk.watertight.test/jwks", &jwks_url(keys));
        let mut text = format!("{text}[outbound]\nallow = {allowed:?}\n{instances}");
        let certificate = first.with_file_name("cert.pem");
        if certificate.exists() {
            let key = first.with_file_name("key.pem");
            let lines = format!("[http]\ntls_cert = {certificate:?}\ntls_key = {key:?}");
            text = text.replacen("[http]", &lines, 1);
        }
        write_private(&second, &text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_studio"))
            .args(["--format", "json", "--config"])
            .arg(second)
            .args(["serve", "--no-work"])
            .env("STUDIO_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        let base = format!("http://{}", said["listen"].as_str().unwrap());
        Self { child, base, keys }
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// How often it fetched Clerk's keys.
    pub(crate) async fn fetches(&self, world: &World) -> u32 {
        let url = format!("http://{}/jwks-hits", self.keys);
        let text = world.http.get(url).send().await.unwrap().text();
        text.await.unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn jwks_url(keys: SocketAddr) -> String {
    format!("http://{keys}/.well-known/jwks.json")
}

async fn publish_keys(double: &Double) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = double.router(Vec::new());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// An operator who rotated keys at Clerk tells every process by a signal.
#[tokio::test]
async fn a_process_that_is_told_of_a_rotation_asks_for_the_keys_again() {
    let world = World::new().await;
    let process = Process::serve(&world).await;
    let ask = async || {
        let url = format!("{}/v1/me", process.base);
        let asked = world.http.get(url).bearer_auth(world.token(0, "owner"));
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask().await, 200);
    assert_eq!(ask().await, 200);
    assert_eq!(process.fetches(&world).await, 1);
    process.signal("HUP");
    for _ in 0..100 {
        assert_eq!(ask().await, 200);
        if process.fetches(&world).await == 2 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it did not ask again");
}

/// A certificate of a world's own, beside its configuration: processes that are started then use it.
fn renew_certificate(world: &World) -> reqwest::Certificate {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let beside = |name| world.config.keys.location.with_file_name(name);
    write_private(&beside("cert.pem"), &pair.cert.pem()).unwrap();
    write_private(&beside("key.pem"), &pair.signing_key.serialize_pem()).unwrap();
    reqwest::Certificate::from_pem(pair.cert.pem().as_bytes()).unwrap()
}

/// Whoever renewed the certificate tells the process by the same signal; nothing is restarted.
#[tokio::test]
async fn a_process_that_is_told_reads_its_certificate_again() {
    let world = World::new().await;
    let old = renew_certificate(&world);
    let process = Process::serve(&world).await;
    let url = format!("{}/v1/me", process.base.replace("http:", "https:"));
    let ask = async |trusted: &reqwest::Certificate| {
        let client = reqwest::Client::builder().tls_certs_only([trusted.clone()]);
        let asked = client.build().unwrap().get(&url);
        let asked = asked.bearer_auth(world.token(0, "owner")).send().await;
        asked.ok().map(|answer| answer.status().as_u16())
    };
    assert_eq!(ask(&old).await, Some(200));
    let new = renew_certificate(&world);
    assert_eq!(ask(&new).await, None);
    process.signal("HUP");
    for _ in 0..100 {
        if ask(&new).await == Some(200) {
            assert_eq!(ask(&old).await, None);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it did not read it again");
}

/// While a studio moves from one instance of Clerk's to another, tokens of either get in, each by
/// its own keys.
#[tokio::test]
async fn tokens_of_a_further_instance_get_in_by_its_own_keys() {
    const FORMER: &str = "https://former.watertight.test";
    let world = World::new().await;
    let former = Double::new(FORMER, ORIGIN, Clock::system(), Random::system()).unwrap();
    let told = async |process: &Process, token: String| {
        let url = format!("{}/v1/me", process.base);
        let asked = world.http.get(url).bearer_auth(token);
        asked.send().await.unwrap().status().as_u16()
    };
    let mut claims = world.claims(0, "owner");
    claims["iss"] = FORMER.into();
    let good = former.sign(&former.header(), &claims);
    let forged = world.double.sign(&world.double.header(), &claims);

    let process = Process::trusting(&world, &[(FORMER, &former)]).await;
    assert_eq!(told(&process, world.token(0, "owner")).await, 200);
    assert_eq!(told(&process, good.clone()).await, 200);
    assert_eq!(told(&process, forged).await, 401);
    let alone = Process::serve(&world).await;
    assert_eq!(told(&alone, good).await, 401);
}
