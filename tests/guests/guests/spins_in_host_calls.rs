//! Calls the host for ever.

use llmring::plugin::configuration;

guests::tool!(|_arguments, _call| {
    loop {
        _ = configuration::has_secret();
    }
});
