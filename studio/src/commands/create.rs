use clap::Args;
use serde_json::json;
use uuid::Uuid;
use watertight::argument::Zone;
use watertight_tenancy::{Admission, Call, Constraint, Operator, ToSql};
use watertight_terms::{Subject, check_line};

use super::{Failure, Output};
use crate::config::Config;

/// Make a new studio with its first owner. Existing studios get no owner this way.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The studio's name
    #[arg(long)]
    name: String,
    /// Its IANA time zone, such as Europe/Berlin
    #[arg(long)]
    zone: String,
    /// Its Clerk organization, such as org_2abc
    #[arg(long, value_name = "ORG")]
    clerk_org: Subject,
    /// The Clerk user who owns it, such as user_2abc
    #[arg(long, value_name = "SUBJECT")]
    owner: Subject,
}

const CREATE: Call = Call::new("SELECT studio.create_studio($1, $2, $3, $4, $5) AS tenant");

const TAKEN: Constraint = Constraint {
    name: "studios_organization_key",
    problem: crate::problems::NOT_UNIQUE,
    spoken: "a studio of that Clerk organization exists; this command makes new ones only",
};

impl Create {
    pub(super) async fn run(&self, config: &Config, output: &Output) -> Result<u8, Failure> {
        check_line(&self.name, 200).map_err(|error| Failure::setup(format!("--name {error}")))?;
        if !Zone::is_known(&self.zone) {
            let why = format!("--zone `{}` is no IANA time zone", self.zone);
            return Err(Failure::setup(why));
        }
        let url = config
            .database
            .ops_url
            .as_ref()
            .ok_or_else(|| Failure::setup("set [database] ops_url to an operator's login"))?;
        let operator = Operator::connect(url)
            .await
            .map_err(|error| Failure::setup(error.to_string()))?;
        let (organization, owner) = (self.clerk_org.as_str(), self.owner.as_str());
        let admission = Admission::from(config.clerk.admission).as_str();
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&self.name, &self.zone, &organization, &owner, &admission];
        let row = operator
            .call(CREATE, &parameters, |name| {
                (name == TAKEN.name).then_some(&TAKEN)
            })
            .await
            .map_err(|fault| Failure::refused(fault.spoken().to_owned()))?;
        let tenant: Uuid = row
            .field("tenant")
            .map_err(|fault| Failure::setup(fault.to_string()))?;
        output.result(
            &format!("made studio {tenant}: {} ({})", self.name, self.zone),
            &json!({ "tenant": tenant, "name": self.name, "zone": self.zone }),
        );
        Ok(0)
    }
}
