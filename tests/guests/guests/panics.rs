//! Panics, unless its arguments are `"behave"`.

guests::tool!(|arguments, _call| {
    assert_eq!(arguments, "\"behave\"", "these are not good manners");
    text("behaved")
});
