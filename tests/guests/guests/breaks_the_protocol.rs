//! Answers with structured content that is not a JSON object.

guests::tool!(|arguments, _call| {
    Ok(ToolResult {
        content: vec![],
        structured_content: Some(arguments),
        is_error: false,
        meta: None,
    })
});
