//! Answers with as many bytes as its arguments say.

guests::tool!(|arguments, _call| {
    let bytes: usize = arguments
        .parse()
        .map_err(|_| ToolError::Failed("not a number".to_owned()))?;
    text("x".repeat(bytes))
});
