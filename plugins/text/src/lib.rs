//! Text: searched and replaced by regular expressions, split, counted, compared by lines, hashed, encoded and decoded.

mod code;
mod digest;
mod lines;
mod parts;
mod pattern;

use llmring_plugin_sdk::{Json, Result, plugin, tool};

use self::{
    code::Encoding,
    digest::Algorithm,
    lines::Difference,
    parts::{Counts, Parts},
    pattern::{Found, Replaced},
};

/// Finds a regular expression in a text.
#[tool(title = "Search text", read_only, idempotent, open_world = false)]
fn search(
    text: String,
    /// A regular expression in Rust's syntax (as Perl's, without look-around and backreferences). `(?i)` in front ignores
    /// case, `(?m)` makes `^` and `$` match at lines.
    pattern: String,
    /// The most matches to list; 100 when not given.
    limit: Option<usize>,
) -> Result<Json<Found>> {
    pattern::find(&text, &pattern, limit.unwrap_or(100)).map(Json)
}

/// Replaces every match of a regular expression.
#[tool(title = "Replace in text", read_only, idempotent, open_world = false)]
fn replace(
    text: String,
    /// As for `search`.
    pattern: String,
    /// What to put there: `$1` and `${name}` are what the groups matched, `$$` is a dollar.
    replacement: String,
) -> Result<Json<Replaced>> {
    pattern::replace(&text, &pattern, &replacement).map(Json)
}

/// Splits a text at a separator.
#[tool(title = "Split text", read_only, idempotent, open_world = false)]
fn split(
    text: String,
    /// A regular expression: `,\s*`, `\n\n+`.
    separator: String,
    /// The most parts, the last with all that is left.
    limit: Option<usize>,
) -> Result<Json<Parts>> {
    parts::at(&text, &separator, limit).map(Json)
}

/// Cuts a text into chunks that are no longer than so many characters, at ends of paragraphs, lines, sentences or words
/// where there are such.
#[tool(title = "Cut text into chunks", read_only, idempotent, open_world = false)]
fn chunk(
    text: String,
    /// The most characters of a chunk.
    max_characters: usize,
) -> Result<Json<Parts>> {
    parts::chunks(&text, max_characters).map(Json)
}

/// Counts the characters, words and lines of a text.
#[tool(title = "Count text", read_only, idempotent, open_world = false)]
fn count(text: String) -> Result<Json<Counts>> {
    Ok(Json(parts::count(&text)))
}

/// Compares two texts line by line.
#[tool(title = "Compare texts", read_only, idempotent, open_world = false)]
fn diff(
    /// The text before.
    before: String,
    /// The text after.
    after: String,
    /// How many unchanged lines to show around changes; 3 when not given.
    context: Option<usize>,
) -> Result<Json<Difference>> {
    Ok(Json(lines::compare(&before, &after, context.unwrap_or(3))))
}

/// The cryptographic hash of a text's UTF-8 bytes, or of bytes given in an encoding, in hexadecimal.
#[tool(title = "Hash", read_only, idempotent, open_world = false)]
fn hash(
    text: String,
    algorithm: Algorithm,
    /// How the bytes are given, when not as text.
    encoding: Option<Encoding>,
) -> Result<String> {
    digest::of(&text, algorithm, encoding)
}

/// Encodes a text's UTF-8 bytes.
#[tool(title = "Encode", read_only, idempotent, open_world = false)]
fn encode(text: String, encoding: Encoding) -> Result<String> {
    Ok(code::encode(text.as_bytes(), encoding))
}

/// Decodes to a text. Bytes that are no UTF-8 are an error.
#[tool(title = "Decode", read_only, idempotent, open_world = false)]
fn decode(text: String, encoding: Encoding) -> Result<String> {
    code::decode_text(&text, encoding)
}

plugin!(search, replace, split, chunk, count, diff, hash, encode, decode);
