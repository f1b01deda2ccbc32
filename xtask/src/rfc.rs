//! The requirements of RFC 9111 in `rfc/9111.toml`, and where each is met and tested:
//! `rfc/README.md`, made of the citations.
//!
//! A citation is an id in square brackets, in a comment of the code or of a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::shell::{Result, at, root};
use crate::steps::Outcome::{self, Passed};

const REQUIREMENTS: &str = "rfc/9111.toml";
const TABLE: &str = "rfc/README.md";

/// Where citations are.
const FOLDERS: [&str; 4] = ["core/src", "native-shim", "tests", "workers"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rfc {
    /// Titles by number.
    sections: BTreeMap<String, String>,
    requirement: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    level: String,
    text: String,
    /// Why it is not met, or does not apply.
    exception: Option<String>,
    /// Where it is not met on purpose.
    limit: Option<String>,
    /// What is missing.
    open: Option<String>,
}

impl Requirement {
    fn section(&self) -> &str {
        self.id
            .strip_prefix("9111-")
            .and_then(|rest| rest.rsplit_once('-'))
            .map_or("", |(section, _)| section)
    }
}

/// The files that cite a requirement.
#[derive(Debug, Default, PartialEq)]
struct Cited {
    code: BTreeSet<String>,
    tests: BTreeSet<String>,
}

type Citations = BTreeMap<String, Cited>;

/// Writes the table anew.
pub(crate) fn write() -> Result<()> {
    let path = root().join(TABLE);
    fs::write(&path, table()?).map_err(at(&path))
}

/// Fails when a citation is missing or wrong, or the table is not made of the present ones.
pub(crate) fn check() -> Result<Outcome> {
    let path = root().join(TABLE);
    if table()? != fs::read_to_string(&path).map_err(at(&path))? {
        return Err(format!(
            "{TABLE} is not what the citations say now: run `cargo xtask rfc`"
        ));
    }
    Ok(Passed)
}

fn table() -> Result<String> {
    let path = root().join(REQUIREMENTS);
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let rfc: Rfc = toml::from_str(&text).map_err(|error| format!("{REQUIREMENTS}: {error}"))?;
    let mut citations = Citations::new();
    for folder in FOLDERS {
        collect(&root().join(folder), folder, &mut citations)?;
    }
    let wrong = mistakes(&rfc, &citations);
    if wrong.is_empty() {
        Ok(rendered(&rfc, &citations))
    } else {
        Err(wrong.join("\n"))
    }
}

/// Adds the citations of the files in a folder, which is `name` in the repository.
fn collect(folder: &Path, name: &str, citations: &mut Citations) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = format!("{name}/{file}");
        if path.is_dir() && !["build", "node_modules", "target"].contains(&&*file) {
            collect(&path, &name, citations)?;
        } else if [".rs", ".mjs", ".toml"]
            .iter()
            .any(|ending| file.ends_with(ending))
        {
            add(
                &name,
                &fs::read_to_string(&path).map_err(at(&path))?,
                citations,
            );
        }
    }
    Ok(())
}

/// Adds the citations of one file. What follows `#[cfg(test)]` is a test.
fn add(name: &str, text: &str, citations: &mut Citations) {
    let is_test = name
        .split('/')
        .any(|part| part == "tests" || part == "tests.rs")
        || name.ends_with(".test.mjs");
    let (code, tests) = if is_test {
        ("", text)
    } else {
        text.split_once("\n#[cfg(test)]").unwrap_or((text, ""))
    };
    for id in ids(code) {
        citations
            .entry(id)
            .or_default()
            .code
            .insert(name.to_owned());
    }
    for id in ids(tests) {
        citations
            .entry(id)
            .or_default()
            .tests
            .insert(name.to_owned());
    }
}

fn ids(text: &str) -> impl Iterator<Item = String> {
    let rest = text.split("[9111-").skip(1);
    rest.filter_map(|rest| rest.split_once(']'))
        .map(|(id, _)| format!("9111-{id}"))
}

fn mistakes(rfc: &Rfc, citations: &Citations) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    let none = Cited::default();
    for requirement in &rfc.requirement {
        let id = requirement.id.as_str();
        let cited = citations.get(id).unwrap_or(&none);
        if !known.insert(id) || !rfc.sections.contains_key(requirement.section()) {
            wrong.push(format!(
                "{REQUIREMENTS}: {id} is there twice, or its section has no title"
            ));
        }
        if !["MUST", "MUST NOT", "SHOULD", "SHOULD NOT"].contains(&&*requirement.level) {
            wrong.push(format!(
                "{REQUIREMENTS}: {id}: `{}` is no level",
                requirement.level
            ));
        }
        match (&requirement.exception, &requirement.open) {
            (Some(_), _) if *cited != none => {
                wrong.push(format!("{id} is an exception, but is cited"));
            }
            (None, None) if cited.code.is_empty() => {
                wrong.push(format!("{id} is not cited in the code"));
            }
            (None, None) if cited.tests.is_empty() => {
                wrong.push(format!("{id} is not cited in a test"));
            }
            (Some(_), _) | (None, Some(_) | None) => {}
        }
    }
    for (id, cited) in citations
        .iter()
        .filter(|(id, _)| !known.contains(id.as_str()))
    {
        let files: Vec<&str> = cited
            .code
            .iter()
            .chain(&cited.tests)
            .map(String::as_str)
            .collect();
        wrong.push(format!(
            "{id} is cited in {}, but {REQUIREMENTS} has no such requirement",
            files.join(", ")
        ));
    }
    wrong
}

fn rendered(rfc: &Rfc, citations: &Citations) -> String {
    let of = |why: fn(&Requirement) -> Option<&String>| {
        let rows = rfc
            .requirement
            .iter()
            .filter_map(move |r| why(r).map(|reason| (r, reason)));
        rows.collect::<Vec<(&Requirement, &String)>>()
    };
    let (exceptions, limits, open) = (
        of(|r| r.exception.as_ref()),
        of(|r| r.limit.as_ref()),
        of(|r| r.open.as_ref()),
    );
    let mut text = format!(
        "# RFC 9111, requirement by requirement\n\n\
         Written by `cargo xtask rfc` from `9111.toml`, which has the requirements in our words, and from the citations in code and tests.\n\n\
         {} requirements: {} cited in code and tests, {} exceptions, {} open. Of those cited, {} have a limit.\n",
        rfc.requirement.len(),
        rfc.requirement.len() - exceptions.len() - open.len(),
        exceptions.len(),
        open.len(),
        limits.len(),
    );
    let lists = [
        (
            "Exceptions",
            "Not met on purpose, or nothing that this cache could do.",
            exceptions,
        ),
        ("Limits", "Met, but for this.", limits),
        ("Open", "Not met, or not in every case.", open),
    ];
    for (title, about, rows) in lists.into_iter().filter(|(_, _, rows)| !rows.is_empty()) {
        _ = write!(
            text,
            "\n## {title}\n\n{about}\n\n| id | level | requirement | reason |\n|---|---|---|---|\n"
        );
        for (requirement, reason) in rows {
            _ = writeln!(
                text,
                "| {} | {} | {} | {reason} |",
                requirement.id, requirement.level, requirement.text
            );
        }
    }
    let mut section = "";
    for requirement in &rfc.requirement {
        if requirement.section() != section {
            section = requirement.section();
            let title = rfc.sections.get(section).map_or("", String::as_str);
            _ = write!(
                text,
                "\n## {section} {title}\n\n| id | level | requirement | code | tests |\n|---|---|---|---|---|\n"
            );
        }
        let Requirement {
            id,
            level,
            text: what,
            ..
        } = requirement;
        let cited = citations.get(id);
        let code = if requirement.exception.is_some() {
            "exception".into()
        } else {
            links(cited.map(|c| &c.code))
        };
        let open = if requirement.open.is_some() {
            " (open)"
        } else {
            ""
        };
        _ = writeln!(
            text,
            "| {id} | {level} | {what} | {code}{open} | {} |",
            links(cited.map(|c| &c.tests))
        );
    }
    text
}

fn links(files: Option<&BTreeSet<String>>) -> String {
    let links = files
        .into_iter()
        .flatten()
        .map(|file| format!("[{}](../{file})", short(file)));
    links.collect::<Vec<_>>().join(", ")
}

/// The name of a file without what they all have in common.
fn short(file: &str) -> &str {
    file.strip_prefix("core/src/")
        .or_else(|| file.strip_prefix("tests/golden/"))
        .unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::{Citations, Rfc, add, mistakes};

    /// Says what is wrong with a requirement when the file `a.rs` has this text.
    fn check(requirement: &str, text: &str, expected: &[&str]) {
        let rfc = format!(
            "[sections]\n\"4\" = \"t\"\n[[requirement]]\ntext = \"t\"\nlevel = \"MUST\"\n{requirement}\n"
        );
        let rfc: Rfc = toml::from_str(&rfc).unwrap();
        let mut citations = Citations::new();
        add("a.rs", &text.replace('<', "["), &mut citations);
        assert_eq!(mistakes(&rfc, &citations), expected);
    }

    #[test]
    fn a_requirement_needs_code_and_test_unless_it_is_an_exception() {
        let (code, test) = ("// <9111-4-1].", "\n#[cfg(test)]\n/// <9111-4-1]");
        let id = "id = \"9111-4-1\"";
        check(id, &format!("{code}{test}"), &[]);
        check(id, code, &["9111-4-1 is not cited in a test"]);
        check(id, test, &["9111-4-1 is not cited in the code"]);
        check(&format!("{id}\nexception = \"e\""), "", &[]);
        check(
            &format!("{id}\nexception = \"e\""),
            code,
            &["9111-4-1 is an exception, but is cited"],
        );
        check(&format!("{id}\nopen = \"o\""), code, &[]);
    }

    #[test]
    fn an_unknown_id_is_wrong() {
        let both = "<9111-4-1] <9111-4-2]\n#[cfg(test)] <9111-4-1]";
        check(
            "id = \"9111-4-1\"",
            both,
            &["9111-4-2 is cited in a.rs, but rfc/9111.toml has no such requirement"],
        );
    }
}
