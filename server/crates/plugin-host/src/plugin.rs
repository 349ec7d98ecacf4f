//! A loaded plugin: what it offers, and calls to it.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use wasmtime::component::Component;

use crate::{
    Binding, Call, CallError, Description, Grants, Host, Inspection, Limits, LoadError, Manifest,
    PromptResult, ResourceContents, ToolResult, Usage, component,
    gate::{Breaker, Gate, Place},
    guest::{CallTool, Describe, GetPrompt, Guest, Question, ReadResource},
    meter::Meter,
    state::Identity,
};

/// A plugin, checked, compiled and described. Clones are the same plugin; it goes when the last of them and the last of
/// its calls are gone, so that a new version can take its name meanwhile.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) guest: Guest,
    manifest: Manifest,
    inspection: Inspection,
    description: Description,
    calls: Gate,
    pub(crate) transports: Gate,
    breaker: Breaker,
    counters: Counters,
}

/// How a call ended, and what it used up.
#[derive(Clone, Debug)]
pub struct Execution<T> {
    /// The answer, or why there is none.
    pub outcome: Result<T, CallError>,
    /// What was used, whatever the outcome.
    pub usage: Usage,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("manifest", &self.inner.manifest)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Loads a plugin: checks what it says of itself, compiles it (or takes its compiled code from the cache), and lets
    /// it describe itself with nothing granted. `name` names it when it has no manifest.
    ///
    /// # Errors
    /// Why it is not loaded; then nothing of it remains.
    pub async fn load(host: &Host, name: &str, bytes: Vec<u8>, grants: Grants) -> Result<Self, LoadError> {
        let settings = host.settings();
        if bytes.len() > settings.largest_component_bytes {
            return Err(LoadError::TooLarge {
                bytes: bytes.len(),
                limit: settings.largest_component_bytes,
            });
        }
        let inspection = component::read(&bytes)?;
        inspection.check()?;
        if settings
            .digests
            .as_ref()
            .is_some_and(|permitted| !permitted.contains(&inspection.digest))
        {
            return Err(LoadError::UnknownDigest {
                digest: inspection.digest,
            });
        }
        let manifest = inspection
            .manifest
            .clone()
            .unwrap_or_else(|| Manifest::unnamed(name));
        manifest.check(&inspection)?;
        let limits = settings.limits.with(&manifest.limits, grants.limits());
        if limits.memory_bytes > settings.largest_memory_bytes {
            let most = settings.largest_memory_bytes >> 20;
            return Err(LoadError::Grants(format!(
                "more than {most} MiB of memory cannot be granted"
            )));
        }

        let compiled = compile(host, bytes, inspection.digest.clone()).await?;
        let bare = Identity {
            plugin: manifest.name.clone(),
            grants: Grants::default(),
        };
        let guest = Guest::link(host.clone(), bare, limits.clone(), &compiled)?;
        if guest.exported().is_empty() {
            return Err(LoadError::Unlinkable(
                "its exports are not of the shapes that llmring:plugin gives them".to_owned(),
            ));
        }
        let call = Call::new("load", Arc::new(Binding::none()));
        let description = describe(&guest, call)
            .await
            .outcome
            .map_err(LoadError::Description)?;

        let lacking = grants.lacking(&manifest);
        if lacking != crate::Permissions::default() {
            tracing::warn!(
                plugin = manifest.name,
                ?lacking,
                "the plugin asks for more than it is granted"
            );
        }
        let identity = Identity {
            plugin: manifest.name.clone(),
            grants,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                calls: Gate::new(limits.calls, limits.queue, limits.queue_time),
                transports: Gate::new(limits.transports, 0, Duration::ZERO),
                breaker: Breaker::new(&limits),
                counters: Counters::default(),
                guest: guest.with_identity(identity),
                manifest,
                inspection,
                description,
            }),
        })
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// What can be read from the outside: digest, imports, exports.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inner.inspection
    }

    /// What it is granted.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.inner.guest.identity.grants
    }

    /// The limits it runs under.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.guest.limits
    }

    /// What it offered when it was loaded, for no particular server row.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// Which of `tools`, `resources`, `prompts` and `transport` it has.
    #[must_use]
    pub fn interfaces(&self) -> Vec<&'static str> {
        self.inner.guest.exported()
    }

    /// What it offers on behalf of one server row.
    pub async fn describe(&self, call: Call) -> Execution<Description> {
        self.run(Describe, call).await
    }

    /// Runs one tool in a fresh instance. `arguments` is the text of a JSON object.
    pub async fn call_tool(&self, name: &str, arguments: &str, call: Call) -> Execution<ToolResult> {
        self.run(
            CallTool {
                name: name.to_owned(),
                arguments: arguments.to_owned(),
            },
            call,
        )
        .await
    }

    /// Reads one resource in a fresh instance.
    pub async fn read_resource(&self, uri: &str, call: Call) -> Execution<Vec<ResourceContents>> {
        self.run(ReadResource { uri: uri.to_owned() }, call).await
    }

    /// Fills in one prompt in a fresh instance. `arguments` is the text of a JSON object.
    pub async fn get_prompt(&self, name: &str, arguments: &str, call: Call) -> Execution<PromptResult> {
        self.run(
            GetPrompt {
                name: name.to_owned(),
                arguments: arguments.to_owned(),
            },
            call,
        )
        .await
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> CounterReadings {
        let Inner {
            calls,
            transports,
            breaker,
            counters,
            ..
        } = &*self.inner;
        CounterReadings {
            running: calls.in_use(),
            transports: transports.in_use(),
            breaker_open_for: breaker.open_for(Instant::now()),
            calls: counters.calls.load(Relaxed),
            traps: counters.traps.load(Relaxed),
            limits_exceeded: counters.limits_exceeded.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            denials: counters.denials.load(Relaxed),
            cpu_time: Duration::from_micros(counters.cpu_micros.load(Relaxed)),
        }
    }

    /// Whether a transport may be opened now.
    pub(crate) fn admit_transport(&self) -> Result<(), CallError> {
        match self.inner.breaker.open_for(Instant::now()) {
            Some(retry_after) if !retry_after.is_zero() => Err(CallError::Broken { retry_after }),
            _ => Ok(()),
        }
    }

    /// Notes how a transport ended, when its guest ended.
    pub(crate) fn note_transport<T>(
        &self,
        outcome: Result<T, CallError>,
        usage: Usage,
    ) -> Result<T, CallError> {
        self.inner
            .breaker
            .note(matches!(outcome, Err(CallError::Trap(_))), Instant::now());
        self.inner.counters.note(Execution { outcome, usage }).outcome
    }

    async fn run<Q: Question>(&self, question: Q, call: Call) -> Execution<Q::Answer> {
        let started = Instant::now();
        let Inner {
            guest,
            breaker,
            counters,
            ..
        } = &*self.inner;
        let places = match breaker.admit(started) {
            Ok(()) => self.enter().await,
            Err(error) => Err(error),
        };
        let execution = match places {
            Ok(places) => execute(guest, question, call, places, started).await,
            Err(error) => {
                let usage = Usage {
                    wall_time: started.elapsed(),
                    ..Usage::default()
                };
                return counters.note(Execution {
                    outcome: Err(error),
                    usage,
                });
            }
        };
        breaker.note(
            matches!(execution.outcome, Err(CallError::Trap(_))),
            Instant::now(),
        );
        counters.note(execution)
    }

    /// A place among the plugin's own calls and one among everybody's.
    async fn enter(&self) -> Result<Vec<Place>, CallError> {
        Ok(vec![
            self.inner.calls.enter().await?,
            self.inner.guest.host.calls().enter().await?,
        ])
    }
}

/// Lets a guest describe itself before it is a plugin.
async fn describe(guest: &Guest, call: Call) -> Execution<Description> {
    let started = Instant::now();
    match guest.host.calls().enter().await {
        Ok(place) => execute(guest, Describe, call, vec![place], started).await,
        Err(error) => Execution {
            outcome: Err(error),
            usage: Usage::default(),
        },
    }
}

/// Asks a fresh instance, under the call's limits and until it is cancelled.
async fn execute<Q: Question>(
    guest: &Guest,
    question: Q,
    call: Call,
    places: Vec<Place>,
    started: Instant,
) -> Execution<Q::Answer> {
    let meter = Arc::new(Meter::call(guest.limits.clone()));
    let cancel = call.cancel.clone();
    let asked = guest.ask(question, call, &meter, (places, guest.host.running()));
    let answered = tokio::time::timeout(guest.limits.wall_time, guest.host.execute(meter.clone(), asked));
    let cancelled = async {
        cancel.cancelled().await;
        tokio::time::sleep(guest.limits.cancel_grace).await;
    };
    let outcome = tokio::select! {
        biased;
        answer = answered => answer.unwrap_or_else(|_| {
            Err(CallError::Limit(meter.exceed(crate::Limit::WallTime(guest.limits.wall_time))))
        }),
        () = cancelled => Err(CallError::Cancelled),
    };
    Execution {
        outcome: meter.blame(outcome),
        usage: meter.usage(started.elapsed()),
    }
}

/// Compiles a component, unless it is in the cache.
async fn compile(host: &Host, bytes: Vec<u8>, digest: String) -> Result<Component, LoadError> {
    let (engine, cache) = (host.engine().clone(), host.settings().cache.clone());
    let compiling = host.outside().spawn_blocking(move || {
        if let Some(component) = cache.as_ref().and_then(|cache| cache.load(&engine, &digest)) {
            return Ok(component);
        }
        let component = Component::new(&engine, &bytes)?;
        if let Some(cache) = &cache {
            cache.store(&engine, &digest, &component);
        }
        Ok(component)
    });
    compiling
        .await
        .map_err(|error| LoadError::Malformed(error.to_string()))?
        .map_err(|error: wasmtime::Error| LoadError::Malformed(format!("{error:#}")))
}

impl Description {
    /// Names are what things are called by, so each is there and there once.
    pub(crate) fn check(&self) -> Result<(), CallError> {
        fn check<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), CallError> {
            let mut seen = HashSet::new();
            for name in names {
                if name.is_empty() {
                    return Err(CallError::Failed(format!(
                        "the plugin lists a {what} without a name"
                    )));
                }
                if !seen.insert(name) {
                    return Err(CallError::Failed(format!(
                        "the plugin lists the {what} {name:?} twice"
                    )));
                }
            }
            Ok(())
        }
        check("tool", self.tools.iter().map(|tool| tool.name.as_str()))?;
        check(
            "resource",
            self.resources.iter().map(|resource| resource.uri.as_str()),
        )?;
        check(
            "resource template",
            self.resource_templates
                .iter()
                .map(|template| template.uri_template.as_str()),
        )?;
        check("prompt", self.prompts.iter().map(|prompt| prompt.name.as_str()))
    }
}

/// What has happened to a plugin since it was loaded.
#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    traps: AtomicU64,
    limits_exceeded: AtomicU64,
    refused: AtomicU64,
    denials: AtomicU64,
    cpu_micros: AtomicU64,
}

/// What has happened to a plugin since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CounterReadings {
    /// Calls that run now.
    pub running: usize,
    /// Transports that are open now.
    pub transports: usize,
    /// How much longer the circuit breaker stays open; none when it is closed.
    pub breaker_open_for: Option<Duration>,
    /// Calls that have ended, refused ones included.
    pub calls: u64,
    /// Calls that ended in a trap.
    pub traps: u64,
    /// Calls that a limit ended.
    pub limits_exceeded: u64,
    /// Calls that were not made, there being no place or the circuit breaker open.
    pub refused: u64,
    /// Things refused to it that were not granted.
    pub denials: u64,
    /// CPU time of all calls.
    pub cpu_time: Duration,
}

impl Counters {
    fn note<T>(&self, execution: Execution<T>) -> Execution<T> {
        let Execution { outcome, usage } = &execution;
        self.calls.fetch_add(1, Relaxed);
        self.denials.fetch_add(usage.denials.into(), Relaxed);
        self.cpu_micros.fetch_add(
            u64::try_from(usage.cpu_time.as_micros()).unwrap_or(u64::MAX),
            Relaxed,
        );
        match outcome {
            Err(CallError::Trap(_)) => self.traps.fetch_add(1, Relaxed),
            Err(CallError::Limit(_)) => self.limits_exceeded.fetch_add(1, Relaxed),
            Err(CallError::Busy(_) | CallError::Broken { .. }) => self.refused.fetch_add(1, Relaxed),
            Ok(_)
            | Err(
                CallError::Denied(_)
                | CallError::Failed(_)
                | CallError::NotFound(_)
                | CallError::InvalidArguments { .. }
                | CallError::Cancelled
                | CallError::Host(_),
            ) => 0,
        };
        execution
    }
}
