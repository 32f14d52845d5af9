//! Samples of pairs that stewards judge blind: drawn by strata, so that few judgements tell of all pairs.
//!
//! What is estimated is pairs that could be compared (that share an active blocking key): those that hold identities together, those between
//! identities that match or are doubtful, and those below the review threshold. How many there are of the last is estimated from the
//! records that are drawn for it.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rustc_hash::FxHashSet;
use veridem_matchers::estimate::{self, Estimate, Judged};

use super::engine::{Engine, TenantState};
use super::error::EngineError;
use super::queue::SourceRecord;
use crate::store::{
    IdentityId, Judgement, Population, RecordNumber, SURE, SampledPair, StoredRecord, StoredSample,
    Stratum, Tenant, WeightCount, Write,
};

/// Pairs of one sample, at least and at most.
pub const SAMPLE_PAIRS: std::ops::RangeInclusive<usize> = 10..=2_000;
/// Records read at once.
const BATCH: usize = 10_000;
/// Of the pairs below the threshold so many records are asked for their candidates, for each pair that is wanted.
const RECORDS_A_PAIR: usize = 3;
/// Holders of one blocking key that are looked at; a key with more is shared by chance.
const MAX_HOLDERS: usize = 200;
/// One pair in so many is judged by two.
const ONE_TWICE_IN: usize = 5;
/// One pair in so many is one on which somebody has decided before.
const ONE_GOLD_IN: usize = 10;
/// Overrides that are looked at for these.
const MAX_OVERRIDES: usize = 1_000;

type RecordPair = (RecordNumber, RecordNumber);

/// Pairs that were decided, and some of them.
struct Decided {
    populations: Vec<(Stratum, Population)>,
    drawn: Vec<(RecordPair, Stratum)>,
    weights: Vec<WeightCount>,
}

/// Draws so many of what passes by, each as likely as any other (Vitter, Random Sampling with a Reservoir, 1985, algorithm R).
struct Reservoir {
    wanted: usize,
    seen: u64,
    drawn: Vec<RecordPair>,
}

impl Reservoir {
    fn new(wanted: usize) -> Self {
        Self {
            wanted,
            seen: 0,
            drawn: Vec::with_capacity(wanted),
        }
    }

    fn offer(&mut self, pair: RecordPair, random: &mut ChaCha8Rng) {
        self.seen += 1;
        if self.drawn.len() < self.wanted {
            self.drawn.push(pair);
        } else {
            let place = below(random, self.seen);
            if let Some(known) = self.drawn.get_mut(place as usize) {
                *known = pair;
            }
        }
    }
}

/// A number below a bound above 0.
fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64
}

fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last as u64 + 1) as usize);
    }
}

fn ordered(one: RecordNumber, other: RecordNumber) -> RecordPair {
    (one.min(other), one.max(other))
}

/// A pair that somebody is asked about, without what was decided of it.
#[derive(Clone, Debug)]
pub struct AskedPair {
    /// The sample.
    pub sample: u64,
    /// The pair's place in it.
    pub place: usize,
    /// What the sources state of the two.
    pub records: [SourceRecord; 2],
    /// Pairs that the caller has judged, and that are still to be judged by the caller.
    pub progress: (usize, usize),
}

/// What a sample tells so far.
#[derive(Clone, Debug)]
pub struct SampleResult {
    /// The sample's number, who had it drawn, and when in milliseconds since the Unix epoch.
    pub drawn: (u64, String, i64),
    /// What was judged of each stratum.
    pub strata: Vec<(Stratum, Judged)>,
    /// How the weights of all pairs spread that match or are doubtful, when it was drawn.
    pub weights: Vec<WeightCount>,
    /// The share of pairs that hold identities together which are one person.
    pub precision: Estimate,
    /// The share of pairs of one person which hold an identity together.
    pub recall: Estimate,
    /// Pairs that two have judged, and those of them that both judged alike.
    pub twice: (u64, u64),
    /// How far they agree beyond chance.
    pub kappa: Option<f64>,
    /// Judgements of pairs on which somebody has decided before, and those that say the same.
    pub gold: (u64, u64),
    /// Pairs that nobody could tell.
    pub unsure: u64,
    /// Pairs that wait for a judgement.
    pub open: u64,
}

impl Engine {
    /// Draws a sample of about so many pairs, and puts it in the place of the one that is judged.
    pub fn draw_sample(
        &self,
        tenant: &Tenant,
        pairs: usize,
        principal: &str,
        seed: u64,
        now_ms: i64,
    ) -> Result<StoredSample, EngineError> {
        let _one = self.preview.try_lock().ok_or(EngineError::Overloaded)?;
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let gold = self.gold_pairs(tenant, pairs / ONE_GOLD_IN, random)?;
        let of_stratum = (pairs - gold.len()).div_ceil(4);
        let Decided {
            mut populations,
            mut drawn,
            weights,
        } = self.decided_strata(tenant, of_stratum, random)?;
        let (population, below) = self.pairs_below(tenant, of_stratum, random)?;
        populations.push((Stratum::ApartBelow, population));
        drawn.extend(below.into_iter().map(|pair| (pair, Stratum::ApartBelow)));
        drawn.extend(gold);
        if drawn.is_empty() {
            return Err(EngineError::Refused {
                field: "pairs",
                problem: "there is no pair of records that could be compared",
            });
        }
        shuffle(&mut drawn, random);
        let twice = drawn.len().div_ceil(ONE_TWICE_IN);
        let pairs = drawn.into_iter().enumerate();
        let mut sample = StoredSample {
            number: 0,
            principal: principal.to_owned(),
            drawn_at_ms: now_ms,
            populations,
            weights,
            pairs: pairs
                .map(|(place, (records, stratum))| SampledPair {
                    records,
                    stratum,
                    wanted: if place < twice { 2 } else { 1 },
                    judgements: Vec::new(),
                })
                .collect(),
        };
        let _writer = self.writer.lock();
        let last = self.store.sample(tenant)?;
        sample.number = last.map_or(1, |last| last.number + 1);
        self.put_sample(tenant, &sample)?;
        Ok(sample)
    }

    /// Nothing is durable before the next [`crate::store::Store::flush`].
    fn put_sample(&self, tenant: &Tenant, sample: &StoredSample) -> Result<(), EngineError> {
        let writes = vec![Write::Sample(Box::new(sample.clone()))];
        let in_force = self.store.in_force(tenant);
        Ok(self.store.commit(tenant, in_force, writes)?)
    }

    fn gold_pairs(
        &self,
        tenant: &Tenant,
        wanted: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<Vec<(RecordPair, Stratum)>, EngineError> {
        let (labels, _) = self.decided_pairs(tenant, 0, MAX_OVERRIDES)?;
        let mut drawn = Vec::with_capacity(labels.len());
        for label in labels {
            let number = |key| self.store.record_number(tenant, key);
            if let (Some(one), Some(other)) = (number(&label.records.0)?, number(&label.records.1)?)
            {
                let is_match = label.is_match;
                drawn.push((ordered(one, other), Stratum::Gold { is_match }));
            }
        }
        shuffle(&mut drawn, random);
        drawn.truncate(wanted);
        Ok(drawn)
    }

    /// Pairs that were decided `Match` or `Review`, by what became of them.
    fn decided_strata(
        &self,
        tenant: &Tenant,
        wanted: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<Decided, EngineError> {
        let generation = self.tenant(tenant)?.generation;
        let identities = self.identities_by_record(tenant)?;
        let identity_of = |number| {
            let place = identities.binary_search_by_key(&number, |(known, _)| *known);
            place.ok().map(|place| identities[place].1)
        };
        let strata = [
            Stratum::TogetherSure,
            Stratum::TogetherUnsure,
            Stratum::ApartDoubtful,
        ];
        let mut reservoirs = strata.map(|stratum| (stratum, Reservoir::new(wanted)));
        let mut weights: BTreeMap<i16, (u64, u64)> = BTreeMap::new();
        for (number, own) in &identities {
            let edges = self.store.edges(tenant, generation, *number)?;
            for edge in edges.iter().filter(|edge| edge.other > *number) {
                let Some(other) = identity_of(edge.other) else {
                    continue;
                };
                let counts = weights
                    .entry(edge.score.weight.0.floor() as i16)
                    .or_default();
                match *own == other {
                    true => counts.0 += 1,
                    false => counts.1 += 1,
                }
                let stratum = match *own == other {
                    false => Stratum::ApartDoubtful,
                    true if edge.score.probability().0 >= SURE => Stratum::TogetherSure,
                    true => Stratum::TogetherUnsure,
                };
                let found = reservoirs.iter_mut().find(|(known, _)| *known == stratum);
                if let Some((_, reservoir)) = found {
                    reservoir.offer((*number, edge.other), random);
                }
            }
        }
        let counted = |pairs| Population { pairs, error: 0.0 };
        let populations = reservoirs.iter();
        let populations = populations.map(|(stratum, of)| (*stratum, counted(of.seen)));
        let populations = populations.collect();
        let drawn = reservoirs.into_iter().flat_map(|(stratum, reservoir)| {
            let pairs = reservoir.drawn.into_iter();
            pairs.map(move |pair| (pair, stratum))
        });
        let weights = weights.into_iter();
        let weights = weights.map(|(from, (together, apart))| WeightCount {
            from,
            together,
            apart,
        });
        Ok(Decided {
            populations,
            drawn: drawn.collect(),
            weights: weights.collect(),
        })
    }

    /// The living records with their identities, in the order of their numbers.
    fn identities_by_record(
        &self,
        tenant: &Tenant,
    ) -> Result<Vec<(RecordNumber, IdentityId)>, EngineError> {
        let generation = self.tenant(tenant)?.generation;
        let (mut first, mut identities) = (0, Vec::new());
        loop {
            let records = self.store.records_from(tenant, generation, first, BATCH)?;
            let Some(last) = records.last() else {
                return Ok(identities);
            };
            first = last.number + 1;
            let living = records.iter().filter(|record| record.is_alive);
            identities
                .extend(living.filter_map(|record| Some((record.number, record.identity_id?))));
        }
    }

    /// How many candidate pairs of two identities there are below the review threshold, estimated from some records, and some of them: a
    /// record is drawn as often as it has such pairs, and one of them each time, so that all are equally likely and few come together
    /// (sampling with probability proportional to size: Hansen and Hurwitz, On the theory of sampling from finite populations, 1943).
    fn pairs_below(
        &self,
        tenant: &Tenant,
        wanted: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<(Population, Vec<RecordPair>), EngineError> {
        let state = self.tenant(tenant)?;
        let counters = self.store.counters(tenant)?;
        let mut found: Vec<Vec<RecordPair>> = Vec::new();
        for _ in 0..wanted * RECORDS_A_PAIR {
            if counters.source_records == 0 {
                break;
            }
            let number = below(random, counters.record_numbers) + 1;
            let record = self.store.record(tenant, state.generation, number)?;
            if let Some(record) = record.filter(|record| record.is_alive) {
                found.push(self.candidates_below(tenant, &state, &record)?);
            }
        }
        let population = population_of(&found, counters.source_records);
        let mut ends = Vec::with_capacity(found.len());
        let mut all = 0;
        for pairs in &found {
            all += pairs.len() as u64;
            ends.push(all);
        }
        let mut drawn = FxHashSet::default();
        for _ in 0..wanted {
            if all == 0 {
                break;
            }
            let at = below(random, all);
            let record = ends.partition_point(|end| *end <= at);
            let place = ends[record] - at - 1;
            drawn.insert(found[record][place as usize]);
        }
        let mut drawn: Vec<RecordPair> = drawn.into_iter().collect();
        drawn.sort_unstable();
        Ok((population, drawn))
    }

    /// The pairs of a record with its candidates of other identities that are neither `Match` nor `Review`.
    fn candidates_below(
        &self,
        tenant: &Tenant,
        state: &TenantState,
        record: &StoredRecord,
    ) -> Result<Vec<RecordPair>, EngineError> {
        let edges = self.store.edges(tenant, state.generation, record.number)?;
        let decided: FxHashSet<RecordNumber> = edges.iter().map(|edge| edge.other).collect();
        let mut others = FxHashSet::default();
        for key in &record.keys {
            if !state.inactive.read().contains(key) {
                others.extend(state.index.holders(*key, MAX_HOLDERS)?);
            }
        }
        others.remove(&record.number);
        let mut others: Vec<RecordNumber> = others.difference(&decided).copied().collect();
        others.sort_unstable();
        let mut pairs = Vec::with_capacity(others.len());
        for number in others {
            let other = self.store.record(tenant, state.generation, number)?;
            // Those that others hold together with it are not missed.
            let is_apart =
                |other: &StoredRecord| other.is_alive && other.identity_id != record.identity_id;
            if other.is_some_and(|other| is_apart(&other)) {
                pairs.push(ordered(record.number, number));
            }
        }
        Ok(pairs)
    }

    /// The next pair of the latest sample that waits for a judgement of this principal.
    pub fn next_sampled_pair(
        &self,
        tenant: &Tenant,
        principal: &str,
    ) -> Result<Option<AskedPair>, EngineError> {
        let Some(sample) = self.store.sample(tenant)? else {
            return Ok(None);
        };
        let generation = self.tenant(tenant)?.generation;
        let is_by = |judgement: &Judgement| judgement.principal == principal;
        let done = sample.pairs.iter();
        let done = done
            .filter(|pair| pair.judgements.iter().any(is_by))
            .count();
        let mut waiting = Vec::new();
        for (place, pair) in sample.pairs.iter().enumerate() {
            if pair.judgements.len() >= usize::from(pair.wanted)
                || pair.judgements.iter().any(is_by)
            {
                continue;
            }
            // Whose person was erased, or whose source has taken it back, is not asked about.
            let read = |number| self.store.record(tenant, generation, number);
            if let (Some(one), Some(other)) = (read(pair.records.0)?, read(pair.records.1)?)
                && one.is_alive
                && other.is_alive
            {
                waiting.push((place, one.key.clone(), other.key.clone()));
            }
        }
        let open = waiting.len();
        let Some((place, one, other)) = waiting.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some(AskedPair {
            sample: sample.number,
            place,
            records: [
                self.source_record(tenant, &one)?,
                self.source_record(tenant, &other)?,
            ],
            progress: (done, open),
        }))
    }

    /// Takes what a steward says of a sampled pair. Nothing is durable before the next [`crate::store::Store::flush`].
    pub fn judge_sampled_pair(
        &self,
        tenant: &Tenant,
        (number, place): (u64, usize),
        judgement: Judgement,
    ) -> Result<(), EngineError> {
        let _writer = self.writer.lock();
        let last = self.store.sample(tenant)?;
        let mut sample = last.ok_or(EngineError::NotFound { what: "sample" })?;
        if sample.number != number {
            return Err(EngineError::Refused {
                field: "sample",
                problem: "another one was drawn since",
            });
        }
        let pair = sample.pairs.get_mut(place);
        let pair = pair.ok_or(EngineError::NotFound { what: "pair" })?;
        let mut known = pair.judgements.iter_mut();
        match known.find(|known| known.principal == judgement.principal) {
            Some(known) => *known = judgement,
            None => pair.judgements.push(judgement),
        }
        self.put_sample(tenant, &sample)
    }

    /// What the latest sample tells so far.
    pub fn sample_result(&self, tenant: &Tenant) -> Result<Option<SampleResult>, EngineError> {
        let latest = self.store.sample(tenant)?;
        Ok(latest.map(|sample| result_of(&sample)))
    }
}

/// How many pairs there are, where so many records live and these were found of some of them: each pair from either of its records.
fn population_of(found: &[Vec<RecordPair>], living: u64) -> Population {
    let records = found.len() as f64;
    let scale = living as f64 / 2.0;
    if found.is_empty() {
        return Population {
            pairs: 0,
            error: 0.0,
        };
    }
    let mean = found.iter().map(Vec::len).sum::<usize>() as f64 / records;
    let squares = found.iter().map(|of| (of.len() as f64 - mean).powi(2));
    let variance = squares.sum::<f64>() / (records - 1.0).max(1.0);
    // Where none was found there may still be some: as if one had been.
    let error = (variance / records).sqrt().max(1.0 / records);
    Population {
        pairs: (mean * scale).round() as u64,
        error: error * scale,
    }
}

/// Of several judgements of a pair the first that says something counts.
fn verdict(pair: &SampledPair) -> Option<bool> {
    pair.judgements
        .iter()
        .find_map(|judgement| judgement.is_match)
}

fn result_of(sample: &StoredSample) -> SampleResult {
    let strata: Vec<(Stratum, Judged)> = sample
        .populations
        .iter()
        .map(|(stratum, population)| {
            let of_stratum = sample.pairs.iter().filter(|pair| pair.stratum == *stratum);
            let verdicts: Vec<bool> = of_stratum.filter_map(verdict).collect();
            let judged = Judged {
                population: population.pairs,
                population_error: population.error,
                judged: verdicts.len() as u64,
                same: verdicts.iter().filter(|same| **same).count() as u64,
            };
            (*stratum, judged)
        })
        .collect();
    let of = |wanted: &[Stratum]| -> Vec<Judged> {
        let found = strata
            .iter()
            .filter(|(stratum, _)| wanted.contains(stratum));
        found.map(|(_, judged)| *judged).collect()
    };
    let together = of(&[Stratum::TogetherSure, Stratum::TogetherUnsure]);
    let apart = of(&[Stratum::ApartDoubtful, Stratum::ApartBelow]);
    let twice: Vec<(bool, bool)> = sample
        .pairs
        .iter()
        .filter_map(|pair| {
            let mut said = pair
                .judgements
                .iter()
                .filter_map(|judgement| judgement.is_match);
            Some((said.next()?, said.next()?))
        })
        .collect();
    let gold = sample.pairs.iter().filter_map(|pair| match pair.stratum {
        Stratum::Gold { is_match } => verdict(pair).map(|said| said == is_match),
        _ => None,
    });
    let gold: Vec<bool> = gold.collect();
    let count = |said: &[bool]| said.iter().filter(|said| **said).count() as u64;
    let nobody = |pair: &&SampledPair| !pair.judgements.is_empty() && verdict(pair).is_none();
    let waits = |pair: &&SampledPair| pair.judgements.len() < usize::from(pair.wanted);
    SampleResult {
        drawn: (sample.number, sample.principal.clone(), sample.drawn_at_ms),
        weights: sample.weights.clone(),
        precision: estimate::precision(&together),
        recall: estimate::recall(&together, &apart),
        twice: (
            twice.len() as u64,
            twice.iter().filter(|(one, other)| one == other).count() as u64,
        ),
        kappa: estimate::kappa(&twice),
        gold: (gold.len() as u64, count(&gold)),
        unsure: sample.pairs.iter().filter(nobody).count() as u64,
        open: sample.pairs.iter().filter(waits).count() as u64,
        strata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 20 pairs 5 are drawn, 8,000 times: each about 2,000 times. 150 are four standard deviations.
    #[test]
    fn every_pair_is_as_likely_as_any_other() {
        let random = &mut ChaCha8Rng::seed_from_u64(3);
        let mut drawn = [0_i64; 20];
        for _ in 0..8_000 {
            let mut reservoir = Reservoir::new(5);
            for pair in 0..20 {
                reservoir.offer((pair, pair + 1), random);
            }
            assert_eq!((reservoir.seen, reservoir.drawn.len()), (20, 5));
            for (pair, _) in reservoir.drawn {
                drawn[pair as usize] += 1;
            }
        }
        assert!(
            drawn.iter().all(|count| (count - 2_000).abs() < 160),
            "{drawn:?}"
        );
    }
}
