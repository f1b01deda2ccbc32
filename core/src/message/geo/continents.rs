//! Which continent a country belongs to, as Cloudflare assigns them.

use super::code::Code;

/// Returns the continent of a country, or `None` for an unknown one.
pub(super) fn of(country: Code) -> Option<Code> {
    let row = CONTINENTS
        .iter()
        .find(|(_, countries)| countries.split(' ').any(|c| c == country.as_str()))?;
    Code::parse(row.0)
}

const CONTINENTS: [(&str, &str); 7] = [
    (
        "AF",
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO \
         SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    ("AN", "AQ BV GS HM TF"),
    (
        "AS",
        "AE AF AM AZ BD BH BN BT CC CN CX CY GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ \
         TM TR TW UZ VN YE",
    ),
    (
        "EU",
        "AD AL AT AX BA BE BG BY CH CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ \
         SK SM UA VA XK",
    ),
    (
        "NA",
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC TT US VC VG VI",
    ),
    (
        "OC",
        "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    ),
    ("SA", "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn every_country_has_one_continent() {
        let mut seen: Vec<&str> = CONTINENTS.iter().flat_map(|(_, c)| c.split(' ')).collect();
        let listed = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), listed), (250, 250));
        assert_eq!(Code::parse("de").and_then(of), Code::parse("EU"));
        assert_eq!(Code::parse("zz").and_then(of), None);
    }
}
