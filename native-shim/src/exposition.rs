//! The metrics as Prometheus reads them (text format 0.0.4).

use std::fmt::Write;
use std::sync::atomic::Ordering;

use strum::VariantArray;
use tidegate_core::breaker::StateName;
use tidegate_core::problem::Refusal;
use tidegate_core::report::{AttemptOutcome, Difference, LimitOutcome, TokenOutcome};

use crate::metrics::{
    BUCKETS, CACHE_OUTCOMES, Histogram, Metrics, RouteCounters, STATUS, cache_names, names,
};
use crate::node::Node;

/// The text under construction.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(
                self.0,
                "{}{label}=\"{text}\"",
                if i == 0 { '{' } else { ',' }
            );
        }
        let _ = writeln!(
            self.0,
            "{} {value}",
            if labels.is_empty() { "" } else { "}" }
        );
    }

    fn counter(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        if value > 0 {
            self.sample(name, labels, value);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn total(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), histogram: &Histogram) {
        let mut count = 0;
        for (i, bound) in BUCKETS.iter().enumerate() {
            count += histogram.get(i);
            self.sample(
                &format!("{name}_bucket"),
                &[label, ("le", &seconds(*bound))],
                count,
            );
        }
        count += histogram.get(BUCKETS.len());
        self.sample(&format!("{name}_bucket"), &[label, ("le", "+Inf")], count);
        self.sample(
            &format!("{name}_sum"),
            &[label],
            seconds(histogram.get(BUCKETS.len() + 1)),
        );
        self.sample(&format!("{name}_count"), &[label], count);
    }
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

impl Metrics {
    /// Writes all metrics of a node.
    pub fn page(node: &Node) -> String {
        let metrics = &node.metrics;
        let mut page = Page(String::with_capacity(8192));
        metrics.requests(&mut page);
        metrics.limits(&mut page);
        metrics.differences(&mut page);
        metrics.bandwidths(&mut page);
        metrics.tokens(&mut page);
        metrics.origins(&mut page);
        circuits(&mut page, node);
        metrics.process(&mut page, node);
        page.0
    }

    fn requests(&self, page: &mut Page) {
        let tables = self.tables.load();
        let routes: Vec<(&str, &RouteCounters)> = tables
            .routes
            .0
            .iter()
            .map(|(name, counters)| (&**name, &**counters))
            .chain([("", &self.unrouted)])
            .collect();
        let name = "tidegate_requests_total";
        page.family(
            name,
            "counter",
            "Requests answered, by route (empty: none), status class and what the cache did.",
        );
        for (route, counters) in &routes {
            for (i, status) in STATUS.iter().enumerate() {
                for (j, cache) in cache_names().enumerate() {
                    let labels = [("route", *route), ("status", *status), ("cache", cache)];
                    page.counter(name, &labels, counters.requests.get(i * CACHE_OUTCOMES + j));
                }
            }
        }
        let name = "tidegate_revalidations_total";
        page.family(
            name,
            "counter",
            "Revalidations in the background, by route and status class of the origin's answer.",
        );
        for (route, counters) in &routes {
            for (i, status) in STATUS.iter().enumerate() {
                page.counter(
                    name,
                    &[("route", route), ("status", status)],
                    counters.revalidations.get(i),
                );
            }
        }
        let name = "tidegate_exchange_duration_seconds";
        page.family(
            name,
            "histogram",
            "Time from a request to the decision that finished it.",
        );
        for (route, counters) in &routes {
            page.histogram(name, ("route", route), &counters.duration);
        }
        let name = "tidegate_refusals_total";
        page.family(name, "counter", "Requests refused, by reason.");
        for (i, reason) in names::<Refusal>().enumerate() {
            page.counter(name, &[("reason", reason)], self.refusals.get(i));
        }
    }

    fn limits(&self, page: &mut Page) {
        let name = "tidegate_limit_charges_total";
        page.family(name, "counter", "Limits charged, by limit and outcome.");
        for (limit, counters) in &self.tables.load().limits.0 {
            for (i, outcome) in names::<LimitOutcome>().enumerate() {
                page.counter(
                    name,
                    &[("limit", limit), ("outcome", outcome)],
                    counters.get(i),
                );
            }
        }
    }

    fn bandwidths(&self, page: &mut Page) {
        let name = "tidegate_paced_seconds_total";
        page.family(
            name,
            "counter",
            "Time that bodies have waited for limits of bandwidth, by limit; of several bodies at once, that of each.",
        );
        for (limit, counters) in &self.tables.load().bandwidths.0 {
            page.sample(name, &[("limit", limit)], seconds(counters.get(0)));
        }
    }

    fn tokens(&self, page: &mut Page) {
        let name = "tidegate_tokens_total";
        page.family(
            name,
            "counter",
            "Tokens of clients that limits count by, by what became of them.",
        );
        for (i, outcome) in names::<TokenOutcome>().enumerate() {
            page.counter(name, &[("outcome", outcome)], self.tokens.get(i));
        }
    }

    fn differences(&self, page: &mut Page) {
        let name = "tidegate_limit_differences_total";
        let help = "Answers of limits that differ from those of the limits that they are compared with, by what they would have been.";
        page.family(name, "counter", help);
        for (limit, counters) in &self.tables.load().differences.0 {
            for (i, answer) in names::<Difference>().enumerate() {
                page.sample(
                    name,
                    &[("limit", limit), ("answer", answer)],
                    counters.get(i),
                );
            }
        }
    }

    fn origins(&self, page: &mut Page) {
        let tables = self.tables.load();
        let name = "tidegate_origin_attempts_total";
        page.family(
            name,
            "counter",
            "Attempts at origins, by origin and outcome.",
        );
        for (origin, counters) in &tables.origins.0 {
            for (i, outcome) in names::<AttemptOutcome>().enumerate() {
                page.counter(
                    name,
                    &[("origin", origin), ("outcome", outcome)],
                    counters.attempts.get(i),
                );
            }
        }
        let name = "tidegate_origin_response_duration_seconds";
        page.family(
            name,
            "histogram",
            "Time from sending a request to the header fields of the origin's response.",
        );
        for (origin, counters) in &tables.origins.0 {
            page.histogram(name, ("origin", origin), &counters.duration);
        }
    }

    fn process(&self, page: &mut Page, node: &Node) {
        stores(page, node);
        counters(page, node);
        self.clients(page);
        self.operations(page, node);
        page.family("tidegate_build_info", "gauge", "The version that runs.");
        let version = ("version", env!("CARGO_PKG_VERSION"));
        page.sample("tidegate_build_info", &[version], 1);
    }

    fn clients(&self, page: &mut Page) {
        page.gauge(
            "tidegate_connections_open",
            "Open client connections.",
            self.connections.load(Ordering::Relaxed),
        );
        page.total(
            "tidegate_connections_refused_total",
            "Connections closed at once because connections_max was reached.",
            self.connections_refused.load(Ordering::Relaxed),
        );
        page.total(
            "tidegate_replies_cut_total",
            "Replies that were given up because their clients had stopped reading them.",
            self.replies_cut.load(Ordering::Relaxed),
        );
    }

    fn operations(&self, page: &mut Page, node: &Node) {
        let name = "tidegate_operations_refused_total";
        let help = "Requests for operations refused: with a wrong token, or from an address that showed too many.";
        page.family(name, "counter", help);
        for (reason, count) in ["token", "slowed"].iter().zip(&self.guesses) {
            page.sample(name, &[("reason", reason)], count.load(Ordering::Relaxed));
        }
        page.total(
            "tidegate_access_log_dropped_total",
            "Lines of the access log that were dropped because its reader was too slow.",
            node.access_log.dropped(),
        );
        let name = "tidegate_policy_reloads_total";
        page.family(
            name,
            "counter",
            "Changed policies, by whether they were taken.",
        );
        for (outcome, count) in ["taken", "refused"].iter().zip(&self.reloads) {
            page.sample(name, &[("outcome", outcome)], count.load(Ordering::Relaxed));
        }
    }
}

fn stores(page: &mut Page, node: &Node) {
    page.gauge(
        "tidegate_store_bytes",
        "Bytes of the memory store in use.",
        node.store.bytes(),
    );
    page.gauge(
        "tidegate_store_overhead_bytes",
        "Bytes of the memory store in use for everything but bodies: keys, heads, tables.",
        node.store.overhead(),
    );
    page.gauge(
        "tidegate_store_filling_bytes",
        "Bytes reserved for responses on their way into the memory store.",
        node.reserved.bytes(),
    );
    page.gauge(
        "tidegate_store_held_bytes",
        "Bytes of the bodies that are stored, or were and are still being read.",
        node.store.held_bytes(),
    );
    page.gauge(
        "tidegate_store_entries",
        "Keys in the memory store.",
        node.store.len(),
    );
    page.gauge(
        "tidegate_limit_keys",
        "Keys of limits counted.",
        node.limits.len(),
    );
    page.total(
        "tidegate_limit_keys_evicted_total",
        "Counters of limits that were forgotten before they were spent, because there were too many keys.",
        node.limits.evicted(),
    );
}

/// Counters that are kept elsewhere.
fn counters(page: &mut Page, node: &Node) {
    let Some(counters) = node.counters() else {
        return;
    };
    page.gauge(
        "tidegate_counters_up",
        "Whether the store of shared counters answers: 0 while it is left alone or tried again.",
        u8::from(!counters.is_lost()),
    );
    let name = "tidegate_counters_unanswered_total";
    let help = "Questions to shared counters that had no answer, by reason.";
    page.family(name, "counter", help);
    for (fault, count) in counters.faults() {
        page.sample(name, &[("reason", fault.into())], count);
    }
}

fn circuits(page: &mut Page, node: &Node) {
    let name = "tidegate_circuit_state";
    page.family(
        name,
        "gauge",
        "State of an origin's circuit under a breaker rule: 1 for the state that it is in.",
    );
    for (origin, breaker, state) in node.engine().circuits() {
        for other in StateName::VARIANTS {
            let labels = [
                ("origin", &*origin),
                ("breaker", &*breaker),
                ("state", (*other).into()),
            ];
            page.sample(name, &labels, u8::from(*other == state));
        }
    }
}
