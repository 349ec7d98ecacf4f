//! All scenarios, in one binary so that they are linked once; a module for each subject.

mod bad_input;
mod cache;
mod client;
mod contract;
mod conversation_client;
mod conversations;
mod durability;
mod errors;
mod idempotency;
mod keys;
mod mcp_definitions;
mod mcp_executions;
mod mcp_peers;
mod mcp_security;
mod mcp_servers;
mod prices;
mod receipts;
mod registry;
mod schema;
mod service;
mod settings;
mod statistics;
mod templates;
mod tidy;
mod tool_calls;
mod usage;
