//! The key of a caller whom an operator names by the values of its parts.

use std::net::IpAddr;

use super::values::{address_bytes, header_value, names_nobody, plain_value};
use super::{CounterKey, started};
use crate::limit::definition::{KeyPart, Limit};
use crate::message::client::unmapped;
use crate::message::plain;
use crate::parts::push_part;

/// Makes the key of a caller who is known by these values. Callers who are counted by something else,
/// because they do not have a part, cannot be named.
///
/// # Errors
/// Says what is wrong with the values.
pub(crate) fn key_of(limit: &Limit, values: &[Vec<u8>]) -> Result<CounterKey, String> {
    if values.len() != limit.key.len() {
        return Err(format!(
            "a key of this limit has {} parts, and not {}; write them in the policy's order with / between them, and / within one as %2F",
            limit.key.len(),
            values.len()
        ));
    }
    let mut key = started(limit);
    for (position, (part, value)) in limit.key.iter().zip(values).enumerate() {
        let counted = counted(part, value);
        let counted = counted.map_err(|why| format!("part {} of the key {why}", position + 1))?;
        push_part(&mut key, Some(&counted));
    }
    Ok(CounterKey::of(&key))
}

/// Says what of a value is counted by, as that of a request is.
fn counted(part: &KeyPart, value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = || std::str::from_utf8(value).unwrap_or_default();
    let counted = match part {
        KeyPart::Ip { ipv6_prefix } => {
            let address: IpAddr = text().parse().map_err(|_| "is no address")?;
            address_bytes(unmapped(address), *ipv6_prefix)
        }
        KeyPart::Asn => {
            let number: u32 = text().parse().map_err(|_| "is no number of a network")?;
            number.to_be_bytes().to_vec()
        }
        KeyPart::Header(name) => header_value(name, value).into_owned(),
        KeyPart::Cookie(_) | KeyPart::Query(_) => plain_value(value),
        KeyPart::Path => plain::counted(text()).into_owned().into_bytes(),
        KeyPart::Route | KeyPart::Country | KeyPart::Claim(_) | KeyPart::TlsSubject => {
            value.to_vec()
        }
    };
    if names_nobody(part, &counted) {
        return Err("is empty, and names nobody");
    }
    Ok(counted)
}
