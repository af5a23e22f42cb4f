use std::{collections::BTreeSet, sync::Arc};

use watertight_terms::{Clock, Fault, Unproven, problems};

use crate::{
    Caller, Keys, RoleMap,
    cache::{Cache, Verified},
    keys::PublicKey,
    token::{Claims, Reason, Refused, Unverified},
};

/// So many instances are known at most: a move has two.
const INSTANCES_MOST: usize = 8;

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
    /// Whether somebody may act as a member.
    pub impersonation: Impersonation,
}

/// Whether somebody at Clerk's dashboard may act as a member (`act`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Impersonation {
    /// Nobody may: whoever holds the dashboard is a member of no studio.
    #[default]
    Refused,
    /// To read only, under both names: see [`Member::actor`](crate::Member::actor). Whoever sets it
    /// sees to it that nothing is changed.
    ReadOnly,
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
            impersonation: Impersonation::Refused,
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
    /// No instance, several of one issuer, or too many.
    #[error("name one to eight instances, each issuer once")]
    Instances,
}

/// Verifies session tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    instances: Vec<Arc<Instance>>,
    clock: Clock,
    verified: Cache,
}

/// An issuer: what its good tokens say, and its keys, which no other's tokens are tried with.
#[derive(Debug)]
pub(crate) struct Instance {
    settings: VerifierSettings,
    keys: Keys,
}

impl Verifier {
    /// A verifier of one issuer's tokens.
    ///
    /// # Errors
    /// When the settings would accept what they should not.
    pub fn new(
        settings: VerifierSettings,
        keys: Keys,
        clock: Clock,
    ) -> Result<Self, SettingsError> {
        Self::of([(settings, keys)], clock)
    }

    /// A verifier of several issuers' tokens, each with its own keys and settings; for the move
    /// from one instance to another. All of them must be yours: an issuer can name any user and any
    /// organization, so compare [`Member::issuer`](crate::Member::issuer) where ids could be two's.
    ///
    /// # Errors
    /// When the settings would accept what they should not, or two are of one issuer.
    pub fn of(
        instances: impl IntoIterator<Item = (VerifierSettings, Keys)>,
        clock: Clock,
    ) -> Result<Self, SettingsError> {
        let instances: Vec<_> = instances
            .into_iter()
            .map(|(settings, keys)| Arc::new(Instance { settings, keys }))
            .collect();
        let issuers: BTreeSet<&str> = instances
            .iter()
            .map(|instance| instance.settings.issuer.as_str())
            .collect();
        if !(1..=INSTANCES_MOST).contains(&instances.len()) || issuers.len() != instances.len() {
            return Err(SettingsError::Instances);
        }
        for instance in &instances {
            check(&instance.settings)?;
        }
        Ok(Self(Arc::new(Inside {
            instances,
            clock,
            verified: Cache::new(),
        })))
    }

    /// Forgets every key that was fetched and every token that was verified: for an operator who
    /// has rotated keys at the issuer. Until the new keys are fetched, nobody is let in; keys of
    /// before are not used again, not even while the issuer is away.
    pub fn rotated(&self) {
        for instance in &self.0.instances {
            instance.keys.forget();
        }
        self.0.verified.forget_all();
    }

    /// Who is calling with this token.
    ///
    /// # Errors
    /// `unauthenticated`, always in the same words, when the token is not good; not allowed when no
    /// organization is active in its session; unavailable when the issuer's keys cannot be had.
    pub async fn verify(&self, token: &str) -> Result<Caller, Fault> {
        let inside = &*self.0;
        let (instance, claims) = inside.claims(token).await?;
        let member = claims
            .member(&instance.settings, inside.clock.now_s())
            .map_err(|refused| match refused {
                Refused::Invalid(reason) => {
                    unauthenticated(Unproven::Claims, reason).aimed(claims.aim())
                }
                Refused::Over(reason) => unauthenticated(Unproven::Over, reason),
                Refused::NoOrganization => Fault::new(
                    problems::NO_ORGANIZATION,
                    "no studio is active in your session; choose one and try again",
                ),
            })?;
        Ok(Caller::member(member))
    }
}

impl Inside {
    /// The claims of a token whose signature is right, and whose it is. The keys are asked once.
    async fn claims(&self, token: &str) -> Result<(Arc<Instance>, Arc<Claims>), Fault> {
        let Some(before) = self.verified.get(token) else {
            let unverified = Unverified::parse(token).map_err(malformed)?;
            let checked = self.first_check(token, &unverified).await;
            return checked.map_err(|fault| fault.aimed(unverified.aim()));
        };
        let key = before.instance.key(&before.key_id, &self.clock).await?;
        if Arc::ptr_eq(&key, &before.key) {
            return Ok((before.instance, before.claims));
        }
        let unverified = Unverified::parse(token).map_err(malformed)?;
        let checked = self.check(token, &unverified, before.instance, key);
        checked.map_err(|fault| fault.aimed(unverified.aim()))
    }

    /// The check of a token that was not seen before, or was not good.
    async fn first_check(
        &self,
        token: &str,
        unverified: &Unverified<'_>,
    ) -> Result<(Arc<Instance>, Arc<Claims>), Fault> {
        let another = |reason| unauthenticated(Unproven::Claims, reason);
        let instance = self.named(unverified).map_err(another)?;
        let key = instance.key(&unverified.key_id, &self.clock).await?;
        self.check(token, unverified, instance, key)
    }

    /// The instance whose keys are to be tried.
    fn named(&self, unverified: &Unverified<'_>) -> Result<Arc<Instance>, Reason> {
        if let [only] = self.instances.as_slice() {
            return Ok(Arc::clone(only));
        }
        let issuer = unverified.named_issuer()?;
        let mut instances = self.instances.iter();
        let named = instances.find(|instance| instance.settings.issuer == issuer);
        named.map(Arc::clone).ok_or("iss is another issuer")
    }

    /// The one check of a signature.
    fn check(
        &self,
        token: &str,
        unverified: &Unverified<'_>,
        instance: Arc<Instance>,
        key: Arc<PublicKey>,
    ) -> Result<(Arc<Instance>, Arc<Claims>), Fault> {
        if !key.verifies(unverified.signed.as_bytes(), &unverified.signature) {
            return Err(unauthenticated(
                Unproven::Signature,
                "the signature is wrong",
            ));
        }
        let claims = Arc::new(unverified.claims().map_err(malformed)?);
        let verified = Verified {
            instance: Arc::clone(&instance),
            key_id: unverified.key_id.clone(),
            key,
            claims: Arc::clone(&claims),
        };
        self.verified.put(token, verified);
        Ok((instance, claims))
    }
}

impl Instance {
    async fn key(&self, id: &str, clock: &Clock) -> Result<Arc<PublicKey>, Fault> {
        let key = self.keys.find(id, clock).await?;
        key.ok_or_else(|| unauthenticated(Unproven::UnknownKey, "kid is no known key"))
    }
}

fn check(settings: &VerifierSettings) -> Result<(), SettingsError> {
    if !settings.issuer.starts_with("https://") || !is_origin(&settings.issuer) {
        return Err(SettingsError::Issuer);
    }
    let parties = &settings.authorized_parties;
    if parties.is_empty() || !parties.iter().all(|party| is_origin(party)) {
        return Err(SettingsError::Parties);
    }
    let (skew_s, life_s) = (settings.clock_skew_s, settings.longest_life_s);
    if (0..=60).contains(&skew_s) && (1..=3_600).contains(&life_s) {
        Ok(())
    } else {
        Err(SettingsError::Times)
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
    let header =
        header.ok_or_else(|| unauthenticated(Unproven::Absent, "no authorization header"))?;
    match header.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer")
                && !token.is_empty()
                && !token.contains(' ') =>
        {
            Ok(token)
        }
        _ => Err(malformed("the authorization header is no bearer token")),
    }
}

fn malformed(reason: Reason) -> Fault {
    unauthenticated(Unproven::Malformed, reason)
}

fn unauthenticated(why: Unproven, reason: Reason) -> Fault {
    Fault::new(
        problems::UNAUTHENTICATED,
        "the session token is missing or not valid",
    )
    .log(reason)
    .unproven(why)
}

/// How much work a token can make, counted.
#[cfg(test)]
#[cfg(feature = "double")]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, AtomicUsize, Ordering},
        time::Duration,
    };

    use axum::{Router, routing::get};
    use proptest::{prelude::*, test_runner::TestRunner};
    use watertight_outbound::{Outbound, OutboundRules};
    use watertight_terms::Random;

    use super::*;
    use crate::{
        double::{Double, TokenRequest},
        keys::tests::CHECKS,
    };

    const ISSUER: &str = "https://clerk.kit.test";
    const PARTY: &str = "https://app.kit.test";

    /// A verifier whose keys are published, the count of fetches, and a double that signs.
    struct World {
        double: Double,
        verifier: Verifier,
        fetches: Arc<AtomicUsize>,
    }

    impl World {
        /// The clock goes on by `step_s` each time that anybody looks at it: what was fetched is
        /// too old at once, and the next fetch is always due.
        async fn open(step_s: u64) -> Self {
            let start: jiff::Timestamp = "2026-10-25T00:30:00Z".parse().unwrap();
            let double = Double::new(ISSUER, PARTY, Clock::fixed(start), Random::system()).unwrap();
            let fetches = Arc::<AtomicUsize>::default();
            let (counted, set) = (Arc::clone(&fetches), double.jwks_json());
            let answer = move || async move {
                counted.fetch_add(1, Ordering::SeqCst);
                set
            };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().route("/keys", get(answer));
            tokio::spawn(async move { axum::serve(listener, router).await });
            let rules = OutboundRules {
                allow: vec![address.to_string()],
                ..OutboundRules::default()
            };
            let outbound = Outbound::new(rules).unwrap();
            let keys = Keys::jwks(outbound, &format!("http://{address}/keys"));
            let looked = AtomicU64::new(0);
            let clock = Clock::from_fn(move || {
                let steps = looked.fetch_add(1, Ordering::SeqCst);
                start + Duration::from_secs(steps * step_s)
            });
            let settings = VerifierSettings::new(ISSUER, [PARTY]);
            let verifier = Verifier::new(settings, keys, clock).unwrap();
            Self {
                double,
                verifier,
                fetches,
            }
        }

        /// Checks of signatures and fetches that a token makes.
        async fn work(&self, token: &str) -> (usize, usize) {
            let before = (CHECKS.get(), self.fetches.load(Ordering::SeqCst));
            drop(self.verifier.verify(token).await);
            let fetches = self.fetches.load(Ordering::SeqCst);
            (CHECKS.get() - before.0, fetches - before.1)
        }

        fn token(&self) -> String {
            self.double.token(&TokenRequest {
                subject: "user_ada".into(),
                session: "sess_ada".into(),
                organization: "org_one".into(),
                slug: "one".into(),
                role: "org:studio_owner".into(),
                version: 2,
                life_s: 60,
            })
        }
    }

    #[tokio::test]
    async fn a_token_seen_before_costs_no_check() {
        let world = World::open(0).await;
        let token = world.token();
        assert_eq!(world.work(&token).await, (1, 1));
        for _ in 0..5 {
            assert_eq!(world.work(&token).await, (0, 0));
        }
    }

    #[test]
    fn any_bytes_make_one_check_and_one_fetch_at_most() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for step_s in [0, 11, 400, 4_000] {
            let world = runtime.block_on(World::open(step_s));
            let good = world.token();
            let parts = (
                any::<Vec<u8>>(),
                0..good.len(),
                "[A-Za-z0-9_.=-]",
                "ins_[a-z0-9]{0,6}",
            );
            let tried = TestRunner::new(ProptestConfig::with_cases(64)).run(
                &parts,
                |(bytes, at, letter, kid)| {
                    let mut bent = good.clone();
                    bent.replace_range(at..=at, &letter);
                    let mut header = world.double.header();
                    header["kid"] = kid.into();
                    let claims = String::from_utf8_lossy(&bytes).into_owned();
                    let signed = world.double.header().to_string();
                    let tokens = [
                        claims.clone(),
                        bent,
                        good.clone(),
                        world.double.sign_text(&header.to_string(), &claims),
                        world.double.sign_text(&signed, &claims),
                    ];
                    for token in tokens {
                        let (checks, fetches) = runtime.block_on(world.work(&token));
                        prop_assert!(checks <= 1 && fetches <= 1, "{checks} {fetches} {token}");
                    }
                    Ok(())
                },
            );
            tried.unwrap();
        }
    }
}
