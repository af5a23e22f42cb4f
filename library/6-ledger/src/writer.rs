//! Writes the entries of reads, refusals and failures, many at once.
//!
//! While one insert is under way, those that come gather; then they are the next one. Nobody waits for
//! a clock, a lone entry is written at once, and under load one commit is many requests'. Whoever
//! brings an entry waits until it is durable, so what is lost in here was never answered.

use tokio::sync::{mpsc, oneshot};
use watertight_tenancy::{Desk, Line};
use watertight_terms::{Fault, Kind};

/// So many entries wait at most; whoever comes then waits to be let in.
const QUEUE: usize = 1_024;
/// So many entries are one insert at most.
const BATCH: usize = 256;

type Told = oneshot::Sender<Result<(), Fault>>;

/// The way to the writer.
#[derive(Debug)]
pub(crate) struct Writer(mpsc::Sender<(Line, Told)>);

impl Writer {
    /// A writer at a desk, in a task that ends when the last way to it is gone.
    pub(crate) fn start(desk: Desk) -> Self {
        let (way, queue) = mpsc::channel(QUEUE);
        tokio::spawn(write_all(desk, queue));
        Self(way)
    }

    /// Has an entry written. Resolves when it is durable.
    pub(crate) async fn write(&self, line: Line) -> Result<(), Fault> {
        let (told, telling) = oneshot::channel();
        let ended = |_| Fault::bug("the ledger's writer has ended");
        self.0.send((line, told)).await.map_err(|_| ended(()))?;
        telling.await.map_err(|_| ended(()))?
    }
}

async fn write_all(desk: Desk, mut queue: mpsc::Receiver<(Line, Told)>) {
    let mut gathered = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut gathered, BATCH).await > 0 {
        let (lines, told): (Vec<Line>, Vec<Told>) = gathered.drain(..).unzip();
        let written = desk.append(&lines).await;
        match written {
            // One of them may be what the database does not take: it must not be the others' fault.
            Err(fault) if fault.kind() == Kind::Bug && lines.len() > 1 => {
                for (line, told) in lines.iter().zip(told) {
                    let written = desk.append(std::slice::from_ref(line)).await;
                    tell(told, written);
                }
            }
            written => told
                .into_iter()
                .for_each(|told| tell(told, written.clone())),
        }
    }
}

/// Whoever asked may be gone.
fn tell(told: Told, written: Result<(), Fault>) {
    let _ = told.send(written);
}
