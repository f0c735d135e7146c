//! How numbers, amounts of memory and durations are written, in both directions.
//!
//! predixy's forms, read strictly: what follows a number must be a unit.

/// A whole number with an optional sign. One that is too large is the largest there is.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (number, rest) = number_and_rest(text)?;
    rest.is_empty().then_some(number)
}

/// Whole seconds, with or without an `s`.
pub(super) fn seconds(text: &[u8]) -> Option<i64> {
    let (number, unit) = number_and_rest(text)?;
    (unit.is_empty() || unit.eq_ignore_ascii_case(b"s")).then_some(number)
}

/// Bytes, or a number with `B`, `K`, `KB`, `M`, `MB`, `G` or `GB`.
pub(super) fn memory(text: &[u8]) -> Option<u64> {
    let (number, unit) = number_and_rest(text)?;
    let shift = match unit.to_ascii_uppercase().as_slice() {
        b"" => return u64::try_from(number).ok(),
        b"B" => 0,
        b"K" | b"KB" => 10,
        b"M" | b"MB" => 20,
        b"G" | b"GB" => 30,
        _ => return None,
    };
    positive(number)?.checked_mul(1 << shift)
}

/// Seconds, or a number with `s`, with `m` or `ms` for milliseconds, or with `u` or `us` for
/// microseconds. As microseconds.
pub(super) fn duration_us(text: &[u8]) -> Option<u64> {
    let (number, unit) = number_and_rest(text)?;
    let scale = match unit.to_ascii_lowercase().as_slice() {
        b"" => return u64::try_from(number).ok()?.checked_mul(1_000_000),
        b"s" => 1_000_000,
        b"m" | b"ms" => 1_000,
        b"u" | b"us" => 1,
        _ => return None,
    };
    positive(number)?.checked_mul(scale)
}

/// `true` or `false`, in any case.
pub(super) fn flag(text: &[u8]) -> Option<bool> {
    match text.to_ascii_lowercase().as_slice() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// What [`duration_us`] reads back, in the largest unit that fits.
pub(super) fn show_duration(us: u64) -> String {
    match us {
        0 => "0".to_owned(),
        _ if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
        _ if us.is_multiple_of(1_000) => format!("{}ms", us / 1_000),
        _ => format!("{us}us"),
    }
}

/// The number that the text begins with, and what follows it; blanks around both do not count.
fn number_and_rest(text: &[u8]) -> Option<(i64, &[u8])> {
    let text = text.trim_ascii();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let number = digits[..end].iter().fold(0i64, |number, digit| {
        number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    let number = if negative { -number } else { number };
    Some((number, digits[end..].trim_ascii_start()))
}

/// With a unit predixy takes no zero: `0` needs none.
fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d57_a_number_with_trailing_garbage_is_none() {
        assert_eq!(integer(b"12"), Some(12));
        assert_eq!(integer(b" +12 "), Some(12));
        assert_eq!(integer(b"-3"), Some(-3));
        for wrong in [&b"2x"[..], b"300ms", b"120s", b"", b"-", b"0x10", b"1.5", b"1 2", b"--1"] {
            assert_eq!(integer(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_number_too_large_is_the_largest() {
        assert_eq!(integer(b"99999999999999999999"), Some(i64::MAX));
        assert_eq!(integer(b"-99999999999999999999"), Some(-i64::MAX));
    }

    #[test]
    fn memory_has_predixys_units() {
        for (text, want) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("100b", Some(100)),
            ("1k", Some(1 << 10)),
            ("1KB", Some(1 << 10)),
            ("3M", Some(3 << 20)),
            ("3mB", Some(3 << 20)),
            ("2G", Some(2 << 30)),
            ("2 G", Some(2 << 30)),
            ("4gb", Some(4 << 30)),
            ("0M", None),
            ("-1", None),
            ("-1M", None),
            ("1T", None),
            ("1MBx", None),
            ("1.5G", None),
            ("M", None),
            ("9223372036854775807", Some(i64::MAX.cast_unsigned())),
            ("9223372036854775807G", None),
        ] {
            assert_eq!(memory(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn a_duration_has_predixys_units_and_m_is_milliseconds() {
        for (text, want) in [
            ("0", Some(0)),
            ("1", Some(1_000_000)),
            ("2S", Some(2_000_000)),
            ("300ms", Some(300_000)),
            ("300m", Some(300_000)),
            ("7u", Some(7)),
            ("7US", Some(7)),
            ("0s", None),
            ("1h", None),
            ("1sx", None),
            ("-1", None),
            ("s", None),
            ("9223372036854775807", None),
        ] {
            assert_eq!(duration_us(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_can_be_read() {
        for us in [0, 1, 999, 1_000, 1_500, 500_000, 1_000_000, 90_000_000, 1_000_001] {
            assert_eq!(duration_us(show_duration(us).as_bytes()), Some(us));
        }
        assert_eq!(show_duration(500_000), "500ms");
    }

    #[test]
    fn seconds_may_say_so() {
        assert_eq!(seconds(b"120"), Some(120));
        assert_eq!(seconds(b"120s"), Some(120));
        assert_eq!(seconds(b"300ms"), None);
    }
}
