//! How many files the process may open, and how many connections that allows.
//!
//! Why: a connection that cannot be accepted for want of a file waits unseen, and the admin address
//! is shut just when somebody must look. So connections are refused before the files are used up.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that connections leave alone: listeners, logs, certificates, the admin address.
const RESERVED: u64 = 128;

/// Raises the soft limit as far as the process may, and returns how many clients may be connected:
/// each may need a connection to an origin too.
pub(super) fn connections_max() -> usize {
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
    files.map_or(usize::MAX, within)
}

fn within(files: u64) -> usize {
    usize::try_from(files.saturating_sub(RESERVED) / 2)
        .unwrap_or(usize::MAX)
        .max(1)
}

/// Returns how many files the process must be allowed to open, so that so many clients may be
/// connected.
pub(super) fn files_for(connections: usize) -> u64 {
    (connections as u64)
        .saturating_mul(2)
        .saturating_add(RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_may_need_two_files_and_some_stay_free() {
        assert_eq!(within(1024), 448);
        assert_eq!(within(1_048_576), 524_224);
        assert_eq!(within(0), 1);
        assert_eq!(within(files_for(10_000)), 10_000);
        assert_eq!(within(files_for(10_000) - 1), 9_999);
    }
}
