//! Whoever asks by HTTP/2 and lets nothing be sent yet: what is held for them does not leave after a freeze that said it was done.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{on_duty::Operators, process::Process, world::World};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

/// A frame of RFC 9113.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head.as_slice(), payload].concat()
}

/// A field of RFC 7541 that is not indexed: the name's place in the static table, and the value.
fn field(name: u8, value: &str) -> Vec<u8> {
    let mut field = match name {
        0..15 => vec![name],
        _ => vec![15, name - 15],
    };
    let length = value.len();
    if length < 127 {
        field.push(u8::try_from(length).unwrap());
    } else {
        let mut rest = length - 127;
        field.push(127);
        while rest >= 128 {
            field.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        field.push(u8::try_from(rest).unwrap());
    }
    field.extend(value.as_bytes());
    field
}

/// One who asks for the list of artists, and lets so many bytes of it be sent.
struct Taking(TcpStream);

impl Taking {
    async fn ask(world: &World, base: &str, studio: usize, window: u32) -> Self {
        let address = base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let wanted = [&[0, 4][..], &window.to_be_bytes()].concat();
        let token = format!("Bearer {}", world.token(studio, "owner"));
        // GET, http, and where.
        let asked = [
            vec![0x82, 0x86],
            field(4, "/v1/artists"),
            field(1, address),
            field(23, &token),
        ];
        let sent = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &wanted),
            frame(HEADERS, 5, 1, &asked.concat()),
        ];
        stream.write_all(&sent.concat()).await.unwrap();
        let mut taking = Self(stream);
        // What was begun before a freeze, and no refusal by it.
        for _ in 0..60 {
            if let Some((HEADERS, _)) = taking.next().await {
                return taking;
            }
        }
        panic!("no answer");
    }

    /// The next frame: its kind and how long it is; none when nothing comes for a while.
    async fn next(&mut self) -> Option<(u8, usize)> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((head[3], length))
        };
        tokio::time::timeout(Duration::from_millis(500), read)
            .await
            .ok()?
    }

    /// How many bytes of the answer come until nothing does.
    async fn take(&mut self) -> usize {
        let mut taken = 0;
        while let Some((kind, length)) = self.next().await {
            taken += if kind == DATA { length } else { 0 };
        }
        taken
    }

    /// Lets all be sent.
    async fn open(&mut self) {
        let update = frame(WINDOW_UPDATE, 0, 1, &1_000_000_u32.to_be_bytes());
        // It may be gone.
        let _ = self.0.write_all(&update).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_has_taken_does_not_leave_after_a_freeze() {
    for window in [0, 1] {
        let world = World::new().await;
        let operators = Operators::of(&world).await;
        let process = Process::serve(&world).await;
        let mut own = Taking::ask(&world, &process.base, 0, window).await;
        let mut other = Taking::ask(&world, &process.base, 1, window).await;
        assert_eq!(own.take().await, window as usize);
        assert_eq!(other.take().await, window as usize);
        let id = operators.open(&["--emergency"]).await;
        let said = operators.run(0, &["freeze", "--incident", &id]).await;
        own.open().await;
        let taken = own.take().await;
        // Nobody has to be gone for it: the connection is ended, and with it what was held for it.
        assert_eq!((taken, said.code), (0, 0), "{said:?}");
        let took = said.value["took_ms"].as_u64().unwrap();
        assert!((1_000..9_000).contains(&took), "{took}");
        other.open().await;
        assert!(other.take().await > 100, "another studio's");
    }
}
