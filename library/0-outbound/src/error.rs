/// Why nothing was fetched, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// An item of the list is not `host:port`.
    #[error(
        "`{0}` on the list of allowed addresses is not `host:port`; write for example `127.0.0.1:8082`"
    )]
    Rule(String),
    /// The URL cannot be used.
    #[error("the url cannot be fetched: {0}; write `https://host/path`")]
    Url(String),
    /// No TLS, and not listed.
    #[error(
        "`{0}` would be fetched without TLS; use `https`, or put it on the list of allowed `host:port`"
    )]
    Plain(String),
    /// An address of the inside.
    #[error(
        "`{0}` is an address of the inside; if it is meant, put it on the list of allowed `host:port`"
    )]
    Inside(String),
    /// Metadata services, link-local, multicast, unspecified, reserved.
    #[error(
        "`{0}` is a metadata, link-local or reserved address, which is never fetched; configure another"
    )]
    Never(String),
    /// The name has no address.
    #[error("the name of `{0}` cannot be resolved; check its spelling and the resolver")]
    Unresolved(String),
    /// No connection, or it broke.
    #[error(
        "`{target}` cannot be reached: {reason}; check that it is up and its certificate is valid"
    )]
    Unreached {
        /// `host:port`.
        target: String,
        /// What the connection said.
        reason: String,
    },
    /// Another place was named.
    #[error(
        "`{target}` answered {status} and named another place; redirects are not followed, configure the last url itself"
    )]
    Redirect {
        /// `host:port`.
        target: String,
        /// The status.
        status: u16,
    },
    /// Not a success.
    #[error("`{target}` answered {status} instead of a success")]
    Status {
        /// `host:port`.
        target: String,
        /// The status.
        status: u16,
    },
    /// More than was asked for.
    #[error("`{target}` sends more than {bytes} bytes; nothing of it was used")]
    TooLarge {
        /// `host:port`.
        target: String,
        /// The bound.
        bytes: usize,
    },
    /// Longer than was waited for.
    #[error("`{target}` took longer than {ms} milliseconds; try again later")]
    TooSlow {
        /// `host:port`.
        target: String,
        /// The bound.
        ms: u64,
    },
    /// The library of connections does not start.
    #[error("connections outward cannot be prepared: {0}; on Debian install `ca-certificates`")]
    Setup(String),
}
