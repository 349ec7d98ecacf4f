//! Model Context Protocol: servers that projects register, what they offer, and calls of it.

/// Whom a session is opened to, what comes back, and what can go wrong on the way.
pub mod peer;

/// Connections to servers, and requests over them.
pub mod sessions;
