//! Loops for ever.

use std::hint::black_box;

guests::tool!(|_arguments, _call| {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
});
