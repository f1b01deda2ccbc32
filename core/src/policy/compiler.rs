//! What compiling a policy needs everywhere: problems are collected, and values read.

use std::sync::Arc;

use http::{HeaderName, Method};

use crate::limit::KeyPart;
use crate::policy::defined::Defined;
use crate::policy::error::{KeyPath, Problem, Source};
use crate::policy::units;
use crate::time::Millis;

/// Collects problems on the way, so that an author sees all of them at once.
pub(super) struct Compiler<'a> {
    pub(super) source: Source<'a>,
    pub(super) problems: Vec<Problem>,
    pub(super) identity: Identity,
    /// Leading bits of an IPv6 address that are one client.
    pub(super) ipv6_prefix: u8,
    /// Whether the policy says how tokens are verified.
    pub(super) has_token: bool,
}

/// Where user and workspace of a request are named.
pub(super) struct Identity {
    pub(super) user: KeyPart,
    pub(super) workspace: KeyPart,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            user: KeyPart::Header(HeaderName::from_static("x-user-id")),
            workspace: KeyPart::Header(HeaderName::from_static("x-workspace-id")),
        }
    }
}

impl Compiler<'_> {
    pub(super) fn wrong(&mut self, path: &KeyPath, message: impl Into<String>) {
        let problem = self.source.problem(path, message.into());
        self.problems.push(problem);
    }

    pub(super) fn duration(
        &mut self,
        path: &KeyPath,
        text: Option<&String>,
        default: Millis,
    ) -> Millis {
        self.read(path, text, default, units::duration)
    }

    pub(super) fn bytes(&mut self, path: &KeyPath, text: Option<&String>, default: u64) -> u64 {
        self.read(path, text, default, units::bytes)
    }

    fn read<T>(
        &mut self,
        path: &KeyPath,
        text: Option<&String>,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        match text.map(|t| parse(t)) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(message)) => {
                self.wrong(path, message);
                default
            }
        }
    }

    pub(super) fn header_name(&mut self, path: &KeyPath, text: &str) -> Option<HeaderName> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name = HeaderName::try_from(text)
            .ok()
            .filter(|name| name.as_str().bytes().all(is_name));
        if name.is_none() {
            let hint = if text.contains('*') {
                "; there are no patterns here, write each name by itself"
            } else {
                ""
            };
            self.wrong(
                path,
                format!(
                    "`{text}` is not a header field name; use letters, digits and hyphens{hint}"
                ),
            );
        }
        name
    }

    /// Finds a name among those defined, or says which there are.
    pub(super) fn find<T>(
        &mut self,
        path: &KeyPath,
        defined: &Defined<T>,
        name: &str,
    ) -> Option<Arc<T>> {
        // What was written but is wrong itself has been reported already.
        if let Some(entry) = defined.entries.get(name) {
            return entry.clone();
        }
        let kind = defined.kind;
        let known = if defined.entries.is_empty() {
            format!("none is defined; {}", (defined.how_to_define)(name))
        } else {
            format!("defined are: {}", defined.names().join(", "))
        };
        self.wrong(path, format!("there is no {kind} named `{name}`; {known}"));
        None
    }

    /// Reads a list of methods.
    pub(super) fn methods(&mut self, at: &KeyPath, list: &[String]) -> Vec<Method> {
        let mut methods = Vec::new();
        for (i, text) in list.iter().enumerate() {
            let is_lower = text.bytes().any(|byte| byte.is_ascii_lowercase());
            match Method::from_bytes(text.as_bytes()) {
                Ok(method) if !is_lower => methods.push(method),
                Ok(_) | Err(_) => self.wrong(
                    &at.index(i),
                    format!("`{text}` is not a method; they are written in upper case: GET, POST"),
                ),
            }
        }
        methods
    }

    /// Reads a list of statuses that mean failure.
    pub(super) fn statuses(
        &mut self,
        at: &KeyPath,
        list: Option<&Vec<u16>>,
        default: &[u16],
    ) -> Vec<u16> {
        let list = list.map_or(default, Vec::as_slice);
        if list.iter().any(|status| !(400..=599).contains(status)) {
            self.wrong(at, "statuses that mean failure go from 400 to 599");
        }
        list.to_vec()
    }

    /// Reads the parts of a limit's or an affinity's key.
    pub(super) fn key_parts(&mut self, path: &KeyPath, texts: &[String]) -> Vec<KeyPart> {
        let mut parts = Vec::with_capacity(texts.len());
        for (i, text) in texts.iter().enumerate() {
            parts.extend(self.key_part(&path.index(i), text));
        }
        parts
    }

    /// Reads a part of a request by which is counted, or which says the plan.
    pub(super) fn key_part(&mut self, path: &KeyPath, text: &str) -> Option<KeyPart> {
        match key_part(text, &self.identity, self.ipv6_prefix) {
            Ok(KeyPart::Claim(_)) if !self.has_token => {
                self.wrong(path, NO_TOKEN);
                None
            }
            Ok(part) => Some(part),
            Err(message) => {
                self.wrong(path, message);
                None
            }
        }
    }

    /// Reads the parts of an affinity's key. A token is verified for limits only: the signature would
    /// have to be waited for otherwise by requests that nothing counts.
    pub(super) fn affinity(&mut self, path: &KeyPath, texts: &[String]) -> Vec<KeyPart> {
        let parts = self.key_parts(path, texts);
        if parts.iter().any(|part| matches!(part, KeyPart::Claim(_))) {
            let message = "claims are known to limits only; use a header field or a cookie, or ip";
            self.wrong(path, message);
        }
        parts
    }

    /// Returns how many leading bits of an IPv6 address are one client.
    pub(super) fn ipv6_prefix(&self) -> u8 {
        self.ipv6_prefix
    }
}

/// What to write for claims.
const NO_TOKEN: &str = "a claim is used of a verified token only, and nothing says how to verify one; write [client.token] with algorithms = [\"RS256\"] and jwks_url = \"https://...\"";

pub(super) fn key_part(
    text: &str,
    identity: &Identity,
    ipv6_prefix: u8,
) -> Result<KeyPart, String> {
    let wrong = || {
        format!(
            "`{text}` is not a key part; use ip, ip/PREFIX, header:NAME, cookie:NAME, query:NAME, path, route, country, asn, user, workspace, claim:NAME or tls_subject"
        )
    };
    if text.contains('*') {
        return Err(format!(
            "`{text}` has a star, and there are no patterns here; write each name by itself"
        ));
    }
    match text.split_once(':') {
        Some(("header", name)) => HeaderName::try_from(name)
            .map(KeyPart::Header)
            .map_err(|_| wrong()),
        Some(("cookie", name)) if !name.is_empty() => Ok(KeyPart::Cookie(name.to_owned())),
        Some(("claim", name)) if !name.is_empty() => Ok(KeyPart::Claim(name.into())),
        Some(("query", name)) if !name.is_empty() => Ok(KeyPart::Query(name.to_owned())),
        Some(_) => Err(wrong()),
        None => match text {
            "ip" => Ok(KeyPart::Ip { ipv6_prefix }),
            "path" => Ok(KeyPart::Path),
            "route" => Ok(KeyPart::Route),
            "country" => Ok(KeyPart::Country),
            "asn" => Ok(KeyPart::Asn),
            "tls_subject" => Ok(KeyPart::TlsSubject),
            "user" => Ok(identity.user.clone()),
            "workspace" => Ok(identity.workspace.clone()),
            _ => match text.strip_prefix("ip/").and_then(|p| p.parse::<u8>().ok()) {
                Some(ipv6_prefix @ 1..=128) => Ok(KeyPart::Ip { ipv6_prefix }),
                Some(_) | None => Err(wrong()),
            },
        },
    }
}
