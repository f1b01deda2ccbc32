//! `[client]`: where facts about the client come from.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::limit::KeyPart;
use crate::message::client::{ClientPolicy, Nat64, Network};
use crate::message::names;
use crate::policy::compiler::{Compiler, Identity, key_part};
use crate::policy::error::{KeyPath, Problem, Source};
use crate::policy::sections::limits::RawLimit;
use crate::policy::sections::token::RawToken;

/// Where facts about the client come from.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawClient {
    /// Networks whose forwarding header fields are believed, such as "10.0.0.0/8". Default: none.
    pub trusted_proxies: Vec<String>,
    /// The header field with the client's address, read from the right past trusted proxies; what
    /// stands left of something unreadable is not believed. "forwarded" is read as RFC 7239 says,
    /// every other field as a list of addresses. Default: x-forwarded-for.
    pub address_header: Option<String>,
    /// The header field in which trusted proxies say the client's country by its two-letter code;
    /// "off": nobody says it in a field. With Cloudflare's "cf-ipcountry" its fields for continent
    /// and place are read too. XX is an unknown country, T1 is Tor. A proxy that is trusted must
    /// set this field or remove it: what it passes on from clients is believed. At the edge the
    /// platform says it. Default: cf-ipcountry.
    pub country_header: Option<String>,
    /// The header field in which trusted proxies say the number of the client's network (autonomous
    /// system), such as "64496" or "AS64496". A proxy that is trusted must set this field or remove
    /// it. At the edge the platform says it. Default: none.
    pub asn_header: Option<String>,
    /// The header field in which trusted proxies say the subject of the client's certificate, once
    /// they have verified it. A proxy that is trusted must set this field or remove it. At the edge
    /// the platform says it. Default: none.
    pub tls_subject_header: Option<String>,
    /// How many leading bits of an IPv6 address are one client, where a key says "ip": 1 to 128.
    /// Default: 64.
    pub ipv6_prefix: Option<u8>,
    /// IPv6 networks of NAT64 gateways (RFC 6052: /32, /40, /48, /56, /64 or /96): a client inside
    /// is the IPv4 client whose address is embedded. `64:ff9b::/96` always is one.
    pub nat64_prefixes: Vec<String>,
    /// Where the user of a request is named: "header:NAME", "cookie:NAME" or "claim:NAME". Default:
    /// header:x-user-id.
    pub user: Option<String>,
    /// Where the workspace of a request is named: "header:NAME", "cookie:NAME" or "claim:NAME".
    /// Default: header:x-workspace-id.
    pub workspace: Option<String>,
    /// How the tokens of clients are verified, by whose claims limits count.
    pub token: Option<RawToken>,
}

pub(in crate::policy) fn ipv6_prefix(c: &mut Compiler<'_>, raw: &RawClient) -> u8 {
    let prefix = raw.ipv6_prefix.unwrap_or(64);
    if !(1..=128).contains(&prefix) {
        c.wrong(&KeyPath::of(&["client", "ipv6_prefix"]), "from 1 to 128");
    }
    prefix
}

pub(in crate::policy) fn identity(c: &mut Compiler<'_>, raw: &RawClient) -> Identity {
    let default = Identity::default();
    let mut named = |key: &str, text: Option<&String>, otherwise: KeyPart| match text
        .map(|t| key_part(t, &default, 64))
    {
        None => otherwise,
        Some(Ok(part @ (KeyPart::Header(_) | KeyPart::Cookie(_) | KeyPart::Claim(_)))) => part,
        Some(Ok(_) | Err(_)) => {
            c.wrong(
                &KeyPath::of(&["client", key]),
                "write \"header:NAME\", \"cookie:NAME\" or \"claim:NAME\"",
            );
            otherwise
        }
    };
    let user = named("user", raw.user.as_ref(), default.user.clone());
    let workspace = named(
        "workspace",
        raw.workspace.as_ref(),
        default.workspace.clone(),
    );
    Identity { user, workspace }
}

pub(in crate::policy) fn compile(c: &mut Compiler<'_>, raw: &RawClient) -> ClientPolicy {
    let at = KeyPath::of(&["client", "trusted_proxies"]);
    let mut trusted_proxies = Vec::new();
    for (i, text) in raw.trusted_proxies.iter().enumerate() {
        match Network::parse(text) {
            Some(network) => trusted_proxies.push(network),
            None => c.wrong(
                &at.index(i),
                format!(
                    "`{text}` is not a network; write an address or CIDR: 10.0.0.0/8, 2001:db8::/32"
                ),
            ),
        }
    }
    let default = names::X_FORWARDED_FOR;
    let address_header = match &raw.address_header {
        None => default,
        Some(text) => c
            .header_name(&KeyPath::of(&["client", "address_header"]), text)
            .unwrap_or(default),
    };
    let country_header = match raw.country_header.as_deref() {
        None => Some(names::CF_IPCOUNTRY),
        Some("off") => None,
        Some(text) => c.header_name(&KeyPath::of(&["client", "country_header"]), text),
    };
    let mut named = |key: &str, text: &Option<String>| {
        let text = text.as_ref()?;
        c.header_name(&KeyPath::of(&["client", key]), text)
    };
    let asn_header = named("asn_header", &raw.asn_header);
    let tls_subject_header = named("tls_subject_header", &raw.tls_subject_header);
    let mut nat64 = vec![Nat64::well_known()];
    for (i, text) in raw.nat64_prefixes.iter().enumerate() {
        match Nat64::parse(text) {
            Some(gateway) => nat64.push(gateway),
            None => c.wrong(
                &KeyPath::of(&["client", "nat64_prefixes"]).index(i),
                format!("`{text}` is not a NAT64 network; write IPv6 with /32, /40, /48, /56, /64 or /96: 2001:db8:64::/96"),
            ),
        }
    }
    ClientPolicy {
        trusted_proxies,
        address_header,
        country_header,
        asn_header,
        tls_subject_header,
        nat64,
    }
}

/// Lists parts of keys that nobody says in a pod.
pub(in crate::policy) fn notes(
    raw: &RawClient,
    limits: &BTreeMap<String, RawLimit>,
    source: &Source<'_>,
) -> Vec<Problem> {
    let mut notes = Vec::new();
    for (name, limit) in limits {
        let at = KeyPath::of(&["limits", name]);
        let parts = limit.key.iter().enumerate();
        let parts = parts.map(|(position, part)| (at.key("key").index(position), part));
        for (at, part) in parts.chain(limit.plan.iter().map(|part| (at.key("plan"), part))) {
            let field = match part.as_str() {
                "asn" if raw.asn_header.is_none() => "asn_header",
                "tls_subject" if raw.tls_subject_header.is_none() => "tls_subject_header",
                _ => continue,
            };
            let message = format!(
                "in a pod this is always absent, as nobody says it; name the header field in which a trusted proxy does by {field} in [client]. At the edge the platform says it"
            );
            notes.push(source.problem(&at, message));
        }
    }
    notes
}
