//! Where well-known providers are reached: the registry's files do not say.

/// How a provider is reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct WellKnown {
    id: &'static str,
    /// The name that people read.
    pub(super) name: &'static str,
    /// Root of its API.
    pub(super) base_url: &'static str,
    /// Where it lists its models, below the root.
    pub(super) models_endpoint: &'static str,
}

const PROVIDERS: [WellKnown; 9] = [
    well_known("openai", "OpenAI", "https://api.openai.com/v1", "/models"),
    well_known(
        "anthropic",
        "Anthropic",
        "https://api.anthropic.com/v1",
        "/models",
    ),
    well_known(
        "google",
        "Google",
        "https://generativelanguage.googleapis.com/v1beta",
        "/models",
    ),
    well_known("ollama", "Ollama", "http://localhost:11434", "/api/tags"),
    well_known("mistral", "Mistral AI", "https://api.mistral.ai/v1", "/models"),
    well_known("groq", "Groq", "https://api.groq.com/openai/v1", "/models"),
    well_known("deepseek", "DeepSeek", "https://api.deepseek.com", "/models"),
    well_known("xai", "xAI", "https://api.x.ai/v1", "/models"),
    well_known(
        "openrouter",
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        "/models",
    ),
];

const fn well_known(
    id: &'static str,
    name: &'static str,
    base_url: &'static str,
    models_endpoint: &'static str,
) -> WellKnown {
    WellKnown {
        id,
        name,
        base_url,
        models_endpoint,
    }
}

/// What is known of a provider, by its name in the registry.
pub(super) fn provider(id: &str) -> Option<&'static WellKnown> {
    PROVIDERS.iter().find(|known| known.id == id)
}
