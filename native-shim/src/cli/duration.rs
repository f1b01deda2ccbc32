//! Durations for people.

/// Units in seconds, from the largest.
const UNITS: [(u64, &str); 5] = [
    (31_536_000, "y"),
    (86_400, "d"),
    (3_600, "h"),
    (60, "min"),
    (1, "s"),
];

/// Shorter ones are told in seconds.
const IN_SECONDS: u64 = 120_000;

/// Writes milliseconds in the two largest units that they have: `250 ms`, `1.5 s`, `60 s`, `5 min`,
/// `1 d 2 h`, `1 y`.
pub(super) fn readable(millis: u64) -> String {
    if millis < 1000 {
        return format!("{millis} ms");
    }
    if millis < IN_SECONDS {
        let tenths = (millis + 50) / 100;
        let (whole, tenth) = (tenths / 10, tenths % 10);
        return if tenth == 0 {
            format!("{whole} s")
        } else {
            format!("{whole}.{tenth} s")
        };
    }
    let mut rest = millis / 1000;
    let mut text = String::new();
    for (unit, name) in UNITS {
        let (count, is_second) = (rest / unit, !text.is_empty());
        rest %= unit;
        if count > 0 {
            let space = if is_second { " " } else { "" };
            text = format!("{text}{space}{count} {name}");
        }
        if is_second {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_enough() {
        for (millis, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_949, "1.9 s"),
            (1_950, "2 s"),
            (60_000, "60 s"),
            (119_999, "120 s"),
            (120_000, "2 min"),
            (125_900, "2 min 5 s"),
            (3_600_000, "1 h"),
            (3_605_000, "1 h"),
            (93_600_000, "1 d 2 h"),
            (86_400_000, "1 d"),
            (31_536_000_000, "1 y"),
            (34_128_000_000, "1 y 30 d"),
        ] {
            assert_eq!(readable(millis), expected);
        }
    }
}
