//! What an operator learns of URLs that were to be warmed.

use http::{Uri, header, response};
use serde::Serialize;

use crate::cache::storable::NotStored;
use crate::report::{Bypass, CacheReport, Report};

/// What became of one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warmed {
    status: u16,
    cache_status: Option<String>,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Stored,
    StoredBefore,
    /// Why not.
    NotStored(String),
}

impl Warmed {
    /// Says what an exchange that was to fill the store has come to. Whether the store takes the
    /// body shows later.
    pub fn of(head: &response::Parts, report: &Report) -> Self {
        Self {
            status: report.status,
            cache_status: own_cache_status(head, report),
            outcome: Outcome::of(report),
        }
    }

    /// Says that the store has not taken the body: it broke off, or is larger than the profile or
    /// the store allow.
    pub fn lose_body(&mut self) {
        match self.outcome {
            Outcome::Stored | Outcome::StoredBefore => {
                self.outcome = Outcome::NotStored("body".to_owned());
            }
            Outcome::NotStored(_) => {}
        }
    }

    fn is_stored(&self) -> bool {
        match self.outcome {
            Outcome::Stored | Outcome::StoredBefore => true,
            Outcome::NotStored(_) => false,
        }
    }

    fn told(&self, url: &Uri) -> Told<'_> {
        Told {
            cache_status: self.cache_status.as_deref(),
            outcome: match &self.outcome {
                Outcome::Stored => "stored".to_owned(),
                Outcome::StoredBefore => "stored before".to_owned(),
                Outcome::NotStored(why) => format!("not stored: {why}"),
            },
            status: self.status,
            url: url.to_string(),
        }
    }

    /// Writes the answer to an operator, in JSON: what became of each URL, and how many are stored
    /// now and how many are not.
    pub fn answer(all: &[(Uri, Self)]) -> String {
        let stored = all.iter().filter(|(_, warmed)| warmed.is_stored()).count();
        let answer = Answer {
            not_stored: all.len() - stored,
            stored,
            warmed: all.iter().map(|(url, warmed)| warmed.told(url)).collect(),
        };
        serde_json::to_string(&answer).unwrap_or_default()
    }
}

/// The members of an answer, in the order in which they are written.
#[derive(Serialize)]
struct Answer<'a> {
    not_stored: usize,
    stored: usize,
    warmed: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    cache_status: Option<&'a str>,
    outcome: String,
    status: u16,
    url: String,
}

impl Outcome {
    fn of(report: &Report) -> Self {
        if let Some(refusal) = report.refusal {
            return Self::NotStored(refusal.as_str().to_owned());
        }
        match &report.cache {
            None => Self::NotStored("no_profile".to_owned()),
            Some(cache) if cache.stored => Self::Stored,
            Some(cache) => match reason(cache) {
                Some(why) => Self::NotStored(why),
                // It came from the store, and stays there.
                None => Self::StoredBefore,
            },
        }
    }
}

fn reason(cache: &CacheReport) -> Option<String> {
    let bypass = cache
        .bypass
        .map(Bypass::as_str)
        .map(|why| format!("bypass ({why})"));
    bypass.or(cache.not_stored.map(NotStored::as_str).map(str::to_owned))
}

/// Returns what this node's cache says of itself. It comes last, after what caches behind it have
/// said.
fn own_cache_status(head: &response::Parts, report: &Report) -> Option<String> {
    report.cache.as_ref()?;
    let field = head
        .headers
        .get_all(header::CACHE_STATUS)
        .iter()
        .next_back()?;
    field.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::exchange::refuse_unread;
    use crate::message::request::{Client, RequestBody, Scheme};
    use crate::problem::Refusal;
    use crate::report::CacheOutcome;
    use crate::time::Timestamp;

    fn answered(url: Uri, warmed: Warmed) -> serde_json::Value {
        serde_json::from_str(&Warmed::answer(&[(url, warmed)])).unwrap()
    }

    fn report(refusal: Option<Refusal>, cache: Option<CacheReport>) -> Report {
        let peer = std::net::IpAddr::from([192, 0, 2, 1]);
        let client = Client {
            peer,
            geo: None,
            tls_subject: None,
            scheme: Scheme::Http,
            body: RequestBody::Empty,
            fresh_trace: 1,
        };
        let reply = refuse_unread(Refusal::Malformed, &client, Timestamp::default());
        Report {
            cache,
            refusal,
            ..*reply.hold.unseen().report
        }
    }

    fn cache(outcome: CacheOutcome) -> CacheReport {
        CacheReport {
            outcome,
            ..CacheReport::new(&"c".into())
        }
    }

    #[test]
    fn each_url_is_told_with_what_became_of_it() {
        let (head, ()) = http::Response::new(()).into_parts();
        let miss = cache(CacheOutcome::Miss);
        for (report, outcome) in [
            (
                report(
                    None,
                    Some(CacheReport {
                        stored: true,
                        ..miss.clone()
                    }),
                ),
                "stored",
            ),
            (
                report(None, Some(cache(CacheOutcome::Hit))),
                "stored before",
            ),
            (
                report(None, Some(cache(CacheOutcome::StaleIfError))),
                "stored before",
            ),
            (report(None, None), "not stored: no_profile"),
            (report(Some(Refusal::NoRoute), None), "not stored: no_route"),
            (
                report(Some(Refusal::OriginTimeout), Some(miss.clone())),
                "not stored: origin_timeout",
            ),
            (
                report(
                    None,
                    Some(CacheReport {
                        not_stored: Some(NotStored::NoStore),
                        ..miss
                    }),
                ),
                "not stored: no_store",
            ),
            (
                report(
                    None,
                    Some(CacheReport {
                        bypass: Some(Bypass::Profile),
                        ..cache(CacheOutcome::Bypass)
                    }),
                ),
                "not stored: bypass (profile)",
            ),
        ] {
            let url = Uri::from_static("http://a.example/");
            let mut warmed = Warmed::of(&head, &report);
            let answer = answered(url.clone(), warmed.clone());
            assert_eq!(answer["warmed"][0]["outcome"], outcome);
            let stored = u8::from(!outcome.starts_with("not"));
            assert_eq!(
                (&answer["stored"], &answer["not_stored"]),
                (&stored.into(), &(1 - stored).into())
            );
            warmed.lose_body();
            let without = answered(url, warmed);
            let expected = if stored == 1 {
                "not stored: body"
            } else {
                outcome
            };
            assert_eq!(
                (&without["warmed"][0]["outcome"], &without["stored"]),
                (&expected.into(), &0.into())
            );
        }
    }
}
