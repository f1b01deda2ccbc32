//! What authors are told of `[client.token]` and of keys that count by claims.

use tidegate_core::Policy;

use super::{VALID, check};

const KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// Compares what is said of a token's rule, with a limit that counts by a claim.
#[track_caller]
fn check_token(rule: &str, expected: &[&str]) {
    let to = format!(
        "[limits.l]\nquota = \"1/min\"\nkey = [\"claim:sub\"]\n[client.token]\n{rule}\n[[routes]]\nlimits = [\"l\"]"
    );
    check("[[routes]]", &to, expected);
}

#[test]
fn a_rule_has_one_source_of_keys() {
    check_token(
        "algorithms = [\"EdDSA\"]\njwks_url = \"https://issuer.test/jwks\"",
        &[],
    );
    check_token(
        "algorithms = [\"EdDSA\"]\njwks_url = \"http://localhost:1/jwks\"",
        &[],
    );
    check_token(&format!("algorithms = [\"EdDSA\"]\nkeys = '{KEY}'"), &[]);
    check_token("algorithms = [\"HS256\"]\nsecret_env = \"NAME\"", &[]);
    let one = "write one of jwks_url = \"https://...\", keys = \"\"\"...\"\"\" and secret_env = \"NAME\": the issuer's keys come from there";
    check_token(
        "algorithms = [\"RS256\"]",
        &[&format!("tidegate.toml:11:9: client.token: {one}")],
    );
    check_token(
        "algorithms = [\"RS256\"]\njwks_url = \"https://a\"\nkeys = \"\"",
        &[&format!(
            "tidegate.toml:11:9: client.token: the issuer's keys come from one place: {one}"
        )],
    );
}

#[test]
fn what_is_wrong_with_keys_is_told_with_its_place() {
    let of = |keys: &str, why: &str| {
        check_token(
            &format!("algorithms = [\"EdDSA\"]\nkeys = '''{keys}'''"),
            &[&format!("tidegate.toml:13:1: client.token.keys: {why}")],
        );
    };
    let publishes =
        "write what the issuer publishes at its jwks_uri, or -----BEGIN PUBLIC KEY-----";
    let set = format!(
        "this is neither a JSON Web Key nor a set of them ({{\"keys\": [...]}}); {publishes}"
    );
    of("", &set);
    of("jwks.json", &set);
    of("{\"keys\":1}", &set);
    of(
        "{",
        &format!("this is not JSON in which each member is there once; {publishes}"),
    );
    of(
        "{\"keys\":[]}",
        "there is no key in it that is used: RSA of 2048 to 8192 bits, P-256 or Ed25519, for signatures; take one of those that the issuer signs by",
    );
    let private = "there is a private key or a secret in it, and this is public; take it out of the policy and replace it, as others may have read it; write the public part, or name a secret by secret_env";
    of(&KEY.replace("\"x\"", "\"d\":\"AA\",\"x\""), private);
    of("{\"kty\":\"oct\",\"k\":\"AA\"}", private);
    of("-----BEGIN PRIVATE KEY-----", private);
    for url in ["http://issuer.test/jwks", "http://127.0.0.1.evil.test/"] {
        check_token(
            &format!("algorithms = [\"RS256\"]\njwks_url = \"{url}\""),
            &[&format!(
                "tidegate.toml:13:1: client.token.jwks_url: `{url}` comes in the clear, so that others could put in keys of their own; write https://"
            )],
        );
    }
    for url in [
        "jwks.json",
        "ftp://a/b",
        "https://user@a/",
        "https:///jwks",
        "https://a/#b",
        "file:///etc/jwks",
    ] {
        check_token(
            &format!("algorithms = [\"RS256\"]\njwks_url = \"{url}\""),
            &[&format!(
                "tidegate.toml:13:1: client.token.jwks_url: `{url}` is not the URL of a key set; write https://HOST/PATH, without user and fragment"
            )],
        );
    }
    check_token(
        "algorithms = [\"HS256\"]\nsecret_env = \"my secret\"",
        &[
            "tidegate.toml:13:1: client.token.secret_env: write the name of an environment variable: letters, digits and underscores",
        ],
    );
}

#[test]
fn algorithms_fit_the_keys() {
    let url = "jwks_url = \"https://a/\"";
    check_token(
        url,
        &[
            "tidegate.toml:11:9: client.token.algorithms: say by which algorithms the issuer signs, such as algorithms = [\"RS256\"]",
        ],
    );
    let unknown =
        "is not an algorithm that is verified; use RS256, ES256 or EdDSA, or HS256 with secret_env";
    check_token(
        &format!("algorithms = [\"none\", \"rs256\"]\n{url}"),
        &[
            &format!("tidegate.toml:12:15: client.token.algorithms[0]: `none` {unknown}"),
            &format!("tidegate.toml:12:23: client.token.algorithms[1]: `rs256` {unknown}"),
        ],
    );
    check_token(
        &format!("algorithms = [\"RS256\", \"HS256\"]\n{url}"),
        &[
            "tidegate.toml:12:24: client.token.algorithms[1]: HS256 takes a secret, and these keys are public; name it by secret_env, or use RS256, ES256 or EdDSA",
        ],
    );
    check_token(
        "algorithms = [\"RS256\"]\nsecret_env = \"A\"",
        &[
            "tidegate.toml:12:15: client.token.algorithms[0]: RS256 takes public keys, and secret_env is a secret; use HS256, or jwks_url or keys",
        ],
    );
}

#[test]
fn the_rest_of_a_rule_is_checked_too() {
    let url = "algorithms = [\"RS256\"]\njwks_url = \"https://a/\"";
    check_token(
        &format!("{url}\nheader = \"x-a\"\ncookie = \"a\""),
        &[
            "tidegate.toml:15:1: client.token.cookie: a token is in a header field or in a cookie: leave one of them out",
        ],
    );
    check_token(
        &format!("{url}\ncookie = \"\""),
        &["tidegate.toml:14:1: client.token.cookie: write the name of a cookie"],
    );
    check_token(
        &format!("{url}\nleeway = \"11m\"\naudience = \"\""),
        &[
            "tidegate.toml:14:1: client.token.leeway: at most 10m: a token is valid for so much longer than its issuer says",
            "tidegate.toml:15:1: client.token.audience: this is empty, and no token would say so; leave it out if it does not matter",
        ],
    );
    check_token(
        &format!("{url}\nisuer = \"a\""),
        &[
            "tidegate.toml:14:1: client.token.isuer: `isuer` is not known here; did you mean `issuer`? Known are: header, cookie, algorithms, issuer, audience, leeway, jwks_url, keys, secret_env",
        ],
    );
}

#[test]
fn claims_need_a_rule_and_are_for_limits() {
    let no_token = "a claim is used of a verified token only, and nothing says how to verify one; write [client.token] with algorithms = [\"RS256\"] and jwks_url = \"https://...\"";
    check(
        "[[routes]]",
        "[limits.l]\nquota = \"1/min\"\nkey = [\"claim:sub\", \"claim:\"]\n[[routes]]\nlimits = [\"l\"]",
        &[
            &format!("tidegate.toml:10:8: limits.l.key[0]: {no_token}"),
            "tidegate.toml:10:21: limits.l.key[1]: `claim:` is not a key part; use ip, ip/PREFIX, header:NAME, cookie:NAME, query:NAME, path, route, country, asn, user, workspace, claim:NAME or tls_subject",
        ],
    );
    check(
        "origins = [\"a\"]",
        &format!(
            "origins = [\"a\"]\nsteering = \"weighted\"\naffinity = [\"claim:sub\"]\n[client.token]\nalgorithms = [\"EdDSA\"]\nkeys = '{KEY}'"
        ),
        &[
            "tidegate.toml:8:1: pools.main.affinity: claims are known to limits only; use a header field or a cookie, or ip",
        ],
    );
    let unused = VALID.replace(
        "[[routes]]",
        &format!("[client.token]\nalgorithms = [\"EdDSA\"]\nkeys = '{KEY}'\n[[routes]]"),
    );
    let said = Policy::lint("tidegate.toml", &unused);
    let said: Vec<String> = said.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "tidegate.toml:8:9: client.token: nothing uses this: no limit of a route has \"claim:NAME\" in its key or as its plan; write one, or remove this"
        ]
    );
}

#[test]
fn what_nobody_says_in_a_pod_is_noted() {
    let limits = "[limits.l]\nquota = \"1/min\"\nkey = [\"asn\", \"tls_subject\"]\n[[routes]]\nlimits = [\"l\"]";
    let text = VALID.replace("[[routes]]", limits);
    let said = |text: &str| -> Vec<String> {
        let notes = Policy::notes("tidegate.toml", text);
        notes.iter().map(ToString::to_string).collect()
    };
    let absent = "in a pod this is always absent, as nobody says it; name the header field in which a trusted proxy does by";
    assert_eq!(
        said(&text),
        [
            format!(
                "tidegate.toml:10:8: limits.l.key[0]: {absent} asn_header in [client]. At the edge the platform says it"
            ),
            format!(
                "tidegate.toml:10:15: limits.l.key[1]: {absent} tls_subject_header in [client]. At the edge the platform says it"
            ),
        ]
    );
    let named = "[client]\nasn_header = \"x-asn\"\ntls_subject_header = \"x-subject\"\n";
    assert_eq!(said(&format!("{named}{text}")), [""; 0]);
}
