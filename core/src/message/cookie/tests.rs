#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn fields(lines: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("cookie", HeaderValue::from_bytes(line).unwrap());
    }
    headers
}

fn texts(lines: &[&[u8]], name: &str) -> Vec<String> {
    super::texts(&fields(lines), name)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect()
}

#[test]
fn what_may_lie_in_another_value_is_doubtful() {
    let is_doubtful = |line: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_bytes(line.as_bytes()).unwrap(),
        );
        super::is_doubtful(&headers, "lang")
    };
    for plain in [
        "lang=de",
        "a=b; lang=de",
        "a=b;lang=de; lang=en",
        "  lang=de",
        "a=\u{e4}; x=lan",
        "lang=de; x=\"a\"",
    ] {
        assert!(!is_doubtful(plain), "{plain}");
    }
    for doubtful in [
        "x=1 lang=de",
        "a=1,lang=de",
        "=lang=de",
        "x=1;\u{a0}lang=de",
        "x=\"; lang=de; y=\"",
        "x=1;\tlang=de",
        "a=b; lang=de; x=1 lang=en",
    ] {
        assert!(is_doubtful(doubtful), "{doubtful}");
    }
}

#[test]
fn all_cookies_of_a_name_are_found() {
    let lines: [&[u8]; 2] = [
        b"xauth=no; auth=first;auth=second; flag",
        b"other=a=b; auth=third",
    ];
    assert_eq!(
        texts(&lines, "auth"),
        ["auth=first", "auth=second", "auth=third"]
    );
    assert_eq!(texts(&lines, "other"), ["other=a=b"]);
    assert_eq!(texts(&lines, "flag"), ["flag"]);
    assert!(texts(&lines, "a").is_empty() && texts(&lines, "b").is_empty());
    assert_eq!(texts(&lines, "*").len(), 6);
    assert_eq!(
        texts(&[b"wp-session-1=a; WP-Session-2=b; wp=c"], "wp-session-*").len(),
        2
    );
}

#[test]
fn no_spelling_that_an_application_accepts_hides_a_cookie() {
    let lines: [&[u8]; 34] = [
        b"auth_token=x",
        b"a=1; auth_token=x",
        b"a=1;auth_token = x",
        b"a=1;\tauth_token=x",
        b"\xa0auth_token=x",
        b"a=1; \xc2\xa0auth_token=x",
        b"\xef\xbb\xbfauth_token=x",
        b"auth_token\xa0=x",
        b"auth.token=x",
        b"auth token=x",
        b"auth[token=x",
        b"auth+token=x",
        b"auth%20token=x",
        b"auth%5ftoken=x",
        b"%61uth_token=x",
        b"%20auth_token=x",
        b"Auth_Token=x",
        b"auth_token[]=x",
        b"auth_token[a][b]=x",
        b"auth_token%5B%5D=x",
        b"auth_token",
        b"=auth_token=x",
        b"a=1, auth_token=x",
        b"a=1,auth_token=x",
        b"a=1 auth_token=x",
        b"a=1 auth_token = x",
        b"$Version=1; auth_token=\"x\"; $Path=/",
        b"$Version=\"1\",auth_token=\"x\"",
        b"$Version=1 auth_token=x",
        b"a=\"; auth_token=x",
        b"a=\"b\"; auth_token=x",
        b"a=\"b\"auth_token=x",
        b"a; b; auth_token=x",
        b"a= auth_token=x",
    ];
    for line in lines {
        assert!(
            has(&fields(&[line]), "auth_token"),
            "{}",
            String::from_utf8_lossy(line)
        );
    }
    let others: [&[u8]; 9] = [
        b"",
        b";;",
        b"xauth_token=1",
        b"auth_tokens=1",
        b"auth=token",
        b"a=auth_token",
        b"a=auth_token=x",
        b"auth-token=1",
        b"authtoken=1",
    ];
    for line in others {
        assert!(
            !has(&fields(&[line]), "auth_token"),
            "{}",
            String::from_utf8_lossy(line)
        );
    }
    assert!(
        has(&fields(&[b"auth_token=1"]), "auth.token"),
        "the policy's spelling does not matter either"
    );
}

#[test]
fn what_may_be_part_of_a_value_is_in_its_text() {
    assert_eq!(texts(&[b"lang=de ; x=1"], "lang"), ["lang=de "]);
    assert_eq!(
        texts(&[b"lang=\"de; x=1\"; y=2"], "lang"),
        ["lang=\"de; x=1\"; y=2"]
    );
    assert_eq!(texts(&[b"lang=\"de\"; x=1"], "lang"), ["lang=\"de\""]);
    assert_eq!(texts(&[b"lang=de, fr; x=1"], "lang"), ["lang=de, fr"]);
    assert_eq!(texts(&[b"x=1 lang=de"], "lang"), ["lang=de"]);
    assert!(
        runs_on(&fields(&[b"lang=\"de", b"x=1\""])) && !runs_on(&fields(&[b"lang=\"de\"", b"x=1"]))
    );
}

#[test]
fn what_lies_within_another_text_is_not_written_again() {
    assert_eq!(
        texts(&[b"lang=de,lang=fr lang=it; lang=es"], "lang"),
        ["lang=de,lang=fr lang=it", "lang=es"]
    );
    assert_eq!(
        texts(&[b"lang=a\" lang=\"b; x=1; lang=c"], "lang"),
        ["lang=a\" lang=\"b", "; x=1; lang=c"]
    );
    let headers = fields(&[b"lang=de,lang=fr; lang=es"]);
    let values: Vec<&[u8]> = values(&headers, "lang").collect();
    assert_eq!(values, [&b"de,lang=fr"[..], b"fr", b"es"]);
}

#[test]
fn no_line_makes_texts_longer_than_itself() {
    for unit in [
        "lang,",
        "lang=lang=",
        "lang=",
        "lang ",
        "lang= lang",
        "lang\"",
        "\"lang",
        "lang=\",",
        "lang\";",
        "=lang,",
        ",;\" lang",
    ] {
        let line = unit.repeat(2000);
        for name in ["lang", "l*", "*"] {
            let headers = fields(&[line.as_bytes()]);
            let lengths: Vec<usize> = super::texts(&headers, name).map(<[u8]>::len).collect();
            assert!(lengths.iter().sum::<usize>() <= line.len(), "{unit} {name}");
            assert!(
                lengths.len() <= line.matches(';').count() + 2,
                "{unit} {name} {}",
                lengths.len()
            );
        }
    }
}

#[test]
fn ends_of_values_are_those_that_a_look_at_each_value_finds() {
    let plainly = |rest: &[u8]| {
        let end = rest
            .iter()
            .position(|byte| *byte == b';')
            .unwrap_or(rest.len());
        if is_odd(rest.get(..end)) {
            rest.len()
        } else {
            end
        }
    };
    // Every line of eight of these letters.
    for number in 0..4_u32.pow(8) {
        let line: Vec<u8> = (0..8)
            .map(|place| b"a;\"="[(number >> (2 * place)) as usize % 4])
            .collect();
        for found in named(&line, "*") {
            assert_eq!(
                found.end,
                found.value_at + plainly(&line[found.value_at..]),
                "{}",
                line.escape_ascii()
            );
        }
    }
}
