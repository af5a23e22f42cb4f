//! Renewing what outdated keys sealed, and destroying those.

use uuid::Uuid;
use watertight_tenancy::{Row, Tell, Tenancy, TenantTx};
use watertight_terms::{Fault, TenantId};

use crate::{Holder, Keys, Place, Sealed, Vault};

/// So many people are renewed in one transaction.
const PEOPLE: &str = "10";

const STUDIOS: Tell = Tell::new("w3", "SELECT tenant FROM vault.outdated_studios($1)");
const RETIRE: Tell = Tell::new("w4", "SELECT vault.retire_wrapping_key($1) AS needed");
const OUTDATED: Tell = Tell::new("v1", "SELECT person, in_all FROM vault.outdated_people($1)");
const VALUES: Tell = Tell::new(
    "v2",
    "SELECT place, id, sealed, is_indexed FROM vault.values_of($1)",
);
const RENEW: Tell = Tell::new("v3", "SELECT vault.renew_value($1)");
const DESTROY: Tell = Tell::new("v4", "SELECT vault.destroy_old_keys($1) AS destroyed");

/// What one transaction of a renewal did.
#[derive(Debug, Clone, Default)]
pub struct Renewed {
    /// The people, or the rows of the studio's own, that were renewed.
    pub rows: Vec<Uuid>,
    /// How many people are left.
    pub people_left: i64,
    /// Whether the studio is done with.
    pub is_done: bool,
}

impl Vault {
    /// The studios with a key that is wrapped by another than the current key-encryption key, or that a newer
    /// one replaced.
    ///
    /// # Errors
    /// When the database or whoever holds the key-encryption keys cannot be reached.
    pub async fn outdated(&self, tenancy: &Tenancy) -> Result<Vec<TenantId>, Fault> {
        let current = self.current().await?.to_string();
        let rows = tenancy.tell(STUDIOS, &[&current]).await?;
        let tenants = rows.iter().map(|row| row.field("tenant").map(TenantId));
        tenants.collect()
    }

    /// Renews some of a studio: people first, each whole, then what the studio's own key sealed, then
    /// the studio's old keys are destroyed. To be committed, and called again until it is done.
    ///
    /// # Errors
    /// When a value does not open, or the database refuses.
    pub async fn renew(&self, tx: &mut TenantTx) -> Result<Renewed, Fault> {
        let studio = self.to_seal(tx, Holder::Studio).await?;
        let tenant = tx.tenant().to_string();
        let outdated = tx.tell(OUTDATED, &[&tenant, PEOPLE]).await?;
        let mut renewed = Renewed::default();
        for row in &outdated {
            let person: Uuid = row.field("person")?;
            renewed.people_left = row.field::<i64>("in_all")? - outdated.len() as i64;
            let keys = self.to_seal(tx, Holder::Person(person)).await?;
            self.renew_values(tx, &person.to_string(), &keys, &studio)
                .await?;
            renewed.rows.push(person);
        }
        if outdated.is_empty() {
            renewed.rows = self.renew_values(tx, "", &studio, &studio).await?;
            renewed.is_done = renewed.rows.is_empty();
        }
        Ok(renewed)
    }

    /// Seals the values of a holder anew and destroys the keys that none needs any more.
    async fn renew_values(
        &self,
        tx: &mut TenantTx,
        holder: &str,
        keys: &Keys,
        studio: &Keys,
    ) -> Result<Vec<Uuid>, Fault> {
        let tenant = tx.tenant().to_string();
        let mut rows = Vec::new();
        for row in &tx.tell(VALUES, &[&tenant, holder]).await? {
            let renewed = renewed(row, keys, studio)?;
            let [place, id, sealed, index] = renewed.each_ref().map(String::as_str);
            tx.tell(RENEW, &[&tenant, place, id, sealed, index]).await?;
            rows.push(row.field("id")?);
        }
        if !holder.is_empty() || rows.is_empty() {
            tx.tell(DESTROY, &[&tenant, holder]).await?;
        }
        Ok(rows)
    }

    /// Takes a key-encryption key out of use, unless it still wraps something: then gives how many
    /// keys. None where no such key is in use.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn retire(&self, tenancy: &Tenancy, number: i16) -> Result<Option<u64>, Fault> {
        let rows = tenancy.tell(RETIRE, &[&number.to_string()]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Fault::bug("nothing was retired or not"))?;
        Ok(u64::try_from(row.field::<i64>("needed")?).ok())
    }
}

/// Place, row, value and index of a value that was sealed anew.
fn renewed(row: &Row, keys: &Keys, studio: &Keys) -> Result<[String; 4], Fault> {
    let (column, id): (String, Uuid) = (row.field("place")?, row.field("id")?);
    let place = Place {
        column: &column,
        row: id,
    };
    let old = Sealed::from_stored(row.field("sealed")?);
    let opened = keys.open_document(place, &old);
    let opened = opened.map_err(|fault| Fault::bug(format!("`{column}` of row {id}: {fault}")))?;
    let sealed = keys.seal_document(place, opened.expose())?;
    let index = match row.field("is_indexed")? {
        true => hex::encode(studio.index(&column, opened.expose())?),
        false => String::new(),
    };
    let sealed = hex::encode(sealed.as_stored());
    Ok([column, id.to_string(), sealed, index])
}
