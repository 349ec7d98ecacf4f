//! Waits in a host call for ever.

use wasi::clocks::monotonic_clock;

guests::tool!(|_arguments, _call| {
    monotonic_clock::subscribe_duration(u64::MAX).block();
    text("that was for ever")
});
