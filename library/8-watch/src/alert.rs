use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Something that looks wrong, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is.
    pub kind: Kind,
    /// How bad it is, where it is what it looks like.
    pub severity: Severity,
    /// Whom it is about: an actor of the ledger, a network, a route.
    pub subject: Option<String>,
    /// When it was noticed.
    pub at: Timestamp,
    /// Numbers of the ledger's entries that show it, the newest fifty.
    pub evidence: Vec<i64>,
    /// It was said within the week before: whoever keeps alerts counts it and makes no new one.
    pub is_repeated: bool,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// To be looked at some day.
    Low,
    /// To be looked at this week.
    Medium,
    /// To be looked at today.
    High,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// As OCSF numbers it.
    fn ocsf(self) -> u8 {
        match self {
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
            Self::Critical => 5,
        }
    }
}

/// Every kind of alert, with its severity and what to do about it.
macro_rules! kinds {
    ($($name:ident $text:literal $severity:ident $advice:literal)*) => {
        /// What an alert is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $(
                #[doc = concat!("`", $text, "`: ", $advice)]
                #[serde(rename = $text)]
                $name,
            )*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),* }
            }
        }
    };
}

kinds! {
    MassReading "mass-reading" High "ask the member what the records were for; if nobody knows, end the sessions, then look in the ledger at what was read"
    SlowReading "slow-reading" Medium "the member reads more than usual day after day; compare with the work at hand, and lower the role where it is not needed"
    FirstExport "first-export" Medium "ask the member what the table is for, and where it is kept"
    UnusualHour "unusual-hour" Medium "ask the member whether it was them; if not, end the sessions and have the password changed"
    UnusualNetwork "unusual-network" High "ask the member whether it was them; if not, end the sessions: somebody else may hold one"
    Enumeration "enumeration" High "a program reads record after record; ask the member which one, and end the sessions if it is not theirs"
    Probing "probing" High "somebody asks for many ids that are not there or not theirs; none was answered: find out who uses the account"
    PersonalFields "personal-fields" High "the ledger names each field that was opened; ask why, and consider whether the people are to be told"
    DormantAwake "dormant-awake" Medium "ask whether the member is back; if the account is needed no more, remove it"
    TokenBurst "token-burst" Medium "one network tries many tokens and none is taken; block it at the proxy if it goes on"
    SlowSpray "slow-spray" High "many networks try a few tokens each and none is taken; look whether accounts were taken over at the identity provider"
    UnknownKeys "unknown-keys" High "tokens are signed by keys that the identity provider does not have; make sure that its keys were not rotated without notice"
    ReplayedWebhooks "replayed-webhooks" High "deliveries of the identity provider are sent again by somebody; rotate the secret of the endpoint"
    ForgedWebhooks "forged-webhooks" High "deliveries come that are not signed by the identity provider's secret; compare that of the endpoint with ours, and if they are one, somebody tries to end sessions or to lower roles"
    ForeignPages "foreign-pages" Medium "another site sends requests with our members' browsers and all are refused; find the site by its origin in the security log"
    TargetedSubject "targeted-subject" High "many networks try tokens of one person, whom a digest names; have that person's sessions ended at the identity provider"
    TargetedStudio "targeted-studio" High "many networks try tokens of one studio, whose organization a digest names; tell its owners"
    SlowRoute "slow-route" Medium "a route is much slower than at this hour of past weeks; look at slow statements and at locks"
    NoisyStudio "noisy-studio" Medium "one studio takes most of the server's time; lower its rate in `[[limits.overrides]]` until it is known why"
    FailedAnswers "failed-answers" High "too many answers are failures of ours; look at the log by request id"
    Refusals "refusals" Low "far more requests are refused by one rule than usual; a client may be broken, or somebody tries"
    Restarts "restarts" High "the server starts again and again; look at the end of its log"
    ClockDrift "clock-drift" Medium "this machine's clock is wrong: tokens are taken too long or not at all; mend its time service"
    CertificateAge "certificate-age" High "renew the certificate; the server reads it again at SIGHUP"
    KeyAge "key-age" Low "rotate the key: `studio keys rotate`"
    FailedJobs "failed-jobs" Medium "work that is due does not get done; look at the worker's log"
    BackupAge "backup-age" High "the last backup is too old; make one, and find out why none was made"
    RetentionOverdue "retention-overdue" Medium "what is over was not let go; run `studio retain run`"
}

impl Kind {
    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

impl Alert {
    /// A first one of that kind, with the severity that its kind has.
    pub(crate) fn new(kind: Kind, subject: Option<String>, at: Timestamp) -> Self {
        Self {
            kind,
            severity: kind.severity(),
            subject,
            at,
            evidence: Vec::new(),
            is_repeated: false,
        }
    }

    /// As OCSF's Detection Finding (class 2004) of version 1.3. `id` names the alert where it is kept.
    pub fn ocsf(&self, id: &str) -> Value {
        let activity = if self.is_repeated { 2 } else { 1 };
        let evidences = self.evidence.iter();
        let evidences = evidences.map(|seq| json!({ "data": { "ledger_seq": seq } }));
        json!({
            "class_uid": 2004, "category_uid": 2, "activity_id": activity, "type_uid": 200_400 + activity,
            "time": self.at.as_millisecond(), "severity_id": self.severity.ocsf(), "severity": self.severity.as_str(),
            "status_id": 1, "status": "New", "is_alert": true,
            "finding_info": {
                "uid": id, "title": self.kind.as_str(), "types": [self.kind.as_str()], "desc": self.kind.advice(),
                "created_time": self.at.as_millisecond(),
                "analytic": { "type_id": 2, "type": "Behavioral", "uid": self.kind.as_str(), "name": self.kind.as_str() },
            },
            "remediation": { "desc": self.kind.advice() },
            "resources": self.subject.iter().map(|subject| json!({ "type": "subject", "uid": subject })).collect::<Vec<_>>(),
            "evidences": evidences.collect::<Vec<_>>(),
            "metadata": { "version": "1.3.0", "product": { "name": "Production Tool", "vendor_name": "Watertight" } },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_says_what_to_do() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
            assert_eq!(json!(kind), kind.as_str());
            assert!(kind.advice().len() > 20, "{kind:?}");
        }
        assert_eq!(Kind::parse("nothing"), None);
    }

    #[test]
    fn a_finding_is_of_the_class_that_ocsf_names() {
        let mut alert = Alert::new(
            Kind::Probing,
            Some("user_1".to_owned()),
            Timestamp::UNIX_EPOCH,
        );
        alert.evidence = vec![4, 7];
        let finding = alert.ocsf("a");
        assert_eq!(finding["type_uid"], 200_401);
        assert_eq!(finding["severity_id"], 4);
        assert_eq!(finding["evidences"][1]["data"]["ledger_seq"], 7);
    }
}
