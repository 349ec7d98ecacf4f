//! A component that is ready to run, and one question to a fresh instance of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wasmtime::{
    Store, Trap, UpdateDeadline,
    component::{Component, Instance, InstancePre, Resource, ResourceTableError},
};
use wasmtime_wasi::I32Exit;

use crate::{
    Call, CallError, Description, Host, Limit, LimitExceeded, Limits, LoadError, PromptResult,
    ResourceContents, ToolResult,
    abi::since_0_1_0::{
        self as abi,
        exports::llmring::plugin::{prompts, resources, tools, transport},
    },
    channel::Channel,
    gate::Place,
    host::Running,
    meter::Meter,
    state::{CallHandle, Identity, State},
};

/// A compiled and linked component.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) host: Host,
    pub(crate) identity: Arc<Identity>,
    pub(crate) limits: Limits,
    pre: InstancePre<State>,
    exports: Exports,
}

/// Where the component's exports are; none for what it does not export.
#[derive(Clone)]
struct Exports {
    tools: Option<tools::GuestIndices>,
    resources: Option<resources::GuestIndices>,
    prompts: Option<prompts::GuestIndices>,
    transport: Option<transport::GuestIndices>,
}

/// What keeps an instance's place while it lives.
pub(crate) type Keep = (Vec<Place>, Running);

impl Guest {
    pub(crate) fn link(
        host: Host,
        identity: Identity,
        limits: Limits,
        component: &Component,
    ) -> Result<Self, LoadError> {
        let unlinkable = |error: wasmtime::Error| LoadError::Unlinkable(format!("{error:#}"));
        let pre = host.linker().instantiate_pre(component).map_err(unlinkable)?;
        // An export of ours in another shape than ours counts as absent, and then none being left is what is told.
        let exports = Exports {
            tools: tools::GuestIndices::new(&pre).ok(),
            resources: resources::GuestIndices::new(&pre).ok(),
            prompts: prompts::GuestIndices::new(&pre).ok(),
            transport: transport::GuestIndices::new(&pre).ok(),
        };
        Ok(Self {
            host,
            identity: Arc::new(identity),
            limits,
            pre,
            exports,
        })
    }

    /// The same component as somebody else: with other grants.
    pub(crate) fn with_identity(self, identity: Identity) -> Self {
        Self {
            identity: Arc::new(identity),
            ..self
        }
    }

    /// The interfaces that are there in the right shape.
    pub(crate) fn exported(&self) -> Vec<&'static str> {
        let Exports {
            tools,
            resources,
            prompts,
            transport,
        } = &self.exports;
        [
            tools.is_some().then_some("tools"),
            resources.is_some().then_some("resources"),
            prompts.is_some().then_some("prompts"),
            transport.is_some().then_some("transport"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub(crate) fn has_transport(&self) -> bool {
        self.exports.transport.is_some()
    }

    fn store(&self, meter: &Arc<Meter>, call: Call, channel: Option<Channel>) -> Store<State> {
        let state = State::new(
            self.identity.clone(),
            meter.clone(),
            call,
            channel,
            self.host.outside().clone(),
        );
        let mut store = Store::new(self.host.engine(), state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(self.limits.result_bytes);
        // The first epoch may end at once, so that the second is the first that was spent whole.
        store.set_epoch_deadline(2);
        store.epoch_deadline_callback(|store| {
            store.data().meter.tick()?;
            // One tick at a time: a deadline further off could end another instance's turn and not this one's.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        store
    }

    /// Asks a fresh instance, which lives no longer than the answer takes.
    pub(crate) fn ask<Q: Question>(
        &self,
        question: Q,
        call: Call,
        meter: &Arc<Meter>,
        keep: Keep,
    ) -> BoxFuture<'static, Result<Q::Answer, CallError>> {
        let (guest, meter) = (self.clone(), meter.clone());
        Box::pin(async move {
            let _keep = keep;
            let mut store = guest.store(&meter, call, None);
            let answer = match guest.pre.instantiate_async(&mut store).await {
                Ok(instance) => {
                    question
                        .put(Instantiated {
                            guest: &guest,
                            instance,
                            store: &mut store,
                        })
                        .await
                }
                Err(error) => Err(error),
            };
            answer.unwrap_or_else(|error| Err(explain(&error, store.data())))
        })
    }

    /// Runs a transport until it ends.
    pub(crate) fn run_transport(
        &self,
        endpoint: String,
        call: Call,
        channel: Channel,
        meter: &Arc<Meter>,
        keep: Keep,
    ) -> BoxFuture<'static, Result<Result<(), crate::TransportError>, CallError>> {
        let (guest, meter) = (self.clone(), meter.clone());
        Box::pin(async move {
            let _keep = keep;
            let Some(indices) = &guest.exports.transport else {
                return Err(CallError::NotFound("the plugin is no transport".to_owned()));
            };
            let mut store = guest.store(&meter, call, Some(channel));
            let ended = async {
                let instance = guest.pre.instantiate_async(&mut store).await?;
                let transport = indices.load(&mut store, &instance)?;
                transport.call_run(&mut store, &endpoint).await
            };
            match ended.await {
                Ok(ended) => Ok(ended.map_err(Into::into)),
                Err(error) => Err(explain(&error, store.data())),
            }
        })
    }
}

/// A fresh instance with its store.
pub(crate) struct Instantiated<'a> {
    guest: &'a Guest,
    instance: Instance,
    store: &'a mut Store<State>,
}

impl Instantiated<'_> {
    /// The `call` that the guest borrows.
    fn call(&mut self) -> wasmtime::Result<Resource<CallHandle>> {
        let handle = self.store.data_mut().table.push(CallHandle)?;
        Ok(Resource::new_borrow(handle.rep()))
    }
}

/// The outer error ended the guest, the inner one is its answer.
type Answered<T> = wasmtime::Result<Result<T, CallError>>;

/// Something to ask an instance.
pub(crate) trait Question: Send + 'static {
    type Answer: Send + 'static;

    fn put(self, guest: Instantiated<'_>) -> impl Future<Output = Answered<Self::Answer>> + Send;
}

/// What do you offer?
pub(crate) struct Describe;

impl Question for Describe {
    type Answer = Description;

    async fn put(self, guest: Instantiated<'_>) -> Answered<Description> {
        let Instantiated {
            guest,
            instance,
            store,
        } = guest;
        let mut description = Description::default();
        /// Asks for one list and converts it, or ends here with the guest's error.
        macro_rules! list {
            ($interface:expr, $call:ident, $convert:path) => {
                match $interface.$call(&mut *store).await? {
                    Ok(list) => match list
                        .into_iter()
                        .map($convert)
                        .collect::<Result<Vec<_>, _>>()
                    {
                        Ok(list) => list,
                        Err(error) => return Ok(Err(error)),
                    },
                    Err(error) => return Ok(Err(error.into())),
                }
            };
        }
        if let Some(indices) = &guest.exports.tools {
            let tools = indices.load(&mut *store, &instance)?;
            description.tools = list!(tools, call_list_tools, abi::tool);
        }
        if let Some(indices) = &guest.exports.resources {
            let resources = indices.load(&mut *store, &instance)?;
            description.resources = list!(resources, call_list_resources, abi::resource);
            description.resource_templates =
                list!(resources, call_list_resource_templates, abi::resource_template);
        }
        if let Some(indices) = &guest.exports.prompts {
            let prompts = indices.load(&mut *store, &instance)?;
            description.prompts = list!(prompts, call_list_prompts, abi::prompt);
        }
        Ok(description.check().map(|()| description))
    }
}

/// Run that tool.
pub(crate) struct CallTool {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Question for CallTool {
    type Answer = ToolResult;

    async fn put(self, mut guest: Instantiated<'_>) -> Answered<ToolResult> {
        let Some(indices) = &guest.guest.exports.tools else {
            return Ok(Err(nothing("tools")));
        };
        let tools = indices.load(&mut *guest.store, &guest.instance)?;
        let call = guest.call()?;
        let answer = tools
            .call_call_tool(&mut *guest.store, &self.name, &self.arguments, call)
            .await?;
        Ok(answer.map_err(CallError::from).and_then(abi::tool_result))
    }
}

/// What is in that resource?
pub(crate) struct ReadResource {
    pub(crate) uri: String,
}

impl Question for ReadResource {
    type Answer = Vec<ResourceContents>;

    async fn put(self, mut guest: Instantiated<'_>) -> Answered<Vec<ResourceContents>> {
        let Some(indices) = &guest.guest.exports.resources else {
            return Ok(Err(nothing("resources")));
        };
        let resources = indices.load(&mut *guest.store, &guest.instance)?;
        let call = guest.call()?;
        let answer = resources
            .call_read_resource(&mut *guest.store, &self.uri, call)
            .await?;
        Ok(answer
            .map_err(CallError::from)
            .and_then(|contents| contents.into_iter().map(abi::resource_contents).collect()))
    }
}

/// Fill in that prompt.
pub(crate) struct GetPrompt {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Question for GetPrompt {
    type Answer = PromptResult;

    async fn put(self, mut guest: Instantiated<'_>) -> Answered<PromptResult> {
        let Some(indices) = &guest.guest.exports.prompts else {
            return Ok(Err(nothing("prompts")));
        };
        let prompts = indices.load(&mut *guest.store, &guest.instance)?;
        let call = guest.call()?;
        let answer = prompts
            .call_get_prompt(&mut *guest.store, &self.name, &self.arguments, call)
            .await?;
        Ok(answer.map_err(CallError::from).and_then(abi::prompt_result))
    }
}

fn nothing(what: &str) -> CallError {
    CallError::NotFound(format!("the plugin has no {what}"))
}

/// wasmtime's own words when a guest hands over more than the host's fuel permits; the error has no public type.
const FUEL_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// What ended a guest that did not end by itself.
fn explain(error: &wasmtime::Error, state: &State) -> CallError {
    let limits = &state.meter.limits;
    if let Some(limit) = state
        .meter
        .exceeded()
        .or_else(|| error.downcast_ref::<LimitExceeded>().copied())
    {
        return CallError::Limit(limit);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return CallError::Limit(LimitExceeded(Limit::Handles(limits.handles)));
    }
    let message = error.chain().map(ToString::to_string).collect::<Vec<_>>();
    if message.iter().any(|cause| cause.contains(FUEL_EXHAUSTED)) {
        return CallError::Limit(LimitExceeded(Limit::Result(limits.result_bytes)));
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return CallError::Host("there is no room for another instance".to_owned());
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return CallError::Trap(format!("it called exit({code})"));
    }
    let cause = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => message.into_iter().next_back().unwrap_or_default(),
    };
    // What a panicking guest wrote to standard error tells more than the trap.
    let words = state.log.last_words();
    CallError::Trap(if words.is_empty() {
        cause
    } else {
        format!("{cause}: {words}")
    })
}
