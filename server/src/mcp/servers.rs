//! Servers: registered, changed, shown; their secrets sealed and opened; and the `Peer` that a session is opened to.

use entity::ids::ProjectId;
use entity::server::{self, Column, Entity};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;

use super::auth_config::{AuthConfig, url_secret};
use super::peer::{Endpoint, Failure, Peer};
use super::secrets::{Owner, PREVIOUS_SECRET_KEYS};
use super::{Mcp, Slice, no_server};
use crate::clock::new_id;
use crate::conversations::check_length;
use crate::error::{Error, Result, Violation, refuse};
use crate::usage::MAX_TEXT_CHARS;

/// The transports that the protocol and its users know.
const TRANSPORTS: [&str; 5] = ["stdio", "http", "sse", "websocket", "plugin"];
/// The transport of a server that names none.
const DEFAULT_TRANSPORT: &str = "http";
/// In front of a command line, or absent.
const STDIO: &str = "stdio://";
/// In front of a plugin's name.
const PLUGIN: &str = "plugin:";
/// Longest URL or command line.
const MAX_URL_CHARS: usize = 4096;
/// Rows whose secrets are encrypted anew between two looks at the database.
const ROTATED_AT_ONCE: u64 = 100;

/// What a caller says of a server. What is absent has its default when one is registered, and stays when one is changed.
#[derive(Clone, Debug, Default)]
pub struct ServerFields {
    /// At most [`MAX_TEXT_CHARS`] characters; a new server needs one.
    pub name: Option<String>,
    /// A URL, a command line or `plugin:<name>`; a new server needs one.
    pub url: Option<String>,
    /// `http` when absent.
    pub transport_type: Option<String>,
    /// Which plugin carries it, or `native`.
    pub adapter: Option<String>,
    /// In clear, or masked where a secret stays.
    pub auth_config: Option<AuthConfig>,
    /// JSON text of an object.
    pub capabilities: Option<String>,
    /// The caller's own `project_id`.
    pub project_id: Option<String>,
    /// Whether it is in use.
    pub is_active: Option<bool>,
}

/// What a list shows.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those in this state; those that are active when absent.
    pub is_active: Option<bool>,
    /// Those of this server.
    pub server: Option<Uuid>,
    /// Those of servers with this `project_id` of the caller's.
    pub caller_project: Option<String>,
    /// Which part of the list.
    pub slice: Slice,
}

/// What became of the stored secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Encrypted under the current key already.
    pub current: u64,
    /// Encrypted anew.
    pub rotated: u64,
    /// Servers whose secrets no key opens, and why.
    pub unreadable: Vec<(Uuid, String)>,
}

impl Mcp {
    /// What `transport_type` may be. Transports of loaded plugins belong here too.
    fn transports(&self) -> Vec<&str> {
        TRANSPORTS.to_vec()
    }

    fn violations(&self, fields: &ServerFields) -> Vec<Violation> {
        let mut found = Vec::new();
        for (member, text) in [("name", &fields.name), ("url", &fields.url)] {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                found.push(Violation::body(&[member], "must not be empty"));
            }
        }
        for (member, text, most) in [
            ("name", &fields.name, MAX_TEXT_CHARS),
            ("url", &fields.url, MAX_URL_CHARS),
            ("adapter", &fields.adapter, MAX_TEXT_CHARS),
            ("project_id", &fields.project_id, MAX_TEXT_CHARS),
        ] {
            check_length(&mut found, member, text.as_deref(), most);
        }
        if let Some(transport) = &fields.transport_type {
            let known = self.transports();
            if !known.contains(&transport.as_str()) {
                let message = format!("must be one of {}", known.join(", "));
                found.push(Violation::body(&["transport_type"], message));
            }
        }
        if let Some(auth) = &fields.auth_config {
            let bytes = auth.to_text().len();
            if bytes > self.limits.max_bytes {
                let message = format!(
                    "must not be larger than {} bytes, has {bytes}",
                    self.limits.max_bytes
                );
                found.push(Violation::body(&["auth_config"], message));
            }
        }
        if let Some(capabilities) = &fields.capabilities
            && capabilities.len() > self.limits.max_bytes
        {
            let message = format!(
                "must not be larger than {} bytes, has {}",
                self.limits.max_bytes,
                capabilities.len()
            );
            found.push(Violation::body(&["capabilities"], message));
        }
        found
    }

    /// Registers a server: stores it, connects nowhere.
    pub async fn register(&self, project_id: ProjectId, fields: ServerFields) -> Result<server::Model> {
        let mut violations = self.violations(&fields);
        let ServerFields {
            name,
            url,
            transport_type,
            adapter,
            auth_config,
            capabilities,
            project_id: caller_project_id,
            is_active,
        } = fields;
        let (Some(name), Some(url)) = (&name, &url) else {
            let absent = [("name", name.is_none()), ("url", url.is_none())];
            let absent = absent.into_iter().filter(|(_, absent)| *absent);
            violations.extend(absent.map(|(member, _)| Violation::body(&[member], "is required")));
            return Err(Error::Invalid(violations));
        };
        let now = self.clock.now();
        let mut row = server::Model {
            id: new_id(now),
            project_id,
            name: name.clone(),
            url: url.clone(),
            transport_type: transport_type.unwrap_or_else(|| DEFAULT_TRANSPORT.to_owned()),
            adapter,
            auth_config: None,
            auth_envelope: None,
            capabilities: capabilities.unwrap_or_else(|| "{}".to_owned()),
            caller_project_id,
            is_active: is_active.unwrap_or(true),
            protocol_version: None,
            server_info: None,
            instructions: None,
            revision: 1,
            refreshed_at: None,
            created_at: now,
            updated_at: now,
        };
        if violations.is_empty() {
            violations.extend(check_url(&row));
        }
        refuse(violations)?;
        if let Some(auth) = auth_config {
            self.set_auth(&mut row, auth.restored(None).map_err(Error::Invalid)?)?;
        }
        Entity::insert(row.clone().into_active_model())
            .exec_without_returning(self.storage.writer())
            .await?;
        Ok(row)
    }

    /// Changes the fields that are present. A mask in `auth_config` keeps the secret behind it.
    pub async fn change(&self, project: ProjectId, id: Uuid, fields: ServerFields) -> Result<server::Model> {
        let mut violations = self.violations(&fields);
        let ServerFields {
            name,
            url,
            transport_type,
            adapter,
            auth_config,
            capabilities,
            project_id: caller_project_id,
            is_active,
        } = fields;
        let transaction = self.storage.begin().await?;
        let before = by_id(project, id)
            .lock_exclusive()
            .one(&transaction)
            .await?
            .ok_or_else(|| no_server(id))?;
        let mut row = before.clone();
        row.name = name.unwrap_or(row.name);
        row.url = url.unwrap_or(row.url);
        row.transport_type = transport_type.unwrap_or(row.transport_type);
        row.adapter = adapter.or(row.adapter);
        row.capabilities = capabilities.unwrap_or(row.capabilities);
        row.caller_project_id = caller_project_id.or(row.caller_project_id);
        row.is_active = is_active.unwrap_or(row.is_active);
        if violations.is_empty() && (&row.url, &row.transport_type) != (&before.url, &before.transport_type) {
            violations.extend(check_url(&row));
        }
        refuse(violations)?;
        if let Some(auth) = auth_config {
            // What was never masked needs no key: only a mask asks for what is stored.
            let auth = match auth.clone().restored(None) {
                Ok(auth) => auth,
                Err(_) => {
                    let stored = self
                        .auth_of(&before)
                        .map_err(|error| unreadable(&before, &error))?;
                    auth.restored(stored.as_ref()).map_err(Error::Invalid)?
                }
            };
            if self.auth_of(&before).ok().flatten().as_ref() != Some(&auth) {
                self.set_auth(&mut row, auth)?;
            }
        }
        if connects_as(&row) != connects_as(&before) {
            row.revision += 1;
        }
        row.updated_at = self.clock.now().max(row.updated_at);
        let row = row.into_active_model().reset_all().update(&transaction).await?;
        transaction.commit().await?;
        if row.revision != before.revision || !row.is_active {
            self.sessions.forget(id);
        }
        Ok(row)
    }

    /// Removes a server with all that it offers. The history of its tools stays.
    pub async fn delete(&self, project: ProjectId, id: Uuid) -> Result<()> {
        let deleted = Entity::delete_many()
            .filter(Column::ProjectId.eq(project))
            .filter(Column::Id.eq(id))
            .exec(self.storage.writer())
            .await?;
        if deleted.rows_affected == 0 {
            return Err(no_server(id));
        }
        self.sessions.forget(id);
        Ok(())
    }

    /// One server.
    pub async fn server(&self, project: ProjectId, id: Uuid) -> Result<server::Model> {
        by_id(project, id)
            .one(self.storage.reader())
            .await?
            .ok_or_else(|| no_server(id))
    }

    /// Servers in the order of their registration.
    pub async fn servers(&self, project: ProjectId, selection: Selection) -> Result<Vec<server::Model>> {
        let Selection {
            is_active,
            server,
            caller_project,
            slice,
        } = selection;
        let mut select = Entity::of(project).filter(Column::IsActive.eq(is_active.unwrap_or(true)));
        if let Some(server) = server {
            select = select.filter(Column::Id.eq(server));
        }
        if let Some(caller_project) = caller_project {
            select = select.filter(Column::CallerProjectId.eq(caller_project));
        }
        let select = select.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id);
        Ok(slice.of(select).all(self.storage.reader()).await?)
    }

    /// Whom a session is opened to, with its secrets in clear.
    pub fn peer(&self, row: &server::Model) -> Result<Peer, Failure> {
        let auth = self.auth_of(row).map_err(|reason| Failure::Denied {
            reason: format!("the secrets of this server cannot be read: {reason}"),
            setting: PREVIOUS_SECRET_KEYS,
        })?;
        Ok(Peer {
            project: row.project_id,
            server: row.id,
            revision: row.revision,
            endpoint: endpoint(row)?,
            auth: auth.as_ref().and_then(AuthConfig::auth),
            protocol_version: row.protocol_version.clone(),
        })
    }

    /// Encrypts every secret under the current key that is encrypted under another. Safe while servers run and when interrupted.
    pub async fn rotate_secrets(&self) -> Result<Rotation> {
        let mut rotation = Rotation::default();
        let mut after = Uuid::nil();
        loop {
            let rows = Entity::find()
                .filter(Column::AuthEnvelope.is_not_null())
                .filter(Column::Id.gt(after))
                .order_by_asc(Column::Id)
                .limit(ROTATED_AT_ONCE)
                .all(self.storage.reader())
                .await?;
            let Some(last) = rows.last() else {
                return Ok(rotation);
            };
            after = last.id;
            for row in rows {
                let Some(envelope) = &row.auth_envelope else {
                    continue;
                };
                if self.secrets.is_current(envelope) {
                    rotation.current += 1;
                    continue;
                }
                match self.secrets.unseal(owner(&row), envelope) {
                    Ok(secret) => {
                        let sealed = self.secrets.seal(owner(&row), &secret)?;
                        // What changed meanwhile was encrypted under the current key.
                        Entity::update_many()
                            .filter(Column::Id.eq(row.id))
                            .filter(Column::AuthEnvelope.eq(envelope))
                            .col_expr(Column::AuthEnvelope, Expr::value(sealed))
                            .exec(self.storage.writer())
                            .await?;
                        rotation.rotated += 1;
                    }
                    Err(reason) => rotation.unreadable.push((row.id, reason.to_string())),
                }
            }
        }
    }

    /// Says at the start when secrets are stored that no key opens.
    pub async fn warn_of_unreadable_secrets(&self) -> Result<()> {
        let known = self
            .secrets
            .prefixes()
            .map(|prefix| Column::AuthEnvelope.starts_with(prefix))
            .fold(Condition::any().not(), |any, one| any.add(one));
        let mut select = Entity::find().filter(Column::AuthEnvelope.is_not_null());
        if !known.is_empty() {
            select = select.filter(known);
        }
        let servers = select.count(self.storage.reader()).await?;
        if servers > 0 {
            tracing::warn!(
                servers,
                "MCP servers have secrets under a key that is not known here: set {PREVIOUS_SECRET_KEYS}, or send them again"
            );
        }
        Ok(())
    }

    fn set_auth(&self, row: &mut server::Model, auth: AuthConfig) -> Result<()> {
        refuse(auth.violations())?;
        row.auth_config = Some(Value::Object(auth.masked()).to_string());
        row.auth_envelope = if auth.has_secrets() {
            let text = zeroize::Zeroizing::new(auth.to_text());
            Some(self.secrets.seal(owner(row), text.as_bytes())?)
        } else {
            None
        };
        Ok(())
    }

    /// What is stored, in clear; an `Err` is a sentence that tells no secret.
    fn auth_of(&self, row: &server::Model) -> Result<Option<AuthConfig>, String> {
        let members = |text: &[u8]| serde_json::from_slice::<Map<String, Value>>(text);
        let stored = match (&row.auth_envelope, &row.auth_config) {
            (Some(envelope), _) => {
                let opened = self.secrets.unseal(owner(row), envelope);
                members(&opened.map_err(|error| error.to_string())?)
            }
            (None, Some(text)) => members(text.as_bytes()),
            (None, None) => return Ok(None),
        };
        match stored {
            Ok(members) => Ok(Some(AuthConfig::new(members))),
            Err(_) => Err("it is not what was stored".to_owned()),
        }
    }
}

fn by_id(project: ProjectId, id: Uuid) -> sea_orm::Select<Entity> {
    Entity::of(project).filter(Column::Id.eq(id))
}

fn owner(row: &server::Model) -> Owner {
    Owner {
        project: row.project_id,
        server: row.id,
    }
}

fn unreadable(row: &server::Model, reason: &str) -> Error {
    Error::Conflict(format!(
        "the secrets of server {} cannot be kept, because they cannot be read: {reason}. Send them again, or set {PREVIOUS_SECRET_KEYS}",
        row.id
    ))
}

/// What a session depends on.
fn connects_as(row: &server::Model) -> impl PartialEq + use<'_> {
    (
        &row.url,
        &row.transport_type,
        &row.adapter,
        &row.auth_envelope,
        &row.auth_config,
    )
}

/// The words of a `stdio` server's command line, split as a POSIX shell splits them; `None` for unbalanced quotes.
pub fn command_words(url: &str) -> Option<Vec<String>> {
    shell_words::split(url.strip_prefix(STDIO).unwrap_or(url)).ok()
}

/// Whether the URL is one for its transport. What it permits is judged when connecting.
fn check_url(row: &server::Model) -> Option<Violation> {
    let message = match row.transport_type.as_str() {
        "stdio" => match command_words(&row.url) {
            Some(words) if !words.is_empty() => return None,
            Some(_) => "must be a command line",
            None => "must be a command line with balanced quotes",
        },
        "plugin" => match row.url.strip_prefix(PLUGIN) {
            Some(name) if !name.is_empty() => return None,
            _ => "must be plugin:<name>",
        },
        // Clients leave the transport out; what they dial themselves is theirs to say.
        _ if row.url.starts_with(STDIO) => return None,
        _ => match Url::parse(&row.url) {
            Ok(url) => {
                let place = url_secret(&url)?;
                let message = format!(
                    "must hold no password or token (its {place} looks like one): auth_config is the place for it, which is encrypted"
                );
                return Some(Violation::body(&["url"], message));
            }
            Err(_) => "must be a URL, such as https://example.com/mcp",
        },
    };
    Some(Violation::body(&["url"], message))
}

fn endpoint(row: &server::Model) -> Result<Endpoint, Failure> {
    let unusable = |reason: &str| Failure::Unreachable(reason.to_owned());
    match row.transport_type.as_str() {
        "stdio" => command_words(&row.url)
            .filter(|words| !words.is_empty())
            .map(Endpoint::Stdio)
            .ok_or_else(|| unusable("its url is no command line")),
        "http" => match Url::parse(&row.url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Endpoint::StreamableHttp(url)),
            _ => Err(unusable(
                "its url is no http or https URL, which its transport_type needs",
            )),
        },
        other => Err(unusable(&format!(
            "no plugin that provides the transport {other} is loaded"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_split_as_a_shell_splits_words() {
        let words = |text: &str| command_words(text);
        assert_eq!(
            words("stdio://npx -y 'a b' \"c d\" e\\ f"),
            Some(["npx", "-y", "a b", "c d", "e f"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            words("echo $HOME; rm *"),
            Some(["echo", "$HOME;", "rm", "*"].map(str::to_owned).to_vec())
        );
        assert_eq!(words("echo 'open"), None);
        assert_eq!(words("stdio:// "), Some(Vec::new()));
    }
}
