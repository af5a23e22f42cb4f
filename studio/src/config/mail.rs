use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use watertight_outbound::mail::{Relay, RelayFault, RelaySettings, Security};

use super::ConfigFault;

/// `[mail]`: the relay by which members are told of what concerns them. Without a `host` nobody is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// The relay's name or address. It may be on this machine.
    pub host: Option<String>,
    /// Its port; by `security` 465, 587 or 25.
    pub port: Option<u16>,
    /// How it is reached.
    pub security: MailSecurity,
    /// What mails are from: an address, or `Name <address>`.
    pub from: String,
    /// The name to sign in with, where the relay asks for one.
    pub user: Option<String>,
    /// A file with its password.
    pub password_file: Option<PathBuf>,
    /// A file with certificates of authorities, PEM, in the place of the system's.
    pub roots_file: Option<PathBuf>,
}

/// How a relay is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailSecurity {
    /// TLS by `STARTTLS`, without which nothing is sent.
    #[default]
    StartTls,
    /// TLS from the first byte on.
    Tls,
    /// None: to this machine only.
    None,
}

impl Mail {
    /// Refuses what cannot be meant. What is in files is looked at when they are read.
    ///
    /// # Errors
    /// Names the key.
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        let fault = |key, why| {
            Err(ConfigFault::Value {
                section: "mail",
                key,
                why,
            })
        };
        if self.host.is_none() {
            let is_empty = self.from.is_empty() && self.user.is_none() && self.port.is_none();
            return match is_empty {
                true => Ok(()),
                false => fault("host", "name the relay, or leave all of [mail] out"),
            };
        }
        if self.user.is_some() != self.password_file.is_some() {
            return fault("password_file", "give it together with `user`");
        }
        match self.relay_without_files() {
            Ok(_) => Ok(()),
            Err(RelayFault::From(_)) => fault(
                "from",
                "give an address such as Bookings <bookings@example.com>",
            ),
            Err(_) => fault(
                "security",
                "give starttls or tls; none is for a relay on this machine, without a password",
            ),
        }
    }

    /// The relay, where there is one.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn relay(&self) -> Result<Option<Relay>, String> {
        let Some(mut settings) = self.settings() else {
            return Ok(None);
        };
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()))
        };
        if let (Some((_, password)), Some(file)) = (&mut settings.credentials, &self.password_file)
        {
            let text = String::from_utf8(read(file)?).map_err(|error| error.to_string())?;
            *password = SecretString::from(text.trim());
        }
        settings.roots_pem = self.roots_file.as_ref().map(read).transpose()?;
        let relay = Relay::new(&settings).map_err(|error| error.to_string())?;
        Ok(Some(relay))
    }

    fn relay_without_files(&self) -> Result<Option<Relay>, RelayFault> {
        self.settings().as_ref().map(Relay::new).transpose()
    }

    fn settings(&self) -> Option<RelaySettings> {
        let (security, port) = match self.security {
            MailSecurity::StartTls => (Security::StartTls, 587),
            MailSecurity::Tls => (Security::Tls, 465),
            MailSecurity::None => (Security::None, 25),
        };
        Some(RelaySettings {
            host: self.host.clone()?,
            port: self.port.unwrap_or(port),
            security,
            credentials: self
                .user
                .clone()
                .map(|user| (user, SecretString::default())),
            roots_pem: None,
            from: self.from.clone(),
        })
    }
}
