//! What is made of a page.

use htmd::HtmlToMarkdown;
use llmring_plugin_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to make of a page.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Format {
    /// HTML becomes Markdown; everything else stays as it is.
    #[default]
    Markdown,
    /// As it came.
    Raw,
}

/// A page, or a part of it.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Page {
    /// Where it was found in the end.
    pub(crate) url: String,
    /// Its media type.
    pub(crate) media_type: String,
    pub(crate) content: String,
    /// How many characters there are in all.
    pub(crate) characters: usize,
    /// Where to read on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_start: Option<usize>,
}

impl Page {
    pub(crate) fn new(url: String, media_type: String, body: &str, format: Format) -> Result<Self> {
        if !is_text(&media_type) {
            return Err(Error::failed(format_args!("{url} is no text but {media_type}")));
        }
        let content = match format {
            Format::Markdown if matches!(media_type.as_str(), "text/html" | "application/xhtml+xml") => {
                markdown(body)?
            }
            Format::Markdown | Format::Raw => body.to_owned(),
        };
        Ok(Self {
            url,
            media_type,
            characters: content.chars().count(),
            content,
            next_start: None,
        })
    }

    /// This page with only so many characters from `start` on.
    pub(crate) fn excerpt(self, start: usize, max_characters: usize) -> Self {
        let end = start.saturating_add(max_characters);
        Self {
            content: self.content.chars().skip(start).take(max_characters).collect(),
            next_start: (end < self.characters).then_some(end),
            ..self
        }
    }
}

fn markdown(html: &str) -> Result<String> {
    let skipped = vec!["script", "style", "noscript", "template", "svg", "head", "iframe"];
    Ok(HtmlToMarkdown::builder()
        .skip_tags(skipped)
        .build()
        .convert(html)?)
}

/// Whether content of that media type can be read; what names none probably can.
fn is_text(media_type: &str) -> bool {
    let (kind, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
    media_type.is_empty()
        || kind == "text"
        || matches!(
            subtype,
            "json" | "xml" | "javascript" | "x-ndjson" | "yaml" | "toml"
        )
        || subtype.ends_with("+json")
        || subtype.ends_with("+xml")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn page(media_type: &str, body: &str, format: Format) -> Result<Page> {
        Page::new(
            "https://a.example/".to_owned(),
            media_type.to_owned(),
            body,
            format,
        )
    }

    #[test]
    fn html_becomes_markdown() {
        let html = "<html><head><title>T</title><style>b{}</style></head><body><h1>Ä &amp; B</h1><script>evil()</script>\
                    <p>Some <b>bold</b> <a href=\"/x\">link</a></p><ul><li>one<li>two</ul></body></html>";
        let content = page("text/html", html, Format::Markdown).unwrap().content;
        assert!(
            content.starts_with("# Ä & B\n\nSome **bold** [link](/x)"),
            "{content}"
        );
        assert!(
            content.contains("one") && !content.contains("evil") && !content.contains("b{}"),
            "{content}"
        );
        assert_eq!(page("text/html", html, Format::Raw).unwrap().content, html);
        assert_eq!(
            page("application/json", "{}", Format::Markdown).unwrap().content,
            "{}"
        );
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for media_type in ["image/png", "application/octet-stream", "application/pdf"] {
            assert!(
                matches!(page(media_type, "", Format::Raw).unwrap_err(), Error::Failed(_)),
                "{media_type}"
            );
        }
        assert!(page("image/svg+xml", "<svg/>", Format::Raw).is_ok());
        assert!(page("", "text", Format::Raw).is_ok());
    }

    #[test]
    fn a_long_page_is_read_in_parts() {
        let whole = page("text/plain", "åäöabc", Format::Raw).unwrap();
        assert_eq!(whole.characters, 6);
        let first = whole.excerpt(0, 4);
        assert_eq!((first.content.as_str(), first.next_start), ("åäöa", Some(4)));
        let rest = page("text/plain", "åäöabc", Format::Raw).unwrap().excerpt(4, 4);
        assert_eq!((rest.content.as_str(), rest.next_start), ("bc", None));
        assert_eq!(
            page("text/plain", "a", Format::Raw)
                .unwrap()
                .excerpt(9, 1)
                .content,
            ""
        );
    }
}
