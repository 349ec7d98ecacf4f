//! Runs futures over WASI's `poll`. There is one thread; while every future waits, the plugin takes no CPU time.

use std::{
    cell::{Cell, RefCell},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

pub use futures_util::future::Either;
use futures_util::{
    StreamExt as _,
    future::{LocalBoxFuture, select},
    stream::FuturesUnordered,
};

use crate::bindings::wasi::{
    clocks::monotonic_clock::subscribe_duration,
    io::poll::{Pollable, poll},
};

thread_local! {
    static SPAWNED: RefCell<Vec<LocalBoxFuture<'static, ()>>> = const { RefCell::new(Vec::new()) };
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// A future that is to be woken when something is ready.
struct Waiting {
    id: u64,
    pollable: Rc<Pollable>,
    waker: Waker,
}

/// Runs `future` until it is done, and beside it everything that is [`spawn`]ed meanwhile; what is not done then is
/// dropped. Asynchronous tools and transports are run in it already. It cannot be used inside itself.
///
/// # Panics
/// When every future waits for another: nothing could ever wake them.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut spawned = FuturesUnordered::new();
    loop {
        while woken.0.swap(false, Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                drop(SPAWNED.take());
                return output;
            }
            loop {
                spawned.extend(SPAWNED.take());
                while let Poll::Ready(Some(())) = spawned.poll_next_unpin(&mut context) {}
                if SPAWNED.with_borrow(Vec::is_empty) {
                    break;
                }
            }
        }
        wait();
    }
}

/// Runs `future` beside the one that [`block_on`] runs.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    SPAWNED.with_borrow_mut(|spawned| spawned.push(Box::pin(future)));
}

/// Waits that long.
pub async fn sleep(duration: Duration) {
    ready(subscribe_duration(
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
    ))
    .await;
}

/// Waits for whichever of the two is done first, and drops the other.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    match select(pin!(a), pin!(b)).await {
        Either::Left((output, _)) => Either::Left(output),
        Either::Right((output, _)) => Either::Right(output),
    }
}

/// What `future` is done with, none when it is not done in time.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    match race(future, sleep(limit)).await {
        Either::Left(output) => Some(output),
        Either::Right(()) => None,
    }
}

/// Waits until `pollable` is ready. Dropped before whatever the pollable was got from.
pub(crate) fn ready(pollable: Pollable) -> impl Future<Output = ()> {
    let id = NEXT.replace(NEXT.get() + 1);
    Ready {
        id,
        pollable: Rc::new(pollable),
    }
}

struct Ready {
    id: u64,
    pollable: Rc<Pollable>,
}

impl Future for Ready {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pollable.ready() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| {
            let waker = context.waker().clone();
            match waiting.iter_mut().find(|other| other.id == self.id) {
                Some(same) => same.waker = waker,
                None => waiting.push(Waiting {
                    id: self.id,
                    pollable: self.pollable.clone(),
                    waker,
                }),
            }
        });
        Poll::Pending
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|waiting| waiting.retain(|other| other.id != self.id));
    }
}

/// Waits until something is ready and wakes who waits for it.
fn wait() {
    let woken: Vec<Waker> = WAITING.with_borrow_mut(|waiting| {
        assert!(!waiting.is_empty(), "every future waits for another");
        let pollables: Vec<&Pollable> = waiting.iter().map(|waiting| &*waiting.pollable).collect();
        let mut ready = poll(&pollables);
        // From the end, so that what is still to be removed keeps its place.
        ready.sort_unstable();
        let ready = ready.into_iter().rev();
        ready
            .map(|index| waiting.swap_remove(index as usize).waker)
            .collect()
    });
    woken.into_iter().for_each(Waker::wake);
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spawned_runs_beside() {
        let done = Rc::new(Cell::new(0));
        let counter = done.clone();
        block_on(async move {
            let nested = counter.clone();
            spawn(async move {
                counter.set(counter.get() + 1);
                spawn(async move { nested.set(nested.get() + 1) });
            });
            while done.get() < 2 {
                yield_once().await;
            }
        });
    }

    #[test]
    #[should_panic(expected = "every future waits for another")]
    fn a_future_that_nobody_can_wake_is_noticed() {
        block_on(std::future::pending::<()>());
    }

    async fn yield_once() {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
