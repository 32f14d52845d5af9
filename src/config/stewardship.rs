//! `[stewardship]`: what holds for the decisions of stewards.

use serde::Deserialize;

use super::Mistakes;

/// Reasons that can be given, and bytes of one.
const MAX_REASONS: usize = 100;
const MAX_REASON_BYTES: usize = 64;

/// What holds for the decisions of stewards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StewardshipSettings {
    /// The reasons that may be given for a decision.
    pub reasons: Vec<String>,
    /// A decision over identities of more records than these counts once somebody else agrees; none: every decision counts at once.
    pub four_eyes_above: Option<usize>,
}

impl Default for StewardshipSettings {
    fn default() -> Self {
        let reasons = [
            "documents seen",
            "customer confirmed",
            "typing error",
            "moved or renamed",
            "members of one household",
            "shared contact",
            "test or training data",
        ];
        Self {
            reasons: reasons.map(str::to_owned).into(),
            four_eyes_above: None,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenStewardship {
    reasons: Option<Vec<String>>,
    four_eyes_above: Option<usize>,
}

impl Mistakes {
    pub(super) fn stewardship(&mut self, written: WrittenStewardship) -> StewardshipSettings {
        let mut settings = StewardshipSettings::default();
        if let Some(reasons) = written.reasons {
            if reasons.len() > MAX_REASONS {
                self.add("stewardship.reasons", "has more than 100 entries");
            }
            for (index, reason) in reasons.iter().enumerate() {
                if reason.is_empty() || reason.len() > MAX_REASON_BYTES {
                    let field = format!("stewardship.reasons[{index}]");
                    self.add(field, "must have 1 to 64 bytes");
                }
            }
            settings.reasons = reasons;
        }
        if written.four_eyes_above == Some(0) {
            let problem = "must be 1 at least; every decision concerns a record";
            self.add("stewardship.four_eyes_above", problem);
        }
        settings.four_eyes_above = written.four_eyes_above;
        settings
    }
}
