//! How many files the process may open, and how many connections that allows.
//!
//! Why: a connection that cannot be accepted for want of a file waits unseen, and the admin address
//! is shut just when somebody must look. So connections are refused before the files are used up.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_core::Policy;

/// Files that connections leave alone: listeners, logs, certificates, the admin address.
const RESERVED: u64 = 128;

/// Raises the soft limit of open files as far as the process may, and returns how many connections
/// may use.
pub(super) fn for_connections() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    files.map_or(u64::MAX, |files| files.saturating_sub(RESERVED))
}

/// Returns how many clients may be connected with so many files.
pub(super) fn connections_max(files: u64, policy: &Policy) -> usize {
    usize::try_from(files / of_a_client(policy))
        .unwrap_or(usize::MAX)
        .max(1)
}

/// Returns how many files the process must be allowed to open, so that so many clients may be
/// connected.
pub(super) fn needed(connections: usize, policy: &Policy) -> u64 {
    (connections as u64)
        .saturating_mul(of_a_client(policy))
        .saturating_add(RESERVED)
}

/// Returns how many files a client may need: its own connection, and one to an origin for each
/// attempt that is under way at once.
fn of_a_client(policy: &Policy) -> u64 {
    1 + u64::from(policy.attempts_at_once())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "[origins.a]\nurl = \"http://a\"\n[pools.main]\norigins = [\"a\"]\n\
                          [retry.r]\n[[routes]]\npool = \"main\"\nretry = \"r\"\n";

    fn policies() -> [(Policy, u64); 2] {
        let hedging = POLICY.replace("[retry.r]", "[retry.r]\nhedge_after = \"1s\"");
        [
            (Policy::parse("p", POLICY).unwrap(), 2),
            (Policy::parse("p", &hedging).unwrap(), 3),
        ]
    }

    #[test]
    fn each_client_may_need_two_files_or_three_and_some_stay_free() {
        for (policy, files) in &policies() {
            let with = |allowed: u64| connections_max(allowed.saturating_sub(RESERVED), policy);
            assert_eq!(needed(10_000, policy), 10_000 * files + RESERVED);
            assert_eq!(with(needed(10_000, policy)), 10_000);
            assert_eq!(with(needed(10_000, policy) - 1), 9_999);
            assert_eq!(with(0), 1);
        }
    }
}
