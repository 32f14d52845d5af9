//! A frozen model with its pack: everything that decides.

use sha2::{Digest, Sha256};
use veridem_matchers::block::BlockingKey;
use veridem_matchers::train::TrainingOptions;
use veridem_matchers::{Attribute, Comparable, Model, NormalisedRecord, Pack, Record, Scorer};

use super::bulk::{Abandoned, BulkOptions};
use crate::store::{StoreError, StoredModel};

/// Model, pack and what is made of them.
pub struct Matcher {
    /// The pack.
    pub pack: Pack,
    /// Weighs pairs.
    pub scorer: Scorer,
    /// SHA-256 over model and pack, hexadecimal: two matchers with one fingerprint decide alike.
    pub fingerprint: String,
}

impl Matcher {
    /// A matcher of a model and a pack.
    pub fn new(model: Model, pack: Pack) -> Self {
        let mut hash = Sha256::new();
        hash.update(model.to_json());
        hash.update(json_of(&pack));
        Self {
            fingerprint: hex::encode(hash.finalize()),
            scorer: Scorer::new(model, &pack),
            pack,
        }
    }

    /// A matcher of what a store holds.
    pub fn from_stored(stored: &StoredModel) -> Result<Self, StoreError> {
        let unreadable = |cause: String| StoreError::Unreadable {
            what: "model",
            cause,
        };
        let model =
            Model::from_json(&stored.model).map_err(|cause| unreadable(cause.to_string()))?;
        let pack =
            serde_json::from_str(&stored.pack).map_err(|cause| unreadable(cause.to_string()))?;
        let matcher = Self::new(model, pack);
        if matcher.fingerprint != stored.fingerprint {
            return Err(unreadable(
                "it is not the one of its fingerprint".to_owned(),
            ));
        }
        Ok(matcher)
    }

    /// Model and pack as a store holds them.
    pub fn stored(&self) -> StoredModel {
        StoredModel {
            fingerprint: self.fingerprint.clone(),
            model: self.scorer.model().to_json(),
            pack: json_of(&self.pack),
        }
    }

    /// The model that ships: trained on the sample in `datasets/`.
    pub fn shipped_model() -> Model {
        Model::retail()
    }

    /// The form in which a record is compared, shared values included.
    pub fn normalise(&self, record: &Record) -> NormalisedRecord {
        NormalisedRecord::new(&record.attributes, self.pack.region())
    }

    /// A bulk job under this model, without overrides.
    pub fn bulk_options(&self) -> BulkOptions {
        BulkOptions {
            pack: self.pack.clone(),
            model: Some(self.scorer.model().clone()),
            training: TrainingOptions::default(),
            labels: None,
            overrides: Vec::new(),
            marked_values: Vec::new(),
            link_only: false,
            abandoned: Abandoned::default(),
        }
    }

    /// What a record is compared by: its normal form, its blocking keys, and what survivorship compares of each attribute.
    pub fn evidence<'a>(
        &self,
        attributes: impl Iterator<Item = &'a Attribute>,
    ) -> (NormalisedRecord, Vec<BlockingKey>, Vec<Option<Comparable>>) {
        let mut comparables = Vec::new();
        let region = self.pack.region();
        let normalised = NormalisedRecord::with_comparables(attributes, region, &mut comparables);
        let keys = self.pack.blocking.keys(&normalised);
        (normalised, keys, comparables)
    }
}

fn json_of(pack: &Pack) -> String {
    serde_json::to_string(pack).expect("a pack has string keys and finite numbers only")
}
