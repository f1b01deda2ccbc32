//! Where a client is, and how far that is from an origin.

use std::fmt;

use http::HeaderMap;

use super::continents;

/// A two-letter code of a country (ISO 3166-1) or a continent, in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code([u8; 2]);

impl Code {
    /// Reads a code of two ASCII letters in either case.
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// Returns the two letters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the two letters.
    pub fn as_str(&self) -> &str {
        // Two ASCII letters by construction.
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a client is, as far as known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Geo {
    /// Country.
    pub country: Option<Code>,
    /// Continent: AF, AN, AS, EU, NA, OC or SA. Found from the country when absent.
    pub continent: Option<Code>,
    /// Place on the globe.
    pub position: Option<Position>,
}

impl Geo {
    /// Returns the continent, found from the country when it was not given.
    pub fn continent(&self) -> Option<Code> {
        self.continent.or_else(|| continents::of(self.country?))
    }

    /// Reads `cf-ipcountry`, `cf-ipcontinent`, `cf-iplatitude` and `cf-iplongitude`, as Cloudflare sends them to origins. Only for trusted peers.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let degrees = |name: &str| text(name).and_then(|v| v.trim().parse::<f64>().ok());
        Self {
            country: text("cf-ipcountry").and_then(Code::parse),
            continent: text("cf-ipcontinent").and_then(Code::parse),
            position: degrees("cf-iplatitude")
                .zip(degrees("cf-iplongitude"))
                .and_then(|(lat, lon)| Position::from_degrees(lat, lon)),
        }
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
        #[expect(clippy::cast_possible_truncation, reason = "at most 180 million in magnitude")]
        let micro = |degrees: f64| libm::round(degrees * 1e6) as i32;
        inside.then(|| Self { latitude: micro(latitude), longitude: micro(longitude) })
    }

    /// Returns the unit vector from the centre of the globe.
    pub fn direction(self) -> Direction {
        // `libm` is the same pure Rust on every target; the standard library's functions may differ in the last bit.
        let radians = |micro: i32| f64::from(micro) * 1e-6 * std::f64::consts::PI / 180.0;
        let (lat, lon) = (radians(self.latitude), radians(self.longitude));
        Direction { x: libm::cos(lat) * libm::cos(lon), y: libm::cos(lat) * libm::sin(lon), z: libm::sin(lat) }
    }
}

/// A unit vector from the centre of the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Direction {
    x: f64,
    y: f64,
    z: f64,
}

impl Direction {
    /// Returns the great-circle distance in whole kilometres, so that rounding differences never change an order.
    pub fn kilometres_to(self, other: Self) -> u32 {
        let (dx, dy, dz) = (self.x - other.x, self.y - other.y, self.z - other.z);
        let half_chord = (libm::sqrt(dx * dx + dy * dy + dz * dz) / 2.0).min(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 20016")]
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
        let (berlin, new_york, sydney) = (at(52.52, 13.405), at(40.7128, -74.006), at(-33.8688, 151.2093));
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
    }
}
