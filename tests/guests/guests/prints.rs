//! Writes to standard output and standard error.

guests::tool!(|_arguments, _call| {
    println!("to standard output");
    eprintln!("to standard error\nin two lines");
    for line in 0..10_000 {
        println!("{line}");
    }
    text("done")
});
