//! By which names the admin address may be asked for.
//!
//! Why: a page in an operator's browser can have its own name lead to the admin address (DNS
//! rebinding) and read what is there as if it were its own. The browser then sends that name in
//! Host. An address is no name, so whoever asks by address is no such page.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderValue, StatusCode, header, request};

use super::refused::Refused;
use crate::message::authority;

/// Returns whether a text can be in the list of names: a host without port, or `*.` and what
/// follows it.
#[cfg(feature = "source")]
pub(crate) fn is_name(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    authority::read(name).is_some_and(|read| authority::host_length(&read) == read.len())
}

/// Checks that a request to the admin address names an address, `localhost`, or one of these names
/// (in lower case; `*.` stands for any beginning).
///
/// # Errors
/// Says what to set.
pub fn admit_host(head: &request::Parts, names: &[String]) -> Result<(), Refused> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let (field, another) = (fields.next(), fields.next());
    let authorities = [
        head.uri
            .authority()
            .map(|authority| authority.as_str().as_bytes()),
        field.map(HeaderValue::as_bytes),
    ];
    // Browsers always name a host; old probes do not.
    let expected = authorities
        .into_iter()
        .flatten()
        .all(|authority| is_expected(authority, names));
    if expected && another.is_none() {
        return Ok(());
    }
    Err(Refused::new(
        StatusCode::MISDIRECTED_REQUEST,
        "Unexpected host",
        "The admin address answers to addresses such as 127.0.0.1, to localhost, and to the names in the policy's [server] admin_hosts: \
         add the name there, or ask by address.",
    ))
}

fn is_expected(authority: &[u8], names: &[String]) -> bool {
    let Some(authority) = std::str::from_utf8(authority)
        .ok()
        .and_then(authority::read)
    else {
        return false;
    };
    let host = authority
        .get(..authority::host_length(&authority))
        .unwrap_or_default();
    let is_listed = |name: &String| match name.strip_prefix('*') {
        Some(ending) => host.len() > ending.len() && host.ends_with(ending),
        None => host == name,
    };
    host == "localhost" || is_address(host) || names.iter().any(is_listed)
}

fn is_address(host: &str) -> bool {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bracketed.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
        || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn asked(target: &str, hosts: &[&str]) -> bool {
        let mut builder = http::Request::builder().uri(target);
        for host in hosts {
            builder = builder.header("host", *host);
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let names = [
            "tidegate.default.svc".to_owned(),
            "*.pods.example".to_owned(),
        ];
        let admitted = admit_host(&head, &names);
        assert!(
            admitted
                .as_ref()
                .map_or_else(|refused| refused.detail.contains("admin_hosts"), |()| true)
        );
        admitted.is_ok()
    }

    #[test]
    fn addresses_and_listed_names_are_expected() {
        for host in [
            "127.0.0.1:9900",
            "10.1.2.3",
            "[::1]:9900",
            "localhost",
            "LocalHost:9900",
            "localhost.",
            "tidegate.default.svc:9900",
            "a.pods.example",
        ] {
            assert!(asked("/metrics", &[host]), "{host}");
        }
        assert!(asked("/healthz", &[]));
        assert!(asked("http://127.0.0.1:9900/metrics", &["127.0.0.1:9900"]));
    }

    #[test]
    fn other_names_are_not() {
        for host in [
            "rebound.example:9900",
            "localhost.rebound.example",
            "127.0.0.1.rebound.example",
            "pods.example",
            "notpods.example",
            "tidegate.default.svc.rebound.example",
            "user@127.0.0.1",
            "",
            "127.1",
            "0x7f000001",
        ] {
            assert!(!asked("/metrics", &[host]), "{host}");
        }
        assert!(!asked("/metrics", &["127.0.0.1", "127.0.0.1"]));
        assert!(!asked("http://rebound.example/metrics", &["127.0.0.1"]));
        assert!(!asked("http://127.0.0.1/metrics", &["rebound.example"]));
    }

    #[test]
    fn what_is_no_name_is_known() {
        for name in ["a", "a.example", "*.example", "10.0.0.1"] {
            assert!(is_name(name), "{name}");
        }
        for text in ["", "*", "a:80", "http://a", "a b", "*.*.a", "a/b"] {
            assert!(!is_name(text), "{text}");
        }
    }
}
