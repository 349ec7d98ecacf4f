//! Answers with each kind of error.

use llmring::plugin::types::InvalidArgument;

guests::tool!(|arguments, _call| {
    Err(match arguments.as_str() {
        "1" => ToolError::InvalidArguments(InvalidArgument {
            path: "/city".to_owned(),
            message: "is missing".to_owned(),
        }),
        "2" => ToolError::NotFound("no such thing".to_owned()),
        "3" => ToolError::Denied("not for you".to_owned()),
        _ => ToolError::Failed("it broke".to_owned()),
    })
});
