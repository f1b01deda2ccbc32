//! `[client.token]`: how the tokens of clients are verified.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderName, Uri, header};
use serde::Deserialize;

use crate::limit::KeyPart;
use crate::policy::compiler::Compiler;
use crate::policy::error::{KeyPath, Problem, Source};
use crate::route::Route;
use crate::token::{Algorithm, KeySet, KeySource, Place, TokenRule, Unusable};

/// How the JSON Web Tokens of clients are verified, by whose claims limits count ("claim:NAME").
/// Exactly one of `jwks_url`, `keys` and `secret_env` says where the issuer's keys come from.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawToken {
    /// The header field with the token; in "authorization" and "proxy-authorization" after the
    /// scheme Bearer. Default: authorization.
    pub header: Option<String>,
    /// The cookie with the token, instead of a header field.
    pub cookie: Option<String>,
    /// By which algorithms tokens may be signed: "RS256", "ES256", "`EdDSA`" (Ed25519); "HS256" for a
    /// secret.
    pub algorithms: Vec<String>,
    /// The claim `iss` must be this. Default: any.
    pub issuer: Option<String>,
    /// The claim `aud` must be this, or name it among others. Default: any.
    pub audience: Option<String>,
    /// By how much the clocks of issuer and node may differ, for `exp` and `nbf`; 10m at most.
    /// Default: 30s.
    pub leeway: Option<String>,
    /// Where the issuer publishes its keys (a JSON Web Key Set); https, or http on this machine. They
    /// are fetched again when their time is over, and when a token names a key that is not known. No
    /// redirection is followed.
    pub jwks_url: Option<String>,
    /// The issuer's public keys themselves: PEM ("-----BEGIN PUBLIC KEY-----"), a JSON Web Key, or a
    /// set of them.
    pub keys: Option<String>,
    /// The environment variable, at the edge the Worker's secret, with the secret of HS256: a text of
    /// 32 bytes at least, or a JSON Web Key of the kind "oct", or a set of them.
    pub secret_env: Option<String>,
}

/// What to write.
const ONE_SOURCE: &str = "write one of jwks_url = \"https://...\", keys = \"\"\"...\"\"\" and secret_env = \"NAME\": the issuer's keys come from there";

pub(in crate::policy) fn compile(c: &mut Compiler<'_>, raw: &RawToken) -> TokenRule {
    let at = KeyPath::of(&["client", "token"]);
    let keys = source(c, &at, raw);
    let leeway = c.duration(&at.key("leeway"), raw.leeway.as_ref(), 30_000);
    if leeway > 600_000 {
        c.wrong(
            &at.key("leeway"),
            "at most 10m: a token is valid for so much longer than its issuer says",
        );
    }
    for (key, value) in [("issuer", &raw.issuer), ("audience", &raw.audience)] {
        if value.as_ref().is_some_and(String::is_empty) {
            c.wrong(
                &at.key(key),
                "this is empty, and no token would say so; leave it out if it does not matter",
            );
        }
    }
    TokenRule {
        place: place(c, &at, raw),
        algorithms: algorithms(c, &at, raw),
        issuer: raw.issuer.clone(),
        audience: raw.audience.clone(),
        leeway,
        keys: keys.unwrap_or_else(|| KeySource::Secret("".into())),
        claims: Vec::new(),
    }
}

fn place(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawToken) -> Place {
    match (&raw.header, &raw.cookie) {
        (Some(_), Some(_)) => {
            c.wrong(
                &at.key("cookie"),
                "a token is in a header field or in a cookie: leave one of them out",
            );
        }
        (None, Some(name)) if !name.is_empty() => return Place::Cookie(name.clone()),
        (None, Some(_)) => c.wrong(&at.key("cookie"), "write the name of a cookie"),
        (Some(name), None) => {
            let name: Option<HeaderName> = c.header_name(&at.key("header"), name);
            return Place::Header(name.unwrap_or(header::AUTHORIZATION));
        }
        (None, None) => {}
    }
    Place::Header(header::AUTHORIZATION)
}

fn algorithms(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawToken) -> Vec<Algorithm> {
    let at = at.key("algorithms");
    let mut algorithms = Vec::new();
    for (i, name) in raw.algorithms.iter().enumerate() {
        let Some(algorithm) = Algorithm::named(name) else {
            c.wrong(&at.index(i), format!("`{name}` is not an algorithm that is verified; use RS256, ES256 or EdDSA, or HS256 with secret_env"));
            continue;
        };
        // Whoever reads public keys could sign by them, if they were taken for a secret.
        let is_secret = algorithm == Algorithm::Hs256;
        if is_secret && raw.secret_env.is_none() {
            c.wrong(&at.index(i), "HS256 takes a secret, and these keys are public; name it by secret_env, or use RS256, ES256 or EdDSA");
        }
        if !is_secret && raw.secret_env.is_some() {
            c.wrong(&at.index(i), format!("{name} takes public keys, and secret_env is a secret; use HS256, or jwks_url or keys"));
        }
        algorithms.push(algorithm);
    }
    if raw.algorithms.is_empty() {
        c.wrong(
            &at,
            "say by which algorithms the issuer signs, such as algorithms = [\"RS256\"]",
        );
    }
    algorithms
}

/// Reads where the keys come from; `None` if something is wrong.
fn source(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawToken) -> Option<KeySource> {
    match (&raw.jwks_url, &raw.keys, &raw.secret_env) {
        (Some(url), None, None) => match jwks_url(url) {
            Ok(()) => Some(KeySource::Url(url.as_str().into())),
            Err(why) => {
                c.wrong(&at.key("jwks_url"), format!("`{url}` {why}"));
                None
            }
        },
        (None, Some(text), None) => match KeySet::read_policy(text) {
            Ok(keys) => Some(KeySource::Given(Arc::new(keys))),
            Err(why) => {
                c.wrong(&at.key("keys"), format!("{why}; {}", advice(why)));
                None
            }
        },
        (None, None, Some(name)) => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_name) {
                c.wrong(
                    &at.key("secret_env"),
                    "write the name of an environment variable: letters, digits and underscores",
                );
            }
            Some(KeySource::Secret(name.as_str().into()))
        }
        (None, None, None) => {
            c.wrong(at, ONE_SOURCE);
            None
        }
        _ => {
            c.wrong(
                at,
                format!("the issuer's keys come from one place: {ONE_SOURCE}"),
            );
            None
        }
    }
}

fn advice(why: Unusable) -> &'static str {
    match why {
        Unusable::NotJson | Unusable::NoSet => {
            "write what the issuer publishes at its jwks_uri, or -----BEGIN PUBLIC KEY-----"
        }
        Unusable::Private => {
            "take it out of the policy and replace it, as others may have read it; write the public part, or name a secret by secret_env"
        }
        Unusable::NoKey | Unusable::ShortSecret => "take one of those that the issuer signs by",
    }
}

/// Says what is wrong with a URL: keys that come in the clear could be anybody's.
fn jwks_url(url: &str) -> Result<(), &'static str> {
    let wrong = "is not the URL of a key set; write https://HOST/PATH, without user and fragment";
    let Ok(uri) = url.parse::<Uri>() else {
        return Err(wrong);
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong);
    };
    if url.contains(['@', '#']) || authority.host().is_empty() {
        return Err(wrong);
    }
    let is_here = matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]");
    match scheme {
        "https" => Ok(()),
        "http" if is_here => Ok(()),
        "http" => {
            Err("comes in the clear, so that others could put in keys of their own; write https://")
        }
        _ => Err(wrong),
    }
}

/// Lists the claims by which limits of routes count or find plans, each once.
pub(in crate::policy) fn claims(routes: &[Arc<Route>]) -> Vec<Arc<str>> {
    let limits = routes.iter().flat_map(|route| &route.limits);
    let mut names = BTreeSet::new();
    for part in limits.flat_map(|limit| limit.parts()) {
        if let KeyPart::Claim(name) = part {
            names.insert(Arc::clone(name));
        }
    }
    names.into_iter().collect()
}

/// Lists tokens that nobody reads.
pub(in crate::policy) fn lint(rule: Option<&TokenRule>, source: &Source<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if rule.is_some_and(|rule| rule.claims.is_empty()) {
        let message = "nothing uses this: no limit of a route has \"claim:NAME\" in its key or as its plan; write one, or remove this";
        problems.push(source.problem(&KeyPath::of(&["client", "token"]), message.to_owned()));
    }
    problems
}
