//! The laws of matching, each held by a test that can fail: a module a subject. `arbitrary`, `fixtures` and `population` are
//! what they share. Drawn cases are the same in every run; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` draw others and more.

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
mod labels;
mod match_rules;
mod model_file;
mod names;
mod pack_file;
mod partition;
mod phones;
mod population;
mod records;
mod retracing;
mod scoring;
mod splink_model;
mod strings;
mod tables;
mod training_em;
mod training_population;
