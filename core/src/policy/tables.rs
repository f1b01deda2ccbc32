//! A valid policy as tables whose rows name each other by position: what routes share is packed
//! once, and shared again by whoever unpacks it.

use std::sync::Arc;

use http::HeaderValue;

use super::compiled::Policy;
use crate::breaker::BreakerPolicy;
use crate::cache::Profile;
use crate::limit::{Bandwidth, Limit};
use crate::packed::{Packed, Unpacking, packed_struct};
use crate::retry::RetryPolicy;
use crate::route::{Matcher, Origin, Pool, Route, Steering};

/// What routes share.
struct Tables {
    origins: Vec<Arc<Origin>>,
    breakers: Vec<Arc<BreakerPolicy>>,
    pools: Vec<Arc<Pool>>,
    profiles: Vec<Arc<Profile>>,
    limits: Vec<Arc<Limit>>,
    bandwidths: Vec<Arc<Bandwidth>>,
    retries: Vec<Arc<RetryPolicy>>,
}

/// A pool whose origins are positions.
struct PoolRow {
    name: Arc<str>,
    origins: Vec<usize>,
    steering: Steering,
}

packed_struct!(PoolRow {
    name,
    origins,
    steering
});

/// A route that names by position what it shares with others.
struct RouteRow {
    name: Arc<str>,
    matcher: Matcher,
    pool: usize,
    cache: Option<usize>,
    limits: Vec<usize>,
    bandwidths: Vec<usize>,
    rate_limit_policy: Option<HeaderValue>,
    breaker: Option<usize>,
    retry: usize,
}

packed_struct!(RouteRow {
    name,
    matcher,
    pool,
    cache,
    limits,
    bandwidths,
    rate_limit_policy,
    breaker,
    retry
});

impl Policy {
    /// Appends the policy.
    pub(super) fn pack(&self, into: &mut Vec<u8>) {
        self.server.pack(into);
        self.client.pack(into);
        self.token.pack(into);
        self.store.pack(into);
        self.counters.pack(into);
        self.on_failure.pack(into);
        self.passed.pack(into);
        let mut tables = Tables {
            origins: self.origins.clone(),
            breakers: self.breakers.clone(),
            pools: Vec::new(),
            profiles: Vec::new(),
            limits: Vec::new(),
            bandwidths: Vec::new(),
            retries: Vec::new(),
        };
        let rows: Vec<RouteRow> = self.routes.iter().map(|route| tables.row(route)).collect();
        tables.pack(into);
        rows.pack(into);
    }

    /// Takes a policy; `None` if a row names a position that its table does not have. Whether
    /// everything was there is for the caller to ask.
    pub(super) fn unpack(from: &mut Unpacking<'_>) -> Option<Self> {
        let server = Packed::unpack(from);
        let client = Packed::unpack(from);
        let token = Packed::unpack(from);
        let store = Packed::unpack(from);
        let counters = Packed::unpack(from);
        let on_failure = Packed::unpack(from);
        let passed = Packed::unpack(from);
        let tables = Tables::unpack(from)?;
        let mut routes = Vec::new();
        for row in Vec::unpack(from) {
            routes.push(Arc::new(tables.route(row)?));
        }
        Some(Self {
            server,
            client,
            token,
            store,
            counters,
            on_failure,
            origins: tables.origins,
            breakers: tables.breakers,
            passed,
            routes,
        })
    }
}

impl Tables {
    fn pack(&self, into: &mut Vec<u8>) {
        self.origins.pack(into);
        self.breakers.pack(into);
        self.profiles.pack(into);
        self.limits.pack(into);
        self.bandwidths.pack(into);
        self.retries.pack(into);
        let pools: Vec<PoolRow> = self.pools.iter().map(|pool| pool_row(pool)).collect();
        pools.pack(into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Option<Self> {
        let mut tables = Self {
            origins: Packed::unpack(from),
            breakers: Packed::unpack(from),
            profiles: Packed::unpack(from),
            limits: Packed::unpack(from),
            bandwidths: Packed::unpack(from),
            retries: Packed::unpack(from),
            pools: Vec::new(),
        };
        for row in Vec::unpack(from) {
            let pool = tables.pool(row)?;
            tables.pools.push(Arc::new(pool));
        }
        Some(tables)
    }

    /// Writes a route's row, and puts what it names into the tables.
    fn row(&mut self, route: &Route) -> RouteRow {
        let mut limits = Vec::new();
        for limit in &route.limits {
            limits.push(place(&mut self.limits, limit));
        }
        let mut bandwidths = Vec::new();
        for limit in &route.bandwidths {
            bandwidths.push(place(&mut self.bandwidths, limit));
        }
        RouteRow {
            name: Arc::clone(&route.name),
            matcher: route.matcher.clone(),
            pool: place(&mut self.pools, &route.pool),
            cache: route
                .cache
                .as_ref()
                .map(|profile| place(&mut self.profiles, profile)),
            limits,
            bandwidths,
            rate_limit_policy: route.rate_limit_policy.clone(),
            breaker: route.breaker.as_ref().map(|breaker| breaker.index),
            retry: place(&mut self.retries, &route.retry),
        }
    }

    fn route(&self, row: RouteRow) -> Option<Route> {
        let cache = match row.cache {
            Some(position) => Some(at(&self.profiles, position)?),
            None => None,
        };
        let breaker = match row.breaker {
            Some(position) => Some(at(&self.breakers, position)?),
            None => None,
        };
        Some(Route {
            name: row.name,
            matcher: row.matcher,
            pool: at(&self.pools, row.pool)?,
            cache,
            limits: all_at(&self.limits, &row.limits)?,
            bandwidths: all_at(&self.bandwidths, &row.bandwidths)?,
            rate_limit_policy: row.rate_limit_policy,
            breaker,
            retry: at(&self.retries, row.retry)?,
        })
    }

    fn pool(&self, row: PoolRow) -> Option<Pool> {
        Some(Pool {
            name: row.name,
            origins: all_at(&self.origins, &row.origins)?,
            steering: row.steering,
        })
    }
}

fn pool_row(pool: &Pool) -> PoolRow {
    PoolRow {
        name: Arc::clone(&pool.name),
        origins: pool.origins.iter().map(|origin| origin.index).collect(),
        steering: pool.steering.clone(),
    }
}

/// Finds an item in its table, or adds it.
fn place<T: PartialEq>(table: &mut Vec<Arc<T>>, item: &Arc<T>) -> usize {
    if let Some(position) = table.iter().position(|known| known == item) {
        return position;
    }
    table.push(Arc::clone(item));
    table.len() - 1
}

fn at<T>(table: &[Arc<T>], position: usize) -> Option<Arc<T>> {
    table.get(position).map(Arc::clone)
}

fn all_at<T>(table: &[Arc<T>], positions: &[usize]) -> Option<Vec<Arc<T>>> {
    positions
        .iter()
        .map(|position| at(table, *position))
        .collect()
}
