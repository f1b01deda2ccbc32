//! HTTP dates (RFC 9110, section 5.6.7) in all three formats. Case does not count, and the weekday
//! only has to be one: origins get both wrong.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::time::Timestamp;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const SECONDS_A_DAY: u64 = 86_400;

/// The last second of the year 9999, which has the last date that can be written.
const LAST_SECOND: u64 = 253_402_300_799;

/// Reads the date in a header field; `None` when it is absent or not a date. See [`parse`] for
/// `now`.
pub fn read(headers: &HeaderMap, name: HeaderName, now: Timestamp) -> Option<Timestamp> {
    parse(headers.get(name)?.to_str().ok()?, now)
}

/// Reads an HTTP date. A year of two digits is the last one with these digits that is at most fifty
/// years after `now`. RFC 9111, section 4.2: in whatever case [9111-4.2-1], in GMT alone
/// [9111-4.2-3] [9111-4.2-4].
pub fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    let words: Vec<&str> = text.trim_ascii().split(' ').collect();
    match words.as_slice() {
        // A day of one digit has another space before it.
        [weekday, month, "", day, time, year] if names(weekday, |known| known.get(..3)) => {
            at(number(year, 4)?, month, number(day, 1)?, time)
        }
        [weekday, day, month, year, time, zone] => {
            let weekday = weekday
                .strip_suffix(',')
                .filter(|name| names(name, |known| known.get(..3)));
            zone.eq_ignore_ascii_case("GMT").then_some(weekday)??;
            at(number(year, 4)?, month, number(day, 2)?, time)
        }
        [weekday, date, time, zone] => {
            let weekday = weekday.strip_suffix(',').filter(|name| names(name, Some));
            zone.eq_ignore_ascii_case("GMT").then_some(weekday)??;
            let mut parts = date.split('-');
            let (day, month, year) = (
                parts.next()?,
                parts.next()?,
                parts.next().filter(|_| parts.next().is_none())?,
            );
            at(century(number(year, 2)?, now), month, number(day, 2)?, time)
        }
        [weekday, month, day, time, year] if names(weekday, |known| known.get(..3)) => {
            at(number(year, 4)?, month, number(day, 2)?, time)
        }
        _ => None,
    }
}

fn names(text: &str, form: impl Fn(&'static str) -> Option<&'static str>) -> bool {
    DAYS.into_iter()
        .filter_map(form)
        .any(|known| known.eq_ignore_ascii_case(text))
}

/// Reads a number of so many digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn century(year: u64, now: Timestamp) -> u64 {
    let (this, ..) = civil(now.as_secs().min(LAST_SECOND) / SECONDS_A_DAY);
    let year = this / 100 * 100 + year;
    match () {
        () if year > this + 50 => year - 100,
        () if year + 50 <= this => year + 100,
        () => year,
    }
}

fn at(year: u64, month: &str, day: u64, time: &str) -> Option<Timestamp> {
    let month = MONTHS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(month))?;
    let month = u64::try_from(month).ok()? + 1;
    let mut parts = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // The sixtieth second is a leap second.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 || day == 0 {
        return None;
    }
    let days = days(year, month, day)?;
    // A day that the month has not comes out as another one.
    (civil(days) == (year, month, day)).then_some(())?;
    let seconds = days * SECONDS_A_DAY + hour * 3600 + minute * 60 + second;
    Some(Timestamp::from_millis(seconds.checked_mul(1000)?))
}

/// Counts the days since the epoch; `None` before it. Source: Hinnant, "chrono-compatible low-level
/// date algorithms".
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years begin in March, so that the leap day is the last.
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    (year * 365 + year / 4 - year / 100 + year / 400 + day_of_year).checked_sub(719_468)
}

/// Returns year, month and day.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

/// Writes an HTTP date.
pub fn write(at: Timestamp) -> HeaderValue {
    let seconds = at.as_secs().min(LAST_SECOND);
    let days = seconds / SECONDS_A_DAY;
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], position: u64| {
        names
            .get(usize::try_from(position).unwrap_or(0))
            .and_then(|name| name.get(..3))
            .unwrap_or_default()
    };
    // The epoch was a Thursday.
    let (weekday, month) = (name(&DAYS, (days + 4) % 7), name(&MONTHS, month - 1));
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let text =
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT");
    HeaderValue::try_from(text)
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{parse, write};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// [9111-4.2-1]
    #[test]
    fn all_three_formats_are_read() {
        let expected = Some(Timestamp::from_millis(784_111_777_000));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " SUN, 06 nov 1994 08:49:37 gMT ",
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text, NOW), expected, "{text}");
        }
        assert_eq!(
            parse("Sun Nov 13 08:49:37 1994", NOW),
            Some(Timestamp::from_millis(784_716_577_000))
        );
        assert_eq!(
            parse("Tue, 29 Feb 2000 23:59:60 GMT", NOW),
            Some(Timestamp::from_millis(951_868_800_000))
        );
    }

    /// [9111-4.2-4]
    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "Sun, 06 Nov 1994",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1900 08:49:37 GMT",
            "Sun, 31 Apr 2024 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
        ] {
            assert_eq!(parse(text, NOW), None, "{text}");
        }
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_away() {
        let year = |text: &str, now: &str| {
            let now = parse(&format!("Sun, 01 Jan {now} 00:00:00 GMT"), NOW).unwrap();
            let date = parse(&format!("Sunday, 18-Aug-{text} 08:49:37 GMT"), now).unwrap();
            write(date).to_str().unwrap()[12..16].to_owned()
        };
        assert_eq!(
            [year("50", "2026"), year("76", "2026"), year("77", "2026")],
            ["2050", "2076", "1977"]
        );
        assert_eq!(
            [year("01", "2060"), year("10", "2060"), year("11", "2060")],
            ["2101", "2110", "2011"]
        );
    }

    /// [9111-4.2-3]
    #[test]
    fn dates_are_written_as_they_are_read() {
        assert_eq!(
            write(Timestamp::from_millis(784_111_777_999)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            write(Timestamp::from_millis(0)),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
        assert_eq!(
            write(Timestamp::from_millis(u64::MAX)),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
        // A day and a second apart, over four centuries.
        for day in 0..146_097_u64 {
            let date = Timestamp::from_millis(day * 86_401_000);
            assert_eq!(parse(write(date).to_str().unwrap(), NOW), Some(date));
        }
    }
}
