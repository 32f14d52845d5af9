//! Households: identities that live together. A relation between identities that stewards make, never a merge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use veridem_matchers::RecordKey;

use super::engine::{Engine, TenantState};
use super::error::EngineError;
use super::overrides::Overrides;
use super::steward::members;
use crate::store::{IdentityId, RecordNumber, StoredIdentity, Tenant};

type Identities = BTreeMap<IdentityId, Arc<StoredIdentity>>;

impl Engine {
    /// The household of an identity: the number of the override that made it, and who lives there; 0 and nobody where it is in none.
    pub fn household(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<(u64, Vec<Arc<StoredIdentity>>), EngineError> {
        let state = self.tenant(tenant)?;
        let overrides = state.shared.overrides.read().clone();
        let identity = self.living_identity(tenant, id)?;
        let number = overrides.household_of(&identity.members);
        let identities = self.identities_of_household(tenant, &state, &overrides, number)?;
        Ok((number, identities.into_values().collect()))
    }

    /// The identities of a household; none of number 0.
    pub(super) fn identities_of_household(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        overrides: &Overrides,
        number: u64,
    ) -> Result<Identities, EngineError> {
        let mut living = Identities::new();
        for record in overrides.records_of(number) {
            let record = self.store.record(tenant, state.generation, record)?;
            let record = record.filter(|record| record.is_alive);
            let id = record.and_then(|record| record.identity_id);
            let Some(id) = id.filter(|id| !living.contains_key(id)) else {
                continue;
            };
            let identity = self.store.identity(tenant, &id)?;
            // Of two households of an identity the later counts.
            let identity =
                identity.filter(|identity| overrides.household_of(&identity.members) == number);
            living.extend(identity.map(|identity| (id, identity)));
        }
        Ok(living)
    }

    /// The records of some identities and of those that live with one of them already.
    pub(super) fn household_to_make(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        ids: &[IdentityId],
    ) -> Result<Vec<(RecordKey, RecordNumber)>, EngineError> {
        let overrides = state.shared.overrides.read().clone();
        let (mut household, mut known) = (Identities::new(), BTreeSet::new());
        for id in ids {
            let identity = self.living_identity(tenant, id)?;
            let number = overrides.household_of(&identity.members);
            if known.insert(number) {
                household.extend(self.identities_of_household(tenant, state, &overrides, number)?);
            }
            household.insert(*id, identity);
        }
        let live_together = known.len() == 1 && !known.contains(&0);
        if household.len() < 2 || live_together {
            return Err(EngineError::invalid(
                "identity_ids",
                "needs two or more identities that do not all live together already",
            ));
        }
        let identities = household.values();
        Ok(identities.flat_map(|identity| members(identity)).collect())
    }
}
