//! Logs a million lines, one of them very long, and answers with how many were taken.

use llmring::plugin::log::{Level, log};

guests::tool!(|_arguments, _call| {
    _ = log(Level::Info, &"long ".repeat(100_000));
    let taken = (1..1_000_000)
        .filter(|line| log(Level::Info, &format!("line {line}")).is_ok())
        .count();
    text(taken.to_string())
});
