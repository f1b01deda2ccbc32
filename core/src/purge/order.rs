//! Purges as operators order them: in JSON, or as a pattern in a path.

use serde::Deserialize;

use super::target::{Purge, Target};
use super::url;

/// Most things that one order names.
const ITEMS_MAX: usize = 1000;

/// An order of purges. At least one of its lists has an item, or `everything` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// URLs: `https://shop.example/a?b=1`, or without scheme.
    pub urls: Vec<String>,
    /// Hosts with a path: everything at and below it.
    pub prefixes: Vec<String>,
    /// Hosts.
    pub hosts: Vec<String>,
    /// Tags, in any case.
    pub tags: Vec<String>,
    /// Whether all is purged.
    pub everything: bool,
    /// Whether what is reached is kept as stale.
    pub soft: bool,
}

/// Reads JSON. As text, because the Worker reads all other JSON so: a reader of bytes would be
/// compiled beside that one.
pub(crate) fn read_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(json).map_err(|_| "it is not UTF-8".to_owned())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl Order {
    /// Reads an order in JSON.
    ///
    /// # Errors
    /// Says where the text is wrong and what to write.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        // A list would be taken for the members in their order.
        let is_object = json.trim_ascii_start().starts_with(b"{");
        let order = if is_object {
            read_json(json)
        } else {
            Err("no object".into())
        };
        order.map_err(|error| {
            format!("not an order of purges: {error}; write {{\"urls\": [], \"prefixes\": [], \"hosts\": [], \"tags\": [], \"everything\": false, \"soft\": false}}, all optional")
        })
    }

    /// Reads a pattern: `*` for everything, `HOST`, `HOST/PATH?QUERY` for one URL, `HOST/PATH/*`
    /// for all at and below a path.
    ///
    /// # Errors
    /// Says what to write.
    pub fn of_pattern(pattern: &str) -> Result<Self, String> {
        let one = |text: &str| vec![text.to_owned()];
        let prefix = pattern
            .strip_suffix('*')
            .filter(|prefix| prefix.ends_with('/') && !prefix.contains('*'));
        Ok(match (pattern, prefix) {
            ("", _) => {
                return Err("the pattern is empty; write *, HOST, HOST/PATH or HOST/PATH/*".into());
            }
            ("*", _) => Self {
                everything: true,
                ..Self::default()
            },
            (_, Some(prefix)) => Self {
                prefixes: one(prefix),
                ..Self::default()
            },
            _ if pattern.contains('*') => {
                return Err(format!(
                    "`{pattern}`: a * stands alone or at the end, behind a slash; write *, HOST/PATH or HOST/PATH/*. \
                     For a URL that has one, POST invalidate with `urls`"
                ));
            }
            (url, None) if url.contains('/') => Self {
                urls: one(url),
                ..Self::default()
            },
            (host, None) => Self {
                hosts: one(host),
                ..Self::default()
            },
        })
    }

    /// Lists the purges.
    ///
    /// # Errors
    /// Says which item is wrong and what to write, or that there is none, or that there are too
    /// many. Then nothing is purged.
    pub fn purges(&self) -> Result<Vec<Purge>, String> {
        let count = self.urls.len() + self.prefixes.len() + self.hosts.len() + self.tags.len();
        if count > ITEMS_MAX {
            return Err(format!("{count} items; an order has at most {ITEMS_MAX}"));
        }
        let mut targets = Vec::with_capacity(count + 1);
        for (i, text) in self.urls.iter().enumerate() {
            let wrong = |fix: Option<String>| {
                fix.unwrap_or_else(|| format!("`{text}` is not a URL; write https://HOST/PATH"))
            };
            let url = url::read(text).map_err(|fix| format!("urls[{i}]: {}", wrong(fix)))?;
            targets.push(Target::Url {
                host: url.host,
                path: url.path,
                query: url.query,
            });
        }
        for (i, text) in self.prefixes.iter().enumerate() {
            let wrong = |fix: Option<String>| {
                fix.unwrap_or_else(|| {
                    format!("`{text}` is not a prefix; write HOST/PATH, without *")
                })
            };
            let url = url::read(text).and_then(|url| {
                if url.query.is_none() && !text.contains('*') {
                    Ok(url)
                } else {
                    Err(None)
                }
            });
            let url = url.map_err(|fix| format!("prefixes[{i}]: {}", wrong(fix)))?;
            targets.push(Target::Prefix(url.host, url.path));
        }
        for (i, text) in self.hosts.iter().enumerate() {
            let wrong = |fix: Option<String>| {
                fix.unwrap_or_else(|| {
                    format!("`{text}` is not a host; write shop.example, without *")
                })
            };
            let url = url::read(text).and_then(|url| {
                let alone = url.path == "/" && url.query.is_none() && !text.contains(['/', '*']);
                if alone { Ok(url) } else { Err(None) }
            });
            let url = url.map_err(|fix| format!("hosts[{i}]: {}", wrong(fix)))?;
            targets.push(Target::Host(url.host));
        }
        for (i, tag) in self.tags.iter().enumerate() {
            if tag.is_empty() || tag.contains([',', ' ']) {
                return Err(format!(
                    "tags[{i}]: `{tag}` is not a tag; a tag has no comma and no space"
                ));
            }
            targets.push(Target::Tag(tag.clone()));
        }
        if self.everything {
            targets.push(Target::All);
        }
        if targets.is_empty() {
            return Err("nothing is named; write urls, prefixes, hosts, tags or everything".into());
        }
        Ok(targets
            .into_iter()
            .map(|target| Purge {
                target,
                soft: self.soft,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn target(url: (&str, &str, Option<&str>)) -> Target {
        Target::Url {
            host: url.0.into(),
            path: url.1.into(),
            query: url.2.map(Into::into),
        }
    }

    #[test]
    fn orders_name_what_is_purged() {
        let order = Order::parse(
            br#"{"urls": ["https://Shop.example:8443/a?b#c", "shop.example"], "prefixes": ["shop.example/blog/"],
                "hosts": ["[::1]"], "tags": ["Product-7"], "everything": true, "soft": true}"#,
        );
        let purges = order.unwrap().purges().unwrap();
        let targets = [
            target(("shop.example", "/a", Some("b"))),
            target(("shop.example", "/", None)),
            Target::Prefix("shop.example".into(), "/blog/".into()),
            Target::Host("[::1]".into()),
            Target::Tag("Product-7".into()),
            Target::All,
        ];
        assert_eq!(purges, targets.map(|target| Purge { target, soft: true }));
    }

    #[test]
    fn patterns_name_what_is_purged() {
        let targets = |pattern: &str| Order::of_pattern(pattern)?.purges();
        let hard = |target| {
            Ok(vec![Purge {
                target,
                soft: false,
            }])
        };
        assert_eq!(targets("*"), hard(Target::All));
        assert_eq!(
            targets("shop.example"),
            hard(Target::Host("shop.example".into()))
        );
        assert_eq!(
            targets("shop.example/a?b=1"),
            hard(target(("shop.example", "/a", Some("b=1"))))
        );
        assert_eq!(
            targets("https://shop.example/a"),
            hard(target(("shop.example", "/a", None)))
        );
        assert_eq!(
            targets("shop.example/a/*"),
            hard(Target::Prefix("shop.example".into(), "/a/".into()))
        );
        for wrong in [
            "",
            "**",
            "shop.example*",
            "shop.example/a*",
            "shop.example/**",
            "*.example/a",
            "a/*?b",
            "a/b*c",
        ] {
            assert!(targets(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |json: &str| {
            Order::parse(json.as_bytes())
                .and_then(|order| order.purges())
                .unwrap_err()
        };
        for (json, part) in [
            ("{}", "nothing is named"),
            ("7", "not an order"),
            (r#"{"url": ["a"]}"#, "unknown field `url`"),
            (r#"{"urls": ["a.example/", "ftp://a"]}"#, "urls[1]"),
            (r#"{"urls": ["https://user@a/"]}"#, "urls[0]"),
            (r#"{"prefixes": ["a/?b"]}"#, "prefixes[0]"),
            (r#"{"prefixes": ["a/b/*"]}"#, "prefixes[0]"),
            (r#"{"hosts": ["a/b"]}"#, "hosts[0]"),
            (r#"{"hosts": ["*.a"]}"#, "hosts[0]"),
            ("[[], [], [], [], true, false]", "not an order"),
            (r#"{"tags": ["a b"]}"#, "tags[0]"),
        ] {
            assert!(wrong(json).contains(part), "{json}: {}", wrong(json));
        }
        let many = Order {
            tags: vec!["a".into(); 1001],
            ..Order::default()
        };
        assert!(many.purges().unwrap_err().contains("at most 1000"));
    }
}
