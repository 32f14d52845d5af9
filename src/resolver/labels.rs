//! What people said of records of a bulk job.

use std::collections::BTreeMap;

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
    /// All that they say of pairs: those of one person, and those candidate pairs that are of two. Each pair once, sorted; where
    /// labels contradict each other, the word on the single pair counts.
    pub fn pairs(&self, table: &Table, candidates: &Candidates) -> Vec<LabelledPair> {
        let mut said: BTreeMap<(u32, u32), bool> = BTreeMap::new();
        let mut people: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (row, person) in &self.clusters {
            people.entry(person).or_default().push(*row);
        }
        let mut person_of = vec![0_u32; table.len()];
        for (number, rows) in (1..).zip(people.values()) {
            for row in rows {
                person_of[*row as usize] = number;
            }
            let rows = &rows[..rows.len().min(MAX_RECORDS_OF_A_PERSON)];
            for (index, one) in rows.iter().enumerate() {
                let others = rows[index + 1..].iter().filter(|other| *other != one);
                said.extend(others.map(|other| ((*one.min(other), *one.max(other)), true)));
            }
        }
        if !people.is_empty() {
            let apart = candidates.map_pairs(table, |left, right| {
                let (one, other) = (person_of[left], person_of[right]);
                (one != other && one != 0 && other != 0).then_some((left as u32, right as u32))
            });
            said.extend(apart.into_iter().map(|pair| (pair, false)));
        }
        let single = self.pairs.iter().filter(|pair| pair.left != pair.right);
        said.extend(single.map(|pair| ((pair.left, pair.right), pair.is_match)));
        said.into_iter()
            .map(|((left, right), is_match)| LabelledPair {
                left,
                right,
                is_match,
            })
            .collect()
    }
}
