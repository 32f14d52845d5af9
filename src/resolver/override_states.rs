//! What has become of overrides: whether each does what it says.

use std::collections::BTreeMap;

use veridem_matchers::cluster::Link;
use veridem_matchers::golden::SurvivingValue;

use super::engine::{Engine, TenantState};
use super::error::EngineError;
use super::overrides::Overrides;
use crate::store::{Approval, IdentityId, OverrideKind, RecordNumber, StoredOverride, Tenant};

/// Whether an override does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverrideState {
    /// Identities are as it says.
    InForce,
    /// Somebody else has to agree first.
    AwaitsApproval,
    /// Too few of what it is about are left.
    WithoutRecords,
    /// Later overrides say otherwise of all that it is about.
    Superseded,
    /// Other overrides keep apart what it holds together.
    Contradicted,
    /// It was undone.
    Undone,
}

impl Engine {
    /// Overrides after a number, in the order of their numbers, with what has become of each; `only_awaited`: those on which somebody
    /// has to agree.
    pub fn list_overrides(
        &self,
        tenant: &Tenant,
        after: u64,
        limit: usize,
        only_awaited: bool,
    ) -> Result<Vec<(StoredOverride, OverrideState)>, EngineError> {
        let state = self.tenant(tenant)?;
        let overrides = state.shared.overrides.read().clone();
        let listed = match only_awaited {
            true => overrides
                .awaited(after)
                .take(limit)
                .map(|number| self.override_numbered(tenant, number))
                .collect::<Result<_, _>>()?,
            false => self.store.overrides(tenant, after, limit)?,
        };
        let with_state = |value: StoredOverride| {
            let state = self.state_of(tenant, &overrides, &value)?;
            Ok((value, state))
        };
        listed.into_iter().map(with_state).collect()
    }

    fn state_of(
        &self,
        tenant: &Tenant,
        overrides: &Overrides,
        value: &StoredOverride,
    ) -> Result<OverrideState, EngineError> {
        if value.undone.is_some() {
            return Ok(OverrideState::Undone);
        }
        if value.approval == Approval::Awaited {
            return Ok(OverrideState::AwaitsApproval);
        }
        let state = self.tenant(tenant)?;
        match &value.kind {
            OverrideKind::Persons => self.state_of_persons(tenant, &state, overrides, value),
            OverrideKind::Pin { slot } => self.state_of_pin(tenant, &state, overrides, value, slot),
            OverrideKind::Value { value: marked, .. } => {
                let latest = overrides.mark_of(*marked);
                Ok(
                    match latest.is_some_and(|(latest, _)| latest == value.number) {
                        true => OverrideState::InForce,
                        false => OverrideState::Superseded,
                    },
                )
            }
            OverrideKind::Household => {
                let number = value.number;
                let living = self.identities_of_household(tenant, &state, overrides, number)?;
                Ok(match living.len() {
                    0 => OverrideState::Superseded,
                    1 => OverrideState::WithoutRecords,
                    _ => OverrideState::InForce,
                })
            }
        }
    }

    fn state_of_persons(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        overrides: &Overrides,
        value: &StoredOverride,
    ) -> Result<OverrideState, EngineError> {
        let mut identities: BTreeMap<RecordNumber, Option<IdentityId>> = BTreeMap::new();
        for (_, number) in value.records() {
            let record = self.store.record(tenant, state.generation, *number)?;
            if let Some(record) = record.filter(|record| record.is_alive) {
                identities.insert(*number, record.identity_id);
            }
        }
        if identities.len() < 2 {
            return Ok(OverrideState::WithoutRecords);
        }
        let living: Vec<_> = identities.into_iter().collect();
        let mut is_superseded = true;
        for (at, (one, own)) in living.iter().enumerate() {
            for (other, others) in &living[at + 1..] {
                let Some((_, link)) = overrides
                    .word_of(*one, *other)
                    .filter(|(number, _)| *number == value.number)
                else {
                    continue;
                };
                is_superseded = false;
                if (own == others) != (link == Link::Must) {
                    return Ok(OverrideState::Contradicted);
                }
            }
        }
        Ok(if is_superseded {
            OverrideState::Superseded
        } else {
            OverrideState::InForce
        })
    }

    /// Whether what an override pins survives.
    fn state_of_pin(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        overrides: &Overrides,
        value: &StoredOverride,
        slot: &str,
    ) -> Result<OverrideState, EngineError> {
        let Some((key, number)) = value.records().next() else {
            return Ok(OverrideState::WithoutRecords);
        };
        let record = self.store.record(tenant, state.generation, *number)?;
        let record = record.filter(|record| record.is_alive);
        let Some(id) = record.and_then(|record| record.identity_id) else {
            return Ok(OverrideState::WithoutRecords);
        };
        let Some(identity) = self.store.identity(tenant, &id)? else {
            return Ok(OverrideState::WithoutRecords);
        };
        let pins = identity.members.iter();
        let pins = pins.map(|member| overrides.pin_of(*member, || slot.to_owned()));
        let latest = pins.max();
        let survives = |survivor: &SurvivingValue| survivor.slot == slot && survivor.record == *key;
        Ok(match latest {
            Some(latest) if latest != value.number => OverrideState::Superseded,
            _ if identity.golden.values.iter().any(survives) => OverrideState::InForce,
            // Its record states nothing there any more.
            _ => OverrideState::WithoutRecords,
        })
    }
}
