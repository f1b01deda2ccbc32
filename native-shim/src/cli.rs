//! The command line.

mod admin_token;
mod check;
mod demo;
mod duration;
mod explain;
mod purge;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Caches, limits, routes and fails over HTTP traffic, as one policy file says.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves as a policy says, until SIGTERM or SIGINT.
    Serve(serve::Arguments),
    /// Says what is wrong with a policy, and what is surely not meant.
    Check(check::Arguments),
    /// Says how a request would be treated, and why.
    Explain(explain::Arguments),
    /// Tells running proxies that what they have stored is of no more use.
    Purge(purge::Arguments),
    /// Shows on this machine what Tidegate does: two toy origins, a proxy, a scripted visit.
    Demo(demo::Arguments),
}

impl Arguments {
    /// Runs the command.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            Command::Serve(arguments) => serve::run(&arguments),
            Command::Check(arguments) => check::run(&arguments),
            Command::Explain(arguments) => explain::run(&arguments),
            Command::Purge(arguments) => purge::run(&arguments),
            Command::Demo(arguments) => demo::run(&arguments),
        }
    }
}
