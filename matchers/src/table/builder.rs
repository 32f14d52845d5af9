//! From normalised records to a table: every value is told apart once.

use super::words::Words;
use super::{
    AddressEntry, Addresses, Cell, Cells, EmailEntry, Emails, NameEntry, NamedColumns, Names, Row,
    SEVERAL, Table, pack_date,
};
use crate::normalise::{NormalisedAddress, NormalisedEmail, NormalisedName, NormalisedRecord};

/// Fills a [`Table`], batch by batch.
#[derive(Default)]
pub struct TableBuilder {
    count: usize,
    names: (Names, Cells),
    dates: Cells,
    emails: (Emails, Cells),
    phones: (Words, Cells),
    addresses: (Addresses, Cells),
    genders: Vec<u32>,
    identifiers: NamedColumns,
    customs: NamedColumns,
}

/// Pushes the ids of each record's values.
fn fill<'a, T: 'a>(
    records: &'a [NormalisedRecord],
    cells: &mut Cells,
    values: impl Fn(&'a NormalisedRecord) -> &'a [T],
    mut id_of: impl FnMut(&'a T) -> u32,
) {
    let mut ids = Vec::new();
    for record in records {
        ids.clear();
        ids.extend(values(record).iter().map(&mut id_of));
        cells.push(&ids);
    }
}

impl TableBuilder {
    /// Adds records, in their order. Kinds of attributes are worked on side by side.
    pub fn push(&mut self, records: &[NormalisedRecord]) {
        let before = self.count;
        self.count += records.len();
        let Self {
            names: (names, name_cells),
            dates,
            emails: (emails, email_cells),
            phones: (phones, phone_cells),
            addresses: (addresses, address_cells),
            genders,
            identifiers,
            customs,
            ..
        } = self;
        rayon::scope(|scope| {
            scope.spawn(|_| {
                fill(
                    records,
                    name_cells,
                    |record| &record.names,
                    |name: &NormalisedName| {
                        let words = &mut names.words;
                        let entry = NameEntry {
                            given: words.intern(&name.given),
                            middle: words.intern(&name.middle),
                            family: words.intern(&name.family),
                            generation: words.intern(&name.generation),
                        };
                        names.entries.intern(entry, NameEntry::hash)
                    },
                );
            });
            scope.spawn(|_| {
                fill(
                    records,
                    address_cells,
                    |record| &record.addresses,
                    |address: &NormalisedAddress| {
                        let words = &mut addresses.words;
                        let entry = AddressEntry {
                            number: words.intern(&address.number),
                            street: words.intern(&address.street),
                            unit: words.intern(&address.unit),
                            city: words.intern(&address.city),
                            region: words.intern(&address.region),
                            postcode: words.intern(&address.postcode),
                        };
                        addresses.entries.intern(entry, AddressEntry::hash)
                    },
                );
            });
            scope.spawn(|_| {
                fill(
                    records,
                    email_cells,
                    |record| &record.emails,
                    |email: &NormalisedEmail| {
                        let entry = EmailEntry {
                            address: emails.words.intern(&email.address),
                            local: emails.words.intern(email.local()),
                            of_name: email.of_name,
                        };
                        emails.entries.intern(entry, EmailEntry::hash)
                    },
                );
            });
            scope.spawn(|_| {
                fill(
                    records,
                    phone_cells,
                    |record| &record.phones,
                    |phone| phones.intern(phone),
                );
                fill(records, dates, |record| &record.birth_dates, pack_date);
                genders.extend(
                    records
                        .iter()
                        .map(|record| record.gender.map_or(0, u32::from)),
                );
                for (index, record) in records.iter().enumerate() {
                    let values = record.identifiers.iter();
                    identifiers.push(
                        before + index,
                        values.map(|identifier| {
                            (identifier.scheme.as_str(), identifier.value.as_str())
                        }),
                    );
                    let values = record.customs.iter();
                    customs.push(
                        before + index,
                        values.map(|custom| (custom.name.as_str(), custom.value.as_str())),
                    );
                }
            });
        });
    }

    /// The table.
    pub fn finish(mut self) -> Table {
        let mut lists = Vec::new();
        let mut rows = vec![Row::default(); self.count];
        let mut place = |cells: Cells, put: fn(&mut Row, Cell)| {
            let first = lists.len() as u32;
            for (row, cell) in rows.iter_mut().zip(&cells.cells) {
                let moved = if cell & SEVERAL != 0 {
                    cell + first
                } else {
                    *cell
                };
                put(row, moved);
            }
            lists.extend(cells.lists);
        };
        place(self.names.1, |row, cell| row.name = cell);
        place(self.dates, |row, cell| row.birth_date = cell);
        place(self.emails.1, |row, cell| row.email = cell);
        place(self.phones.1, |row, cell| row.phone = cell);
        place(self.addresses.1, |row, cell| row.address = cell);
        for (row, gender) in rows.iter_mut().zip(&self.genders) {
            row.gender = *gender;
        }
        self.names.0.freeze();
        self.emails.0.words.freeze();
        self.emails.0.entries.freeze();
        self.phones.0.freeze();
        self.addresses.0.words.freeze();
        self.addresses.0.entries.freeze();
        self.identifiers.finish(self.count);
        self.customs.finish(self.count);
        let mut table = Table {
            rows,
            lists,
            names: self.names.0,
            emails: self.emails.0,
            phones: self.phones.0,
            addresses: self.addresses.0,
            identifiers: self.identifiers,
            customs: self.customs,
        };
        table.note_facts(|_| true);
        table
    }
}
