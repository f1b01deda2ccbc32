//! Who sent a request: the client's address behind trusted proxies, and the networks that are
//! trusted.

mod forwarded;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

use super::geo::Geo;
use super::syntax;
use super::tls_subject::TlsSubject;
use crate::packed::packed_struct;

/// Where facts about the client come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPolicy {
    /// Networks whose forwarding fields are believed.
    pub trusted_proxies: Vec<Network>,
    /// The field with the client's address.
    pub address_header: HeaderName,
    /// The field in which trusted proxies name the client's country.
    pub country_header: Option<HeaderName>,
    /// The field in which trusted proxies name the number of the client's network.
    pub asn_header: Option<HeaderName>,
    /// The field in which trusted proxies name the subject of the client's certificate.
    pub tls_subject_header: Option<HeaderName>,
    /// Networks of NAT64 gateways: an address inside is that of an IPv4 client.
    pub nat64: Vec<Nat64>,
}

packed_struct!(ClientPolicy {
    trusted_proxies,
    address_header,
    country_header,
    asn_header,
    tls_subject_header,
    nat64
});

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// As IPv6; IPv4 is mapped.
    base: u128,
    mask: u128,
}

packed_struct!(Network { base, mask });

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
        Some(Self {
            base: bits(address) & mask,
            mask,
        })
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

/// The network of a NAT64 gateway, which embeds IPv4 addresses in IPv6 ones (RFC 6052).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat64 {
    network: Network,
    prefix: u8,
}

packed_struct!(Nat64 { network, prefix });

impl Nat64 {
    /// The well-known one, `64:ff9b::/96`.
    pub fn well_known() -> Self {
        let base = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0).into();
        Self {
            network: Network {
                base,
                mask: u128::MAX << 32,
            },
            prefix: 96,
        }
    }

    /// Reads an IPv6 network whose prefix has one of the lengths that RFC 6052, section 2.2 knows.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        address.parse::<Ipv6Addr>().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let known = [32, 40, 48, 56, 64, 96].contains(&prefix);
        Network::parse(text)
            .filter(|_| known)
            .map(|network| Self { network, prefix })
    }

    /// Returns the IPv4 address inside; the octet at bit 64 is not part of it.
    fn embedded(&self, address: Ipv6Addr) -> Option<IpAddr> {
        if !self.network.contains(IpAddr::V6(address)) {
            return None;
        }
        let octets = address.octets();
        let after = octets
            .iter()
            .enumerate()
            .skip(usize::from(self.prefix / 8))
            .filter(|(at, _)| *at != 8);
        let mut inside = after.map(|(_, octet)| *octet);
        let mut next = || inside.next();
        Some(IpAddr::from([next()?, next()?, next()?, next()?]))
    }
}

impl ClientPolicy {
    /// Returns whether a peer's forwarding fields are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(address))
    }

    /// Finds the client's address: the peer's, or, behind trusted proxies, the right-most forwarded
    /// one that is not a trusted proxy itself. What stands further left was written by somebody
    /// unknown and is never believed. Nor is what stands left of a member that cannot be read: the
    /// proxy that wrote it is the client then. Empty members say nothing.
    pub fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = self.plain(peer);
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let lines = headers.get_all(&self.address_header).iter().rev();
        for member in lines.flat_map(|line| forwarded::members(line.as_bytes())) {
            let Some(address) = self.node(member).and_then(forwarded_address) else {
                return client;
            };
            client = self.plain(address);
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    /// Returns where the client is, as far as header fields say it; only for trusted peers.
    pub(crate) fn geo(&self, headers: &HeaderMap) -> Geo {
        let country = self.country_header.as_ref();
        let mut geo = country
            .map(|field| Geo::from_headers(headers, field))
            .unwrap_or_default();
        let asn = self.asn_header.as_ref();
        geo.asn = asn
            .and_then(|field| syntax::only(headers, field))
            .and_then(Geo::read_asn);
        geo
    }

    /// Returns whom the client's certificate names, as far as a header field says it; only for
    /// trusted peers. An empty field says nothing: proxies write one for clients without a
    /// certificate.
    pub(crate) fn tls_subject(&self, headers: &HeaderMap) -> Option<TlsSubject> {
        let field = self.tls_subject_header.as_ref()?;
        let value = syntax::only(headers, field)?.trim();
        (!value.is_empty()).then(|| TlsSubject(value.into()))
    }

    fn node<'a>(&self, member: &'a [u8]) -> Option<&'a [u8]> {
        if self.address_header == header::FORWARDED {
            forwarded::parameter(member, b"for")
        } else {
            Some(member)
        }
    }

    /// Returns how the client reached the proxies that are trusted, as Forwarded says where that
    /// names the client; only for trusted peers.
    pub(crate) fn forwarded_protocol<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        if self.address_header != header::FORWARDED {
            return None;
        }
        let mut protocol = None;
        let lines = headers.get_all(&self.address_header).iter().rev();
        for member in lines.flat_map(|line| forwarded::members(line.as_bytes())) {
            protocol = forwarded::parameter(member, b"proto").or(protocol);
            let address = self.node(member).and_then(forwarded_address);
            if address.is_none_or(|address| !self.trusts(self.plain(address))) {
                break;
            }
        }
        protocol
    }

    /// An IPv4 client is the same one behind a dual-stack listener and behind NAT64.
    fn plain(&self, address: IpAddr) -> IpAddr {
        match unmapped(address) {
            IpAddr::V6(v6) => self
                .nat64
                .iter()
                .find_map(|gateway| gateway.embedded(v6))
                .unwrap_or(IpAddr::V6(v6)),
            v4 @ IpAddr::V4(_) => v4,
        }
    }
}

/// Reads an address with or without port, brackets and quotes.
fn forwarded_address(member: &[u8]) -> Option<IpAddr> {
    let member = member.trim_ascii();
    let member = member
        .strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(member);
    let member = std::str::from_utf8(member).ok()?;
    let bare = member
        .strip_prefix('[')
        .and_then(|m| m.strip_suffix(']'))
        .unwrap_or(member);
    bare.parse::<IpAddr>()
        .or_else(|_| member.parse::<SocketAddr>().map(|s| s.ip()))
        .ok()
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

    fn address_in(field: &'static str, peer: &str, forwarded: &[&[u8]]) -> String {
        let trusted_proxies = ["10.0.0.0/8", "fd00::/8"]
            .into_iter()
            .filter_map(Network::parse)
            .collect();
        let policy = ClientPolicy {
            trusted_proxies,
            address_header: HeaderName::from_static(field),
            country_header: None,
            asn_header: None,
            tls_subject_header: None,
            nat64: vec![
                Nat64::well_known(),
                Nat64::parse("2001:db8:64::/48").unwrap(),
            ],
        };
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(field, http::HeaderValue::from_bytes(line).unwrap());
        }
        policy.address(peer.parse().unwrap(), &headers).to_string()
    }

    fn address(peer: &str, forwarded: &[&str]) -> String {
        let lines: Vec<&[u8]> = forwarded.iter().map(|line| line.as_bytes()).collect();
        address_in("x-forwarded-for", peer, &lines)
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        assert_eq!(address("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            address("::ffff:10.0.0.1", &["198.51.100.7"]),
            "198.51.100.7"
        );
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_right_most_untrusted_address_counts() {
        assert_eq!(
            address("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.9"]),
            "198.51.100.7"
        );
        assert_eq!(
            address("10.0.0.1", &["1.1.1.1", "198.51.100.7:443, 10.0.0.9"]),
            "198.51.100.7"
        );
        assert_eq!(address("fd00::1", &["[2001:db8::5]"]), "2001:db8::5");
        assert_eq!(address("10.0.0.1", &["198.51.100.7, nonsense"]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn members_are_read_from_the_right_in_bytes() {
        let client = |lines: &[&[u8]]| address_in("x-forwarded-for", "10.0.0.1", lines);
        assert_eq!(client(&[b"\xff, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(&[b"\xff", b"198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(&[b"198.51.100.7, "]), "198.51.100.7");
        assert_eq!(
            client(&[b"198.51.100.7,,\t, 10.0.0.2,", b""]),
            "198.51.100.7"
        );
        assert_eq!(client(&[b"1.1.1.1, \xff, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client(&[b"1.1.1.1, unknown"]), "10.0.0.1");
        assert_eq!(client(&[b"\"1.1.1.1, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(&[b"\"[2001:db8::5]:80\""]), "2001:db8::5");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_says() {
        let client = |line: &[u8]| address_in("forwarded", "10.0.0.1", &[line]);
        assert_eq!(client(b"for=198.51.100.7;proto=https"), "198.51.100.7");
        assert_eq!(client(b"proto=https; FOR = 198.51.100.7"), "198.51.100.7");
        assert_eq!(
            client(b"for=1.1.1.1, for=\"198.51.100.7:443\", for=10.0.0.2"),
            "198.51.100.7"
        );
        assert_eq!(
            client(b"for=\"[2001:db8::5]:4711\";by=\"a,b;c\""),
            "2001:db8::5"
        );
        assert_eq!(
            client(b"for=\"1.1.1.1, for=198.51.100.7"),
            "198.51.100.7",
            "what a client leaves open swallows nothing"
        );
        assert_eq!(client(b"for=1.1.1.1, for=unknown"), "10.0.0.1");
        assert_eq!(
            client(b"for=1.1.1.1, for=_hidden, for=10.0.0.2"),
            "10.0.0.2"
        );
        assert_eq!(
            client(b"for=1.1.1.1, proto=https"),
            "10.0.0.1",
            "who wrote this names nobody"
        );
        assert_eq!(client(b"for=1.1.1.1;for=2.2.2.2"), "10.0.0.1");
        assert_eq!(client(b"198.51.100.7"), "10.0.0.1");
    }

    #[test]
    fn ipv4_clients_are_the_same_behind_nat64() {
        assert_eq!(address("64:ff9b::c633:6407", &[]), "198.51.100.7");
        assert_eq!(
            address("10.0.0.1", &["64:ff9b::198.51.100.7"]),
            "198.51.100.7"
        );
        assert_eq!(
            address("2001:db8:64:c633:64:700::", &[]),
            "198.51.100.7",
            "RFC 6052, section 2.4"
        );
        assert_eq!(address("64:ff9b:1::c633:6407", &[]), "64:ff9b:1::c633:6407");
        assert_eq!(
            address("64:ff9b::10.0.0.9", &["198.51.100.7"]),
            "198.51.100.7",
            "a trusted proxy behind it"
        );
        assert_eq!(Nat64::parse("64:ff9b::/90"), None);
        assert_eq!(Nat64::parse("10.0.0.0/32"), None);
    }

    #[test]
    fn networks_are_parsed_strictly() {
        for wrong in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", ""] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
        assert!(
            Network::parse("0.0.0.0/0")
                .unwrap()
                .contains("203.0.113.9".parse().unwrap())
        );
        assert!(
            !Network::parse("0.0.0.0/0")
                .unwrap()
                .contains("2001:db8::1".parse().unwrap())
        );
    }
}
