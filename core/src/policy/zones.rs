//! Time zones, from the IANA time zone database.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::limit::calendar::{Offset, Zone};

/// A policy knows how a zone's clocks are changed from here, 2024-01-01T00:00:00Z, up to
/// 2100-01-01T00:00:00Z: in seconds since the Unix epoch. Before and afterwards they stay as they are
/// there.
const KNOWN: (i64, i64) = (1_704_067_200, 4_102_444_800);

const DAY: i64 = 86_400;

/// Reads a zone by its name.
///
/// # Errors
/// Says that there is none of this name, and how to write one.
pub(super) fn zone(name: &str) -> Result<Arc<Zone>, String> {
    let unknown = || {
        format!(
            "there is no time zone `{name}`; write a name of the IANA time zone database, such as \"Europe/Berlin\", or \"UTC\""
        )
    };
    let zone = TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| unknown())?;
    let offsets = offsets(&zone).ok_or_else(unknown)?;
    let name = zone.iana_name().unwrap_or(name).into();
    Ok(Arc::new(Zone { name, offsets }))
}

fn offsets(zone: &TimeZone) -> Option<Vec<Offset>> {
    let (begin, end) = KNOWN;
    let begin = Timestamp::from_second(begin).ok()?;
    let first = zone.to_offset(begin).seconds();
    let mut offsets = vec![offset(0, first)?];
    for change in zone.following(begin) {
        let from = change.timestamp().as_second();
        if from >= end {
            break;
        }
        let next = offset(from, change.offset().seconds())?;
        // A change of the name alone is none of the clocks.
        if offsets
            .last()
            .is_some_and(|last| last.ahead_and_a_day != next.ahead_and_a_day)
        {
            offsets.push(next);
        }
    }
    Some(offsets)
}

fn offset(from: i64, ahead: i32) -> Option<Offset> {
    Some(Offset {
        from: u64::try_from(from).ok()?,
        ahead_and_a_day: u64::try_from(DAY + i64::from(ahead)).ok()?,
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use jiff::civil::Weekday;
    use jiff::{ToSpan, Unit as JiffUnit, Zoned, ZonedRound};

    use super::*;
    use crate::hash;
    use crate::limit::calendar::{Calendar, Unit};

    /// Among them zones whose clocks are changed at midnight, by half an hour, or not at all.
    const ZONES: [&str; 13] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",
        "America/Sao_Paulo",
        "America/St_Johns",
        "Africa/Cairo",
        "Asia/Beirut",
        "Asia/Kathmandu",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Kiritimati",
    ];

    /// Begin and end of the window that holds a moment, as the library counts.
    fn expected(unit: Unit, moment: &Zoned) -> (Zoned, Zoned) {
        let day = moment.start_of_day().unwrap();
        match unit {
            Unit::Week => {
                let since_monday = i64::from(day.weekday().since(Weekday::Monday));
                let monday = day.checked_sub(since_monday.days()).unwrap();
                let begin = monday.start_of_day().unwrap();
                let next = begin.checked_add(7.days()).unwrap();
                (begin, next.start_of_day().unwrap())
            }
            Unit::Month => {
                let begin = moment.first_of_month().unwrap().start_of_day().unwrap();
                let next = begin.checked_add(1.month()).unwrap();
                (begin, next.start_of_day().unwrap())
            }
            Unit::Day => {
                let next = day.tomorrow().unwrap().start_of_day().unwrap();
                (day, next)
            }
            Unit::Second | Unit::Minute | Unit::Hour => {
                let round = ZonedRound::new()
                    .smallest(if unit == Unit::Minute {
                        JiffUnit::Minute
                    } else {
                        JiffUnit::Second
                    })
                    .mode(jiff::RoundMode::Floor);
                let begin = moment.round(round).unwrap();
                let length = i64::try_from(unit.usual_length()).unwrap();
                let end = begin.checked_add(length.milliseconds()).unwrap();
                (begin, end)
            }
        }
    }

    #[test]
    fn windows_are_those_of_the_library() {
        for (number, name) in ZONES.iter().enumerate() {
            let library = TimeZoneDatabase::bundled().get(name).unwrap();
            let ours = zone(name).unwrap();
            assert_eq!(&*ours.name, *name);
            // Changes of clocks, the hours around them, and any moments.
            let mut moments: Vec<u64> = Vec::new();
            for offset in ours.offsets.iter().skip(1).step_by(7) {
                moments.extend((0..60).map(|n| offset.from + n * 3599 - 30 * 3600));
            }
            let (begin, end) = (1_704_067_200, 4_000_000_000);
            for step in 0..300 {
                moments.push(begin + hash::draw(number as u64, step) % (end - begin));
            }
            for moment in moments {
                let seconds = i64::try_from(moment).unwrap();
                let there = Timestamp::from_second(seconds).unwrap();
                let there = there.to_zoned(library.clone());
                for unit in [
                    Unit::Second,
                    Unit::Minute,
                    Unit::Day,
                    Unit::Week,
                    Unit::Month,
                ] {
                    let calendar = Calendar {
                        unit,
                        zone: Arc::clone(&ours),
                    };
                    let (begin, end) = expected(unit, &there);
                    let millis =
                        |zoned: &Zoned| u64::try_from(zoned.timestamp().as_millisecond()).unwrap();
                    assert_eq!(
                        calendar.window(moment * 1000),
                        (millis(&begin), millis(&end)),
                        "{unit:?} of {there}"
                    );
                }
            }
        }
    }

    #[test]
    fn hours_are_hours_of_the_clock_and_follow_each_other() {
        for name in ZONES {
            let zone = zone(name).unwrap();
            let changes = zone.offsets.iter().skip(1).take(8);
            let moments: Vec<u64> = changes.map(|offset| offset.from).collect();
            for change in moments {
                let calendar = Calendar {
                    unit: Unit::Hour,
                    zone: Arc::clone(&zone),
                };
                let mut moment = (change - 5 * 3600) * 1000;
                for _ in 0..10 {
                    let (begin, end) = calendar.window(moment);
                    assert!(begin <= moment && moment < end && end - begin <= 3_600_000);
                    let (next, _) = calendar.window(end);
                    assert_eq!(next, end, "{name}");
                    moment = end;
                }
            }
        }
    }

    #[test]
    fn unknown_zones_are_told() {
        for name in ["", "Europe/Berln", "CET+1", "../etc"] {
            let message = zone(name).unwrap_err();
            assert!(message.contains("Europe/Berlin"), "{message}");
        }
    }
}
