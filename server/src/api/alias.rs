//! The same operations under a second path.

use std::collections::HashMap;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, Registry};

/// What the first paths begin with.
const PREFIX: &str = "/api/v1";

/// The operations of `A`, without `/api/v1` in their paths. They are in the document too, but for their ids, which must be unique.
pub(super) struct WithoutPrefix<A>(pub(super) A);

fn shortened(path: &str) -> String {
    path.strip_prefix(PREFIX).unwrap_or(path).to_owned()
}

impl<A: OpenApi> OpenApi for WithoutPrefix<A> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = A::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            path.path = shortened(&path.path);
            for operation in &mut path.operations {
                operation.operation_id = None;
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        let mut own = HashMap::new();
        self.0.add_routes(&mut own);
        routes.extend(own.into_iter().map(|(path, methods)| (shortened(&path), methods)));
    }
}
