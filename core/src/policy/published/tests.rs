#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::Arc;

use super::*;

const EVERYTHING: &str = include_str!("everything.toml");

/// What is published of it in format 4.
const PUBLISHED: &str = include_str!("everything.4");

fn everything() -> Policy {
    Policy::parse("everything.toml", EVERYTHING).unwrap()
}

/// Takes packed bytes for those of a policy, as if they had been published.
fn publish(packed: &[u8]) -> String {
    let text = format!("{NAME} {FORMAT} {} {}", "0".repeat(64), hexadecimal(packed));
    let sum = hexadecimal(&check(&text));
    format!("{text} {sum}")
}

#[test]
fn what_was_published_is_read_as_it_was() {
    let policy = everything();
    let published = policy.publish(EVERYTHING);
    let read = Policy::read_published(&published.text).unwrap();
    assert_eq!(read, policy);
    assert_eq!(read.publish(EVERYTHING), published);
    let [.., static_files, plain, _] = read.routes.as_slice() else {
        panic!("four routes")
    };
    assert!(
        Arc::ptr_eq(&static_files.pool, &plain.pool),
        "what is shared stays shared"
    );
    let name = Sha256::digest(EVERYTHING);
    assert_eq!(published.source, hexadecimal(&name));
}

#[test]
fn the_form_of_this_format_is_fixed() {
    assert_eq!(
        everything().publish(EVERYTHING).text,
        PUBLISHED,
        "what is published has changed: raise FORMAT, and keep what is published now beside \
         everything.toml under the new number, instead of the old one"
    );
}

#[test]
fn another_text_and_another_format_are_told_apart() {
    let refused = |text: &str| Policy::read_published(text).unwrap_err();
    for text in ["", " ", "{}", EVERYTHING] {
        assert_eq!(refused(text), Unpublished::Unknown, "{text}");
    }
    let later = PUBLISHED.replacen(" 4 ", " 5 ", 1);
    assert_eq!(refused(&later), Unpublished::OtherFormat("5".to_owned()));
    for message in [refused(""), refused(&later), refused(&PUBLISHED[..90])] {
        assert!(
            message
                .to_string()
                .contains("`tidegate check --compile FILE`"),
            "{message}"
        );
    }
    let surrounded = format!("\n {PUBLISHED} \r\n");
    assert!(Policy::read_published(&surrounded).is_ok());
}

#[test]
fn whatever_is_damaged_is_refused() {
    let text = PUBLISHED.trim_end();
    for length in 0..text.len() {
        assert!(Policy::read_published(&text[..length]).is_err(), "{length}");
    }
    for position in 0..text.len() {
        for flip in [1, 2, 4, 16] {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] ^= flip;
            let damaged = String::from_utf8(bytes).unwrap();
            assert!(
                Policy::read_published(&damaged).is_err(),
                "{position} {flip}"
            );
        }
    }
    let longer = text.replacen(" 4 ", " 4 0", 1);
    assert_eq!(Policy::read_published(&longer), Err(Unpublished::Damaged));
}

#[test]
fn bytes_that_are_no_policy_are_refused_without_a_panic() {
    let mut packed = Vec::new();
    everything().pack(&mut packed);
    assert_eq!(Policy::read_published(&publish(&packed)), Ok(everything()));
    for length in 0..packed.len() {
        let cut = Policy::read_published(&publish(&packed[..length]));
        assert_eq!(cut, Err(Unpublished::Damaged), "{length}");
    }
    for position in 0..packed.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = packed.clone();
            changed[position] = value;
            // A number may have become another one.
            let _ = Policy::read_published(&publish(&changed));
        }
    }
    for seed in 0..2000 {
        let length = hash::draw(seed, 0) % 200;
        let bytes: Vec<u8> = (1..=length)
            .map(|n| hash::draw(seed, n).to_le_bytes()[0])
            .collect();
        assert!(Policy::read_published(&publish(&bytes)).is_err(), "{seed}");
    }
}
