//! What clients are told of how to store a response.

use http::{header, response};

use super::profile::Profile;
use super::tags;

/// Changes the fields that are meant for caches as the profile says, and else passes them on.
/// [9111-5.2-1]
///
/// The profile's Cache-Control is a promise about what all may have. It is written only to a
/// success that is stored for all (`shared`), and never to a reply that sets a cookie: a cache in
/// front would hand that on.
pub(crate) fn write(head: &mut response::Parts, profile: &Profile, shared: bool) {
    if profile.strip_tags {
        tags::strip(&mut head.headers);
    }
    if let Some(told) = &profile.cache_control
        && shared
        && head.status.is_success()
        && !head.headers.contains_key(header::SET_COOKIE)
    {
        head.headers.insert(header::CACHE_CONTROL, told.clone());
    }
}
