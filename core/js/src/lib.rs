//! Tidegate's decisions for JavaScript.
//!
//! Two functions. [`evaluate`]: what a policy decides for a request, and why. [`compile`]: a policy
//! as the Worker reads it from KV. They ask no network, no clock but for the current time, and keep
//! nothing.

mod request;

use js_sys::{Date, Error, JSON};
use tidegate_core::{Engine, Policy, Timestamp, explain};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A request to evaluate. */
export interface EvaluatedRequest {
  /** Default: GET. */
  method?: string;
  /** Absolute, http or https. */
  url: string;
  /** Header fields; an array holds several lines of one name. */
  headers?: Record<string, string | string[]>;
  /** The address of the client. Default: 127.0.0.1. */
  client?: string;
  /** Two-letter code of the client's country. */
  country?: string;
}

/** Every decision and its reason: schema/report.schema.json describes it. */
export interface Report {
  method: string;
  host: string;
  path: string;
  route?: string;
  token?: { outcome: string; claims: { name: string; present: boolean }[] };
  limits?: { name: string; kind: "rate" | "budget" | "concurrency"; outcome: string; remaining: number; reset_ms: number; retry_after_ms: number }[];
  bandwidth?: { name: string; direction: "request" | "response"; paced_ms: number }[];
  cache?: { profile: string; outcome: string; bypass?: string; stored: boolean; not_stored?: string };
  origins?: string[];
  refusal?: string;
  timeline: { at_ms: number; event: string; attempt?: number }[];
  status: number;
  [member: string]: unknown;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// A request as JavaScript describes it.
    #[wasm_bindgen(typescript_type = "EvaluatedRequest")]
    pub type EvaluatedRequest;

    /// A report as a JavaScript object.
    #[wasm_bindgen(typescript_type = "Report")]
    pub type Report;
}

/// Says what `policy`, the text of a `tidegate.toml`, decides for a request to a node that has seen
/// nothing yet: every counter is full, nothing is stored, and the first origin answers 200 at once.
/// A token's signature is taken for right, and keys that would have to be fetched are not known.
///
/// Throws when the policy is wrong, saying where and why, and when the request is not one.
#[wasm_bindgen]
pub fn evaluate(policy: &str, request: EvaluatedRequest) -> Result<Report, Error> {
    let policy = parse(policy)?;
    let request =
        JSON::stringify(&request.into()).map_err(|_| Error::new("the request is not an object"))?;
    let (head, client) =
        request::read(&String::from(request)).map_err(|error| Error::new(&error))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole milliseconds after 1970"
    )]
    let now = Timestamp::from_millis(Date::now() as u64);
    let report = explain::explain(&Engine::new(policy, 0), head, client, now, |_| true);
    let json = serde_json::to_string(&report).map_err(|error| Error::new(&error.to_string()))?;
    let object: JsValue =
        JSON::parse(&json).map_err(|_| Error::new("the report cannot be read"))?;
    Ok(object.into())
}

/// Returns `policy`, the text of a `tidegate.toml`, as the Worker reads it under the key `policy`
/// in KV: what `tidegate check --compile` writes.
///
/// Throws when the policy is wrong, saying where and why.
#[wasm_bindgen]
pub fn compile(policy: &str) -> Result<String, Error> {
    Ok(parse(policy)?.publish(policy).text)
}

fn parse(policy: &str) -> Result<Policy, Error> {
    Policy::parse("policy", policy).map_err(|error| Error::new(&error.to_string()))
}
