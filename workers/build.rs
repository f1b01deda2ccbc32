//! Compiles the policy that is built in.

use std::path::Path;
use std::{env, fs};

use tidegate_core::Policy;

const FILE: &str = "examples/edge.toml";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(&env::var("CARGO_MANIFEST_DIR")?)
        .join("..")
        .join(FILE);
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| format!("{FILE}: {error}"))?;
    match Policy::parse(FILE, &text) {
        Ok(policy) => {
            let published = Path::new(&env::var("OUT_DIR")?).join("policy");
            fs::write(published, policy.publish(&text).text)?;
        }
        Err(error) => {
            for problem in error.problems {
                println!("cargo::error={problem}");
            }
        }
    }
    Ok(())
}
