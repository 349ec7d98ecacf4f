//! Leaves with a status (of which WASI 0.2 carries only that it is none of success) instead of an answer.

guests::tool!(|_arguments, _call| { std::process::exit(3) });
