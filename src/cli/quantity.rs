//! Values with units, as Go programs write them on their command lines.

/// Bytes: a number, perhaps with a fraction and one of the binary units K M G T P, in any case, with or without `iB` or `B`;
/// −1 for no limit.
pub fn bytes(word: &str) -> Result<i64, String> {
    const UNITS: &str = "kmgtp";
    if word == "-1" {
        return Ok(-1);
    }
    let wrong = || "bytes are expected: 67108864, 64M, 1.5G or -1".to_owned();
    let lower = word.to_ascii_lowercase();
    let bare = lower.strip_suffix('b').unwrap_or(&lower);
    let bare = bare.strip_suffix('i').unwrap_or(bare);
    let unit = bare.chars().last().and_then(|last| UNITS.find(last));
    let number = bare.trim_end_matches(|c| UNITS.contains(c));
    if bare.len() - number.len() > 1 || !is_decimal(number) || (unit.is_none() && lower.ends_with('i')) {
        return Err(wrong());
    }
    let factor = 1_i64 << (10 * unit.map_or(0, |index| index + 1));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<i64>().ok().and_then(|whole| whole.checked_mul(factor)).ok_or_else(wrong)?;
    whole.checked_add(part(fraction, factor)).ok_or_else(wrong)
}

/// A span of time as Go's `time.ParseDuration` reads it: `1m30s`, `1.5h`, `500ms`.
pub fn duration(word: &str) -> Result<std::time::Duration, String> {
    const UNITS: [(&str, i64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let wrong = || "a span of time above zero is expected: 500ms, 5s or 1m30s".to_owned();
    let mut rest = word;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let length = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(length);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if !is_decimal(number) {
            return Err(wrong());
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole =
            whole.parse::<i64>().ok().and_then(|whole| whole.checked_mul(*factor)).ok_or_else(wrong)?;
        total = total
            .checked_add(whole)
            .and_then(|sum| sum.checked_add(part(fraction, *factor)))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    match u64::try_from(total) {
        Ok(nanoseconds @ 1..) => Ok(std::time::Duration::from_nanos(nanoseconds)),
        _ => Err(wrong()),
    }
}

/// `12` or `12.5`.
fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The digits behind a point, of something that is worth `factor`; what is smaller than one is cut off.
fn part(digits: &str, factor: i64) -> i64 {
    let digits = &digits[..digits.len().min(18)];
    let scale = digits.bytes().fold(1, |scale: i128, _| scale * 10);
    let number = digits.parse().unwrap_or(0_i128);
    // Less than `factor`.
    i64::try_from(i128::from(factor) * number / scale).unwrap_or(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_runc_reads_them() {
        for (word, value) in [
            ("0", 0),
            ("-1", -1),
            ("67108864", 67_108_864),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("64mb", 64 << 20),
            ("32b", 32),
            ("1.5G", 3 << 29),
            ("0.5k", 512),
            ("2T", 2 << 40),
        ] {
            assert_eq!(bytes(word).unwrap(), value, "{word}");
        }
        for word in
            ["", "-2", "M", "1MM", "1.M", ".5M", "1.2.3M", "1i", "1x", "9223372036854775808", "9P9", "8192P"]
        {
            bytes(word).unwrap_err();
        }
    }

    #[test]
    fn spans_of_time_are_read_as_go_reads_them() {
        for (word, milliseconds) in
            [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5h", 5_400_000), ("1000us", 1)]
        {
            assert_eq!(duration(word).unwrap().as_millis(), milliseconds, "{word}");
        }
        for word in ["", "0", "0s", "5", "s", "-5s", "1.s", "5 s", "5x", "9999999h", "1h.m"] {
            duration(word).unwrap_err();
        }
    }
}
