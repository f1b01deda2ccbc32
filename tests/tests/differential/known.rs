//! Where the other cache is known to differ. Each entry rewrites an exchange into one in which it
//! does as we do.

use tidegate_core::Timestamp;
use tidegate_core::cache::date;
use tidegate_tests::fixture::START;

use crate::{Exchange, Fields, header_map};

/// A known difference.
pub(crate) struct Known {
    pub(crate) reason: &'static str,
    pub(crate) rewrite: fn(Exchange) -> Exchange,
}

/// In this order; each is needed.
pub(crate) const KNOWN: &[Known] = &[
    Known {
        reason: "it splits Cache-Control at commas inside quoted strings (RFC 9110, section 5.6.4: we do not)",
        rewrite: |e| control(e, |name, _| name != "ext"),
    },
    Known {
        reason: "it compares names of directives with their case (RFC 9111, section 5.2: they have none)",
        rewrite: lower_case,
    },
    Known {
        reason: "it takes private=\"field\" for private (RFC 9111, section 5.2.2.7: we withhold that field only)",
        rewrite: |e| control(e, |name, value| name != "private" || value.is_none()),
    },
    Known {
        reason: "it takes no-cache=\"field\" for no-cache (RFC 9111, section 5.2.2.4: we withhold that field only)",
        rewrite: |e| control(e, |name, value| name != "no-cache" || value.is_none()),
    },
    Known {
        reason: "it reads a directive that is repeated with other values as must-revalidate too; for us the first counts",
        rewrite: first_counts,
    },
    Known {
        reason: "it knows no must-understand (RFC 9111, section 5.2.2.3)",
        rewrite: must_understand,
    },
    Known {
        reason: "it ignores max-age and s-maxage without a value; for us they make stale",
        rewrite: with_values,
    },
    Known {
        reason: "it takes seconds that are too large for 0; RFC 9111, section 1.2.2 wants the largest number",
        rewrite: saturated,
    },
    Known {
        reason: "it stores what Vary: * says that nobody may use",
        rewrite: star,
    },
    Known {
        reason: "what has expired for good is still another variant for it; for us it is not there, whether a store has dropped it or not",
        rewrite: expired,
    },
    Known {
        reason: "proxy-revalidate makes a response stale at once; RFC 9111, section 5.2.2.8 speaks of stale ones only",
        rewrite: |e| control(e, |name, _| name != "proxy-revalidate"),
    },
    Known {
        reason: "immutable without a lifetime is one day; RFC 8246 gives no lifetime",
        rewrite: |e| control(e, |name, _| name != "immutable"),
    },
    Known {
        reason: "Pragma counts; RFC 9111, section 5.4 has deprecated it",
        rewrite: |e| without(e, "pragma"),
    },
    Known {
        reason: "max-stale gives a client stale responses; for us that is the origin's or the policy's choice",
        rewrite: no_max_stale,
    },
    Known {
        reason: "it ignores a client's max-age that is no number; for us it is 0",
        rewrite: client_seconds,
    },
    Known {
        reason: "it reads one format of dates out of three (RFC 9110, section 5.6.7)",
        rewrite: one_format,
    },
    Known {
        reason: "of several Expires it takes the first; for us they are invalid, as RFC 9111, section 4.2.1 allows",
        rewrite: one_expires,
    },
    Known {
        reason: "it ignores an Age that is a list, and panics at the largest (RFC 9111, section 5.1)",
        rewrite: one_age,
    },
    Known {
        reason: "it ignores the age that Date tells (RFC 9111, section 4.2.3: apparent_age)",
        rewrite: apparent_age,
    },
    Known {
        reason: "it validates by a Last-Modified that is no date",
        rewrite: modified_date,
    },
    Known {
        reason: "a response that the method HEAD asks for is not taken from that to a GET",
        rewrite: |e| Exchange { method: "GET", ..e },
    },
    Known {
        reason: "it compares fields that Vary names as they are; we bring lists into one form (RFC 9111, section 4.1)",
        rewrite: lists,
    },
    Known {
        reason: "it stores statuses that it knows only, and these also without a lifetime; RFC 9111, section 3 wants one or the other",
        rewrite: status,
    },
    Known {
        reason: "what sets a cookie is stale for it unless it is public; we share it for a lifetime that the origin tells, or do not store it",
        rewrite: cookies,
    },
    Known {
        reason: "it stores what has neither a lifetime nor a validator, and could never be used",
        rewrite: useless,
    },
];

type Directive = (String, Option<String>);

/// Splits Cache-Control; commas in quotes do not count.
fn directives(fields: &Fields, name: &str) -> Vec<Directive> {
    let mut quoted = false;
    let lines = fields
        .iter()
        .filter(|(n, _)| *n == name)
        .map(|(_, value)| value.as_str())
        .collect::<Vec<_>>()
        .join(",");
    let members = lines.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    let members = members.map(str::trim).filter(|member| !member.is_empty());
    members
        .map(|m| {
            m.split_once('=').map_or((m.to_owned(), None), |(n, v)| {
                (n.to_owned(), Some(v.to_owned()))
            })
        })
        .collect()
}

fn set_directives(fields: &mut Fields, directives: &[Directive]) {
    let member = |(name, value): &Directive| {
        value
            .as_ref()
            .map_or(name.clone(), |value| format!("{name}={value}"))
    };
    fields.retain(|(name, _)| *name != "cache-control");
    if !directives.is_empty() {
        fields.push((
            "cache-control",
            directives.iter().map(member).collect::<Vec<_>>().join(", "),
        ));
    }
}

/// Keeps some of a response's directives.
fn control(mut e: Exchange, keep: impl Fn(&str, Option<&str>) -> bool) -> Exchange {
    let mut all = directives(&e.response, "cache-control");
    all.retain(|(name, value)| keep(&name.to_ascii_lowercase(), value.as_deref()));
    set_directives(&mut e.response, &all);
    e
}

fn change(fields: &mut Fields, change: impl Fn(&mut Directive)) {
    let mut all = directives(fields, "cache-control");
    all.iter_mut().for_each(change);
    set_directives(fields, &all);
}

fn lower_case(mut e: Exchange) -> Exchange {
    for fields in [&mut e.first, &mut e.response, &mut e.second] {
        change(fields, |(name, _)| name.make_ascii_lowercase());
    }
    e
}

fn first_counts(mut e: Exchange) -> Exchange {
    let mut all = directives(&e.response, "cache-control");
    let mut seen = Vec::new();
    all.retain(|(name, value)| {
        // One with fields and one without are two.
        let key = (
            name.to_ascii_lowercase(),
            value.is_some() && (name == "private" || name == "no-cache"),
        );
        let new = !seen.contains(&key);
        seen.push(key);
        new
    });
    set_directives(&mut e.response, &all);
    e
}

fn must_understand(e: Exchange) -> Exchange {
    let all = directives(&e.response, "cache-control");
    if !all.iter().any(|(name, _)| name == "must-understand") {
        return e;
    }
    let understood = [200, 203, 204, 301, 302, 404, 501].contains(&e.status);
    let mut e = control(e, |name, _| {
        name != "must-understand" && !(name == "no-store" && understood)
    });
    if !understood {
        e.response.push(("cache-control", "no-store".into()));
    }
    e
}

fn with_values(mut e: Exchange) -> Exchange {
    change(&mut e.response, |(name, value)| {
        if ["max-age", "s-maxage"].contains(&name.to_ascii_lowercase().as_str()) {
            value.get_or_insert("0".into());
        }
    });
    e
}

fn saturated(mut e: Exchange) -> Exchange {
    change(&mut e.response, |(_, value)| {
        if value.as_deref() == Some("99999999999999999999") {
            *value = Some("999999999".into());
        }
    });
    e
}

fn without(mut e: Exchange, name: &str) -> Exchange {
    for fields in [&mut e.response, &mut e.second] {
        fields.retain(|(n, _)| *n != name);
    }
    e
}

fn expired(e: Exchange) -> Exchange {
    let strict = ["s-maxage", "must-revalidate", "proxy-revalidate"];
    let strict = directives(&e.response, "cache-control")
        .iter()
        .any(|(name, _)| strict.contains(&name.as_str()))
        || has(&e, "set-cookie");
    let validator = has(&e, "etag") || date_of(&e, "last-modified").is_some();
    let told = e
        .response
        .iter()
        .find(|(name, _)| *name == "age")
        .and_then(|(_, value)| value.split(',').next());
    let told = told.filter(|age| age.bytes().all(|byte| byte.is_ascii_digit()));
    let told = told.map_or(0, |age| age.parse::<u64>().unwrap_or(u64::MAX));
    let age = told
        .max(Timestamp::from_millis(START).since(made(&e)) / 1000)
        .saturating_add(e.elapsed);
    if strict && !validator && lifetime(&e).unwrap_or(0) <= age {
        without(e, "vary")
    } else {
        e
    }
}

fn cookies(mut e: Exchange) -> Exchange {
    let all = directives(&e.response, "cache-control");
    let says = |wanted: &str| all.iter().any(|(name, _)| name == wanted);
    if has(&e, "set-cookie") && (says("no-cache") || lifetime(&e).unwrap_or(0) == 0) {
        e.response.push(("cache-control", "no-store".into()));
    }
    without(e, "set-cookie")
}

fn no_max_stale(mut e: Exchange) -> Exchange {
    e.second
        .retain(|(_, value)| !value.starts_with("max-stale"));
    e
}

fn client_seconds(mut e: Exchange) -> Exchange {
    change(&mut e.second, |(_, value)| {
        if value.as_deref() == Some("x") {
            *value = Some("0".into());
        }
    });
    e
}

fn at(text: &str) -> Option<Timestamp> {
    date::parse(text, Timestamp::from_millis(START))
}

fn written(at: Timestamp) -> String {
    date::write(at).to_str().expect("ASCII").to_owned()
}

fn one_format(mut e: Exchange) -> Exchange {
    for (name, value) in &mut e.response {
        if let Some(at) = at(value).filter(|_| ["date", "expires", "last-modified"].contains(name))
        {
            *value = written(at);
        }
    }
    e
}

fn one_expires(mut e: Exchange) -> Exchange {
    if e.response
        .iter()
        .filter(|(name, _)| *name == "expires")
        .count()
        > 1
    {
        e.response.retain(|(name, _)| *name != "expires");
        e.response.push(("expires", "0".into()));
    }
    e
}

fn one_age(mut e: Exchange) -> Exchange {
    for (_, value) in e.response.iter_mut().filter(|(name, _)| *name == "age") {
        let first = value.split(',').next().unwrap_or_default();
        let number = first.bytes().all(|byte| byte.is_ascii_digit());
        *value = if number {
            first
                .parse::<u64>()
                .unwrap_or(u64::MAX)
                .min(1 << 40)
                .to_string()
        } else {
            "0".into()
        };
    }
    e
}

fn apparent_age(mut e: Exchange) -> Exchange {
    let headers = header_map(&e.response);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let behind = text("date")
        .and_then(at)
        .map_or(0, |date| Timestamp::from_millis(START).since(date) / 1000);
    let told = text("age")
        .and_then(|age| age.parse::<u64>().ok())
        .unwrap_or(0);
    if behind > told {
        e.response.retain(|(name, _)| *name != "age");
        e.response.push(("age", behind.to_string()));
    }
    e
}

fn modified_date(mut e: Exchange) -> Exchange {
    e.response
        .retain(|(name, value)| *name != "last-modified" || at(value).is_some());
    e
}

fn lists(mut e: Exchange) -> Exchange {
    for (_, value) in e
        .first
        .iter_mut()
        .chain(&mut e.second)
        .filter(|(name, _)| *name == "x-a")
    {
        *value = value
            .split(',')
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(",");
    }
    e
}

fn star(mut e: Exchange) -> Exchange {
    if e.response
        .iter()
        .any(|(name, value)| *name == "vary" && value.contains('*'))
    {
        e.response.push(("cache-control", "no-store".into()));
    }
    e
}

fn status(mut e: Exchange) -> Exchange {
    let public = directives(&e.response, "cache-control")
        .iter()
        .any(|(name, _)| name == "public");
    let by_default = [200, 203, 204, 301, 404, 501].contains(&e.status);
    if by_default || public || lifetime(&e).is_some() {
        e.status = 200;
    }
    e
}

fn has(e: &Exchange, name: &str) -> bool {
    e.response.iter().any(|(n, _)| *n == name)
}

fn date_of(e: &Exchange, name: &str) -> Option<Timestamp> {
    header_map(&e.response)
        .get(name)
        .and_then(|value| at(value.to_str().ok()?))
}

fn made(e: &Exchange) -> Timestamp {
    date_of(e, "date").unwrap_or(Timestamp::from_millis(START))
}

/// For how many seconds the response says that it is fresh.
fn lifetime(e: &Exchange) -> Option<u64> {
    let all = directives(&e.response, "cache-control");
    let seconds = |wanted: &str| {
        let found = all
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| {
            value
                .as_deref()
                .unwrap_or("0")
                .trim_matches('"')
                .parse::<u64>()
                .unwrap_or(0)
        })
    };
    let expires = || match e
        .response
        .iter()
        .filter(|(name, _)| *name == "expires")
        .count()
    {
        0 => None,
        1 => Some(date_of(e, "expires").map_or(0, |expires| expires.since(made(e)) / 1000)),
        _ => Some(0),
    };
    seconds("s-maxage").or(seconds("max-age")).or_else(expires)
}

fn useless(mut e: Exchange) -> Exchange {
    if !has(&e, "etag") && !has(&e, "last-modified") && lifetime(&e).unwrap_or(0) == 0 {
        e.response.push(("cache-control", "no-store".into()));
    }
    e
}
