//! What a person's records state over time: the signals, and the flat record that they fold to.

use veridem_matchers::{Attribute, Identifier, PersonName, PostalAddress};

use super::dice::Dice;
use super::household::{Household, Person, WINDOW_END_MS, WINDOW_START_MS};
use super::ids;
use super::neighbourhood::Neighbourhood;
use super::source::{ECOMMERCE, POS, SOURCES, SourceProfile};
use super::trap::{Trap, TrapSet};
use super::writer::{Writer, Written, WrittenAddress};
use super::{GeneratedRecord, Signal, SignalKind};

/// Of 100 persons, how many have one, two, … records.
const RECORD_COUNT_WEIGHTS: [u32; 6] = [36, 25, 16, 11, 7, 5];
/// Of 100 records, how many have one, two, … signals.
const SIGNAL_COUNT_WEIGHTS: [u32; 3] = [60, 28, 12];
const DAY_MS: i64 = 86_400_000;

/// What folds separately: an attribute kind, or an identifier's scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Email,
    Phone,
    Address,
    BirthDate,
    Loyalty,
    Order,
}

/// The parts that a signal carries, or that a record has.
#[derive(Clone, Default, PartialEq, Eq)]
struct Values {
    name: Option<Written<(String, String)>>,
    email: Option<Written<String>>,
    phone: Option<Written<String>>,
    address: Option<Written<WrittenAddress>>,
    birth_date: Option<Written<String>>,
    loyalty: Option<Written<String>>,
    order: Option<Written<String>>,
}

/// Replaces a value by a stated one; true where there was another value before.
fn replace<T: PartialEq>(old: &mut Option<Written<T>>, stated: Option<Written<T>>) -> bool {
    let Some(stated) = stated else { return false };
    let changed = old.as_ref().is_some_and(|old| old.value != stated.value);
    *old = Some(stated);
    changed
}

impl Values {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes what is stated over; true where that changed a value that was there.
    fn overlay(&mut self, stated: Self) -> bool {
        let changes = [
            replace(&mut self.name, stated.name),
            replace(&mut self.email, stated.email),
            replace(&mut self.phone, stated.phone),
            replace(&mut self.address, stated.address),
            replace(&mut self.birth_date, stated.birth_date),
            replace(&mut self.loyalty, stated.loyalty),
            replace(&mut self.order, stated.order),
        ];
        changes.contains(&true)
    }

    fn traps(&self) -> TrapSet {
        let parts = [
            self.name.as_ref().map(|written| written.traps),
            self.email.as_ref().map(|written| written.traps),
            self.phone.as_ref().map(|written| written.traps),
            self.address.as_ref().map(|written| written.traps),
            self.birth_date.as_ref().map(|written| written.traps),
            self.loyalty.as_ref().map(|written| written.traps),
        ];
        let mut traps = TrapSet::default();
        for part in parts.into_iter().flatten() {
            traps.extend(part);
        }
        traps
    }

    fn attributes(&self) -> Vec<Attribute> {
        let mut attributes = Vec::with_capacity(7);
        if let Some(name) = &self.name {
            attributes.push(Attribute::Name(PersonName {
                given: name.value.0.clone(),
                family: name.value.1.clone(),
                ..PersonName::default()
            }));
        }
        if let Some(email) = &self.email {
            attributes.push(Attribute::Email(email.value.clone()));
        }
        if let Some(phone) = &self.phone {
            attributes.push(Attribute::Phone(phone.value.clone()));
        }
        if let Some(address) = &self.address {
            attributes.push(Attribute::Address(PostalAddress {
                street: address.value.street.clone(),
                city: address.value.city.clone(),
                region: address.value.state.clone(),
                postcode: address.value.postcode.clone(),
                ..PostalAddress::default()
            }));
        }
        if let Some(birth_date) = &self.birth_date {
            attributes.push(Attribute::BirthDate(birth_date.value.clone()));
        }
        for (scheme, identifier) in [("loyalty", &self.loyalty), ("order", &self.order)] {
            if let Some(identifier) = identifier {
                attributes.push(Attribute::Identifier(Identifier {
                    scheme: scheme.to_owned(),
                    value: identifier.value.clone(),
                }));
            }
        }
        attributes
    }
}

/// One record with its signals in event-time order.
pub(super) struct Drafted {
    pub(super) record: GeneratedRecord,
    pub(super) signals: Vec<Signal>,
}

/// Where the records of one household get their ids from.
pub(super) struct Ledger {
    pub(super) seed: u64,
    pub(super) with_signals: bool,
    /// Records of the household so far.
    pub(super) position: u64,
}

/// All records of one person.
pub(super) fn records_of(
    dice: &mut Dice,
    ledger: &mut Ledger,
    household: &Household,
    person: &Person,
    number: u64,
    neighbourhood: &Neighbourhood,
) -> Vec<Drafted> {
    let weights = SOURCES.each_ref().map(|source| {
        if person.cards.is_empty() {
            source.weight_of_other
        } else {
            source.weight_of_member
        }
    });
    let count = 1 + dice.weighted(&RECORD_COUNT_WEIGHTS);
    let mut sources: Vec<usize> = (0..count).map(|_| dice.weighted(&weights)).collect();
    // Orders come first: a shop can only take back what was ordered.
    sources.sort_by_key(|source| *source != ECOMMERCE);
    let mut orders: Vec<(i64, String)> = Vec::new();
    let mut drafted = Vec::with_capacity(count);
    for source in sources {
        let position = ledger.position;
        ledger.position += 1;
        let returned = (source == POS && !orders.is_empty() && dice.chance(0.24))
            .then(|| orders[dice.below(orders.len())].clone());
        let profile = &SOURCES[source];
        let draft = Draft {
            source: profile,
            person,
            writer: Writer::draw(dice, profile, household, person, neighbourhood),
        };
        let statements = match &returned {
            Some((ordered_at_ms, order)) => draft.store_return(dice, *ordered_at_ms, order),
            None => {
                let order = dice
                    .chance(profile.order)
                    .then(|| ids::order_id(ledger.seed, household.number, position));
                draft.statements(dice, order)
            }
        };
        let record_id = ids::record_id(ids::record_number(ledger.seed, household.number, position));
        let mut outcome = folded(
            profile.name,
            record_id,
            number,
            statements,
            ledger.with_signals,
        );
        if returned.is_some() {
            outcome.record.traps.insert(Trap::StoreReturn);
        } else if let Some(created) = outcome
            .created_at_ms
            .filter(|_| !outcome.record.order_id.is_empty())
        {
            orders.push((created, outcome.record.order_id.clone()));
        }
        drafted.push(Drafted {
            record: outcome.record,
            signals: outcome.signals,
        });
    }
    drafted
}

struct Statement {
    at_ms: i64,
    kind: SignalKind,
    values: Values,
}

struct Draft<'world> {
    source: &'static SourceProfile,
    person: &'world Person,
    writer: Writer<'world>,
}

impl Draft<'_> {
    /// Writes one part, where there is anything to write.
    fn write(&self, dice: &mut Dice, values: &mut Values, part: Part, at_ms: i64) {
        match part {
            Part::Name => values.name = Some(self.writer.name(dice, at_ms)),
            Part::Email => values.email = self.writer.email(dice),
            Part::Phone => values.phone = self.writer.phone(dice),
            Part::Address => values.address = Some(self.writer.address(dice, at_ms)),
            Part::BirthDate => values.birth_date = Some(self.writer.birth_date(dice)),
            Part::Loyalty => values.loyalty = self.writer.loyalty(dice),
            Part::Order => {}
        }
    }

    /// The parts that the record will have in the end.
    fn parts(&self, dice: &mut Dice) -> Vec<Part> {
        let source = self.source;
        let mut parts = Vec::with_capacity(7);
        if self.writer.has_name() {
            parts.push(Part::Name);
        }
        let contacts = [
            (Part::Email, dice.chance(source.email)),
            (Part::Phone, dice.chance(source.phone)),
            (Part::Address, self.writer.has_address(dice)),
            (
                Part::Loyalty,
                !self.person.cards.is_empty() && dice.chance(source.loyalty),
            ),
        ];
        parts.extend(
            contacts
                .iter()
                .filter(|(_, present)| *present)
                .map(|(part, _)| *part),
        );
        // A record of a name alone would belong to nobody; a till asks for one thing more.
        if contacts.iter().all(|(_, present)| !present) {
            parts.push(if dice.chance(0.5) {
                Part::Phone
            } else {
                Part::Email
            });
        }
        if dice.chance(source.birth_date) {
            parts.push(Part::BirthDate);
        }
        parts
    }

    fn statements(&self, dice: &mut Dice, order: Option<String>) -> Vec<Statement> {
        let mut parts = self.parts(dice);
        let moments = moments(dice);
        let mut first_stated: Vec<usize> = parts
            .iter()
            .map(|_| {
                if moments.len() > 1 && dice.chance(0.2) {
                    1 + dice.below(moments.len() - 1)
                } else {
                    0
                }
            })
            .collect();
        first_stated[0] = 0;
        let mut created = Values::default();
        for (part, first) in parts.iter().zip(&first_stated) {
            if *first == 0 {
                self.write(dice, &mut created, *part, moments[0]);
            }
        }
        if created.is_empty() {
            self.write(dice, &mut created, Part::Address, moments[0]);
        }
        if let Some(value) = order {
            created.order = Some(Written {
                value,
                traps: TrapSet::default(),
            });
            parts.push(Part::Order);
            first_stated.push(0);
        }
        let mut state = created.clone();
        let mut statements = vec![Statement {
            at_ms: moments[0],
            kind: SignalKind::Update,
            values: created,
        }];
        for (index, pair) in moments.windows(2).enumerate() {
            let step = index + 1;
            let known: Vec<(Part, bool)> = parts
                .iter()
                .zip(&first_stated)
                .filter(|(_, first)| **first <= step)
                .map(|(part, first)| (*part, *first == step))
                .collect();
            let snapshot = dice.chance(0.14);
            let stated = if snapshot {
                known.iter().map(|(part, _)| *part).collect()
            } else {
                self.updated_parts(dice, &known, pair[0], pair[1])
            };
            // A snapshot repeats what it has no news of.
            let mut values = if snapshot {
                state.clone()
            } else {
                Values::default()
            };
            for part in stated {
                let mut news = Values::default();
                self.write(dice, &mut news, part, pair[1]);
                values.overlay(news);
            }
            if values.is_empty() {
                continue;
            }
            state.overlay(values.clone());
            let kind = if snapshot {
                SignalKind::Snapshot
            } else {
                SignalKind::Update
            };
            statements.push(Statement {
                at_ms: pair[1],
                kind,
                values,
            });
        }
        statements
    }

    /// The parts that one update states, of those known by then with whether they are new.
    fn updated_parts(
        &self,
        dice: &mut Dice,
        known: &[(Part, bool)],
        after_ms: i64,
        at_ms: i64,
    ) -> Vec<Part> {
        let (new_name, new_address) = self.person.changed_between(after_ms, at_ms);
        let mut stated = Vec::new();
        for (part, is_new) in known {
            let probability = match part {
                Part::Order => continue,
                Part::Name if new_name => 0.6,
                Part::Address if new_address => 0.85,
                Part::Name | Part::BirthDate => 0.15,
                _ => 0.28,
            };
            if *is_new || dice.chance(probability) {
                stated.push(*part);
            }
        }
        if stated.is_empty() {
            let (part, _) = known[dice.below(known.len())];
            stated.push(part);
        }
        stated
    }

    /// A till's record of something that was ordered online: the order's number and little else.
    fn store_return(&self, dice: &mut Dice, ordered_at_ms: i64, order: &str) -> Vec<Statement> {
        let at_ms = (ordered_at_ms + dice.between(DAY_MS, 45 * DAY_MS)).min(WINDOW_END_MS);
        let mut values = Values {
            order: Some(Written {
                value: order.to_owned(),
                traps: TrapSet::default(),
            }),
            ..Values::default()
        };
        if self.writer.has_name() && dice.chance(0.4) {
            self.write(dice, &mut values, Part::Name, at_ms);
        }
        for (part, probability) in [(Part::Phone, 0.08), (Part::Email, 0.06)] {
            if dice.chance(probability) {
                self.write(dice, &mut values, part, at_ms);
            }
        }
        vec![Statement {
            at_ms,
            kind: SignalKind::Update,
            values,
        }]
    }
}

/// One to three moments, strictly ascending: two signals of a record at one moment would have no natural order.
fn moments(dice: &mut Dice) -> Vec<i64> {
    let count = 1 + dice.weighted(&SIGNAL_COUNT_WEIGHTS);
    let first = dice.between(WINDOW_START_MS, WINDOW_END_MS);
    let last = (first + 1000 * DAY_MS).min(WINDOW_END_MS);
    let mut moments = vec![first];
    for _ in 1..count {
        moments.push(dice.between(first, last));
    }
    moments.sort_unstable();
    moments.dedup();
    moments
}

struct Folded {
    record: GeneratedRecord,
    signals: Vec<Signal>,
    created_at_ms: Option<i64>,
}

fn folded(
    source: &'static str,
    record_id: String,
    person: u64,
    statements: Vec<Statement>,
    with_signals: bool,
) -> Folded {
    let created_at_ms = statements.first().map(|statement| statement.at_ms);
    let mut state = Values::default();
    let mut traps = TrapSet::default();
    let mut updated_at_ms = 0;
    let mut signals = Vec::with_capacity(if with_signals { statements.len() } else { 0 });
    for (index, statement) in statements.into_iter().enumerate() {
        updated_at_ms = statement.at_ms;
        if with_signals {
            signals.push(Signal {
                signal_id: format!("{record_id}-{}", index + 1),
                source: source.to_owned(),
                record_id: record_id.clone(),
                event_time_ms: statement.at_ms,
                kind: statement.kind,
                attributes: statement.values.attributes(),
            });
        }
        if statement.kind == SignalKind::Snapshot {
            traps.insert(Trap::Snapshot);
        }
        // A snapshot carries every part that there is, so overlaying and replacing come to the same.
        if state.overlay(statement.values) {
            traps.insert(Trap::LaterChange);
        }
    }
    traps.extend(state.traps());
    let (first_name, last_name) = state.name.map(|written| written.value).unwrap_or_default();
    let address = state
        .address
        .map(|written| written.value)
        .unwrap_or_default();
    let text =
        |written: Option<Written<String>>| written.map(|written| written.value).unwrap_or_default();
    let record = GeneratedRecord {
        source,
        record_id,
        person,
        first_name,
        last_name,
        email: text(state.email),
        phone: text(state.phone),
        dob: text(state.birth_date),
        street: address.street,
        city: address.city,
        state: address.state,
        zip: address.postcode,
        loyalty_id: text(state.loyalty),
        order_id: text(state.order),
        updated_at: updated_at_ms / 1000,
        traps,
    };
    Folded {
        record,
        signals,
        created_at_ms,
    }
}
