//! Kubernetes' quantities: `250m`, `0.5`, `1.5Gi`, `1e3`.
//!
//! Owns: their grammar, exactly and without overflow. Must never happen here: a float.

use serde_json::Value;

/// What a quantity is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Thousandths.
    Milli,
    /// Wholes.
    One,
}

/// What a text says: how many of its unit, rounded up; and is that exact?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) value: u64,
    pub(super) exact: bool,
}

/// The largest quantity: Kubernetes' are signed.
const MAX: u128 = i64::MAX as u128;

/// The most digits and zeros that are looked at; far more than any amount has.
const MAX_DIGITS: usize = 40;

/// Reads a quantity, which is a text or a number.
///
/// # Errors
/// What it must be, without quoting it.
pub(super) fn quantity(value: &Value, unit: Unit) -> Result<Amount, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        // A number's own text: 0.5 stays 0.5.
        Value::Number(number) => number.to_string(),
        _ => return Err("must be a quantity such as 250m, 0.5 or 64Mi".to_owned()),
    };
    parse(&text, unit)
}

fn parse(text: &str, unit: Unit) -> Result<Amount, String> {
    let wrong = || "is not a quantity; one is 250m, 0.5, 64Mi, 1.5Gi or 1e3".to_owned();
    if text.starts_with('-') {
        return Err("must not be negative".to_owned());
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(wrong());
    }
    let (twos, tens) = scale(suffix).ok_or_else(wrong)?;
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(Amount {
            value: 0,
            exact: true,
        });
    }
    let too_much = || "is more than there can be".to_owned();
    let below = i64::try_from(fraction.len()).map_err(|_| wrong())?;
    let tens = tens - below + if unit == Unit::Milli { 3 } else { 0 };
    amount(digits, twos, tens).ok_or_else(too_much)
}

/// `digits` x 2^`twos` x 10^`tens`, rounded up; none if it is too much.
fn amount(digits: &str, twos: u32, tens: i64) -> Option<Amount> {
    let length = i64::try_from(digits.len()).ok()?;
    if length + tens < -25 {
        // Less than the smallest amount, whatever it is multiplied with (at most 2^60).
        return Some(Amount {
            value: 1,
            exact: false,
        });
    }
    if length + tens > 20 {
        return None;
    }
    // What is cut here is below the smallest amount that shows; it only rounds up.
    let kept = digits.len().min(MAX_DIGITS - 20);
    let cut = digits[kept..].bytes().any(|b| b != b'0');
    let tens = tens + i64::try_from(digits.len() - kept).ok()?;
    let mut value: u128 = digits[..kept].parse().ok()?;
    value = value.checked_mul(1 << twos)?;
    let power = 10_u128.checked_pow(u32::try_from(tens.unsigned_abs()).ok()?);
    let (value, rest) = match (tens < 0, power) {
        (false, power) => (value.checked_mul(power?)?, 0),
        (true, Some(power)) => (value / power, value % power),
        (true, None) => (0, 1),
    };
    let exact = rest == 0 && !cut;
    let value = if exact { value } else { value.checked_add(1)? };
    (value <= MAX).then_some(())?;
    Some(Amount {
        value: u64::try_from(value).ok()?,
        exact,
    })
}

/// What a suffix multiplies with: a power of two, a power of ten.
fn scale(suffix: &str) -> Option<(u32, i64)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let plain = digits.strip_prefix(['+', '-']).unwrap_or(digits);
            let shape = (1..=4).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_digit());
            (0, shape.then(|| digits.parse().ok()).flatten()?)
        }
    })
}

#[cfg(test)]
mod tests;
