//! Keeps every handle that it gets.

use wasi::clocks::monotonic_clock;

guests::tool!(|_arguments, _call| {
    let handles: Vec<_> = (0..100_000)
        .map(|_| monotonic_clock::subscribe_duration(1))
        .collect();
    text(handles.len().to_string())
});
