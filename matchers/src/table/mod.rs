//! Records as a table of numbers: each value is kept once, a record is a row of ids. Bulk jobs compare millions of pairs
//! on it; every answer is that of the records it was made of.

mod compare;
mod digits;
mod facts;
mod words;

pub(crate) use compare::{Plan, Presence};

use hashbrown::HashTable;
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::block::{BlockingKey, BlockingRules, Element, Kind, Value, single_key};
use crate::compare::Comparison;
use crate::normalise::{
    AddressView, EmailView, NameView, NormalisedAddress, NormalisedCustom, NormalisedEmail,
    NormalisedIdentifier, NormalisedName, NormalisedRecord, PartialDate,
};
use facts::Facts;
use words::{WordId, Words};

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
}

impl Names {
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
                    |phone: &String| phones.intern(phone),
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
        self.names.0.words.freeze();
        self.names.0.entries.freeze();
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
                        given: view.given.to_owned(),
                        middle: view.middle.to_owned(),
                        family: view.family.to_owned(),
                        generation: view.generation.to_owned(),
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
                        address: view.address.to_owned(),
                        local_length: view.local.len() as u8,
                        of_name: view.of_name,
                    }
                })
                .collect(),
            phones: phones.map(|id| self.phones.get(*id).to_owned()).collect(),
            addresses: addresses
                .map(|id| {
                    let view = self.addresses.view(*id);
                    NormalisedAddress {
                        number: view.number.to_owned(),
                        street: view.street.to_owned(),
                        unit: view.unit.to_owned(),
                        city: view.city.to_owned(),
                        region: view.region.to_owned(),
                        postcode: view.postcode.to_owned(),
                    }
                })
                .collect(),
            identifiers: self
                .named_values(&self.identifiers, row)
                .map(|(scheme, value)| NormalisedIdentifier {
                    scheme: scheme.to_owned(),
                    value: value.to_owned(),
                })
                .collect(),
            gender: char::from_u32(cells.gender).filter(|gender| *gender != '\0'),
            customs: self
                .named_values(&self.customs, row)
                .map(|(name, value)| NormalisedCustom {
                    name: name.to_owned(),
                    value: value.to_owned(),
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
