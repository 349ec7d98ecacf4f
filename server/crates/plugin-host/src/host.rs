//! The engine, and the runtime that guests have to themselves.

use std::{
    collections::BTreeSet,
    fmt, io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    thread,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::runtime::{Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, component::Linker,
};

use crate::{
    CallError, CodeCache, Limits, abi::since_0_1_0::llmring::plugin, gate::Gate, meter::Meter, state::State,
};

/// What a host is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a plugin may use up, unless its operator says otherwise.
    pub limits: Limits,
    /// The most linear memory that an operator can grant one plugin, in bytes.
    pub largest_memory_bytes: u64,
    /// The largest component, in bytes.
    pub largest_component_bytes: usize,
    /// Calls of all plugins at once.
    pub calls: usize,
    /// Open transports of all plugins.
    pub transports: usize,
    /// Threads for guests that run for more than a millisecond, and for transports.
    pub threads: usize,
    /// The SHA-256 digests (hexadecimal, lower case) of the components that may be loaded; none permits all.
    pub digests: Option<BTreeSet<String>>,
    /// Where compiled code is kept; none compiles at each start.
    pub cache: Option<CodeCache>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            largest_memory_bytes: 256 << 20,
            largest_component_bytes: 64 << 20,
            calls: 256,
            transports: 1_000,
            threads: thread::available_parallelism().map_or(2, NonZeroUsize::get),
            digests: None,
            cache: None,
        }
    }
}

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system does not give what is needed.
    #[error("the plugin host cannot start")]
    System(#[from] io::Error),
    /// wasmtime refuses its settings.
    #[error("the plugin host cannot start: {0}")]
    Engine(String),
}

/// Runs plugins. One serves the whole process; clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    settings: Settings,
    guests: Guests,
    outside: Handle,
    ticker: Ticker,
    calls: Gate,
    transports: Gate,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Starts a host, within a Tokio runtime: outbound requests run on that one.
    ///
    /// # Errors
    /// Threads or address space cannot be had.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let engine = engine(&settings).map_err(|error| StartError::Engine(format!("{error:#}")))?;
        let linker = linker(&engine).map_err(|error| StartError::Engine(format!("{error:#}")))?;
        let outside = Handle::try_current().map_err(io::Error::other)?;
        let ticker = Ticker::start(engine.clone())?;
        let guests = Guests::start(settings.threads)?;
        let limits = &settings.limits;
        Ok(Self {
            inner: Arc::new(Inner {
                calls: Gate::new(settings.calls, settings.calls, limits.queue_time),
                transports: Gate::new(settings.transports, 0, Duration::ZERO),
                engine,
                linker,
                settings,
                guests,
                outside,
                ticker,
            }),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.inner.linker
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The runtime of the server.
    pub(crate) fn outside(&self) -> &Handle {
        &self.inner.outside
    }

    /// The runtime of the guests.
    pub(crate) fn guests(&self) -> &Handle {
        self.inner.guests.handle()
    }

    /// Places for calls, of all plugins together.
    pub(crate) fn calls(&self) -> &Gate {
        &self.inner.calls
    }

    /// Places for transports, of all plugins together.
    pub(crate) fn transports(&self) -> &Gate {
        &self.inner.transports
    }

    /// Says that an instance is running, so that epochs go on.
    pub(crate) fn running(&self) -> Running {
        self.inner.ticker.running()
    }

    /// Runs a guest: here until the first epoch, which most never see, and then on the guests' own runtime.
    pub(crate) async fn execute<T: Send + 'static>(
        &self,
        meter: Arc<Meter>,
        mut guest: BoxFuture<'static, Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let quick = std::future::poll_fn(|context| match meter.poll(guest.as_mut(), context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if meter.is_slow() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(answer) = quick.await {
            return answer;
        }
        let slow = std::future::poll_fn(move |context| meter.poll(guest.as_mut(), context));
        match AbortOnDropHandle::new(self.guests().spawn(slow)).await {
            Ok(answer) => answer,
            Err(error) => Err(CallError::Host(error.to_string())),
        }
    }
}

/// How often epochs go by. A guest is looked at once in each.
const EPOCH: Duration = Duration::from_millis(1);

/// Epochs that go by without a guest before the ticker rests.
const IDLE_EPOCHS: u32 = 100;

fn engine(settings: &Settings) -> wasmtime::Result<Engine> {
    let limits = &settings.limits;
    let instances = u32::try_from(settings.calls.saturating_add(settings.transports)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(limits.core_instances))
        .total_memories(instances.saturating_add(instances / 4))
        .total_tables(instances.saturating_mul(4))
        .total_stacks(instances)
        .max_core_instances_per_component(limits.core_instances)
        .max_memories_per_component(4)
        .max_tables_per_component(32)
        .max_memories_per_module(2)
        .max_tables_per_module(8)
        .max_memory_size(usize::try_from(settings.largest_memory_bytes)?)
        .table_elements(usize::try_from(limits.table_elements)?)
        // What a fresh call under 60 µs needs: pages stay mapped between calls, and only those written are cleared.
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .concurrency_support(false)
        .memory_init_cow(true);
    Engine::new(&config)
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    use wasmtime::component::HasSelf;
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    plugin::types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::log::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::call::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::configuration::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::channel::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::websocket::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// The guests' own runtime, at low priority: when guests loop, the server goes first.
struct Guests {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Guests {
    fn start(threads: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("plugin")
            .on_thread_start(step_back)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which is forbidden inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of this thread. (On Linux "process 0" is the calling thread; elsewhere it is the whole process.)
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::warn!(%error, "plugins run at the server's own priority");
    }
}

/// Advances the engine's epoch while guests run.
struct Ticker {
    shared: Arc<TickerState>,
    thread: thread::Thread,
}

#[derive(Default)]
struct TickerState {
    running: AtomicUsize,
    resting: AtomicBool,
    stopped: AtomicBool,
}

/// An instance that runs, or waits inside a host function.
pub(crate) struct Running(Arc<TickerState>);

impl Ticker {
    fn start(engine: Engine) -> io::Result<Self> {
        let shared = Arc::new(TickerState::default());
        let state = shared.clone();
        let ticker = thread::Builder::new()
            .name("plugin-epochs".to_owned())
            .spawn(move || {
                let mut idle = 0;
                while !state.stopped.load(SeqCst) {
                    idle = if state.running.load(SeqCst) == 0 {
                        idle + 1
                    } else {
                        0
                    };
                    if idle > IDLE_EPOCHS {
                        // Whoever begins to run after this either sees the flag or is seen here.
                        state.resting.store(true, SeqCst);
                        if state.running.load(SeqCst) == 0 && !state.stopped.load(SeqCst) {
                            thread::park();
                        }
                        state.resting.store(false, SeqCst);
                        idle = 0;
                    }
                    thread::sleep(EPOCH);
                    engine.increment_epoch();
                }
            })?;
        Ok(Self {
            shared,
            thread: ticker.thread().clone(),
        })
    }

    fn running(&self) -> Running {
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.resting.load(SeqCst) {
            self.thread.unpark();
        }
        Running(self.shared.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}
