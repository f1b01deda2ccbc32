//! Quotas that operators order for single keys at the admin address, and what they mean for clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use support::{Operated, Origin, Proxy, Reply, good};
use tidegate_core::Policy;

fn policy(origin: &Origin, quota: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\naccess_log = \"off\"\nthreads = 2\n\
         [origins.a]\nurl = \"http://{}\"\n[pools.main]\norigins = [\"a\"]\n\
         [limits.l]\nquota = \"{quota}\"\nkind = \"budget\"\nkey = [\"header:x-key\"]\n\
         plan = \"header:x-plan\"\nplans = {{ gold = \"3/day\" }}\n\
         [[routes]]\npool = \"main\"\nlimits = [\"l\"]\n",
        origin.address
    )
}

/// A proxy whose limit operators override.
struct Overridden(Operated);

impl Overridden {
    async fn start(origin: &Origin) -> Self {
        let proxy = Proxy::start(&policy(origin, "1/day"));
        Self(Operated::of(proxy, Some("secret")).await)
    }

    async fn operate(&self, token: &str, method: &str, path: &str, body: &str) -> Reply {
        let path = format!("limits/{path}");
        self.0.order(token, method, &path, body).await
    }

    /// Carries out an operation, and returns what is told of the overrides.
    async fn told(&self, method: &str, path: &str, body: &str) -> String {
        let reply = self.operate("secret", method, path, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text().trim_end().to_owned()
    }

    /// Asks as somebody, and returns the status and the quota that is told.
    async fn ask(&self, fields: &str) -> (u16, String) {
        let mut client = self.0.proxy.client().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nhost: t.example\r\n{fields}\r\n\r\n"
            ))
            .await;
        let reply = client.reply().await;
        let told = reply.field("ratelimit-policy").unwrap_or_default();
        (reply.status, told.to_owned())
    }
}

fn quota(amount: u64) -> String {
    format!("\"l\";q={amount};w=86400")
}

#[tokio::test]
async fn an_override_counts_what_was_used_and_ends_when_it_is_removed() {
    let origin = good().await;
    let operated = Overridden::start(&origin).await;
    let (joe, ann) = ("x-key: joe", "x-key: ann");
    assert_eq!(operated.ask(joe).await, (200, quota(1)));
    assert_eq!(operated.ask(joe).await, (429, quota(1)));
    let listed = r#"{"overrides":[{"key":"joe","quota":"2/day","in_force":true}]}"#;
    let order = r#"{"quota": "2/day"}"#;
    assert_eq!(
        operated.told("PUT", "l/overrides/%6Aoe", order).await,
        listed
    );
    assert_eq!(operated.told("GET", "l/overrides", "").await, listed);
    // One of two is used.
    assert_eq!(operated.ask(joe).await, (200, quota(2)));
    assert_eq!(operated.ask(joe).await, (429, quota(2)));
    // The override comes before the plan, and nobody else has it.
    let golden = "x-key: joe\r\nx-plan: gold";
    assert_eq!(operated.ask(golden).await, (429, quota(2)));
    assert_eq!(operated.ask(ann).await, (200, quota(1)));
    assert_eq!(operated.ask(ann).await, (429, quota(1)));
    let nothing = r#"{"overrides":[]}"#;
    assert_eq!(
        operated.told("DELETE", "l/overrides/joe", "").await,
        nothing
    );
    assert_eq!(operated.ask(joe).await, (429, quota(1)));
    assert_eq!(operated.ask(golden).await, (200, quota(3)));
}

#[tokio::test]
async fn an_override_stays_when_the_policy_changes() {
    let origin = good().await;
    let operated = Overridden::start(&origin).await;
    let order = r#"{"quota": "2/day"}"#;
    operated.told("PUT", "l/overrides/joe", order).await;
    let replace = |quota: &str| {
        let policy = Policy::parse("p", &policy(&origin, quota).replace("3/day", quota));
        operated.0.proxy.node.replace(policy.unwrap());
    };
    replace("9/day");
    assert_eq!(operated.ask("x-key: joe").await, (200, quota(2)));
    // A quota for each day means nothing to a limit that counts hours.
    replace("1/hour");
    let (status, told) = operated.ask("x-key: joe").await;
    assert_eq!((status, &*told), (200, "\"l\";q=1;w=3600"));
    let listed = operated.told("GET", "l/overrides", "").await;
    assert!(listed.contains("\"in_force\":false"), "{listed}");
    replace("9/day");
    assert_eq!(operated.ask("x-key: joe").await, (200, quota(2)));
    assert_eq!(operated.ask("x-key: joe").await, (429, quota(2)));
}

#[tokio::test]
async fn overrides_are_for_those_with_the_token() {
    let origin = good().await;
    let operated = Overridden::start(&origin).await;
    let order = r#"{"quota": "2/day"}"#;
    for (token, method, path, body, status, part) in [
        (
            "guess",
            "PUT",
            "l/overrides/joe",
            order,
            401,
            "Bearer TOKEN",
        ),
        ("guess", "GET", "l/overrides", "", 401, "Bearer TOKEN"),
        (
            "secret",
            "PUT",
            "m/overrides/joe",
            order,
            400,
            "no route has a limit `m`",
        ),
        (
            "secret",
            "PUT",
            "l/overrides/joe/",
            order,
            400,
            "has 1 parts",
        ),
        (
            "secret",
            "PUT",
            "l/overrides/joe",
            "{}",
            400,
            "missing field `quota`",
        ),
        (
            "secret",
            "DELETE",
            "l/overrides/joe",
            "",
            404,
            "no override",
        ),
        (
            "secret",
            "POST",
            "l/overrides/joe",
            order,
            404,
            "PUT and DELETE",
        ),
    ] {
        let reply = operated.operate(token, method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert!(reply.text().contains(part), "{}", reply.text());
    }
    assert_eq!(operated.ask("x-key: joe").await, (200, quota(1)));
}
