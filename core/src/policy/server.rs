//! `[server]` and `[store]`: the pod's listener, and bounds.

use http::HeaderName;

use super::compiled::{Server, StoreBounds};
use super::compiler::Compiler;
use crate::message::bounds::Bounds;
use crate::operations;
use crate::policy::error::KeyPath;
use crate::policy::raw::{RawAccessLog, RawServer, RawStore};

impl Compiler<'_> {
    pub(super) fn server(&mut self, raw: &RawServer) -> Server {
        let at = |key: &str| KeyPath::of(&["server", key]);
        let small = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let bounds = Bounds {
            header_count_max: raw.header_count_max.unwrap_or(100).into(),
            header_bytes_max: small(self.bytes(
                &at("header_bytes_max"),
                raw.header_bytes_max.as_ref(),
                32 << 10,
            )),
            uri_bytes_max: small(self.bytes(
                &at("uri_bytes_max"),
                raw.uri_bytes_max.as_ref(),
                8 << 10,
            )),
            body_bytes_max: self.bytes(
                &at("body_bytes_max"),
                raw.body_bytes_max.as_ref(),
                100 << 20,
            ),
            header_timeout: self.duration(
                &at("header_timeout"),
                raw.header_timeout.as_ref(),
                10_000,
            ),
            idle_timeout: self.duration(&at("idle_timeout"), raw.idle_timeout.as_ref(), 60_000),
            tunnel_idle_timeout: self.duration(
                &at("tunnel_idle_timeout"),
                raw.tunnel_idle_timeout.as_ref(),
                3_600_000,
            ),
            connections_max: raw
                .connections_max
                .unwrap_or(10_000)
                .try_into()
                .unwrap_or(usize::MAX),
            connections_per_address_max: raw
                .connections_per_address_max
                .unwrap_or(1000)
                .try_into()
                .unwrap_or(usize::MAX),
            client_rate_min: self.bytes(&at("client_rate_min"), raw.client_rate_min.as_ref(), 240),
        };
        for (key, most) in [
            ("connections_max", raw.connections_max),
            (
                "connections_per_address_max",
                raw.connections_per_address_max,
            ),
        ] {
            if most == Some(0) {
                self.wrong(&at(key), "nobody could connect; write 1 or more");
            }
        }
        // The HTTP libraries of the shells hold no more than this.
        if bounds.header_bytes_max > 256 << 10
            || bounds.uri_bytes_max > 60_000
            || bounds.header_count_max > 1000
        {
            self.wrong(
                &KeyPath::of(&["server"]),
                "bounds go up to header_bytes_max = \"256KiB\", uri_bytes_max = \"60000B\", header_count_max = 1000",
            );
        }
        let listen = raw
            .listen
            .clone()
            .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let admin = raw
            .admin
            .clone()
            .unwrap_or_else(|| "127.0.0.1:9900".to_owned());
        let admin = (admin != "off").then_some(admin);
        for (key, address) in [("listen", Some(&listen)), ("admin", admin.as_ref())] {
            if address.is_some_and(|a| a.parse::<std::net::SocketAddr>().is_err()) {
                self.wrong(
                    &at(key),
                    "write an address and a port: \"0.0.0.0:8080\", \"[::]:8080\"",
                );
            }
        }
        if raw.threads == Some(0) {
            self.wrong(
                &at("threads"),
                "at least one thread is needed; leave it out for one a core",
            );
        }
        Server {
            listen,
            admin,
            threads: raw.threads,
            access_log: raw.access_log.unwrap_or(RawAccessLog::Json),
            tls: raw.tls.clone(),
            admin_hosts: self.admin_hosts(raw),
            drain: self.duration(&at("drain"), raw.drain.as_ref(), 30_000),
            bounds,
        }
    }

    pub(super) fn admin_hosts(&mut self, raw: &RawServer) -> Vec<String> {
        let at = KeyPath::of(&["server", "admin_hosts"]);
        for (i, text) in raw.admin_hosts.iter().enumerate() {
            if !operations::is_name(text) {
                let message = format!(
                    "`{text}` is not a host; write tidegate.default.svc or *.pods.example, without scheme and port"
                );
                self.wrong(&at.index(i), message);
            }
        }
        raw.admin_hosts
            .iter()
            .map(|text| text.trim_end_matches('.').to_ascii_lowercase())
            .collect()
    }

    pub(super) fn underscored(&mut self, raw: &RawServer) -> Vec<HeaderName> {
        let at = KeyPath::of(&["server", "underscore_headers"]);
        let mut names = Vec::new();
        for (i, text) in raw.underscore_headers.iter().enumerate() {
            if !text.contains('_') {
                self.wrong(
                    &at.index(i),
                    format!("`{text}` has no `_`; such fields go to origins anyway"),
                );
            }
            names.extend(self.header_name(&at.index(i), text));
        }
        names
    }

    pub(super) fn store(&mut self, raw: &RawStore) -> StoreBounds {
        let bytes_max = self.bytes(
            &KeyPath::of(&["store", "bytes_max"]),
            raw.bytes_max.as_ref(),
            256 << 20,
        );
        StoreBounds {
            bytes_max,
            entries_max: raw
                .entries_max
                .unwrap_or(10_000)
                .try_into()
                .unwrap_or(usize::MAX),
        }
    }
}
