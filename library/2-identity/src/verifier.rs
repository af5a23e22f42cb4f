use std::sync::Arc;

use watertight_terms::{Clock, Fault, Kind};

use crate::{
    Caller, Keys, RoleMap,
    cache::{Cache, Verified},
    token::{Claims, Reason, Refused, Unverified},
};

/// What a good token says.
#[derive(Debug, Clone)]
pub struct VerifierSettings {
    /// The issuer, compared to the letter.
    pub issuer: String,
    /// The origins that may ask for tokens, compared to the letter.
    pub authorized_parties: Vec<String>,
    /// Our names as an audience. Empty: tokens that name an audience are not for us.
    pub audiences: Vec<String>,
    /// What Clerk's roles are here.
    pub role_map: RoleMap,
    /// How far clocks may differ.
    pub clock_skew_s: i64,
    /// The longest life that a session token may have. Clerk's have a minute.
    pub longest_life_s: i64,
}

impl VerifierSettings {
    /// Settings for an issuer and the origins that may ask it for tokens.
    pub fn new<'a>(issuer: &str, authorized_parties: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            issuer: issuer.to_owned(),
            authorized_parties: authorized_parties.into_iter().map(str::to_owned).collect(),
            audiences: Vec::new(),
            role_map: RoleMap::default(),
            clock_skew_s: 5,
            longest_life_s: 120,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The issuer is not an origin.
    #[error("the issuer must be an https origin without a trailing slash")]
    Issuer,
    /// Nobody may ask for tokens.
    #[error("name at least one authorized party, as an origin")]
    Parties,
    /// A time is out of its bounds.
    #[error("clock skew is 0 to 60 s and the longest life 1 to 3600 s")]
    Times,
}

/// Verifies session tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    settings: VerifierSettings,
    keys: Keys,
    clock: Clock,
    verified: Cache,
}

impl Verifier {
    /// A verifier.
    ///
    /// # Errors
    /// When the settings would accept what they should not.
    pub fn new(
        settings: VerifierSettings,
        keys: Keys,
        clock: Clock,
    ) -> Result<Self, SettingsError> {
        if !settings.issuer.starts_with("https://") || !is_origin(&settings.issuer) {
            return Err(SettingsError::Issuer);
        }
        let parties = &settings.authorized_parties;
        if parties.is_empty() || !parties.iter().all(|party| is_origin(party)) {
            return Err(SettingsError::Parties);
        }
        if !(0..=60).contains(&settings.clock_skew_s)
            || !(1..=3_600).contains(&settings.longest_life_s)
        {
            return Err(SettingsError::Times);
        }
        Ok(Self(Arc::new(Inside {
            settings,
            keys,
            clock,
            verified: Cache::new(),
        })))
    }

    /// Who is calling with this token.
    ///
    /// # Errors
    /// `unauthenticated`, always in the same words, when the token is not good; not allowed when no
    /// organization is active in its session; unavailable when the issuer's keys cannot be had.
    pub async fn verify(&self, token: &str) -> Result<Caller, Fault> {
        let inside = &*self.0;
        let claims = match self.signed_before(token).await? {
            Some(claims) => claims,
            None => self.signed(token).await?,
        };
        let member = claims
            .member(&inside.settings, inside.clock.now_s())
            .map_err(|refused| match refused {
                Refused::Invalid(reason) => unauthenticated(reason),
                Refused::NoOrganization => Fault::new(
                    Kind::NotAllowed,
                    "no-organization",
                    "no studio is active in your session; choose one and try again",
                ),
            })?;
        Ok(Caller::member(member))
    }

    /// The claims of a token whose signature was checked before, with a key that still counts.
    async fn signed_before(&self, token: &str) -> Result<Option<Arc<Claims>>, Fault> {
        let inside = &*self.0;
        let Some(verified) = inside.verified.get(token) else {
            return Ok(None);
        };
        let key = inside.keys.find(&verified.key_id, &inside.clock).await?;
        Ok(key
            .filter(|key| Arc::ptr_eq(key, &verified.key))
            .map(|_| verified.claims))
    }

    async fn signed(&self, token: &str) -> Result<Arc<Claims>, Fault> {
        let inside = &*self.0;
        let unverified = Unverified::parse(token).map_err(unauthenticated)?;
        let key = inside.keys.find(&unverified.key_id, &inside.clock).await?;
        let key = key.ok_or_else(|| unauthenticated("kid is no known key"))?;
        if !key.verifies(unverified.signed, &unverified.signature) {
            return Err(unauthenticated("the signature is wrong"));
        }
        let claims = Arc::new(unverified.claims().map_err(unauthenticated)?);
        let verified = Verified {
            key_id: unverified.key_id,
            key,
            claims: Arc::clone(&claims),
        };
        inside.verified.put(token, verified);
        Ok(claims)
    }
}

/// A scheme, a host, perhaps a port, and nothing after it. It is compared to the letter, so one
/// letter too many would refuse everybody.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !scheme.is_empty()
        && scheme.bytes().all(|byte| is_plain(byte) || byte == b'-')
        && !host.is_empty()
        && host
            .bytes()
            .all(|byte| is_plain(byte) || b"-._:[]".contains(&byte))
}

/// The token of an `Authorization` header: `Bearer`, one space, the token.
///
/// # Errors
/// `unauthenticated` when it is anything else.
pub fn bearer(header: Option<&str>) -> Result<&str, Fault> {
    let header = header.ok_or_else(|| unauthenticated("no authorization header"))?;
    match header.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer")
                && !token.is_empty()
                && !token.contains(' ') =>
        {
            Ok(token)
        }
        _ => Err(unauthenticated(
            "the authorization header is no bearer token",
        )),
    }
}

fn unauthenticated(reason: Reason) -> Fault {
    Fault::new(
        Kind::Unauthenticated,
        "unauthenticated",
        "the session token is missing or not valid",
    )
    .log(reason)
}
