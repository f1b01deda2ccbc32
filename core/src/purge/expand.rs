//! One purge becomes several, where responses are stored under several names.

use std::borrow::Cow;

use super::label::{ANY_TAG, host_name};
use super::target::{Purge, Target};
use super::url;
use crate::cache::key;
use crate::message::path;
use crate::policy::Policy;

impl Purge {
    /// Spells a purge out: that of a URL for each form that its query may have in keys.
    pub(crate) fn expand(&self, policy: &Policy) -> Vec<Self> {
        let (host, path, query) = match &self.target {
            Target::Url { host, path, query } => (host, path, query),
            // A response that has more tags than are remembered may have this one.
            Target::Tag(_) => {
                let rest = Self {
                    target: Target::Tag(ANY_TAG.to_owned()),
                    soft: self.soft,
                };
                return vec![self.clone(), rest];
            }
            Target::All
            | Target::Exact(_)
            | Target::Host(_)
            | Target::Prefix(..)
            | Target::Group(..) => {
                return vec![self.clone()];
            }
        };
        let (host, path) = (
            host_name(host),
            path::normalised(path).unwrap_or_else(|| path.clone()),
        );
        let mut queries = vec![query.clone()];
        // What clients do not encode, routes and profiles see as it is.
        let (plain_path, plain_query) = (url::plain(&path), query.as_deref().map(url::plain));
        let paths = [&*path, &*plain_path];
        for profile in paths
            .into_iter()
            .flat_map(|path| policy.profiles_at(&host, path))
        {
            for query in [query.as_deref(), plain_query.as_deref()] {
                let query = key::query(profile, query).map(Cow::into_owned);
                if !queries.contains(&query) {
                    queries.push(query);
                }
            }
        }
        let target = |query| Target::Url {
            host: host.clone(),
            path: path.clone(),
            query,
        };
        queries
            .into_iter()
            .map(|query| Self {
                target: target(query),
                soft: self.soft,
            })
            .collect()
    }
}
