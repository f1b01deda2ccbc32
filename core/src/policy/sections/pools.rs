//! `[pools]`: sets of origins.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::origins::RawOrigin;
use crate::message::geo::Code;
use crate::policy::compiler::Compiler;
use crate::policy::defined::Defined;
use crate::policy::error::{KeyPath, Problem, Source};
use crate::policy::list::OneOrMany;
use crate::route::{Origin, Pool, Steering};

/// A set of origins and the order in which they are tried.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    /// Names of origins, in order of preference.
    pub origins: Vec<String>,
    /// "ordered": as listed. "weighted": by weight, the same client always first to the same
    /// origin. "nearest": by the client's country, then continent, then distance, then as listed.
    /// Default: "ordered".
    #[serde(default)]
    pub steering: RawSteering,
    /// For weighted steering: what stays with one origin; key parts as in a limit. A request that
    /// has none of them goes to any origin, by weight. Default: the client's address.
    #[serde(default)]
    pub affinity: Option<Vec<String>>,
    /// For nearest steering: two-letter country code to origins, nearest first. EU stands for every
    /// member of the European Union that is not named itself, XX for an unknown country, T1 for
    /// Tor.
    #[serde(default)]
    pub countries: BTreeMap<String, OneOrMany>,
    /// For nearest steering: continent code (AF, AN, AS, EU, NA, OC, SA) to origins, nearest first.
    #[serde(default)]
    pub continents: BTreeMap<String, OneOrMany>,
}

/// How a pool orders its origins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawSteering {
    /// As listed.
    #[default]
    Ordered,
    /// By weight, stable for a client.
    Weighted,
    /// By geography.
    Nearest,
}

pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    raw: &BTreeMap<String, RawPool>,
    origins: &Defined<Origin>,
) -> Defined<Pool> {
    Defined::new("pool", how_to_define, raw, |_, name, raw| {
        pool(c, name, raw, origins)
    })
}

pub(super) fn how_to_define(name: &str) -> String {
    format!(
        "write [pools.{name}] with origins = [\"NAME\"] and [origins.NAME] with url = \"http://HOST\""
    )
}

fn pool(
    c: &mut Compiler<'_>,
    name: &str,
    raw: &RawPool,
    origins: &Defined<Origin>,
) -> Option<Pool> {
    let at = KeyPath::of(&["pools", name]);
    let before = c.problems.len();
    let mut members: Vec<Arc<Origin>> = Vec::new();
    for (i, origin) in raw.origins.iter().enumerate() {
        let path = at.key("origins").index(i);
        let Some(found) = c.find(&path, origins, origin) else {
            continue;
        };
        if members.iter().any(|m| m.name == found.name) {
            c.wrong(
                &path,
                format!("`{origin}` is listed twice; each origin once"),
            );
        }
        members.push(found);
    }
    if raw.origins.is_empty() {
        c.wrong(&at.key("origins"), "a pool needs at least one origin: write origins = [\"NAME\"] and [origins.NAME] with url = \"http://HOST\"");
    }
    let steering = match raw.steering {
        RawSteering::Ordered => Steering::Ordered,
        RawSteering::Weighted => {
            let default = ["ip".to_owned()];
            let affinity = c.affinity(
                &at.key("affinity"),
                raw.affinity.as_deref().unwrap_or(&default),
            );
            Steering::Weighted { affinity }
        }
        RawSteering::Nearest => Steering::Nearest {
            countries: places(c, &at.key("countries"), &raw.countries, &raw.origins),
            continents: places(c, &at.key("continents"), &raw.continents, &raw.origins),
        },
    };
    if raw.steering != RawSteering::Nearest
        && !(raw.countries.is_empty() && raw.continents.is_empty())
    {
        c.wrong(
            &at,
            "countries and continents are for steering = \"nearest\"",
        );
    }
    if raw.steering != RawSteering::Weighted && raw.affinity.is_some() {
        c.wrong(
            &at.key("affinity"),
            "affinity is for steering = \"weighted\"",
        );
    }
    (c.problems.len() == before && !members.is_empty()).then_some(Pool {
        name: name.into(),
        origins: members,
        steering,
    })
}

fn places(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    places: &BTreeMap<String, OneOrMany>,
    members: &[String],
) -> Vec<(Code, Vec<usize>)> {
    let mut compiled = Vec::new();
    for (place, OneOrMany(names)) in places {
        let path = at.key(place);
        let Some(code) = Code::parse(place) else {
            c.wrong(&path, format!("`{place}` is not a two-letter code"));
            continue;
        };
        let mut positions = Vec::new();
        for name in names {
            match members.iter().position(|m| m == name) {
                Some(position) => positions.push(position),
                None => c.wrong(
                    &path,
                    format!(
                        "`{name}` is not in this pool; it has: {}",
                        members.join(", ")
                    ),
                ),
            }
        }
        compiled.push((code, positions));
    }
    compiled
}

/// Lists pools that cannot do what they say.
pub(in crate::policy) fn lint(
    raw: &BTreeMap<String, RawPool>,
    origins: &BTreeMap<String, RawOrigin>,
    source: &Source<'_>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, pool) in raw {
        let is_placed = |origin: &String| origins.get(origin).is_some_and(|o| o.latitude.is_some());
        let by_distance = pool.steering == RawSteering::Nearest
            && pool.countries.is_empty()
            && pool.continents.is_empty();
        if by_distance && !pool.origins.iter().all(is_placed) {
            let message = "steering by distance needs latitude and longitude of every origin; those without come last";
            problems.push(source.problem(&KeyPath::of(&["pools", name]), message.to_owned()));
        }
    }
    problems
}
