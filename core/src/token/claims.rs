//! What a verified token says, and whether it may be believed now (RFC 7519, section 4.1).

use std::sync::Arc;

use super::compact::Compact;
use super::json::Json;
use super::outcome::TokenOutcome;
use super::rule::TokenRule;
use crate::message::claim::Claim;
use crate::time::Timestamp;

impl Compact {
    /// Returns the claims that the rule names and the token has. Only to be called once the
    /// signature has proved right.
    ///
    /// # Errors
    /// Says why the token must not be believed.
    pub(crate) fn claims(
        &self,
        rule: &TokenRule,
        now: Timestamp,
    ) -> Result<Vec<Claim>, TokenOutcome> {
        let payload = self.payload().ok_or(TokenOutcome::Malformed)?;
        let payload = std::str::from_utf8(&payload).ok().and_then(Json::read);
        let payload = payload.ok_or(TokenOutcome::Malformed)?;
        if !matches!(payload, Json::Object(_)) {
            return Err(TokenOutcome::Malformed);
        }
        check(&payload, rule, now)?;
        let mut claims = Vec::new();
        for name in &rule.claims {
            if let Some(value) = find(&payload, name).and_then(as_text) {
                let name = Arc::clone(name);
                claims.push(Claim { name, value });
            }
        }
        Ok(claims)
    }
}

fn check(payload: &Json<'_>, rule: &TokenRule, now: Timestamp) -> Result<(), TokenOutcome> {
    if let Some(expires) = moment(payload, "exp")?
        && now >= expires.plus(rule.leeway)
    {
        return Err(TokenOutcome::Expired);
    }
    if let Some(begins) = moment(payload, "nbf")?
        && now.plus(rule.leeway) < begins
    {
        return Err(TokenOutcome::NotYetValid);
    }
    if let Some(issuer) = &rule.issuer
        && payload.get("iss").and_then(Json::text) != Some(issuer)
    {
        return Err(TokenOutcome::WrongIssuer);
    }
    if let Some(audience) = &rule.audience
        && !is_for(payload.get("aud"), audience)
    {
        return Err(TokenOutcome::WrongAudience);
    }
    Ok(())
}

/// Returns whether a token is made for somebody. It names one, or several.
fn is_for(audience: Option<&Json<'_>>, wanted: &str) -> bool {
    match audience {
        Some(Json::Array(several)) => several.iter().any(|one| one.text() == Some(wanted)),
        Some(one) => one.text() == Some(wanted),
        None => false,
    }
}

/// Reads a moment in seconds. A fraction of a second is left out; what is before 1970 is 1970.
fn moment(payload: &Json<'_>, name: &str) -> Result<Option<Timestamp>, TokenOutcome> {
    let number = match payload.get(name) {
        None => return Ok(None),
        Some(Json::Number(number)) => *number,
        Some(Json::Null | Json::Bool(_) | Json::Text(_) | Json::Array(_) | Json::Object(_)) => {
            return Err(TokenOutcome::Malformed);
        }
    };
    if number.contains(['e', 'E']) {
        return Err(TokenOutcome::Malformed);
    }
    if number.starts_with('-') {
        return Ok(Some(Timestamp::default()));
    }
    let whole = number.split('.').next().unwrap_or_default();
    // More digits than a number has are a time that never comes.
    let seconds: u64 = whole.parse().unwrap_or(u64::MAX);
    Ok(Some(Timestamp::from_millis(seconds.saturating_mul(1000))))
}

/// Finds a claim: a member of this name, or where the name begins with `/`, what that way leads to
/// from member to member (RFC 6901).
fn find<'a, 'j>(payload: &'a Json<'j>, name: &str) -> Option<&'a Json<'j>> {
    let Some(way) = name.strip_prefix('/') else {
        return payload.get(name);
    };
    let mut value = payload;
    for step in way.split('/') {
        value = value.get(&step.replace("~1", "/").replace("~0", "~"))?;
    }
    Some(value)
}

/// Returns a value as text. Nothing, a list and an object are no names of anybody.
fn as_text(value: &Json<'_>) -> Option<Box<str>> {
    match value {
        Json::Text(text) => Some((**text).into()),
        Json::Number(number) => Some((*number).into()),
        Json::Bool(true) => Some("true".into()),
        Json::Bool(false) => Some("false".into()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}
