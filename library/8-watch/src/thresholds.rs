use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A threshold that is out of its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBounds {
    /// Its key.
    pub key: &'static str,
    /// What to give.
    pub why: &'static str,
}

/// Every threshold: its usual value and its bounds.
macro_rules! thresholds {
    ($($(#[doc = $doc:literal])+ $key:ident = $usual:literal, $least:literal to $most:literal;)*) => {
        /// From when on something is said, `[watch]`. What people usually do is learned and stands nowhere here;
        /// these are floors, below which nothing is said, and factors above what was learned.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        #[schemars(rename = "Watch")]
        pub struct Thresholds {
            $($(#[doc = $doc])+ #[schemars(range(min = $least, max = $most))] pub $key: u32,)*
        }

        impl Default for Thresholds {
            fn default() -> Self {
                Self { $($key: $usual),* }
            }
        }

        impl Thresholds {
            /// Whether every one is within its bounds.
            ///
            /// # Errors
            /// Names the first that is not.
            pub fn check(&self) -> Result<(), OutOfBounds> {
                $(if !($least..=$most).contains(&self.$key) {
                    let why = concat!("give ", $least, " to ", $most);
                    return Err(OutOfBounds { key: stringify!($key), why });
                })*
                Ok(())
            }
        }
    };
}

thresholds! {
    /// Days on which a member was at work before the own habits count.
    learn_days = 8, 2 to 60;
    /// Tenths of deviations above what a member usually reads.
    own_deviations = 40, 10 to 200;
    /// Tenths of deviations above what others in the role usually read.
    role_deviations = 25, 0 to 200;
    /// Different records in an hour.
    records_an_hour = 120, 10 to 1_000_000;
    /// Different records in a day.
    records_a_day = 250, 10 to 10_000_000;
    /// Deviations, summed over days, by which a member reads more than usual.
    slow_deviations = 6, 2 to 100;
    /// Different people in a day whose personal fields were opened.
    people_opened_a_day = 12, 2 to 100_000;
    /// Questions in an hour for what is not there or not the member's.
    probes_an_hour = 15, 2 to 100_000;
    /// The same in a day.
    probes_a_day = 30, 2 to 1_000_000;
    /// Answers one after the other of which each has only records that none before had.
    enumeration_requests = 30, 5 to 10_000;
    /// Requests within an hour at which the member is never at work.
    unusual_hour_requests = 12, 2 to 10_000;
    /// Requests from a network that is new.
    unusual_network_requests = 8, 1 to 10_000;
    /// Days without a request after which an account sleeps.
    dormant_days = 21, 7 to 365;
    /// Refused tokens of one network in ten minutes.
    token_failures = 40, 5 to 100_000;
    /// Networks whose tokens are refused within six hours.
    spray_networks = 20, 3 to 100_000;
    /// Networks that try tokens of one person or studio within an hour.
    target_networks = 6, 2 to 100_000;
    /// Tokens in an hour whose keys nobody has.
    unknown_keys_an_hour = 10, 1 to 100_000;
    /// Deliveries in an hour that were sent before, or that nobody signed.
    replays_an_hour = 5, 1 to 100_000;
    /// Requests in an hour that other sites sent.
    foreign_pages_an_hour = 20, 1 to 100_000;
    /// Hundredths of what a route took at this hour of past weeks.
    slow_percent = 300, 110 to 10_000;
    /// No route is slow whose slowest twentieth takes less.
    slow_least_ms = 500, 10 to 60_000;
    /// Hundredths of the server's time in an hour that one studio takes.
    noisy_percent = 60, 10 to 100;
    /// Hundredths of the answers in ten minutes that are failures of ours.
    failed_percent = 5, 1 to 100;
    /// Starts within an hour.
    restarts_an_hour = 4, 1 to 100;
    /// How far the clock may be wrong.
    clock_drift_ms = 2_000, 100 to 60_000;
    /// How long a certificate is still good.
    certificate_days = 14, 1 to 365;
    /// How old a key is.
    key_days = 400, 30 to 3_650;
    /// Work in ten minutes that did not get done.
    failed_jobs = 20, 1 to 100_000;
    /// How old the last backup is.
    backup_hours = 26, 1 to 8_760;
    /// For how long what is over was not let go.
    retention_days = 3, 1 to 365;
}

impl Thresholds {
    pub(crate) fn own(&self) -> f64 {
        f64::from(self.own_deviations) / 10.0
    }

    pub(crate) fn role(&self) -> f64 {
        f64::from(self.role_deviations) / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_ones_are_within_their_bounds_and_others_are_named() {
        assert_eq!(Thresholds::default().check(), Ok(()));
        let wrong = Thresholds {
            dormant_days: 1,
            ..Thresholds::default()
        };
        assert_eq!(wrong.check().unwrap_err().key, "dormant_days");
        assert!(serde_json::from_str::<Thresholds>(r#"{"dormant_day": 30}"#).is_err());
        let schema = serde_json::to_value(schemars::schema_for!(Thresholds)).unwrap();
        assert_eq!(schema["properties"]["dormant_days"]["minimum"], 7);
    }
}
