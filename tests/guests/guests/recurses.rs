//! Calls itself for ever, with a local variable that has to be in memory.

use std::hint::black_box;

#[expect(unconditional_recursion, reason = "it is what this guest is for")]
fn descend(depth: u64) -> u64 {
    let page = black_box([depth; 64]);
    descend(page[0] + 1) + black_box(page[63])
}

guests::tool!(|_arguments, _call| { text(descend(0).to_string()) });
