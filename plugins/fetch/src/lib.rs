//! Web pages, from the hosts that the configuration lists under `allow`, as Markdown.

mod allow;
mod page;

use llmring_plugin_sdk::{
    Call, Error, Json, Result, configuration,
    http::{self, Request},
    plugin, prompt, tool,
};

use self::{
    allow::AllowList,
    page::{Format, Page},
};

/// The most bytes of a page where the configuration (`max_bytes`) says nothing.
const MAX_BYTES: usize = 2 << 20;

/// How often a page may send one on.
const MAX_REDIRECTS: u8 = 5;

/// Fetches a page of the web and answers it as Markdown. Only hosts that the configuration permits can be reached.
#[tool(title = "Fetch a page", read_only, open_world)]
async fn fetch(
    /// An `http` or `https` URL.
    url: String,
    /// What to make of the page; `markdown` when not given.
    format: Option<Format>,
    /// How many characters to skip, to read on where an earlier answer ended.
    start: Option<usize>,
    /// The most characters to answer; 20000 when not given.
    max_characters: Option<usize>,
    call: &Call,
) -> Result<Json<Page>> {
    let allowed: AllowList = configuration::get("allow")?.unwrap_or_default();
    let max_bytes = configuration::get("max_bytes")?.unwrap_or(MAX_BYTES);
    let mut url = url;
    for hop in 0..=MAX_REDIRECTS {
        allowed.check(&url)?;
        call.progress(f64::from(hop), None, Some(&url))?;
        let request = Request::get(&url)
            .header(
                "accept",
                "text/html, text/*;q=0.9, application/json;q=0.9, */*;q=0.1",
            )
            .header("user-agent", concat!("llmring-fetch/", env!("CARGO_PKG_VERSION")));
        let response = request.send().await?;
        match (response.status(), response.header("location")) {
            // Each hop is checked anew.
            (301 | 302 | 303 | 307 | 308, Some(location)) => url = http::resolve(&url, location)?,
            (status, _) if !response.is_success() => {
                return Err(Error::failed(format_args!("{url} answered {status}")));
            }
            _ => {
                let media_type = response.media_type().unwrap_or_default();
                let body = response.text(max_bytes).await?;
                let page = Page::new(url, media_type, &body, format.unwrap_or_default())?;
                return Ok(Json(
                    page.excerpt(start.unwrap_or(0), max_characters.unwrap_or(20_000)),
                ));
            }
        }
    }
    Err(Error::failed(format_args!(
        "more than {MAX_REDIRECTS} redirects; the last leads to {url}"
    )))
}

/// Asks for a summary of a page.
#[prompt(title = "Summarize a page")]
fn summarize(
    /// The page's URL.
    url: String,
    /// What the summary should be about.
    focus: Option<String>,
) -> Result<String> {
    let focus = focus.map_or_else(String::new, |focus| format!(" Pay attention to: {focus}."));
    Ok(format!(
        "Read {url} with the tool `fetch` and summarize it in a few sentences, with the facts it is sure of.{focus}"
    ))
}

plugin! {
    tools: [fetch],
    prompts: [summarize],
}
