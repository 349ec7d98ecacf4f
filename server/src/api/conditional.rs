//! Conditional requests (RFC 9110 section 13).

/// Whether `If-None-Match` names `etag`; weak comparison (RFC 9110 section 13.1.2).
pub(super) fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
