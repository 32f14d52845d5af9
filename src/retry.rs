//! How long to wait before something is tried again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Waits of `first`, twice that and so on up to `longest`, with jitter, without end.
pub fn delays(first: Duration, longest: Duration) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(30));
        let waits = || delays(first, longest).take(20).collect::<Vec<_>>();
        let (one, other) = (waits(), waits());
        for (index, wait) in one.iter().enumerate() {
            let least = longest.min(first * 2_u32.pow(index as u32));
            assert!((least..2 * least).contains(wait), "{index}: {wait:?}");
        }
        assert_ne!(one, other);
    }
}
