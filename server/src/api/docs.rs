//! The pages `/docs` and `/redoc`, which load nothing from elsewhere.

use poem::{IntoEndpoint, endpoint::make_sync, web::Html};
use poem_openapi::OpenApiService;

use super::Apis;

pub(super) fn swagger_ui(service: &OpenApiService<Apis, ()>) -> impl IntoEndpoint + use<> {
    page(service.swagger_ui_html())
}

pub(super) fn redoc(service: &OpenApiService<Apis, ()>) -> impl IntoEndpoint + use<> {
    page(without_web_fonts(&service.redoc_html()))
}

fn page(html: String) -> impl IntoEndpoint + use<> {
    make_sync(move |_| Html(html.clone()))
}

/// ReDoc's page links to a font service; the system's fonts do.
fn without_web_fonts(html: &str) -> String {
    html.lines()
        .filter(|line| !line.contains("fonts.googleapis.com"))
        .collect::<Vec<_>>()
        .join("\n")
}
