//! `[limits]` of `kind = "bandwidth"`.

use std::collections::BTreeMap;

use super::limits::{self, RawAbsent, RawDirection, RawKind, RawLimit};
use crate::limit::{Bandwidth, ByteRate, Direction};
use crate::policy::burst::RawBurst;
use crate::policy::compiler::Compiler;
use crate::policy::error::{KeyPath, Problem, Source};
use crate::policy::units;

/// Slower than this, in bytes a second, a page takes minutes.
const SLOW: u64 = 1 << 10;

pub(super) fn compile(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    name: &str,
    raw: &RawLimit,
) -> Option<Bandwidth> {
    check_foreign(c, at, raw);
    let key = c.key_parts(&at.key("key"), &raw.key);
    let methods = limits::methods(c, at, raw);
    let (bytes, period) = match units::byte_rate(&raw.quota) {
        Ok(rate) => rate,
        Err(message) => {
            c.wrong(&at.key("quota"), message);
            return None;
        }
    };
    let burst = burst(c, at, raw).unwrap_or_else(|| (bytes / (period / 1000)).max(1));
    Some(Bandwidth {
        name: name.into(),
        rate: ByteRate {
            bytes,
            period,
            burst,
        },
        direction: match raw.direction {
            None | Some(RawDirection::Response) => Direction::Response,
            Some(RawDirection::Request) => Direction::Request,
        },
        key,
        absent: limits::absent(c, raw.absent),
        methods,
    })
}

/// Refuses what says something of other kinds only.
fn check_foreign(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) {
    let foreign = [
        (
            "cost",
            raw.cost.is_some(),
            "bandwidth counts bytes, and requests have no cost; leave this out",
        ),
        (
            "dry_run",
            raw.dry_run,
            "bandwidth refuses nobody, so there is nothing to try out; leave this out",
        ),
        (
            "on_store_error",
            raw.on_store_error.is_some(),
            "each pod and each isolate paces for itself, and asks no counter elsewhere; leave this out",
        ),
        (
            "mode",
            raw.mode.is_some() || raw.lease_max.is_some() || raw.local_share.is_some(),
            "each pod and each isolate paces for itself, and asks no counter elsewhere; leave this out",
        ),
        (
            "count",
            raw.count.is_some() || !raw.except.is_empty(),
            "bodies are paced wherever they come from; leave this out",
        ),
        (
            "headers",
            raw.headers.is_some(),
            "clients are told nothing of bandwidth; leave this out",
        ),
        (
            "plan",
            raw.plan.is_some() || !raw.plans.is_empty(),
            "bandwidth has one quota for all; leave plan and plans out",
        ),
        (
            "absent",
            raw.absent == RawAbsent::Refuse,
            "bandwidth paces streams and refuses nobody; write \"address\", \"share\" or \"skip\"",
        ),
    ];
    for (key, is_written, message) in foreign {
        if is_written {
            c.wrong(&at.key(key), message);
        }
    }
}

/// Reads the burst, if one is written.
fn burst(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Option<u64> {
    let path = at.key("burst");
    let RawBurst::Size(text) = raw.burst.as_ref()? else {
        c.wrong(
            &path,
            "the burst of bandwidth is a size, such as \"4MiB\": a number alone has no unit",
        );
        return None;
    };
    let bytes = c.bytes(&path, Some(text), 1);
    if !(1..=ByteRate::BYTES_MAX).contains(&bytes) {
        c.wrong(&path, "burst goes from 1B to 256GiB, such as \"4MiB\"");
    }
    Some(bytes)
}

/// Lists limits that surely do not do what was meant.
pub(in crate::policy) fn lint(
    raw: &BTreeMap<String, RawLimit>,
    source: &Source<'_>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, raw) in raw {
        if raw.kind != RawKind::Bandwidth {
            continue;
        }
        let Ok((bytes, period)) = units::byte_rate(&raw.quota) else {
            continue;
        };
        let at = KeyPath::of(&["limits", name]);
        let a_second = bytes / (period / 1000);
        if a_second < SLOW {
            let message = "slower than 1KiB/sec: a megabyte takes more than a quarter of an hour; write more, or a limit of another kind if clients are to be kept out";
            problems.push(source.problem(&at.key("quota"), message.to_owned()));
        }
        let Some(RawBurst::Size(burst)) = &raw.burst else {
            continue;
        };
        // Waits are whole milliseconds, and some longer: what is earned meanwhile needs room.
        if units::bytes(burst).is_ok_and(|burst| burst < a_second / 100) {
            let message = "less than the quota earns in 10 ms: what is earned while a timer is late is lost, and bodies are slower than the quota; make it larger";
            problems.push(source.problem(&at.key("burst"), message.to_owned()));
        }
    }
    problems
}
