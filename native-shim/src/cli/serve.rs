//! `tidegate serve`: the proxy, its admin address, its log, and its policy file watched.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tidegate::{Admin, Look, Node, Phase, PolicyFile, Server, TlsFiles};
use tokio::signal::unix::{SignalKind, signal};

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
    let listen = policy.server.listen.clone();
    let node = Arc::new(Node::with_random_seed(policy));
    let server =
        Server::start(&node, &files).map_err(|error| format!("tidegate: cannot serve on {listen}: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("tidegate: {error}"))?;
    write_log(&node)?;
    let outcome = runtime.block_on(look_after(&node, &files, file, &server));
    // What runs here, such as a sweep, needs no end of its own.
    drop(runtime);
    if outcome.is_ok() {
        server.join();
    }
    node.access_log.flush(&mut io::stdout().lock());
    outcome
}

/// Starts the thread that writes the access log, so that a slow reader of it holds up nobody else.
fn write_log(node: &Arc<Node>) -> Result<(), String> {
    let node = Arc::clone(node);
    let thread = std::thread::Builder::new().name("tidegate-log".into()).spawn(move || {
        loop {
            std::thread::sleep(FLUSH_EVERY);
            node.access_log.flush(&mut io::stdout().lock());
        }
    });
    thread.map(drop).map_err(|error| format!("tidegate: {error}"))
}

/// Does everything besides serving, until the server has ended.
async fn look_after(
    node: &Arc<Node>,
    files: &Arc<TlsFiles>,
    mut file: PolicyFile,
    server: &Server,
) -> Result<(), String> {
    if let Some(address) = &node.engine().policy().server.admin {
        let token = super::admin_token();
        let operations = if token.is_some() { "" } else { "; no operations: TIDEGATE_ADMIN_TOKEN is not set" };
        let admin = Admin::bind(address, Arc::clone(node), files, token, server.phase()).await;
        let admin = admin.map_err(|error| format!("tidegate: cannot listen on {address}: {error}"))?;
        eprintln!("tidegate: health and metrics on {address}{operations}");
        tokio::spawn(admin.serve());
    }
    let on = |kind| signal(kind).map_err(|error| format!("tidegate: {error}"));
    let (mut hangup, mut terminate, mut interrupt) =
        (on(SignalKind::hangup())?, on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut stopping = false;
    eprintln!("tidegate: serving on {}", server.address());
    let (wanted, possible) = (node.engine().policy().server.bounds.connections_max, server.connections_max());
    if possible < wanted {
        eprintln!(
            "tidegate: connections_max is {wanted}, but this process may open files for {possible} only; raise the limit (ulimit -n)"
        );
    }
    while !server.is_over() {
        tokio::select! {
            _ = look.tick() => tell(&file.look(node, files)),
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
    let phase = if *stopping { Phase::Stopped } else { Phase::Draining };
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
