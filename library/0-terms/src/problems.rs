//! The problems that every product with these rooms can tell of. A product adds its own with
//! [`problems!`](macro@crate::problems).
//!
//! ```
//! use watertight_terms::{Fault, problems};
//! assert_eq!(Fault::new(problems::STALE, "it was changed meanwhile").slug(), "stale");
//! ```

crate::problems! {
    MALFORMED = "malformed", Malformed, "malformed request",
        "The body, a field, the query or a header cannot be read. `errors` says which, by a JSON pointer or a parameter's name.";
    UNAUTHENTICATED = "unauthenticated", Unauthenticated, "not authenticated",
        "There is no token, or none that counts: it is not valid, has expired, or its session has ended. Get a new one.";
    IMPERSONATION_OFF = "impersonation-off", Unauthenticated, "nobody may act as a member",
        "The token says that somebody acts as a member, and the studio has not allowed that.";
    NOT_ALLOWED = "not-allowed", NotAllowed, "not allowed",
        "You can see it, and your role in this studio does not allow what you asked for.";
    NOT_A_MEMBER = "not-a-member", NotAllowed, "not a member",
        "You are no active member of the studio: nobody has admitted you yet, or you were removed.";
    NO_ORGANIZATION = "no-organization", NotAllowed, "no studio chosen",
        "No studio is active in your session. Choose one and try again.";
    FROZEN = "frozen", NotAllowed, "the studio is frozen",
        "Something went wrong, and nobody is let into the studio until that is mended. What was entered is kept. Ask an owner of the studio, \
         who is told by whoever runs it; to come back in a while is all that helps.";
    ISOLATED = "isolated", NotAllowed, "not let in for now",
        "You, or whoever comes from your address, are not let into this studio until an incident is over. Ask its owners.";
    IMPERSONATION = "impersonation", NotAllowed, "whoever acts as a member may only read",
        "Somebody who acts as a member changes nothing.";
    REVERIFICATION = "reverification", NotAllowed, "fresh proof needed",
        "What you asked for needs a proof from the last minutes of who you are. Prove it and try again.";
    FOREIGN_FORM = "foreign-form", NotAllowed, "not from a page of ours",
        "A form was sent that is not of your session, or from another site. Load the page again.";
    NOT_FOUND = "not-found", Unseen, "not found",
        "There is nothing, or nothing that you may see; nobody is told which.";
    METHOD_NOT_ALLOWED = "method-not-allowed", MethodUnknown, "method not allowed",
        "The path does not know this method. `Allow` says which it knows.";
    TOO_SLOW = "too-slow", TooSlow, "request too slow",
        "The request did not arrive in time. Send it whole.";
    CONFLICT = "conflict", Conflict, "conflict",
        "The state of things does not allow it. Load them again.";
    ALREADY_TAKEN = "already-taken", Conflict, "value already taken",
        "Something else has a value that can be there only once.";
    IDEMPOTENCY_IN_FLIGHT = "idempotency-in-flight", Conflict, "the same request is in flight",
        "A request with this `Idempotency-Key` is under way. Wait for its end and send it again.";
    STALE = "stale", Stale, "version is not current",
        "`If-Match` names a version that is no longer the current one. Load it again.";
    BODY_TOO_LARGE = "body-too-large", TooLarge, "body too large",
        "The body is larger than is read.";
    URI_TOO_LONG = "uri-too-long", TooLarge, "URI too long",
        "Path and query are longer than is read.";
    HEADERS_TOO_LARGE = "headers-too-large", TooLarge, "headers too large",
        "There are more headers, or longer ones, than are read.";
    WRONG_MEDIA = "wrong-media", WrongMedia, "media type not read here",
        "The body is in a form that is not read here. Send `application/json` without a coding.";
    INVALID = "invalid", Invalid, "invalid value",
        "It is well formed, but against a bound or a rule, or names what is not there. `errors` says where.";
    IDEMPOTENCY_MISMATCH = "idempotency-mismatch", Invalid, "idempotency key used for another request",
        "This `Idempotency-Key` was used with another path or body. Take a new one for a new request.";
    MALFORMED_EVENT = "malformed-event", Malformed, "malformed event",
        "A delivery is signed, and is no event that can be read.";
    TOO_MANY_REQUESTS = "too-many-requests", TooMany, "too many requests",
        "You, your studio or your address have sent too much. `Retry-After` says when to come back, `RateLimit` how much is left.";
    UNAVAILABLE = "unavailable", Unavailable, "not available now",
        "The studio or a part of the server is away for now. `Retry-After` says when to come back.";
    OVERLOADED = "overloaded", Unavailable, "too much to do",
        "There is more to do right now than can be done. `Retry-After` says when to come back.";
    BUSY = "busy", Unavailable, "others changed the same",
        "Others changed the same things at the same instant, twice. Try again.";
    INTERNAL = "internal", Bug, "internal error",
        "A defect of ours. The request id helps us find it.";
}
