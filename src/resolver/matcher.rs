//! A frozen model with its pack: everything that decides.

use sha2::{Digest, Sha256};
use veridem_matchers::{Model, NormalisedRecord, Pack, Record, Scorer};

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
        hash.update(
            serde_json::to_string(&pack).expect("a pack has string keys and finite numbers only"),
        );
        Self {
            fingerprint: hex::encode(hash.finalize()),
            scorer: Scorer::new(model, &pack),
            pack,
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
}
