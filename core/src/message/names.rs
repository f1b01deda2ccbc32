//! Header field names that `http` does not define, made once: a name in text is parsed at each use.

use http::HeaderName;

pub(crate) const CACHE_GROUP_INVALIDATION: HeaderName =
    HeaderName::from_static("cache-group-invalidation");
pub(crate) const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
pub(crate) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
pub(crate) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
pub(crate) const CF_IPCONTINENT: HeaderName = HeaderName::from_static("cf-ipcontinent");
pub(crate) const CF_IPCOUNTRY: HeaderName = HeaderName::from_static("cf-ipcountry");
pub(crate) const CF_IPLATITUDE: HeaderName = HeaderName::from_static("cf-iplatitude");
pub(crate) const CF_IPLONGITUDE: HeaderName = HeaderName::from_static("cf-iplongitude");
pub(crate) const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
pub(crate) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
pub(crate) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub(crate) const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");
pub(crate) const PROXY_AUTHENTICATION_INFO: HeaderName =
    HeaderName::from_static("proxy-authentication-info");
pub(crate) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
pub(crate) const TIDEGATE_CDN_CACHE_CONTROL: HeaderName =
    HeaderName::from_static("tidegate-cdn-cache-control");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What draft 03 of the `RateLimit` fields had: amount, what is left, seconds until the reset.
pub(crate) static DRAFT_03: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

/// What many services have.
pub(crate) static X_RATELIMIT: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];
