//! Waits for as many milliseconds as its arguments say, and answers with them.

use wasi::clocks::monotonic_clock;

guests::tool!(|arguments, _call| {
    let milliseconds: u64 = arguments
        .parse()
        .map_err(|_| ToolError::Failed("not a number".to_owned()))?;
    monotonic_clock::subscribe_duration(milliseconds * 1_000_000).block();
    text(arguments)
});
