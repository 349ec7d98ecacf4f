//! Who is calling. Holding a [`Caller`] is the authorisation: an operation that takes none is public on purpose.

use entity::ids::ProjectId;
use poem::http::HeaderMap;
use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::problem::Problem;
use crate::app::App;

/// Longest key accepted, in characters.
const MAX_KEY_CHARS: usize = 255;
const MISSING: &str = "an API key is required, in the header X-API-Key";

/// The project whose key came with the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) project: ProjectId,
}

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "ApiKey",
            MetaSecurityScheme {
                ty: "apiKey",
                description: Some("The key of a project."),
                name: Some("X-API-Key"),
                key_in: Some("header"),
                ..EMPTY_SCHEME
            },
        );
        registry.create_security_scheme(
            "Bearer",
            MetaSecurityScheme {
                ty: "http",
                description: Some("The same key as `Authorization: Bearer`."),
                scheme: Some("bearer"),
                ..EMPTY_SCHEME
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["ApiKey", "Bearer"]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let key = presented_key(request.headers())?;
        let app = App::of(request);
        match app.keys().open(key).await.map_err(Problem::from)? {
            Some(project) => Ok(Self { project }),
            None => Err(Problem::unauthorized("this API key opens no project").into()),
        }
    }
}

const EMPTY_SCHEME: MetaSecurityScheme = MetaSecurityScheme {
    ty: "",
    description: None,
    name: None,
    key_in: None,
    scheme: None,
    bearer_format: None,
    flows: None,
    openid_connect_url: None,
};

/// The key in `X-API-Key` or `Authorization: Bearer`, which must agree where both are present (RFC 6750 section 2.1).
fn presented_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let unreadable = || Problem::malformed("the API key must be UTF-8 text");
    let mut presented: Option<&str> = None;
    for value in headers.get_all("x-api-key") {
        let key = std::str::from_utf8(value.as_bytes()).map_err(|_| unreadable())?;
        agree(&mut presented, key)?;
    }
    for value in headers.get_all(AUTHORIZATION) {
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            continue;
        };
        let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            agree(&mut presented, key.trim())?;
        }
    }
    match presented {
        None => Err(Problem::unauthorized(MISSING)),
        Some(key) if key.chars().count() > MAX_KEY_CHARS => {
            Err(Problem::malformed("the API key is longer than 255 characters"))
        }
        Some(key) if key.contains(char::is_whitespace) => {
            Err(Problem::malformed("the API key has white space inside"))
        }
        Some(key) => Ok(key),
    }
}

fn agree<'a>(presented: &mut Option<&'a str>, key: &'a str) -> Result<(), Problem> {
    match presented {
        // An empty header is as good as none.
        _ if key.is_empty() => Ok(()),
        Some(other) if *other != key => Err(Problem::unauthorized(
            "the request carries two different API keys: send one",
        )),
        _ => {
            *presented = Some(key);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::IntoResponse;
    use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    use super::*;

    fn judge(pairs: &[(&'static str, &str)]) -> Result<String, StatusCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
            headers.append(HeaderName::from_static(name), value);
        }
        presented_key(&headers)
            .map(str::to_owned)
            .map_err(|problem| problem.into_response().status())
    }

    #[test]
    fn either_header_carries_the_key() {
        assert_eq!(judge(&[("x-api-key", "k1")]), Ok("k1".into()));
        assert_eq!(judge(&[("authorization", "bearer k1")]), Ok("k1".into()));
        assert_eq!(
            judge(&[("x-api-key", "k1"), ("authorization", "Bearer k1")]),
            Ok("k1".into())
        );
        assert_eq!(
            judge(&[("x-api-key", "k1"), ("authorization", "Basic zzz")]),
            Ok("k1".into())
        );
    }

    #[test]
    fn missing_empty_and_contradicting_keys_are_unauthorized() {
        for pairs in [
            &[][..],
            &[("x-api-key", "")],
            &[("authorization", "Basic zzz")],
            &[("authorization", "Bearer")],
            &[("x-api-key", "k1"), ("authorization", "Bearer k2")],
            &[("x-api-key", "k1"), ("x-api-key", "k2")],
        ] {
            assert_eq!(judge(pairs), Err(StatusCode::UNAUTHORIZED), "{pairs:?}");
        }
    }

    #[test]
    fn unusable_keys_are_malformed() {
        let long = "x".repeat(256);
        for key in ["a b", "a\tb", long.as_str()] {
            assert_eq!(judge(&[("x-api-key", key)]), Err(StatusCode::BAD_REQUEST));
        }
        assert!(judge(&[("x-api-key", &long[..255])]).is_ok());
    }
}
