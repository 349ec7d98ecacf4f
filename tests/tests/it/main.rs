//! All scenarios, in one binary so that they are linked once; a module for each subject.

mod bad_input;
mod contract;
mod durability;
mod errors;
mod idempotency;
mod keys;
mod schema;
mod service;
mod settings;
mod statistics;
mod usage;
