use tokio_postgres::error::SqlState;
use watertight_terms::{Fault, ProblemType, problems};

/// What a broken constraint means to the caller.
#[derive(Debug, Clone, Copy)]
pub struct Constraint {
    /// Its name in the database.
    pub name: &'static str,
    /// The problem that it is.
    pub problem: &'static ProblemType,
    /// What the caller is told.
    pub spoken: &'static str,
}

/// Turns an error of the database into a fault, by its SQLSTATE and constraint. Nothing of the
/// error's text is ever spoken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SqlFault {
    pub(crate) constraint: fn(&str) -> Option<&'static Constraint>,
}

impl SqlFault {
    pub(crate) fn fault(self, error: &tokio_postgres::Error) -> Fault {
        let Some(database) = error.as_db_error() else {
            return Fault::unavailable("the database is not reachable right now", 1)
                .log(format!("database connection: {error}"));
        };
        let logged = format!(
            "{} {}{}",
            database.code().code(),
            database.message(),
            database
                .constraint()
                .map(|name| format!(" ({name})"))
                .unwrap_or_default()
        );
        let broken = database.constraint().and_then(self.constraint);
        if let Some(known) = broken {
            return Fault::new(known.problem, known.spoken).log(logged);
        }
        Self::by_state(database.code()).log(logged)
    }

    fn by_state(state: &SqlState) -> Fault {
        match state.code() {
            "40001" | "40P01" => {
                Fault::new(problems::BUSY, "others changed the same things; try again")
            }
            // Lock and statement timeouts, an ended backend, too many connections, shutdown.
            "55P03" | "57014" | "57P01" | "57P02" | "57P03" | "53300" | "25P03" => {
                Fault::unavailable("this takes too long right now; try again", 1)
            }
            "23505" => Fault::new(problems::ALREADY_TAKEN, "a value is already taken"),
            "23P01" => Fault::new(problems::CONFLICT, "it overlaps with something else"),
            "23503" => Fault::new(
                problems::INVALID,
                "a reference names nothing that you may see",
            ),
            _ => Fault::bug(""),
        }
    }
}
