//! `tidegate explain`: how a node that has seen nothing yet would treat a request.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header, request};
use tidegate::{Clock, PolicyFile};
use tidegate_core::message::geo::{Code, Geo};
use tidegate_core::report::{CacheReport, LimitReport, TokenOutcome, TokenReport};
use tidegate_core::{Client, Engine, Report, RequestBody, Scheme, explain};

use super::duration;

/// What to write for a URL.
const WHOLE_URL: &str = "write a whole URL such as https://shop.example/api/rates";

/// What `explain` is asked.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Method, such as GET.
    method: Method,
    /// URL, such as <https://shop.example/api/rates>.
    #[arg(value_parser = url)]
    url: Uri,
    /// The policy file.
    #[arg(long, default_value = "tidegate.toml")]
    policy: PathBuf,
    /// A header field, `name: value`; may be given again.
    #[arg(short = 'H', long = "header", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The client's address.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// The client's country, two letters.
    #[arg(long)]
    country: Option<String>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

fn url(text: &str) -> Result<Uri, String> {
    text.parse().map_err(|_| WHOLE_URL.into())
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write `name: value`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match explained(arguments) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn explained(arguments: &Arguments) -> Result<String, String> {
    check_host(arguments)?;
    let (_, policy) = PolicyFile::open(&arguments.policy)?;
    let head = head(arguments)?;
    let engine = Engine::new(policy, 0);
    if let Some(name) = engine.secret_name() {
        // Without it the report says that there are no keys.
        let _ = engine.know_secret(std::env::var(name).ok().as_deref());
    }
    let now = Clock::System.now();
    let report = explain::explain(&engine, head, client(arguments)?, now, tidegate::is_right);
    if arguments.json {
        return serde_json::to_string_pretty(&report).map_err(|error| error.to_string());
    }
    Ok(readable(&report))
}

/// A request without a host would be refused, which nobody asks to have explained.
fn check_host(arguments: &Arguments) -> Result<(), String> {
    let is_named = arguments
        .headers
        .iter()
        .any(|(name, _)| name == header::HOST);
    if arguments.url.authority().is_some() || is_named {
        return Ok(());
    }
    Err(format!(
        "tidegate: `{}` names no host; {WHOLE_URL}, or add -H 'Host: shop.example'",
        arguments.url
    ))
}

fn head(arguments: &Arguments) -> Result<request::Parts, String> {
    let target = arguments
        .url
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let mut builder = Request::builder().method(&arguments.method).uri(target);
    if let Some(authority) = arguments.url.authority() {
        builder = builder.header(header::HOST, authority.as_str());
    }
    for (name, value) in &arguments.headers {
        builder = builder.header(name, value);
    }
    builder
        .body(())
        .map(|request| request.into_parts().0)
        .map_err(|error| error.to_string())
}

fn client(arguments: &Arguments) -> Result<Client, String> {
    let secure = arguments.url.scheme_str() == Some("https");
    let geo = match &arguments.country {
        None => None,
        Some(text) => {
            let country = Code::parse(text)
                .ok_or_else(|| format!("`{text}` is not a country code of two letters"))?;
            Some(Geo {
                country: Some(country),
                ..Geo::default()
            })
        }
    };
    Ok(Client {
        peer: arguments.client,
        geo,
        tls_subject: None,
        scheme: if secure { Scheme::Https } else { Scheme::Http },
        body: RequestBody::Empty,
        fresh_trace: 1,
    })
}

/// Writes a report for people: a line for each decision.
fn readable(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line(
        "request",
        &format!(
            "{} {}://{}{}",
            report.method,
            report.scheme.as_str(),
            report.host,
            report.path.path()
        ),
    );
    let country = report
        .country
        .as_ref()
        .map_or("unknown country", Code::as_str);
    line("client", &format!("{}, {country}", report.network));
    line("route", report.route.as_deref().unwrap_or("none matches"));
    if let Some(token) = &report.token {
        line("token", &token_line(token));
    }
    for limit in &report.limits {
        line("limit", &limit_line(limit));
    }
    for limit in &report.bandwidth {
        let paced = format!("{}: the {} is paced", limit.name, name_of(&limit.direction));
        line("bandwidth", &paced);
    }
    if report.route.is_some() && report.limits.is_empty() && report.bandwidth.is_empty() {
        line("limit", "none");
    }
    line(
        "cache",
        &report.cache.as_ref().map_or_else(
            || "no profile: never looked up, never stored".into(),
            cache_line,
        ),
    );
    if !report.origins.is_empty() {
        let names: Vec<&str> = report.origins.iter().map(|name| &**name).collect();
        line("origins", &names.join(", then "));
    }
    for (i, attempt) in report.attempts.iter().enumerate() {
        let status = attempt
            .status
            .map_or_else(String::new, |status| format!(" {status} (assumed)"));
        line(
            "attempt",
            &format!(
                "{}. {}: {}{status}",
                i + 1,
                attempt.origin,
                name_of(&attempt.outcome)
            ),
        );
    }
    if let Some(refusal) = report.refusal {
        line("refused", refusal.as_str());
    }
    let entries = report.timeline.entries().iter();
    let events: Vec<String> = entries.map(|entry| name_of(&entry.event)).collect();
    line("timeline", &events.join(" > "));
    line("status", &report.status.to_string());
    text.truncate(text.trim_end().len());
    text
}

/// Says what became of the token, and which of the claims that limits count by it has. Their values
/// are nobody's business.
fn token_line(token: &TokenReport) -> String {
    let mut text = name_of(&token.outcome);
    if token.outcome == TokenOutcome::KeysUnavailable {
        text.push_str(" (nothing is fetched to explain)");
    }
    for claim in &token.claims {
        let there = if claim.present { "there" } else { "absent" };
        let _ = write!(text, ", claim {} {there}", claim.name);
    }
    text
}

fn limit_line(limit: &LimitReport) -> String {
    let mut text = limit.name.to_string();
    if let Some(plan) = &limit.plan {
        let _ = write!(text, " (plan {plan})");
    }
    let outcome = name_of(&limit.outcome);
    let _ = write!(text, ": {outcome}, {} left", limit.remaining);
    if limit.retry_after_ms > 0 {
        let _ = write!(text, ", again in {} ms", limit.retry_after_ms);
    }
    text
}

fn cache_line(cache: &CacheReport) -> String {
    let mut text = format!("{}: {}", cache.profile, name_of(&cache.outcome));
    if let Some(why) = cache.bypass {
        let _ = write!(text, " ({})", why.as_str());
    }
    if let Some(key) = cache.key {
        let _ = write!(text, ", key {key:016x}");
    }
    if cache.stored {
        let lifetime = duration::readable(cache.ttl_ms.unwrap_or(0).unsigned_abs());
        let _ = write!(text, ", the response would be stored for {lifetime}");
    } else if let Some(why) = cache.not_stored {
        let _ = write!(
            text,
            ", the response would not be stored: {}",
            name_of(&why)
        );
    }
    text
}

/// Returns the name that the report's JSON uses.
fn name_of(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name.replace('_', " "),
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
