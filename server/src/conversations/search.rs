//! Search: the words of titles and messages, cut here so that both databases find the same.
//!
//! A word is a run of letters and digits in lower case; a Chinese or Japanese character is a word by itself, because such texts do not
//! put spaces between words. SQLite's FTS5 and PostgreSQL's `tsvector` get words that neither cuts any further.

use std::collections::BTreeSet;

use entity::ids::ProjectId;
use entity::{conversation, message};
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, Value};
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

/// Characters of a text that are searched: a `tsvector` holds at most 1 MB.
const SEARCHED_CHARS: usize = 100_000;
/// Characters that count of a word, in texts and in questions alike: a `tsvector`'s words have at most 2 kB.
const WORD_CHARS: usize = 100;

/// The different words of a text.
fn words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut word = String::new();
    let mut length = 0;
    for c in text.chars().take(SEARCHED_CHARS) {
        let stands_alone = is_ideographic(c);
        if (stands_alone || !c.is_alphanumeric()) && !word.is_empty() {
            words.insert(std::mem::take(&mut word));
            length = 0;
        }
        if stands_alone {
            words.insert(c.to_string());
        } else if c.is_alphanumeric() && length < WORD_CHARS {
            word.extend(c.to_lowercase());
            length += 1;
        }
    }
    if !word.is_empty() {
        words.insert(word);
    }
    words
}

/// Hiragana, Katakana and Han, as Unicode's blocks have them.
fn is_ideographic(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        && c.is_alphabetic()
}

/// What is searched of a message's content: a text, or of parts each text among them and each member `text` in them.
fn said(content: &str) -> String {
    fn gather(value: &Json, texts: &mut Vec<String>) {
        match value {
            Json::Array(items) => items.iter().for_each(|item| gather(item, texts)),
            Json::Object(members) => {
                for (name, value) in members {
                    match value {
                        Json::String(text) if name == "text" => texts.push(text.clone()),
                        value => gather(value, texts),
                    }
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }
    let mut texts = Vec::new();
    match serde_json::from_str(content) {
        Ok(Json::String(text)) => return text,
        Ok(Json::Array(parts)) => {
            for part in &parts {
                match part {
                    Json::String(text) => texts.push(text.clone()),
                    part => gather(part, &mut texts),
                }
            }
        }
        Ok(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) | Err(_) => {}
    }
    texts.join(" ")
}

/// No word of a text has a colon.
fn project_word(project: ProjectId) -> String {
    format!(":{}", project.0.simple())
}

/// The condition that a conversation has all the words of a question; `None` when it has none. The project is one of the words indexed
/// with each text, so that the entries of others are not read.
pub(super) fn matches(backend: DbBackend, project: ProjectId, question: &str) -> Option<SimpleExpr> {
    const IN_POSTGRES: &str = "conversations.id IN (\
        SELECT conversation_id FROM conversation_search WHERE words @@ CAST($1 AS tsquery) UNION \
        SELECT conversation_id FROM message_search WHERE words @@ CAST($1 AS tsquery))";
    const IN_SQLITE: &str = "conversations.id IN (\
        SELECT titled.id FROM conversation_search JOIN conversations AS titled \
            ON titled.number = conversation_search.rowid WHERE conversation_search MATCH ? UNION \
        SELECT messages.conversation_id FROM message_search JOIN messages \
            ON messages.number = message_search.rowid WHERE message_search MATCH ?)";
    let words = Vec::from_iter(words(question));
    if words.is_empty() {
        return None;
    }
    // Quoted, a word is never an operator; none has a quotation mark.
    Some(match backend {
        DbBackend::Postgres => {
            let query = format!("'{}' & '{}'", project_word(project), words.join("' & '"));
            Expr::cust_with_values(IN_POSTGRES, [query])
        }
        _ => {
            let project = project.0.simple();
            let query = format!(
                "project : \"{project}\" AND words : (\"{}\")",
                words.join("\" AND \"")
            );
            Expr::cust_with_values(IN_SQLITE, [query.clone(), query])
        }
    })
}

/// A text to be found.
#[derive(Serialize)]
struct Entry {
    #[serde(with = "uuid::serde::simple")]
    id: Uuid,
    #[serde(with = "uuid::serde::simple")]
    conversation_id: Uuid,
    #[serde(with = "uuid::serde::simple")]
    project: Uuid,
    words: String,
}

impl Entry {
    /// `None` when there is no word in the text.
    fn of(
        backend: DbBackend,
        id: Uuid,
        conversation_id: Uuid,
        project: ProjectId,
        text: &str,
    ) -> Option<Self> {
        let mut words = Vec::from_iter(words(text));
        if words.is_empty() {
            return None;
        }
        if backend == DbBackend::Postgres {
            words.push(project_word(project));
        }
        Some(Self {
            id,
            conversation_id,
            project: project.0,
            words: words.join(" "),
        })
    }
}

/// Makes messages that were just stored be found.
pub(super) async fn index_messages<'a>(
    transaction: &DatabaseTransaction,
    messages: impl IntoIterator<Item = &'a message::Model>,
) -> Result<(), DbErr> {
    const IN_POSTGRES: &str = "INSERT INTO message_search (message_id, conversation_id, words) \
        SELECT id, conversation_id, array_to_tsvector(string_to_array(words, ' ')) \
        FROM json_to_recordset($1::json) AS sent(id uuid, conversation_id uuid, words text)";
    const IN_SQLITE: &str = "INSERT INTO message_search (rowid, project, words) \
        SELECT messages.number, json_extract(value, '$.project'), json_extract(value, '$.words') \
        FROM json_each(?) CROSS JOIN messages ON messages.id = unhex(json_extract(value, '$.id'))";
    let backend = transaction.get_database_backend();
    let entries: Vec<Entry> = messages
        .into_iter()
        .filter_map(|row| {
            let text = said(row.content.as_deref()?);
            Entry::of(backend, row.id, row.conversation_id, row.project_id, &text)
        })
        .collect();
    let sql = match backend {
        DbBackend::Postgres => IN_POSTGRES,
        _ => IN_SQLITE,
    };
    insert(transaction, sql, &entries).await
}

/// Makes a conversation be found by its title, and by no earlier one.
pub(super) async fn index_title(
    transaction: &DatabaseTransaction,
    conversation: &conversation::Model,
) -> Result<(), DbErr> {
    const FORGET_IN_POSTGRES: &str = "DELETE FROM conversation_search WHERE conversation_id = $1";
    const FORGET_IN_SQLITE: &str =
        "DELETE FROM conversation_search WHERE rowid = (SELECT number FROM conversations WHERE id = ?)";
    const IN_POSTGRES: &str = "INSERT INTO conversation_search (conversation_id, words) \
        SELECT id, array_to_tsvector(string_to_array(words, ' ')) \
        FROM json_to_recordset($1::json) AS sent(id uuid, words text)";
    const IN_SQLITE: &str = "INSERT INTO conversation_search (rowid, project, words) \
        SELECT conversations.number, json_extract(value, '$.project'), json_extract(value, '$.words') \
        FROM json_each(?) CROSS JOIN conversations ON conversations.id = unhex(json_extract(value, '$.id'))";
    let Some(title) = &conversation.title else {
        return Ok(());
    };
    let backend = transaction.get_database_backend();
    let (forget, sql) = match backend {
        DbBackend::Postgres => (FORGET_IN_POSTGRES, IN_POSTGRES),
        _ => (FORGET_IN_SQLITE, IN_SQLITE),
    };
    let id = conversation.id;
    run(transaction, forget, id.into()).await?;
    let entry = Entry::of(backend, id, id, conversation.project_id, title);
    insert(transaction, sql, &Vec::from_iter(entry)).await
}

async fn insert(transaction: &DatabaseTransaction, sql: &str, entries: &[Entry]) -> Result<(), DbErr> {
    if entries.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_string(entries).map_err(|error| DbErr::Json(error.to_string()))?;
    run(transaction, sql, json.into()).await
}

async fn run(transaction: &DatabaseTransaction, sql: &str, value: Value) -> Result<(), DbErr> {
    let statement = Statement::from_sql_and_values(transaction.get_database_backend(), sql, [value]);
    transaction.execute_raw(statement).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        words(text).into_iter().collect()
    }

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        assert_eq!(
            cut("Foo-bar a.b c++ user@EXAMPLE.com"),
            ["a", "b", "bar", "c", "com", "example", "foo", "user"]
        );
        assert_eq!(
            cut("ÉTÉ straße МОСКВА 3.14"),
            ["14", "3", "straße", "été", "москва"]
        );
        assert_eq!(cut("東京へ行く、ok。"), ["ok", "く", "へ", "京", "東", "行"]);
        assert!(cut(" '\"\\:*() 🙂 — ").is_empty());
        assert_eq!(cut(&"ß".repeat(300)), ["ß".repeat(100)]);
        assert_eq!(cut(&format!("{} late", "x ".repeat(50_000))), ["x"]);
    }

    #[test]
    fn only_texts_are_said() {
        assert_eq!(said(r#""h\u00e9""#), "hé");
        let parts = r#"["a",{"type":"text","text":"b"},{"content":[{"text":"c"},"d"]},{"source":{"data":"e"}},{"text":1}]"#;
        assert_eq!(said(parts), "a b c");
        assert_eq!(said("[1e-20000]"), "");
    }

    #[test]
    fn words_are_data_and_never_operators() {
        let project = ProjectId(Uuid::nil());
        for text in ["", "  ", "!? -- \"", "((("] {
            assert!(matches(DbBackend::Sqlite, project, text).is_none(), "{text}");
        }
        let condition = matches(DbBackend::Sqlite, project, "a NOT b* \"c").expect("words");
        let sql = format!("{condition:?}");
        assert!(
            sql.contains(r#"(\"a\" AND \"b\" AND \"c\" AND \"not\")"#),
            "{sql}"
        );
    }
}
