//! How a process of the server heeds isolations: it is told of each, and confirms it once nothing of it is under
//! way here.

use std::{collections::HashMap, time::Duration};

use uuid::Uuid;
use watertight_terms::{Fault, TenantId};

use crate::{
    Tell, Tenancy,
    flight::{Flight, Target},
};

const HEED: Tell = Tell::new(
    "i1",
    "SELECT tenant, isolation, subject, address FROM tenancy.heed($1)",
);
const CONFIRM: Tell = Tell::new("i2", "SELECT tenancy.confirm_isolation($1)");
const LEAVE: Tell = Tell::new("i3", "SELECT tenancy.leave($1)");

/// It asks so often, and more often while it waits for answers to leave.
const PAUSE: Duration = Duration::from_millis(100);
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// By what the database knows this process.
struct Process {
    id: String,
    /// Empty: none that proves anything.
    name: String,
}

impl Tenancy {
    /// Something of a studio that is under way here without a transaction: an isolation waits for it.
    pub fn flight(&self, tenant: TenantId, subject: &str) -> Flight {
        let flight = self.flights.begin("");
        flight.is_of(tenant, subject);
        flight
    }

    /// Heeds isolations until `stop` resolves, and then leaves. `name` is a digest in hexadecimal of what one process at a time can
    /// have and keeps until it has ended, if this one has such: whoever had it before is waited for no more. Call it once in a process that answers or works,
    /// and stop it when the last answer has left. `stop` is not begun before the database knows of this process: an
    /// isolation waits for those that it knows of.
    ///
    /// # Errors
    /// When the database cannot be told; nothing was begun then.
    pub async fn heed_until(
        &self,
        name: Option<&str>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Fault> {
        let process = Process {
            id: self.random.uuid().to_string(),
            name: name.unwrap_or_default().to_owned(),
        };
        // How many flights had begun when it was first told of each.
        let mut marks = HashMap::new();
        self.heed(&process, &mut marks).await?;
        tokio::select! {
            () = stop => {}
            () = self.keep_heeding(&process, marks) => {}
        }
        if let Err(fault) = self.tell_of_isolations(LEAVE, &[&process.id]).await {
            tracing::warn!("leaving: {fault}");
        }
        Ok(())
    }

    async fn keep_heeding(&self, process: &Process, mut marks: HashMap<Uuid, u64>) {
        loop {
            let pause = match self.heed(process, &mut marks).await {
                Ok(true) => PAUSE,
                Ok(false) => SHORT_PAUSE,
                Err(fault) => {
                    tracing::warn!("heeding isolations: {fault}");
                    PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Says whether all are confirmed.
    async fn heed(&self, process: &Process, marks: &mut HashMap<Uuid, u64>) -> Result<bool, Fault> {
        let Process { id, name } = process;
        let rows = self.tell_of_isolations(HEED, &[id, name]).await?;
        let mut are_all = true;
        let mut open = HashMap::new();
        for row in &rows {
            let isolation: Uuid = row.field("isolation")?;
            let tenant = TenantId(row.field("tenant")?);
            let target = Target {
                tenant,
                subject: row.field("subject")?,
                address: row.field("address")?,
            };
            let mark = marks.get(&isolation).copied();
            let mark = mark.unwrap_or_else(|| self.flights.begun());
            if self.flights.cut(&target, mark) {
                let fields = [id.as_str(), &tenant.to_string(), &isolation.to_string()];
                self.tell_of_isolations(CONFIRM, &fields).await?;
            } else {
                are_all = false;
                open.insert(isolation, mark);
            }
        }
        *marks = open;
        Ok(are_all)
    }

    /// On a connection of its own: a studio that takes all the others is to be stopped all the same.
    async fn tell_of_isolations(
        &self,
        tell: Tell,
        fields: &[&str],
    ) -> Result<Vec<crate::Row>, Fault> {
        self.call_gate_on(&self.brake, tell.sql, tell.prefix, fields)
            .await
    }
}
