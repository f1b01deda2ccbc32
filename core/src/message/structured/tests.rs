use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parser};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::hash;

fn of_item(item: &BareItem) -> Value {
    match item {
        BareItem::Boolean(value) => Value::Boolean(*value),
        BareItem::Integer(value) => Value::Integer((*value).into()),
        BareItem::String(value) => Value::String(value.as_str().to_owned()),
        _ => Value::Other,
    }
}

/// What the library makes of the same.
fn of_entry<'a>(key: &'a str, entry: &'a ListEntry) -> Member<'a> {
    let (value, parameters) = match entry {
        ListEntry::Item(Item { bare_item, params }) => (of_item(bare_item), params),
        ListEntry::InnerList(list) => {
            let items = list.items.iter().map(|item| of_item(&item.bare_item));
            (Value::List(items.collect()), &list.params)
        }
    };
    let names = params_of(parameters.iter());
    Member {
        key: key.as_bytes(),
        value,
        parameters: names,
    }
}

fn params_of<'a>(parameters: impl Iterator<Item = (&'a sfv::Key, &'a BareItem)>) -> Vec<&'a [u8]> {
    parameters
        .map(|(name, _)| name.as_str().as_bytes())
        .collect()
}

/// Names of parameters may be repeated here.
fn distinct(mut members: Vec<Member<'_>>) -> Vec<Member<'_>> {
    for member in &mut members {
        let mut names: Vec<&[u8]> = Vec::new();
        for name in &member.parameters {
            if !names.contains(name) {
                names.push(name);
            }
        }
        member.parameters = names;
    }
    members
}

fn check(field: &[u8]) -> bool {
    let shown = String::from_utf8_lossy(field).into_owned();
    let dictionary_there: Option<Dictionary> = Parser::new(field).parse().ok();
    let expected = dictionary_there.as_ref().map(|members| {
        let members = members.iter();
        members
            .map(|(key, entry)| of_entry(key.as_str(), entry))
            .collect()
    });
    assert_eq!(dictionary(field).map(distinct), expected, "{shown}");
    let list_there: Option<List> = Parser::new(field).parse().ok();
    let expected = list_there
        .as_ref()
        .map(|members| members.iter().map(|entry| of_entry("", entry)).collect());
    assert_eq!(list(field).map(distinct), expected, "{shown}");
    dictionary_there.is_some() || list_there.is_some()
}

#[test]
fn fields_are_read_as_the_library_reads_them() {
    for field in [
        "",
        " ",
        "a",
        "a, b=?0;c;d=1, a=(1 \"x\";y);z",
        "max-age=60, private=\"set-cookie\"",
        "(\"a\" \"\\\"\\\\\"), ()",
        "a=1,",
        "a=1\t,\tb",
        "\ta",
        "A=1",
        "123456789012345",
        "1234567890123456",
        "-0, -1.5, 1., 123456789012.123, 1234567890123.1, 1.1234",
        ":aGk=:, :aGk:, ::",
        ":aGk==:",
        ":a:",
        ":aG=k:",
        "@1700000000",
        "@1.5",
        "%\"%c3%a4\"",
        "%\"%C3\"",
        "%\"%ff\"",
        "(1  2 )",
        "(1,2)",
        "(1",
        "a;",
        "a; b=?1;b",
    ] {
        check(field.as_bytes());
    }
}

#[test]
fn made_up_fields_are_read_as_the_library_reads_them() {
    const PIECES: [&[u8]; 40] = [
        b"a",
        b"b",
        b"key",
        b"*",
        b"=",
        b"=",
        b"=",
        b",",
        b", ",
        b" ",
        b"\t",
        b";",
        b";",
        b"(",
        b")",
        b"(1 a)",
        b"\"",
        b"\"x y\"",
        b"\\",
        b"\"\\\"\"",
        b"?",
        b"?1",
        b"?0",
        b"1",
        b"-",
        b"12",
        b".",
        b"1.5",
        b"999999999999999",
        b":",
        b":YQ==:",
        b":YWI:",
        b":YQ=:",
        b"@",
        b"@1",
        b"%",
        b"%\"%e2%82%ac\"",
        b"%\"a%4",
        b"T/k:n",
        b"\xe4",
    ];
    let mut valid = 0;
    for seed in 0..20_000 {
        let mut field = Vec::new();
        for position in 0..=hash::draw(seed, 0) % 9 {
            let piece = usize::try_from(hash::draw(seed, position + 1)).unwrap_or(0);
            field.extend_from_slice(PIECES[piece % PIECES.len()]);
        }
        valid += u32::from(check(&field));
    }
    assert!(valid > 1000, "only {valid} were valid");
}

#[test]
fn many_keys_are_read_in_their_order_and_the_last_of_a_name_counts() {
    for seed in 0..20 {
        let names = 1 + hash::draw(seed, 0) % 3000;
        let keys = (0..3000).map(|n| (hash::draw(seed, n + 1) % names, n));
        let members: Vec<String> = keys.map(|(key, n)| format!("k{key}={n}")).collect();
        assert!(check(members.join(", ").as_bytes()), "{seed}");
    }
}
