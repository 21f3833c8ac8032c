use serde_json::json;

use super::*;
use crate::flow::pose::{Height, HeightDatum};
use crate::flow::position::{Ellipse, Method};
use crate::geo::china::Gcj02;

fn square(name: &str, west: f64, south: f64, side: f64) -> serde_json::Value {
    json!({
        "type": "Feature",
        "properties": {"district": "解放区", "village": name, "persons": ["张三", "李四"], "team": "一队"},
        "geometry": {"type": "Polygon", "coordinates": [[
            [west, south], [west + side, south], [west + side, south + side], [west, south + side], [west, south]
        ]]}
    })
}

fn collection(features: &[serde_json::Value]) -> String {
    json!({"type": "FeatureCollection", "features": features}).to_string()
}

fn position(lat: f64, lon: f64, along: f64, across: f64, azimuth: f64) -> Position {
    Position {
        point: Wgs84 { lat, lon },
        height: Height::new(90.0, HeightDatum::Egm2008),
        ellipse: Ellipse {
            semi_major_m: along,
            semi_minor_m: across,
            azimuth_deg: azimuth,
            level: 0.9,
        },
        ce90_m: along,
        method: Method::RayTerrain,
        base_hidden: false,
    }
}

#[test]
fn a_position_well_inside_a_cell_has_that_cell() {
    let text = collection(&[
        square("东村", 113.25, 35.2, 0.01),
        square("西村", 113.24, 35.2, 0.01),
    ]);
    let areas = Areas::from_geojson(&text, DeclaredCrs::Wgs84).unwrap();
    assert!(
        areas.problems().is_empty(),
        "neighbours that share an edge do not overlap: {:?}",
        areas.problems()
    );
    let found = areas.jurisdiction(&position(35.205, 113.255, 30.0, 20.0, 0.0));
    let cell = found.cell.unwrap();
    assert_eq!(cell.village.as_deref(), Some("东村"));
    assert_eq!(cell.person.as_deref(), Some("张三、李四"));
    assert_eq!(found.candidates.len(), 1);
}

#[test]
fn a_position_on_the_border_has_candidates_with_their_shares() {
    let text = collection(&[
        square("东村", 113.25, 35.2, 0.01),
        square("西村", 113.24, 35.2, 0.01),
    ]);
    let areas = Areas::from_geojson(&text, DeclaredCrs::Wgs84).unwrap();
    let found = areas.jurisdiction(&position(35.205, 113.25, 100.0, 50.0, 90.0));
    assert!(found.cell.is_none());
    let shares: Vec<f64> = found.candidates.iter().map(|candidate| candidate.share).collect();
    assert!(
        shares.iter().all(|share| (share - 0.5).abs() < 0.05),
        "{shares:?}"
    );
    // 100 m at 90 % is a sigma of 46.6 m; one sigma inside the border leaves 84 %.
    let inside = areas.jurisdiction(&position(35.205, 113.250_512, 100.0, 50.0, 90.0));
    assert_eq!(inside.cell.unwrap().village.as_deref(), Some("东村"));
    let share = inside.candidates.first().unwrap().share;
    assert!((share - 0.841).abs() < 0.03, "{share}");
}

#[test]
fn polygons_in_gcj02_are_brought_to_wgs84_first() {
    let centre = Wgs84 {
        lat: 35.205,
        lon: 113.255,
    };
    let shifted = Gcj02::from_wgs84(centre);
    let text = collection(&[square("东村", shifted.lon - 0.001, shifted.lat - 0.001, 0.002)]);
    let declared = Areas::from_geojson(&text, DeclaredCrs::Gcj02).unwrap();
    assert!(declared.cell_at(centre).is_some());
    let mistaken = Areas::from_geojson(&text, DeclaredCrs::Wgs84).unwrap();
    assert!(mistaken.cell_at(centre).is_none(), "582 m off");
}

#[test]
fn a_hole_is_outside() {
    let mut holed = square("东村", 113.25, 35.2, 0.01);
    holed["geometry"]["coordinates"]
        .as_array_mut()
        .unwrap()
        .push(json!([
            [113.254, 35.204],
            [113.256, 35.204],
            [113.256, 35.206],
            [113.254, 35.206],
            [113.254, 35.204]
        ]));
    let areas = Areas::from_geojson(&collection(&[holed]), DeclaredCrs::Wgs84).unwrap();
    assert!(
        areas
            .cell_at(Wgs84 {
                lat: 35.205,
                lon: 113.255
            })
            .is_none()
    );
    assert!(
        areas
            .cell_at(Wgs84 {
                lat: 35.202,
                lon: 113.252
            })
            .is_some()
    );
    let found = areas.jurisdiction(&position(35.205, 113.255, 20.0, 20.0, 0.0));
    assert!(found.cell.is_none() && found.outside_share > 0.99);
}

#[test]
fn overlaps_and_invalid_polygons_are_reported_and_do_not_stop_the_rest() {
    let bow = json!({
        "type": "Feature",
        "properties": {"village": "蝴蝶村"},
        "geometry": {"type": "Polygon", "coordinates": [[
            [113.3, 35.2], [113.31, 35.21], [113.31, 35.2], [113.3, 35.21], [113.3, 35.2]
        ]]}
    });
    let far = json!({"type": "Feature", "properties": {"village": "天外村"},
        "geometry": {"type": "Polygon", "coordinates": [[[213.0, 35.0], [214.0, 35.0], [214.0, 36.0], [213.0, 35.0]]]}});
    let short = json!({"type": "Feature", "properties": {"village": "短村"},
        "geometry": {"type": "Polygon", "coordinates": [[[113.0, 35.0], [114.0, 35.0], [113.0, 35.0]]]}});
    let features = [
        square("东村", 113.25, 35.2, 0.01),
        square("南村", 113.255, 35.2, 0.01),
        bow,
        far,
        short,
    ];
    let areas = Areas::from_geojson(&collection(&features), DeclaredCrs::Wgs84).unwrap();
    assert_eq!(areas.len(), 2);
    let said: Vec<String> = areas.problems().iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said.iter().any(|line| line.contains("蝴蝶村")));
    assert!(
        said.iter()
            .any(|line| line.contains("东村") && line.contains("南村") && line.contains("overlap"))
    );
}

#[test]
fn a_file_that_is_no_grid_is_refused() {
    assert!(matches!(
        Areas::from_geojson("{", DeclaredCrs::Wgs84),
        Err(AreaError::Json(_))
    ));
    assert!(matches!(
        Areas::from_geojson("", DeclaredCrs::Wgs84),
        Err(AreaError::Json(_))
    ));
    let point = r#"{"type":"Point","coordinates":[1,2]}"#;
    assert!(matches!(
        Areas::from_geojson(point, DeclaredCrs::Wgs84),
        Err(AreaError::Kind)
    ));
    let none = collection(&[]);
    assert!(matches!(
        Areas::from_geojson(&none, DeclaredCrs::Wgs84),
        Err(AreaError::Empty(_))
    ));
}

#[test]
fn the_nearest_teams_come_first() {
    let team = |name: &str, lon: f64| {
        json!({"type": "Feature", "properties": {"team": name, "phone": "110"},
            "geometry": {"type": "Point", "coordinates": [lon, 35.2]}})
    };
    let text = collection(&[
        square("东村", 113.25, 35.2, 0.01),
        team("远队", 113.5),
        team("近队", 113.26),
    ]);
    let areas = Areas::from_geojson(&text, DeclaredCrs::Wgs84).unwrap();
    let nearest = areas.nearest_teams(
        Wgs84 {
            lat: 35.2,
            lon: 113.25,
        },
        1,
    );
    let (team, metres) = nearest.first().unwrap();
    assert_eq!(team.name, "近队");
    assert!((metres - 910.5).abs() < 1.0, "{metres}");
}
