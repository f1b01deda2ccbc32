//! The operators' token.

/// Returns what operators show at the admin address.
pub(super) fn admin_token() -> Option<String> {
    std::env::var("TIDEGATE_ADMIN_TOKEN")
        .ok()
        .filter(|token| !token.trim().is_empty())
}
