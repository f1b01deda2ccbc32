//! The program as users run it: processes, signals, files, standard output.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest wait for anything that a process does.
const PATIENCE: Duration = Duration::from_secs(20);

const TOKEN: &str = "secret-token";

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .output()
        .unwrap()
}

/// A served policy.
struct Served {
    process: Child,
    lines: mpsc::Receiver<String>,
    address: String,
}

impl Served {
    fn start(policy: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--policy", policy.to_str().unwrap()])
            .env("TIDEGATE_ADMIN_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        for stream in [
            Box::new(process.stdout.take().unwrap()) as Box<dyn Read + Send>,
            Box::new(process.stderr.take().unwrap()),
        ] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(stream)
                    .lines()
                    .map_while(Result::ok)
                    .try_for_each(|l| sender.send(l))
            });
        }
        let mut served = Self {
            process,
            lines,
            address: String::new(),
        };
        let line = served.line("serving on ");
        line.rsplit(' ')
            .next()
            .unwrap()
            .clone_into(&mut served.address);
        served
    }

    /// Waits for a line that contains a text.
    fn line(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let line = self
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("no line with `{text}` came"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // The admin address is asked by address.
    let host = if matches!(path, "/healthz" | "/metrics") {
        address
    } else {
        "shop.example"
    };
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nx-user-id: secret-user\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// An origin that says hello.
fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
            );
        }
    });
    address
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

fn policy(origin: &str, admin: &str, more: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"{admin}\"\nthreads = 1\n[origins.a]\nurl = \"http://{origin}\"\n\
         [pools.main]\norigins = [\"a\"]\n[cache.c]\nmode = \"override\"\nttl = \"60s\"\n\
         [limits.per-user]\nquota = \"1000/min\"\nkey = [\"user\"]\n\
         [[routes]]\nname = \"first\"\npath_prefix = \"/\"\npool = \"main\"\ncache = \"c\"\nlimits = [\"per-user\"]\n{more}"
    )
}

#[test]
fn it_serves_reloads_logs_counts_and_drains() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    let (origin, admin) = (origin(), free_address());
    std::fs::write(&file, policy(&origin, &admin, "")).unwrap();
    let mut served = Served::start(&file);

    assert!(get(&served.address, "/a?token=secret-query").ends_with("hello"));
    assert!(get(&served.address, "/a?token=secret-query").contains("; hit"));
    let record: serde_json::Value =
        serde_json::from_str(&served.line("\"outcome\":\"hit\"")).unwrap();
    assert_eq!(
        (&record["route"], &record["status"], &record["path"]),
        (&"first".into(), &200.into(), &"/a".into())
    );
    assert!(!record.to_string().contains("secret"), "{record}");

    assert!(get(&admin, "/healthz").trim_end().ends_with("\r\nok"));
    let metrics = get(&admin, "/metrics");
    for wanted in [
        "tidegate_requests_total{",
        "cache=\"hit\"",
        "tidegate_store_entries 1",
        "outcome=\"allowed\"",
    ] {
        assert!(metrics.contains(wanted), "{wanted}\n{metrics}");
    }
    assert!(!metrics.contains("secret"));

    std::fs::write(&file, "[server]\nlisten = 7\n").unwrap();
    served.line("tidegate.toml:2:10: server.listen:");
    served.line("the old one stays");
    std::fs::write(
        &file,
        policy(&origin, &admin, "").replace("\"first\"", "\"second\""),
    )
    .unwrap();
    served.signal("HUP");
    served.line("followed now");
    assert!(
        get(&served.address, "/a?token=secret-query").contains("; hit"),
        "what was stored stays"
    );
    served.line("\"route\":\"second\"");

    served.signal("TERM");
    let ended = served.process.wait().unwrap();
    assert!(ended.success(), "{ended}");
}

#[test]
fn purge_tells_a_running_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    let (origin, admin) = (origin(), free_address());
    std::fs::write(&file, policy(&origin, &admin, "")).unwrap();
    let served = Served::start(&file);
    let purge_at = |address: &str, token: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .args(["purge", "--admin", address])
            .args(arguments)
            .env_remove("TIDEGATE_ADMIN_TOKEN");
        let output = command
            .envs(token.map(|token| ("TIDEGATE_ADMIN_TOKEN", token)))
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let purge = |token: Option<&str>, arguments: &[&str]| purge_at(&admin, token, arguments);
    get(&served.address, "/a");
    assert!(get(&served.address, "/a").contains("; hit"));
    for (address, part) in [
        (&*served.address, "nothing was purged"),
        ("https://a.example", "HOST:PORT"),
    ] {
        let (success, told) = purge_at(address, Some(TOKEN), &["--everything"]);
        assert!(!success && told.contains(part), "{told}");
    }
    for (token, arguments, part) in [
        (
            None,
            &["--everything"][..],
            "TIDEGATE_ADMIN_TOKEN is not set",
        ),
        (Some("wrong"), &["--everything"], "Send Authorization"),
        (Some(TOKEN), &[], "nothing is named"),
        (Some(TOKEN), &["--tag", "a b"], "tags[0]"),
    ] {
        let (success, told) = purge(token, arguments);
        assert!(!success && told.contains(part), "{arguments:?}: {told}");
    }
    assert!(get(&served.address, "/a").contains("; hit"));
    let url = ["--url", "http://shop.example/a", "--tag", "b"];
    let (success, told) = purge_at(&format!("http://{admin}/"), Some(TOKEN), &url);
    assert!(success && told.contains("\"purges\":2"), "{told}");
    assert!(get(&served.address, "/a").contains("fwd=uri-miss"));
}

#[test]
fn check_says_where_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    let name = file.to_str().unwrap();
    std::fs::write(
        &file,
        policy("127.0.0.1:9", "off", "[[routes]]\npool = \"nope\"\n"),
    )
    .unwrap();
    let said = tidegate(&["check", name]);
    assert!(!said.status.success());
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(
        text.contains(
            "p.toml:22:1: routes[1].pool: there is no pool named `nope`; defined are: main"
        ),
        "{text}"
    );
    std::fs::write(
        &file,
        policy("127.0.0.1:9", "off", "[[routes]]\npool = \"main\"\n"),
    )
    .unwrap();
    assert!(tidegate(&["check", name]).status.success());
    let said = tidegate(&["check", name, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&json["valid"], json["errors"].as_array().map(Vec::len)),
        (&true.into(), Some(0))
    );
}

#[test]
fn a_wrong_policy_is_told_alike_by_all_commands() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    let name = file.to_str().unwrap();
    std::fs::write(
        &file,
        policy(
            "127.0.0.1:9",
            "off",
            "[[routes]]\npool = \"nope\"\nretry = \"no\"\n",
        ),
    )
    .unwrap();
    let checked = String::from_utf8(tidegate(&["check", name]).stdout).unwrap();
    assert!(
        checked.ends_with("p.toml is not valid: 2 errors\n"),
        "{checked}"
    );
    assert_eq!(refused_to_serve(&file), checked);
    let explained = tidegate(&["explain", "GET", "http://shop.example/", "--policy", name]);
    assert_eq!(String::from_utf8(explained.stderr).unwrap(), checked);
}

/// Writes a certificate that was valid in these years, and its key.
fn write_identity(folder: &Path, name: &str, years: (i32, i32)) {
    let mut parameters = rcgen::CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

#[test]
fn check_opens_the_files_that_serve_opens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    let name = file.to_str().unwrap();
    write_identity(folder.path(), "good", (2020, 2090));
    write_identity(folder.path(), "other", (2020, 2090));
    write_identity(folder.path(), "old", (2001, 2002));
    write_identity(folder.path(), "early", (2080, 2090));
    std::fs::write(folder.path().join("text.pem"), "no certificate").unwrap();
    let server = |certificate: &str, key: &str| {
        format!("[server.tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")
    };
    let origin = |tls: &str| {
        format!(
            "[origins.b]\nurl = \"https://b.example\"\ntls = {{ {tls} }}\n[pools.b]\norigins = [\"b\"]\n[[routes]]\npool = \"b\"\n"
        )
    };
    let rest = "[origins.a]\nurl = \"http://a.example\"\n[pools.main]\norigins = [\"a\"]\n[[routes]]\npath_prefix = \"/a/\"\npool = \"main\"\n";
    for (more, valid, part) in [
        (server("good.pem", "good.key"), true, ""),
        (
            server("nope.pem", "good.key"),
            false,
            "p.toml:2:1: server.tls.certificate: ",
        ),
        (
            server("good.pem", "nope.key"),
            false,
            "p.toml:3:1: server.tls.key: ",
        ),
        (
            server("text.pem", "good.key"),
            false,
            "no certificate in it",
        ),
        (server("good.pem", "good.pem"), false, "server.tls.key: "),
        (server("good.pem", "other.key"), false, "server.tls.key: "),
        (
            server("good.pem", "other.key"),
            false,
            "does not belong to the certificate good.pem",
        ),
        (server("old.pem", "old.key"), true, "expired"),
        (server("early.pem", "early.key"), true, "not valid before"),
        (
            origin("ca = \"good.pem\", certificate = \"good.pem\", key = \"good.key\""),
            true,
            "",
        ),
        (origin("ca = \"nope.pem\""), false, "origins.b.tls.ca: "),
        (
            origin("certificate = \"nope.pem\", key = \"good.key\""),
            false,
            "origins.b.tls.certificate: ",
        ),
        (
            origin("certificate = \"good.pem\", key = \"nope.key\""),
            false,
            "origins.b.tls.key: ",
        ),
        (
            origin("certificate = \"good.pem\", key = \"other.key\""),
            false,
            "origins.b.tls.key: ",
        ),
        (origin("ca = \"old.pem\""), true, "origins.b.tls.ca: "),
    ] {
        // A default route comes last.
        let text = if more.starts_with("[server") {
            format!("{more}{rest}")
        } else {
            format!("{rest}{more}")
        };
        std::fs::write(&file, text).unwrap();
        let said = tidegate(&["check", name]);
        let text = String::from_utf8(said.stdout).unwrap();
        assert!(
            said.status.success() == valid && text.contains(part),
            "{more}\n{text}"
        );
        let strict = tidegate(&["check", name, "--strict"]);
        assert!(!part.contains("expired") || !strict.status.success());
        assert!(
            tidegate(&["check", name, "--no-files"]).status.success(),
            "{more}"
        );
    }
}

/// Starts a process that must end by itself, and returns what it said.
fn refused_to_serve(policy: &Path) -> String {
    let said = tidegate(&["serve", "--policy", policy.to_str().unwrap()]);
    assert!(!said.status.success());
    String::from_utf8(said.stderr).unwrap()
}

#[test]
fn a_port_in_use_is_told_and_one_that_was_used_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (origin, listen, admin) = (origin(), free_address(), free_address());
    let write = |name: &str, listen: &str, admin: &str| {
        let file = folder.path().join(name);
        let text = policy(&origin, admin, "")
            .replace("127.0.0.1:0", listen)
            .replace("threads = 1", "threads = 3");
        std::fs::write(&file, text).unwrap();
        file
    };
    let file = write("first.toml", &listen, &admin);
    let first = Served::start(&file);
    let told = refused_to_serve(&write("second.toml", &listen, "off"));
    assert!(
        told.contains(&listen) && told.contains("[server] listen"),
        "{told}"
    );
    let told = refused_to_serve(&write("third.toml", "127.0.0.1:0", &admin));
    assert!(
        told.contains(&admin) && told.contains("[server] admin"),
        "{told}"
    );
    assert!(!told.contains("serving on"), "{told}");
    for _ in 0..20 {
        assert!(get(&listen, "/a").ends_with("hello"));
    }
    // Killed in the middle of a connection: what is left of that does not hold up the next process.
    let open = TcpStream::connect(&listen).unwrap();
    drop(first);
    let again = Served::start(&file);
    assert!(get(&listen, "/a").ends_with("hello"));
    drop((open, again));
}

#[test]
fn too_few_files_are_told_with_the_number_that_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    let text = policy(&origin(), "off", "")
        .replace("threads = 1", "threads = 1\nconnections_max = 4000000000");
    std::fs::write(&file, text).unwrap();
    let served = Served::start(&file);
    let line = served.line("connections_max is 4000000000");
    assert!(line.ends_with("ulimit -n 8000000128"), "{line}");
}

#[test]
fn a_process_that_drains_leaves_its_ports_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    let (listen, admin) = (free_address(), free_address());
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = policy(&origin.local_addr().unwrap().to_string(), &admin, "")
        .replace("127.0.0.1:0", &listen);
    std::fs::write(&file, text).unwrap();
    let mut old = Served::start(&file);
    let under_way = std::thread::spawn({
        let listen = listen.clone();
        move || get(&listen, "/slow")
    });
    let (mut asked, _) = origin.accept().unwrap();
    old.signal("TERM");
    old.line("finishing what is under way");
    for address in [&listen, &admin] {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < until, "{address} stays open");
            std::thread::yield_now();
        }
    }
    let new = Served::start(&file);
    assert!(get(&admin, "/healthz").ends_with("ok\n"));
    assert!(
        old.process.try_wait().unwrap().is_none(),
        "the old one still finishes"
    );
    asked
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
        .unwrap();
    assert!(under_way.join().unwrap().ends_with("late"));
    assert!(old.process.wait().unwrap().success());
    drop(new);
}

#[test]
fn explain_tells_what_would_happen() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/demo.toml");
    let url = "https://shop.example/api/rates?utm_source=x";
    let said = tidegate(&[
        "explain",
        "GET",
        url,
        "--policy",
        demo,
        "-H",
        "X-User-Id: ann",
        "--client",
        "203.0.113.9",
        "--json",
    ]);
    let report: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&report["route"], &report["limits"][0]["remaining"]),
        (&"api".into(), &4.into())
    );
    assert_eq!(
        (&report["cache"]["profile"], &report["cache"]["outcome"]),
        (&"api".into(), &"miss".into())
    );
    let readable = tidegate(&["explain", "GET", url, "--policy", demo]);
    let text = String::from_utf8(readable.stdout).unwrap();
    assert!(text.contains("would be stored for 2 s"), "{text}");
    let readable = tidegate(&[
        "explain",
        "GET",
        url,
        "--policy",
        demo,
        "-H",
        "Cookie: auth_token=1",
    ]);
    let text = String::from_utf8(readable.stdout).unwrap();
    assert!(
        text.contains("bypass (cookie)") && text.contains("per-user: allowed"),
        "{text}"
    );
}

#[test]
fn explain_asks_for_a_whole_url() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/demo.toml");
    for url in ["/api/rates", "*"] {
        let said = tidegate(&["explain", "GET", url, "--policy", demo]);
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(
            !said.status.success() && text.contains("such as https://shop.example/api/rates"),
            "{url}: {text}"
        );
    }
    let said = tidegate(&[
        "explain",
        "GET",
        "/api/rates",
        "--policy",
        demo,
        "-H",
        "Host: shop.example",
    ]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.status.success() && text.contains("http://shop.example/api/rates"),
        "{text}"
    );
}

#[test]
fn the_demo_shows_every_chapter() {
    let ports = [8080, 9001, 9002, 9900];
    if let Some(busy) = ports
        .iter()
        .find(|port| TcpListener::bind(("127.0.0.1", **port)).is_err())
    {
        println!("SKIPPED: the demo needs port {busy}, which something else uses");
        return;
    }
    let said = tidegate(&["demo", "--once"]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&said.stderr)
    );
    for wanted in [
        "miss, stored",
        "hit,",
        "fetched anew in the background",
        "(background)",
        "limit_exceeded",
        "us answered 200",
        "eu answered 503, us answered 200",
        "eu unreachable",
        "its circuit is now open",
        "eu skipped: circuit open",
        "its circuit is now closed",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
}
