//! Windows of the calendar: days, weeks and months as clocks in a time zone show them. A day has 23
//! or 25 hours where clocks are changed.

use std::sync::Arc;

use crate::packed::{packed_enum, packed_struct};
use crate::time::Millis;

const DAY: u64 = 86_400;

/// A window of the calendar in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// How long a window is.
    pub unit: Unit,
    /// Whose clocks count.
    pub zone: Arc<Zone>,
}

packed_struct!(Calendar { unit, zone });

/// How long a window of the calendar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first to the last day of a month.
    Month,
}

packed_enum!(Unit {
    0 = Second,
    1 = Minute,
    2 = Hour,
    3 = Day,
    4 = Week,
    5 = Month,
});

/// A time zone, as far as a policy needs it: how far its clocks are ahead of UTC, and from when on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name in the IANA time zone database.
    pub name: Arc<str>,
    /// In their order; the first one begins with the Unix epoch, the last one has no end.
    pub offsets: Vec<Offset>,
}

packed_struct!(Zone { name, offsets });

/// How far clocks are ahead of UTC from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The moment, in seconds since the Unix epoch.
    pub from: u64,
    /// Seconds by which clocks are ahead, and a day more: so it is never negative.
    pub ahead_and_a_day: u64,
}

packed_struct!(Offset {
    from,
    ahead_and_a_day
});

impl Unit {
    /// Returns how long it usually is; a month has 30 days here.
    pub fn usual_length(self) -> Millis {
        let seconds = match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => DAY,
            Self::Week => 7 * DAY,
            Self::Month => 30 * DAY,
        };
        seconds * 1000
    }
}

impl Calendar {
    /// Returns when the window that holds a moment begins, and when it ends: milliseconds since the
    /// Unix epoch, as the moment.
    pub(crate) fn window(&self, moment: u64) -> (u64, u64) {
        let moment = moment / 1000;
        let (begin, end) = match self.unit {
            Unit::Second | Unit::Minute | Unit::Hour => {
                self.zone.short(moment, self.unit.usual_length() / 1000)
            }
            Unit::Day | Unit::Week | Unit::Month => self.days(moment),
        };
        (begin.saturating_mul(1000), end.saturating_mul(1000))
    }

    /// Returns a window of whole days. Where clocks are set back over midnight, a day goes on when
    /// they show the day before once more: a window ends when the next one first begins.
    fn days(&self, moment: u64) -> (u64, u64) {
        let day = self.zone.local(moment) / DAY;
        let first = self.first_day(day);
        let next = self.day_after(first);
        let end = self.zone.first_moment(next * DAY);
        if end > moment {
            return (self.zone.first_moment(first * DAY), end);
        }
        let after = self.day_after(next);
        (end, self.zone.first_moment(after * DAY))
    }

    /// Returns the first day of the window that holds a day. Days are counted as [`Zone::local`]
    /// counts.
    fn first_day(&self, day: u64) -> u64 {
        match self.unit {
            // Day 0 was a Wednesday.
            Unit::Week => day.saturating_sub((day + 2) % 7),
            Unit::Month => day.saturating_sub(day_of_month(day) - 1),
            Unit::Second | Unit::Minute | Unit::Hour | Unit::Day => day,
        }
    }

    /// Returns the first day of the next window.
    fn day_after(&self, first: u64) -> u64 {
        match self.unit {
            Unit::Week => first + 7,
            // Whatever its length, the next month has begun 31 days later.
            Unit::Month => self.first_day(first + 31),
            Unit::Second | Unit::Minute | Unit::Hour | Unit::Day => first + 1,
        }
    }
}

impl Zone {
    /// Returns the zone of UTC.
    pub fn utc() -> Self {
        Self {
            name: "UTC".into(),
            offsets: vec![Offset {
                from: 0,
                ahead_and_a_day: DAY,
            }],
        }
    }

    /// Returns the offset at a moment, and its position.
    fn offset(&self, moment: u64) -> (usize, Offset) {
        let after = self.offsets.partition_point(|offset| offset.from <= moment);
        let position = after.saturating_sub(1);
        let utc = Offset {
            from: 0,
            ahead_and_a_day: DAY,
        };
        let offset = self.offsets.get(position).copied().unwrap_or(utc);
        (position, offset)
    }

    /// Returns what clocks show at a moment: seconds since the last day of 1969 began there.
    fn local(&self, moment: u64) -> u64 {
        let (_, offset) = self.offset(moment);
        moment.saturating_add(offset.ahead_and_a_day)
    }

    /// Returns the first moment at which clocks show so much, or more.
    fn first_moment(&self, local: u64) -> u64 {
        // Clocks are never a whole day behind.
        let (mut position, mut offset) = self.offset(local.saturating_sub(2 * DAY));
        loop {
            let moment = offset
                .from
                .max(local.saturating_sub(offset.ahead_and_a_day));
            match self.offsets.get(position + 1) {
                Some(next) if next.from <= moment => (position, offset) = (position + 1, *next),
                Some(_) | None => return moment,
            }
        }
    }

    /// Returns a window of an hour or less. Where clocks are changed by a part of it, it is cut.
    fn short(&self, moment: u64, length: u64) -> (u64, u64) {
        let (position, offset) = self.offset(moment);
        let passed = self.local(moment) % length;
        let begin = moment.saturating_sub(passed);
        let end = begin.saturating_add(length);
        let until = self.offsets.get(position + 1).map(|next| next.from);
        (begin.max(offset.from), end.min(until.unwrap_or(u64::MAX)))
    }
}

/// Returns the day of the month of a day, from 1, as the Gregorian calendar counts (H. Hinnant,
/// "chrono-compatible low-level date algorithms"). Day 0 is 1969-12-31.
fn day_of_month(day: u64) -> u64 {
    let day_of_era = (day + 719_467) % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    // Years begin in March here, so that the day of a leap year is the last one.
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    day_of_year - (153 * month_from_march + 2) / 5 + 1
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// Clocks of Berlin around the changes of 2027.
    fn berlin() -> Arc<Zone> {
        let offset = |from, hours: u64| Offset {
            from,
            ahead_and_a_day: DAY + hours * 3600,
        };
        Arc::new(Zone {
            name: "Europe/Berlin".into(),
            offsets: vec![
                offset(0, 1),
                offset(1_806_195_600, 2),
                offset(1_824_944_400, 1),
            ],
        })
    }

    fn hours(unit: Unit, zone: Arc<Zone>, moment: u64) -> u64 {
        let (begin, end) = Calendar { unit, zone }.window(moment * 1000);
        assert!((begin..end).contains(&(moment * 1000)), "{moment}");
        (end - begin) / 3_600_000
    }

    #[test]
    fn days_have_23_24_or_25_hours() {
        for (moment, length) in [
            (1_806_195_599, 23),
            (1_806_195_600, 23),
            (1_806_300_000, 24),
            (1_824_944_399, 25),
            (1_824_944_400, 25),
        ] {
            assert_eq!(hours(Unit::Day, berlin(), moment), length, "{moment}");
        }
        assert_eq!(hours(Unit::Week, berlin(), 1_806_195_600), 167);
        // March and October of 2027.
        assert_eq!(hours(Unit::Month, berlin(), 1_806_195_600), 31 * 24 - 1);
        assert_eq!(hours(Unit::Month, berlin(), 1_824_944_400), 31 * 24 + 1);
    }

    #[test]
    fn months_and_weeks_begin_where_the_calendar_says() {
        let utc = Arc::new(Zone::utc());
        for (unit, moment, begin, end) in [
            // 2028-02-29 in its month; 2027-12-31 too.
            (Unit::Month, 1_835_438_400, 1_832_976_000, 1_835_481_600),
            (Unit::Month, 1_830_297_599, 1_827_619_200, 1_830_297_600),
            // Monday, 2027-01-11, to Sunday.
            (Unit::Week, 1_799_625_600, 1_799_625_600, 1_800_230_400),
            (Unit::Week, 1_800_230_399, 1_799_625_600, 1_800_230_400),
            (Unit::Minute, 1_800_000_059, 1_800_000_000, 1_800_000_060),
            (Unit::Month, 0, 0, 31 * DAY),
        ] {
            let calendar = Calendar {
                unit,
                zone: Arc::clone(&utc),
            };
            assert_eq!(
                calendar.window(moment * 1000),
                (begin * 1000, end * 1000),
                "{unit:?} {moment}"
            );
        }
    }
}
