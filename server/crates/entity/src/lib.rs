//! The database rows, and the finders every query starts from.

pub mod usd;
