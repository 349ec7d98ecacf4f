//! Answers with its arguments.

guests::tool!(|arguments, _call| {
    Ok(ToolResult {
        content: vec![block(arguments.clone())],
        structured_content: Some(arguments),
        is_error: false,
        meta: None,
    })
});
