//! Proofs about who may do what in a studio, over every member, row and studio there could be.
//!
//! A test asks about a few cases; a prover is asked whether there is any case at all. Each
//! [`Claim`] is put as an implication, *whatever these policies allow, those allow too*, for every
//! kind of request that the schema knows, and a solver looks for a counterexample:
//!
//! ```no_run
//! # async fn example() -> Result<(), studio_proofs::ProofFault> {
//! use studio_proofs::{Policies, Prover, claims};
//! let policies = Policies::read()?;
//! let verdict = Prover::start()?.put(&claims::SAME_STUDIO, &policies).await?;
//! assert!(verdict.refutations.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! A proof that cannot fail proves nothing. So every claim has broken twins, policies with one
//! word changed, on which the solver must find a request that is wrongly allowed, and that request
//! is put to Cedar itself; and who should be allowed something must be allowed it in some case.
//! The golden table `golden/roles.txt` says the same in a form that people compare.
//!
//! A solver that is missing, gives up or takes too long is a failure, never a skip.

pub mod claims;
mod policies;
mod prover;

pub use claims::{Claim, Implication};
pub use policies::Policies;
pub use prover::{Prover, Refutation, Verdict};

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub enum ProofFault {
    /// No solver.
    #[error(
        "the solver cannot be started: {0}; install it with `apt-get install cvc5`, or name it in \
         the environment variable `CVC5`"
    )]
    NoSolver(String),
    /// The solver gave up, ran out of time, or stopped.
    #[error("`{claim}` is undecided for {request}: {why}")]
    Undecided {
        /// The claim.
        claim: &'static str,
        /// The kind of request.
        request: String,
        /// What the solver says.
        why: String,
    },
    /// The policies cannot be read.
    #[error("the policies cannot be read: {0}")]
    Unreadable(String),
}
