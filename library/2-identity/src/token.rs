//! A token's form and claims, without any key: pure functions from bytes to values.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use watertight_terms::{Aim, Limits, Role, Subject};

use crate::{
    Actor, Impersonation, Permissions, RoleMap, caller::Member, json, reverification::FactorAges,
    verifier::VerifierSettings,
};

/// Why a token is refused: for the log.
pub(crate) type Reason = &'static str;

/// A token whose form and header are right, and whose signature was not looked at yet.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    /// Which key signed it.
    pub(crate) key_id: String,
    /// What was signed.
    pub(crate) signed: &'a str,
    /// The signature.
    pub(crate) signature: Vec<u8>,
    payload: Vec<u8>,
}

/// The category of session tokens, and the one that says nothing.
const CATEGORIES: [&str; 2] = ["cl_B7d4PD111AAA", "cl_I7d4PD111III"];
/// Header members by which a token could choose its own key or meaning.
const REFUSED_HEADERS: [&str; 7] = ["crit", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256"];

impl<'a> Unverified<'a> {
    /// Reads form and header.
    pub(crate) fn parse(token: &'a str) -> Result<Self, Reason> {
        if token.len() > Limits::TOKEN_BYTES {
            return Err("longer than 8 KiB");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("not three parts")?;
        let (header, payload) = signed.split_once('.').ok_or("not three parts")?;
        if payload.contains('.') {
            return Err("not three parts");
        }
        let header = json::object(&decode(header)?).ok_or("the header is no object")?;
        Ok(Self {
            key_id: check_header(&header)?,
            signed,
            signature: decode(signature)?,
            payload: decode(payload)?,
        })
    }

    /// The issuer that the token names, which is nobody yet: it chooses the keys to try, and the
    /// claims are held against what belongs to those keys.
    pub(crate) fn named_issuer(&self) -> Result<String, Reason> {
        Ok(self.claims()?.text("iss")?.to_owned())
    }

    /// Whom it names, for whoever counts what is refused.
    pub(crate) fn aim(&self) -> Aim {
        self.claims().map(|claims| claims.aim()).unwrap_or_default()
    }

    /// The claims, to be called once the signature was found right.
    pub(crate) fn claims(&self) -> Result<Claims, Reason> {
        json::object(&self.payload)
            .map(Claims)
            .ok_or("the payload is no object")
    }
}

/// Base64url without padding and without spare bits: each text has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| "not canonical base64url")
}

fn check_header(header: &Map<String, Value>) -> Result<String, Reason> {
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err("alg is not RS256");
    }
    if REFUSED_HEADERS
        .iter()
        .any(|name| header.contains_key(*name))
    {
        return Err("the header brings its own key or meaning");
    }
    match header.get("typ") {
        None => {}
        Some(typ) if typ == "JWT" => {}
        Some(_) => return Err("typ is not JWT"),
    }
    match header.get("cat").map(Value::as_str) {
        None => {}
        Some(Some(category)) if CATEGORIES.contains(&category) => {}
        Some(_) => return Err("cat is not that of a session token"),
    }
    match header.get("kid").and_then(Value::as_str) {
        Some(id) if (1..=128).contains(&id.len()) => Ok(id.to_owned()),
        _ => Err("kid is missing or malformed"),
    }
}

/// The claims of a token whose signature is right.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

/// Claims of version 1, which a token of version 2 may not carry.
const VERSION_1: [&str; 4] = ["org_id", "org_role", "org_slug", "org_permissions"];

impl Claims {
    /// Checks every claim, in the documented order, and gives who it is.
    pub(crate) fn member(
        &self,
        settings: &VerifierSettings,
        now_s: i64,
    ) -> Result<Member, Refused> {
        if self.text("iss")? != settings.issuer {
            return Err("iss is another issuer".into());
        }
        self.check_party(settings)?;
        self.check_audience(settings)?;
        let issued_at_s = self.check_times(settings, now_s)?;
        match self.0.get("sts") {
            None => {}
            Some(status) if status == "active" => {}
            Some(_) => return Err(Refused::Over("sts is not active")),
        }
        let actor = self.actor(settings.impersonation)?;
        let session = self.id("sid")?;
        let subject = self.id("sub")?;
        if !subject.as_str().starts_with("user_") {
            return Err("sub is no user".into());
        }
        let (organization, claimed) = self.organization(&settings.role_map)?;
        let permissions = match self.0.contains_key("v") {
            true => Permissions::of_version_2(&self.0),
            false => Permissions::of_version_1(&self.0),
        };
        Ok(Member {
            subject,
            organization,
            session,
            claimed,
            issued_at_s,
            issuer: settings.issuer.clone(),
            actor,
            factor_ages: FactorAges::of(self.0.get("fva")),
            permissions,
        })
    }

    /// Whom it names, whether or not that is so. What could be no id is none.
    pub(crate) fn aim(&self) -> Aim {
        let of = |id: Option<&Value>| {
            let id: Subject = id?.as_str()?.parse().ok()?;
            let whole = digest::digest(&digest::SHA256, id.as_str().as_bytes());
            let first: [u8; 8] = whole.as_ref().first_chunk().copied()?;
            Some(format!("{:016x}", u64::from_be_bytes(first)))
        };
        let organization = self.0.get("o").and_then(|o| o.get("id"));
        Aim {
            subject: of(self.0.get("sub")),
            organization: of(organization.or_else(|| self.0.get("org_id"))),
        }
    }

    /// Who acts as the user: a person, directly, or it is not for us. A program that acts
    /// (`type`) and somebody behind the actor (`act` within) are never let in.
    fn actor(&self, impersonation: Impersonation) -> Result<Option<Actor>, Reason> {
        let Some(act) = self.0.get("act") else {
            return Ok(None);
        };
        if impersonation == Impersonation::Refused {
            return Err("act: somebody acts as another");
        }
        let act = act.as_object().ok_or("act is malformed")?;
        if act.contains_key("type") || act.contains_key("act") {
            return Err("act: no person acts directly");
        }
        let id = |name| {
            act.get(name)
                .map(|id| id.as_str().ok_or("act is malformed"))
        };
        let subject = parse_id(id("sub").ok_or("act is malformed")??)?;
        let session = id("sid").map(|id| parse_id(id?)).transpose()?;
        Ok(Some(Actor { subject, session }))
    }

    fn check_party(&self, settings: &VerifierSettings) -> Result<(), Reason> {
        let known = |party: &str| {
            settings
                .authorized_parties
                .iter()
                .any(|known| known == party)
        };
        if known(self.text("azp")?) {
            Ok(())
        } else {
            Err("azp is no authorized party")
        }
    }

    /// A token that names audiences is for us only if all of them are ours: what is good for
    /// another service too could be passed on by it.
    fn check_audience(&self, settings: &VerifierSettings) -> Result<(), Reason> {
        let ours = |audience: &Value| {
            audience
                .as_str()
                .is_some_and(|text| settings.audiences.iter().any(|known| known == text))
        };
        let good = match self.0.get("aud") {
            None => settings.audiences.is_empty(),
            Some(Value::Array(list)) => !list.is_empty() && list.iter().all(ours),
            Some(one) => ours(one),
        };
        if good {
            Ok(())
        } else {
            Err("aud is another service")
        }
    }

    fn check_times(&self, settings: &VerifierSettings, now_s: i64) -> Result<i64, Refused> {
        let skew_s = settings.clock_skew_s;
        let (expires, not_before, issued) =
            (self.time("exp")?, self.time("nbf")?, self.time("iat")?);
        if expires <= now_s - skew_s {
            return Err(Refused::Over("exp: expired"));
        }
        if not_before > now_s + skew_s {
            return Err("nbf: not active yet".into());
        }
        if issued > now_s + skew_s {
            return Err("iat: issued in the future".into());
        }
        if expires <= issued || expires - issued > settings.longest_life_s {
            return Err("exp - iat: a life that session tokens do not have".into());
        }
        Ok(issued)
    }

    /// Version 2 carries `o`, version 1 `org_*`; a token that mixes them is neither.
    fn organization(&self, roles: &RoleMap) -> Result<(Subject, Role), Refused> {
        let version_1 = VERSION_1.iter().any(|name| self.0.contains_key(*name));
        match self.0.get("v") {
            Some(version) if version.as_u64() == Some(2) => {
                if version_1 {
                    return Err("v: claims of version 1 in version 2".into());
                }
                let Some(organization) = self.0.get("o") else {
                    return Err(Refused::NoOrganization);
                };
                let text = |name| {
                    organization
                        .get(name)
                        .and_then(Value::as_str)
                        .ok_or("o is malformed")
                };
                Ok((parse_id(text("id")?)?, roles.role(text("rol")?)))
            }
            Some(_) => Err("v is not 2".into()),
            None if self.0.contains_key("o") => Err("v: claims of version 2 in version 1".into()),
            None if !version_1 => Err(Refused::NoOrganization),
            None => Ok((self.id("org_id")?, roles.role(self.text("org_role")?))),
        }
    }

    fn text(&self, name: &'static str) -> Result<&str, Reason> {
        self.0
            .get(name)
            .and_then(Value::as_str)
            .ok_or(missing(name))
    }

    fn id(&self, name: &'static str) -> Result<Subject, Reason> {
        parse_id(self.text(name)?)
    }

    /// A whole number of seconds after 1970; a fraction, a text or a negative number is none.
    fn time(&self, name: &'static str) -> Result<i64, Reason> {
        let time = self.0.get(name).and_then(Value::as_i64);
        time.filter(|time| (0..=1 << 40).contains(time))
            .ok_or(missing(name))
    }
}

fn parse_id(text: &str) -> Result<Subject, Reason> {
    text.parse().map_err(|_| "an id is malformed")
}

fn missing(name: &str) -> Reason {
    match name {
        "iss" => "iss is missing or malformed",
        "azp" => "azp is missing or malformed",
        "sid" => "sid is missing or malformed",
        "sub" => "sub is missing or malformed",
        "exp" => "exp is missing or malformed",
        "nbf" => "nbf is missing or malformed",
        "iat" => "iat is missing or malformed",
        _ => "a claim is missing or malformed",
    }
}

/// Why a token whose signature is right is refused all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not good.
    Invalid(Reason),
    /// It was good once, or its session has more to do first: everyday's.
    Over(Reason),
    /// It is good, but no organization is active in the session.
    NoOrganization,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,400}") {
            drop(Unverified::parse(&text));
        }

        /// A header is anything, in the form of a token.
        #[test]
        fn any_header_is_read_or_refused(header in proptest::collection::vec(any::<u8>(), 0..200)) {
            let token = format!("{}.e30.AA", BASE64_URL_SAFE_NO_PAD.encode(header));
            prop_assert!(Unverified::parse(&token).is_err());
        }

        /// One text, one spelling: what is decoded is encoded to the same text.
        #[test]
        fn base64url_has_one_spelling(text in "[A-Za-z0-9_=+/-]{0,12}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(bytes), text);
            }
        }
    }
}
