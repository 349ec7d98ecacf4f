//! `/api/v1/receipts`: storing, issuing, reading and verifying receipts.

mod public_keys;
mod wire;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use super::Tag;
use super::auth::Caller;
use super::body::{Answer, Body, Unread};
use super::problem::Problem;
use super::scalar::JsonObject;
use crate::app::App;
use crate::usage::Page;
use wire::{
    CertifiedLogs, GenerateRequest, GenerateResponse, Preview, ReceiptList, ReceiptText, SelectionRequest,
    StoreRequest, StoreResponse, UnsignedReceipt, Verification,
};

pub(super) use public_keys::PublicKeysApi;

pub(super) struct ReceiptsApi;

#[OpenApi(prefix_path = "/api/v1/receipts", tag = "Tag::Receipts")]
impl ReceiptsApi {
    /// Store a signed receipt
    ///
    /// It is verified against the key that it names, and kept byte for byte. The same receipt again is 200, another one with the
    /// same id 409.
    #[oai(path = "/", method = "post", operation_id = "store_receipt")]
    async fn store(
        &self,
        caller: Caller,
        request: &Request,
        body: Unread<StoreRequest>,
    ) -> Result<Answer<StoreResponse>, Problem> {
        let text = wire::enclosed_receipt(&body.text)?;
        let receipts = App::of(request).receipts();
        let stored = receipts.store(caller.project, text.as_bytes()).await?;
        Ok(Answer(StoreResponse::verified(&stored)))
    }

    /// List receipts, last stored first
    #[oai(path = "/", method = "get", operation_id = "list_receipts")]
    async fn list(
        &self,
        caller: Caller,
        request: &Request,
        /// At most this many.
        #[oai(
            default = "default_limit",
            validator(minimum(value = "1"), maximum(value = "500"))
        )]
        limit: Query<u64>,
        /// After this many.
        #[oai(default, validator(maximum(value = "9007199254740991")))]
        offset: Query<u64>,
    ) -> Result<Answer<ReceiptList>, Problem> {
        let page = page(limit, offset);
        let part = App::of(request).receipts().list(caller.project, page).await?;
        Ok(Answer(ReceiptList::new(part, page)?))
    }

    /// Sign and store a receipt
    ///
    /// The members are signed as they are sent, unknown ones included. `id` and `timestamp` are added when they are absent. `receipt_type`,
    /// `batch_summary` and `log_id` are refused: they say that the server certified logs.
    #[oai(path = "/issue", method = "post", operation_id = "issue_receipt")]
    async fn issue(
        &self,
        caller: Caller,
        request: &Request,
        body: Unread<UnsignedReceipt>,
    ) -> Result<Answer<ReceiptText>, Problem> {
        let issued = App::of(request)
            .receipts()
            .issue(caller.project, &body.text)
            .await?;
        Ok(Answer(ReceiptText::of(issued)?))
    }

    /// Issue a receipt that certifies usage logs
    ///
    /// The logs are linked to the receipt in the same transaction. The selection is exactly one of `conversation_id`, `start_date`
    /// with `end_date`, `log_ids`, `since_last_receipt`.
    #[oai(path = "/generate", method = "post", operation_id = "generate_receipt")]
    async fn generate(
        &self,
        caller: Caller,
        request: &Request,
        body: Body<GenerateRequest>,
    ) -> Result<Answer<GenerateResponse>, Problem> {
        let app = App::of(request);
        let (selection, note) = body.0.into_selection(app.usage().now())?;
        let certificate = app.receipts().generate(caller.project, &selection, note).await?;
        Ok(Answer(GenerateResponse::try_from(certificate)?))
    }

    /// Show what a receipt would certify, without issuing it
    #[oai(path = "/preview", method = "post", operation_id = "preview_receipt")]
    async fn preview(
        &self,
        caller: Caller,
        request: &Request,
        body: Body<SelectionRequest>,
    ) -> Result<Answer<Preview>, Problem> {
        let app = App::of(request);
        let selection = body.0.into_selection(app.usage().now())?;
        let summary = app.receipts().preview(caller.project, &selection).await?;
        Ok(Answer(summary.into()))
    }

    /// List usage logs that no receipt certifies, newest first
    #[oai(path = "/uncertified", method = "get", operation_id = "list_uncertified_logs")]
    async fn uncertified(
        &self,
        caller: Caller,
        request: &Request,
        /// At most this many.
        #[oai(
            default = "default_limit",
            validator(minimum(value = "1"), maximum(value = "500"))
        )]
        limit: Query<u64>,
        /// After this many.
        #[oai(default, validator(maximum(value = "9007199254740991")))]
        offset: Query<u64>,
    ) -> Result<Answer<CertifiedLogs>, Problem> {
        let page = page(limit, offset);
        let part = App::of(request)
            .receipts()
            .uncertified(caller.project, page)
            .await?;
        Ok(Answer(CertifiedLogs::new(part, page)?))
    }

    /// Verify a receipt
    ///
    /// Anybody may ask, about any JSON object. `valid` is whether a key of this server signed exactly these members at a time at which that key signs.
    #[oai(path = "/verify", method = "post", operation_id = "verify_receipt")]
    async fn verify(
        &self,
        request: &Request,
        body: Unread<JsonObject>,
    ) -> Result<Answer<Verification>, Problem> {
        let verdict = App::of(request).receipts().verify(&body.text)?;
        Ok(Answer(verdict.into()))
    }

    /// Fetch a receipt, byte for byte as it was stored
    #[oai(path = "/:receipt_id", method = "get", operation_id = "get_receipt")]
    async fn get(
        &self,
        caller: Caller,
        request: &Request,
        /// The receipt's id.
        receipt_id: Path<String>,
    ) -> Result<Answer<ReceiptText>, Problem> {
        let receipt = App::of(request)
            .receipts()
            .get(caller.project, &receipt_id.0)
            .await?;
        Ok(Answer(ReceiptText::of(receipt)?))
    }

    /// List the usage logs that a receipt certifies
    ///
    /// They come in the order of their ids: the SHA-256 over the ids, each followed by a line feed, is the receipt's
    /// `batch_summary.logs_sha256`.
    #[oai(
        path = "/:receipt_id/logs",
        method = "get",
        operation_id = "list_certified_logs"
    )]
    async fn logs(
        &self,
        caller: Caller,
        request: &Request,
        /// The receipt's id.
        receipt_id: Path<String>,
        /// At most this many.
        #[oai(
            default = "default_limit",
            validator(minimum(value = "1"), maximum(value = "500"))
        )]
        limit: Query<u64>,
        /// After this many.
        #[oai(default, validator(maximum(value = "9007199254740991")))]
        offset: Query<u64>,
    ) -> Result<Answer<CertifiedLogs>, Problem> {
        let page = page(limit, offset);
        let part = App::of(request)
            .receipts()
            .logs(caller.project, &receipt_id.0, page)
            .await?;
        Ok(Answer(CertifiedLogs::new(part, page)?))
    }
}

fn default_limit() -> u64 {
    50
}

fn page(limit: Query<u64>, offset: Query<u64>) -> Page {
    Page {
        limit: limit.0,
        offset: offset.0,
    }
}
