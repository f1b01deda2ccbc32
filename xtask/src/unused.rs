//! Takes out of a bound module what nobody calls.
//!
//! workers-rs exports classes for all that a Worker may do, and whatever is exported stays in a
//! module. Those that this Worker does not have are cut out of the JavaScript here, and
//! then every export that the JavaScript does not name out of the wasm.

use std::fs;
use std::path::Path;

use crate::shell::{Result, at};

/// Classes for what this Worker does not use: streams made by Rust, containers and the like.
const CLASSES: [&str; 6] = [
    "ContainerStartupOptions",
    "IntoUnderlyingByteSource",
    "IntoUnderlyingSink",
    "IntoUnderlyingSource",
    "MinifyConfig",
    "R2Range",
];

/// Cuts the unused classes out of the JavaScript that wasm-bindgen has written.
pub(crate) fn cut_classes(path: &Path) -> Result<()> {
    let mut text = fs::read_to_string(path).map_err(at(path))?;
    for class in CLASSES {
        let begin = format!("class {class} {{\n");
        cut(&mut text, &begin, "\n}\n")?;
        let disposal = format!("if (Symbol.dispose) {class}.prototype");
        cut(&mut text, &disposal, "\n")?;
        let finalization = format!("const {class}Finalization = ");
        cut(&mut text, &finalization, "\n});\n")?;
        // The word before a class that was exported.
        text = text.replace("\nexport \n", "\n");
        if text.contains(&format!("{class}.")) {
            return Err(format!(
                "{}: {class} is used after all: take it out of the list of unused classes",
                path.display()
            ));
        }
    }
    fs::write(path, text).map_err(at(path))
}

/// Cuts from the only place where `begin` is to the next `end`.
fn cut(text: &mut String, begin: &str, end: &str) -> Result<()> {
    if text.matches(begin).count() != 1 {
        return Err(missing(begin));
    }
    let (before, rest) = text.split_once(begin).ok_or_else(|| missing(begin))?;
    let (_, after) = rest.split_once(end).ok_or_else(|| missing(begin))?;
    *text = format!("{before}\n{after}");
    Ok(())
}

fn missing(what: &str) -> String {
    format!(
        "`{}` is not where this version of wasm-bindgen puts it",
        what.trim()
    )
}

/// Takes the exports out of a module that the JavaScript does not name. What only they use is left
/// to the optimiser.
pub(crate) fn drop_exports(module: &Path, javascript: &Path) -> Result<()> {
    let bytes = fs::read(module).map_err(at(module))?;
    let text = fs::read_to_string(javascript).map_err(at(javascript))?;
    let fewer = with_exports(&bytes, &|name| is_named(&text, name))
        .ok_or_else(|| format!("{}: its exports cannot be read", module.display()))?;
    fs::write(module, fewer).map_err(at(module))
}

/// Returns whether the text speaks of a member with this name.
fn is_named(text: &str, member: &str) -> bool {
    text.match_indices(&format!(".{member}"))
        .any(|(at, found)| {
            let next = text[at + found.len()..].chars().next();
            !next.is_some_and(|next| next.is_alphanumeric() || matches!(next, '_' | '$'))
        })
}

/// Returns the module with those of its exports that are kept (WebAssembly, section 5.5.10).
fn with_exports(module: &[u8], keeps: &dyn Fn(&str) -> bool) -> Option<Vec<u8>> {
    const EXPORTS: u8 = 7;
    let mut rest = module.strip_prefix(b"\0asm\x01\0\0\0")?;
    while let Some((kind, mut after)) = rest.split_first() {
        let length = number(&mut after)?;
        let (mut section, after) = after.split_at_checked(length)?;
        if *kind == EXPORTS {
            let before = &module[..module.len() - rest.len()];
            let mut kept = Vec::new();
            let mut count = 0;
            for _ in 0..number(&mut section)? {
                let (name, export) = export(&mut section)?;
                if keeps(name) {
                    kept.extend_from_slice(export);
                    count += 1;
                }
            }
            let count = leb128(count);
            let length = leb128(count.len() + kept.len());
            return Some([before, &[EXPORTS], &length, &count, &kept, after].concat());
        }
        rest = after;
    }
    None
}

/// Takes an export: its name, and the whole of it, which goes on with a kind and a number.
fn export<'a>(section: &mut &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let whole = *section;
    let length = number(section)?;
    let (name, rest) = section.split_at_checked(length)?;
    *section = rest.get(1..)?;
    number(section)?;
    let export = &whole[..whole.len() - section.len()];
    Some((std::str::from_utf8(name).ok()?, export))
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let seven_bits = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(seven_bits);
            return bytes;
        }
        bytes.push(seven_bits | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_that_are_not_named_are_dropped() {
        let module = b"\0asm\x01\0\0\0\x01\x01\0\x07\x0a\x02\x01a\x00\x05\x02bc\x02\x00\x0a\x01\0";
        let without_a = b"\0asm\x01\0\0\0\x01\x01\0\x07\x06\x01\x02bc\x02\x00\x0a\x01\0";
        assert_eq!(
            with_exports(module, &|name| is_named("wasm.bc()", name)).as_deref(),
            Some(&without_a[..])
        );
        assert_eq!(
            with_exports(module, &|_| true).as_deref(),
            Some(&module[..])
        );
        assert_eq!(with_exports(b"\0asm\x01\0\0\0", &|_| true), None);
        assert_eq!(leb128(300), [0xac, 2]);
        assert!(!is_named("wasm.ab(1) wasm.a_b wasm.a$ a", "a"));
    }

    #[test]
    fn what_is_not_there_once_is_told() {
        let mut text = "one {\n}\ntwo {\n}\nend".to_owned();
        assert_eq!(cut(&mut text, "one {", "\n}\n"), Ok(()));
        assert_eq!(text, "\ntwo {\n}\nend");
        assert!(cut(&mut text, "one {", "\n}\n").is_err());
    }
}
