//! How figures are written. A probability is cut, never rounded up: 0.94999 must not read as a match at 0.95.

/// A count with separators: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count where there is little room: millions and more by a letter, none of its digits lost.
pub fn short_count(value: f64) -> String {
    match value {
        1e9.. => format!("{} G", value / 1e9),
        1e6.. => format!("{} M", value / 1e6),
        _ => count(value as u64),
    }
}

/// A count of things in memory.
pub fn size(value: usize) -> String {
    count(value as u64)
}

/// A count with its noun: `1 pair`, `2 pairs`.
pub fn counted(value: u64, one: &str, several: &str) -> String {
    format!(
        "{} {}",
        count(value),
        if value == 1 { one } else { several }
    )
}

/// A match weight with its sign and two decimals: `+7.31`, `−3.20`.
pub fn weight(value: f64) -> String {
    signed(value, 2)
}

/// A tick of a weight axis: `+5`, `0`, `−2.5`.
pub fn weight_tick(value: f64) -> String {
    signed(value, usize::from(value.fract().abs() > 1e-9))
}

fn signed(value: f64, decimals: usize) -> String {
    if value.is_nan() {
        return "unknown".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+∞" } else { "−∞" }.to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    match () {
        () if is_zero => text,
        () if value < 0.0 => format!("−{text}"),
        () => format!("+{text}"),
    }
}

/// A match probability, cut to four decimals.
pub fn probability(value: f64) -> String {
    if value.is_nan() {
        "unknown".to_owned()
    } else if value >= 1.0 {
        "1".to_owned()
    } else if value > 0.9999 {
        "> 0.9999".to_owned()
    } else if value <= 0.0 {
        "0".to_owned()
    } else if value < 0.0001 {
        "< 0.0001".to_owned()
    } else {
        // The small addend undoes what binary fractions lose: 0.95 × 10⁴ may be 9499.999….
        format!("{:.4}", (value * 10_000.0 + 1e-6).floor() / 10_000.0)
    }
}

/// A threshold exactly as it was set: `0.95`.
pub fn threshold(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        "unknown".to_owned()
    }
}

/// An m or u probability to three significant digits: `0.912`, `0.000042`, `1.2e-7`.
pub fn parameter(value: f64) -> String {
    if !value.is_finite() || value <= 0.0 {
        return if value == 0.0 { "0" } else { "unknown" }.to_owned();
    }
    let exponent = value.log10().floor() as i32;
    match exponent {
        ..=-6 => format!("{value:.1e}"),
        -5..=-3 => format!("{value:.*}", (1 - exponent) as usize),
        _ => format!("{value:.3}"),
    }
}

/// A duration: `0.4 ms`, `1.24 s`, `3 min 5 s`.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return "unknown".to_owned();
    }
    if value == 0.0 {
        "0 s".to_owned()
    } else if value < 0.01 {
        format!("{:.1} ms", value * 1000.0)
    } else if value < 1.0 {
        format!("{:.0} ms", value * 1000.0)
    } else if value < 100.0 {
        format!("{value:.2} s")
    } else if value < 3600.0 {
        let whole = value.round() as u64;
        format!("{} min {} s", whole / 60, whole % 60)
    } else {
        let minutes = (value / 60.0).round() as u64;
        format!("{} h {} min", count(minutes / 60), minutes % 60)
    }
}

/// A size in memory: `640 KiB`, `1.4 GiB`.
pub fn bytes(value: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && scaled < 100.0);
    format!("{scaled:.decimals$} {}", units[unit])
}

/// A share of a whole as a percentage; 0 of nothing is 0 %.
pub fn percent(part: f64, whole: f64) -> String {
    let share = share(part, whole) * 100.0;
    match share {
        _ if share == 0.0 => "0%".to_owned(),
        _ if share < 0.01 => "< 0.01%".to_owned(),
        _ if share < 1.0 => format!("{share:.2}%"),
        _ => format!("{share:.1}%"),
    }
}

/// A part of a whole, 0 to 1; 0 of nothing is 0.
pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 && part.is_finite() {
        (part / whole).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [950.0, 20_000.0, 6_495_000.0].map(short_count),
            ["950", "20,000", "6.495 M"]
        );
        assert_eq!(
            [7.314, -3.2, -0.001, f64::NEG_INFINITY].map(weight),
            ["+7.31", "−3.20", "0.00", "−∞"]
        );
        assert_eq!([0.0, 5.0, -2.5].map(weight_tick), ["0", "+5", "−2.5"]);
        assert_eq!(
            [0.912, 0.0000417, 1.2e-7, 0.0].map(parameter),
            ["0.912", "0.000042", "1.2e-7", "0"]
        );
        assert_eq!(
            [0.0004, 0.96, 1.237, 185.2, 7260.0].map(seconds),
            ["0.4 ms", "960 ms", "1.24 s", "3 min 5 s", "2 h 1 min"]
        );
        assert_eq!(
            [512, 655_360, 1_503_238_554].map(bytes),
            ["512 bytes", "640 KiB", "1.4 GiB"]
        );
        assert_eq!(
            [(0.0, 0.0), (1.0, 8.0), (1.0, 300.0), (1.0, 1e6)]
                .map(|(part, whole)| percent(part, whole)),
            ["0%", "12.5%", "0.33%", "< 0.01%"]
        );
    }

    #[test]
    fn a_probability_is_never_rounded_over_a_threshold() {
        assert_eq!(
            [0.949_999, 0.95, 0.5, 0.99995, 1.0, 0.00001].map(probability),
            ["0.9499", "0.9500", "0.5000", "> 0.9999", "1", "< 0.0001"]
        );
    }
}
