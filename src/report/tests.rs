//! The page as a whole, over plausible, empty, hostile and impossible input.

use std::collections::{BTreeMap, BTreeSet};

use veridem_matchers::block::{BlockingRecall, RuleStatistics};
use veridem_matchers::compare::Comparison;
use veridem_matchers::model::{ComparisonModel, LevelParameters, MODEL_FORMAT_VERSION};
use veridem_matchers::rules::RuleEffect;
use veridem_matchers::{ComparisonPart, Decision, MatchWeight, Model, PairExplanation, PairScore};

use super::{ExamplePair, ReportInput, SECTIONS, render};

const HOSTILE: &str = "<script>alert(1)</script>\"'&<!--</style></svg>";

/// What a report borrows.
struct Owned {
    title: String,
    seconds: Vec<(String, f64)>,
    model: Model,
    blocking: Vec<RuleStatistics>,
    recall: BlockingRecall,
    labelled: Vec<(f64, bool)>,
    weights: Vec<f64>,
    cluster_sizes: Vec<usize>,
    sources: Vec<(String, usize)>,
    examples: Vec<ExamplePair>,
}

fn comparison_model(comparison: Comparison, m: f64, u: f64) -> ComparisonModel {
    let levels = comparison
        .levels()
        .iter()
        .map(|level| LevelParameters {
            household: 0.3,
            term_frequency: None,
            level: (*level).to_owned(),
            m,
            u,
        })
        .collect();
    ComparisonModel {
        comparison,
        levels,
        term_frequencies: None,
    }
}

fn model(comparisons: Vec<ComparisonModel>, prior: f64) -> Model {
    Model {
        household_prior: 0.0005,
        format_version: MODEL_FORMAT_VERSION,
        trained_on_records: 1000,
        prior,
        comparisons,
    }
}

fn example(name: &str) -> ExamplePair {
    let part = |comparison: Comparison, level: &'static str, weight: f64, term_adjustment: f64| {
        ComparisonPart {
            comparison,
            level,
            weight: MatchWeight(weight),
            term_adjustment: MatchWeight(term_adjustment),
        }
    };
    let score = PairScore {
        weight: MatchWeight(6.5),
        decision: Decision::Review,
        rule: Some(0),
        effect: Some(RuleEffect::CapAtReview),
    };
    ExamplePair {
        left: format!("pos/{name}"),
        right: format!("cdp/{name}"),
        explanation: PairExplanation {
            score,
            prior_weight: MatchWeight(-10.0),
            household_adjustment: MatchWeight(-0.5),
            parts: vec![
                part(Comparison::GivenName, "similar", 6.5, 1.5),
                part(Comparison::Email, "missing", 0.0, 0.0),
                part(Comparison::Custom(name.to_owned()), "exact", 9.0, 0.0),
            ],
            rule: Some(name.to_owned()),
        },
        values: vec![
            (
                "given_name".to_owned(),
                format!("{name}a"),
                format!("{name}b"),
            ),
            ("email".to_owned(), String::new(), name.to_owned()),
            (name.to_owned(), name.to_owned(), name.to_owned()),
        ],
    }
}

/// A plausible job in which everything that can be named is named `name`.
fn plausible(name: &str) -> Owned {
    Owned {
        title: name.to_owned(),
        seconds: vec![
            (name.to_owned(), 0.5),
            ("score".to_owned(), 1.0),
            ("total".to_owned(), 1.6),
        ],
        model: model(
            vec![
                comparison_model(Comparison::GivenName, 0.9, 0.01),
                comparison_model(Comparison::Custom(name.to_owned()), 0.1, 0.8),
            ],
            0.001,
        ),
        blocking: vec![RuleStatistics {
            rule: name.to_owned(),
            pairs: 1234,
            largest_block: 17,
            inactive_keys: 2,
            matches: 98,
            matches_alone: 7,
        }],
        recall: BlockingRecall::of_counts(3, [(0b011, 41), (0b001, 50), (0b100, 7)]),
        labelled: (0..60)
            .map(|index| (f64::from(index) * 0.2 - 6.0, index % 3 > 0))
            .collect(),
        weights: (0..500).map(|index| f64::from(index) * 0.1).collect(),
        cluster_sizes: vec![1, 1, 1, 2, 2, 3, 40],
        sources: vec![(name.to_owned(), 30), ("pos".to_owned(), 20)],
        examples: vec![example(name), example(name)],
    }
}

fn empty() -> Owned {
    Owned {
        title: String::new(),
        seconds: Vec::new(),
        model: model(Vec::new(), 0.5),
        blocking: Vec::new(),
        recall: BlockingRecall::default(),
        labelled: Vec::new(),
        weights: Vec::new(),
        cluster_sizes: Vec::new(),
        sources: Vec::new(),
        examples: Vec::new(),
    }
}

fn input(owned: &Owned) -> ReportInput<'_> {
    let records = owned.cluster_sizes.iter().sum();
    ReportInput {
        title: &owned.title,
        records,
        identities: owned.cluster_sizes.len(),
        candidate_pairs: owned.weights.len() as u64 * 2,
        matches: owned.weights.len() / 2,
        reviews: owned.weights.len() / 4,
        rejects: 0,
        seconds: &owned.seconds,
        peak_rss_bytes: 123_456_789,
        threads: 2,
        match_probability: 0.95,
        review_probability: 0.5,
        model: &owned.model,
        blocking: &owned.blocking,
        recall: &owned.recall,
        labelled: &owned.labelled,
        weights: &owned.weights,
        cluster_sizes: &owned.cluster_sizes,
        sources: &owned.sources,
        examples: &owned.examples,
    }
}

/// Fails where tags do not close in order, an attribute or an id comes twice, a reference leads nowhere, or a number that
/// is none got into the page.
fn assert_sound(html: &str) {
    const VOID: [&str; 2] = ["meta", "wbr"];
    let (before, rest) = html.split_once("<style>").expect("the page has a style");
    let (_, after) = rest.split_once("</style>").expect("the style ends");
    let body = format!("{before}{after}");
    let (mut open, mut ids, mut references) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for piece in body
        .strip_prefix("<!DOCTYPE html>")
        .expect("the page names its type")
        .split('<')
        .skip(1)
    {
        let (tag, _) = piece
            .split_once('>')
            .unwrap_or_else(|| panic!("a tag without end: {piece}"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
            continue;
        }
        let (name, rest) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "not a tag: {name}"
        );
        if !VOID.contains(&name) {
            open.push(name);
        }
        let parts: Vec<&str> = rest.split('"').collect();
        let mut attributes = BTreeMap::new();
        for pair in parts.chunks_exact(2) {
            let attribute = pair[0].trim().trim_end_matches('=');
            assert!(
                attributes.insert(attribute, pair[1]).is_none(),
                "{attribute} twice in <{tag}>"
            );
            assert!(!attribute.starts_with("on"), "a script in <{tag}>");
            assert!(
                attribute
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
                "not an attribute: {attribute}"
            );
        }
        if let Some(id) = attributes.get("id") {
            assert!(ids.insert((*id).to_owned()), "id {id} twice");
        }
        references.extend(
            attributes
                .get("aria-labelledby")
                .iter()
                .flat_map(|list| list.split(' '))
                .map(str::to_owned),
        );
        references.extend(attributes.get("href").iter().map(|link| {
            link.strip_prefix('#')
                .expect("links stay within the page")
                .to_owned()
        }));
    }
    assert!(open.is_empty(), "left open: {open:?}");
    assert!(
        references.is_subset(&ids),
        "lead nowhere: {:?}",
        references.difference(&ids)
    );
    assert!(
        !body.contains("NaN") && !body.contains("inf"),
        "a number that is none"
    );
}

#[test]
fn every_section_and_chart_is_there() {
    let owned = plausible("retail");
    let html = render(&input(&owned));
    assert_sound(&html);
    for (id, heading) in SECTIONS {
        assert!(
            html.contains(&format!("<section id=\"{id}\""))
                && html.contains(&format!(">{heading}</h2>")),
            "{heading}"
        );
    }
    for title in [
        "Time by stage",
        "Records by source",
        "Pairs by match weight",
        "Pairs that match at each threshold",
        "Share of matches by match probability",
        "Weights, m and u by level",
        "Pairs by blocking rule",
        "Identities by number of records",
        "The largest identities",
        "Weights of example pair 2",
    ] {
        assert!(html.contains(title), "{title}");
    }
    for figure in [
        "1.60 s",
        "118 MiB",
        "+6.49",
        "1,234",
        "match from 0.95",
        "review from 0.5",
        "at most a review",
        "32–47",
    ] {
        assert!(html.contains(figure), "{figure}");
    }
    assert_eq!(
        html,
        render(&input(&owned)),
        "the same input gives the same bytes"
    );
}

#[test]
fn hostile_values_stay_text() {
    let html = render(&input(&plausible(HOSTILE)));
    assert_sound(&html);
    assert!(!html.contains("<script") && !html.contains("<!--"));
    assert!(html.matches("&lt;script&gt;").count() > 20);
}

#[test]
fn the_page_needs_nothing_from_outside() {
    let html = render(&input(&plausible("retail")));
    for outside in [
        "<script",
        "http:",
        "https:",
        "src=",
        "url(",
        "@import",
        "<link",
        "<img",
        "<iframe",
        "javascript:",
    ] {
        let found = html
            .find(outside)
            .map(|at| &html[at..(at + 60).min(html.len())]);
        assert!(found.is_none(), "{outside}: {found:?}");
    }
}

#[test]
fn empty_input_says_so() {
    let html = render(&input(&empty()));
    assert_sound(&html);
    for text in [
        "There were no records to resolve.",
        "No stage was timed.",
        "No source has a record.",
        "No pair reached the review threshold.",
        "The model has no comparison",
        "No pair was labelled.",
        "There was no blocking rule.",
        "No identity was found.",
        "There is no pair to show.",
    ] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn one_record_is_one_identity() {
    let owned = Owned {
        cluster_sizes: vec![1],
        sources: vec![("pos".to_owned(), 1)],
        seconds: vec![("total".to_owned(), 0.0)],
        ..empty()
    };
    let html = render(&input(&owned));
    assert_sound(&html);
    assert!(html.contains("<strong>1 record</strong> is <strong>1 identity</strong>"));
}

#[test]
fn impossible_numbers_do_no_harm() {
    let impossible = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        0.0,
        1.0,
        -1.0,
        1e-300,
    ];
    for value in impossible {
        for other in impossible {
            let mut owned = plausible("retail");
            owned.model.prior = value;
            owned
                .model
                .comparisons
                .push(comparison_model(Comparison::Email, value, other));
            owned.weights = vec![value, other];
            owned.labelled = vec![(value, true), (other, false)];
            owned.seconds = vec![("score".to_owned(), value), ("total".to_owned(), other)];
            owned.cluster_sizes = vec![0, 1, 1_000_000_000];
            owned.blocking[0].pairs = 0;
            owned.examples[0].explanation.parts[0].weight = MatchWeight(value);
            owned.examples[0].explanation.prior_weight = MatchWeight(other);
            let mut input = input(&owned);
            input.match_probability = value;
            input.review_probability = other;
            input.identities = usize::MAX;
            assert_sound(&render(&input));
        }
    }
}
