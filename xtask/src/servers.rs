//! Servers that tests start: Redis, from Debian's packages.

use std::process::Stdio;

use crate::shell::{command, output};
use crate::steps::Outcome::{self, Passed, Skipped};

/// What tells tests of counters in Redis that they cannot run.
pub(crate) const WITHOUT_REDIS: &str = "TIDEGATE_WITHOUT_REDIS";

/// Installs Redis, unless it is there. Valkey's package has other names for the same programs.
pub(crate) fn install() -> Outcome {
    if has_redis() {
        return Passed;
    }
    println!("    installing redis-server with apt-get");
    if !apt_get(&["install", "-y", "--no-install-recommends", "redis-server"]) {
        apt_get(&["update"]);
        apt_get(&["install", "-y", "--no-install-recommends", "redis-server"]);
    }
    if has_redis() {
        return Passed;
    }
    Skipped(
        "no redis-server here, and apt-get could not install it: tests of counters in Redis do not run"
            .to_owned(),
    )
}

/// Returns whether Redis and its command line are installed.
pub(crate) fn has_redis() -> bool {
    ["redis-server", "redis-cli"]
        .iter()
        .all(|program| output(command(program).arg("--version")).is_some())
}

/// Runs apt-get as root. In runlevel 1 a package does not start its service.
fn apt_get(arguments: &[&str]) -> bool {
    let is_root = output(command("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    let mut program = if is_root {
        command("env")
    } else {
        let mut sudo = command("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    program
        .args([
            "RUNLEVEL=1",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-q",
        ])
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
