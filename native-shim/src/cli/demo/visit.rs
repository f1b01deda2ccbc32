//! A visitor of the demo: sends one request through the proxy and tells what was decided, in words,
//! from the report.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tidegate::Node;
use tokio::net::TcpStream;

use super::super::duration;

/// Most requests that the demo sends while it waits for one decision.
const TRIES_MAX: usize = 200;

/// Width of the column for paths.
const PATH_WIDTH: usize = 16;

/// Who visits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visitor {
    pub(super) name: &'static str,
    pub(super) address: &'static str,
    pub(super) country: &'static str,
    pub(super) latitude: &'static str,
    pub(super) longitude: &'static str,
}

pub(super) const ANN: Visitor = Visitor {
    name: "Ann, Berlin",
    address: "198.51.100.7",
    country: "DE",
    latitude: "52.52",
    longitude: "13.40",
};
pub(super) const BOB: Visitor = Visitor {
    name: "Bob, New York",
    address: "203.0.113.9",
    country: "US",
    latitude: "40.71",
    longitude: "-74.01",
};

/// Where the demo's requests go, and where its records come from.
pub(super) struct Stage {
    pub(super) proxy: SocketAddr,
    pub(super) node: Arc<Node>,
}

impl Stage {
    /// Sends one request and prints what was decided.
    pub(super) async fn visit(
        &self,
        visitor: Visitor,
        target: &str,
    ) -> Result<usize, Box<dyn Error>> {
        self.until(visitor, target, Duration::ZERO, |_| true, |_| true)
            .await
    }

    /// Sends requests, with a pause between them, until one is treated as waited for. Prints those
    /// that are worth it, and says how many.
    pub(super) async fn until(
        &self,
        visitor: Visitor,
        target: &str,
        pause: Duration,
        prints: impl Fn(&Value) -> bool,
        waited_for: impl Fn(&Value) -> bool,
    ) -> Result<usize, Box<dyn Error>> {
        let mut printed = 0;
        for _ in 0..TRIES_MAX {
            send(self.proxy, visitor, target).await?;
            let mut done = false;
            for report in self.reports() {
                done |= waited_for(&report);
                if prints(&report) || waited_for(&report) {
                    println!("{}", line(visitor.name, target, &report));
                    printed += 1;
                }
            }
            if done {
                return Ok(printed);
            }
            tokio::time::sleep(pause).await;
        }
        Err(format!("GET {target} was never treated as the demo says, in {TRIES_MAX} tries").into())
    }

    /// Prints what was decided in the background, once it is there.
    pub(super) async fn background(&self) {
        for _ in 0..TRIES_MAX {
            let reports = self.reports();
            for report in &reports {
                println!("{}", line("", "", report));
            }
            if !reports.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Prints what was decided for anybody since.
    pub(super) fn tell(&self) {
        for report in self.reports() {
            println!(
                "{}",
                line(
                    "a visitor",
                    report["path"].as_str().unwrap_or_default(),
                    &report
                )
            );
        }
    }

    fn reports(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        self.node.access_log.flush(&mut lines);
        lines
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}

async fn send(proxy: SocketAddr, visitor: Visitor, target: &str) -> Result<(), Box<dyn Error>> {
    let stream = TcpStream::connect(proxy).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(target)
        .header("host", "shop.example")
        .header("x-forwarded-for", visitor.address)
        .header("x-user-id", visitor.name)
        .header("cf-ipcountry", visitor.country)
        .header("cf-iplatitude", visitor.latitude)
        .header("cf-iplongitude", visitor.longitude)
        .header("connection", "close")
        .body(Empty::<Bytes>::new())?;
    // Both at once: the connection carries the request and ends after its one response.
    let (response, ended) = tokio::join!(
        async {
            let mut response = sender.send_request(request).await?;
            drop(sender);
            while let Some(frame) = http_body_util::BodyExt::frame(response.body_mut()).await {
                frame?;
            }
            Ok::<_, hyper::Error>(())
        },
        connection
    );
    response?;
    ended?;
    Ok(())
}

/// One line for one report.
fn line(visitor: &str, target: &str, report: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let background = report["kind"] == "revalidation";
    let who = if background { "(background)" } else { visitor };
    let path = if background {
        text(&report["path"])
    } else {
        target.to_owned()
    };
    let why: Vec<String> = [
        limits(report),
        cache(report),
        attempts(report),
        refusal(report),
    ]
    .into_iter()
    .flatten()
    .collect();
    let took = format!("{} ms", report["duration_ms"]);
    let method = text(&report["method"]);
    let path = shortened(&path);
    format!(
        "  {who:<13} {method:<4} {path:<PATH_WIDTH$} {} {took:>6}  {}",
        report["status"],
        why.join("; ")
    )
}

/// Cuts a path that would break the columns.
fn shortened(path: &str) -> String {
    if path.chars().count() <= PATH_WIDTH {
        return path.to_owned();
    }
    let mut beginning: String = path.chars().take(PATH_WIDTH - 1).collect();
    beginning.push('…');
    beginning
}

fn limits(report: &Value) -> Option<String> {
    let limit = report["limits"].get(0)?;
    let name = limit["name"].as_str()?;
    Some(match limit["outcome"].as_str()? {
        "allowed" => format!("{name}: {} left", limit["remaining"]),
        "rejected" => format!("{name} is used up, again in {} ms", limit["retry_after_ms"]),
        other => format!("{name}: {other}"),
    })
}

/// Writes milliseconds for people; a lifetime that is over is told without its sign.
fn time(millis: &Value) -> String {
    duration::readable(millis.as_i64().unwrap_or_default().unsigned_abs())
}

fn cache(report: &Value) -> Option<String> {
    let cache = report.get("cache")?;
    let (age, lifetime) = (time(&cache["age_ms"]), time(&cache["ttl_ms"]));
    Some(match cache["outcome"].as_str()? {
        "hit" => format!("hit, {age} old, fresh for {lifetime} more"),
        "stale" if cache["revalidates"] == true => {
            format!("stale by {lifetime}: served at once, fetched anew in the background")
        }
        "stale" => format!("stale by {lifetime}: served at once"),
        "stale_if_error" => format!("stale by {lifetime}: stands in for the failed origin"),
        "bypass" => format!(
            "not cached ({})",
            cache["bypass"].as_str().unwrap_or_default()
        ),
        outcome if cache["stored"] == true => format!("{outcome}, stored for {lifetime}"),
        outcome => match cache["not_stored"].as_str() {
            Some(why) => format!("{outcome}, not stored ({why})"),
            None => outcome.to_owned(),
        },
    })
}

fn attempts(report: &Value) -> Option<String> {
    let attempts = report["attempts"].as_array().filter(|a| !a.is_empty())?;
    let told = attempts.iter().map(|attempt| {
        let origin = attempt["origin"].as_str().unwrap_or_default();
        let circuit = attempt["circuit"]
            .as_str()
            .map(|state| format!(", its circuit is now {state}"))
            .unwrap_or_default();
        match attempt["outcome"].as_str().unwrap_or_default() {
            "response" => format!("{origin} answered {}{circuit}", attempt["status"]),
            "circuit_open" => format!("{origin} skipped: circuit open"),
            other => format!("{origin} {other}{circuit}"),
        }
    });
    Some(told.collect::<Vec<_>>().join(", "))
}

fn refusal(report: &Value) -> Option<String> {
    report["refusal"]
        .as_str()
        .map(|reason| format!("refused: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_leave_the_columns_where_they_are() {
        assert_eq!(shortened("/static/logo.svg"), "/static/logo.svg");
        assert_eq!(shortened("/static/über/logo.svg"), "/static/über/lo…");
        let report = |path: &str| {
            let line = line(
                "a visitor",
                path,
                &serde_json::json!({ "method": "GET", "status": 200, "duration_ms": 5 }),
            );
            line.chars().position(|letter| letter == '2')
        };
        assert_eq!(report("/a"), report("/a/path/that/is/far/too/long"));
    }
}
