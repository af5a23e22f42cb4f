use std::path::PathBuf;

use serde::Deserialize;
use watertight_outbound::{Outbound, mail::is_address};

use super::ConfigFault;

/// `[alerts]`: where operators are told that something was noticed, of the platform or of a studio. Without any
/// they see it in the log, in metrics and by `studio watch status` only.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Where it is told by a signed `POST`, within the rules of `[outbound]`.
    pub webhook_url: Option<String>,
    /// A file with what that is signed with: `whsec_` and 32 bytes in base64.
    pub webhook_secret_file: Option<PathBuf>,
    /// The address that it is mailed to, by the relay of `[mail]`.
    pub mail: Option<String>,
}

impl Alerts {
    /// Refuses what cannot be meant. What is in the file is looked at when it is read.
    ///
    /// # Errors
    /// Names the key.
    pub(super) fn check(&self, outbound: &Outbound, has_relay: bool) -> Result<(), ConfigFault> {
        let fault = |key, why| {
            Err(ConfigFault::Value {
                section: "alerts",
                key,
                why,
            })
        };
        if self.webhook_url.is_some() != self.webhook_secret_file.is_some() {
            return fault("webhook_secret_file", "give it together with `webhook_url`");
        }
        let mut url = self.webhook_url.iter();
        if url.any(|url| outbound.permits(url).is_err()) {
            return fault(
                "webhook_url",
                "give an https address of the outside, or put its `host:port` into `[outbound] allow`",
            );
        }
        match &self.mail {
            Some(_) if !has_relay => fault("mail", "name a relay in [mail]"),
            Some(to) if !is_address(to) => {
                fault("mail", "give one address such as ops@example.com")
            }
            _ => Ok(()),
        }
    }
}
