//! `tidegate check --compile`: a policy as the Worker reads it.

#![allow(clippy::unwrap_used, reason = "tests may fail")]

use std::path::Path;
use std::process::{Command, Output};

use tidegate_core::Policy;

const POLICY: &str = r#"
[origins.o]
url = "http://127.0.0.1:9"
[pools.main]
origins = ["o"]
[[routes]]
pool = "main"
"#;

/// Runs `tidegate check --compile` in a folder that has the policy.
fn compile(folder: &Path, arguments: &[&str]) -> Output {
    std::fs::write(folder.join("p.toml"), POLICY).unwrap();
    std::fs::write(folder.join("wrong.toml"), "[[routes]]\npool = \"x\"\n").unwrap();
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .args(["check", "--compile"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_valid_policy_is_written_and_named_by_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let said = compile(folder.path(), &["p.toml", "-o", "p.policy"]);
    assert!(said.status.success());
    let written = std::fs::read_to_string(folder.path().join("p.policy")).unwrap();
    let policy = Policy::parse("p.toml", POLICY).unwrap();
    assert_eq!(Policy::read_published(&written), Ok(policy.clone()));
    let published = policy.publish(POLICY);
    assert_eq!(written, published.text);
    let hash = format!("compiled into format 4 from SHA-256 {}\n", published.source);
    assert_eq!(text(&said.stdout), format!("p.toml is valid\n{hash}"));
    let json = compile(folder.path(), &["p.toml", "--json", "-o", "p.policy"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let compiled =
        serde_json::json!({ "format": 4, "sha256": published.source, "file": "p.policy" });
    assert_eq!(json["compiled"], compiled);
}

#[test]
fn without_a_file_it_goes_to_standard_output_alone() {
    let folder = tempfile::tempdir().unwrap();
    let said = compile(folder.path(), &["p.toml"]);
    let policy = Policy::parse("p.toml", POLICY).unwrap();
    assert_eq!(text(&said.stdout), policy.publish(POLICY).text);
    assert!(text(&said.stderr).starts_with("p.toml is valid\n"));
    let json = compile(folder.path(), &["p.toml", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["compiled"]["text"], policy.publish(POLICY).text);
}

#[test]
fn nothing_is_written_of_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let said = compile(folder.path(), &["wrong.toml", "-o", "p.policy"]);
    assert!(!said.status.success());
    assert!(text(&said.stdout).contains("wrong.toml:2:1: routes[0].pool"));
    assert!(!folder.path().join("p.policy").exists());
}
