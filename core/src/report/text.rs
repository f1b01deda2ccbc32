//! How a report's values become text.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use serde::Serializer;

use crate::message::geo::Code;

pub(super) fn display<S: Serializer>(
    value: &impl Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde gives the field by reference")]
pub(super) fn fingerprint_option<S: Serializer>(
    key: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:016x}", key.unwrap_or(0)))
}

pub(super) fn path<S: Serializer>(uri: &Uri, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(uri.path())
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives the field by reference"
)]
pub(super) fn code<S: Serializer>(code: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_ref().map_or("", Code::as_str))
}

pub(super) fn network<S: Serializer>(address: &IpAddr, serializer: S) -> Result<S::Ok, S::Error> {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            serializer.collect_str(&format_args!("{}/24", Ipv4Addr::new(a, b, c, 0)))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            serializer.collect_str(&format_args!(
                "{}/48",
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
            ))
        }
    }
}
