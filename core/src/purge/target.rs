//! What a purge reaches.

use super::label;
use super::label::{
    Kind, Label, Number, PREFIXES_MAX, Resource, group, host_name, label, tag, without_dot,
};
use crate::message::path;
use crate::message::request::Request;

/// What is purged. Hosts are without port: a purge reaches all ports and both schemes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything.
    All,
    /// The responses of one URL: every variant, whatever else is in their keys.
    Url {
        /// Host.
        host: String,
        /// Path.
        path: String,
        /// Query, without its question mark.
        query: Option<String>,
    },
    /// The responses of one URL of one origin: what a change at that origin reaches.
    Exact(Exact),
    /// Every URL of a host.
    Host(String),
    /// Every URL of a host whose path is this one or lies below it.
    Prefix(String, String),
    /// Every response with this tag.
    Tag(String),
    /// Every response of a host in this group (RFC 9875).
    Group(String, String),
}

/// A purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// What it reaches.
    pub target: Target,
    /// Whether what it reaches is kept as stale, to be validated or to stand in for failing
    /// origins.
    pub soft: bool,
}

/// A purge as nodes tell each other of it: numbered, its target a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberedPurge {
    /// Its number; 0 before it has one.
    pub number: Number,
    /// What it reaches; everything if there is none.
    pub label: Option<Label>,
    /// Whether what it reaches is kept as stale.
    pub soft: bool,
}

impl NumberedPurge {
    /// Takes a purge that has no number yet.
    pub(crate) fn of(purge: &Purge) -> Self {
        Self {
            number: 0,
            label: purge.target.label(),
            soft: purge.soft,
        }
    }
}

/// A URL of one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port, as requests name them.
    pub authority: String,
    /// Host alone.
    pub host: String,
    /// Path.
    pub path: String,
    /// Query, without its question mark.
    pub query: Option<String>,
}

impl Exact {
    /// Returns the URL at the origin of a request with another path and query.
    pub(crate) fn at_origin_of(request: &Request, path: String, query: Option<String>) -> Self {
        let (authority, host) = (
            request.authority.clone(),
            without_dot(request.host()).to_owned(),
        );
        Self {
            scheme: request.scheme.as_str(),
            authority,
            host,
            path,
            query,
        }
    }

    pub(super) fn resource(&self) -> Resource<'_> {
        let Self {
            scheme,
            authority,
            host,
            path,
            query,
        } = self;
        Resource {
            scheme,
            authority,
            host,
            path,
            query: query.as_deref(),
        }
    }
}

impl Target {
    pub(super) fn label(&self) -> Option<Label> {
        Some(match self {
            Self::All => return None,
            Self::Url { host, path, query } => {
                let path = path::normalised(path).unwrap_or_else(|| path.clone());
                label::url(&host_name(host), &path, query.as_deref())
            }
            Self::Exact(exact) => exact.resource().exact(),
            Self::Host(host) => label(Kind::Host, &[&host_name(host)]),
            Self::Prefix(host, path) => {
                let path = path::normalised(path).unwrap_or_else(|| path.clone());
                let path = path.trim_end_matches('/');
                // Nobody looks deeper.
                let deep = path
                    .match_indices('/')
                    .map(|(at, _)| at)
                    .nth(PREFIXES_MAX - 1);
                let path = deep.and_then(|at| path.get(..at)).unwrap_or(path);
                label(Kind::Prefix, &[&host_name(host), path])
            }
            Self::Tag(name) => tag(name),
            Self::Group(host, name) => group(host, name),
        })
    }
}
