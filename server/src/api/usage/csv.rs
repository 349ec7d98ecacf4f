//! Usage logs as comma-separated values (RFC 4180).

use std::fmt::Write;

use bytes::Bytes;
use chrono::SecondsFormat;
use entity::usage_log;
use entity::usd::Usd;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use poem::Body;

use crate::error::Result;

pub(super) const CONTENT_TYPE: &str = "text/csv";

const HEADER: &str = "id,logged_at,provider,model,alias,profile,origin,input_tokens,output_tokens,\
cached_input_tokens,cache_write_5m_tokens,cache_write_1h_tokens,reasoning_tokens,cost,cost_source,latency_ms,\
conversation_id,id_at_origin,metadata\r\n";

/// The header and `rows`.
pub(super) fn text(rows: &[usage_log::Model]) -> String {
    format!("{HEADER}{}", lines(rows))
}

/// The header, then the rows as they are read. An error on the way breaks the connection off, so that nobody takes a part for the
/// whole.
pub(super) fn stream(chunks: impl Stream<Item = Result<Vec<usage_log::Model>>> + Send + 'static) -> Body {
    let lines = chunks.map_ok(|rows| Bytes::from(lines(&rows))).map_err(|error| {
        tracing::error!(%error, "a CSV download was broken off");
        std::io::Error::other(error)
    });
    let header = stream::once(async { Ok(Bytes::from_static(HEADER.as_bytes())) });
    Body::from_bytes_stream(header.chain(lines))
}

fn lines(rows: &[usage_log::Model]) -> String {
    let mut text = String::new();
    for row in rows {
        let cost = row.cost().unwrap_or(Usd::ZERO);
        let optional = |value: &Option<String>| value.clone().unwrap_or_default();
        let fields = [
            row.id.to_string(),
            row.logged_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            row.provider.clone(),
            row.model.clone(),
            optional(&row.alias),
            row.profile.clone(),
            optional(&row.origin),
            row.input_tokens.to_string(),
            row.output_tokens.to_string(),
            row.cached_input_tokens.to_string(),
            row.cache_write_5m_tokens.to_string(),
            row.cache_write_1h_tokens.to_string(),
            row.reasoning_tokens.to_string(),
            cost.to_string(),
            row.cost_source.as_str().to_owned(),
            row.latency_ms.map(|ms| ms.to_string()).unwrap_or_default(),
            row.conversation_id.map(|id| id.to_string()).unwrap_or_default(),
            optional(&row.id_at_origin),
            row.metadata.clone(),
        ];
        for (index, field) in fields.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(text, "{comma}{}", quoted(field));
        }
        text.push_str("\r\n");
    }
    text
}

/// Quoted where RFC 4180 section 2 asks for it.
fn quoted(field: &str) -> std::borrow::Cow<'_, str> {
    if field.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_needed() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("{\"a\":1}"), "\"{\"\"a\"\":1}\"");
        assert_eq!(quoted("two\nlines"), "\"two\nlines\"");
    }
}
