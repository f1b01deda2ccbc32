//! What is written in `[limits]`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::conditions::RawConditions;
use super::cost::RawCost;
use super::plans::RawPlan;
use crate::policy::burst::RawBurst;

/// A limit.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawLimit {
    /// Amount and period: "10/sec", "1000/min", "5000/hour", "100000/day", "500000/week",
    /// "2000000/month". Of concurrency an amount alone: "20". Of bandwidth a size and "sec" or
    /// "min": "1MiB/sec".
    pub quota: String,
    /// "rate": what is used comes back bit by bit, at the quota's pace. "budget": what is used is
    /// gone until the window ends, however fast it was used. "concurrency": how many requests may be
    /// under way at once; what is used comes back when the reply's body has ended. "bandwidth": bytes
    /// in one direction; bodies go at this pace, and nobody is refused. Default: "rate".
    #[serde(default)]
    pub kind: RawKind,
    /// Of a rate: most that may be used at once. Default: the quota's amount. Of bandwidth: a size,
    /// such as "4MiB"; so much goes as fast as it can. Default: what the quota allows in a second.
    #[serde(default)]
    pub burst: Option<RawBurst>,
    /// Of bandwidth: which bodies are paced. "response": those of replies, wherever they come from.
    /// "request": those of requests, on their way to an origin. Default: "response".
    #[serde(default)]
    pub direction: Option<RawDirection>,
    /// Of a budget: when its windows begin. "fixed": one after the other, counted from the Unix
    /// epoch. "sliding": the same, and what was used in the window before counts as far as a window
    /// that ends now would reach back into it. "calendar": days, weeks (from Monday) and months as
    /// clocks in the `zone` show them. Default: "fixed".
    #[serde(default)]
    pub window: Option<RawWindow>,
    /// Of a budget by the calendar: the time zone, such as "Europe/Berlin". Default: "UTC".
    #[serde(default)]
    pub zone: Option<String>,
    /// Of concurrency: how long a request may be under way. What it holds is free again after so
    /// long, or twice that at the latest, if nobody tells that it has ended: a node may have died.
    /// Longer than any request takes. Default: 10m.
    #[serde(default)]
    pub held_max: Option<String>,
    /// What shares one count, in order: "ip" (IPv6 by `client.ipv6_prefix`), "ip/56",
    /// "header:NAME", "cookie:NAME", "query:NAME", "path", "route", "country", "user", "workspace",
    /// "asn" (the number of the client's network), "`tls_subject`" (whom its certificate names),
    /// "claim:NAME" (a claim of its token, once that is verified as `client.token` says; "`claim:/A/B`"
    /// is the member B of the claim A).
    /// An empty list is one count for all. Spellings that applications take for the same are one
    /// value: white space or quotes around it, percent-encoding, the scheme of Authorization in any
    /// case, paths in any case, with `;` parameters or a final slash. A name that occurs several
    /// times with several values is charged for each of them; a request with more than 8 is
    /// refused. A cookie's value with a comma, white space or a quote in it is charged twice:
    /// whole, and up to there, because some applications end it there.
    pub key: Vec<String>,
    /// What counts instead of a part of the key that a request does not have: a header field, cookie
    /// or query parameter that is not there or empty, a network that is not known, a claim that no
    /// verified token has. An empty claim is there: the issuer has written it. "address": the client's address, so that whoever is not named has a
    /// count of its own. "share": one count for all who do not have it; one of them can use it up
    /// for the others. "skip": nothing, the limit does not apply; whoever leaves it out is not
    /// limited. "refuse": such requests get 400. Default: "address".
    #[serde(default)]
    pub absent: RawAbsent,
    /// The methods that it counts. Default: all.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// What counts: "every" request of the route, what is served from the store too, or only what is
    /// sent to an "origin". Default: "every".
    #[serde(default)]
    pub count: Option<RawCount>,
    /// Requests that do not count, such as `[{ path = "/health" }]`. Default: none.
    #[serde(default)]
    pub except: Vec<RawConditions>,
    /// What one request uses: a number, or a table of what says it. Default: 1.
    #[serde(default)]
    pub cost: Option<RawCost>,
    /// Counts and reports, but refuses nothing. Default: false.
    #[serde(default)]
    pub dry_run: bool,
    /// How exactly it counts where several nodes count it, in Redis or in Durable Objects. "exact":
    /// all of them ask one counter for each request. "leased": each takes some of it in advance,
    /// sized by demand, and gives back what it has not used after a second; so a busy key costs few
    /// questions, and at most `lease_max` for each node passes too much at once. "local": each node
    /// counts for itself. Default: "exact".
    #[serde(default)]
    pub mode: Option<RawMode>,
    /// Of a leased limit: most that a node takes in advance. Default: a twentieth of the burst, or
    /// of a budget's amount.
    #[serde(default)]
    pub lease_max: Option<u64>,
    /// What happens when the counter cannot be asked: "allow", "deny", or "local": each node counts
    /// for itself then. Default: "allow".
    #[serde(default)]
    pub on_store_error: Option<RawOnStoreError>,
    /// With `on_store_error = "local"`: how much of the quota one node lets pass then, in percent: 25
    /// with four nodes. Default: 100.
    #[serde(default)]
    pub local_share: Option<u8>,
    /// By which header fields clients are told of the limit, where it is the one that refuses or
    /// leaves least. "ietf": `RateLimit-Policy` and `RateLimit`. "draft03": `RateLimit-Limit`,
    /// `RateLimit-Remaining` and `RateLimit-Reset`. "legacy": the same with `X-` before them; seconds
    /// until the reset, too. "none": by none but Retry-After. Default: "ietf".
    #[serde(default)]
    pub headers: Option<RawHeaders>,
    /// Status of what it refuses: 429, or 503 where that is not the client's doing, because callers
    /// share what is used up. Default: 429.
    #[serde(default)]
    pub status: Option<u16>,
    /// What whoever is refused gets to read instead of a problem document.
    #[serde(default)]
    pub page: Option<RawPage>,
    /// Of a dry run: the limit of the same routes with whose answers its own are compared. Where they
    /// differ, the log and `tidegate_limit_differences_total` say so.
    #[serde(default)]
    pub compare_with: Option<String>,
    /// What says which plan a request is of: a part as those of `key`, but neither "ip" nor "path".
    /// Clients write header fields, cookies and queries themselves: a plan is best a claim, or a header
    /// field that a trusted proxy sets or removes.
    #[serde(default)]
    pub plan: Option<String>,
    /// The quota of each plan, such as `gold = "10000/min"`. `quota` is for all others: those who are of
    /// no plan that is listed here, and those who name several. All plans share the count, so that
    /// whoever changes plan keeps what was used.
    #[serde(default)]
    pub plans: BTreeMap<String, RawPlan>,
}

/// What whoever is refused gets to read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPage {
    /// Its media type. Default: "text/html; charset=utf-8".
    #[serde(default)]
    pub content_type: Option<String>,
    /// Its text, at most 16 KiB.
    pub body: String,
}

/// By which header fields clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawHeaders {
    /// Those of draft-ietf-httpapi-ratelimit-headers-11.
    Ietf,
    /// Those of its draft 03.
    Draft03,
    /// The same with `X-` before them.
    Legacy,
    /// None.
    None,
}

/// What kind of limit it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawKind {
    /// What is used comes back bit by bit.
    #[default]
    Rate,
    /// What is used is gone until the window ends.
    Budget,
    /// What is used comes back when the request has ended.
    Concurrency,
    /// Bytes are paced.
    Bandwidth,
}

/// Which way the bytes of a bandwidth limit go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawDirection {
    /// From the client to an origin.
    Request,
    /// To the client.
    Response,
}

/// When the windows of a budget begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawWindow {
    /// One after the other, counted from the Unix epoch.
    #[default]
    Fixed,
    /// The same, and the window before counts in part.
    Sliding,
    /// By the calendar.
    Calendar,
}

/// What counts instead of a part of a key that a request does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawAbsent {
    /// The client's address.
    #[default]
    Address,
    /// One count for all.
    Share,
    /// The limit does not apply.
    Skip,
    /// The request is refused.
    Refuse,
}

/// What a limit does without its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawOnStoreError {
    /// Requests pass.
    Allow,
    /// Requests are refused.
    Deny,
    /// Each node counts for itself.
    Local,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawCount {
    /// Every request.
    Every,
    /// What is sent to an origin.
    Origin,
}

/// How exactly a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawMode {
    /// One counter is asked for each request.
    Exact,
    /// Nodes take some of it in advance.
    Leased,
    /// Each node counts for itself.
    Local,
}
