//! The price registry: fetched in the background, kept in the database, served from memory.

mod catalog;
mod price_list;
mod provider_file;
mod well_known;

pub use catalog::{Catalog, Document, Filter, UnknownCapability};
pub use price_list::{PriceList, Published};
pub use provider_file::{FileVersion, MalformedFile, Model, ProviderFile};

#[cfg(test)]
pub(crate) fn catalog_of(files: &[(&str, &str)]) -> Catalog {
    let fetched_at = chrono::DateTime::UNIX_EPOCH;
    Catalog::new(
        files.iter().map(|(provider, text)| {
            let text = bytes::Bytes::copy_from_slice(text.as_bytes());
            std::sync::Arc::new(
                ProviderFile::parse(provider, text, fetched_at).expect("a provider's file"),
            )
        }),
        catalog::Dating::Fetched,
    )
}
