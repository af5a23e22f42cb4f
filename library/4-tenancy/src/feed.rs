use jiff::Timestamp;
use uuid::Uuid;
use watertight_authority::{Action, GrantedNew, Resource};
use watertight_identity::feed::FeedSecret;
use watertight_terms::Fault;

use crate::TenantTx;

/// A feed, as its member sees it.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Its id, by which it can be ended.
    pub id: Uuid,
    /// What it is about, as the product said when it was opened; none is the member's own.
    pub about: Option<Uuid>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// Whether it is the one that asks.
    pub here: bool,
}

const OPEN: &str = "SELECT tenancy.open_feed($1, $2, $3, $4) AS opened";
const MINE: &str = "SELECT id, about, created_at, here FROM tenancy.feeds_of_mine($1)";
const END: &str = "SELECT tenancy.end_feed($1) AS ended";

impl TenantTx {
    /// Opens a feed for the caller. Whose it is, is the transaction's own; nothing of that can be given
    /// here. False, when the caller has `most` already.
    ///
    /// # Errors
    /// When the grant is another transaction's, or the caller is no member with a session.
    pub async fn open_feed<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        id: Uuid,
        secret: &FeedSecret,
        about: Option<Uuid>,
        most: i32,
    ) -> Result<bool, Fault> {
        self.spend_new(granted)?;
        let digest = secret.digest();
        let parameters: [&(dyn postgres_types::ToSql + Sync); 4] =
            [&id, &digest.as_slice(), &about, &most];
        let rows = self.run(OPEN, &parameters).await?;
        rows.first()
            .map_or(Ok(false), |row| row.field::<bool>("opened"))
    }

    /// The caller's live feeds, the newest first. `here` is the one that asks, if a feed does.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn feeds(&mut self, here: Option<&FeedSecret>) -> Result<Vec<Feed>, Fault> {
        let digest = here.map(FeedSecret::digest);
        let rows = self
            .run(MINE, &[&digest.as_ref().map(<[u8; 32]>::as_slice)])
            .await?;
        let read = |row: &crate::Row| {
            Ok(Feed {
                id: row.field("id")?,
                about: row.field("about")?,
                created_at: row.field("created_at")?,
                here: row.field("here")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Ends one of the caller's feeds, for good.
    ///
    /// # Errors
    /// Unseen, when the caller has none of that id that is live.
    pub async fn end_feed<A: Action<R>, R: Resource>(
        &mut self,
        granted: GrantedNew<A, R>,
        id: Uuid,
    ) -> Result<(), Fault> {
        self.spend_new(granted)?;
        let rows = self.run(END, &[&id]).await?;
        match rows.first().map(|row| row.field::<bool>("ended")) {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) | None => Err(Fault::unseen()),
            Some(Err(fault)) => Err(fault),
        }
    }
}
