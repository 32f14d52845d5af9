//! Records as a table of numbers: each value is kept once, a record is a row of ids. Bulk jobs compare millions of pairs
//! on it; every answer is that of the records it was made of.

mod builder;
mod compare;
mod digits;
mod facts;
mod hashes;
mod words;

pub use builder::TableBuilder;
pub(crate) use compare::{Plan, Presence};
pub(crate) use hashes::TableHashes;

use hashbrown::HashTable;

use crate::block::{BlockingKey, BlockingRules, Element, single_key};
use crate::compare::Comparison;
use crate::normalise::{
    AddressView, EmailView, NameView, NormalisedAddress, NormalisedCustom, NormalisedEmail,
    NormalisedIdentifier, NormalisedName, NormalisedRecord, PartialDate,
};
use facts::Facts;
use words::{WordId, Words, roots_of};

/// What a row has of one attribute: 0 for nothing, the id of a value, or, under [`SEVERAL`], the number of a list of ids.
type Cell = u32;
const SEVERAL: Cell = 1 << 31;

/// A column while it is filled: one cell a row.
#[derive(Default)]
struct Cells {
    cells: Vec<Cell>,
    lists: Vec<Box<[u32]>>,
}

impl Cells {
    fn push(&mut self, ids: &[u32]) {
        let cell = cell_of(ids, &mut self.lists);
        self.cells.push(cell);
    }
}

fn cell_of(ids: &[u32], lists: &mut Vec<Box<[u32]>>) -> Cell {
    match ids {
        [] => 0,
        [one] => *one,
        several => {
            lists.push(several.into());
            SEVERAL | (lists.len() - 1) as u32
        }
    }
}

fn values_of<'a>(cell: &'a Cell, lists: &'a [Box<[u32]>]) -> &'a [u32] {
    if *cell == 0 {
        &[]
    } else if cell & SEVERAL != 0 {
        &lists[(cell & !SEVERAL) as usize]
    } else {
        std::slice::from_ref(cell)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct NameEntry {
    given: WordId,
    middle: WordId,
    family: WordId,
    generation: WordId,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct EmailEntry {
    address: WordId,
    local: WordId,
    of_name: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct AddressEntry {
    number: WordId,
    street: WordId,
    unit: WordId,
    city: WordId,
    region: WordId,
    postcode: WordId,
}

/// Distinct entries, ids from 1.
struct Entries<T> {
    entries: Vec<T>,
    index: HashTable<u32>,
}

impl<T: Copy + Default + PartialEq> Default for Entries<T> {
    fn default() -> Self {
        Self {
            entries: vec![T::default()],
            index: HashTable::new(),
        }
    }
}

impl<T: Copy + PartialEq> Entries<T> {
    fn intern(&mut self, entry: T, hash_of: impl Fn(&T) -> u64) -> u32 {
        let hash = hash_of(&entry);
        if let Some(id) = self
            .index
            .find(hash, |id| self.entries[*id as usize] == entry)
        {
            return *id;
        }
        let id = self.entries.len() as u32;
        self.entries.push(entry);
        let entries = &self.entries;
        self.index
            .insert_unique(hash, id, |id| hash_of(&entries[*id as usize]));
        id
    }

    fn freeze(&mut self) {
        self.index = HashTable::new();
        self.entries.shrink_to_fit();
    }
}

fn hash_ids(ids: &[u32]) -> u64 {
    let mixed = ids.iter().fold(0_u64, |hash, id| {
        (hash.rotate_left(27) ^ u64::from(*id)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    mixed ^ mixed >> 32
}

impl NameEntry {
    fn hash(&self) -> u64 {
        hash_ids(&[self.given, self.middle, self.family, self.generation])
    }
}

impl EmailEntry {
    fn hash(&self) -> u64 {
        hash_ids(&[self.address, self.local, u32::from(self.of_name)])
    }
}

impl AddressEntry {
    fn hash(&self) -> u64 {
        hash_ids(&[
            self.number,
            self.street,
            self.unit,
            self.city,
            self.region,
            self.postcode,
        ])
    }
}

#[derive(Default)]
struct Names {
    words: Words,
    entries: Entries<NameEntry>,
    /// See [`roots_of`], by the id of the word.
    roots: Vec<u64>,
}

impl Names {
    fn freeze(&mut self) {
        self.words.freeze();
        self.entries.freeze();
        let words = 0..self.words.len() as WordId;
        self.roots = words.map(|id| roots_of(self.words.get(id))).collect();
    }

    fn view(&self, id: u32) -> NameView<'_> {
        self.view_of(self.entries.entries[id as usize])
    }

    fn view_of(&self, entry: NameEntry) -> NameView<'_> {
        NameView {
            given: self.words.get(entry.given),
            middle: self.words.get(entry.middle),
            family: self.words.get(entry.family),
            generation: self.words.get(entry.generation),
        }
    }
}

#[derive(Default)]
struct Emails {
    words: Words,
    entries: Entries<EmailEntry>,
}

impl Emails {
    fn view(&self, id: u32) -> EmailView<'_> {
        self.view_of(self.entries.entries[id as usize])
    }

    fn view_of(&self, entry: EmailEntry) -> EmailView<'_> {
        EmailView {
            address: self.words.get(entry.address),
            local: self.words.get(entry.local),
            of_name: entry.of_name,
        }
    }
}

#[derive(Default)]
struct Addresses {
    words: Words,
    entries: Entries<AddressEntry>,
}

impl Addresses {
    fn view(&self, id: u32) -> AddressView<'_> {
        self.view_of(self.entries.entries[id as usize])
    }

    fn view_of(&self, entry: AddressEntry) -> AddressView<'_> {
        AddressView {
            number: self.words.get(entry.number),
            street: self.words.get(entry.street),
            unit: self.words.get(entry.unit),
            city: self.words.get(entry.city),
            region: self.words.get(entry.region),
            postcode: self.words.get(entry.postcode),
        }
    }
}

/// The values of one scheme or one custom attribute.
struct NamedColumn {
    name: String,
    cells: Cells,
}

/// Identifiers or custom attributes: one column a scheme or name.
#[derive(Default)]
struct NamedColumns {
    words: Words,
    columns: Vec<NamedColumn>,
}

impl NamedColumns {
    fn push<'a>(&mut self, row: usize, values: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut of_row: Vec<(usize, Vec<u32>)> = Vec::new();
        for (name, value) in values {
            let column = self
                .columns
                .iter()
                .position(|column| column.name == name)
                .unwrap_or_else(|| {
                    self.columns.push(NamedColumn {
                        name: name.to_owned(),
                        cells: Cells::default(),
                    });
                    self.columns.len() - 1
                });
            let id = self.words.intern(value);
            match of_row.iter_mut().find(|(known, _)| *known == column) {
                Some((_, ids)) => ids.push(id),
                None => of_row.push((column, vec![id])),
            }
        }
        for (column, ids) in of_row {
            let cells = &mut self.columns[column].cells;
            cells.cells.resize(row, 0);
            cells.push(&ids);
        }
    }

    fn finish(&mut self, rows: usize) {
        self.words.freeze();
        for column in &mut self.columns {
            column.cells.cells.resize(rows, 0);
            column.cells.cells.shrink_to_fit();
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    fn values(&self, column: usize, row: usize) -> &[u32] {
        let cells = &self.columns[column].cells;
        values_of(&cells.cells[row], &cells.lists)
    }
}

/// What every record may have, side by side.
#[derive(Clone, Copy, Default)]
struct Row {
    name: Cell,
    birth_date: Cell,
    email: Cell,
    phone: Cell,
    address: Cell,
    /// The character, 0 for none.
    gender: u32,
    presence: Presence,
    facts: Facts,
}

/// Pairs whose rows are looked at before they are compared.
const PAIRS_AHEAD: usize = 16;

/// Normalised records, each value kept once.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    lists: Vec<Box<[u32]>>,
    names: Names,
    emails: Emails,
    phones: Words,
    addresses: Addresses,
    identifiers: NamedColumns,
    customs: NamedColumns,
}

fn pack_date(date: &PartialDate) -> u32 {
    u32::from(date.year) << 16 | u32::from(date.month) << 8 | u32::from(date.day)
}

fn unpack_date(packed: u32) -> PartialDate {
    PartialDate {
        year: (packed >> 16) as u16,
        month: (packed >> 8) as u8,
        day: packed as u8,
    }
}

impl Table {
    /// A table of records, in their order.
    pub fn new(records: &[NormalisedRecord]) -> Self {
        let mut builder = TableBuilder::default();
        builder.push(records);
        builder.finish()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A comparison for each scheme and each custom attribute.
    pub(crate) fn named_comparisons(&self) -> impl Iterator<Item = Comparison> {
        let schemes = self.identifiers.columns.iter();
        let customs = self.customs.columns.iter();
        schemes
            .map(|column| Comparison::Identifier(column.name.clone()))
            .chain(customs.map(|column| Comparison::Custom(column.name.clone())))
    }

    /// Whether a row has a value that a comparison looks at.
    pub(crate) fn is_present(&self, plan: Plan, row: usize) -> bool {
        let cells = &self.rows[row];
        let any_name = |part: fn(&NameEntry) -> WordId| {
            let mut names = self.values(&cells.name).iter();
            names.any(|id| part(&self.names.entries.entries[*id as usize]) != 0)
        };
        match plan {
            Plan::GivenName => any_name(|name| name.given),
            Plan::FamilyName => any_name(|name| name.family),
            Plan::MiddleName => any_name(|name| name.middle),
            Plan::Generation => any_name(|name| name.generation),
            Plan::BirthDate => cells.birth_date != 0,
            Plan::Email => cells.email != 0,
            Plan::Phone => cells.phone != 0,
            Plan::Address => cells.address != 0,
            Plan::Gender => cells.gender != 0,
            Plan::Identifier(column) => !self.identifiers.values(column, row).is_empty(),
            Plan::Custom(column) => !self.customs.values(column, row).is_empty(),
            Plan::Absent => false,
        }
    }

    /// How many values each term of a comparison stands in, by its id; `None` where rarity does not matter.
    pub(crate) fn term_counts(&self, plan: Plan) -> Option<Vec<u32>> {
        let mut counts = vec![0; self.term_count(plan)];
        let of_names = |counts: &mut Vec<u32>, part: fn(&NameEntry) -> WordId| {
            for row in &self.rows {
                for id in self.values(&row.name) {
                    counts[part(&self.names.entries.entries[*id as usize]) as usize] += 1;
                }
            }
        };
        match plan {
            Plan::GivenName => of_names(&mut counts, |name| name.given),
            Plan::FamilyName => of_names(&mut counts, |name| name.family),
            Plan::Custom(column) => {
                for row in 0..self.rows.len() {
                    for id in self.customs.values(column, row) {
                        counts[*id as usize] += 1;
                    }
                }
            }
            _ => return None,
        }
        counts[0] = 0;
        Some(counts)
    }

    fn values<'a>(&'a self, cell: &'a Cell) -> &'a [u32] {
        values_of(cell, &self.lists)
    }

    /// The record that a row was made of, without what was dropped from it since.
    pub fn record(&self, row: usize) -> NormalisedRecord {
        let cells = &self.rows[row];
        let names = self.values(&cells.name).iter();
        let emails = self.values(&cells.email).iter();
        let addresses = self.values(&cells.address).iter();
        let phones = self.values(&cells.phone).iter();
        NormalisedRecord {
            names: names
                .map(|id| {
                    let view = self.names.view(*id);
                    NormalisedName {
                        given: view.given.into(),
                        middle: view.middle.into(),
                        family: view.family.into(),
                        generation: view.generation.into(),
                    }
                })
                .collect(),
            birth_dates: self
                .values(&cells.birth_date)
                .iter()
                .map(|packed| unpack_date(*packed))
                .collect(),
            emails: emails
                .map(|id| {
                    let view = self.emails.view(*id);
                    NormalisedEmail {
                        address: view.address.into(),
                        local_length: view.local.len() as u8,
                        of_name: view.of_name,
                    }
                })
                .collect(),
            phones: phones.map(|id| self.phones.get(*id).into()).collect(),
            addresses: addresses
                .map(|id| {
                    let view = self.addresses.view(*id);
                    NormalisedAddress {
                        number: view.number.into(),
                        street: view.street.into(),
                        unit: view.unit.into(),
                        city: view.city.into(),
                        region: view.region.into(),
                        postcode: view.postcode.into(),
                    }
                })
                .collect(),
            identifiers: self
                .named_values(&self.identifiers, row)
                .map(|(scheme, value)| NormalisedIdentifier {
                    scheme: scheme.into(),
                    value: value.into(),
                })
                .collect(),
            gender: char::from_u32(cells.gender).filter(|gender| *gender != '\0'),
            customs: self
                .named_values(&self.customs, row)
                .map(|(name, value)| NormalisedCustom {
                    name: name.into(),
                    value: value.into(),
                })
                .collect(),
        }
    }

    fn named_values<'a>(
        &'a self,
        columns: &'a NamedColumns,
        row: usize,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        columns
            .columns
            .iter()
            .enumerate()
            .flat_map(move |(index, column)| {
                let ids = columns.values(index, row).iter();
                ids.map(move |id| (column.name.as_str(), columns.words.get(*id)))
            })
    }

    /// Takes the shared values out of all rows, as [`BlockingRules::drop_shared`] does of a record.
    pub fn drop_shared(
        &mut self,
        rules: &BlockingRules,
        is_inactive: impl Fn(BlockingKey) -> bool,
    ) {
        let mut changed = vec![false; self.rows.len()];
        for (rule, element) in rules.shared_values() {
            let is_shared = |value: &str| is_inactive(single_key(rule, value));
            match element {
                Element::Email => {
                    let shared: Vec<bool> = (0..self.emails.entries.entries.len() as u32)
                        .map(|id| id > 0 && is_shared(self.emails.view(id).address))
                        .collect();
                    let lists = &mut self.lists;
                    retain(
                        self.rows.iter_mut().map(|row| &mut row.email),
                        lists,
                        &shared,
                        &mut changed,
                    );
                }
                Element::Phone => {
                    let shared: Vec<bool> = (0..self.phones.len() as u32)
                        .map(|id| id > 0 && is_shared(self.phones.get(id)))
                        .collect();
                    let lists = &mut self.lists;
                    retain(
                        self.rows.iter_mut().map(|row| &mut row.phone),
                        lists,
                        &shared,
                        &mut changed,
                    );
                }
                Element::Identifier => {
                    let NamedColumns { words, columns } = &mut self.identifiers;
                    for column in columns {
                        let shared: Vec<bool> = (0..words.len() as u32)
                            .map(|id| {
                                id > 0
                                    && is_shared(&Element::named_value(&column.name, words.get(id)))
                            })
                            .collect();
                        let Cells { cells, lists } = &mut column.cells;
                        retain(cells.iter_mut(), lists, &shared, &mut changed);
                    }
                }
                _ => {}
            }
        }
        self.note_facts(|row| changed[row]);
    }

    /// Walks pairs of rows, a few of which are looked at ahead.
    pub(crate) fn for_each_pair(&self, pairs: &[(u32, u32)], mut take: impl FnMut(usize, usize)) {
        for pairs in pairs.chunks(PAIRS_AHEAD) {
            self.look_at(
                pairs
                    .iter()
                    .flat_map(|pair| [pair.0 as usize, pair.1 as usize]),
            );
            for (left, right) in pairs {
                take(*left as usize, *right as usize);
            }
        }
    }

    /// Looks at rows that are about to be compared, so that they are at hand: what they wait for in memory, they wait for together.
    pub(crate) fn look_at(&self, rows: impl Iterator<Item = usize>) {
        let seen = rows.fold(0, |seen, row| {
            let row = &self.rows[row];
            seen ^ row.name ^ row.facts.email.ids.address ^ row.facts.address.ids.street
        });
        std::hint::black_box(seen);
    }
}

fn retain<'a>(
    cells: impl Iterator<Item = &'a mut Cell>,
    lists: &mut Vec<Box<[u32]>>,
    dropped: &[bool],
    changed: &mut [bool],
) {
    if !dropped.contains(&true) {
        return;
    }
    for (cell, changed) in cells.zip(changed) {
        let values = values_of(cell, lists);
        if values.iter().any(|id| dropped[*id as usize]) {
            let kept: Vec<u32> = values
                .iter()
                .copied()
                .filter(|id| !dropped[*id as usize])
                .collect();
            *cell = cell_of(&kept, lists);
            *changed = true;
        }
    }
}
