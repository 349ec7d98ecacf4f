//! Answers with a gigabyte that it does not have: a thousand texts that are all the same megabyte.

guests::tool!(|_arguments, _call| {
    let megabyte: &'static mut str = "x".repeat(1 << 20).leak();
    let content = (0..1_000)
        .map(|_| {
            // SAFETY: none. A text that owns nothing is never freed, and the host does not get to read it.
            block(unsafe { String::from_raw_parts(megabyte.as_mut_ptr(), megabyte.len(), 0) })
        })
        .collect();
    Ok(ToolResult {
        content,
        structured_content: None,
        is_error: false,
        meta: None,
    })
});
