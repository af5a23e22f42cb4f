use std::fmt;

use uuid::Uuid;
use watertight_authority::{Allowed, Gathers, Opens, Resource};
use watertight_tenancy::TenantTx;
use watertight_terms::{Fault, Key, KeyRing, Random, TenantId, hmac_sha256};
use zeroize::Zeroizing;

use crate::{
    Opened, Sealed, VaultFault,
    cipher::{self, NONCE_BYTES, TAG_BYTES},
    fault::TEXT_CHARS_MAX,
};

/// The version of the form that is written.
const VERSION: u8 = 2;
/// Version, key number and nonce.
const HEAD_BYTES: usize = 1 + 2 + NONCE_BYTES;
/// A sealed value is at most so long; longer ones are not decrypted.
const STORED_BYTES_MAX: usize = HEAD_BYTES + 4 * TEXT_CHARS_MAX + TAG_BYTES;
/// A document has at most so many bytes.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Whose key a value is sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The studio's.
    Studio,
    /// A person's own, of the row that is the person.
    Person(Uuid),
}

/// Where a value lives. It opens there and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// `schema.table.column`.
    pub column: &'a str,
    /// The row's id.
    pub row: Uuid,
}

/// The keys of one holder in one studio, unwrapped: seals with the current one, opens with any.
pub struct Keys {
    tenant: TenantId,
    holder: Holder,
    ring: Option<KeyRing>,
    may_seal: bool,
    random: Random,
}

impl Keys {
    /// Keys that seal and open.
    pub fn new(tenant: TenantId, holder: Holder, ring: KeyRing, random: Random) -> Self {
        Self {
            tenant,
            holder,
            ring: Some(ring),
            may_seal: true,
            random,
        }
    }

    /// Keys that only open; perhaps there are none, where nothing was ever sealed.
    pub(crate) fn to_open(
        tenant: TenantId,
        holder: Holder,
        ring: Option<KeyRing>,
        random: Random,
    ) -> Self {
        Self {
            tenant,
            holder,
            ring,
            may_seal: false,
            random,
        }
    }

    /// Seals a text for its place. Equal texts give different bytes.
    ///
    /// # Errors
    /// When the text has over 10,000 characters, or when the keys are for opening only.
    pub fn seal(&self, place: Place<'_>, plaintext: &str) -> Result<Sealed<String>, VaultFault> {
        if plaintext.chars().nth(TEXT_CHARS_MAX).is_some() {
            return Err(VaultFault::TooLong);
        }
        self.seal_any(place, plaintext)
    }

    /// Seals a text that is no field of a row but made of many, such as an answer.
    ///
    /// # Errors
    /// When it has over a mebibyte, or when the keys are for opening only.
    pub fn seal_document(
        &self,
        place: Place<'_>,
        document: &str,
    ) -> Result<Sealed<String>, VaultFault> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(VaultFault::TooLong);
        }
        self.seal_any(place, document)
    }

    fn seal_any(&self, place: Place<'_>, plaintext: &str) -> Result<Sealed<String>, VaultFault> {
        let (number, key) = self.current().ok_or(VaultFault::NoCurrentKey)?;
        let nonce: [u8; NONCE_BYTES] = self.random.bytes();
        let bound_to = self.bound_to(place, number);
        let sealed = cipher::seal(key, nonce, &bound_to, plaintext.as_bytes())?;
        let mut stored = vec![VERSION];
        stored.extend_from_slice(&number.to_be_bytes());
        stored.extend_from_slice(&nonce);
        stored.extend_from_slice(&sealed);
        Ok(Sealed::from_stored(stored))
    }

    /// Opens a column of a row for whoever is allowed to; the transaction's entry names it.
    ///
    /// # Errors
    /// When the value was sealed for another place or holder, was changed, is no sealed value, or when
    /// its key is not here; or when the right is not to this column.
    pub fn open<A: Opens<R>, R: Resource>(
        &self,
        tx: &TenantTx,
        allowed: &Allowed<A, R>,
        column: &'static str,
        sealed: &Sealed<String>,
    ) -> Result<Opened<String>, Fault> {
        let row = tx.opens(allowed, column)?;
        Ok(self.open_at(Place { column, row }, sealed)?)
    }

    /// Opens a column of a row that was gathered, for whoever is allowed to; the transaction's entry names it.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn open_gathered<A: Gathers<R>, R: Resource>(
        &self,
        tx: &TenantTx,
        allowed: &Allowed<A, R>,
        (table, column): (&str, &'static str),
        row: Uuid,
        sealed: &Sealed<String>,
    ) -> Result<Opened<String>, Fault> {
        tx.gathers(allowed, table, column)?;
        let column = &format!("{table}.{column}");
        Ok(self.open_at(Place { column, row }, sealed)?)
    }

    /// Opens a value in the place where it lies.
    pub(crate) fn open_at(
        &self,
        place: Place<'_>,
        sealed: &Sealed<String>,
    ) -> Result<Opened<String>, VaultFault> {
        self.open_any(place, Parts::of(sealed.as_stored(), STORED_BYTES_MAX)?)
    }

    /// Opens a document in the place where it lies: for an answer whose rights were asked for again.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn open_document(
        &self,
        place: Place<'_>,
        sealed: &Sealed<String>,
    ) -> Result<Opened<String>, VaultFault> {
        let bytes_max = HEAD_BYTES + DOCUMENT_BYTES_MAX + TAG_BYTES;
        self.open_any(place, Parts::of(sealed.as_stored(), bytes_max)?)
    }

    fn open_any(&self, place: Place<'_>, parts: Parts<'_>) -> Result<Opened<String>, VaultFault> {
        let ring = self.ring.as_ref();
        let key = ring
            .and_then(|ring| ring.get(parts.number))
            .ok_or(VaultFault::UnknownKey(parts.number))?;
        let bound_to = self.bound_to(place, parts.number);
        let plain = cipher::open(key, parts.nonce, &bound_to, parts.sealed)?;
        let text = std::str::from_utf8(&plain).map_err(|_| VaultFault::Malformed)?;
        Ok(Opened::new(Zeroizing::new(text.to_owned())))
    }

    /// Whether a value was sealed with the key that is sealed with now; rotation seals the others
    /// again.
    pub fn is_current(&self, sealed: &Sealed<String>) -> bool {
        let number = self.current().map(|(number, _)| number);
        Parts::of(sealed.as_stored(), usize::MAX).is_ok_and(|parts| Some(parts.number) == number)
    }

    /// By what a value of a column is found again without being opened: the same for the same text in
    /// one studio's column, and nothing to whoever lacks the key. Space around it and its case do not
    /// count.
    ///
    /// # Errors
    /// When the keys are for opening only.
    pub fn index(&self, column: &str, text: &str) -> Result<Vec<u8>, VaultFault> {
        let (number, key) = self.current().ok_or(VaultFault::NoCurrentKey)?;
        Ok(index(number, key, column, text))
    }

    /// The same under every key that there is: what to look for while a rotation is under way.
    pub fn indexes(&self, column: &str, text: &str) -> Vec<Vec<u8>> {
        let keys = self.ring.iter().flat_map(KeyRing::iter);
        keys.map(|(number, key)| index(number, key, column, text))
            .collect()
    }

    fn current(&self) -> Option<(i16, &Key)> {
        let ring = self.ring.as_ref().filter(|_| self.may_seal)?;
        ring.current()
    }

    /// The associated data: fixed lengths first, the one name of free length last.
    fn bound_to(&self, place: Place<'_>, number: i16) -> Vec<u8> {
        let holder = match self.holder {
            Holder::Studio => self.tenant.0,
            Holder::Person(person) => person,
        };
        let mut data = vec![VERSION];
        data.extend_from_slice(&number.to_be_bytes());
        data.extend_from_slice(self.tenant.0.as_bytes());
        data.extend_from_slice(holder.as_bytes());
        data.extend_from_slice(place.row.as_bytes());
        data.extend_from_slice(place.column.as_bytes());
        data
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?}, …)", self.holder)
    }
}

/// The key's number and an HMAC under a key of its own, so that it is good for nothing else.
fn index(number: i16, key: &Key, column: &str, text: &str) -> Vec<u8> {
    let own = key.derive(&format!("blind index|{column}"));
    let code = hmac_sha256(&own, text.trim().to_lowercase().as_bytes());
    [number.to_be_bytes().as_slice(), &code].concat()
}

/// A stored value, taken apart.
struct Parts<'a> {
    number: i16,
    nonce: [u8; NONCE_BYTES],
    sealed: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(stored: &'a [u8], bytes_max: usize) -> Result<Self, VaultFault> {
        if stored.len() < HEAD_BYTES + TAG_BYTES || stored.len() > bytes_max {
            return Err(VaultFault::Malformed);
        }
        let (version, rest) = stored.split_first_chunk().ok_or(VaultFault::Malformed)?;
        let (number, rest) = rest.split_first_chunk().ok_or(VaultFault::Malformed)?;
        let (nonce, sealed) = rest.split_first_chunk().ok_or(VaultFault::Malformed)?;
        if *version != [VERSION] {
            return Err(VaultFault::Malformed);
        }
        Ok(Self {
            number: i16::from_be_bytes(*number),
            nonce: *nonce,
            sealed,
        })
    }
}

#[cfg(test)]
mod tests;
