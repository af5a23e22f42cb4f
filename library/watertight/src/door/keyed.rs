use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;
use http::{Method, request::Parts};
use uuid::Uuid;
use watertight_tenancy::{Claim, Repeat, Seal, TenantTx};
use watertight_terms::Fault;
use watertight_vault::{Holder, Place, Sealed};

use super::{Boxed, Door, Handler, Visit, Way};
use crate::{
    answer::{Answer, KeptAnswer},
    argument::{IdempotencyKey, Input},
};

/// What was asked, and whether it may have been asked before.
pub(super) struct Asked {
    pub(super) input: Input,
    pub(super) repeat: Option<Repeat>,
}

impl Asked {
    /// The rows that the path names, whether they are there or not: what a refusal was about.
    pub(super) fn ids(&self) -> Vec<uuid::Uuid> {
        let named = self.input.path.iter();
        let named = named.filter_map(|(_, text)| text.parse::<uuid::fmt::Hyphenated>().ok());
        named.map(uuid::fmt::Hyphenated::into_uuid).collect()
    }
}

/// Where kept answers lie.
const COLUMN: &str = "tenancy.answers.sealed";

impl Door {
    /// The key of a request of a program that posts something, if it sent one.
    pub(super) fn repeat(
        &self,
        way: Way,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Option<Repeat>, Fault> {
        if way != Way::Api || parts.method != Method::POST {
            return Ok(None);
        }
        let IdempotencyKey(key) = IdempotencyKey::of(&parts.headers)?;
        Ok(key.map(|key| Repeat {
            key: sha256(key.as_bytes()),
            request: request_digest(parts, body),
        }))
    }

    /// Seals the transaction's answer with the studio's key, when it is there.
    async fn seal(&self, tx: &mut TenantTx) -> Result<Seal, Fault> {
        let keys = self.0.vault.to_seal(tx, Holder::Studio).await?;
        Ok(Box::new(move |id, text| {
            let sealed = keys.seal_document(place(id), text)?;
            Ok(sealed.as_stored().to_vec())
        }))
    }

    async fn open(
        &self,
        tx: &mut TenantTx,
        id: Uuid,
        sealed: Vec<u8>,
    ) -> Result<KeptAnswer, Fault> {
        let keys = self.0.vault.to_open(tx, Holder::Studio).await?;
        let opened = keys.open_document(place(id), &Sealed::from_stored(sealed))?;
        KeptAnswer::read(opened.expose())
    }
}

impl Visit {
    /// Runs the handler; or answers what was answered before, once every right that was granted then is
    /// granted again.
    pub(super) async fn keyed<H: Handler<Arguments>, Arguments>(
        &self,
        handler: &H,
        mut tx: TenantTx,
        asked: &Asked,
    ) -> Result<Answer<()>, Fault> {
        let Some(repeat) = &asked.repeat else {
            return run(handler, tx, &asked.input).await;
        };
        match tx.claim(*repeat).await? {
            Claim::New(claimed) => {
                let seal = self.door.seal(&mut tx).await?;
                tx.keep_with(claimed, seal);
                run(handler, tx, &asked.input).await
            }
            Claim::Done { id, sealed } => {
                let kept = self.door.open(&mut tx, id, sealed).await?;
                for right in kept.rights() {
                    tx.ask_again(right).await?;
                }
                let entry = kept.entry(self.needs.action, self.needs.resource);
                kept.again(tx.finish(entry).await?)
            }
        }
    }
}

/// Arguments are read inside the task too: whatever panics, the entry is written.
async fn run<H: Handler<Arguments>, Arguments>(
    handler: &H,
    tx: TenantTx,
    input: &Input,
) -> Result<Answer<()>, Fault> {
    let (handler, input) = (handler.clone(), input.clone());
    caught(Box::pin(async move { handler.call(tx, &input).await })).await
}

/// A handler that panics has a defect of ours; its transaction is gone with it.
pub(super) async fn caught(work: Boxed<Result<Answer<()>, Fault>>) -> Result<Answer<()>, Fault> {
    match tokio::spawn(work).await {
        Ok(worked) => worked,
        Err(_panicked) => Err(Fault::bug("a handler panicked")),
    }
}

fn place(id: Uuid) -> Place<'static> {
    Place {
        column: COLUMN,
        row: id,
    }
}

/// SHA-256 over method, path, query and body, each after its length: no two requests run together.
fn request_digest(parts: &Parts, body: &Bytes) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [
        parts.method.as_str().as_bytes(),
        parts.uri.path().as_bytes(),
        parts.uri.query().unwrap_or_default().as_bytes(),
        body,
    ] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    bytes_of(context.finish().as_ref())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    bytes_of(digest(&SHA256, bytes).as_ref())
}

fn bytes_of(digest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest);
    bytes
}
