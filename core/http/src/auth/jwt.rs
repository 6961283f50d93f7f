//! The authenticator that believes signed tokens.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{TokenData, Validation};
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::time::WallTime;
use switchboard_driver::{AuthError, AuthFuture, AuthKind, Authenticator, Login, SubscribeFuture};

use super::claims::{self, Claims};
use super::error::JwtError;
use super::key_set::KeySet;
use super::keys::TokenKeys;
use super::settings::JwtSettings;
use super::token::{self, QueryToken};

/// Believes a JSON Web Token: the user is its `sub`, and the connection ends with it.
pub struct Jwt {
    keys: TokenKeys,
    validation: Validation,
    query_token: QueryToken,
}

impl Jwt {
    /// How far the clocks of issuer and server may differ, in seconds, when `exp` and `nbf` are
    /// compared with the time.
    pub const LEEWAY_SECONDS: u64 = claims::LEEWAY_SECONDS;

    /// The authenticator for these settings.
    ///
    /// # Errors
    ///
    /// If the key cannot be used.
    pub fn new(settings: &JwtSettings) -> Result<Self, JwtError> {
        // The choice is the process's and is made once; an application that has made it keeps it.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        Ok(Self {
            keys: settings.key.keys()?,
            validation: claims::validation(settings),
            query_token: settings.query_token,
        })
    }

    /// The algorithms that the keys fix, as tokens name them. Those of keys that are fetched are known
    /// once they were.
    pub fn algorithms(&self) -> Vec<String> {
        self.keys
            .known()
            .map_or_else(|_| Vec::new(), |keys| names(&keys))
    }

    /// The login that the request's token proves.
    ///
    /// # Errors
    ///
    /// If there is not exactly one token, or it does not count here. Keys that are not known are not
    /// fetched: [`Authenticator::authenticate`] does that.
    pub fn login(&self, parts: &Parts) -> Result<Login, AuthError> {
        let token = token::find(parts, self.query_token)?;
        login(self.verify(&token, &*self.keys.known()?)?)
    }

    async fn login_with_newest_keys(&self, parts: &Parts) -> Result<Login, AuthError> {
        let token = token::find(parts, self.query_token)?;
        login(self.claims_with_newest_keys(&token).await?)
    }

    async fn claims_with_newest_keys(&self, token: &str) -> Result<Claims, AuthError> {
        // What a known key has signed waits for no fetch if the token does not name it, or the key has no name.
        let Some(keys) = self.keys.before_fetch(token) else {
            return self.verify(token, &*self.keys.for_token(token).await?);
        };
        let decoded = self.decode(token, &keys);
        if decoded.as_ref().err().is_none_or(is_of_a_known_key) {
            return judge(token, decoded, &keys);
        }
        let newest = self.keys.for_token(token).await?;
        match Arc::ptr_eq(&newest, &keys) {
            true => judge(token, decoded, &keys),
            false => self.verify(token, &newest),
        }
    }

    fn verify(&self, token: &str, keys: &KeySet) -> Result<Claims, AuthError> {
        judge(token, self.decode(token, keys), keys)
    }

    /// When a token for a topic expires, if it is for this topic and this user.
    async fn subscription(
        &self,
        token: &str,
        user: &UserId,
        topic: &TopicId,
    ) -> Result<Option<WallTime>, AuthError> {
        let claims = self.claims_with_newest_keys(token).await?;
        if claims.sub != user.as_str() || !claims.is_for(topic) {
            let text = "the token is for another user or another topic (`sub`, `channel`)";
            return Err(AuthError::InvalidToken(text.to_owned()));
        }
        Ok(claims.end(unix_seconds()))
    }

    /// The claims of a token that one of the keys has signed.
    fn decode(&self, token: &str, keys: &KeySet) -> Result<TokenData<Claims>, Error> {
        let header = jsonwebtoken::decode_header(token)?;
        if !keys.algorithms().contains(&header.alg) {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        let validation = Validation {
            algorithms: vec![header.alg],
            ..self.validation.clone()
        };
        for key in keys.candidates(&header) {
            match jsonwebtoken::decode(token, &key.key, &validation) {
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                decoded => return decoded,
            }
        }
        Err(ErrorKind::InvalidSignature.into())
    }
}

/// Whether a token is refused for something else than its key.
fn is_of_a_known_key(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm
    )
}

/// What the token says, if it counts.
fn judge(
    token: &str,
    decoded: Result<TokenData<Claims>, Error>,
    keys: &KeySet,
) -> Result<Claims, AuthError> {
    let verified = decoded.map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => AuthError::TokenExpired(explain(token, &error, keys)),
        _ => AuthError::InvalidToken(explain(token, &error, keys)),
    })?;
    if verified.header.crit.is_some() {
        return Err(AuthError::InvalidToken(
            "the token has critical extensions (`crit`), and none is known here".to_owned(),
        ));
    }
    let claims = verified.claims;
    if claims.never_expires() {
        return Err(AuthError::InvalidToken(
                "`exp` of the token lies beyond the year 9999: it must count seconds since 1970, not milliseconds"
                    .to_owned(),
            ));
    }
    Ok(claims)
}

/// The login that a token proves which says this.
fn login(claims: Claims) -> Result<Login, AuthError> {
    if claims.is_for_one_topic() {
        return Err(AuthError::InvalidToken(
            "the token is for a subscription to the topic that its `channel` names, and logs nobody in".to_owned(),
        ));
    }
    let user = UserId::new(&claims.sub).map_err(|error| {
        AuthError::InvalidToken(format!("`sub` of the token cannot be a user: {error}"))
    })?;
    let topics = claims.topics().map_err(|error| {
        AuthError::InvalidToken(format!(
            "`topics` of the token must be a list of topics, or of their beginnings with `*`, and `channels` one of topics: {error}"
        ))
    })?;
    Ok(Login {
        expires: claims.end(unix_seconds()),
        topics,
        ..Login::new(user)
    })
}

impl Authenticator for Jwt {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> AuthFuture<'a> {
        Box::pin(self.login_with_newest_keys(request))
    }

    fn subscribe<'a>(
        &'a self,
        token: &'a str,
        user: &'a UserId,
        topic: &'a TopicId,
    ) -> SubscribeFuture<'a> {
        Box::pin(self.subscription(token, user, topic))
    }

    fn unready(&self) -> Option<&'static str> {
        match self.keys.known() {
            Ok(_) => None,
            Err(_) => Some("no key of tokens was fetched yet: the log says why"),
        }
    }

    fn kind(&self) -> AuthKind {
        AuthKind::Jwt
    }
}

/// What is wrong with a token, without any part of it.
fn explain(token: &str, error: &Error, keys: &KeySet) -> String {
    let wanted = names(keys).join(" or ");
    let header = jsonwebtoken::decode_header(token);
    let is_strange = (header.as_ref().ok())
        .and_then(|header| header.kid.as_ref())
        .is_some_and(|name| keys.is_strange(name));
    match error.kind() {
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm if is_strange => {
            "no key that this server was given, and that is for signatures, has the name that the token says (`kid`)".to_owned()
        }
        ErrorKind::Json(_) if header.is_err() => {
            format!("the token's header cannot be read, or names an algorithm that is not known: {wanted} is needed (`alg`)")
        }
        ErrorKind::ExpiredSignature => "the token has expired: get a new one".to_owned(),
        ErrorKind::ImmatureSignature => {
            "the token is not valid yet (`nbf`, in seconds since 1970): compare the clocks".to_owned()
        }
        ErrorKind::InvalidSignature => {
            format!("the token's signature is wrong: it must be signed with {wanted} and a key that this server was given, the one that it names (`kid`) if it names one")
        }
        ErrorKind::InvalidAlgorithm => {
            format!("the token is signed with another algorithm: {wanted} is needed (`alg`)")
        }
        ErrorKind::InvalidAudience => "the token is for another audience (`aud`)".to_owned(),
        ErrorKind::InvalidIssuer => "the token is of another issuer (`iss`)".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            format!("the token has no valid `{claim}`, which is required")
        }
        ErrorKind::Json(_) => {
            "the token's claims cannot be read: `sub` must be a text, `exp` and `nbf` numbers, `topics` and `channels` lists of texts, `subs` an object".to_owned()
        }
        _ => "the token is not a JSON Web Token (three parts in base64url)".to_owned(),
    }
}

/// The algorithms of keys, as tokens name them.
fn names(keys: &KeySet) -> Vec<String> {
    let algorithms = keys.algorithms();
    algorithms.iter().map(|name| format!("{name:?}")).collect()
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jwt({})", self.algorithms().join(", "))
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http::HeaderValue;
    use http::header::AUTHORIZATION;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::super::{Expiry, JwtKey};
    use super::*;

    const SECRET: &[u8] = b"a secret of thirty-two bytes.....";

    #[test]
    fn a_good_token_of_each_algorithm_names_its_user_and_its_end() {
        let exp = unix_seconds() + 600;
        for (name, jwt, key, algorithm) in signers() {
            let token = sign(algorithm, &key, &json!({"sub": "ann", "exp": exp}));
            let login = jwt.login(&request(&token)).expect(name);
            assert_eq!(login.user.as_str(), "ann", "{name}");
            assert_eq!(
                login.expires,
                Some(WallTime::from_millis(exp * 1000)),
                "{name}"
            );
            assert_eq!(jwt.algorithms(), [name]);
        }
    }

    #[test]
    fn a_token_of_another_algorithm_or_key_is_refused() {
        let claims = json!({"sub": "ann", "exp": unix_seconds() + 600});
        for (wanted, jwt, _, _) in signers() {
            for (name, _, key, algorithm) in signers() {
                let token = sign(algorithm, &key, &claims);
                let taken = jwt.login(&request(&token));
                assert_eq!(
                    taken.is_ok(),
                    wanted == name,
                    "{wanted} server, {name} token"
                );
            }
        }
        // The public key as if it were a secret, and no signature at all.
        let public = include_bytes!("test_keys/rsa.public.pem");
        let forged = sign(Algorithm::HS256, &EncodingKey::from_secret(public), &claims);
        let rsa = Jwt::new(&settings(JwtKey::PublicPem(public.to_vec()))).expect("a good key");
        assert_refused(&rsa, &forged, "RS256");
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjk5OTk5OTk5OTl9.";
        assert_refused(&rsa, unsigned, "RS256 is needed (`alg`)");
        let other = EncodingKey::from_secret(b"another secret");
        assert_refused(
            &hs256(),
            &sign(Algorithm::HS256, &other, &claims),
            "signature",
        );
    }

    /// While a key is replaced, tokens of the old one and of the new one count.
    #[test]
    fn each_of_several_keys_counts_and_a_token_may_name_its_own() {
        let exp = unix_seconds() + 600;
        let file = [
            include_str!("test_keys/p256.public.pem"),
            "kid: new\n",
            include_str!("test_keys/p256.public.pem"),
            "kid: other\n",
            include_str!("test_keys/p256.other.public.pem"),
            "kid: rsa\n",
            include_str!("test_keys/rsa.public.pem"),
        ]
        .concat();
        let jwt = Jwt::new(&settings(JwtKey::PublicPem(file.into_bytes()))).expect("four keys");
        assert_eq!(jwt.algorithms(), ["ES256", "RS256"]);
        let pem = include_bytes!("test_keys/p256.private.pem");
        let key = EncodingKey::from_ec_pem(pem).expect("a good key");
        let named = |kid: Option<&str>| {
            let header = Header {
                kid: kid.map(str::to_owned),
                ..Header::new(Algorithm::ES256)
            };
            encode(&header, &json!({"sub": "ann", "exp": exp}), &key).expect("a good key")
        };
        for (kid, taken) in [
            (None, true),
            (Some("new"), true),
            (Some("other"), false),
            (Some("rsa"), false),
            (Some("another"), true),
        ] {
            let login = jwt.login(&request(&named(kid)));
            assert_eq!(login.is_ok(), taken, "{kid:?}: {login:?}");
        }
        for (other, algorithm) in [("p256.other", "ES256"), ("rsa", "RS256")] {
            let pem = match other {
                "rsa" => include_str!("test_keys/rsa.public.pem"),
                _ => include_str!("test_keys/p256.other.public.pem"),
            };
            let key = JwtKey::PublicPem(format!("kid: other\n{pem}").into_bytes());
            let jwt = Jwt::new(&settings(key)).expect("one key");
            assert_refused(&jwt, &named(Some("new")), "has the name");
            assert_refused(&jwt, &named(None), algorithm);
        }
    }

    /// H06: a token has an end, and what has ended is not let in.
    #[test]
    fn expiry_is_required_and_compared_with_a_leeway() {
        let now = unix_seconds();
        assert_refused(&hs256(), &hs(&json!({"sub": "ann"})), "`exp`");
        assert_refused(
            &hs256(),
            &hs(&json!({"sub": "ann", "exp": "soon"})),
            "`exp`",
        );
        assert_refused(&hs256(), &hs(&json!({"sub": "ann", "exp": -5})), "`exp`");
        assert_refused(
            &hs256(),
            &hs(&json!({"sub": "ann", "exp": now - 60})),
            "expired",
        );
        let expired = request(&hs(&json!({"sub": "ann", "exp": now - 60})));
        let error = hs256().login(&expired).expect_err("it has expired");
        assert_eq!(error.code(), "token_expired");
        let early = hs(&json!({"sub": "ann", "exp": now + 600, "nbf": now + 60}));
        assert_refused(&hs256(), &early, "`nbf`");
        let nearly = hs(&json!({"sub": "ann", "exp": now + 600, "nbf": now + 10}));
        assert!(hs256().login(&request(&nearly)).is_ok());

        let just_expired = hs(&json!({"sub": "ann", "exp": now - 10}));
        let login = hs256()
            .login(&request(&just_expired))
            .expect("within the leeway");
        assert_eq!(
            login.expires,
            Some(WallTime::from_millis((now + 20) * 1000))
        );
    }

    /// H06: what counts milliseconds would never expire.
    #[test]
    fn an_expiry_beyond_the_calendar_is_refused() {
        let lasting = Jwt::new(&JwtSettings {
            expiry: Expiry::Optional,
            ..settings(JwtKey::Secret(SECRET.to_vec()))
        })
        .expect("a good secret");
        for exp in [
            json!((unix_seconds() + 600) * 1000),
            json!(unix_seconds() * 1_000_000),
            json!(253_402_300_800_u64),
            json!(1e15),
        ] {
            let token = hs(&json!({"sub": "ann", "exp": exp}));
            for jwt in [&hs256(), &lasting] {
                assert_refused(jwt, &token, "seconds");
            }
        }
        let far = hs(&json!({"sub": "ann", "exp": 253_402_300_799_u64}));
        assert!(hs256().login(&request(&far)).is_ok());
        let immature =
            hs(&json!({"sub": "ann", "exp": unix_seconds() + 600, "nbf": unix_seconds() * 1000}));
        assert_refused(&hs256(), &immature, "seconds");
    }

    #[test]
    fn a_token_without_end_is_taken_where_that_is_allowed() {
        let lasting = Jwt::new(&JwtSettings {
            expiry: Expiry::Optional,
            ..settings(JwtKey::Secret(SECRET.to_vec()))
        })
        .expect("a good secret");
        let login = lasting
            .login(&request(&hs(&json!({"sub": "ann"}))))
            .expect("allowed");
        assert_eq!(login.expires, None);
        let expired = hs(&json!({"sub": "ann", "exp": unix_seconds() - 60}));
        assert_refused(&lasting, &expired, "expired");
        assert_refused(
            &lasting,
            &hs(&json!({"sub": "ann", "exp": "soon"})),
            "`exp`",
        );
    }

    /// H07: a token whose `sub` is empty, or no user, names nobody.
    #[test]
    fn a_subject_that_is_no_user_is_refused() {
        let exp = unix_seconds() + 600;
        for sub in [
            json!(""),
            json!(null),
            json!(7),
            json!("a\nb"),
            json!("x".repeat(129)),
        ] {
            let token = hs(&json!({"sub": sub, "exp": exp}));
            assert!(hs256().login(&request(&token)).is_err(), "{sub}");
        }
        assert_refused(&hs256(), &hs(&json!({"exp": exp})), "`sub`");
    }

    #[test]
    fn audience_and_issuer_are_required_once_they_are_set() {
        let exp = unix_seconds() + 600;
        let strict = Jwt::new(&JwtSettings {
            audience: vec!["push".to_owned()],
            issuer: vec!["https://id.example".to_owned()],
            ..settings(JwtKey::Secret(SECRET.to_vec()))
        })
        .expect("a good secret");
        let both =
            json!({"sub": "ann", "exp": exp, "aud": ["web", "push"], "iss": "https://id.example"});
        assert!(strict.login(&request(&hs(&both))).is_ok());
        assert!(
            hs256().login(&request(&hs(&both))).is_ok(),
            "nothing is set: nothing is compared"
        );
        for (claims, hint) in [
            (
                json!({"sub": "ann", "exp": exp, "iss": "https://id.example"}),
                "`aud`",
            ),
            (
                json!({"sub": "ann", "exp": exp, "aud": "web", "iss": "https://id.example"}),
                "`aud`",
            ),
            (json!({"sub": "ann", "exp": exp, "aud": "push"}), "`iss`"),
            (
                json!({"sub": "ann", "exp": exp, "aud": "push", "iss": "https://evil.example"}),
                "`iss`",
            ),
        ] {
            assert_refused(&strict, &hs(&claims), hint);
        }
    }

    /// H01: what else a client sends about itself does not count beside the token.
    #[test]
    fn the_token_alone_says_who_it_is() {
        let token = hs(&json!({"sub": "ann", "exp": unix_seconds() + 600}));
        let mut parts = request(&token);
        parts.uri = "/connect?user=bob&token=bob".parse().expect("a good URI");
        for header in [
            "x-user-id",
            "x-forwarded-user",
            "x-auth-request-user",
            "remote-user",
        ] {
            parts
                .headers
                .insert(header, HeaderValue::from_static("bob"));
        }
        assert_eq!(
            hs256().login(&parts).expect("one token").user.as_str(),
            "ann"
        );
    }

    /// Tokens for Centrifugo count as they are.
    #[test]
    fn a_token_joins_topics_by_each_of_its_claims() {
        let exp = unix_seconds() + 600;
        let claims = json!({"sub": "ann", "exp": exp, "topics": ["a", "room-*"], "channels": ["a", "b", "#ann"],
            "subs": {"c": {"data": {}}, "d*": {}}, "channel": 7});
        let login = hs256().login(&request(&hs(&claims))).expect("it counts");
        let rights = login.topics.expect("it has some");
        let topics = ["a", "b", "c", "d*"].map(|name| TopicId::new(name).expect("a topic"));
        assert_eq!(rights.joins, topics);
        assert_eq!(
            rights.may_join.len(),
            2,
            "what it names elsewhere allows nothing more"
        );
        assert_refused(
            &hs256(),
            &hs(&json!({"sub": "ann", "exp": exp, "channels": [""]})),
            "`channels`",
        );
    }

    /// H01: a token for a topic is for one user and for that topic.
    #[test]
    fn a_token_for_a_topic_allows_that_to_its_user() {
        let jwt = hs256();
        let exp = unix_seconds() + 600;
        let news = TopicId::new("news").expect("a topic");
        let ann = UserId::new("ann").expect("a user");
        let judged = |claims: Value| {
            let token = hs(&claims);
            let judged = Authenticator::subscribe(&jwt, &token, &ann, &news).now_or_never();
            judged.expect("its key is there")
        };
        let end = judged(json!({"sub": "ann", "exp": exp, "channel": "news"}));
        assert_eq!(end, Ok(Some(WallTime::from_millis(exp * 1000))));
        for claims in [
            json!({"sub": "bob", "exp": exp, "channel": "news"}),
            json!({"sub": "ann", "exp": exp, "channel": "sport"}),
            json!({"sub": "ann", "exp": exp}),
            json!({"sub": "ann", "channel": "news"}),
        ] {
            assert!(matches!(judged(claims), Err(AuthError::InvalidToken(_))));
        }
        assert_refused(
            &jwt,
            &hs(&json!({"sub": "ann", "exp": exp, "channel": "news"})),
            "`channel`",
        );
        let expired = judged(json!({"sub": "ann", "exp": exp - 1200, "channel": "news"}));
        assert!(matches!(expired, Err(AuthError::TokenExpired(_))));
    }

    #[test]
    fn line_breaks_at_the_end_of_a_secret_do_not_count() {
        let mut file = SECRET.to_vec();
        file.extend_from_slice(b"\r\n");
        let jwt = Jwt::new(&settings(JwtKey::Secret(file))).expect("a good secret");
        let token = hs(&json!({"sub": "ann", "exp": unix_seconds() + 600}));
        assert!(jwt.login(&request(&token)).is_ok());
    }

    fn assert_refused(jwt: &Jwt, token: &str, hint: &str) {
        let error = jwt.login(&request(token)).expect_err("must be refused");
        assert_eq!(error.status(), http::StatusCode::UNAUTHORIZED);
        let text = error.to_string();
        assert!(text.contains(hint), "{text:?} does not mention {hint:?}");
        for part in token.split('.').filter(|part| part.len() > 4) {
            assert!(!text.contains(part), "the token is repeated in {text:?}");
        }
    }

    fn signers() -> [(&'static str, Jwt, EncodingKey, Algorithm); 4] {
        let public =
            |pem: &[u8]| Jwt::new(&settings(JwtKey::PublicPem(pem.to_vec()))).expect("a good key");
        let rsa = EncodingKey::from_rsa_pem(include_bytes!("test_keys/rsa.private.pem"));
        let p256 = EncodingKey::from_ec_pem(include_bytes!("test_keys/p256.private.pem"));
        let ed25519 = EncodingKey::from_ed_pem(include_bytes!("test_keys/ed25519.private.pem"));
        [
            (
                "HS256",
                hs256(),
                EncodingKey::from_secret(SECRET),
                Algorithm::HS256,
            ),
            (
                "RS256",
                public(include_bytes!("test_keys/rsa.public.pem")),
                rsa.expect("a good key"),
                Algorithm::RS256,
            ),
            (
                "ES256",
                public(include_bytes!("test_keys/p256.public.pem")),
                p256.expect("a good key"),
                Algorithm::ES256,
            ),
            (
                "EdDSA",
                public(include_bytes!("test_keys/ed25519.public.pem")),
                ed25519.expect("a good key"),
                Algorithm::EdDSA,
            ),
        ]
    }

    fn hs256() -> Jwt {
        Jwt::new(&settings(JwtKey::Secret(SECRET.to_vec()))).expect("a good secret")
    }

    fn hs(claims: &Value) -> String {
        sign(Algorithm::HS256, &EncodingKey::from_secret(SECRET), claims)
    }

    fn sign(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
        encode(&Header::new(algorithm), claims, key).expect("a good key")
    }

    fn settings(key: JwtKey) -> JwtSettings {
        JwtSettings {
            key,
            audience: Vec::new(),
            issuer: Vec::new(),
            expiry: Expiry::Required,
            query_token: QueryToken::Ignored,
        }
    }

    fn request(token: &str) -> Parts {
        let mut request = http::Request::get("/connect")
            .body(())
            .expect("a good request");
        let bearer = HeaderValue::try_from(format!("Bearer {token}")).expect("a good header");
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.into_parts().0
    }
}
