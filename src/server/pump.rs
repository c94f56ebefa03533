//! A body made by an asynchronous function: each call gives one chunk and the state for the next. The function
//! runs only while the socket takes more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

type Step<S, T> = Pin<Box<dyn Future<Output = Option<(T, S)>> + Send>>;

/// See the module.
pub(super) struct Pump<S, T> {
    step: Box<dyn Fn(S) -> Step<S, T> + Send>,
    running: Option<Step<S, T>>,
}

impl<S, T> Pump<S, T> {
    pub(super) fn new<F>(state: S, step: impl Fn(S) -> F + Send + 'static) -> Pump<S, T>
    where
        F: Future<Output = Option<(T, S)>> + Send + 'static,
    {
        let step: Box<dyn Fn(S) -> Step<S, T> + Send> = Box::new(move |state| Box::pin(step(state)));
        let running = Some(step(state));
        Pump { step, running }
    }
}

// The future is boxed, so nothing here is pinned in place.
impl<S, T> Unpin for Pump<S, T> {}

impl<S, T> Stream for Pump<S, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(running) = self.running.as_mut() else { return Poll::Ready(None) };
        match running.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.running = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some((item, state))) => {
                self.running = Some((self.step)(state));
                Poll::Ready(Some(item))
            }
        }
    }
}
