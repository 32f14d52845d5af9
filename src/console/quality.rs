//! How good decisions are: what stewards have said of pairs, held against what the model says of them.

use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tonic::Status;
use veridem_matchers::estimate::share_interval;
use veridem_matchers::{MatchProbability, MatchWeight};
use veridem_proto::v1;

use super::calls::Calls;
use super::error::Refused;
use super::layout::{self, Place};
use super::session::Session;
use super::values::Shown;
use super::{Console, texts, values};
use crate::api::Right;
use crate::report::calibration;
use crate::report::chart::{Frame, Scale, count_ticks, percent, weight_ticks};
use crate::report::number;

/// Pages of overrides that are looked at, the first ones.
const MAX_PAGES: usize = 100;
/// Match thresholds that are tried where nobody names one.
const TRIED: [f64; 6] = [0.5, 0.8, 0.9, 0.95, 0.99, 0.999];

async fn labels(calls: &Calls) -> Result<Vec<v1::Label>, Refused> {
    let mut labels = Vec::new();
    let mut asked = v1::ListLabelsRequest::default();
    for _ in 0..MAX_PAGES {
        let page = calls.request(asked.clone());
        let answer = calls.stewardship().list_labels(page).await?.into_inner();
        labels.extend(answer.labels);
        if answer.next_page_token.is_empty() {
            break;
        }
        asked.page_token = answer.next_page_token;
    }
    Ok(labels)
}

/// Match weights with what stewards said.
fn labelled(labels: &[v1::Label]) -> Vec<(f64, bool)> {
    let labels = labels.iter();
    labels
        .map(|label| (label.match_weight, label.is_match))
        .collect()
}

#[derive(Deserialize)]
pub(super) struct Tried {
    /// A match threshold, as a probability.
    #[serde(default)]
    threshold: String,
}

/// The page.
pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
) -> Result<Markup, Refused> {
    let calls = console.calls(&session);
    let asked = calls.request(v1::GetQualityRequest {});
    let sample = calls.stewardship().get_quality(asked).await?.into_inner();
    let labels = labels(&calls).await?;
    let labelled = labelled(&labels);
    let matches = labels.iter().filter(|label| label.is_match).count();
    let agreed = labels.iter().filter(|label| is_agreed(label)).count();
    let content = html! {
        article.wide.charts {
            h1 { (texts::QUALITY) }
            (sampled(&session, &sample))
            @if labels.is_empty() { p.hint { (texts::NO_LABELS) } }
            @else {
                section {
                    h2 { (texts::THRESHOLDS) }
                    p.facts { (texts::labels(labels.len(), matches, agreed)) }
                    p.hint { (texts::LABELS_ARE_DOUBTFUL) }
                    form.filter hx-get="/console/quality/thresholds" hx-target="#thresholds" hx-trigger="input changed delay:200ms, submit" {
                        label { (texts::TRY_THRESHOLD) " " input type="number" name="threshold" min="0" max="1" step="any" placeholder="0.97"; }
                    }
                    div #thresholds { (thresholds(&labelled, &TRIED)) }
                }
                (calibration::section(&labelled))
                section {
                    h2 { (texts::LABELS) }
                    @if !Shown::to(session.caller.role()).is_masked() {
                        p { a href="/console/quality/labels.csv" download="labels.csv" { (texts::DOWNLOAD_LABELS) } " " (texts::TRAIN_WITH_LABELS) }
                    }
                }
            }
        }
    };
    Ok(layout::page(
        &session,
        Place::Quality,
        texts::QUALITY,
        content,
    ))
}

/// What the sample that is judged blind tells so far.
fn sampled(session: &Session, sample: &v1::GetQualityResponse) -> Markup {
    let estimates = [
        (texts::PRECISION, &sample.precision),
        (texts::RECALL, &sample.recall),
    ];
    html! {
        section {
            h2 { (texts::SAMPLE) }
            @if sample.sample_number == 0 { p.hint { (texts::NO_SAMPLE) } }
            @else {
                p.facts { (texts::sample(sample.sample_number, &sample.drawn_by, sample.open)) ", " (values::moment(sample.drawn_at_ms)) }
                dl.counts {
                    @for (name, estimate) in estimates {
                        div { dt { (name) } dd { (estimate.as_ref().map_or_else(|| "–".to_owned(), interval)) } }
                    }
                    @if sample.judged_twice > 0 {
                        div { dt { (texts::AGREEMENT) } dd { (share(sample.agreed, sample.judged_twice)) @if let Some(kappa) = sample.kappa { ", κ " (format!("{kappa:.2}")) } } }
                    }
                    @if sample.gold_judged > 0 {
                        div { dt { (texts::GOLD) } dd { (share(sample.gold_right, sample.gold_judged)) } }
                    }
                    @if sample.cannot_tell > 0 {
                        div { dt { (texts::CANNOT_TELL) } dd { (number::count(sample.cannot_tell)) } }
                    }
                }
                table.figures {
                    caption.unseen { (texts::SAMPLE) }
                    thead { tr { th scope="col" { "Pairs" } th.figure scope="col" { "There are" } th.figure scope="col" { "Judged" } th.figure scope="col" { "One person" } } }
                    tbody {
                        @for stratum in &sample.strata {
                            tr {
                                th scope="row" { (texts::stratum(stratum.stratum())) }
                                td.figure { (number::count(stratum.population)) }
                                td.figure { (number::count(stratum.judged)) }
                                td.figure { (share(stratum.same, stratum.judged)) }
                            }
                        }
                    }
                }
            }
            (histogram(&sample.weights))
            div.sampling {
                @if sample.open > 0 && session.caller.may(Right::Decide) {
                    a.button href="/console/quality/review" { (texts::JUDGE) }
                }
                @if session.caller.may(Right::Operate) {
                    form method="post" action="/console/quality/sample" hx-post="/console/quality/sample" hx-target="#notice" hx-swap="innerHTML"
                        hx-confirm=[(sample.open > 0).then_some(texts::REALLY_DRAW)] {
                        (layout::csrf_field(session))
                        label { (texts::PAIRS_TO_DRAW) " " input type="number" name="pairs" min="10" max="2000" value="200" required; }
                        button type="submit" { (texts::DRAW) }
                    }
                }
            }
        }
    }
}

/// How the weights of pairs spread: those of one identity on top of those of two.
fn histogram(weights: &[v1::WeightCount]) -> Markup {
    let (Some(first), Some(last)) = (weights.first(), weights.last()) else {
        return html! {};
    };
    let all = |count: &v1::WeightCount| count.together + count.apart;
    let highest = weights.iter().map(all).max().unwrap_or_default();
    // However few bars there are, each is a bar.
    let scale = Scale::new(f64::from(first.from - 4), f64::from(last.from + 5));
    let heights = Scale::new(0.0, highest as f64 * 1.04);
    let bar = |count: &v1::WeightCount, below: u64, pairs: u64, class: &str, word: &str| {
        let from = f64::from(count.from);
        let (left, right) = (scale.position(from), scale.position(from + 1.0));
        let (bottom, top) = (
            heights.position(below as f64),
            heights.position((below + pairs) as f64),
        );
        let title = format!(
            "{} to {}: {} {word}",
            count.from,
            count.from + 1,
            number::counted(pairs, "pair", "pairs")
        );
        html! {
            @if pairs > 0 {
                rect class={ "column " (class) } x=(percent(left)) width=(percent(right - left)) y=(percent(100.0 - top)) height=(percent((top - bottom).max(0.8))) { title { (title) } }
            }
        }
    };
    let marks = html! {
        @for count in weights {
            (bar(count, 0, count.apart, "quiet", "of two identities"))
            (bar(count, count.apart, count.together, "for", "of one identity"))
        }
    };
    let total: u64 = weights.iter().map(all).sum();
    let description = format!(
        "{} that match or are doubtful, with match weights from {} to {}; the green part of a bar holds identities together.",
        number::counted(total, "pair", "pairs"),
        first.from,
        last.from + 1
    );
    Frame {
        id: "weights",
        title: texts::WEIGHTS_OF_PAIRS,
        description: &description,
        vertical: "pairs",
        horizontal: "match weight",
        rows: &count_ticks(&heights, 4),
        columns: &weight_ticks(&scale, 7),
    }
    .render(&marks)
}

fn interval(estimate: &v1::Interval) -> String {
    if estimate.value.is_nan() {
        return "–".to_owned();
    }
    with_interval(estimate.value, estimate.low, estimate.high)
}

fn with_interval(value: f64, low: f64, high: f64) -> String {
    let percent = |share| number::percent(share, 1.0);
    format!("{} ({}–{})", percent(value), percent(low), percent(high))
}

/// Whether the model in force would have decided as the steward did.
fn is_agreed(label: &v1::Label) -> bool {
    match label.decision() {
        v1::Decision::Match => label.is_match,
        v1::Decision::NonMatch => !label.is_match,
        _ => false,
    }
}

/// What a threshold would have done with the labelled pairs.
pub(super) async fn tried(
    State(console): State<Console>,
    session: Session,
    Query(asked): Query<Tried>,
) -> Result<Markup, Refused> {
    let labels = labels(&console.calls(&session)).await?;
    let labelled = labelled(&labels);
    let mut tried = TRIED.to_vec();
    if !asked.threshold.is_empty() {
        let threshold: f64 = asked
            .threshold
            .parse()
            .ok()
            .filter(|threshold| (0.0..=1.0).contains(threshold))
            .ok_or_else(|| Status::invalid_argument("the threshold must be 0 to 1"))?;
        tried = vec![threshold];
    }
    Ok(thresholds(&labelled, &tried))
}

/// Precision and recall among labelled pairs for some match thresholds.
fn thresholds(labelled: &[(f64, bool)], tried: &[f64]) -> Markup {
    html! {
        table.figures {
            caption.unseen { (texts::THRESHOLDS) }
            thead { tr {
                th.figure scope="col" { "Threshold" } th.figure scope="col" { "Would match" } th.figure scope="col" { "Wrongly" }
                th.figure scope="col" { "Missed" } th.figure scope="col" { "Precision" } th.figure scope="col" { "Recall" }
            } }
            tbody {
                @for threshold in tried {
                    @let least = MatchWeight::from(MatchProbability(*threshold)).0;
                    @let above = |is_match: bool| labelled.iter().filter(|(weight, of)| *weight >= least && *of == is_match).count() as u64;
                    @let all = labelled.iter().filter(|(_, is_match)| *is_match).count() as u64;
                    @let (right, wrong) = (above(true), above(false));
                    tr {
                        th.figure scope="row" { (number::threshold(*threshold)) }
                        td.figure { (number::count(right + wrong)) }
                        td.figure { (number::count(wrong)) }
                        td.figure { (number::count(all - right)) }
                        td.figure { (share(right, right + wrong)) }
                        td.figure { (share(right, all)) }
                    }
                }
            }
        }
    }
}

/// A share with its 95 % interval.
fn share(seen: u64, of: u64) -> String {
    if of == 0 {
        return "–".to_owned();
    }
    let (low, high) = share_interval(seen, of);
    with_interval(seen as f64 / of as f64, low.max(0.0), high.min(1.0))
}

/// The labels as `veridem train --labels` reads them.
pub(super) async fn download(
    State(console): State<Console>,
    session: Session,
) -> Result<Response, Refused> {
    if Shown::to(session.caller.role()).is_masked() {
        return Err(Status::permission_denied("a viewer sees no record ids").into());
    }
    let labels = labels(&console.calls(&session)).await?;
    let text = labels_csv(&labels).map_err(anyhow::Error::from)?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"labels.csv\"",
        ),
    ];
    Ok((headers, text).into_response())
}

fn labels_csv(labels: &[v1::Label]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "left_source",
        "left_record_id",
        "right_source",
        "right_record_id",
        "match",
    ])?;
    for label in labels {
        let (Some(left), Some(right)) = (&label.left, &label.right) else {
            continue;
        };
        writer.write_record([
            left.source.as_str(),
            &left.record_id,
            &right.source,
            &right.record_id,
            if label.is_match { "true" } else { "false" },
        ])?;
    }
    Ok(writer.into_inner().map_err(|cause| cause.into_error())?)
}
