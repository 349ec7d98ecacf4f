//! What can go wrong in the domain, without a word about transports. `api::problem` alone turns it into a status.

use std::time::Duration;

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbErr, RuntimeErr};

/// The result of a domain operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a domain operation failed. `Display` is what a caller may read; sources are for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request breaks rules.
    #[error("{}", summary(.0))]
    Invalid(Vec<Violation>),
    /// No such thing in the caller's project. Things of other projects do not exist either.
    #[error("no {what} has the id {id}")]
    NotFound {
        /// Such as `usage log`.
        what: &'static str,
        /// As asked for.
        id: String,
    },
    /// The request can be read, keeps the rules, and is refused for what it says or for how the server is set up.
    #[error("{0}")]
    Refused(String),
    /// The request contradicts what is stored.
    #[error("{0}")]
    Conflict(String),
    /// A queue is full.
    #[error("{what} is busy: try again in a moment")]
    Busy {
        /// Such as `the usage ledger`.
        what: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// Something the server depends on does not answer.
    #[error("{what} is not available: try again later")]
    Unavailable {
        /// Such as `the database`.
        what: &'static str,
        /// What it said.
        #[source]
        source: Option<DbErr>,
    },
    /// The operator has not set what this needs.
    #[error("no {what} is configured ({setting})")]
    NotConfigured {
        /// Such as `signing key`.
        what: &'static str,
        /// The setting's variable.
        setting: &'static str,
    },
    /// Something stored is not what was stored.
    #[error("the stored {what} {id} is damaged or was tampered with; it is not shown")]
    Tampered {
        /// Such as `receipt`.
        what: &'static str,
        /// Its id.
        id: String,
        /// How it was noticed.
        reason: String,
    },
    /// The database refused something that it should not have.
    #[error("the server could not complete this request")]
    Database(#[source] DbErr),
    /// Stored text that the server itself wrote does not read back.
    #[error("the server could not complete this request")]
    Corrupt {
        /// Which column.
        what: &'static str,
        /// Why it does not read.
        #[source]
        source: serde_json::Error,
    },
}

/// One rule that a request breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where, from the outside in: `["body", "logs", "3", "model"]` or `["query", "tz"]`.
    pub at: Vec<String>,
    /// What is wrong, as a sentence without its subject: `must not be negative`.
    pub message: String,
}

impl Violation {
    /// A rule broken by a member of the body.
    pub fn body(path: &[&str], message: impl Into<String>) -> Self {
        Self::at("body", path, message)
    }

    /// A rule broken by a query parameter.
    pub fn query(name: &str, message: impl Into<String>) -> Self {
        Self::at("query", &[name], message)
    }

    fn at(place: &str, path: &[&str], message: impl Into<String>) -> Self {
        Self {
            at: std::iter::once(place)
                .chain(path.iter().copied())
                .map(str::to_owned)
                .collect(),
            message: message.into(),
        }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(vec![violation])
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if is_outage(&error) {
            Self::Unavailable {
                what: "the database",
                source: Some(error),
            }
        } else {
            Self::Database(error)
        }
    }
}

/// [`Error::Invalid`] when there are violations.
pub(crate) fn refuse(violations: Vec<Violation>) -> Result<()> {
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(violations))
    }
}

/// What the database itself answered to a statement, where it did.
pub(crate) fn database_answer(error: &DbErr) -> Option<&dyn DatabaseError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            error.as_database_error()
        }
        _ => None,
    }
}

/// Whether it answered with this SQLSTATE (appendix A of PostgreSQL's manual).
pub(crate) fn has_sqlstate(error: &DbErr, state: &str) -> bool {
    database_answer(error).is_some_and(|answer| answer.code().is_some_and(|code| code == state))
}

/// Whether the database is away, as opposed to refusing a statement.
pub fn is_outage(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            is_driver_outage(error)
        }
        _ => false,
    }
}

/// SQLSTATE of a write on a server that only reads, as after a failover.
const READ_ONLY: &str = "25006";

/// Everything but an answer to the statement itself. Of PostgreSQL's answers, classes 08 (connection), 53 (resources) and
/// 57 (operator intervention, such as a shutdown) say that the server is in no state to judge (appendix A of its manual);
/// of SQLite's, busy (5), read-only (8), I/O error (10), disk full (13) and cannot open (14), in the low byte of extended codes.
fn is_driver_outage(error: &sea_orm::sqlx::Error) -> bool {
    use sea_orm::sqlx::Error as Driver;
    match error {
        Driver::Database(answer) => answer.code().is_some_and(|code| {
            if code.len() == 5 {
                code == READ_ONLY || ["08", "53", "57"].iter().any(|class| code.starts_with(class))
            } else {
                code.parse::<u32>()
                    .is_ok_and(|code| matches!(code & 0xff, 5 | 8 | 10 | 13 | 14))
            }
        }),
        Driver::Io(_)
        | Driver::Tls(_)
        | Driver::Protocol(_)
        | Driver::PoolTimedOut
        | Driver::PoolClosed
        | Driver::WorkerCrashed => true,
        _ => false,
    }
}

fn summary(violations: &[Violation]) -> String {
    let sentences: Vec<String> = violations
        .iter()
        .map(|violation| format!("{} {}", violation.at.join("."), violation.message))
        .collect();
    sentences.join("; ")
}
