//! Mail, handed to the one relay that the operator configured.
//!
//! ```
//! use watertight_outbound::mail::{Relay, RelaySettings, Security};
//!
//! let settings = RelaySettings {
//!     host: "127.0.0.1".to_owned(),
//!     port: 25,
//!     security: Security::None,
//!     credentials: None,
//!     roots_pem: None,
//!     from: "Bookings <bookings@studio.example>".to_owned(),
//! };
//! assert!(Relay::new(&settings).is_ok());
//!
//! // Only to this machine goes anything without TLS.
//! let elsewhere = RelaySettings { host: "mail.example.com".to_owned(), ..settings };
//! assert!(Relay::new(&elsewhere).is_err());
//! ```
//!
//! The relay is the operator's own choice, as a database is, so it may be on this machine. Nothing that a
//! studio says chooses a host: an address is only told to the relay.

use std::{net::IpAddr, time::Duration, time::SystemTime};

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use secrecy::{ExposeSecret, SecretString};

/// A relay answers each step within so long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How the relay is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte on (RFC 8314).
    Tls,
    /// TLS by `STARTTLS`, without which nothing is sent.
    StartTls,
    /// None: to this machine only.
    None,
}

/// Which relay, and as whom.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is reached.
    pub security: Security,
    /// A name and a password, where it asks for them.
    pub credentials: Option<(String, SecretString)>,
    /// Certificates of authorities, in the place of the system's.
    pub roots_pem: Option<Vec<u8>>,
    /// What mails are from: an address, or a name and an address.
    pub from: String,
}

/// Why a relay cannot be used as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayFault {
    /// No address.
    #[error("`{0}` is no address that mail can be from; write `Bookings <bookings@example.com>`")]
    From(String),
    /// Without TLS to another machine.
    #[error(
        "`{0}` is another machine and would be told everything in the clear; use `starttls` or `tls`"
    )]
    Plain(String),
    /// A password in the clear.
    #[error("a password goes to a relay by TLS only; use `starttls` or `tls`")]
    Password,
    /// The authorities cannot be read.
    #[error("the certificates of authorities cannot be used: {0}")]
    Roots(String),
    /// TLS does not start.
    #[error("tls cannot be prepared: {0}")]
    Setup(String),
}

/// A mail to one person.
#[derive(Debug, Clone)]
pub struct Mail {
    /// `Message-ID` without its brackets: the same each time that the mail is tried.
    pub id: String,
    /// When it was written.
    pub at: SystemTime,
    /// The address.
    pub to: String,
    /// A line.
    pub subject: String,
    /// Lines.
    pub text: String,
}

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the relay did not take a mail: {reason}")]
pub struct Untaken {
    /// What the relay answered, if it did.
    pub status: Option<u16>,
    /// Whether it will never be taken.
    pub is_final: bool,
    reason: String,
}

/// The relay.
#[derive(Debug, Clone)]
pub struct Relay {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Relay {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// When it cannot be used as it is configured.
    pub fn new(settings: &RelaySettings) -> Result<Self, RelayFault> {
        let from = settings.from.parse();
        let from = from.map_err(|_| RelayFault::From(settings.from.clone()))?;
        let tls = match settings.security {
            Security::Tls => Tls::Wrapper(settings.parameters()?),
            Security::StartTls => Tls::Required(settings.parameters()?),
            Security::None if !is_here(&settings.host) => {
                return Err(RelayFault::Plain(settings.host.clone()));
            }
            Security::None if settings.credentials.is_some() => return Err(RelayFault::Password),
            Security::None => Tls::None,
        };
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.as_str())
                .port(settings.port)
                .timeout(Some(TIMEOUT))
                .tls(tls);
        if let Some((user, password)) = &settings.credentials {
            let password = password.expose_secret().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        let transport = builder.build();
        Ok(Self { transport, from })
    }

    /// Hands it a mail. Gives what it answered.
    ///
    /// # Errors
    /// When it was not taken: whether it is worth trying again says the error.
    pub async fn send(&self, mail: &Mail) -> Result<u16, Untaken> {
        let message = self.message(mail)?;
        match self.transport.send(message).await {
            Ok(response) => Ok(response.code().into()),
            Err(error) => Err(Untaken {
                status: error.status().map(Into::into),
                is_final: error.is_permanent(),
                reason: error.to_string(),
            }),
        }
    }

    fn message(&self, mail: &Mail) -> Result<Message, Untaken> {
        let never = |reason: String| Untaken {
            status: None,
            is_final: true,
            reason,
        };
        let to: Address = mail
            .to
            .parse()
            .map_err(|_| never("the address is none".to_owned()))?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .message_id(Some(format!("<{}>", mail.id)))
            .date(mail.at)
            .subject(&mail.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(|error| never(error.to_string()))
    }
}

impl RelaySettings {
    fn parameters(&self) -> Result<TlsParameters, RelayFault> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.roots_pem {
            let roots =
                |error: lettre::transport::smtp::Error| RelayFault::Roots(error.to_string());
            // A file without any would trust nobody, and say so only when a mail is sent.
            if !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----") {
                return Err(RelayFault::Roots("there is none in the file".to_owned()));
            }
            let certificate = Certificate::from_pem(pem).map_err(roots)?;
            builder = builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(certificate);
        }
        builder
            .build_rustls()
            .map_err(|error| RelayFault::Setup(error.to_string()))
    }
}

/// Whether mail can go to `text`: one address and nothing beside it.
pub fn is_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}

fn is_here(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RelaySettings {
        RelaySettings {
            host: "127.0.0.1".to_owned(),
            port: 25,
            security: Security::None,
            credentials: None,
            roots_pem: None,
            from: "bookings@studio.example".to_owned(),
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let wrong = [
            RelaySettings {
                from: "nobody".to_owned(),
                ..settings()
            },
            RelaySettings {
                host: "mail.example.com".to_owned(),
                ..settings()
            },
            RelaySettings {
                host: "10.0.0.1".to_owned(),
                ..settings()
            },
            RelaySettings {
                credentials: Some(("a".to_owned(), "b".into())),
                ..settings()
            },
            RelaySettings {
                security: Security::Tls,
                roots_pem: Some(b"nonsense".to_vec()),
                ..settings()
            },
        ];
        for settings in wrong {
            assert!(Relay::new(&settings).is_err(), "{settings:?}");
        }
        assert!(Relay::new(&settings()).is_ok());
    }

    #[test]
    fn what_is_in_a_subject_or_an_address_makes_no_header() {
        let relay = Relay::new(&settings()).unwrap();
        let mail = |to: &str, subject: &str| Mail {
            id: "one@studio.example".to_owned(),
            at: SystemTime::UNIX_EPOCH,
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: "text".to_owned(),
        };
        let message = relay
            .message(&mail("a@example.com", "x\r\nBcc: b@example.com"))
            .unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(!text.contains("\r\nBcc:"), "{text}");
        assert!(
            text.contains("Message-ID: <one@studio.example>\r\n"),
            "{text}"
        );
        assert!(is_address("a@example.com"));
        for to in [
            "a@example.com\r\nBcc: b@example.com",
            "a@example.com, b@example.com",
            "a",
            "",
        ] {
            assert!(relay.message(&mail(to, "x")).is_err(), "{to:?}");
            assert!(!is_address(to), "{to:?}");
        }
    }
}
