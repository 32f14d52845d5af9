//! Stops sending to a consumer that is down, and tries with one delivery at a time whether it is back.

use std::time::Duration;

use tokio::time::Instant;

use super::delay;

/// Failures in a row after which the consumer counts as down.
const FAILURES: u32 = 5;

#[derive(Default)]
pub(super) struct Breaker {
    failures_in_a_row: u32,
    /// While it counts as down: when it is tried next.
    down_until: Option<Instant>,
}

impl Breaker {
    /// How many deliveries may be on their way now.
    pub(super) fn allows(&self, now: Instant, parallel: usize) -> usize {
        let waits = self.down_until.is_some_and(|until| now < until);
        if waits { 0 } else { self.most(parallel) }
    }

    /// How many deliveries may be on their way at all.
    pub(super) fn most(&self, parallel: usize) -> usize {
        if self.is_down() { 1 } else { parallel }
    }

    /// When the consumer is tried next, where it counts as down.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.down_until
    }

    /// Whether the consumer counts as down.
    pub(super) fn is_down(&self) -> bool {
        self.down_until.is_some()
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A delivery failed for a reason that is not its own; the consumer may have said when it wants the next one.
    pub(super) fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if self.failures_in_a_row >= FAILURES || retry_after.is_some() {
            let wait = delay(self.failures_in_a_row.saturating_sub(FAILURES));
            self.down_until = Some(now + retry_after.map_or(wait, |asked| asked.max(wait)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_consumer_that_is_down_is_tried_with_one_at_a_time_until_it_is_back() {
        let (mut breaker, start) = (Breaker::default(), clock::instant());
        for _ in 1..FAILURES {
            breaker.failed(start, None);
            assert_eq!(breaker.allows(start, 8), 8, "not down yet");
        }
        breaker.failed(start, None);
        assert_eq!((breaker.allows(start, 8), breaker.is_down()), (0, true));
        let next_try = breaker.next_try().expect("it is tried again");
        assert_eq!(breaker.allows(next_try, 8), 1);
        breaker.failed(next_try, None);
        assert_eq!(breaker.allows(next_try, 8), 0, "and waits anew");
        breaker.succeeded();
        assert_eq!(breaker.allows(next_try, 8), 8);
    }

    #[test]
    fn the_consumer_s_own_word_on_when_to_come_again_is_kept() {
        let (mut breaker, start) = (Breaker::default(), clock::instant());
        let asked = Duration::from_secs(90);
        breaker.failed(start, Some(asked));
        assert_eq!(
            breaker.allows(start + asked - Duration::from_millis(1), 8),
            0
        );
        assert_eq!(breaker.allows(start + asked, 8), 1);
    }
}
