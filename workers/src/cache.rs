//! The Cache API behind custom keys.

use http::request::Parts;
use worker::{Cache, Context, Env, Result, web_sys};

use crate::{convert, origin};

/// Answers from the cache, or fetches and stores.
pub(crate) async fn serve(
    env: &Env,
    ctx: &Context,
    request: &web_sys::Request,
    parts: Parts,
) -> Result<web_sys::Response> {
    let key = format!("https://cache.tidegate.invalid/{}", parts.uri.path().len()) + parts.uri.path();
    let cache = Cache::open("tidegate".to_owned()).await;
    if let Some(hit) = cache.get(key.clone(), true).await? {
        let stored: web_sys::Response = hit.into();
        let init = web_sys::ResponseInit::new();
        init.set_status(stored.status());
        let mut map = convert::header_map(&stored.headers());
        map.insert("cache-status", http::HeaderValue::from_static("tidegate; hit"));
        init.set_headers(convert::headers(&map)?.as_ref());
        return Ok(web_sys::Response::new_with_opt_readable_stream_and_init(stored.body().as_ref(), &init)?);
    }
    let response = origin::fetch(env, request, parts).await?;
    let copy = response.clone()?;
    ctx.wait_until(async move {
        if let Err(error) = cache.put(key, worker::Response::from(copy)).await {
            worker::console_error!("cache put: {error}");
        }
    });
    origin::pass_on(&response)
}
