//! Lists the fixtures, so that they are compiled in: on wasm32 there is no file system to read them
//! from.

#![allow(clippy::expect_used, reason = "a build that cannot go on fails")]

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("golden");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(&folder).expect("tests/golden is a folder");
    let mut files: Vec<_> = entries.map(|e| e.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
    files.sort();
    let mut list = String::from(
        "/// Name and text of each fixture.\npub const FIXTURES: &[(&str, &str)] = &[\n",
    );
    for file in files {
        let name = file
            .file_stem()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        writeln!(
            list,
            "    ({name:?}, include_str!({:?})),",
            file.display().to_string()
        )
        .expect("a string");
    }
    list.push_str("];\n");
    fs::write(
        Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("fixtures.rs"),
        list,
    )
    .expect("writable");
}
