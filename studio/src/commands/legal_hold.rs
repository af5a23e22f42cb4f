//! Legal holds in an incident, by an operator: what operators placed they see and release, and no other.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_tenancy::{Call, Constraint, Operator, Row, ToSql};
use watertight_terms::{Fault, check_prose};

use super::{Failure, Output};
use crate::{config::Config, resources};

#[derive(Debug, Subcommand)]
pub(super) enum LegalHold {
    /// Keep something of a studio as it is
    Place(Place),
    /// Release what an operator placed, for good
    Release(Release),
    /// What operators placed in a studio
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The studio
    #[arg(long, value_name = "ID")]
    studio: Uuid,
    /// What it is on
    #[arg(long, value_enum)]
    scope: Scope,
    /// The artist, member or project
    #[arg(long, value_name = "ID", required_if_eq_any([("scope", "person"), ("scope", "project")]))]
    r#ref: Option<Uuid>,
    /// The beginning of a window, such as 2031-03-01T00:00:00Z
    #[arg(long, value_name = "TIME", required_if_eq("scope", "window"))]
    from: Option<Timestamp>,
    /// Its end
    #[arg(long, value_name = "TIME", required_if_eq("scope", "window"))]
    to: Option<Timestamp>,
    /// Why; the studio's owners read it
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scope {
    Studio,
    Person,
    Project,
    Window,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// The studio
    #[arg(long, value_name = "ID")]
    studio: Uuid,
    /// The legal hold
    #[arg(long, value_name = "ID")]
    id: Uuid,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The studio
    #[arg(long, value_name = "ID")]
    studio: Uuid,
}

const PLACE: Call =
    Call::new("SELECT custody.place_legal_hold($1, $2, $3, $4, $5, $6) AS legal_hold");
const RELEASE: Call = Call::new("SELECT custody.release_legal_hold($1, $2) AS is_released");
const LIST: Call = Call::new(
    "SELECT id, created_at, scope, ref, starts_at, ends_at, reason, placed_by, released_at
     FROM custody.operators_legal_holds($1)",
);

const NO_STUDIO: Constraint = Constraint {
    name: "legal_holds_tenant_id_fkey",
    problem: watertight_terms::problems::INVALID,
    spoken: "there is no studio of that id",
};

impl LegalHold {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<u8, Failure> {
        let url = config.database.ops_url.as_ref();
        let url =
            url.ok_or_else(|| Failure::setup("set [database] ops_url to an operator's login"))?;
        let operator = Operator::connect(url).await;
        let operator = operator.map_err(|error| Failure::setup(error.to_string()))?;
        match self {
            Self::Place(place) => place.run(&operator, output).await,
            Self::Release(release) => release.run(&operator, output).await,
            Self::List(list) => list.run(&operator, output).await,
        }
    }
}

impl Place {
    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let reason = check_prose(&self.reason, 1000);
        reason.map_err(|error| Failure::setup(format!("--reason {error}")))?;
        let scope = match self.scope {
            Scope::Studio => "studio",
            Scope::Person => "person",
            Scope::Project => "project",
            Scope::Window => "window",
        };
        let parameters: [&(dyn ToSql + Sync); 6] = [
            &self.studio,
            &scope,
            &self.r#ref,
            &self.from,
            &self.to,
            &self.reason,
        ];
        let placed = operator.call(PLACE, &parameters, meaning).await;
        let row = placed.map_err(refused)?;
        let id: Uuid = row.field("legal_hold").map_err(refused)?;
        let text = format!("legal hold {id} stands; only an operator releases it");
        output.result(&text, &json!({ "legal_hold": id }));
        Ok(0)
    }
}

impl Release {
    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.studio, &self.id];
        let released = operator.call(RELEASE, &parameters, meaning).await;
        let row = released.map_err(refused)?;
        if !row.field::<bool>("is_released").map_err(refused)? {
            let why = "no legal hold of that id stands that an operator placed in that studio";
            return Err(Failure::refused(why));
        }
        let json = json!({ "released": self.id });
        output.result(&format!("legal hold {} is released", self.id), &json);
        Ok(0)
    }
}

impl List {
    async fn run(&self, operator: &Operator, output: &Output) -> Result<u8, Failure> {
        let rows = operator
            .rows(LIST, &[&self.studio])
            .await
            .map_err(refused)?;
        let all = rows.iter().map(document).collect::<Result<Vec<_>, _>>();
        let all = all.map_err(refused)?;
        let lines: Vec<String> = all.iter().map(Value::to_string).collect();
        output.result(&lines.join("\n"), &json!({ "legal_holds": all }));
        Ok(0)
    }
}

fn document(row: &Row) -> Result<Value, Fault> {
    Ok(json!({
        "id": row.field::<Uuid>("id")?,
        "created_at": row.field::<Timestamp>("created_at")?,
        "scope": row.field::<String>("scope")?,
        "ref": row.field::<Option<Uuid>>("ref")?,
        "starts_at": row.field::<Option<Timestamp>>("starts_at")?,
        "ends_at": row.field::<Option<Timestamp>>("ends_at")?,
        "reason": row.field::<String>("reason")?,
        "placed_by": row.field::<String>("placed_by")?,
        "released_at": row.field::<Option<Timestamp>>("released_at")?,
    }))
}

fn meaning(constraint: &str) -> Option<&'static Constraint> {
    match constraint {
        "legal_holds_tenant_id_fkey" => Some(&NO_STUDIO),
        _ => resources::constraint(constraint),
    }
}

fn refused(fault: Fault) -> Failure {
    Failure::refused(fault.spoken().to_owned())
}
