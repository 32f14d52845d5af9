//! What people said of records of a bulk job.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use veridem_matchers::Table;
use veridem_matchers::block::Candidates;
use veridem_matchers::train::LabelledPair;

/// Clusters of some records, and single pairs. Rows are those of the job's records.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// A record and the person it is of.
    pub clusters: Vec<(u32, String)>,
    /// Pairs.
    pub pairs: Vec<LabelledPair>,
}

/// Of a person with more labelled records than this, only the pairs of the first ones are looked at.
const MAX_RECORDS_OF_A_PERSON: usize = 50;

impl Labels {
    /// The pairs of records of one person, for every person that is labelled.
    pub fn of_persons(&self) -> Vec<LabelledPair> {
        let mut pairs = Vec::new();
        for rows in self.persons().values() {
            let rows: Vec<u32> = rows.iter().copied().take(MAX_RECORDS_OF_A_PERSON).collect();
            for (index, one) in rows.iter().enumerate() {
                pairs.extend(rows[index + 1..].iter().map(|other| LabelledPair {
                    left: *one,
                    right: *other,
                    is_match: true,
                }));
            }
        }
        pairs
    }

    /// What they say of candidate pairs, each once; where labels contradict each other, the word on the single pair counts.
    pub fn of_candidates(&self, table: &Table, candidates: &Candidates) -> Vec<LabelledPair> {
        let mut person_of = vec![0_u32; table.len()];
        for (number, rows) in (1..).zip(self.persons().values()) {
            for row in rows {
                person_of[*row as usize] = number;
            }
        }
        let single: FxHashMap<(u32, u32), bool> = self
            .pairs
            .iter()
            .map(|pair| ((pair.left, pair.right), pair.is_match))
            .collect();
        candidates.map_pairs(table, |left, right| {
            let by_person = || {
                let (one, other) = (person_of[left], person_of[right]);
                (one != 0 && other != 0).then_some(one == other)
            };
            let (left, right) = (left as u32, right as u32);
            let is_match = single.get(&(left, right)).copied().or_else(by_person)?;
            Some(LabelledPair {
                left,
                right,
                is_match,
            })
        })
    }

    /// The rows of each person.
    fn persons(&self) -> BTreeMap<&str, BTreeSet<u32>> {
        let mut persons: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for (row, person) in &self.clusters {
            persons.entry(person).or_default().insert(*row);
        }
        persons
    }
}
