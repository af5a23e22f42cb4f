use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use uuid::Uuid;
use watertight_tenancy::{Read, Row, Tell, Tenancy, TenantTx, ToSql};
use watertight_terms::{Fault, Key, KeyRing, Random, TenantId};

use crate::{Holder, Keys, WrapFault, Wrapping, wrapping};

/// So many unwrapped keys are held in memory.
const HELD_MOST: usize = 2_048;

/// The value whose wrapping is noted for each key-encryption key. It is no secret.
const CHECK: [u8; 32] = *b"watertight vault, check value 01";

const STUDIO_KEYS: Read = Read::new(
    "SELECT number, wrapping_key AS wrapped_by, wrapped FROM vault.studio_keys
     WHERE tenant_id = $1 ORDER BY number",
);
const PERSON_KEYS: Read = Read::new(
    "SELECT number, studio_key AS wrapped_by, wrapped FROM vault.person_keys
     WHERE tenant_id = $1 AND person = $2 ORDER BY number",
);
const KEEP_STUDIO_KEY: Tell = Tell::new(
    "k1",
    "SELECT wrapped_by, wrapped FROM vault.keep_studio_key($1)",
);
const KEEP_PERSON_KEY: Tell = Tell::new(
    "k2",
    "SELECT wrapped_by, wrapped FROM vault.keep_person_key($1)",
);
const NOTE: Tell = Tell::new("w2", "SELECT vault.note_wrapping_key($1)");
const KNOWN: Tell = Tell::new(
    "w1",
    "SELECT number, checked, is_retired FROM vault.wrapping_keys_known($1)",
);

/// Fetches keys, unwraps them, makes new ones where there is none or what wraps it was replaced.
///
/// Which keys there are is read in each transaction, so that a destroyed one is gone at once and one
/// whose making was rolled back is never used; held in memory is only what a wrapped key comes to.
#[derive(Clone)]
pub struct Vault {
    wrapping: Arc<dyn Wrapping>,
    held: Arc<quick_cache::sync::Cache<[u8; 32], Key>>,
    random: Random,
}

/// A key as its table has it.
#[derive(Debug, Clone)]
struct Stored {
    number: i16,
    wrapped_by: i16,
    wrapped: Vec<u8>,
}

impl Vault {
    /// A vault whose keys are wrapped by `wrapping`.
    pub fn new(wrapping: Arc<dyn Wrapping>, random: Random) -> Self {
        Self {
            wrapping,
            held: Arc::new(quick_cache::sync::Cache::new(HELD_MOST)),
            random,
        }
    }

    /// The keys of a holder in this transaction's studio, for opening.
    ///
    /// # Errors
    /// When the key-encryption keys cannot be reached or are not the right ones.
    pub async fn to_open(&self, tx: &mut TenantTx, holder: Holder) -> Result<Keys, Fault> {
        let (studio, person) = stored(tx, holder).await?;
        let tenant = tx.tenant();
        let keys = match holder {
            Holder::Studio => self.studio_keys(tenant, &studio).await?,
            Holder::Person(id) => self.person_keys(tenant, id, &studio, &person).await?,
        };
        let ring = ring(keys);
        Ok(Keys::to_open(tenant, holder, ring, self.random.clone()))
    }

    /// The keys of a holder in this transaction's studio, for sealing too. Where there is none, or the
    /// key above it was replaced, a new one is made in this transaction.
    ///
    /// # Errors
    /// As [`Vault::to_open`].
    pub async fn to_seal(&self, tx: &mut TenantTx, holder: Holder) -> Result<Keys, Fault> {
        let (mut studio, mut person) = stored(tx, holder).await?;
        let tenant = tx.tenant();
        let wrapping = self.wrapping.current().await?;
        if studio.last().is_none_or(|key| key.wrapped_by != wrapping) {
            let made = self.make_studio_key(tx, next(&studio)?, wrapping).await?;
            studio.push(made);
        }
        let current = studio.last().map_or(0, |key| key.number);
        let keys = match holder {
            Holder::Studio => self.studio_keys(tenant, &studio).await?,
            Holder::Person(id) => {
                if person.last().is_none_or(|key| key.wrapped_by != current) {
                    let number = next(&person)?;
                    let made = self.make_person_key(tx, id, number, &studio).await?;
                    person.push(made);
                }
                self.person_keys(tenant, id, &studio, &person).await?
            }
        };
        let ring = ring(keys).ok_or_else(|| Fault::bug("a key that was made is not there"))?;
        Ok(Keys::new(tenant, holder, ring, self.random.clone()))
    }

    /// Gives the studio a new key in this transaction. What its older ones sealed or wrapped is renewed as
    /// after a rotation, and then they are destroyed: with them whatever an older copy of the rows has that
    /// only they opened.
    ///
    /// # Errors
    /// As [`Vault::to_open`].
    pub async fn replace_studio_key(&self, tx: &mut TenantTx) -> Result<(), Fault> {
        let (studio, _) = stored(tx, Holder::Studio).await?;
        if studio.is_empty() {
            return Ok(());
        }
        let wrapping = self.wrapping.current().await?;
        let made = self.make_studio_key(tx, next(&studio)?, wrapping).await;
        made.map(drop)
    }

    /// Compares the key-encryption keys with those that this database was sealed with, and notes the
    /// current one if it is new. A server that fails here must not start.
    ///
    /// # Errors
    /// When one that is needed is missing or is another, or nobody can be asked.
    pub async fn check(&self, tenancy: &Tenancy) -> Result<(), WrapFault> {
        let database = |fault: Fault| WrapFault::Database(fault.to_string());
        let known = tenancy.tell(KNOWN, &[]).await.map_err(database)?;
        let current = self.wrapping.current().await?;
        let mut is_noted = false;
        for row in &known {
            let number: i16 = row.field("number").map_err(database)?;
            match row.field("is_retired").map_err(database)? {
                true if number == current => return Err(WrapFault::Retired(number)),
                true => continue,
                false => {}
            }
            let checked: Vec<u8> = row.field("checked").map_err(database)?;
            let context = check_context(number);
            let opened = self.wrapping.unwrap(number, &context, &checked).await?;
            if opened.expose() != &CHECK {
                return Err(WrapFault::Wrong(number));
            }
            is_noted |= number == current;
        }
        if !is_noted {
            let fields = self.check_fields(current).await?;
            let fields = [fields[0].as_str(), fields[1].as_str()];
            tenancy.tell(NOTE, &fields).await.map_err(database)?;
        }
        Ok(())
    }

    /// The numbers of every key-encryption key that this database ever knew.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn numbers_known(&self, tenancy: &Tenancy) -> Result<Vec<i16>, Fault> {
        let known = tenancy.tell(KNOWN, &[]).await?;
        known.iter().map(|row| row.field("number")).collect()
    }

    /// The number of the current key-encryption key.
    pub(crate) async fn current(&self) -> Result<i16, WrapFault> {
        self.wrapping.current().await
    }

    async fn make_studio_key(
        &self,
        tx: &mut TenantTx,
        number: i16,
        wrapping: i16,
    ) -> Result<Stored, Fault> {
        let [current, checked] = self.check_fields(wrapping).await?;
        tx.tell(NOTE, &[&current, &checked]).await?;
        let (tenant, key) = (tx.tenant(), Key::new(self.random.bytes()));
        let context = studio_context(tenant, number);
        let wrapped = self.wrapping.wrap(wrapping, &context, &key).await?;
        let (tenant, wrapped) = (tenant.to_string(), hex::encode(wrapped));
        let fields = [tenant.as_str(), &number.to_string(), &current, &wrapped];
        kept(number, &tx.tell(KEEP_STUDIO_KEY, &fields).await?)
    }

    async fn make_person_key(
        &self,
        tx: &mut TenantTx,
        person: Uuid,
        number: i16,
        studio: &[Stored],
    ) -> Result<Stored, Fault> {
        let (tenant, key) = (tx.tenant(), Key::new(self.random.bytes()));
        let above = studio
            .last()
            .ok_or_else(|| Fault::bug("a studio without a key"))?;
        let studio_key = self.studio_key(tenant, above).await?;
        let context = person_context(tenant, person, number);
        let wrapped = wrapping::wrap(&studio_key, &context, &key, &self.random)?;
        let (tenant, person) = (tenant.to_string(), person.to_string());
        let (above, wrapped) = (above.number.to_string(), hex::encode(wrapped));
        let fields = [
            tenant.as_str(),
            &person,
            &number.to_string(),
            &above,
            &wrapped,
        ];
        kept(number, &tx.tell(KEEP_PERSON_KEY, &fields).await?)
    }

    async fn check_fields(&self, number: i16) -> Result<[String; 2], WrapFault> {
        let context = check_context(number);
        let checked = self
            .wrapping
            .wrap(number, &context, &Key::new(CHECK))
            .await?;
        Ok([number.to_string(), hex::encode(checked)])
    }

    async fn studio_keys(
        &self,
        tenant: TenantId,
        studio: &[Stored],
    ) -> Result<Vec<(i16, Key)>, Fault> {
        let mut keys = Vec::with_capacity(studio.len());
        for stored in studio {
            keys.push((stored.number, self.studio_key(tenant, stored).await?));
        }
        Ok(keys)
    }

    async fn person_keys(
        &self,
        tenant: TenantId,
        person: Uuid,
        studio: &[Stored],
        keys_of_person: &[Stored],
    ) -> Result<Vec<(i16, Key)>, Fault> {
        let mut keys = Vec::with_capacity(keys_of_person.len());
        for stored in keys_of_person {
            let mut above = studio.iter();
            let above = above
                .find(|key| key.number == stored.wrapped_by)
                .ok_or_else(|| Fault::bug("a person's key is wrapped by none of the studio's"))?;
            let context = person_context(tenant, person, stored.number);
            let name = name(&context, stored);
            let key = match self.held.get(&name) {
                Some(key) => key,
                None => {
                    let studio_key = self.studio_key(tenant, above).await?;
                    let key = wrapping::unwrap(&studio_key, &context, &stored.wrapped)
                        .ok_or_else(|| Fault::bug("a person's key does not unwrap"))?;
                    self.held.insert(name, key.clone());
                    key
                }
            };
            keys.push((stored.number, key));
        }
        Ok(keys)
    }

    async fn studio_key(&self, tenant: TenantId, stored: &Stored) -> Result<Key, Fault> {
        let context = studio_context(tenant, stored.number);
        let name = name(&context, stored);
        if let Some(key) = self.held.get(&name) {
            return Ok(key);
        }
        let wrapping = self.wrapping.as_ref();
        let key = wrapping
            .unwrap(stored.wrapped_by, &context, &stored.wrapped)
            .await?;
        self.held.insert(name, key.clone());
        Ok(key)
    }
}

/// The studio's keys, and the person's if it is one's.
async fn stored(tx: &mut TenantTx, holder: Holder) -> Result<(Vec<Stored>, Vec<Stored>), Fault> {
    let rows = match holder {
        Holder::Studio => tx.reads(&[(STUDIO_KEYS, &[])]).await?,
        Holder::Person(person) => {
            let person: &(dyn ToSql + Sync) = &person;
            tx.reads(&[(STUDIO_KEYS, &[]), (PERSON_KEYS, &[person])])
                .await?
        }
    };
    let mut both = rows.iter().map(|rows| {
        let keys = rows.iter().map(|row| {
            Ok(Stored {
                number: row.field("number")?,
                wrapped_by: row.field("wrapped_by")?,
                wrapped: row.field("wrapped")?,
            })
        });
        keys.collect::<Result<Vec<_>, Fault>>()
    });
    let studio = both.next().transpose()?.unwrap_or_default();
    let person = both.next().transpose()?.unwrap_or_default();
    Ok((studio, person))
}

/// What was kept, which another may have made at the same time.
fn kept(number: i16, rows: &[Row]) -> Result<Stored, Fault> {
    let row = rows
        .first()
        .ok_or_else(|| Fault::bug("a key was not kept"))?;
    Ok(Stored {
        number,
        wrapped_by: row.field("wrapped_by")?,
        wrapped: row.field("wrapped")?,
    })
}

fn next(keys: &[Stored]) -> Result<i16, Fault> {
    let last = keys.last().map_or(0, |key| key.number);
    last.checked_add(1)
        .ok_or_else(|| Fault::bug("the numbers of keys are used up"))
}

/// The last is current.
fn ring(keys: Vec<(i16, Key)>) -> Option<KeyRing> {
    keys.into_iter()
        .fold(None, |ring, (number, key)| match ring {
            None => Some(KeyRing::single(number, key)),
            Some(ring) => Some(KeyRing::rotated(ring, number, key)),
        })
}

fn studio_context(tenant: TenantId, number: i16) -> String {
    format!("studio key|{tenant}|{number}")
}

fn person_context(tenant: TenantId, person: Uuid, number: i16) -> String {
    format!("person key|{tenant}|{person}|{number}")
}

fn check_context(number: i16) -> String {
    format!("check|{number}")
}

/// The name under which an unwrapped key is held: everything that it came from.
fn name(context: &str, stored: &Stored) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    digest.update(&stored.wrapped_by.to_be_bytes());
    digest.update(&(context.len() as u64).to_be_bytes());
    digest.update(context.as_bytes());
    digest.update(&stored.wrapped);
    let mut name = [0; 32];
    name.copy_from_slice(digest.finish().as_ref());
    name
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}
