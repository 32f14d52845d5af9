//! What stewards are asked, what they decide, and what they were answered.

use serde::{Deserialize, Serialize};
use veridem_matchers::block::PersonalValue;
use veridem_matchers::{Comparable, PairScore, RecordKey};

use super::{IdentityId, RecordNumber};

/// Why a pair waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReviewReason {
    /// The pair's decision is `Review`.
    Uncertain,
    /// The pair matches, the identities as wholes do not.
    Conflict,
}

/// A pair of identities that waits for a steward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredReviewTask {
    /// A hash of the two record keys.
    pub id: String,
    /// The strongest pair between the two: the smaller key.
    pub left: RecordKey,
    /// The larger key.
    pub right: RecordKey,
    /// The numbers of the two.
    pub records: (RecordNumber, RecordNumber),
    /// Why it waits.
    pub reason: ReviewReason,
    /// The pair's score.
    pub score: PairScore,
    /// How much an answer settles: the records of both identities as a power of two, 1 for two or three, 2 for four to seven.
    pub impact: u8,
    /// Where it stands in the queue, see [`priority_of`]: as it was worked out once, for machines differ in the last bit of a logarithm.
    pub priority: f64,
    /// Since when it waits, milliseconds since the Unix epoch.
    pub opened_at_ms: i64,
}

/// Where a task stands in the queue: what an answer settles times how uncertain it is, so that the first answers settle the most.
///
/// Uncertainty is the entropy of the match probability in bits, as in uncertainty sampling (Settles, Active Learning Literature
/// Survey, 2009, section 3.1). Where weight and rule, or pair and identities, contradict each other, nothing is certain: 1.
pub fn priority_of(reason: ReviewReason, score: &PairScore, impact: u8) -> f64 {
    let is_contradicted = reason == ReviewReason::Conflict || score.effect.is_some();
    let uncertainty = match score.probability().0 {
        _ if is_contradicted => 1.0,
        probability if probability <= 0.0 || probability >= 1.0 => 0.0,
        probability => {
            let other = 1.0 - probability;
            -probability * probability.log2() - other * other.log2()
        }
    };
    f64::from(impact) * uncertainty
}

/// The records of two identities as [`StoredReviewTask::impact`] counts them.
pub fn impact_of(records: usize) -> u8 {
    records.max(2).ilog2() as u8
}

/// What an override says of its records. Of two overrides on the same thing the later counts, unless it is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverrideKind {
    /// Those of one group are one person, those of two groups are two.
    Persons,
    /// Of one record: what it states in this slot survives in the golden record of its identity.
    Pin {
        /// The slot.
        slot: String,
    },
    /// Of one record: what it stated in this slot, when that was said, is evidence of nobody, whoever states it.
    Value {
        /// The slot.
        slot: String,
        /// The value, as blocking tells it from others.
        value: PersonalValue,
        /// The value, as survivorship tells it from others.
        comparable: Comparable,
        /// What it is.
        mark: ValueMark,
    },
    /// Of one group: the persons of its records live together.
    Household,
}

/// What is said of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueMark {
    /// Several persons use it.
    Shared,
    /// Nobody does; it survives in no golden record.
    Junk,
}

/// A steward's word on some records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOverride {
    /// Its number, from 1.
    pub number: u64,
    /// What it says.
    pub kind: OverrideKind,
    /// The groups: one or more, each with at least one record, no record twice.
    pub groups: Vec<Vec<(RecordKey, RecordNumber)>>,
    /// Who said it.
    pub principal: String,
    /// When, milliseconds since the Unix epoch.
    pub decided_at_ms: i64,
    /// Why, as one of the reasons that the configuration knows; empty where none was given.
    pub reason: String,
    /// The steward's note.
    pub note: String,
    /// Whether somebody else has to agree.
    pub approval: Approval,
    /// Set once it counts no more.
    pub undone: Option<Undone>,
}

/// Whether somebody else than who decided has to agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Approval {
    /// Nobody has to.
    #[default]
    NotNeeded,
    /// Somebody has to; until then the decision changes nothing.
    Awaited,
    /// Somebody has.
    Given {
        /// Who.
        principal: String,
        /// When, milliseconds since the Unix epoch.
        approved_at_ms: i64,
        /// Their note.
        note: String,
    },
}

impl StoredOverride {
    /// Whether it counts.
    pub fn is_in_force(&self) -> bool {
        self.undone.is_none() && self.approval != Approval::Awaited
    }

    /// Its records, group by group.
    pub fn records(&self) -> impl Iterator<Item = &(RecordKey, RecordNumber)> {
        self.groups.iter().flatten()
    }
}

/// How an override came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Who undid it.
    pub principal: String,
    /// When, milliseconds since the Unix epoch.
    pub undone_at_ms: i64,
    /// The steward's note.
    pub note: String,
}

/// What was answered to a steward's call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// SHA-256 of the call's content, first half.
    pub content_hash: [u8; 16],
    /// The override as the call left it.
    pub value: StoredOverride,
    /// The identities of the override's records afterwards.
    pub identities: Vec<Option<IdentityId>>,
    /// The event before the first that the call caused.
    pub before_sequence: u64,
    /// The latest event when it was answered.
    pub sequence: u64,
}

/// Which pairs a stratum of a sample is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stratum {
    /// Pairs that hold together identities, of a match probability of [`SURE`] and more.
    TogetherSure,
    /// The other pairs that hold together identities.
    TogetherUnsure,
    /// Pairs of two identities that match or are doubtful.
    ApartDoubtful,
    /// Candidate pairs below the review threshold.
    ApartBelow,
    /// Pairs on which a steward has decided before: they tell of the judges, not of the model.
    Gold {
        /// What was decided.
        is_match: bool,
    },
}

/// From this match probability on a pair that holds an identity together is sure.
pub const SURE: f64 = 0.999;

/// Pairs of records that stewards judge without seeing what was decided of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredSample {
    /// From 1.
    pub number: u64,
    /// Who had it drawn.
    pub principal: String,
    /// When, milliseconds since the Unix epoch.
    pub drawn_at_ms: i64,
    /// How many pairs there are of each stratum but gold, drawn or not.
    pub populations: Vec<(Stratum, Population)>,
    /// How the weights of all pairs spread that match or are doubtful, rising.
    pub weights: Vec<WeightCount>,
    /// The pairs, in the order in which they are judged.
    pub pairs: Vec<SampledPair>,
}

/// Pairs whose match weight lies within one bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightCount {
    /// From this weight on, up to the next.
    pub from: i16,
    /// Those that are of one identity.
    pub together: u64,
    /// Those that are of two.
    pub apart: u64,
}

/// How many pairs there are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Population {
    /// So many.
    pub pairs: u64,
    /// The standard error of that, where it is an estimate; 0 where they were counted.
    pub error: f64,
}

/// A pair of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledPair {
    /// The two records, the smaller number first.
    pub records: (RecordNumber, RecordNumber),
    /// What it is a sample of.
    pub stratum: Stratum,
    /// How many different stewards are to judge it.
    pub wanted: u8,
    /// What they said.
    pub judgements: Vec<Judgement>,
}

/// What a steward says of a sampled pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Who.
    pub principal: String,
    /// They are one person; none: nobody could tell.
    pub is_match: Option<bool>,
    /// When, milliseconds since the Unix epoch.
    pub judged_at_ms: i64,
}
