//! The problems that only this product tells of, and with those of the library all there are.
//!
//! ```
//! assert!(studio::problems::all().any(|problem| problem.slug() == "double-booking"));
//! ```

use watertight::problem::status_of_type;
use watertight_terms::{ProblemType, are_distinct, problems};

watertight_terms::problems! {
    DOUBLE_BOOKING = "double-booking", Conflict, "double booking",
        "The artist is booked in that time. `conflicts` has what is there, as far as you may see it.";
    EARLIER_OPTION = "earlier-option", Conflict, "others were first",
        "Options of others on the same time are older. `challenge` names where the first of them can be asked to decide.";
    NOT_UNIQUE = "not-unique", Conflict, "value already taken",
        "Something else of the studio has this code or reference.";
    WRONG_STATE = "wrong-state", Conflict, "state does not allow it",
        "The member is not in a state in which this can be done.";
    LAST_OWNER = "last-owner", Conflict, "the last owner stays",
        "A studio keeps an owner: the last one can be neither removed nor lowered.";
    TOO_MANY_INVITATIONS = "too-many-invitations", Conflict, "too many invitations",
        "Too many invitations of the studio are open. Take some back first.";
    ALREADY_INVITED = "already-invited", Conflict, "already invited",
        "Somebody with this address is invited or in the studio already.";
    LEGAL_HOLD = "legal-hold", Conflict, "under a legal hold",
        "What it is about is under a legal hold: until that is released nobody changes, removes or erases it.";
    EXPORT_FIRST = "export-first", Conflict, "not taken along",
        "Before a studio is closed an export of it is made, as `POST /v1/exports` does, or it is said that none is wanted.";
    TOO_MANY_EXPORTS = "too-many-exports", Conflict, "too many exports",
        "As many exports of the studio as may be are being made or lie ready. Each is gone a week after it was made.";
    STILL_HERE = "still-here", Conflict, "still at work in the studio",
        "Who is erased is archived as an artist and removed as a member first, and Clerk has let go of them.";
    OWN_ROLE = "own-role", NotAllowed, "not the own role",
        "Nobody changes the own role. Ask another owner.";
}

const _: () = assert!(
    are_distinct(ALL, problems::ALL),
    "a problem has a name that the library has given"
);

/// `docs/problems.md`: the registry for people.
pub fn document() -> String {
    let mut text = String::from(
        "# Problems\n\n\
         What an answer of 400 and above says of itself (RFC 9457): its `type` is one of these, for good, and leads to a page that says\n\
         the same. Written by `cargo x accept` from `watertight_terms::problems` and `studio/src/problems.rs`.\n\n\
         | type | status | title | what it means |\n| --- | --- | --- | --- |\n",
    );
    for problem in all() {
        let (uri, title, about) = (problem.uri(), problem.title(), problem.about());
        let status = status_of_type(problem);
        text += &format!("| `{uri}` | {status} | {title} | {about} |\n");
    }
    text
}

/// Every problem that is told of: the registry.
pub fn all() -> impl Iterator<Item = &'static ProblemType> {
    problems::ALL.iter().chain(ALL).copied()
}
