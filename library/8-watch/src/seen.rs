use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::distinct::mixed;

/// An entry of the ledger, as far as detectors look at it. Read from a line of `/v1/audit/export`.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    /// Its number.
    pub seq: i64,
    /// When.
    pub time: Timestamp,
    /// Who: a subject of the identity provider, `service:NAME`, `operator:LOGIN`.
    pub actor: String,
    /// In which role.
    pub role: String,
    /// What was done, `noun.verb`.
    pub action: String,
    /// `allowed`, `refused` or `failed`.
    pub outcome: String,
    /// The status that was answered.
    #[serde(default)]
    pub status: u16,
    /// Which rule refused.
    #[serde(default)]
    pub rule: Option<String>,
    /// The rows, the first hundred.
    #[serde(default)]
    pub ids: Vec<Uuid>,
    /// How many rows it was.
    #[serde(default)]
    pub ids_count: u64,
    /// Over all of their ids.
    #[serde(default)]
    pub ids_digest: Option<String>,
    /// Personal fields that were opened.
    #[serde(default)]
    pub opened: Vec<String>,
    /// The network address.
    #[serde(default)]
    pub address: Option<String>,
    /// The client's name of itself.
    #[serde(default)]
    pub client: Option<String>,
}

/// Rows beyond the listed ones are counted up to so many an entry.
const UNLISTED_MOST: u64 = 10_000;

/// An answer of more rows than a page has is an export.
const PAGE_ROWS: u64 = 100;

impl Seen {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is no entry.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Whether a person did it, and not a service or an operator.
    pub(crate) fn is_of_a_member(&self) -> bool {
        !self.actor.starts_with("service:") && !self.actor.starts_with("operator:")
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.outcome == "allowed"
    }

    /// Whether rows were only read.
    pub(crate) fn is_reading(&self) -> bool {
        let reads = ["view", "inspect", "review", "export", "read"];
        let verb = self.verb();
        self.is_allowed()
            && reads
                .iter()
                .any(|read| verb == *read || verb.starts_with("view_"))
    }

    /// Whether rows left in one piece: as a table, or a person's or a studio's data.
    pub(crate) fn is_export(&self) -> bool {
        let is_named = self.verb() == "export" || self.action == "export.create";
        self.is_allowed() && (is_named || self.is_reading() && self.ids_count > PAGE_ROWS)
    }

    /// Whether it asked for what is not there, or not the member's to have.
    pub(crate) fn is_in_vain(&self) -> bool {
        self.outcome == "refused" && matches!(self.status, 403 | 404)
    }

    fn verb(&self) -> &str {
        self.action.rsplit('.').next().unwrap_or_default()
    }

    /// Numbers that stand for its rows: the same row has the same each time.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u64> + '_ {
        let listed = self.ids.iter().map(|id| {
            let (high, low) = id.as_u64_pair();
            mixed(high ^ low.rotate_left(17))
        });
        // What is not listed is known by the digest alone: the same question has the same rows.
        let unlisted = self.ids_count.saturating_sub(self.ids.len() as u64);
        let digest = self.ids_digest.as_deref().map_or(0, text_hash);
        let unlisted = (0..unlisted.min(UNLISTED_MOST)).map(move |n| mixed(digest ^ n));
        listed.chain(unlisted)
    }

    /// The network that it came from: an IPv4 address's /24, an IPv6 address's /48.
    pub(crate) fn network(&self) -> Option<String> {
        network(self.address.as_deref()?)
    }
}

/// The network of an address, as text.
pub(crate) fn network(address: &str) -> Option<String> {
    match address.parse().ok()? {
        std::net::IpAddr::V4(four) => {
            let [a, b, c, _] = four.octets();
            Some(format!("{a}.{b}.{c}.0/24"))
        }
        std::net::IpAddr::V6(six) => {
            let [a, b, c, ..] = six.segments();
            Some(format!("{a:x}:{b:x}:{c:x}::/48"))
        }
    }
}

/// A number for a text, the same in every build (FNV-1a).
pub(crate) fn text_hash(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed(folded)
}
