//! A component, and no plugin.

wit_bindgen::generate!({
    inline: "
        package other:place@2.0.0;
        world guest {
            export greeter: interface {
                greet: func(name: string) -> string;
            }
        }
    ",
    world: "other:place/guest",
});

struct Greeter;

impl exports::greeter::Guest for Greeter {
    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }
}

export!(Greeter);
