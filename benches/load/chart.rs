//! Growth curves: latencies of committed runs over the number of records, as SVG.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::Row;

/// Rows that are drawn: name, rate, title.
const CURVES: [(&str, f64, &str); 6] = [
    (
        "SubmitSignal, 1 caller at a time",
        0.0,
        "SubmitSignal, 1 caller at a time",
    ),
    (
        "SubmitSignals, 8 streams",
        1_000.0,
        "SubmitSignals, 1,000/s",
    ),
    (
        "SubmitSignals, 8 streams",
        5_000.0,
        "SubmitSignals, 5,000/s",
    ),
    ("Resolve", 1_000.0, "Resolve, 1,000/s"),
    ("Resolve, 3,000/s", 3_000.0, "Resolve, 3,000/s"),
    ("LookupIdentity", 5_000.0, "LookupIdentity, 5,000/s"),
];
/// Width and height of a panel, and what its axes take.
const PANEL: (f64, f64) = (340.0, 220.0);
const MARGIN: (f64, f64) = (58.0, 40.0);
/// Between the ends of the axis and the first and last point, for their labels.
const INSET: f64 = 24.0;
const COLOURS: [(&str, &str); 2] = [("p50", "#2b6cb0"), ("p99", "#c05621")];

/// Draws p50 and p99 of the runs in some files into `out`, both axes logarithmic.
pub fn draw(files: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let rows: Vec<Row> = serde_json::from_str(&text)
            .with_context(|| format!("{} is no run of this bench", path.display()))?;
        runs.push(rows);
    }
    runs.sort_by_key(|rows| rows.first().map_or(0, |row| row.records));
    let lines = CURVES.len().div_ceil(2) as f64;
    let size = (PANEL.0 * 2.0, (PANEL.1 + 10.0) * lines);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"system-ui, sans-serif\" font-size=\"11\">\n\
         <title>Latency in milliseconds over the number of source records</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        size.0, size.1
    );
    for (number, (name, rate, title)) in CURVES.iter().enumerate() {
        let rows: Vec<&Row> = runs
            .iter()
            .flatten()
            .filter(|row| row.name == *name && row.rate_per_second == *rate)
            .collect();
        let at = (
            (number % 2) as f64 * PANEL.0,
            (number / 2) as f64 * (PANEL.1 + 10.0),
        );
        panel(&mut svg, at, title, &rows)?;
    }
    svg.push_str("</svg>\n");
    std::fs::write(out, svg).with_context(|| format!("cannot write {}", out.display()))
}

fn panel(svg: &mut String, at: (f64, f64), title: &str, rows: &[&Row]) -> std::fmt::Result {
    let values = rows.iter().flat_map(|row| [row.p50_ms, row.p99_ms]);
    let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    // Whole powers of ten, so that the panels read alike.
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let records = |row: &Row| (row.records as f64).log10();
    let (first, last) = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => (records(first), records(last)),
        _ => return Ok(()),
    };
    let inner = (PANEL.0 - MARGIN.0 - 24.0, PANEL.1 - MARGIN.1 - 30.0);
    let x = |records: f64| {
        let share = (records - first) / (last - first).max(f64::EPSILON);
        at.0 + MARGIN.0 + INSET + (inner.0 - 2.0 * INSET) * share
    };
    let y = |ms: f64| at.1 + 30.0 + inner.1 * (1.0 - (ms.log10() - low) / (high - low).max(1.0));
    writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" font-weight=\"600\">{title}</text>",
        at.0 + MARGIN.0,
        at.1 + 18.0
    )?;
    let mut power = low;
    while power <= high {
        let line = y(10_f64.powf(power));
        writeln!(
            svg,
            "<path d=\"M{:.1} {line:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{} ms</text>",
            at.0 + MARGIN.0,
            at.0 + MARGIN.0 + inner.0,
            at.0 + MARGIN.0 - 6.0,
            line + 4.0,
            10_f64.powf(power)
        )?;
        power += 1.0;
    }
    for row in rows {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            x(records(row)),
            at.1 + 30.0 + inner.1 + 16.0,
            short(row.records)
        )?;
    }
    for (number, (quantile, colour)) in COLOURS.iter().enumerate() {
        let of = |row: &Row| if number == 0 { row.p50_ms } else { row.p99_ms };
        let points: Vec<String> = rows
            .iter()
            .map(|row| format!("{:.1},{:.1}", x(records(row)), y(of(row))))
            .collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            points.join(" ")
        )?;
        for row in rows {
            let (right, top) = (x(records(row)), y(of(row)));
            writeln!(
                svg,
                "<circle cx=\"{right:.1}\" cy=\"{top:.1}\" r=\"3\" fill=\"{colour}\"><title>{quantile} {} ms at {} records</title></circle>\
                 <text x=\"{right:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{colour}\">{:.2}</text>",
                of(row),
                row.records,
                // Below the lower curve, above the upper one.
                if number == 0 { top + 15.0 } else { top - 7.0 },
                of(row)
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{colour}\">{quantile}</text>",
            at.0 + PANEL.0 - 24.0 - 30.0 * (1 - number) as f64,
            at.1 + 18.0
        )?;
    }
    Ok(())
}

fn short(records: u64) -> String {
    match records {
        large if large >= 1_000_000 => format!("{} million", large / 1_000_000),
        records => format!("{},000", records / 1_000),
    }
}
