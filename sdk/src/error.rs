//! Why a tool, a resource or a prompt did not do what it was asked for.

use std::{any::Any, fmt};

use crate::{HostError, bindings::llmring::plugin::types, http};

/// The result of a tool, a resource or a prompt.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The type within a result, which a macro cannot read out of an alias.
pub trait Answer {
    /// What it is when all goes well.
    type Value;
}

impl<T, E> Answer for std::result::Result<T, E> {
    type Value = T;
}

/// Why a tool, a resource or a prompt did not do what it was asked for.
///
/// `?` makes one of every [`std::error::Error`]: [`Error::Denied`] of the host's own refusals, [`Error::Failed`] of
/// everything else. (That is why this type is no `std::error::Error` itself.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It ran and failed. A tool answers it as a result with `isError`, which the model reads.
    Failed(String),
    /// An argument that is not accepted although the schema lets it pass.
    InvalidArgument {
        /// Where it is, as an RFC 6901 JSON Pointer into the arguments: `/zone`.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is nothing of that name.
    NotFound(String),
    /// Something that the plugin needed was refused to it.
    Denied(String),
}

impl Error {
    /// [`Error::Failed`] with this message.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// [`Error::InvalidArgument`] for the argument of that name.
    pub fn invalid(argument: &str, message: impl fmt::Display) -> Self {
        Self::InvalidArgument {
            path: format!("/{}", argument.replace('~', "~0").replace('/', "~1")),
            message: message.to_string(),
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        if let Some(HostError::Denied(permission)) = any.downcast_ref() {
            return Self::Denied(permission.clone());
        }
        if let Some(refusal @ http::Error::Denied(_)) = any.downcast_ref() {
            return Self::Denied(refusal.to_string());
        }
        // The whole chain: nobody else will look for the causes.
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::Failed(message)
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Failed(message) => Self::Failed(message),
            Error::InvalidArgument { path, message } => {
                Self::InvalidArguments(types::InvalidArgument { path, message })
            }
            Error::NotFound(message) => Self::NotFound(message),
            Error::Denied(message) => Self::Denied(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_host_stays_one() {
        assert_eq!(
            Error::from(HostError::Denied("configuration `a`".to_owned())),
            Error::Denied("configuration `a`".to_owned())
        );
        assert!(matches!(Error::from(HostError::Closed), Error::Failed(_)));
    }

    #[test]
    fn the_causes_of_an_error_are_told() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("no port")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let Err(cause) = "x".parse::<u16>() else {
            panic!("x is no number")
        };
        assert_eq!(
            Error::from(Outer(cause)),
            Error::Failed("no port: invalid digit found in string".to_owned())
        );
    }

    #[test]
    fn the_path_of_an_argument_is_a_json_pointer() {
        let Error::InvalidArgument { path, .. } = Error::invalid("a/b~c", "no") else {
            panic!("another error")
        };
        assert_eq!(path, "/a~1b~0c");
    }
}
