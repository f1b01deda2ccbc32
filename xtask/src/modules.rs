//! Modules of a crate must not import each other in a circle: what lies in one can only be read,
//! tested and changed as a whole.
//!
//! An import is any path to another module of the crate, in a `use` or in code, outside tests. A
//! module that only declares another one does not import it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::shell::{Result, root};
use crate::steps::Outcome::{self, Passed};

/// The crates whose modules are looked at.
const SOURCES: [&str; 3] = ["core/src", "native-shim/src", "workers/src"];

/// The names from the crate's root to a module; none for the root itself.
type Module = Vec<String>;

/// What each module imports.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// Fails if modules of a crate import each other in a circle.
pub(crate) fn check() -> Result<Outcome> {
    let mut found = String::new();
    for source in SOURCES {
        let imports = read_crate(&root().join(source))?;
        for circle in circles(&imports) {
            found.push_str(&describe(source, &circle, &imports));
        }
    }
    if found.is_empty() {
        Ok(Passed)
    } else {
        Err(found)
    }
}

/// Reads what all modules below a directory import.
fn read_crate(directory: &Path) -> Result<Imports> {
    let mut files = Vec::new();
    list(directory, &mut files)?;
    let sources: Vec<(Module, String)> = files
        .iter()
        .map(|file| {
            let text =
                fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok((module_of(directory, file), text))
        })
        .collect::<Result<_>>()?;
    read_modules(&sources)
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let read = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Says which module a file holds. A program's `main.rs` stands beside the library and is a root of
/// its own, which nothing can import.
fn module_of(directory: &Path, file: &Path) -> Module {
    let relative = file
        .strip_prefix(directory)
        .unwrap_or(file)
        .with_extension("");
    let mut names: Module = relative
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if names.last().is_some_and(|last| last == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

fn read_modules(sources: &[(Module, String)]) -> Result<Imports> {
    let known: BTreeSet<Module> = sources.iter().map(|(module, _)| module.clone()).collect();
    let mut imports = Imports::new();
    for (module, text) in sources {
        let file =
            syn::parse_file(text).map_err(|error| format!("module `{}`: {error}", name(module)))?;
        let mut reader = Reader {
            known: &known,
            here: module.clone(),
            found: BTreeSet::new(),
        };
        reader.visit_file(&file);
        reader.found.remove(module);
        imports.insert(module.clone(), reader.found);
    }
    Ok(imports)
}

/// Collects the modules that one file names.
struct Reader<'a> {
    known: &'a BTreeSet<Module>,
    /// Where names are looked up: the file's module, or one inside it.
    here: Module,
    found: BTreeSet<Module>,
}

impl Reader<'_> {
    /// Takes note of a path, as far as it names modules.
    fn note(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let mut module = match first.as_str() {
            "crate" => Module::new(),
            "self" => self.here.clone(),
            "super" => self
                .here
                .split_last()
                .map(|(_, above)| above.to_vec())
                .unwrap_or_default(),
            // A child may be named without `self`.
            child => {
                let mut module = self.here.clone();
                module.push(child.to_owned());
                if !self.known.contains(&module) {
                    return;
                }
                module
            }
        };
        for next in rest {
            if next == "super" {
                module.pop();
                continue;
            }
            module.push(next.clone());
            if !self.known.contains(&module) {
                module.pop();
                break;
            }
        }
        self.found.insert(module);
    }

    fn note_tree(&mut self, before: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.note_tree(before, &path.tree);
                before.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(before, tree);
                }
            }
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                before.push(ident.to_string());
                self.note(before);
                before.pop();
            }
            syn::UseTree::Glob(_) => self.note(before),
        }
    }

    /// Takes note of a path in code. A single name is a local one, or came in by a `use`, or is the
    /// word of a visibility.
    fn note_longer(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.note(path);
        }
    }

    /// Finds the paths in a macro's input, which need not be Rust.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.note_longer(&path);
                        path.clear();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.note_longer(&path);
                    path.clear();
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.note_tokens(group.stream());
                    }
                }
            }
        }
        self.note_longer(&path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_for_tests(&item.attrs) || item.content.is_none() {
            return;
        }
        self.here.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.here.pop();
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.note_tree(&mut Vec::new(), &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names: Vec<String> = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            self.note_longer(&names);
        }
        visit::visit_path(self, path);
    }

    // A visibility is no import.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.note_tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute
            .meta
            .require_list()
            .map(|list| list.tokens.to_string())
            .unwrap_or_default();
        attribute.path().is_ident("cfg") && condition == "test"
    })
}

/// Returns the sets of modules that import each other in circles, each set as large as it is.
fn circles(imports: &Imports) -> Vec<BTreeSet<Module>> {
    let mut left: BTreeSet<&Module> = imports.keys().collect();
    let mut found = Vec::new();
    while let Some(module) = left.pop_first() {
        let reached = reachable(imports, module);
        if !reached.contains(module) {
            continue;
        }
        let circle: BTreeSet<Module> = reached
            .into_iter()
            .filter(|other| reachable(imports, other).contains(module))
            .collect();
        left.retain(|other| !circle.contains(*other));
        found.push(circle);
    }
    found
}

/// Returns all modules that can be reached from one by at least one import.
fn reachable(imports: &Imports, from: &Module) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = imports.get(from).into_iter().flatten().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module.clone()) {
            next.extend(imports.get(module).into_iter().flatten());
        }
    }
    reached
}

fn describe(source: &str, circle: &BTreeSet<Module>, imports: &Imports) -> String {
    let lines = circle.iter().map(|module| {
        let inside: Vec<String> = imports
            .get(module)
            .into_iter()
            .flatten()
            .filter(|other| circle.contains(*other))
            .map(name)
            .collect();
        format!("  {} imports {}\n", name(module), inside.join(", "))
    });
    let lines: String = lines.collect();
    format!(
        "{source}: {} modules import each other in a circle:\n{lines}",
        circle.len()
    )
}

fn name(module: &Module) -> String {
    if module.is_empty() {
        "the root".to_owned()
    } else {
        module.join("::")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports_of(sources: &[(&str, &str)]) -> Imports {
        let split = |name: &str| {
            name.split("::")
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let sources: Vec<(Module, String)> = sources
            .iter()
            .map(|(module, text)| (split(module), (*text).to_owned()))
            .collect();
        read_modules(&sources).expect("they can be read")
    }

    /// Returns what module `a::b` imports, beside `a`, `c` and `c::d`.
    fn imported(text: &str) -> Vec<String> {
        let imports = imports_of(&[("", ""), ("a", ""), ("a::b", text), ("c", ""), ("c::d", "")]);
        imports[&vec!["a".to_owned(), "b".to_owned()]]
            .iter()
            .map(name)
            .collect()
    }

    #[test]
    fn every_way_to_name_a_module_is_an_import() {
        for (text, modules) in [
            ("use crate::c::Thing;", &["c"][..]),
            (
                "use crate::{a, c::{d, Thing as Other}};",
                &["a", "c", "c::d"],
            ),
            ("use super::Thing;", &["a"]),
            ("use super::super::c::d::*;", &["c::d"]),
            ("use crate::Thing;", &["the root"]),
            (
                "fn f() -> crate::c::Thing { crate::c::d::make() }",
                &["c", "c::d"],
            ),
            ("fn f() { assert!(x, crate::c::d::make(1)); }", &["c::d"]),
            ("impl crate::c::Trait for X {}", &["c"]),
            ("mod inner { use super::super::Thing; }", &["a"]),
        ] {
            assert_eq!(imported(text), modules, "{text}");
        }
    }

    #[test]
    fn tests_declarations_visibilities_and_other_crates_are_no_imports() {
        for text in [
            "#[cfg(test)] mod tests { use crate::c::Thing; }",
            "#[cfg(test)] use crate::c::Thing;",
            "pub(in crate::a) fn f() {}",
            "pub(super) fn f() {}",
            "wrap! { pub(crate) struct S; pub(super) struct T; }",
            "use c::Thing;",
            "use std::fmt; fn f() -> fmt::Result { Ok(()) }",
            "use ::c::d;",
        ] {
            assert_eq!(imported(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_module_imports_its_child_only_if_it_names_it() {
        let imports = imports_of(&[
            ("a", "mod b; mod c; pub use b::B;"),
            ("a::b", ""),
            ("a::c", "use super::B;"),
        ]);
        let of_a: Vec<String> = imports[&vec!["a".to_owned()]].iter().map(name).collect();
        assert_eq!(of_a, ["a::b"]);
        assert!(circles(&imports).is_empty());
    }

    #[test]
    fn circles_are_found_whole_and_apart() {
        let imports = imports_of(&[
            ("a", "use crate::b::B;"),
            ("b", "use crate::c::C;"),
            ("c", "use crate::a::A; use crate::d::D;"),
            ("d", "use crate::e::E;"),
            ("e", "use crate::d::D;"),
            ("f", "use crate::a::A;"),
        ]);
        let found: Vec<Vec<String>> = circles(&imports)
            .iter()
            .map(|circle| circle.iter().map(name).collect())
            .collect();
        assert_eq!(found, [vec!["a", "b", "c"], vec!["d", "e"]]);
        let text = describe("x/src", &circles(&imports)[1], &imports);
        assert_eq!(
            text,
            "x/src: 2 modules import each other in a circle:\n  d imports e\n  e imports d\n"
        );
    }
}
