//! A token as a request has it (RFC 7515, section 7.1), before it is known who has signed it.

use http::{HeaderMap, HeaderName, header};

use super::algorithm::Algorithm;
use super::base64url;
use super::json::Json;
use super::outcome::TokenOutcome;
use super::rule::{Place, TokenRule};
use crate::message::cookie;

/// Longest token that is read. Fields of requests seldom may be longer.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Longest header of a token, in base64url.
const HEADER_BYTES_MAX: usize = 4 << 10;

/// A token whose header has been read, and nothing else of it: nobody knows yet who wrote it.
#[derive(Debug)]
pub(crate) struct Compact {
    pub(crate) algorithm: Algorithm,
    /// The key that it asks for.
    pub(crate) key: Option<String>,
    /// Header and payload, as they are signed.
    pub(crate) input: String,
    pub(crate) signature: Vec<u8>,
}

/// Finds the token of a request.
///
/// There must be exactly one: of several each application chooses another, and the client would
/// choose its count.
pub(crate) fn find<'a>(place: &'a Place, fields: &'a HeaderMap) -> Result<&'a str, TokenOutcome> {
    let mut found = None;
    let mut take = |value: Option<&'a str>| match value {
        // The same token in another spelling of a cookie's name is the same token.
        Some(text) if found.is_none_or(|known| known == text) => {
            found = Some(text);
            Ok(())
        }
        Some(_) | None => Err(TokenOutcome::Malformed),
    };
    match place {
        Place::Header(name) => {
            let mut lines = fields.get_all(name).iter();
            let line = lines.next().ok_or(TokenOutcome::Missing)?;
            if lines.next().is_some() {
                return Err(TokenOutcome::Malformed);
            }
            let text = line.to_str().map_err(|_| TokenOutcome::Malformed)?;
            take(Some(credentials(name, text).ok_or(TokenOutcome::Missing)?))?;
        }
        Place::Cookie(name) => {
            for value in cookie::values(fields, name) {
                take(std::str::from_utf8(value).ok().map(str::trim))?;
            }
        }
    }
    match found {
        None | Some("") => Err(TokenOutcome::Missing),
        Some(text) => Ok(text),
    }
}

/// Returns the token of a field; `None` if the field has credentials of another kind. The scheme
/// may be in any case, with any number of spaces after it (RFC 9110, section 11.4).
fn credentials<'a>(name: &HeaderName, value: &'a str) -> Option<&'a str> {
    if *name != header::AUTHORIZATION && *name != header::PROXY_AUTHORIZATION {
        return Some(value.trim());
    }
    let (scheme, rest) = value.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| rest.trim_start())
}

impl Compact {
    /// Reads the header of a token, whose signature must be verified before anything else of it is
    /// used.
    pub(crate) fn read(text: &str, rule: &TokenRule) -> Result<Self, TokenOutcome> {
        let (input, signature) = parts(text).ok_or(TokenOutcome::Malformed)?;
        let header = input
            .split('.')
            .next()
            .filter(|header| header.len() <= HEADER_BYTES_MAX)
            .and_then(|header| base64url::decode(header.as_bytes()));
        let header = header.ok_or(TokenOutcome::Malformed)?;
        let header = std::str::from_utf8(&header).ok().and_then(Json::read);
        let header = header.ok_or(TokenOutcome::Malformed)?;
        // Whoever does not understand what `crit` names must refuse the token (RFC 7515, section
        // 4.1.11), and a payload that is not encoded (`b64`, RFC 7797) is none that is read here.
        if header.get("crit").is_some() || header.get("b64").is_some() {
            return Err(TokenOutcome::Malformed);
        }
        let name = header.get("alg").and_then(Json::text);
        let name = name.ok_or(TokenOutcome::Malformed)?;
        let key = match header.get("kid") {
            None => None,
            Some(id) => Some(id.text().ok_or(TokenOutcome::Malformed)?.to_owned()),
        };
        let algorithm = Algorithm::named(name)
            .filter(|algorithm| rule.algorithms.contains(algorithm))
            .ok_or(TokenOutcome::AlgorithmNotAllowed)?;
        Ok(Self {
            algorithm,
            key,
            input: input.to_owned(),
            signature,
        })
    }

    /// Returns the payload, of which nothing is known before the signature is.
    pub(super) fn payload(&self) -> Option<Vec<u8>> {
        let (_, payload) = self.input.split_once('.')?;
        base64url::decode(payload.as_bytes())
    }
}

/// Splits a token into what is signed, and the signature. It has three parts.
fn parts(text: &str) -> Option<(&str, Vec<u8>)> {
    if text.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (input, signature) = text.rsplit_once('.')?;
    let (header, payload) = input.split_once('.')?;
    if header.is_empty() || payload.contains('.') {
        return None;
    }
    Some((input, base64url::decode(signature.as_bytes())?))
}
