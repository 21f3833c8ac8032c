//! `incidents.kml`: the same map for Google Earth and its relatives.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::flight::{Flight, outline};
use crate::flow::pose::Wgs84;
use crate::geo::ellipsoid::destination;
use crate::geo::links::Links;

/// A bearing without a point is drawn so long, in metres.
const BEARING_M: f64 = 5_000.0;

fn coordinates(points: impl IntoIterator<Item = Wgs84>) -> String {
    points.into_iter().fold(String::new(), |mut text, point| {
        let _written = write!(text, "{:.7},{:.7},0 ", point.lon, point.lat);
        text
    })
}

fn placemark(kml: &mut String, name: &str, style: &str, description: &str, geometry: &str) {
    let _written = writeln!(
        kml,
        "<Placemark><name>{}</name><description>{}</description><styleUrl>#{style}</styleUrl>{geometry}</Placemark>",
        escape(name),
        escape(description)
    );
}

fn polygon(points: impl IntoIterator<Item = Wgs84>) -> String {
    format!(
        "<Polygon><outerBoundaryIs><LinearRing><coordinates>{}</coordinates></LinearRing></outerBoundaryIs></Polygon>",
        coordinates(points)
    )
}

fn line(points: impl IntoIterator<Item = Wgs84>) -> String {
    format!(
        "<LineString><tessellate>1</tessellate><coordinates>{}</coordinates></LineString>",
        coordinates(points)
    )
}

/// Returns the flights of several recordings as KML, each by its name.
#[must_use]
pub fn kml(flights: &[(String, Flight)]) -> String {
    let mut kml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<kml xmlns=\"http://www.opengis.net/kml/2.2\"><Document>\
         <name>Emberwatch</name>\
         <Style id=\"path\"><LineStyle><color>ff231f1c</color><width>3</width></LineStyle></Style>\
         <Style id=\"seen\"><LineStyle><color>80fa902e</color></LineStyle><PolyStyle><color>10fa902e</color></PolyStyle></Style>\
         <Style id=\"fire\"><LineStyle><color>ff202dd9</color><width>2</width></LineStyle>\
         <PolyStyle><color>40202dd9</color></PolyStyle></Style>\n",
    );
    for (name, flight) in flights {
        let _written = writeln!(kml, "<Folder><name>{}</name>", escape(name.as_str()));
        if !flight.path.is_empty() {
            let path = line(flight.path.iter().map(|(_, point)| *point));
            placemark(&mut kml, "航迹 flight path", "path", "", &path);
        }
        for corners in &flight.footprints {
            let ring = corners.iter().chain(corners.first()).copied();
            placemark(&mut kml, "视场 footprint", "seen", "", &polygon(ring));
        }
        for fire in &flight.fires {
            match (&fire.position, &fire.bearing) {
                (Some(position), _) => {
                    let links = Links::to(position.point, &fire.name, Some(position.ce90_m));
                    let text = format!(
                        "CE90 {:.0} m\nMGRS {}\n{}\n{}",
                        position.ce90_m,
                        links.mgrs.as_deref().unwrap_or("-"),
                        links.amap,
                        links.geo
                    );
                    let point = format!(
                        "<Point><coordinates>{:.7},{:.7}</coordinates></Point>",
                        position.point.lon, position.point.lat
                    );
                    placemark(&mut kml, &fire.name, "fire", &text, &point);
                    placemark(
                        &mut kml,
                        "误差椭圆 error ellipse",
                        "fire",
                        &format!("{:.0} %", position.ellipse.level * 100.0),
                        &polygon(outline(position)),
                    );
                }
                (None, Some(bearing)) => {
                    let far = destination(bearing.from, bearing.azimuth_deg, BEARING_M);
                    placemark(
                        &mut kml,
                        &fire.name,
                        "fire",
                        "方位 bearing only",
                        &line([bearing.from, far]),
                    );
                }
                (None, None) => {}
            }
        }
        kml.push_str("</Folder>\n");
    }
    kml.push_str("</Document></kml>\n");
    kml
}
