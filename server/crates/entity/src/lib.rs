//! The database rows, and the finders every query starts from.
//!
//! A row belongs to a project; a finder such as [`usage_log::Entity::of`] takes the project first, so that tenancy cannot be
//! forgotten. Rows never travel: the HTTP layer converts them field by field.

pub mod ids;
pub mod usd;

pub mod project;

pub mod api_key;

pub mod usage_log;

pub mod idempotency_key;

pub mod registry_file;

pub mod receipt;

pub mod receipt_log;

pub mod conversation;

pub mod message;

pub mod conversation_template;

pub mod awaited_log;

pub mod server;

pub mod tool;

pub mod tool_version;

pub mod resource;

pub mod resource_template;

pub mod prompt;

pub mod tool_execution;
