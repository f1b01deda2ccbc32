//! `[store]`: the memory store of responses in a pod.

use serde::Deserialize;

use crate::policy::compiler::Compiler;
use crate::policy::error::KeyPath;
use crate::policy::settings::StoreBounds;

/// Bounds of the memory store.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawStore {
    /// Most bytes, counting keys, header fields and bodies. Default: 256MiB.
    pub bytes_max: Option<String>,
    /// Most entries. Default: 10000.
    pub entries_max: Option<u32>,
}

pub(in crate::policy) fn compile(c: &mut Compiler<'_>, raw: &RawStore) -> StoreBounds {
    let bytes_max = c.bytes(
        &KeyPath::of(&["store", "bytes_max"]),
        raw.bytes_max.as_ref(),
        256 << 20,
    );
    StoreBounds {
        bytes_max,
        entries_max: raw
            .entries_max
            .unwrap_or(10_000)
            .try_into()
            .unwrap_or(usize::MAX),
    }
}
