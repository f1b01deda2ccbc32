#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::cache::tests_support::{headers, stored};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn given(range: &str, length: &str) -> Given {
    give(
        &Method::GET,
        &headers(&[("range", range)]),
        &stored(&[("content-length", length)]),
        NOW,
    )
}

fn parts(pairs: &[(u64, u64)], whole: u64) -> Given {
    Given::Parts(
        pairs
            .iter()
            .map(|(first, last)| Part {
                first: *first,
                last: *last,
                whole: Some(whole),
            })
            .collect(),
    )
}

#[test]
fn ranges_are_placed_in_the_whole() {
    let cases = [
        ("bytes=0-1", parts(&[(0, 1)], 10)),
        ("Bytes=5-", parts(&[(5, 9)], 10)),
        ("bytes=-3", parts(&[(7, 9)], 10)),
        ("bytes=-30", parts(&[(0, 9)], 10)),
        ("bytes=8-99", parts(&[(8, 9)], 10)),
        ("bytes= 0-0 , -1", parts(&[(0, 0), (9, 9)], 10)),
        ("bytes=0-0,10-11", parts(&[(0, 0)], 10)),
        ("bytes=10-", Given::Nothing(10)),
        ("bytes=-0", Given::Nothing(10)),
        ("bytes=0-9,0-9", Given::Whole),
        ("bytes=", Given::Whole),
        ("bytes=-", Given::Whole),
        ("bytes=2-1", Given::Whole),
        ("bytes=+1-2", Given::Whole),
        ("bytes=a-2", Given::Whole),
        ("lines=0-1", Given::Whole),
        ("bytes=99999999999999999999-", Given::Whole),
    ];
    for (range, expected) in cases {
        assert_eq!(given(range, "10"), expected, "{range}");
    }
    assert_eq!(given("bytes=0-1", "0"), Given::Nothing(0));
    assert_eq!(
        given(&format!("bytes={}", "0-0,".repeat(17)), "100"),
        Given::Whole
    );
    assert_eq!(
        give(
            &Method::HEAD,
            &headers(&[("range", "bytes=0-1")]),
            &stored(&[]),
            NOW
        ),
        Given::Whole
    );
}

#[test]
fn ranges_hold_only_for_the_same_representation() {
    let response = [
        ("content-length", "10"),
        ("etag", "\"a\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("date", "Sun, 06 Nov 1994 08:49:38 GMT"),
    ];
    let part = |condition: &str, response: &[(&str, &str)]| {
        let request = headers(&[("range", "bytes=0-1"), ("if-range", condition)]);
        give(&Method::GET, &request, &stored(response), NOW) != Given::Whole
    };
    assert!(part("\"a\"", &response) && part("Sun, 06 Nov 1994 08:49:37 GMT", &response));
    for other in [
        "\"b\"",
        "W/\"a\"",
        "Sun, 06 Nov 1994 08:49:38 GMT",
        "nonsense",
        "",
    ] {
        assert!(!part(other, &response), "{other}");
    }
    assert!(
        !part("Sun, 06 Nov 1994 08:49:37 GMT", &response[..3]),
        "as young as its modification"
    );
    assert!(
        !part("W/\"a\"", &[("content-length", "10"), ("etag", "W/\"a\"")]),
        "weak tags say nothing of bytes"
    );
}

fn part(range: &str, tag: &str) -> Stored {
    let mut part = stored(&[("content-range", range), ("etag", tag)]);
    part.status = StatusCode::PARTIAL_CONTENT;
    part
}

/// [9111-3.3-1] [9111-3.3-2]
#[test]
fn a_part_answers_what_lies_in_it() {
    let of = |range: &str, stored: &Stored| {
        give_of_part(&Method::GET, &headers(&[("range", range)]), stored, NOW)
            .map(|part| (part.first, part.last))
    };
    let known = part("bytes 4-9/10", "\"a\"");
    assert_eq!(of("bytes=6-8", &known), Some((6, 8)));
    assert_eq!(of("bytes=-5", &known), Some((5, 9)));
    assert_eq!(of("bytes=6-", &known), Some((6, 9)));
    assert_eq!(of("bytes=3-8", &known), None);
    assert_eq!(of("bytes=6-7,8-9", &known), None);
    let unknown = part("bytes 4-9/*", "\"a\"");
    assert_eq!(of("bytes=6-8", &unknown), Some((6, 8)));
    assert_eq!(of("bytes=6-", &unknown), None);
    for wrong in [
        "bytes 9-4/10",
        "bytes 4-10/10",
        "items 4-9/10",
        "bytes */10",
        "bytes 4-9",
        "",
    ] {
        assert_eq!(of("bytes=6-8", &part(wrong, "\"a\"")), None, "{wrong}");
    }
}

/// [9111-3.4-1]
#[test]
fn parts_that_touch_become_one() {
    let joined = |old: &str, new: &str| {
        let combined = combine(&part(old, "\"a\""), &part(new, "\"a\""), u64::MAX)?;
        let range = combined
            .head
            .headers
            .get("content-range")
            .map(|v| v.to_str().unwrap().to_owned());
        Some((
            combined.head.status.as_u16(),
            range,
            combined.before,
            combined.after,
        ))
    };
    assert_eq!(
        joined("bytes 0-4/10", "bytes 5-9/10"),
        Some((200, None, 0..5, 5..5))
    );
    assert_eq!(
        joined("bytes 5-9/10", "bytes 0-4/10"),
        Some((200, None, 0..0, 0..5))
    );
    assert_eq!(
        joined("bytes 0-9/20", "bytes 3-5/20"),
        Some((206, Some("bytes 0-9/20".into()), 0..3, 6..10))
    );
    assert_eq!(
        joined("bytes 3-5/20", "bytes 0-9/20"),
        Some((206, Some("bytes 0-9/20".into()), 0..0, 3..3))
    );
    assert_eq!(joined("bytes 0-3/10", "bytes 5-9/10"), None);
    assert_eq!(joined("bytes 0-4/10", "bytes 5-9/11"), None);
    assert_eq!(joined("bytes 0-4/*", "bytes 5-9/*"), None);
    let (mut old, mut new) = (part("bytes 0-4/10", "\"a\""), part("bytes 5-9/10", "\"a\""));
    (old.epoch, old.labels, new.epoch, new.labels) = (3, vec![2, 7], 5, vec![1, 7]);
    old.headers.extend(headers(&[
        ("content-type", "text/plain"),
        ("x", "old"),
        ("x", "older"),
    ]));
    new.headers.extend(headers(&[("x", "new")]));
    let head = combine(&old, &new, u64::MAX).unwrap().head;
    assert_eq!((head.epoch, head.labels.as_slice()), (3, &[1, 2, 7][..]));
    assert_eq!(
        (
            &head.headers["content-type"],
            head.headers.get_all("x").iter().count()
        ),
        (&"text/plain".parse().unwrap(), 1)
    );
    assert_eq!(
        combine(
            &part("bytes 0-4/10", "\"a\""),
            &part("bytes 5-9/10", "\"b\""),
            u64::MAX
        ),
        None
    );
    assert_eq!(
        combine(
            &part("bytes 0-4/10", "W/\"a\""),
            &part("bytes 5-9/10", "W/\"a\""),
            u64::MAX
        ),
        None
    );
}

#[test]
fn several_parts_are_written_with_their_length() {
    let mut fields = headers(&[("content-type", "text/plain"), ("content-length", "10")]);
    let Given::Parts(parts) = given("bytes=0-1,8-9", "10") else {
        panic!("two parts")
    };
    let pieces = write(&mut fields, &parts, 0, "b");
    let position = |at: u64| usize::try_from(at).unwrap();
    let body: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| match piece {
            Piece::Text(text) => text.to_vec(),
            Piece::Body(range) => {
                b"0123456789"[position(range.start)..position(range.end)].to_vec()
            }
        })
        .collect();
    assert_eq!(fields["content-length"], body.len().to_string());
    assert_eq!(fields["content-type"], "multipart/byteranges; boundary=b");
    let expected = "\r\n--b\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/10\r\n\r\n01\r\n--b\r\ncontent-type: text/plain\r\ncontent-range: bytes 8-9/10\r\n\r\n89\r\n--b--\r\n";
    assert_eq!(String::from_utf8(body).unwrap(), expected);
}
