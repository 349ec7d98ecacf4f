//! URI templates (RFC 6570), as far as a plugin needs them: `{name}` stands for one segment of a path, percent-encoded,
//! and `{+name}` for anything.

use percent_encoding::percent_decode_str;

/// What the placeholders of `template` stand for in `uri`, in their order; none when the URI is not of the template.
/// A placeholder ends at the first place where the text after it is found.
pub(crate) fn captures(template: &str, uri: &str) -> Option<Vec<String>> {
    let (literal, mut template) = template.split_once('{').unwrap_or((template, ""));
    let mut uri = uri.strip_prefix(literal)?;
    let mut found = Vec::new();
    while let Some((name, rest)) = template.split_once('}') {
        let (literal, next) = rest.split_once('{').unwrap_or((rest, ""));
        let end = if literal.is_empty() {
            uri.len()
        } else {
            uri.find(literal)?
        };
        let value = &uri[..end];
        if value.is_empty() || (!name.starts_with('+') && value.contains('/')) {
            return None;
        }
        found.push(percent_decode_str(value).decode_utf8().ok()?.into_owned());
        uri = &uri[end + literal.len()..];
        template = next;
    }
    uri.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, uri: &str, expected: Option<&[&str]>) {
        let found = captures(template, uri);
        assert_eq!(
            found
                .as_deref()
                .map(|found| found.iter().map(String::as_str).collect()),
            expected.map(<[_]>::to_vec)
        );
    }

    #[test]
    fn placeholders_are_found() {
        check("time://zones", "time://zones", Some(&[]));
        check("time://zones", "time://zones/", None);
        check("time://{zone}", "time://UTC", Some(&["UTC"]));
        check(
            "time://{zone}",
            "time://Europe%2FBerlin",
            Some(&["Europe/Berlin"]),
        );
        check("time://{zone}", "time://Europe/Berlin", None);
        check("time://{+zone}", "time://Europe/Berlin", Some(&["Europe/Berlin"]));
        check("time://{zone}", "time://", None);
        check("a://{x}/b/{y}.txt", "a://1/b/2.txt", Some(&["1", "2"]));
        check("a://{x}/b/{y}.txt", "a://1/b/2.md", None);
        check("a://{x}", "b://1", None);
        check("a://{x}", "a://%ff", None);
    }
}
