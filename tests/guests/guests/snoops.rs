//! Looks around with its language's standard library, and answers with what it found.

guests::tool!(|_arguments, _call| {
    let environment: Vec<_> = std::env::vars().collect();
    let arguments: Vec<_> = std::env::args().collect();
    let mut input = String::new();
    let input = std::io::stdin().read_line(&mut input).map(|_| input);
    text(format!(
        "environment: {environment:?}\narguments: {arguments:?}\ninput: {input:?}\nroot: {}\npasswd: {}\nwritten: {}",
        std::fs::read_dir("/").is_ok(),
        std::fs::read("/etc/passwd").is_ok(),
        std::fs::write("here", "something").is_ok(),
    ))
});
