//! What operators do at the Worker's own address, if they show its token.

use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;

use futures_util::future::join_all;
use http::{HeaderMap, StatusCode, Uri, request};
use serde::Serialize;
use tidegate_core::operations::{self, Guesses, Operation, Refused, Shown, Token, Warmed};
use tidegate_core::purge::Number;
use tidegate_core::{Client, Engine, RequestBody, Scheme};
use worker::{Env, Result, web_sys};

use crate::convert::{self, Body};
use crate::drive::{self, Shell};
use crate::{clock, purges, streams};

/// URLs that are warmed at once.
const WARMED_AT_ONCE: usize = 4;

thread_local! {
    /// Who has shown wrong tokens to this isolate.
    static GUESSES: RefCell<Guesses> = const { RefCell::new(Guesses::new()) };
}

/// Returns whether a request is for operators: it has their path. Without a token there are no
/// operations, and the path is one like all others. Elsewhere the core refuses requests that show
/// the token.
pub(crate) fn is_one(env: &Env, head: &request::Parts) -> bool {
    head.uri.path().starts_with(operations::ROOT) && token(env).is_some()
}

/// Returns whether a request shows the operators' token, wherever it stands.
pub(crate) fn shows_token(env: &Env, headers: &HeaderMap) -> bool {
    token(env).is_some_and(|token| token.is_in(headers))
}

/// Returns the operators' token, if they have one.
pub(crate) fn token(env: &Env) -> Option<Token> {
    Token::new(&env.secret("TIDEGATE_ADMIN_TOKEN").ok()?.to_string())
}

/// Lets those with the token pass. Wrong ones are counted by this isolate, told and slowed.
fn admit(env: &Env, headers: &HeaderMap, peer: IpAddr) -> std::result::Result<(), Refused> {
    let token = token(env);
    let shown = token
        .as_ref()
        .map_or(Shown::Nothing, |token| token.shown(headers));
    let now = clock::now();
    if shown != Shown::Nothing {
        GUESSES.with_borrow(|guesses| guesses.admit(peer, now))?;
    }
    if shown == Shown::Wrong {
        GUESSES.with_borrow_mut(|guesses| guesses.count(peer, now));
        worker::console_warn!("{peer} showed a wrong token at {}", operations::ROOT);
    }
    operations::admit(headers, token.as_ref())
}

/// Carries out an operation and answers.
pub(crate) async fn answer(
    env: &Env,
    engine: &Engine,
    request: &web_sys::Request,
    head: &request::Parts,
    peer: IpAddr,
) -> Result<web_sys::Response> {
    let done = match admit(env, &head.headers, peer) {
        Err(refused) => Err(refused),
        Ok(()) => match order(request).await {
            Err(refused) => Err(refused),
            Ok(body) => carry_out(env, engine, head, &body).await,
        },
    };
    let (reply, text) = operations::reply(done);
    convert::response(&reply, Body::Bytes(text.into()))
}

/// Reads the body, no further than an order may be long.
async fn order(request: &web_sys::Request) -> std::result::Result<Vec<u8>, Refused> {
    let body = streams::collect(request.body().as_ref(), operations::ORDER_BYTES_MAX as u64).await;
    body.map(|bytes| bytes.to_vec()).map_err(|_| {
        let detail = format!(
            "the body cannot be read; an order has at most {} bytes",
            operations::ORDER_BYTES_MAX
        );
        Refused::new(StatusCode::BAD_REQUEST, "Not understood", detail)
    })
}

/// What an operator is told.
#[derive(Serialize)]
struct Told {
    last_purge: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    purges: Option<usize>,
}

impl Told {
    fn written(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

async fn carry_out(
    env: &Env,
    engine: &Engine,
    head: &request::Parts,
    body: &[u8],
) -> std::result::Result<String, Refused> {
    match operations::read(&head.method, &head.uri, body)? {
        Operation::Purge(asked) => {
            let unavailable =
                |title, detail| Refused::new(StatusCode::SERVICE_UNAVAILABLE, title, detail);
            match purges::make(env, engine, &asked).await {
                Ok(true) => Ok(Told {
                    last_purge: engine.last_purge(),
                    purges: Some(asked.len()),
                }
                .written()),
                Ok(false) => Err(unavailable(
                    "Nobody orders purges",
                    "Bind the Durable Object PurgeLog as PURGES in wrangler.toml.",
                )),
                Err(error) => {
                    worker::console_error!("the log of purges: {error}");
                    Err(unavailable(
                        "Not purged",
                        "The log of purges does not answer: order the purge again.",
                    ))
                }
            }
        }
        // The platform does not tell what it stores.
        Operation::Stats => Ok(Told {
            last_purge: engine.last_purge(),
            purges: None,
        }
        .written()),
        Operation::Warm(urls) => {
            let mut warmed: Vec<(Uri, Warmed)> = Vec::with_capacity(urls.len());
            for some in urls.chunks(WARMED_AT_ONCE) {
                warmed.extend(join_all(some.iter().map(|url| warm(env, engine, url))).await);
            }
            Ok(Warmed::answer(&warmed))
        }
    }
}

async fn warm(env: &Env, engine: &Engine, url: &Uri) -> (Uri, Warmed) {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.uri = url.clone();
    let client = Client {
        peer: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        geo: None,
        tls_subject: None,
        scheme: if url.scheme_str() == Some("https") {
            Scheme::Https
        } else {
            Scheme::Http
        },
        body: RequestBody::Empty,
        fresh_trace: u128::from_le_bytes(clock::random()),
    };
    let shell = Shell {
        paced: OnceCell::new(),
        env: env.clone(),
        engine: engine.clone(),
        ctx: None,
        body: None,
    };
    let ended = shell.drive(engine.warm(head, client, clock::now())).await;
    let mut warmed = Warmed::of(&ended.reply.head, ended.reply.report());
    if !drive::fill_alone(env, ended, false).await {
        warmed.lose_body();
    }
    (url.clone(), warmed)
}
