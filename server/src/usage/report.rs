//! A caller's report of one call, and the rules it must keep.

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::usage_log::{self, CostSource};
use entity::usd::Usd;
use uuid::Uuid;

use crate::error::{Result, Violation, refuse};
use crate::prices::TokenCounts;

/// Longest name (provider, model, alias …), in characters.
pub const MAX_TEXT_CHARS: usize = 255;

/// Longest name, in bytes of UTF-8: four of them fit into one entry of a PostgreSQL index.
const MAX_TEXT_BYTES: usize = 512;

/// Highest cost of one call: $1,000,000,000. Sums of thousands of such rows stay within the database's integers.
pub(super) const MAX_COST: Usd = Usd::from_picos(1_000_000_000 * 1_000_000_000_000);

/// What a caller says of one call.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// Such as `openai`.
    pub provider: String,
    /// Such as `gpt-4o-mini`.
    pub model: String,
    /// Token counts, as reported.
    pub tokens: TokenCounts,
    /// The caller's alias for the model.
    pub alias: Option<String>,
    /// The caller's profile.
    pub profile: String,
    /// What the caller says it cost; `None` asks the registry.
    pub cost: Option<Usd>,
    /// Milliseconds the call took.
    pub latency_ms: Option<i64>,
    /// Which application made the call.
    pub origin: Option<String>,
    /// The caller's own id of the call.
    pub id_at_origin: Option<String>,
    /// The conversation it belongs to.
    pub conversation_id: Option<Uuid>,
    /// JSON text of an object.
    pub metadata: String,
}

impl CallReport {
    pub(super) fn into_row(
        self,
        project_id: ProjectId,
        id: Uuid,
        logged_at: DateTime<Utc>,
        cost: Option<(i64, i32)>,
        cost_source: CostSource,
        pricing: Option<String>,
    ) -> usage_log::Model {
        let Self {
            provider,
            model,
            tokens,
            alias,
            profile,
            cost: _,
            latency_ms,
            origin,
            id_at_origin,
            conversation_id,
            metadata,
        } = self;
        let (cost_micros, cost_picos) = cost.unzip();
        usage_log::Model {
            id,
            project_id,
            logged_at,
            provider,
            model,
            alias,
            profile,
            origin,
            id_at_origin,
            conversation_id,
            input_tokens: column(tokens.input),
            output_tokens: column(tokens.output),
            cached_input_tokens: column(tokens.cached_input),
            cache_write_5m_tokens: column(tokens.cache_write_5m),
            cache_write_1h_tokens: column(tokens.cache_write_1h),
            reasoning_tokens: column(tokens.reasoning),
            input_includes_cached: tokens.input_includes_cached,
            cost_micros,
            cost_picos,
            cost_source,
            pricing,
            latency_ms,
            metadata,
        }
    }

    fn violations(&self, max_metadata_bytes: usize) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (member, text) in [("provider", &self.provider), ("model", &self.model)] {
            if text.trim().is_empty() {
                found.push((member, "must not be empty".to_owned()));
            }
        }
        let texts = [
            ("provider", Some(&self.provider)),
            ("model", Some(&self.model)),
            ("profile", Some(&self.profile)),
            ("alias", self.alias.as_ref()),
            ("origin", self.origin.as_ref()),
            ("id_at_origin", self.id_at_origin.as_ref()),
        ];
        for (member, text) in texts {
            let too_long =
                |text: &&String| text.len() > MAX_TEXT_BYTES || text.chars().count() > MAX_TEXT_CHARS;
            if text.filter(too_long).is_some() {
                let message =
                    format!("must not be longer than {MAX_TEXT_CHARS} characters or {MAX_TEXT_BYTES} bytes");
                found.push((member, message));
            }
        }
        if self.metadata.len() > max_metadata_bytes {
            let message =
                format!("must not be larger than {max_metadata_bytes} bytes (LLMRING_MAX_METADATA_BYTES)");
            found.push(("metadata", message));
        }
        match self.cost {
            Some(cost) if cost < Usd::ZERO => found.push(("cost", "must not be negative".to_owned())),
            Some(cost) if cost > MAX_COST => found.push(("cost", format!("must not be above {MAX_COST}"))),
            _ => {}
        }
        found
    }
}

/// Counts are bounded far below this by the reader.
fn column(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// All rules that the report breaks, at once.
pub(super) fn check_one(report: &CallReport, max_metadata_bytes: usize) -> Result<()> {
    let violations = report
        .violations(max_metadata_bytes)
        .into_iter()
        .map(|(member, message)| Violation::body(&[member], message));
    refuse(violations.collect())
}

/// All rules that the reports of a batch break, at once.
pub(super) fn check_all(reports: &[CallReport], max_metadata_bytes: usize) -> Result<()> {
    let mut violations = Vec::new();
    for (index, report) in reports.iter().enumerate() {
        let index = index.to_string();
        for (member, message) in report.violations(max_metadata_bytes) {
            violations.push(Violation::body(&["logs", &index, member], message));
        }
    }
    refuse(violations)
}
