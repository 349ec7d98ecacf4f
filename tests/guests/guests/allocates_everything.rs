//! Wants all the memory there is.

use std::hint::black_box;

guests::tool!(|_arguments, _call| {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
});
