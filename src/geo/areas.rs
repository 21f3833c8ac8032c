//! The grid (网格): which district, township, village and cell a position lies in, and which teams are near.

use ::geo::{
    Area, BooleanOps, BoundingRect, Contains, Coord, Intersects, LineString, MultiPolygon, Polygon, Rect,
    Validation,
};
use geojson::{Feature, FeatureCollection, GeoJson, GeometryValue, JsonObject};

use crate::flow::incident::GridCell;
use crate::flow::pose::Wgs84;
use crate::flow::position::Position;

use super::china::DeclaredCrs;
use super::ellipsoid::{FlatMap, distance_m};
use super::spread::{Covariance, normal_samples};

/// The share of the probability that must lie in one cell for it to be named alone.
pub const CERTAIN_SHARE: f64 = 0.8;
/// Cells with a smaller share are not named as candidates.
const LEAST_SHARE: f64 = 0.01;
/// Two cells overlap when they share more than this part of the smaller one.
const OVERLAP_SHARE: f64 = 0.001;
/// Features and corners that are read.
const MOST_FEATURES: usize = 100_000;
const MOST_CORNERS: usize = 5_000_000;

/// Why a file of grid polygons cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AreaError {
    /// Not GeoJSON.
    #[error("the grid file is not GeoJSON")]
    Json(#[source] Box<geojson::Error>),
    /// Not a collection of features.
    #[error("the grid file is not a FeatureCollection of polygons")]
    Kind,
    /// Too large.
    #[error("the grid file has more than {0} {1}")]
    Large(usize, &'static str),
    /// No polygon that can be used.
    #[error("the grid file has no valid polygon: {0}")]
    Empty(String),
}

/// Something in the grid file that was left out or is doubtful.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AreaProblem {
    /// A polygon that crosses itself, is not closed or has coordinates off the Earth.
    #[error("cell {cell:?} (feature {feature}) is left out: {why}")]
    Invalid {
        /// Number of the feature, from 0.
        feature: usize,
        /// Its name.
        cell: String,
        /// What is wrong.
        why: String,
    },
    /// Two cells that share ground: the first one in the file counts there.
    #[error("cells {first:?} and {second:?} overlap by {area_m2:.0} m²: the first one counts")]
    Overlap {
        /// The first in the file.
        first: String,
        /// The second in the file.
        second: String,
        /// What they share.
        area_m2: f64,
    },
}

/// A place where a team waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Team {
    /// Its name.
    pub name: String,
    /// How to reach it, where the file says so.
    pub contact: Option<String>,
    /// Where it waits.
    pub point: Wgs84,
}

/// A cell that may hold the fire.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The cell.
    pub cell: GridCell,
    /// The share of the probability that lies in it, 0 to 1.
    pub share: f64,
}

/// What the grid says of a position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Jurisdiction {
    /// The cell, if at least 80 % of the probability lie in it.
    pub cell: Option<GridCell>,
    /// All cells with their shares, the likeliest first.
    pub candidates: Vec<Candidate>,
    /// The share of the probability outside every cell.
    pub outside_share: f64,
}

#[derive(Clone, Debug)]
struct Piece {
    named: GridCell,
    shape: MultiPolygon<f64>,
    bounds: Rect<f64>,
}

/// The polygons of a grid, in WGS 84, with the teams.
#[derive(Clone, Debug)]
pub struct Areas {
    cells: Vec<Piece>,
    teams: Vec<Team>,
    problems: Vec<AreaProblem>,
}

impl Areas {
    /// Reads polygons and the points of teams from GeoJSON, in the coordinates that its owner declares. Polygons that
    /// are not valid are left out and listed, overlaps are listed.
    ///
    /// Properties of a polygon, in English or Chinese: `district`/`区`, `township`/`乡镇`, `village`/`村`, `cell`/`网格`,
    /// `person`/`网格员` (also `persons`), `team`/`队伍` (also `teams`). A point with `team` is where a team waits.
    pub fn from_geojson(text: &str, crs: DeclaredCrs) -> Result<Self, AreaError> {
        let parsed: GeoJson = text.parse().map_err(|error| AreaError::Json(Box::new(error)))?;
        let GeoJson::FeatureCollection(FeatureCollection { features, .. }) = parsed else {
            return Err(AreaError::Kind);
        };
        if features.len() > MOST_FEATURES {
            return Err(AreaError::Large(MOST_FEATURES, "features"));
        }
        let mut areas = Self {
            cells: Vec::new(),
            teams: Vec::new(),
            problems: Vec::new(),
        };
        let mut corners = 0;
        for (number, feature) in features.iter().enumerate() {
            areas.read(number, feature, crs, &mut corners);
            if corners > MOST_CORNERS {
                return Err(AreaError::Large(MOST_CORNERS, "corners"));
            }
        }
        if areas.cells.is_empty() {
            let first = areas
                .problems
                .first()
                .map_or("it holds no polygon at all".to_owned(), ToString::to_string);
            return Err(AreaError::Empty(first));
        }
        areas.find_overlaps();
        Ok(areas)
    }

    /// Lists what was left out or is doubtful.
    #[must_use]
    pub fn problems(&self) -> &[AreaProblem] {
        &self.problems
    }

    /// Returns how many cells there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.cells.len()
    }

    /// Returns whether there is no cell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Returns the cell that holds a point.
    #[must_use]
    pub fn cell_at(&self, point: Wgs84) -> Option<&GridCell> {
        self.index_at(point)
            .and_then(|index| self.cells.get(index))
            .map(|piece| &piece.named)
    }

    /// Returns the cell of a position if at least 80 % of its probability lie inside, and all candidates with their
    /// shares. The ellipse is weighed by 512 fixed samples.
    #[must_use]
    pub fn jurisdiction(&self, position: &Position) -> Jurisdiction {
        let map = FlatMap::around(position.point);
        let (along, across, azimuth) = Covariance::of_ellipse(&position.ellipse).axes();
        let (sin, cos) = azimuth.sin_cos();
        let samples = normal_samples();
        let mut shares: Vec<(usize, f64)> = Vec::new();
        let mut outside_share = 0.0;
        let weight = 1.0 / samples.len() as f64;
        for [first, second, ..] in samples {
            let (far, aside) = (first * along, second * across);
            let point = map.point(far * sin + aside * cos, far * cos - aside * sin);
            match self.index_at(point) {
                Some(index) => match shares.iter_mut().find(|(known, _)| *known == index) {
                    Some((_, share)) => *share += weight,
                    None => shares.push((index, weight)),
                },
                None => outside_share += weight,
            }
        }
        shares.sort_by(|one, other| other.1.total_cmp(&one.1));
        let candidates: Vec<Candidate> = shares
            .into_iter()
            .filter(|(_, share)| *share >= LEAST_SHARE)
            .filter_map(|(index, share)| {
                let cell = self.cells.get(index)?.named.clone();
                Some(Candidate { cell, share })
            })
            .collect();
        Jurisdiction {
            cell: candidates
                .first()
                .filter(|likeliest| likeliest.share >= CERTAIN_SHARE)
                .map(|likeliest| likeliest.cell.clone()),
            candidates,
            outside_share,
        }
    }

    /// Returns the nearest teams with their distances in metres as the crow flies, the nearest first.
    #[must_use]
    pub fn nearest_teams(&self, point: Wgs84, count: usize) -> Vec<(&Team, f64)> {
        let mut teams: Vec<(&Team, f64)> = self
            .teams
            .iter()
            .map(|team| (team, distance_m(point, team.point)))
            .collect();
        teams.sort_by(|one, other| one.1.total_cmp(&other.1));
        teams.truncate(count);
        teams
    }

    fn index_at(&self, point: Wgs84) -> Option<usize> {
        let coordinate = Coord {
            x: point.lon,
            y: point.lat,
        };
        self.cells
            .iter()
            .position(|cell| cell.bounds.intersects(&coordinate) && cell.shape.contains(&coordinate))
    }

    fn read(&mut self, number: usize, feature: &Feature, crs: DeclaredCrs, corners: &mut usize) {
        let empty = JsonObject::new();
        let properties = feature.properties.as_ref().unwrap_or(&empty);
        let cell = cell_of(properties);
        let polygons: Vec<&Vec<Vec<geojson::Position>>> =
            match feature.geometry.as_ref().map(|geometry| &geometry.value) {
                Some(GeometryValue::Polygon { coordinates }) => vec![coordinates],
                Some(GeometryValue::MultiPolygon { coordinates }) => coordinates.iter().collect(),
                Some(GeometryValue::Point { coordinates }) => {
                    self.read_team(properties, coordinates, crs);
                    return;
                }
                _ => {
                    self.leave_out(
                        number,
                        &cell,
                        "a Polygon, a MultiPolygon or the Point of a team is expected",
                    );
                    return;
                }
            };
        let mut parts = Vec::with_capacity(polygons.len());
        for rings in polygons {
            let rings: Option<Vec<LineString<f64>>> =
                rings.iter().map(|ring| ring_of(ring, crs, corners)).collect();
            let Some(mut rings) = rings.filter(|rings| !rings.is_empty()) else {
                self.leave_out(
                    number,
                    &cell,
                    "coordinates that are missing or do not lie on the Earth",
                );
                return;
            };
            let outer = rings.remove(0);
            parts.push(Polygon::new(outer, rings));
        }
        let shape = MultiPolygon::new(parts);
        if let Err(error) = shape.check_validation() {
            self.leave_out(number, &cell, &error.to_string());
            return;
        }
        match shape.bounding_rect() {
            Some(bounds) => self.cells.push(Piece {
                named: cell,
                shape,
                bounds,
            }),
            None => self.leave_out(number, &cell, "no corner"),
        }
    }

    fn read_team(&mut self, properties: &JsonObject, coordinates: &geojson::Position, crs: DeclaredCrs) {
        let point = point_of(coordinates, crs);
        if let (Some(name), Some(point)) = (text_of(properties, &["team", "name", "队伍", "名称"]), point)
        {
            let contact = text_of(properties, &["contact", "phone", "电话", "联系方式"]);
            self.teams.push(Team { name, contact, point });
        }
    }

    fn leave_out(&mut self, feature: usize, cell: &GridCell, why: &str) {
        self.problems.push(AreaProblem::Invalid {
            feature,
            cell: name_of(cell),
            why: why.to_owned(),
        });
    }

    fn find_overlaps(&mut self) {
        let mut overlaps = Vec::new();
        for (index, first) in self.cells.iter().enumerate() {
            for second in self.cells.iter().skip(index + 1) {
                if !first.bounds.intersects(&second.bounds) {
                    continue;
                }
                let shared = first.shape.intersection(&second.shape).unsigned_area();
                let smaller = first.shape.unsigned_area().min(second.shape.unsigned_area());
                if shared > OVERLAP_SHARE * smaller {
                    let square_degree_m2 = 110_574.0 * 111_320.0 * first.bounds.center().y.to_radians().cos();
                    overlaps.push(AreaProblem::Overlap {
                        first: name_of(&first.named),
                        second: name_of(&second.named),
                        area_m2: shared * square_degree_m2,
                    });
                }
            }
        }
        self.problems.extend(overlaps);
    }
}

fn point_of(position: &geojson::Position, crs: DeclaredCrs) -> Option<Wgs84> {
    let &[lon, lat, ..] = position.as_slice() else {
        return None;
    };
    let checked = Wgs84::checked(lat, lon)?;
    Some(crs.to_wgs84(checked.lat, checked.lon))
}

fn ring_of(ring: &[geojson::Position], crs: DeclaredCrs, corners: &mut usize) -> Option<LineString<f64>> {
    *corners = corners.saturating_add(ring.len());
    if ring.len() < 4 || *corners > MOST_CORNERS {
        return None;
    }
    ring.iter()
        .map(|position| {
            let point = point_of(position, crs)?;
            Some(Coord {
                x: point.lon,
                y: point.lat,
            })
        })
        .collect()
}

fn cell_of(properties: &JsonObject) -> GridCell {
    GridCell {
        district: text_of(properties, &["district", "区", "区县"]),
        township: text_of(properties, &["township", "town", "乡镇", "街道"]),
        village: text_of(properties, &["village", "村", "社区"]),
        cell: text_of(properties, &["cell", "code", "id", "网格", "网格编号"]),
        person: text_of(properties, &["person", "persons", "网格员"]),
        team: text_of(properties, &["team", "teams", "队伍", "处置队伍"]),
    }
}

fn text_of(properties: &JsonObject, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match properties.get(*name)? {
        serde_json::Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Array(items) => {
            let texts: Vec<&str> = items.iter().filter_map(serde_json::Value::as_str).collect();
            (!texts.is_empty()).then(|| texts.join("、"))
        }
        _ => None,
    })
}

fn name_of(cell: &GridCell) -> String {
    [&cell.cell, &cell.village, &cell.township, &cell.district]
        .into_iter()
        .flatten()
        .next()
        .cloned()
        .unwrap_or_else(|| "without a name".to_owned())
}

#[cfg(test)]
mod tests;
