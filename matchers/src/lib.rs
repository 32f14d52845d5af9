//! The laws of matching, pure: no files, clocks, environment or network. In the order in which data flows:
//!
//! - [`Record`]: what a source says about a customer
//! - [`normalise`]: from what was written to what can be compared
//! - [`Table`]: records as rows of ids, for bulk jobs
//! - [`block`]: which records are worth comparing
//! - [`compare`]: how one attribute of a pair compares, level by level
//! - [`model`]: what each level weighs; [`train`]: where the weights come from
//! - [`rules`]: packs, what people decide: blocking, match rules, survivorship, thresholds
//! - [`Scorer`]: a pair's weight, decision and explanation
//! - [`cluster`]: which records of a component are one person
//! - [`golden`]: the surviving value of each attribute
//! - [`evaluate`]: clusters against truth; [`estimate`]: what judged samples tell of all pairs

pub mod block;
pub mod cluster;
pub mod compare;
pub mod estimate;
mod evaluate;
pub mod golden;
mod memo;
pub mod model;
pub mod normalise;
mod partition;
mod record;
pub mod rules;
mod score;
mod table;
pub mod train;

pub use evaluate::{Evaluation, Measure, evaluate};
pub use golden::{Comparable, GoldenRecord, StatedValue, golden_record, golden_record_of};
pub use memo::{Form, PartitionMemo};
pub use model::{MatchProbability, MatchWeight, Model};
pub use normalise::NormalisedRecord;
pub use partition::{Edge, partition_component, partition_rows};
pub use record::{
    ACTIVITY_PREFIX, Attribute, CustomAttribute, Identifier, PersonName, PostalAddress, Record,
    RecordKey, StatedAttribute,
};
pub use rules::Pack;
pub use score::{ComparisonPart, Decision, PairExplanation, PairScore, Scorer, TableScorer};
pub use table::{Table, TableBuilder};
