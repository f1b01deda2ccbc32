//! Who sent a request: the client's address behind trusted proxies, and the networks that are trusted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};

/// Where facts about the client come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPolicy {
    /// Networks whose forwarding fields are believed.
    pub trusted_proxies: Vec<Network>,
    /// The field with the client's address.
    pub address_header: HeaderName,
}

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// As IPv6; IPv4 is mapped.
    base: u128,
    mask: u128,
}

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(width);
        if prefix > width {
            return None;
        }
        let mask = u128::MAX.checked_shl(width - prefix).unwrap_or(0);
        Some(Self { base: bits(address) & mask, mask })
    }

    /// Returns whether the address lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.base
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

impl ClientPolicy {
    /// Returns whether a peer's forwarding fields are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// Finds the client's address: the peer's, or, behind trusted proxies, the right-most forwarded one that is not a trusted proxy itself. What
    /// stands further left was written by somebody unknown and is never believed.
    pub fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let lines: Vec<&str> =
            headers.get_all(&self.address_header).iter().filter_map(|line| line.to_str().ok()).collect();
        for member in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(address) = forwarded_address(member) else {
                return client;
            };
            client = address;
            if !self.trusts(address) {
                return client;
            }
        }
        client
    }
}

/// Reads an address with or without port and brackets.
fn forwarded_address(member: &str) -> Option<IpAddr> {
    let member = member.trim();
    let bare = member.strip_prefix('[').and_then(|m| m.strip_suffix(']')).unwrap_or(member);
    bare.parse::<IpAddr>().or_else(|_| member.parse::<SocketAddr>().map(|s| s.ip())).ok().map(unmapped)
}

/// An IPv4 client on a dual-stack listener is that IPv4 client.
pub(crate) fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => to_ipv4(v6).unwrap_or(address),
        IpAddr::V4(_) => address,
    }
}

fn to_ipv4(v6: Ipv6Addr) -> Option<IpAddr> {
    v6.to_ipv4_mapped().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    fn address(peer: &str, forwarded: &[&str]) -> String {
        let trusted_proxies = ["10.0.0.0/8", "fd00::/8"].into_iter().filter_map(Network::parse).collect();
        let policy = ClientPolicy { trusted_proxies, address_header: HeaderName::from_static("x-forwarded-for") };
        let lines: Vec<(&str, &str)> = forwarded.iter().map(|f| ("x-forwarded-for", *f)).collect();
        policy.address(unmapped(peer.parse().unwrap()), &headers(&lines)).to_string()
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        assert_eq!(address("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(address("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_right_most_untrusted_address_counts() {
        assert_eq!(address("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.9"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["1.1.1.1", "198.51.100.7:443, 10.0.0.9"]), "198.51.100.7");
        assert_eq!(address("fd00::1", &["[2001:db8::5]"]), "2001:db8::5");
        assert_eq!(address("10.0.0.1", &["198.51.100.7, nonsense"]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn networks_are_parsed_strictly() {
        for wrong in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", ""] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(!Network::parse("0.0.0.0/0").unwrap().contains("2001:db8::1".parse().unwrap()));
    }
}
