//! What of a value comparisons look at first, kept in the row itself: a pair of rows is compared without a walk through memory,
//! unless the values are alike.

use rayon::prelude::*;

use super::digits::Digits;
use super::words::Signature;
use super::{AddressEntry, EmailEntry, NameEntry, SEVERAL, Table};

#[derive(Clone, Copy, Default)]
pub(super) struct NameFacts {
    pub ids: NameEntry,
    pub given: Signature,
    pub family: Signature,
    /// See [`super::words::roots_of`].
    pub roots: u64,
}

#[derive(Clone, Copy, Default)]
pub(super) struct EmailFacts {
    pub ids: EmailEntry,
    pub local: Signature,
}

#[derive(Clone, Copy, Default)]
pub(super) struct PhoneFacts {
    pub id: u32,
    pub digits: Digits,
}

#[derive(Clone, Copy, Default)]
pub(super) struct AddressFacts {
    pub ids: AddressEntry,
    pub street: Signature,
    pub city: Signature,
    pub postcode: Signature,
}

/// The facts of a row's only name, e-mail address, phone and address.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts {
    pub name: NameFacts,
    pub email: EmailFacts,
    pub phone: PhoneFacts,
    pub address: AddressFacts,
}

impl Table {
    pub(super) fn name_facts(&self, id: u32) -> NameFacts {
        let ids = self.names.entries.entries[id as usize];
        let words = &self.names.words;
        NameFacts {
            ids,
            given: words.signature(ids.given),
            family: words.signature(ids.family),
            roots: self.names.roots[ids.given as usize],
        }
    }

    pub(super) fn email_facts(&self, id: u32) -> EmailFacts {
        let ids = self.emails.entries.entries[id as usize];
        let local = self.emails.words.signature(ids.local);
        EmailFacts { ids, local }
    }

    pub(super) fn phone_facts(&self, id: u32) -> PhoneFacts {
        let digits = Digits::of(self.phones.get(id));
        PhoneFacts { id, digits }
    }

    pub(super) fn address_facts(&self, id: u32) -> AddressFacts {
        let ids = self.addresses.entries.entries[id as usize];
        let words = &self.addresses.words;
        AddressFacts {
            ids,
            street: words.signature(ids.street),
            city: words.signature(ids.city),
            postcode: words.signature(ids.postcode),
        }
    }

    /// Writes the facts of the rows for which `has_changed` holds anew, after their cells have changed.
    pub(super) fn note_facts(&mut self, has_changed: impl Fn(usize) -> bool + Sync) {
        let mut rows = std::mem::take(&mut self.rows);
        let single = |cell: u32| if cell & SEVERAL == 0 { cell } else { 0 };
        let numbered = rows.par_iter_mut().enumerate().with_min_len(4096);
        let changed = numbered.filter(|(index, _)| has_changed(*index));
        changed.for_each(|(index, row)| {
            row.presence = self.presence_of(row, index);
            row.facts = Facts {
                name: self.name_facts(single(row.name)),
                email: self.email_facts(single(row.email)),
                phone: self.phone_facts(single(row.phone)),
                address: self.address_facts(single(row.address)),
            };
        });
        self.rows = rows;
    }
}
