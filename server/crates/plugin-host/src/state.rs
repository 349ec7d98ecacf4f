//! What the host keeps for one instance, and the imports that need nothing else.

use std::sync::Arc;

use tokio::runtime::Handle;
use wasmtime::{
    ResourceLimiter,
    component::{Resource, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    Binding, Call, Grants, Limit, Progress,
    abi::since_0_1_0::llmring::plugin::{
        call, configuration, log,
        types::{self, HostError},
    },
    channel::Channel,
    http::Hooks,
    log::{Level, Log},
    meter::Meter,
};

/// Who a guest is, and what it may do.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) plugin: String,
    pub(crate) grants: Grants,
}

impl Identity {
    /// What a guest is told when `line` is not granted. The operator's log says it with the file's name.
    pub(crate) fn deny(&self, meter: &Meter, what: &str, line: &str) -> String {
        let plugin = &self.plugin;
        tracing::warn!(
            plugin,
            "denied {what}: to grant it, add `{line}` to {plugin}.toml in the folder of plugins"
        );
        let denial =
            format!("{what} is not granted to the plugin {plugin} (its operator can grant it: {line})");
        meter.count_denial(&denial);
        denial
    }
}

/// The data of a store.
pub(crate) struct State {
    pub(crate) identity: Arc<Identity>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) binding: Arc<Binding>,
    pub(crate) call: Call,
    pub(crate) log: Log,
    pub(crate) table: ResourceTable,
    pub(crate) channel: Option<Channel>,
    /// The server's runtime.
    pub(crate) outside: Handle,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

/// What a borrowed `call` refers to: the one call of the store.
#[derive(Clone, Copy, Debug)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct CallHandle;

/// Random bytes that a guest can have at once.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// Bytes of the headers of one request or response.
const MAX_HEADER_BYTES: usize = 128 << 10;

impl State {
    pub(crate) fn new(
        identity: Arc<Identity>,
        meter: Arc<Meter>,
        call: Call,
        channel: Option<Channel>,
        outside: Handle,
    ) -> Self {
        let log = Log::new(identity.clone(), meter.clone(), call.id.clone());
        let mut table = ResourceTable::new();
        table.set_max_capacity(meter.limits.handles);
        // No environment, arguments, standard input or folder is what a context begins with. Sockets link and are refused.
        let mut wasi = WasiCtx::builder();
        wasi.stdout(log.pipe(Level::Info))
            .stderr(log.pipe(Level::Warn))
            .max_random_size(MAX_RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_HEADER_BYTES);
        let binding = call.binding.clone();
        let hooks = Hooks::new(identity.clone(), meter.clone(), binding.clone(), outside.clone());
        Self {
            identity,
            meter,
            binding,
            call,
            log,
            table,
            channel,
            outside,
            wasi: wasi.build(),
            http,
            hooks,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.meter.grow_memory(desired.saturating_sub(current) as u64)?;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.meter.limits.table_elements;
        if desired > limit as usize {
            return Err(self.meter.exceed(Limit::TableElements(limit)).into());
        }
        Ok(true)
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<Result<(), HostError>> {
        let level = match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        Ok(if self.log.write(level, &message) {
            Ok(())
        } else {
            Err(HostError::LimitExceeded(format!(
                "{} log lines",
                self.meter.limits.log_lines
            )))
        })
    }
}

impl call::Host for State {}

impl call::HostCall for State {
    fn id(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<String> {
        Ok(self.call.id.clone())
    }

    fn progress(
        &mut self,
        _: Resource<CallHandle>,
        progress: f64,
        total: Option<f64>,
        message: Option<String>,
    ) -> wasmtime::Result<Result<(), HostError>> {
        if !self.meter.count_progress() {
            let limit = self.meter.limits.progress;
            return Ok(Err(HostError::LimitExceeded(format!(
                "{limit} progress notifications"
            ))));
        }
        if let Some(sink) = &self.call.progress {
            sink(Progress {
                progress,
                total,
                message,
            });
        }
        Ok(Ok(()))
    }

    fn is_cancelled(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Result<bool, HostError>> {
        Ok(Ok(self.call.cancel.is_cancelled()))
    }

    fn drop(&mut self, handle: Resource<CallHandle>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl configuration::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, HostError>> {
        if let Err(line) = self.identity.grants.check_configuration(&key) {
            let denial = self
                .identity
                .deny(&self.meter, &format!("the setting {key:?}"), &line);
            return Ok(Err(HostError::Denied(denial)));
        }
        Ok(Ok(self.binding.configuration.get(&key).map(ToString::to_string)))
    }

    fn has_secret(&mut self) -> wasmtime::Result<Result<bool, HostError>> {
        Ok(Ok(self.binding.has_secret))
    }
}
