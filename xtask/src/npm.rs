//! The npm packages: Node, workerd with its simulator, esbuild and binaryen.

use std::fs;

use serde_json::Value;

use crate::shell::{Result, at, command, root, run};

/// Installs exactly what `package-lock.json` names, unless that is there.
pub(crate) fn install() -> Result<()> {
    let lock = root().join("package-lock.json");
    let wanted = fs::read(&lock).map_err(at(&lock))?;
    // npm writes down there what it has installed, by whatever command.
    let present = fs::read(root().join("node_modules/.package-lock.json")).unwrap_or_default();
    if is_present(&wanted, &present) {
        return Ok(());
    }
    println!("    installing npm packages");
    run(command("npm").args(["ci", "--loglevel=error", "--no-audit", "--no-fund"])).map_err(
        |error| {
            format!("{error}\nNode 20 or newer with npm is needed to start: https://nodejs.org")
        },
    )
}

/// Says whether all packages of one lock file are in another one, but for those that are for other
/// machines, and nothing else is.
fn is_present(wanted: &[u8], present: &[u8]) -> bool {
    let packages = |text: &[u8]| match serde_json::from_slice::<Value>(text)
        .ok()?
        .get_mut("packages")?
        .take()
    {
        Value::Object(mut packages) => {
            // The project itself.
            packages.remove("");
            Some(packages)
        }
        _ => None,
    };
    let (Some(wanted), Some(present)) = (packages(wanted), packages(present)) else {
        return false;
    };
    let optional = |package: &Value| package.get("optional") == Some(&Value::Bool(true));
    present.keys().all(|name| wanted.contains_key(name))
        && wanted
            .iter()
            .all(|(name, package)| match present.get(name) {
                None => optional(package),
                Some(there) => there.get("version") == package.get("version"),
            })
}

#[cfg(test)]
mod tests {
    use super::is_present;

    #[test]
    fn what_is_there_is_told_from_what_is_not() {
        let wanted =
            br#"{"packages": {"": {"name": "p"}, "a": {"version": "1"}, "b": {"version": "2", "optional": true}}}"#;
        for (present, expected) in [
            (&br#"{"packages": {"a": {"version": "1"}}}"#[..], true),
            (
                br#"{"packages": {"a": {"version": "1"}, "b": {"version": "2"}}}"#,
                true,
            ),
            (br#"{"packages": {"a": {"version": "3"}}}"#, false),
            (br#"{"packages": {"b": {"version": "2"}}}"#, false),
            (
                br#"{"packages": {"a": {"version": "1"}, "c": {"version": "1"}}}"#,
                false,
            ),
            (b"", false),
        ] {
            assert_eq!(
                is_present(wanted, present),
                expected,
                "{}",
                String::from_utf8_lossy(present)
            );
        }
    }
}
