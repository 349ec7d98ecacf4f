//! Computes for about as many milliseconds as its arguments say.

use std::hint::black_box;

use wasi::clocks::monotonic_clock;

guests::tool!(|arguments, _call| {
    let milliseconds: u64 = arguments
        .parse()
        .map_err(|_| ToolError::Failed("not a number".to_owned()))?;
    let end = monotonic_clock::now() + milliseconds * 1_000_000;
    let mut turns = 0_u64;
    while monotonic_clock::now() < end {
        for _ in 0..1_000 {
            turns = black_box(turns + 1);
        }
    }
    text(turns.to_string())
});
