//! A server in a process of its own, from the binary that operators run, over the same database.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use studio::commands::write_private;
use tokio::net::TcpListener;

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
        let keys = publish_keys(world).await;
        let first = world.config.keys.location.with_file_name("studio.toml");
        let second = first.with_file_name("second.toml");
        let text = std::fs::read_to_string(&first)
            .unwrap()
            .replace(
                "https://clerk.watertight.test/jwks",
                &format!("http://{keys}/.well-known/jwks.json"),
            )
            .replace(
                "[keys]",
                &format!("[outbound]\nallow = [\"{keys}\"]\n[keys]"),
            );
        write_private(&second, &text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_studio"))
            .args(["--format", "json", "--config"])
            .arg(second)
            .args(["serve", "--no-work"])
            .env("STUDIO_LOG", "warn")
            .stdout(Stdio::piped())
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

async fn publish_keys(world: &World) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.double.router(Vec::new());
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
