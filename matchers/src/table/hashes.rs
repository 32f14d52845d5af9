//! What blocking sees of a table: the hashes of its values, each worked out once.

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::{NamedColumns, Table, unpack_date};
use crate::block::{BlockingRules, Element, Kind, Value};

/// The hashes that an element yields for each value of a table, by the id of the value.
#[derive(Default)]
struct HashLists {
    starts: Vec<u32>,
    hashes: Vec<u64>,
}

impl HashLists {
    fn of<'a>(element: Element, count: usize, value: impl Fn(u32) -> Value<'a>) -> Self {
        let mut lists = Self::default();
        lists.starts.push(0);
        for id in 0..count as u32 {
            if id > 0 {
                element.push_values(value(id), &mut |text| {
                    lists.hashes.push(xxh3_64(text.as_bytes()));
                });
            }
            lists.starts.push(lists.hashes.len() as u32);
        }
        lists
    }

    fn get(&self, id: u32) -> &[u64] {
        let id = id as usize;
        &self.hashes[self.starts[id] as usize..self.starts[id + 1] as usize]
    }
}

/// What one element yields, value by value of every kind that it looks at.
struct ElementHashes {
    names: HashLists,
    dates: FxHashMap<u32, Vec<u64>>,
    emails: HashLists,
    phones: HashLists,
    addresses: HashLists,
    identifiers: Vec<HashLists>,
    customs: Vec<HashLists>,
}

/// The elements of blocking rules with the hashes of a table's values.
pub(crate) struct TableHashes<'a> {
    table: &'a Table,
    elements: Vec<(Element, ElementHashes)>,
}

impl<'a> TableHashes<'a> {
    /// Hashes the values of a table for the elements of some rules.
    pub fn new(table: &'a Table, rules: &BlockingRules) -> Self {
        use rayon::prelude::*;
        let mut elements: Vec<Element> = Vec::new();
        for element in rules.0.iter().flat_map(|rule| &rule.key) {
            if !elements.contains(element) {
                elements.push(*element);
            }
        }
        let elements = elements
            .into_par_iter()
            .map(|element| (element, table.hashes(element)))
            .collect();
        Self { table, elements }
    }

    /// Pushes the hashes that an element yields for a row.
    pub fn push(&self, element: Element, row: usize, hashes: &mut Vec<u64>) {
        let Some((_, of)) = self.elements.iter().find(|(known, _)| *known == element) else {
            return;
        };
        let (table, cells) = (self.table, &self.table.rows[row]);
        let mut push = |lists: &HashLists, ids: &[u32]| {
            if !lists.hashes.is_empty() {
                for id in ids {
                    hashes.extend_from_slice(lists.get(*id));
                }
            }
        };
        push(&of.names, table.values(&cells.name));
        push(&of.emails, table.values(&cells.email));
        push(&of.phones, table.values(&cells.phone));
        push(&of.addresses, table.values(&cells.address));
        for (columns, lists) in [
            (&table.identifiers, &of.identifiers),
            (&table.customs, &of.customs),
        ] {
            for (column, lists) in lists.iter().enumerate() {
                push(lists, columns.values(column, row));
            }
        }
        for date in table.values(&cells.birth_date) {
            if let Some(of_date) = of.dates.get(date) {
                hashes.extend_from_slice(of_date);
            }
        }
    }
}

impl Table {
    fn hashes(&self, element: Element) -> ElementHashes {
        let kind = element.kind();
        let count = |of: Kind, entries: usize| if kind == of { entries } else { 0 };
        let mut dates: FxHashMap<u32, Vec<u64>> = FxHashMap::default();
        if kind == Kind::BirthDate {
            for row in &self.rows {
                for packed in self.values(&row.birth_date) {
                    dates.entry(*packed).or_insert_with(|| {
                        let mut hashes = Vec::new();
                        let date = Value::BirthDate(unpack_date(*packed));
                        element.push_values(date, &mut |text| {
                            hashes.push(xxh3_64(text.as_bytes()));
                        });
                        hashes
                    });
                }
            }
        }
        let names = count(Kind::Name, self.names.entries.entries.len());
        let emails = count(Kind::Email, self.emails.entries.entries.len());
        let phones = count(Kind::Phone, self.phones.len());
        let addresses = count(Kind::Address, self.addresses.entries.entries.len());
        let named = |of: Kind, columns, value| {
            if kind == of {
                self.named_hashes(element, columns, value)
            } else {
                Vec::new()
            }
        };
        ElementHashes {
            names: HashLists::of(element, names, |id| Value::Name(self.names.view(id))),
            dates,
            emails: HashLists::of(element, emails, |id| Value::Email(self.emails.view(id))),
            phones: HashLists::of(element, phones, |id| Value::Phone(self.phones.get(id))),
            addresses: HashLists::of(element, addresses, |id| {
                Value::Address(self.addresses.view(id))
            }),
            identifiers: named(Kind::Identifier, &self.identifiers, Value::Identifier),
            customs: named(Kind::Custom, &self.customs, Value::Custom),
        }
    }

    fn named_hashes<'a>(
        &'a self,
        element: Element,
        columns: &'a NamedColumns,
        value: fn(&'a str, &'a str) -> Value<'a>,
    ) -> Vec<HashLists> {
        columns
            .columns
            .iter()
            .map(|column| {
                HashLists::of(element, columns.words.len(), |id| {
                    value(&column.name, columns.words.get(id))
                })
            })
            .collect()
    }
}
