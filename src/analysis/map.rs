//! The map of `report.html`: drawn as lines, without tiles from elsewhere, so that it shows anywhere at any time.

use std::fmt::Write as _;

use super::flight::{Flight, outline};
use crate::flow::pose::Wgs84;
use crate::geo::ellipsoid::{FlatMap, destination};
use crate::geo::links::Links;

/// Width and height of the drawing.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 560.0;
/// Blank rim.
const RIM: f64 = 40.0;
/// A bearing without a point is drawn so long, in metres.
const BEARING_M: f64 = 1_000.0;

/// From metres east and north to the drawing.
struct Sheet {
    map: FlatMap,
    west_m: f64,
    north_m: f64,
    scale: f64,
}

impl Sheet {
    fn around(points: &[Wgs84]) -> Option<Self> {
        let map = FlatMap::around(*points.first()?);
        let (mut west, mut east, mut south, mut north) =
            (f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY, f64::NEG_INFINITY);
        for point in points {
            let (x, y) = map.offset(*point);
            (west, east) = (west.min(x), east.max(x));
            (south, north) = (south.min(y), north.max(y));
        }
        // A single point is shown with 100 m around it.
        let (middle_x, middle_y) = (f64::midpoint(west, east), f64::midpoint(south, north));
        let (wide, high) = ((east - west).max(100.0), (north - south).max(100.0));
        let scale = ((WIDTH - 2.0 * RIM) / wide).min((HEIGHT - 2.0 * RIM) / high);
        scale.is_finite().then(|| Self {
            map,
            west_m: middle_x - WIDTH / 2.0 / scale,
            north_m: middle_y + HEIGHT / 2.0 / scale,
            scale,
        })
    }

    fn at(&self, point: Wgs84) -> (f64, f64) {
        let (x, y) = self.map.offset(point);
        ((x - self.west_m) * self.scale, (self.north_m - y) * self.scale)
    }

    fn points(&self, points: impl IntoIterator<Item = Wgs84>) -> String {
        points.into_iter().fold(String::new(), |mut text, point| {
            let (x, y) = self.at(point);
            let _written = write!(text, "{x:.1},{y:.1} ");
            text
        })
    }
}

/// Draws a flight; nothing where there is nothing to draw.
pub(super) fn map(flight: &Flight) -> String {
    let mut all: Vec<Wgs84> = flight.path.iter().map(|(_, point)| *point).collect();
    all.extend(flight.footprints.iter().flatten());
    for fire in &flight.fires {
        match (&fire.position, &fire.bearing) {
            (Some(position), _) => all.extend(outline(position)),
            (None, Some(bearing)) => {
                all.extend([
                    bearing.from,
                    destination(bearing.from, bearing.azimuth_deg, BEARING_M),
                ]);
            }
            (None, None) => {}
        }
    }
    let Some(sheet) = Sheet::around(&all) else {
        return String::new();
    };
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" class=\"map\">");
    for corners in &flight.footprints {
        let _written = write!(
            svg,
            "<polygon points=\"{}\" fill=\"#2e90fa\" fill-opacity=\"0.06\" stroke=\"#2e90fa\" stroke-opacity=\"0.35\"/>",
            sheet.points(corners.iter().copied())
        );
    }
    if !flight.path.is_empty() {
        let _written = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1c1f23\" stroke-width=\"2\"/>",
            sheet.points(flight.path.iter().map(|(_, point)| *point))
        );
        // The one above its point and the other below: a short flight would write them over each other.
        let ends = [
            ("起 start", flight.path.first(), -5.0),
            ("止 end", flight.path.last(), 15.0),
        ];
        for (label, end, down) in ends {
            if let Some((_, point)) = end {
                let (x, y) = sheet.at(*point);
                let _written = write!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\">{label}</text>",
                    x + 7.0,
                    y + down
                );
            }
        }
    }
    for (number, fire) in flight.fires.iter().enumerate() {
        if let Some(position) = &fire.position {
            let (x, y) = sheet.at(position.point);
            let _written = write!(
                svg,
                "<polygon points=\"{}\" fill=\"#d92d20\" fill-opacity=\"0.2\" stroke=\"#d92d20\"/><circle cx=\"{x:.1}\" \
                 cy=\"{y:.1}\" r=\"4\" fill=\"#d92d20\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"13\" fill=\"#b42318\">{}</text>",
                sheet.points(outline(position)),
                x + 7.0,
                y + 4.0,
                number + 1
            );
        } else if let Some(bearing) = &fire.bearing {
            let far = destination(bearing.from, bearing.azimuth_deg, BEARING_M);
            let _written = write!(
                svg,
                "<polyline points=\"{}\" stroke=\"#d92d20\" stroke-dasharray=\"6 4\" fill=\"none\"/>",
                sheet.points([bearing.from, far])
            );
        }
    }
    scale_bar(&mut svg, sheet.scale);
    svg.push_str("</svg>");
    table(&mut svg, flight);
    svg
}

/// Draws how long a round number of metres is, and where north is.
fn scale_bar(svg: &mut String, scale: f64) {
    let longest_m = 200.0 / scale;
    let power = 10_f64.powf(longest_m.log10().floor());
    let metres = [5.0, 2.0, 1.0]
        .into_iter()
        .map(|step| step * power)
        .find(|metres| *metres <= longest_m)
        .unwrap_or(power);
    let _written = write!(
        svg,
        "<line x1=\"20\" x2=\"{:.1}\" y1=\"{1}\" y2=\"{1}\" stroke=\"#1c1f23\" stroke-width=\"3\"/>\
         <text x=\"20\" y=\"{2}\" font-size=\"12\">{metres} m</text>\
         <text x=\"{3}\" y=\"24\" font-size=\"14\">北 N ↑</text>",
        20.0 + metres * scale,
        HEIGHT - 16.0,
        HEIGHT - 22.0,
        WIDTH - 60.0
    );
}

fn table(page: &mut String, flight: &Flight) {
    let placed: Vec<_> = flight
        .fires
        .iter()
        .enumerate()
        .filter_map(|(number, fire)| Some((number + 1, fire, fire.position.as_ref()?)))
        .collect();
    if placed.is_empty() {
        return;
    }
    page.push_str(
        "<table><tr><th>火点 fire</th><th>坐标 WGS 84</th><th>误差 CE90</th><th>MGRS · UTM</th><th>导航 navigate</th></tr>",
    );
    for (number, fire, position) in placed {
        let links = Links::to(position.point, &fire.name, Some(position.ce90_m));
        let _written = write!(
            page,
            "<tr><td>{number}</td><td>{:.6}, {:.6}</td><td>{:.0} m</td><td>{} · {}</td><td>",
            position.point.lat,
            position.point.lon,
            position.ce90_m,
            links.mgrs.as_deref().unwrap_or("–"),
            links.utm.as_deref().unwrap_or("–")
        );
        for (name, address) in [
            ("高德 AMap", &links.amap),
            ("百度 Baidu", &links.baidu),
            ("天地图 Tianditu", &links.tianditu),
            ("geo:", &links.geo),
        ] {
            let _written = write!(page, "<a href=\"{}\">{name}</a> ", address.replace('&', "&amp;"));
        }
        page.push_str("</td></tr>");
    }
    page.push_str("</table>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::flight::Fire;
    use crate::flow::pose::{Height, HeightDatum};
    use crate::flow::position::{Bearing, Ellipse, Method, Position};

    fn flight() -> Flight {
        let point = |lat, lon| Wgs84 { lat, lon };
        let mut flight = Flight::default();
        assert!(flight.add(0.0, point(35.0, 113.0)), "the first footprint is due");
        assert!(!flight.add(0.1, point(35.0001, 113.0)));
        flight.add(1.0, point(35.002, 113.001));
        flight.footprints.push(vec![
            point(35.0, 113.0),
            point(35.001, 113.0),
            point(35.001, 113.002),
            point(35.0, 113.002),
        ]);
        flight.fires = vec![
            Fire {
                name: "a <b>".into(),
                position: Some(Position {
                    point: point(35.0015, 113.0012),
                    height: Height::new(0.0, HeightDatum::Ground),
                    ellipse: Ellipse {
                        semi_major_m: 30.0,
                        semi_minor_m: 10.0,
                        azimuth_deg: 45.0,
                        level: 0.9,
                    },
                    ce90_m: 25.0,
                    method: Method::RayTerrain,
                    base_hidden: false,
                }),
                bearing: None,
            },
            Fire {
                name: "far".into(),
                position: None,
                bearing: Some(Bearing {
                    from: point(35.0, 113.0),
                    azimuth_deg: 90.0,
                    elevation_deg: -1.0,
                    sigma_deg: 1.0,
                }),
            },
        ];
        flight
    }

    #[test]
    fn a_map_shows_path_footprints_and_fires_inside_its_sheet_and_fetches_nothing() {
        let svg = map(&flight());
        assert_eq!(svg.matches("<polyline").count(), 2, "path and bearing");
        assert_eq!(svg.matches("<polygon").count(), 2, "footprint and ellipse");
        assert!(svg.contains("uri.amap.com") && svg.contains("49S"));
        assert!(!svg.contains("<image") && !svg.contains(" src="));
        let drawn = svg.split("</svg>").next().unwrap();
        for points in drawn.split("points=\"").skip(1) {
            for pair in points.split('"').next().unwrap().split_whitespace() {
                let (x, y) = pair.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!(
                    (0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y),
                    "{pair}"
                );
            }
        }
        assert_eq!(map(&Flight::default()), "");
    }

    #[test]
    fn kml_names_what_it_holds_and_escapes_names() {
        let text = super::super::kml::kml(&[("video <1>".to_owned(), flight())]);
        let mut reader = quick_xml::reader::Reader::from_str(&text);
        let mut placemarks = 0;
        loop {
            match reader.read_event().expect("the KML is XML") {
                quick_xml::events::Event::Start(element) => {
                    let name: &str = element.local_name().into_inner();
                    placemarks += usize::from(name == "Placemark");
                }
                quick_xml::events::Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(placemarks, 5, "path, footprint, fire with its ellipse, bearing");
        assert!(text.contains("113.0012000,35.0015000") && text.contains("a &lt;b&gt;"));
    }
}
