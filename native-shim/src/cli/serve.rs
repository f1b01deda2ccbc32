//! `tidegate serve`: the proxy, its admin address, its log, and its policy file watched.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tidegate::{Admin, Counters, Look, Node, Phase, PolicyFile, Server, SharedCounters, TlsFiles};
use tidegate_core::operations::{CHARACTERS_MIN, Token};
use tokio::signal::unix::{SignalKind, signal};

use super::admin_token::admin_token;

/// How often the policy's file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often what has expired is forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How often the access log is written out.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// What `serve` is asked.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The policy file; it is read again when it changes.
    #[arg(long)]
    policy: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    let (file, policy) = PolicyFile::open(&arguments.policy)?;
    let files = Arc::new(TlsFiles::new(file.folder()));
    let (listen, admin) = (policy.server.listen.clone(), policy.server.admin.clone());
    let node = Arc::new(Node::with_random_seed(policy));
    keep_secret(&node);
    let counters = SharedCounters::of_policy(node.engine().policy(), &files, &node)
        .map_err(|error| format!("tidegate: {error}"))?;
    node.count_in(
        counters
            .clone()
            .map(|counters| counters as Arc<dyn Counters>),
    );
    // The admin address first: a process that cannot have it must not have served anybody.
    let admin = match admin {
        Some(address) => Some(
            TcpListener::bind(&address)
                .map_err(|error| cannot_listen(&address, "admin", &error))?,
        ),
        None => None,
    };
    let server =
        Server::start(&node, &files).map_err(|error| cannot_listen(&listen, "listen", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("tidegate: {error}"))?;
    write_log(&node)?;
    if let Some(counters) = counters {
        runtime.spawn(async move { counters.greet().await });
    }
    let outcome = runtime.block_on(look_after(&node, &files, file, &server, admin));
    if outcome.is_ok() {
        server.join();
    }
    // What this pod holds of limits in advance is of use to others.
    if let Some(counters) = node.counters() {
        runtime.block_on(counters.end());
    }
    // What else runs here, such as a sweep, needs no end of its own.
    drop(runtime);
    node.access_log.flush(&mut io::stdout().lock());
    outcome
}

/// Has the node refuse requests that show the operators' token, with an admin address or without.
fn keep_secret(node: &Node) {
    let token = admin_token().as_deref().and_then(Token::new);
    if token.as_ref().is_some_and(Token::is_short) {
        eprintln!(
            "tidegate: TIDEGATE_ADMIN_TOKEN has fewer than {CHARACTERS_MIN} characters and could be guessed; take one from `openssl rand -hex 32`"
        );
    }
    node.keep_secret(token);
}

fn cannot_listen(address: &str, key: &str, error: &io::Error) -> String {
    let advice = if error.kind() == io::ErrorKind::AddrInUse {
        format!(
            "; another process listens there: end it, or give this one another address in [server] {key}"
        )
    } else {
        String::new()
    };
    format!("tidegate: cannot listen on {address}: {error}{advice}")
}

/// Starts the thread that writes the access log, so that a slow reader of it holds up nobody else.
fn write_log(node: &Arc<Node>) -> Result<(), String> {
    let node = Arc::clone(node);
    let thread = std::thread::Builder::new()
        .name("tidegate-log".into())
        .spawn(move || {
            loop {
                std::thread::sleep(FLUSH_EVERY);
                node.access_log.flush(&mut io::stdout().lock());
            }
        });
    thread
        .map(drop)
        .map_err(|error| format!("tidegate: {error}"))
}

/// Does everything besides serving, until the server has ended.
async fn look_after(
    node: &Arc<Node>,
    files: &Arc<TlsFiles>,
    mut file: PolicyFile,
    server: &Server,
    admin: Option<TcpListener>,
) -> Result<(), String> {
    if let Some(listener) = admin {
        let token = admin_token();
        let operations = if token.is_some() {
            ""
        } else {
            "; no operations: TIDEGATE_ADMIN_TOKEN is not set"
        };
        let admin = Admin::on(listener, Arc::clone(node), files, token, server.phase());
        let admin = admin.map_err(|error| format!("tidegate: the admin address: {error}"))?;
        let address = admin
            .address()
            .map_err(|error| format!("tidegate: the admin address: {error}"))?;
        eprintln!("tidegate: health and metrics on {address}{operations}");
        tokio::spawn(admin.serve());
    }
    let on = |kind| signal(kind).map_err(|error| format!("tidegate: {error}"));
    let (mut hangup, mut terminate, mut interrupt) = (
        on(SignalKind::hangup())?,
        on(SignalKind::terminate())?,
        on(SignalKind::interrupt())?,
    );
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut stopping = false;
    eprintln!("tidegate: serving on {}", server.address());
    let engine = node.engine();
    let policy = engine.policy();
    let wanted = policy.server.bounds.connections_max;
    let possible = server.connections_max(policy);
    if possible < wanted {
        eprintln!(
            "tidegate: connections_max is {wanted}, but this process may open files for {possible} only; raise the limit of open files: ulimit -n {}",
            Server::files_for(wanted, policy)
        );
    }
    while !server.is_over() {
        tokio::select! {
            _ = look.tick() => {
                tell(&file.look(node, files));
                for finding in node.findings() {
                    eprintln!("tidegate: {}", file.told(&finding));
                }
            }
            _ = hangup.recv() => tell(&file.reload(node, files)),
            _ = sweep.tick() => node.sweep(),
            _ = terminate.recv() => stop(server, &mut stopping),
            _ = interrupt.recv() => stop(server, &mut stopping),
            () = tokio::time::sleep(Duration::from_millis(50)), if stopping => {}
        }
    }
    Ok(())
}

/// Drains at the first signal, stops at the second.
fn stop(server: &Server, stopping: &mut bool) {
    let phase = if *stopping {
        Phase::Stopped
    } else {
        Phase::Draining
    };
    if !*stopping {
        eprintln!("tidegate: finishing what is under way; a second signal ends it at once");
    }
    *stopping = true;
    server.enter(phase);
}

fn tell(look: &Look) {
    match look {
        Look::Same => {}
        Look::Taken(warnings) => {
            eprintln!("tidegate: the policy was read again and is followed now");
            for warning in warnings {
                eprintln!("tidegate: {warning}");
            }
        }
        Look::Refused(message) => {
            eprintln!("{message}\ntidegate: this policy cannot be followed; the old one stays");
        }
    }
}
