//! The edge shell: a Cloudflare Worker that carries out what `tidegate-core` decides.

mod cache;
mod convert;
mod limit_counter;
mod origin;

use worker::{Context, Env, Result, event, js_sys, web_sys};

/// Answers one request. Bodies stay JavaScript streams: no byte of them enters wasm memory.
#[event(fetch)]
#[expect(clippy::panic, reason = "the skeleton shows what a panic does to its caller")]
async fn fetch(request: web_sys::Request, env: Env, ctx: Context) -> Result<web_sys::Response> {
    let parts = convert::request_parts(&request)?;
    match parts.uri.path() {
        "/panic" => panic!("on purpose"),
        "/later-panic" => {
            worker::Delay::from(std::time::Duration::from_millis(20)).await;
            panic!("on purpose, later")
        }
        "/sleep" => {
            worker::Delay::from(std::time::Duration::from_millis(300)).await;
            convert::text(200, "slept")
        }
        "/now" => convert::text(200, &js_sys::Date::now().to_string()),
        "/cf" => convert::text(200, &convert::cf_string(&request, "country").unwrap_or_default()),
        "/policy" => {
            let policy = env.kv("POLICY")?.get("policy").cache_ttl(60).text().await?;
            convert::text(200, &policy.unwrap_or_else(|| "none".to_owned()))
        }
        "/count" => {
            let client = parts.headers.get("cf-connecting-ip");
            let key = client.and_then(|v| v.to_str().ok()).unwrap_or("nobody");
            let count = limit_counter::charge(&env, key).await?;
            convert::text(200, &count)
        }
        path if path.starts_with("/cached/") => cache::serve(&env, &ctx, &request, parts).await,
        _ => {
            let response = origin::fetch(&env, &request, parts).await?;
            worker::console_log!("{{\"status\":{}}}", response.status());
            origin::pass_on(&response)
        }
    }
}
