//! Links that open a place in a navigation app, each in the coordinates that the app expects.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::china::{Bd09, Gcj02};
use super::grid_reference::{Utm, mgrs};
use crate::flow::pose::Wgs84;

/// The same place for several apps and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Links {
    /// 高德地图: GCJ-02.
    pub amap: String,
    /// 百度地图: BD-09.
    pub baidu: String,
    /// 天地图: CGCS2000, which is WGS 84 to less than a metre. Its web map documents no link format; this one opens the
    /// map there.
    pub tianditu: String,
    /// RFC 5870, for anything else: WGS 84.
    pub geo: String,
    /// UTM, to be read aloud; absent near the poles.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub utm: Option<String>,
    /// MGRS, to be read aloud; absent near the poles.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mgrs: Option<String>,
}

impl Links {
    /// Makes the links of a place. `name` is shown at the marker; `ce90_m` is the uncertainty that RFC 5870 has room for.
    #[must_use]
    pub fn to(point: Wgs84, name: &str, ce90_m: Option<f64>) -> Self {
        let gcj = Gcj02::from_wgs84(point);
        let bd = Bd09::from_gcj02(gcj);
        let name = percent_encoded(name);
        let uncertainty = ce90_m
            .filter(|metres| metres.is_finite() && *metres >= 0.0)
            .map_or(String::new(), |metres| format!(";u={metres:.0}"));
        Self {
            amap: format!(
                "https://uri.amap.com/navigation?to={:.6},{:.6},{name}&mode=car&coordinate=gaode&callnative=1",
                gcj.lon, gcj.lat
            ),
            baidu: format!(
                "https://api.map.baidu.com/marker?location={:.6},{:.6}&title={name}&content={name}&output=html&coord_type=bd09ll&src=emberwatch",
                bd.lat, bd.lon
            ),
            tianditu: format!(
                "https://map.tianditu.gov.cn/?x={:.6}&y={:.6}&z=16",
                point.lon, point.lat
            ),
            geo: format!("geo:{:.6},{:.6}{uncertainty}", point.lat, point.lon),
            utm: Utm::of(point).map(|utm| utm.to_string()),
            mgrs: mgrs(point),
        }
    }
}

/// Returns text as it may stand in a query: RFC 3986's unreserved characters stay, every other byte becomes %XX.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Wgs84 = Wgs84 {
        lat: 35.19,
        lon: 113.25,
    };

    #[test]
    fn each_app_gets_its_own_coordinates() {
        let links = Links::to(HERE, "火点 7", Some(12.4));
        assert!(links.geo == "geo:35.190000,113.250000;u=12", "{}", links.geo);
        assert!(
            links.tianditu.contains("x=113.250000&y=35.190000"),
            "{}",
            links.tianditu
        );
        assert!(
            links.amap.contains("to=113.256"),
            "shifted 579 m east: {}",
            links.amap
        );
        assert!(links.amap.contains("coordinate=gaode"));
        assert!(
            links.baidu.contains("coord_type=bd09ll") && links.baidu.contains("location=35.19"),
            "{}",
            links.baidu
        );
        assert!(links.utm.unwrap().starts_with("49N "));
        assert!(links.mgrs.unwrap().starts_with("49S"));
    }

    #[test]
    fn a_name_cannot_break_out_of_the_link() {
        let links = Links::to(HERE, "a&b=c #火", None);
        assert!(links.amap.contains("a%26b%3Dc%20%23%E7%81%AB"), "{}", links.amap);
        assert!(!links.geo.contains("u="));
    }
}
