//! The small values of a policy file: durations, sizes, quotas, percentages.

use crate::limit::ByteRate;
use crate::limit::calendar::Unit;
use crate::time::Millis;

/// Most that a quota may allow.
const AMOUNT_MAX: u64 = 1_000_000_000;

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`, `y` (365 days). Returns
/// milliseconds.
///
/// # Errors
/// Says what is wrong with the text and how to write it.
pub fn duration(text: &str) -> Result<Millis, String> {
    let (number, unit) = split_number(text);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "y" => 31_536_000_000,
        _ => {
            return Err(format!(
                "`{text}` is not a duration; write a whole number with a unit: 250ms, 30s, 5m, 2h, 7d, 1y"
            ));
        }
    };
    number.and_then(|n| n.checked_mul(factor)).ok_or_else(|| {
        format!("`{text}` is not a duration; write a whole number with a unit: 250ms, 30s, 5m, 2h, 7d, 1y")
    })
}

/// Reads a size: a whole number and one of `B`, `KB`, `MB`, `GB` (thousands) or `KiB`, `MiB`, `GiB`
/// (1024). Returns bytes.
///
/// # Errors
/// Says what is wrong with the text and how to write it.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let factor: u64 = match unit {
        "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            return Err(format!(
                "`{text}` is not a size; write a whole number with a unit: 512B, 64KiB, 8MiB, 1GB"
            ));
        }
    };
    number.and_then(|n| n.checked_mul(factor)).ok_or_else(|| {
        format!("`{text}` is not a size; write a whole number with a unit: 512B, 64KiB, 8MiB, 1GB")
    })
}

/// Reads a quota, such as "1000/min": an amount, and for how long it is meant.
///
/// # Errors
/// Says what is wrong with the text and how to write it.
pub fn quota(text: &str) -> Result<(u64, Unit), String> {
    let wrong = || {
        format!(
            "`{text}` is not a quota; write an amount and a period: 10/sec, 1000/min, 5000/hour, 100000/day, 500000/week, 2000000/month"
        )
    };
    let (amount, period) = text.split_once('/').ok_or_else(wrong)?;
    let amount: u64 = amount.trim().parse().map_err(|_| wrong())?;
    let unit = match period.trim() {
        "s" | "sec" | "second" => Unit::Second,
        "m" | "min" | "minute" => Unit::Minute,
        "h" | "hour" => Unit::Hour,
        "d" | "day" => Unit::Day,
        "w" | "week" => Unit::Week,
        "month" => Unit::Month,
        _ => return Err(wrong()),
    };
    match amount {
        0 => Err(format!(
            "`{text}` allows nothing; allow at least 1, such as 1/day. What is to be refused altogether should match no route: that gets 404"
        )),
        1..=AMOUNT_MAX => Ok((amount, unit)),
        _ => Err(format!(
            "`{text}` is more than {AMOUNT_MAX} a period; write at most that, such as {AMOUNT_MAX}/sec"
        )),
    }
}

/// Reads bytes a second or a minute, such as "1MiB/sec". Returns bytes, and the period in
/// milliseconds.
///
/// # Errors
/// Says what is wrong with the text and how to write it.
pub fn byte_rate(text: &str) -> Result<(u64, Millis), String> {
    let wrong = || {
        format!(
            "`{text}` is not a bandwidth; write a size and sec or min: 64KiB/sec, 1MiB/sec, 600MB/min"
        )
    };
    let (size, period) = text.split_once('/').ok_or_else(wrong)?;
    let size = bytes(size).map_err(|_| wrong())?;
    let period = match period.trim() {
        "s" | "sec" | "second" => 1000,
        "m" | "min" | "minute" => 60_000,
        _ => return Err(wrong()),
    };
    match size {
        0 => Err(format!(
            "`{text}` lets nothing through, and bodies would never end; write at least 1KiB/sec"
        )),
        1..=ByteRate::BYTES_MAX => Ok((size, period)),
        _ => Err(format!(
            "`{text}` is more than 256GiB a period; write less, or leave this limit out"
        )),
    }
}

fn split_number(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    (number.parse().ok(), unit.trim())
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Unit, byte_rate, bytes, duration, quota};

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(250));
        assert_eq!(duration("5m"), Ok(300_000));
        assert_eq!(duration("1y"), Ok(31_536_000_000));
        for wrong in [
            "",
            "5",
            "m",
            "-1s",
            "1.5s",
            "5 weeks",
            "99999999999999999999s",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_tell_thousands_from_1024() {
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("1 MB"), Ok(1_000_000));
        for wrong in ["64", "64k", "KiB", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bandwidths_are_sizes_a_second_or_a_minute() {
        assert_eq!(byte_rate("1MiB/sec"), Ok((1 << 20, 1000)));
        assert_eq!(byte_rate("600 MB / min"), Ok((600_000_000, 60_000)));
        for wrong in [
            "1MiB",
            "1000/sec",
            "1MiB/hour",
            "0B/sec",
            "257GiB/sec",
            "/sec",
        ] {
            assert!(byte_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quotas_allow_at_least_one() {
        assert_eq!(quota("1000/min"), Ok((1000, Unit::Minute)));
        assert_eq!(quota("1 / month"), Ok((1, Unit::Month)));
        for wrong in ["0/s", "1000", "x/min", "5/year", "1000000001/s"] {
            assert!(quota(wrong).is_err(), "{wrong}");
        }
    }
}
