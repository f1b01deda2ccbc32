"""What the programs of this folder have in common on their command lines."""

import argparse
import os

from peers import PEERS


def parser_of(program, description, rounds, peers):
    parser = argparse.ArgumentParser(prog=program, description=description,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=rounds, help="how often everything is measured")
    parser.add_argument("--seconds", type=positive, default=3, help="measured load of one cell in one round")
    parser.add_argument("--peers", type=names_of(PEERS), default=peers, help=",".join(PEERS))
    parser.add_argument("--no-build", dest="build", action="store_false", help="measure the tidegate that is built")
    parser.add_argument("--proxy-core", type=int, default=0, help="the core of the proxies")
    parser.add_argument("--loader-core", type=int, default=1, help="the core of the loader and the origin")
    return parser


def parse(parser):
    options = parser.parse_args()
    for core in (options.proxy_core, options.loader_core):
        if core not in os.sched_getaffinity(0):
            parser.error(f"core {core} is not available here; two cores are needed, see --proxy-core and --loader-core")
    if options.proxy_core == options.loader_core:
        parser.error("--proxy-core and --loader-core must differ: the loader would take the proxy's time")
    return options


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def names_of(known):
    def parse(text):
        names = list(dict.fromkeys(name.strip() for name in text.split(",")))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return names

    return parse
