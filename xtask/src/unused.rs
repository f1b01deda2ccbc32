//! Takes out of a bound module what its JavaScript does not call.
//!
//! workers-rs exports classes for all that a Worker may do, and whatever is exported stays in a
//! module.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::shell::{Result, at, command, output};

/// Keeps the exports that the JavaScript names, and what they need.
pub(crate) fn drop_exports(module: &Path, javascript: &Path, features: &[&str]) -> Result<()> {
    let text = fs::read_to_string(javascript).map_err(at(javascript))?;
    let graph = module.with_extension("exports.json");
    fs::write(&graph, reaches(&members(&text)).to_string()).map_err(at(&graph))?;
    let mut tool = command("wasm-metadce");
    tool.args(features).arg("--graph-file").arg(&graph);
    // The optimiser orders functions by their names.
    tool.arg("--debuginfo").arg(module).arg("-o").arg(module);
    // It prints what it has taken out.
    match output(&mut tool) {
        Some(_) => Ok(()),
        None => Err(format!("{}: wasm-metadce failed", module.display())),
    }
}

/// Says to `wasm-metadce` that the world outside calls these exports. It does not mind names that
/// no export has.
fn reaches(names: &BTreeSet<&str>) -> Value {
    let exports = names
        .iter()
        .map(|name| json!({"name": format!("export {name}"), "export": name}));
    let outside = json!({
        "name": "outside",
        "root": true,
        "reaches": names.iter().map(|name| format!("export {name}")).collect::<Vec<_>>(),
    });
    exports.chain([outside]).collect()
}

/// Returns the names of all members that a text speaks of.
fn members(text: &str) -> BTreeSet<&str> {
    let is_part_of_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
    text.split('.')
        .skip(1)
        .filter_map(|rest| rest.split(|letter| !is_part_of_name(letter)).next())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_all_names_after_a_dot() {
        let names = members("a.b1(wasm.__wbg_c$d.e) 1.5 ... x f");
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["5", "__wbg_c$d", "b1", "e"]
        );
    }
}
