//! `/api/v1`: logging usage, reading it back, statistics.

mod cost;
mod csv;
mod stats;
mod wire;

use poem::http::header;
use poem::{Body as HttpBody, IntoResponse, Request, Response};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::{Json, Payload, PlainText};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::auth::Caller;
use super::body::{Answer, Body};
use super::page::{DateParam, ZoneParam};
use super::problem::Problem;
use super::{Tag, idempotency};
use crate::app::App;
use crate::usage::{DateRange, Grouping, LogFilter, Page, Zone};
use cost::CostExplanation;
use stats::{GroupBy, Stats};
use wire::{LogFormat, LogRequest, LogResponse, LogsRequest};

pub(super) use wire::UsageLog;

pub(super) struct UsageApi;

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Usage")]
impl UsageApi {
    /// Log one LLM call
    ///
    /// 200 means that the row is committed. The same `Idempotency-Key` and body again gives the first answer and adds nothing.
    #[oai(path = "/log", method = "post", operation_id = "log_usage")]
    async fn log(
        &self,
        caller: Caller,
        request: &Request,
        /// Makes a repetition safe: 1 to 255 characters, remembered for 7 days by default.
        #[oai(name = "Idempotency-Key")]
        _idempotency_key: Header<Option<String>>,
        body: Body<LogRequest>,
    ) -> Result<Answer<LogResponse>, Problem> {
        let key = idempotency::key("log", request, &body.0)?;
        let logged = App::of(request)
            .usage()
            .log_one(caller.project, body.0.into(), key)
            .await?;
        Ok(Answer(logged.into()))
    }

    /// Log up to 1000 calls, all or none
    ///
    /// The answers are in the order of the logs.
    #[oai(path = "/log/batch", method = "post", operation_id = "log_usage_batch")]
    async fn log_batch(
        &self,
        caller: Caller,
        request: &Request,
        /// Makes a repetition safe: 1 to 255 characters, remembered for 7 days by default.
        #[oai(name = "Idempotency-Key")]
        _idempotency_key: Header<Option<String>>,
        body: Body<LogsRequest>,
    ) -> Result<Answer<Vec<LogResponse>>, Problem> {
        let key = idempotency::key("log/batch", request, &body.0)?;
        let reports = body.0.into_reports()?;
        let logged = App::of(request)
            .usage()
            .log_all(caller.project, reports, key)
            .await?;
        Ok(Answer(logged.into_iter().map(LogResponse::from).collect()))
    }

    /// List usage logs, newest first
    ///
    /// As JSON one page, of the last 30 days unless dates are given; as CSV (`format=csv` or `Accept: text/csv`) all rows.
    #[oai(path = "/logs", method = "get", operation_id = "list_usage_logs")]
    #[expect(clippy::too_many_arguments, reason = "one argument for each query parameter")]
    async fn logs(
        &self,
        caller: Caller,
        request: &Request,
        /// At most this many. CSV has no limit unless one is given.
        #[oai(validator(minimum(value = "1"), maximum(value = "500")))]
        limit: Query<Option<u64>>,
        /// After this many.
        #[oai(validator(maximum(value = "9007199254740991")))]
        offset: Query<Option<u64>>,
        /// The first day or instant.
        start_date: Query<Option<DateParam>>,
        /// The last day or instant.
        end_date: Query<Option<DateParam>>,
        /// Exactly this alias.
        alias: Query<Option<String>>,
        /// Exactly this model.
        model: Query<Option<String>>,
        /// Exactly this origin.
        origin: Query<Option<String>>,
        /// `json` or `csv`.
        format: Query<Option<LogFormat>>,
    ) -> Result<Logs, Problem> {
        let usage = App::of(request).usage();
        let range = DateRange::new(
            start_date.0.map(|date| date.0),
            end_date.0.map(|date| date.0),
            Zone::UTC,
            usage.now(),
        )?;
        let filter = LogFilter {
            range,
            alias: alias.0,
            model: model.0,
            origin: origin.0,
        };
        let offset = offset.0.unwrap_or(0);
        let csv_wanted = match format.0 {
            Some(format) => format == LogFormat::Csv,
            None => request.header(header::ACCEPT).is_some_and(|accept| {
                accept
                    .split([',', ';'])
                    .any(|kind| kind.trim() == csv::CONTENT_TYPE)
            }),
        };
        if csv_wanted && limit.0.is_none() && offset == 0 {
            return Ok(Logs::Csv(csv::stream(usage.stream(caller.project, filter))));
        }
        let page = Page {
            limit: limit.0.unwrap_or(50),
            offset,
        };
        let rows = usage.list(caller.project, &filter, page).await?;
        if csv_wanted {
            return Ok(Logs::Csv(csv::text(&rows).into()));
        }
        let logs = rows
            .into_iter()
            .map(UsageLog::try_from)
            .collect::<Result<_, _>>()?;
        Ok(Logs::Json(logs))
    }

    /// Explain a cost, line by line
    ///
    /// The lines are recomputed from the rates that the row keeps; `recomputed_cost` equals `cost` to the last digit.
    #[oai(path = "/logs/:log_id/cost", method = "get", operation_id = "explain_cost")]
    async fn cost(
        &self,
        caller: Caller,
        request: &Request,
        /// The log's id.
        log_id: Path<Uuid>,
    ) -> Result<Answer<CostExplanation>, Problem> {
        let explanation = App::of(request).usage().explain(caller.project, log_id.0).await?;
        Ok(Answer(CostExplanation::try_from(explanation)?))
    }

    /// Usage statistics
    ///
    /// `by_day` and `by_model` sum to `summary` exactly. Unpriced requests add nothing to the cost and are counted apart.
    #[oai(path = "/stats", method = "get", operation_id = "usage_stats")]
    async fn stats(
        &self,
        caller: Caller,
        request: &Request,
        /// The first day or instant; 30 days before the end when absent.
        start_date: Query<Option<DateParam>>,
        /// The last day or instant.
        end_date: Query<Option<DateParam>>,
        /// What `by_day` is grouped by.
        group_by: Query<Option<GroupBy>>,
        /// The time zone (IANA name) whose days are meant; UTC when absent.
        tz: Query<Option<ZoneParam>>,
    ) -> Result<Answer<Stats>, Problem> {
        let usage = App::of(request).usage();
        let zone = tz.0.map_or(Zone::UTC, |tz| tz.0);
        let range = DateRange::new(
            start_date.0.map(|date| date.0),
            end_date.0.map(|date| date.0),
            zone,
            usage.now(),
        )?;
        let grouping = group_by.0.map_or(Grouping::Day, Grouping::from);
        let statistics = usage.statistics(caller.project, range, grouping, zone).await?;
        Ok(Answer(statistics.into()))
    }
}

/// Usage logs as JSON or as CSV.
enum Logs {
    Json(Vec<UsageLog>),
    Csv(HttpBody),
}

impl IntoResponse for Logs {
    fn into_response(self) -> Response {
        match self {
            Self::Json(logs) => Answer(logs).into_response(),
            Self::Csv(body) => Response::builder()
                .content_type("text/csv; charset=utf-8; header=present")
                .header(
                    header::CONTENT_DISPOSITION,
                    "attachment; filename=\"usage-logs.csv\"",
                )
                .body(body),
        }
    }
}

impl ApiResponse for Logs {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The logs.",
                status: Some(200),
                status_range: None,
                content: vec![
                    MetaMediaType {
                        content_type: "application/json",
                        schema: Json::<Vec<UsageLog>>::schema_ref(),
                    },
                    MetaMediaType {
                        content_type: csv::CONTENT_TYPE,
                        schema: PlainText::<String>::schema_ref(),
                    },
                ],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        <Json<Vec<UsageLog>> as Payload>::register(registry);
    }
}
