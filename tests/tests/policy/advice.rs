//! What the message of each error advises: whoever follows it meets no other error.

use tidegate_core::Policy;

/// A fault, a part of the error's text that says what to write, and the policy in which somebody
/// has done exactly that.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn advice_of_an_error_leads_to_no_other_error() {
    let pool = "[origins.a]\nurl = \"http://a.example\"\n[pools.main]\norigins = [\"a\"]\n";
    let route = "[[routes]]\npool = \"main\"\n";
    let with = |more: &str| format!("{pool}{more}\n{route}");
    let routed = |key: &str, table: &str| format!("{pool}{table}\n{route}{key}\n");
    let defined = "[pools.main]\norigins = [\"NAME\"]\n[origins.NAME]\nurl = \"http://HOST\"\n";
    for (fault, advice, followed) in [
        (
            String::new(),
            "write [[routes]] with pool = \"main\", then write [pools.main] with origins = [\"NAME\"] and [origins.NAME] with url = \"http://HOST\"",
            format!("{defined}{route}"),
        ),
        (
            pool.to_owned(),
            "write [[routes]] with pool = \"main\"",
            with(""),
        ),
        (
            "[[routes]]\nname = \"x\"\n".into(),
            "write pool = \"main\", then write [pools.main] with origins",
            format!("{defined}{route}name = \"x\"\n"),
        ),
        (
            format!("{pool}[[routes]]\n"),
            "write pool = \"NAME\" with one of main",
            with(""),
        ),
        (
            route.to_owned(),
            "none is defined; write [pools.main] with origins = [\"NAME\"] and [origins.NAME]",
            format!("{defined}{route}"),
        ),
        (
            format!("[pools.main]\norigins = []\n{route}"),
            "write origins = [\"NAME\"] and [origins.NAME] with url",
            format!("{defined}{route}"),
        ),
        (
            format!("[pools.main]\norigins = [\"a\"]\n{route}"),
            "write [origins.a] with url = \"http://HOST\"",
            format!("[pools.main]\norigins = [\"a\"]\n[origins.a]\nurl = \"http://HOST\"\n{route}"),
        ),
        (
            routed("cache = \"c\"", ""),
            "write [cache.c] with mode = \"respect\"",
            routed("cache = \"c\"", "[cache.c]\nmode = \"respect\""),
        ),
        (
            routed("limits = [\"l\"]", ""),
            "write [limits.l] with quota = \"100/min\" and key = [\"ip\"]",
            routed(
                "limits = [\"l\"]",
                "[limits.l]\nquota = \"100/min\"\nkey = [\"ip\"]",
            ),
        ),
        (
            routed("breaker = \"b\"", ""),
            "write [breakers.b]",
            routed("breaker = \"b\"", "[breakers.b]"),
        ),
        (
            routed("retry = \"r\"", ""),
            "write [retry.r]",
            routed("retry = \"r\"", "[retry.r]"),
        ),
        (
            with("[limits.l]\nquota = \"0/s\"\nkey = []"),
            "such as 1/day",
            with("[limits.l]\nquota = \"1/day\"\nkey = []"),
        ),
        (
            with("[limits.l]\nquota = \"9000000000/s\"\nkey = []"),
            "such as 1000000000/sec",
            with("[limits.l]\nquota = \"1000000000/sec\"\nkey = []"),
        ),
        (
            with("[limits.l]\nquota = \"5\"\nkey = []"),
            "5000/hour",
            with("[limits.l]\nquota = \"5000/hour\"\nkey = []"),
        ),
        (
            with("[limits.l]\nquota = \"5/month\"\nkey = []"),
            "window = \"calendar\"",
            with(
                "[limits.l]\nkind = \"budget\"\nwindow = \"calendar\"\nquota = \"5/month\"\nkey = []",
            ),
        ),
        (
            with("[limits.l]\nkind = \"budget\"\nquota = \"5/month\"\nkey = []"),
            "each day or week",
            with("[limits.l]\nkind = \"budget\"\nquota = \"5/week\"\nkey = []"),
        ),
        (
            with("[limits.l]\nwindow = \"fixed\"\nquota = \"5/s\"\nkey = []"),
            "kind = \"budget\"",
            with("[limits.l]\nkind = \"budget\"\nwindow = \"fixed\"\nquota = \"5/s\"\nkey = []"),
        ),
        (
            with("[limits.l]\nkind = \"budget\"\nzone = \"UTC\"\nquota = \"5/day\"\nkey = []"),
            "window = \"calendar\"",
            with(
                "[limits.l]\nkind = \"budget\"\nwindow = \"calendar\"\nzone = \"UTC\"\nquota = \"5/day\"\nkey = []",
            ),
        ),
        (
            with(
                "[limits.l]\nkind = \"budget\"\nwindow = \"calendar\"\nzone = \"Berlin\"\nquota = \"5/day\"\nkey = []",
            ),
            "Europe/Berlin",
            with(
                "[limits.l]\nkind = \"budget\"\nwindow = \"calendar\"\nzone = \"Europe/Berlin\"\nquota = \"5/day\"\nkey = []",
            ),
        ),
        (
            with("[limits.l]\nkind = \"budget\"\nburst = 9\nquota = \"5/day\"\nkey = []"),
            "leave this out",
            with("[limits.l]\nkind = \"budget\"\nquota = \"5/day\"\nkey = []"),
        ),
        (
            with("[limits.l]\nkind = \"budget\"\ncost = 6\nquota = \"5/day\"\nkey = []"),
            "from 1 to the quota (5)",
            with("[limits.l]\nkind = \"budget\"\ncost = 5\nquota = \"5/day\"\nkey = []"),
        ),
        (
            with("[limits.l]\nkind = \"concurrency\"\nquota = \"5/s\"\nkey = []"),
            "such as \"20\"",
            with("[limits.l]\nkind = \"concurrency\"\nquota = \"20\"\nkey = []"),
        ),
        (
            with("[limits.l]\nkind = \"concurrency\"\nquota = \"5\"\nheld_max = \"5ms\"\nkey = []"),
            "10m",
            with("[limits.l]\nkind = \"concurrency\"\nquota = \"5\"\nheld_max = \"10m\"\nkey = []"),
        ),
        (
            with("[limits.l]\nheld_max = \"1m\"\nquota = \"5/s\"\nkey = []"),
            "kind = \"concurrency\"",
            with("[limits.l]\nkind = \"concurrency\"\nheld_max = \"1m\"\nquota = \"5\"\nkey = []"),
        ),
        (
            with("[limits.l]\nmethods = []\nquota = \"5/s\"\nkey = []"),
            "leave this out",
            with("[limits.l]\nmethods = [\"POST\"]\nquota = \"5/s\"\nkey = []"),
        ),
        (
            with("[limits.l]\nquota = \"5/s\"\nkey = []\nburst = 0"),
            "burst goes from 1",
            with("[limits.l]\nquota = \"5/s\"\nkey = []\nburst = 1"),
        ),
        (
            with("[limits.l]\nquota = \"5/s\"\nkey = [\"user:x\"]"),
            "cookie:NAME",
            with("[limits.l]\nquota = \"5/s\"\nkey = [\"cookie:NAME\"]"),
        ),
        (
            routed(
                "limits = [\"a b\"]",
                "[limits.\"a b\"]\nquota = \"5/s\"\nkey = []",
            ),
            "here and in the routes that name it",
            routed(
                "limits = [\"a-b\"]",
                "[limits.a-b]\nquota = \"5/s\"\nkey = []",
            ),
        ),
        (
            with("[cache.c]\nmode = \"override\""),
            "such as ttl = \"60s\"",
            with("[cache.c]\nmode = \"override\"\nttl = \"60s\""),
        ),
        (
            with("[cache.c]\nmode = \"override\"\nttl = \"60\""),
            "30s",
            with("[cache.c]\nmode = \"override\"\nttl = \"30s\""),
        ),
        (
            with("[cache.c]\nmode = \"respect\"\nbypass_cookies = [\"session=*\"]"),
            "write the name alone",
            with("[cache.c]\nmode = \"respect\"\nbypass_cookies = [\"session\"]"),
        ),
        (
            with("[breakers.b]\nwindow = \"nope\""),
            "\"100 calls\"",
            with("[breakers.b]\nwindow = \"100 calls\""),
        ),
        (
            with("[breakers.b]\nwindow = \"nope\""),
            "\"30s\"",
            with("[breakers.b]\nwindow = \"30s\""),
        ),
        (
            with("[retry.r]\nattempts = 0"),
            "from 1 to 10",
            with("[retry.r]\nattempts = 1"),
        ),
        (
            with("[retry.r]\nhedge_after = \"0ms\""),
            "longer than nothing",
            with("[retry.r]\nhedge_after = \"1ms\""),
        ),
        (
            with("[retry.r]\nattempts = 1\nhedge_after = \"1s\""),
            "`attempts` of 2 or more",
            with("[retry.r]\nattempts = 2\nhedge_after = \"1s\""),
        ),
        (
            with("[retry.r]\nmethods = [\"PUT\"]\nhedge_after = \"1s\""),
            "add GET",
            with("[retry.r]\nmethods = [\"PUT\", \"GET\"]\nhedge_after = \"1s\""),
        ),
        (
            with("[retry.r]\nmethods = [\"get\"]"),
            "GET",
            with("[retry.r]\nmethods = [\"GET\"]"),
        ),
        (
            format!("{pool}{route}path = \"*.css\"\n"),
            "patterns go to path_glob",
            format!("{pool}{route}path_glob = \"*.css\"\n"),
        ),
        (
            format!("{pool}{route}path_prefix = \"/a*\"\n"),
            "patterns go to path_glob",
            format!("{pool}{route}path_glob = \"/a*\"\n"),
        ),
        (
            format!("{pool}{route}host = \"a.example:80\"\n"),
            "*.shop.example",
            format!("{pool}{route}host = \"*.shop.example\"\n"),
        ),
        (
            format!("[server]\nlisten = \"localhost:80\"\n{pool}{route}"),
            "\"[::]:8080\"",
            format!("[server]\nlisten = \"[::]:8080\"\n{pool}{route}"),
        ),
        (
            format!("[server]\nheader_count_max = 5000\n{pool}{route}"),
            "header_bytes_max = \"256KiB\", uri_bytes_max = \"60000B\", header_count_max = 1000",
            format!(
                "[server]\nheader_bytes_max = \"256KiB\"\nuri_bytes_max = \"60000B\"\nheader_count_max = 1000\n{pool}{route}"
            ),
        ),
        (
            format!("[server]\nadmin_hosts = [\"http://a\"]\n{pool}{route}"),
            "*.pods.example",
            format!(
                "[server]\nadmin_hosts = [\"*.pods.example\", \"tidegate.default.svc\"]\n{pool}{route}"
            ),
        ),
        (
            format!("[client]\ntrusted_proxies = [\"x\"]\n{pool}{route}"),
            "2001:db8::/32",
            format!("[client]\ntrusted_proxies = [\"2001:db8::/32\"]\n{pool}{route}"),
        ),
        (
            format!("[client]\nuser = \"ip\"\n{pool}{route}"),
            "\"header:NAME\"",
            format!("[client]\nuser = \"header:NAME\"\n{pool}{route}"),
        ),
    ] {
        let error = Policy::parse("p", &fault).expect_err(&fault);
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(error.to_string().contains(advice), "{error}\n{advice}");
        if let Err(next) = Policy::parse("p", &followed) {
            panic!("the advice\n{error}\nleads to\n{next}");
        }
    }
    let statuses = [
        "3xx", "4xx", "300", "301", "302", "307", "308", "404", "405", "410", "414", "451",
    ];
    for status in statuses {
        let text = with(&format!(
            "[cache.c]\nmode = \"override\"\nttl = \"1h\"\nttl_by_status = {{ \"{status}\" = \"1s\" }}"
        ));
        assert!(Policy::parse("p", &text).is_ok(), "{status}");
    }
    // What lints advise holds too.
    let warned = |text: &str| {
        Policy::lint("p", text)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let without_default = format!("{pool}{route}path = \"/a\"\n");
    assert!(warned(&without_default).contains("with a pool and without conditions"));
    assert_eq!(warned(&format!("{without_default}{route}")), "");
    assert!(warned(&with("[origins.b]\nurl = \"http://b.example\"")).contains("name it in a pool"));
    let retried = routed("retry = \"r\"", "[retry.r]");
    assert!(warned(&retried).contains("breaker = \"NAME\" with a table [breakers.NAME]"));
    assert_eq!(
        warned(&routed(
            "retry = \"r\"\nbreaker = \"NAME\"",
            "[retry.r]\n[breakers.NAME]"
        )),
        ""
    );
}
