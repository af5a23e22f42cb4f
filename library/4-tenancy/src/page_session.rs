use jiff::Timestamp;
use uuid::Uuid;
use watertight_authority::{Action, GrantedNew, Resource};
use watertight_identity::page::PageSecret;
use watertight_terms::Fault;

use crate::TenantTx;

/// A session of the product's own pages, as its member sees it.
#[derive(Debug, Clone)]
pub struct PageSession {
    /// Its id, by which it can be ended.
    pub id: Uuid,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// When it ends if it is not used again.
    pub expires_at: Timestamp,
    /// What its browser called itself.
    pub client: String,
    /// Whether it is the one that asks.
    pub here: bool,
}

/// How long a page session counts.
#[derive(Debug, Clone, Copy)]
pub struct PageLife {
    /// Without being used, in seconds; at most a day.
    pub idle_s: i32,
    /// At all, in seconds; at most a week.
    pub whole_s: i32,
}

const OPEN: &str = "SELECT tenancy.open_page_session($1, $2, $3, $4, $5)";
const MINE: &str = "SELECT id, opened_at, seen_at, expires_at, client, here FROM tenancy.page_sessions_of_mine($1)";
const END: &str = "SELECT tenancy.end_page_session($1, $2) AS ended";

impl TenantTx {
    /// Opens a page session for the caller, whose token was verified for this very transaction.
    /// Member, session and role are the transaction's own; nothing of them can be given here.
    ///
    /// # Errors
    /// When the grant is another transaction's, or the caller is no member.
    pub async fn open_page_session<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        id: Uuid,
        secret: &PageSecret,
        client: &str,
        life: PageLife,
    ) -> Result<(), Fault> {
        self.spend_new(granted)?;
        let digest = secret.digest();
        let parameters: [&(dyn postgres_types::ToSql + Sync); 5] = [
            &id,
            &digest.as_slice(),
            &client,
            &life.idle_s,
            &life.whole_s,
        ];
        self.run(OPEN, &parameters).await.map(drop)
    }

    /// The caller's live page sessions, the newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn page_sessions(
        &mut self,
        here: Option<&PageSecret>,
    ) -> Result<Vec<PageSession>, Fault> {
        let digest = here.map(PageSecret::digest);
        let rows = self
            .run(MINE, &[&digest.as_ref().map(<[u8; 32]>::as_slice)])
            .await?;
        let read = |row: &crate::Row| {
            Ok(PageSession {
                id: row.field("id")?,
                opened_at: row.field("opened_at")?,
                seen_at: row.field("seen_at")?,
                expires_at: row.field("expires_at")?,
                client: row.field("client")?,
                here: row.field("here")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Ends one of the caller's page sessions.
    ///
    /// # Errors
    /// Unseen, when the caller has none of that id that is live.
    pub async fn end_page_session<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        id: Uuid,
    ) -> Result<(), Fault> {
        self.spend_new(granted)?;
        self.end_sessions(Some(id), None).await
    }

    /// Ends the page session that asks.
    ///
    /// # Errors
    /// Unseen, when it has ended already.
    pub async fn end_this_page_session<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        secret: &PageSecret,
    ) -> Result<(), Fault> {
        self.spend_new(granted)?;
        self.end_sessions(None, Some(&secret.digest())).await
    }

    async fn end_sessions(
        &mut self,
        id: Option<Uuid>,
        digest: Option<&[u8; 32]>,
    ) -> Result<(), Fault> {
        let digest = digest.map(<[u8; 32]>::as_slice);
        let rows = self.run(END, &[&id, &digest]).await?;
        match rows.first().map(|row| row.field::<bool>("ended")) {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) | None => Err(Fault::unseen()),
            Some(Err(fault)) => Err(fault),
        }
    }
}
