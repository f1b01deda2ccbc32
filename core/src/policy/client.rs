//! `[client]`: where facts about the client come from.

use super::compiler::{Compiler, Identity, key_part};
use crate::limit::KeyPart;
use crate::message::client::{ClientPolicy, Nat64, Network};
use crate::message::names;
use crate::policy::error::KeyPath;
use crate::policy::raw::RawClient;

impl Compiler<'_> {
    pub(super) fn read_ipv6_prefix(&mut self, raw: &RawClient) -> u8 {
        let prefix = raw.ipv6_prefix.unwrap_or(64);
        if !(1..=128).contains(&prefix) {
            self.wrong(&KeyPath::of(&["client", "ipv6_prefix"]), "from 1 to 128");
        }
        prefix
    }

    pub(super) fn identity(&mut self, raw: &RawClient) -> Identity {
        let default = Identity::default();
        let mut named = |key: &str, text: Option<&String>, otherwise: KeyPart| match text
            .map(|t| key_part(t, &default, 64))
        {
            None => otherwise,
            Some(Ok(part @ (KeyPart::Header(_) | KeyPart::Cookie(_)))) => part,
            Some(Ok(_) | Err(_)) => {
                self.wrong(
                    &KeyPath::of(&["client", key]),
                    "write \"header:NAME\" or \"cookie:NAME\"",
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

    pub(super) fn client(&mut self, raw: &RawClient) -> ClientPolicy {
        let at = KeyPath::of(&["client", "trusted_proxies"]);
        let mut trusted_proxies = Vec::new();
        for (i, text) in raw.trusted_proxies.iter().enumerate() {
            match Network::parse(text) {
                Some(network) => trusted_proxies.push(network),
                None => self.wrong(
                    &at.index(i),
                    format!("`{text}` is not a network; write an address or CIDR: 10.0.0.0/8, 2001:db8::/32"),
                ),
            }
        }
        let default = names::X_FORWARDED_FOR;
        let address_header = match &raw.address_header {
            None => default,
            Some(text) => self
                .header_name(&KeyPath::of(&["client", "address_header"]), text)
                .unwrap_or(default),
        };
        let country_header = match raw.country_header.as_deref() {
            None => Some(names::CF_IPCOUNTRY),
            Some("off") => None,
            Some(text) => self.header_name(&KeyPath::of(&["client", "country_header"]), text),
        };
        let mut nat64 = vec![Nat64::well_known()];
        for (i, text) in raw.nat64_prefixes.iter().enumerate() {
            match Nat64::parse(text) {
                Some(gateway) => nat64.push(gateway),
                None => self.wrong(
                    &KeyPath::of(&["client", "nat64_prefixes"]).index(i),
                    format!("`{text}` is not a NAT64 network; write IPv6 with /32, /40, /48, /56, /64 or /96: 2001:db8:64::/96"),
                ),
            }
        }
        ClientPolicy {
            trusted_proxies,
            address_header,
            country_header,
            nat64,
        }
    }
}
