//! The functions that a pair costs, beside the crates that do the same: `cargo bench --bench matching`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use veridem::generate::{GenerateOptions, generate};
use veridem::resolver::{Fold, Matcher};
use veridem_matchers::compare::{jaro_winkler, within_one_edit};
use veridem_matchers::{NormalisedRecord, Pack};

const NAMES: &[(&str, &str)] = &[
    ("katherine", "catherine"),
    ("robert", "bob"),
    ("muller", "miller"),
    ("fitzgerald", "fitzgerlad"),
    ("okafor", "nguyen"),
];

fn strings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("jaro_winkler, 5 pairs of names");
    group.bench_function("veridem", |bencher| {
        bencher.iter(|| {
            NAMES
                .iter()
                .map(|(left, right)| jaro_winkler(black_box(left), black_box(right)))
                .sum::<f64>()
        })
    });
    group.bench_function("strsim", |bencher| {
        bencher.iter(|| {
            NAMES
                .iter()
                .map(|(left, right)| strsim::jaro_winkler(black_box(left), black_box(right)))
                .sum::<f64>()
        })
    });
    group.finish();
    let mut group = criterion.benchmark_group("one edit apart, 5 pairs of names");
    group.bench_function("veridem", |bencher| {
        bencher.iter(|| {
            NAMES
                .iter()
                .filter(|(left, right)| {
                    within_one_edit(black_box(left).as_bytes(), black_box(right).as_bytes())
                })
                .count()
        })
    });
    group.bench_function("strsim", |bencher| {
        bencher.iter(|| {
            NAMES
                .iter()
                .filter(|(left, right)| {
                    strsim::osa_distance(black_box(left), black_box(right)) <= 1
                })
                .count()
        })
    });
    group.finish();
}

fn pairs(criterion: &mut Criterion) {
    let pack = Pack::retail();
    let matcher = Matcher::new(Matcher::shipped_model(), pack.clone());
    let mut folds = std::collections::BTreeMap::<_, Fold>::new();
    for signal in generate(&GenerateOptions {
        persons: 400,
        seed: 1,
    })
    .signals
    {
        folds
            .entry(signal.record_key())
            .or_default()
            .apply(&signal, &pack);
    }
    let stated: Vec<_> = folds.values().map(Fold::attributes).collect();
    let records: Vec<NormalisedRecord> = stated
        .iter()
        .map(|attributes| NormalisedRecord::new(attributes, pack.region()))
        .collect();
    criterion.bench_function("normalise a retail record", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 1) % stated.len();
            NormalisedRecord::new(black_box(&stated[index]), pack.region())
        });
    });
    criterion.bench_function("blocking keys of a retail record", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 1) % records.len();
            pack.blocking.keys(black_box(&records[index]))
        });
    });
    criterion.bench_function("score a pair of retail records", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 1) % (records.len() - 1);
            matcher
                .scorer
                .score(black_box(&records[index]), black_box(&records[index + 1]))
        });
    });
}

criterion_group!(benches, strings, pairs);
criterion_main!(benches);
