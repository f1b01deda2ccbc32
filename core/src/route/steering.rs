//! The order in which a pool's origins are tried for one request.

use super::pool::{Pool, Steering};
use crate::hash;
use crate::limit::key;
use crate::message::geo;
use crate::message::geo::Geo;
use crate::message::request::Request;
use crate::parts::push_part;
use crate::sorting::sort_by;

/// Orders the pool's origins, best first. Returns positions in `pool.origins`, each once.
pub fn order(pool: &Pool, request: &Request, route: &str) -> Vec<usize> {
    match &pool.steering {
        Steering::Ordered => (0..pool.origins.len()).collect(),
        Steering::Weighted { affinity } => {
            // Who has nothing to stay with is spread by weight, request by request.
            let stable = key::affinity(affinity, request, route);
            by_weight(
                pool,
                &stable.unwrap_or_else(|| request.trace.id.bytes().to_vec()),
            )
        }
        Steering::Nearest {
            countries,
            continents,
        } => by_geography(pool, &request.geo, countries, continents),
    }
}

/// Weighted rendezvous hashing: each origin draws a score from its own hash of the stable key, so a
/// client stays with its origin and only the share of a lost origin moves. Source: Schindelhauer
/// and Schomaker, "Weighted distributed hash tables", 2005.
fn by_weight(pool: &Pool, stable: &[u8]) -> Vec<usize> {
    let score = |position: usize| {
        let Some(origin) = pool.origins.get(position).filter(|o| o.weight > 0) else {
            return f64::NEG_INFINITY;
        };
        let mut salted = Vec::with_capacity(stable.len() + 32);
        push_part(&mut salted, Some(origin.name.as_bytes()));
        push_part(&mut salted, Some(stable));
        f64::from(origin.weight) / -libm::log(hash::unit(hash::stable(&salted)))
    };
    let mut scored: Vec<(usize, f64)> = (0..pool.origins.len()).map(|p| (p, score(p))).collect();
    sort_by(&mut scored, |a, b| b.1.total_cmp(&a.1));
    scored.into_iter().map(|(position, _)| position).collect()
}

fn by_geography(
    pool: &Pool,
    geo: &Geo,
    countries: &[(geo::Code, Vec<usize>)],
    continents: &[(geo::Code, Vec<usize>)],
) -> Vec<usize> {
    let listed = |map: &[(geo::Code, Vec<usize>)], is: &dyn Fn(geo::Code) -> bool| {
        map.iter()
            .find(|(code, _)| is(*code))
            .map_or_else(Vec::new, |(_, positions)| positions.clone())
    };
    let own = listed(countries, &|code| geo.country_or_unknown() == code);
    // The European Union, where it is named.
    let union = listed(countries, &|code| {
        geo.country_or_unknown() != code && geo.is_in(code)
    });
    let continent = geo.continent();
    let continent = listed(continents, &|code| continent == Some(code));
    let mut by_distance: Vec<usize> = (0..pool.origins.len()).collect();
    if let Some(client) = geo.position.map(geo::Position::direction) {
        let distance = |p: &usize| {
            pool.origins
                .get(*p)
                .and_then(|o| o.direction)
                .map_or(u32::MAX, |d| d.kilometres_to(client))
        };
        sort_by(&mut by_distance, |a, b| distance(a).cmp(&distance(b)));
    }
    let mut order = Vec::with_capacity(pool.origins.len());
    let candidates = [own, union, continent, by_distance];
    for position in candidates.into_iter().flatten() {
        if !order.contains(&position) {
            order.push(position);
        }
    }
    order
}
