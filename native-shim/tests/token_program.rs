//! What operators are told of the keys of tokens: by the program, with the place in the policy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ring::hmac;
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// `{"alg":"HS256"}` and `{"sub":"joe"}`
const SIGNED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UifQ";

fn token(secret: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, SIGNED.as_bytes());
    // 32 bytes are 42 letters and two thirds of one.
    let mut text = format!("{SIGNED}.");
    let bits: Vec<u8> = signature
        .as_ref()
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    for six in bits.chunks(6) {
        let mut letter = 0;
        for position in 0..6 {
            letter = letter << 1 | six.get(position).copied().unwrap_or(0);
        }
        text.push(char::from(LETTERS[usize::from(letter)]));
    }
    text
}

fn policy(folder: &Path, source: &str) -> PathBuf {
    let file = folder.join("tidegate.toml");
    let text = format!(
        r#"[server]
listen = "127.0.0.1:0"
admin = "off"
[client.token]
{source}
[origins.a]
url = "http://127.0.0.1:9"
[pools.main]
origins = ["a"]
[limits.each]
quota = "1/min"
key = ["claim:sub"]
absent = "refuse"
[[routes]]
pool = "main"
limits = ["each"]
"#
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn with_secret(folder: &Path) -> PathBuf {
    policy(
        folder,
        "algorithms = [\"HS256\"]\nsecret_env = \"TOKEN_SECRET\"",
    )
}

/// A served policy, and what it says to operators.
struct Served {
    process: Child,
    lines: BufReader<Box<dyn Read>>,
}

impl Served {
    fn start(policy: &Path, secret: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["serve", "--policy", policy.to_str().unwrap()]);
        command.env_remove("TOKEN_SECRET");
        if let Some(secret) = secret {
            command.env("TOKEN_SECRET", secret);
        }
        let mut process = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr: Box<dyn Read> = Box::new(process.stderr.take().unwrap());
        Self {
            process,
            lines: BufReader::new(stderr),
        }
    }

    /// Waits for a line with a text. The output ends if the process does.
    fn line(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.lines.read_line(&mut line).unwrap();
            assert!(length > 0, "no line with `{text}` came");
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Asks with a token, and returns the status.
    fn status(address: &str, token: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply.split(' ').nth(1).unwrap().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_secret_comes_from_the_environment() {
    let folder = TempDir::new().unwrap();
    let file = with_secret(folder.path());
    let mut served = Served::start(&file, Some(SECRET));
    let line = served.line("serving on ");
    let address = line.rsplit(' ').next().unwrap();
    let (right, wrong) = (token(SECRET), token(&SECRET.replace('0', "1")));
    // The origin is not there.
    assert_eq!(Served::status(address, &right), "502");
    assert_eq!(Served::status(address, &right), "429");
    assert_eq!(Served::status(address, &wrong), "400");
}

#[test]
fn a_secret_that_is_missing_or_short_is_told_with_its_place() {
    let folder = TempDir::new().unwrap();
    let file = with_secret(folder.path());
    for (secret, why) in [
        (None, "it is not set"),
        (Some("short"), "fewer than 32 bytes"),
    ] {
        let mut served = Served::start(&file, secret);
        let line = served.line("TOKEN_SECRET");
        let place = format!(
            "tidegate: {}:6:1: client.token.secret_env: ",
            file.display()
        );
        assert!(line.starts_with(&place) && line.contains(why), "{line}");
    }
}

#[test]
fn keys_that_cannot_be_fetched_are_told_with_their_place() {
    let folder = TempDir::new().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let source = format!("algorithms = [\"ES256\"]\njwks_url = \"http://{closed}/jwks\"");
    let file = policy(folder.path(), &source);
    let mut served = Served::start(&file, None);
    let line = served.line("jwks_url");
    let told = format!(
        "tidegate: {}:6:1: client.token.jwks_url: the keys at http://{closed}/jwks cannot be read: ",
        file.display()
    );
    assert!(line.starts_with(&told), "{line}");
    assert!(
        line.contains("refused") && line.contains("look at this URL"),
        "{line}"
    );
}

#[test]
fn explain_says_what_becomes_of_a_token() {
    let folder = TempDir::new().unwrap();
    let file = with_secret(folder.path());
    let explained = |token: &str| {
        let field = format!("authorization: Bearer {token}");
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["explain", "GET", "http://a/", "-H", &field, "--policy"])
            .arg(&file)
            .env("TOKEN_SECRET", SECRET)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("token"));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let right = explained(&token(SECRET));
    assert_eq!(right, "token      verified, claim sub there");
    assert!(!right.contains("joe"));
    let wrong = explained(&token(&SECRET.replace('0', "1")));
    assert_eq!(wrong, "token      bad signature, claim sub absent");
    assert_eq!(explained("x"), "token      malformed, claim sub absent");
}
