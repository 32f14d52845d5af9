//! The laws of matching, each held by a test that can fail. One module a subject, in the order in which data flows;
//! `arbitrary` and `fixtures` are what they share.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod addresses;
mod agglomeration;
mod arbitrary;
mod blocking;
mod candidates;
mod comparison_levels;
mod comparisons;
mod components;
mod contacts;
mod dates;
mod evaluation;
mod fixtures;
mod folding;
mod golden_criteria;
mod golden_laws;
mod match_rules;
mod model_file;
mod names;
mod pack_file;
mod partition;
mod population;
mod records;
mod scoring;
mod strings;
mod training_em;
mod training_population;
