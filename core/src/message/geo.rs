//! Where a client is, on the globe and on the internet, and how far that is from an origin.

mod code;
mod continents;

use http::{HeaderMap, HeaderName};

use code::{EU, UNKNOWN};

use super::{names, syntax};

use crate::packed::packed_struct;

pub use code::Code;

/// The members of the European Union since 2020-02-01, as Cloudflare's `isEUCountry` has them.
const MEMBERS: &str =
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";

/// Where a client is, as far as known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Geo {
    /// Country; never `XX`.
    pub country: Option<Code>,
    /// Continent: AF, AN, AS, EU, NA, OC or SA. Found from the country when absent.
    pub continent: Option<Code>,
    /// Place on the globe.
    pub position: Option<Position>,
    /// The number of its network (autonomous system, RFC 6793); never 0.
    pub asn: Option<u32>,
}

impl Geo {
    /// Returns the continent, found from the country when it was not given.
    pub fn continent(&self) -> Option<Code> {
        self.continent.or_else(|| continents::of(self.country?))
    }

    /// Returns the country, `XX` if it is not known.
    pub fn country_or_unknown(&self) -> Code {
        self.country.unwrap_or(UNKNOWN)
    }

    /// Returns whether the country is a member of the European Union.
    pub fn is_in_european_union(&self) -> bool {
        self.country
            .is_some_and(|country| MEMBERS.split(' ').any(|member| member == country.as_str()))
    }

    /// Returns whether the client is in this country, or for `EU` in a member of the European
    /// Union; nobody knows where is `XX`.
    pub fn is_in(&self, code: Code) -> bool {
        self.country_or_unknown() == code || (code == EU && self.is_in_european_union())
    }

    /// Reads where a client is from the field that the policy names for its country; with
    /// Cloudflare's also `cf-ipcontinent`, `cf-iplatitude` and `cf-iplongitude`. Only for trusted
    /// peers. A field that occurs twice says nothing.
    pub fn from_headers(headers: &HeaderMap, country: &HeaderName) -> Self {
        let text = |name: &HeaderName| syntax::only(headers, name);
        let country_code = text(country).and_then(Code::of_country);
        if *country != names::CF_IPCOUNTRY {
            return Self {
                country: country_code,
                ..Self::default()
            };
        }
        let (latitude, longitude) = (text(&names::CF_IPLATITUDE), text(&names::CF_IPLONGITUDE));
        Self {
            country: country_code,
            continent: text(&names::CF_IPCONTINENT).and_then(Code::parse),
            position: latitude
                .zip(longitude)
                .and_then(|(latitude, longitude)| Position::parse(latitude, longitude)),
            asn: None,
        }
    }

    /// Reads the number of a network, as `64496` or `AS64496`.
    pub fn read_asn(text: &str) -> Option<u32> {
        let text = text.trim();
        let has_name = text
            .get(..2)
            .is_some_and(|name| name.eq_ignore_ascii_case("as"));
        let digits = if has_name { text.get(2..)? } else { text };
        // A sign would be read too.
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .parse()
            .ok()
            .filter(|number| is_number && *number > 0)
    }
}

/// A place on the globe in millionths of a degree: the same integers at the edge and in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    latitude: i32,
    longitude: i32,
}

impl Position {
    /// Takes degrees north and east; `None` outside -90..=90 and -180..=180.
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        let inside = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 180 million in magnitude"
        )]
        let micro = |degrees: f64| libm::round(degrees * 1e6) as i32;
        inside.then(|| Self {
            latitude: micro(latitude),
            longitude: micro(longitude),
        })
    }

    /// Reads degrees north and east in decimal notation; `None` for anything else.
    ///
    /// Numbers with a point are read here alone at the edge, and the standard library's reader
    /// brings tables of ten kilobytes.
    pub fn parse(latitude: &str, longitude: &str) -> Option<Self> {
        Some(Self {
            latitude: millionths(latitude, 90)?,
            longitude: millionths(longitude, 180)?,
        })
    }

    /// Returns the unit vector from the centre of the globe.
    pub fn direction(self) -> Direction {
        // `libm` is the same pure Rust on every target; the standard library's functions may differ
        // in the last bit.
        let radians = |micro: i32| f64::from(micro) * 1e-6 * std::f64::consts::PI / 180.0;
        let (lat, lon) = (radians(self.latitude), radians(self.longitude));
        Direction {
            x: libm::cos(lat) * libm::cos(lon),
            y: libm::cos(lat) * libm::sin(lon),
            z: libm::sin(lat),
        }
    }
}

/// Reads degrees as millionths; `None` if that is more than `most` degrees away from zero.
fn millionths(text: &str, most: i32) -> Option<i32> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let mut number: i32 = whole.parse().ok()?;
    let mut fraction = fraction.bytes().map(|digit| i32::from(digit - b'0'));
    for _ in 0..6 {
        number = number.checked_mul(10)?;
        number = number.checked_add(fraction.next().unwrap_or(0))?;
    }
    let rounded_up = fraction.next().is_some_and(|digit| digit >= 5);
    number = number.checked_add(i32::from(rounded_up))?;
    (number <= most * 1_000_000).then_some(sign * number)
}

/// A unit vector from the centre of the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Direction {
    x: f64,
    y: f64,
    z: f64,
}

packed_struct!(Direction { x, y, z });

impl Direction {
    /// Returns the great-circle distance in whole kilometres, so that rounding differences never
    /// change an order.
    pub fn kilometres_to(self, other: Self) -> u32 {
        let (dx, dy, dz) = (self.x - other.x, self.y - other.y, self.z - other.z);
        let half_chord = (libm::sqrt(dx * dx + dy * dy + dz * dz) / 2.0).min(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 20016"
        )]
        let kilometres = libm::round(2.0 * 6371.0 * libm::asin(half_chord)) as u32;
        kilometres
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn distances_are_great_circles() {
        let at = |lat, lon| Position::from_degrees(lat, lon).unwrap().direction();
        let (berlin, new_york, sydney) = (
            at(52.52, 13.405),
            at(40.7128, -74.006),
            at(-33.8688, 151.2093),
        );
        assert_eq!(berlin.kilometres_to(new_york), 6385);
        assert_eq!(berlin.kilometres_to(sydney), 16094);
        assert_eq!(berlin.kilometres_to(berlin), 0);
        assert_eq!(at(0.0, 0.0).kilometres_to(at(0.0, 180.0)), 20015);
    }

    #[test]
    fn impossible_places_are_unknown() {
        assert_eq!(Position::from_degrees(91.0, 0.0), None);
        assert_eq!(Position::from_degrees(f64::NAN, 0.0), None);
        assert_eq!(Code::parse("D"), None);
        assert_eq!(Code::parse("d1"), None);
        assert_eq!(Code::parse("de"), Code::parse("DE"));
        assert_eq!(
            Code::parse("t1")
                .map(|code| code.as_str().to_owned())
                .as_deref(),
            Some("T1")
        );
        assert_eq!(Code::of_country("xx"), None);
    }

    #[test]
    fn degrees_are_read_to_the_millionth() {
        let read = |latitude: &str| Position::parse(latitude, "0").map(|read| read.latitude);
        for (text, degrees) in [
            ("0", 0.0),
            ("-0.0", 0.0),
            ("52.52", 52.52),
            (" -33.86880 ", -33.8688),
            ("40.7128004", 40.7128),
            ("40.71280059", 40.712_801),
            ("-7.", -7.0),
            ("90", 90.0),
            ("0090.000000", 90.0),
        ] {
            let same = Position::from_degrees(degrees, 0.0).map(|same| same.latitude);
            assert!(same.is_some());
            assert_eq!(read(text), same, "{text}");
        }
        for text in [
            "",
            "-",
            ".5",
            "1e1",
            "inf",
            "NaN",
            "+1",
            "1.2.3",
            "1,5",
            "90.0000005",
            "-91",
            "99999999999",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(Position::parse("0", "180").is_some());
        assert_eq!(Position::parse("0", "180.1"), None);
    }

    #[test]
    fn a_client_is_in_its_country_and_in_the_union() {
        let of = |text: &str| Geo {
            country: Code::of_country(text),
            ..Geo::default()
        };
        let is = |country: &str, code: &str| of(country).is_in(Code::parse(code).unwrap());
        assert!(
            is("DE", "DE") && is("DE", "EU") && is("XX", "XX") && is("", "XX") && is("T1", "T1")
        );
        assert!(
            !is("CH", "EU")
                && !is("GB", "EU")
                && !is("T1", "XX")
                && !is("XX", "EU")
                && !is("DE", "XX")
        );
        assert_eq!(MEMBERS.split(' ').count(), 27);
    }

    #[test]
    fn the_policy_says_which_field_names_the_country() {
        let fields = crate::cache::tests_support::headers(&[
            ("cf-ipcountry", "DE"),
            ("x-country", "US"),
            ("cf-iplatitude", "1"),
        ]);
        let own = HeaderName::from_static("x-country");
        assert_eq!(Geo::from_headers(&fields, &own).country, Code::parse("US"));
        let twice =
            crate::cache::tests_support::headers(&[("x-country", "DE"), ("x-country", "US")]);
        assert_eq!(Geo::from_headers(&twice, &own), Geo::default());
    }
}
