//! Reports progress until it is cancelled (with its arguments `true`), or five thousand times.

use wasi::clocks::monotonic_clock;

guests::tool!(|arguments, call| {
    let until_cancelled = arguments == "true";
    let mut taken = 0_u32;
    for step in 0_u32.. {
        let message = Some(format!("step {step}"));
        if call
            .progress(step.into(), Some(5_000.0), message.as_deref())
            .is_ok()
        {
            taken += 1;
        }
        if until_cancelled {
            if call.is_cancelled().expect("it can be asked") {
                return text("stopped when cancelled");
            }
            monotonic_clock::subscribe_duration(1_000_000).block();
        } else if step == 4_999 {
            break;
        }
    }
    text(format!("{taken} reports taken in {}", call.id()))
});
