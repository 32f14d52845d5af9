//! Which spaces of keys belong to whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::encoding::Space;
use super::{Generation, StoreError, Tenant};

/// The spaces of keys that are given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Spaces {
    pub(super) tenants: BTreeMap<Tenant, TenantSpaces>,
    /// The next one to give.
    pub(super) next: Space,
}

/// Where what belongs to a tenant lies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TenantSpaces {
    /// What does not depend on the model.
    pub(super) own: Space,
    pub(super) in_force: Generation,
    pub(super) generations: BTreeMap<Generation, Space>,
}

impl TenantSpaces {
    pub(super) fn new(own: Space) -> Self {
        Self {
            own,
            in_force: Generation::default(),
            generations: [(Generation::default(), own)].into(),
        }
    }
}

impl Spaces {
    /// The next space, which is never given again.
    pub(super) fn give(&mut self) -> Result<Space, StoreError> {
        let given = self.next;
        // The last one stands for what is not there.
        if given == Space::MAX {
            return Err(StoreError::Engine(
                "it has no number left for another tenant or model; the most is 65,535".to_owned(),
            ));
        }
        self.next += 1;
        Ok(given)
    }
}
