//! The timer for a connection's headers: one that is set again when it fires, not for each request.
//!
//! hyper asks for a new timer before each header and drops it when the header is there. Entering one into the runtime's wheel and
//! taking it out again, each under the wheel's lock, would be felt at every request. So a connection keeps one timer: who waits
//! looks at its own deadline when it fires, and sets it again if that lies later. It fires at most once in the
//! time that a header may take.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

type Kept = Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>;

/// See the module. One for each connection.
#[derive(Debug, Default)]
pub(super) struct Patience {
    kept: Kept,
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Waiting { deadline, timer: None, kept: self.kept.clone() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        if let Some(waiting) = sleep.as_mut().downcast_mut_pin::<Waiting>() {
            waiting.get_mut().deadline = new_deadline;
        }
    }
}

/// Somebody who waits until a deadline. It takes the connection's timer with the first poll and leaves it when dropped.
struct Waiting {
    deadline: Instant,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    kept: Kept,
}

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        if self.timer.is_none() {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.timer = kept;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Duration = Duration::from_millis(40);

    async fn is_over(sleep: &mut Pin<Box<dyn Sleep>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn who_waits_is_woken_at_its_own_deadline_whoever_had_the_timer_before() {
        let patience = Patience::default();
        let begun = patience.now();
        let mut first = patience.sleep(SOME);
        assert!(!is_over(&mut first).await);
        drop(first);
        assert!(patience.kept.lock().unwrap().is_some(), "the control: the next one takes this one's timer");
        // Later than the timer is set for.
        patience.sleep_until(begun + 2 * SOME).await;
        assert!(patience.now() - begun >= 2 * SOME);
        // Its timer has fired.
        patience.sleep_until(begun + 3 * SOME).await;
        assert!(patience.now() - begun >= 3 * SOME);
    }

    #[tokio::test]
    async fn a_deadline_can_move_either_way() {
        const NEVER: Duration = Duration::from_hours(1);
        let patience = Patience::default();
        let begun = patience.now();
        let mut sleep = patience.sleep(NEVER);
        assert!(!is_over(&mut sleep).await);
        patience.reset(&mut sleep, begun + SOME);
        // If it had not moved, this would not end.
        sleep.as_mut().await;
        assert!(patience.now() - begun >= SOME);
        patience.reset(&mut sleep, patience.now() + NEVER);
        assert!(!is_over(&mut sleep).await);
    }
}
