//! One rectangle of terrain heights on a grid of latitudes and longitudes.

use crate::flow::pose::{HeightDatum, Wgs84};

use super::TerrainError;

/// Heights below or above these do not exist on land: they are read as holes.
const LEAST_HEIGHT_M: f32 = -500.0;
const GREATEST_HEIGHT_M: f32 = 9_000.0;

/// Nodes at which heights are known, first row in the north, first column in the west.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    name: String,
    datum: HeightDatum,
    north: f64,
    west: f64,
    step_lat: f64,
    step_lon: f64,
    rows: usize,
    columns: usize,
    heights: Vec<f32>,
    lowest_m: f32,
    highest_m: f32,
    holes: usize,
}

/// Where the nodes of a tile lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeGrid {
    /// Latitude of the first row, in degrees.
    pub north: f64,
    /// Longitude of the first column, in degrees.
    pub west: f64,
    /// Degrees from row to row, positive southwards.
    pub step_lat: f64,
    /// Degrees from column to column, positive eastwards.
    pub step_lon: f64,
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
}

impl Tile {
    /// Makes a tile of `rows × columns` heights in metres; not-a-number and absurd heights become holes.
    pub fn new(
        name: impl Into<String>,
        datum: HeightDatum,
        grid: NodeGrid,
        mut heights: Vec<f32>,
    ) -> Result<Self, TerrainError> {
        let name = name.into();
        let broken = |what: &'static str| TerrainError::Grid {
            what,
            name: name.clone(),
        };
        if grid.rows < 2 || grid.columns < 2 {
            return Err(broken("fewer than 2 × 2 nodes"));
        }
        if grid.rows.checked_mul(grid.columns) != Some(heights.len()) {
            return Err(broken("a number of heights that is not rows × columns"));
        }
        let spacing_fits = |step: f64| step.is_finite() && (1e-7..=1.0).contains(&step);
        if !spacing_fits(grid.step_lat) || !spacing_fits(grid.step_lon) {
            return Err(broken("a spacing outside 0.0000001 to 1 degree"));
        }
        let south = grid.north - grid.step_lat * (grid.rows - 1) as f64;
        let east = grid.west + grid.step_lon * (grid.columns - 1) as f64;
        if Wgs84::checked(grid.north, grid.west).is_none() || Wgs84::checked(south, east.min(180.0)).is_none()
        {
            return Err(broken("corners that do not lie on the Earth"));
        }
        let (mut lowest_m, mut highest_m, mut holes) = (f32::INFINITY, f32::NEG_INFINITY, 0);
        for height in &mut heights {
            if (LEAST_HEIGHT_M..=GREATEST_HEIGHT_M).contains(height) {
                lowest_m = lowest_m.min(*height);
                highest_m = highest_m.max(*height);
            } else {
                *height = f32::NAN;
                holes += 1;
            }
        }
        if holes == heights.len() {
            return Err(broken("no height at all, only holes"));
        }
        Ok(Self {
            name,
            datum,
            north: grid.north,
            west: grid.west,
            step_lat: grid.step_lat,
            step_lon: grid.step_lon,
            rows: grid.rows,
            columns: grid.columns,
            heights,
            lowest_m,
            highest_m,
            holes,
        })
    }

    /// Returns the name that messages use: usually the file's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the heights are measured from.
    #[must_use]
    pub const fn datum(&self) -> HeightDatum {
        self.datum
    }

    /// Returns the lowest and the highest height, in metres.
    #[must_use]
    pub fn height_range_m(&self) -> (f64, f64) {
        (f64::from(self.lowest_m), f64::from(self.highest_m))
    }

    /// Returns how many nodes have no height.
    #[must_use]
    pub const fn holes(&self) -> usize {
        self.holes
    }

    /// Returns rows and columns.
    #[must_use]
    pub const fn size(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Returns where the nodes lie.
    #[must_use]
    pub const fn grid(&self) -> NodeGrid {
        NodeGrid {
            north: self.north,
            west: self.west,
            step_lat: self.step_lat,
            step_lon: self.step_lon,
            rows: self.rows,
            columns: self.columns,
        }
    }

    /// Returns the shorter side of a cell at its latitude, in metres.
    #[must_use]
    pub fn cell_m(&self) -> f64 {
        let middle = self.north - self.step_lat * self.rows as f64 / 2.0;
        let across = self.step_lon * 111_320.0 * middle.to_radians().cos();
        across.min(self.step_lat * 110_574.0).max(0.1)
    }

    /// Returns the height of a node, or `None` for a hole or outside.
    #[must_use]
    pub fn node_m(&self, row: usize, column: usize) -> Option<f64> {
        if row >= self.rows || column >= self.columns {
            return None;
        }
        let height = *self.heights.get(row * self.columns + column)?;
        (!height.is_nan()).then_some(f64::from(height))
    }

    /// Returns row and column of a point as fractions of cells; outside they are out of range.
    #[inline]
    pub(super) fn cell_of(&self, point: Wgs84) -> (f64, f64) {
        (
            (self.north - point.lat) / self.step_lat,
            (point.lon - self.west) / self.step_lon,
        )
    }

    /// Returns whether a point lies between the nodes of this tile, a hair outside included.
    #[inline]
    pub(super) fn holds(&self, point: Wgs84) -> bool {
        const HAIR: f64 = 1e-3;
        let (row, column) = self.cell_of(point);
        row >= -HAIR
            && column >= -HAIR
            && row <= (self.rows - 1) as f64 + HAIR
            && column <= (self.columns - 1) as f64 + HAIR
    }

    /// Returns whether a point lies at most one cell outside: where a neighbour's first nodes close the gap.
    #[inline]
    pub(super) fn nearly_holds(&self, point: Wgs84) -> bool {
        let (row, column) = self.cell_of(point);
        row > -1.0 && column > -1.0 && row < self.rows as f64 && column < self.columns as f64
    }

    /// Returns the height between four nodes, or `None` outside or if a node that counts is a hole.
    #[inline]
    pub(super) fn between_nodes_m(&self, point: Wgs84) -> Option<f64> {
        if !self.holds(point) {
            return None;
        }
        let (row, column) = self.cell_of(point);
        let row = row.clamp(0.0, (self.rows - 1) as f64);
        let column = column.clamp(0.0, (self.columns - 1) as f64);
        let top = (row as usize).min(self.rows - 2);
        let left = (column as usize).min(self.columns - 2);
        let (down, right) = (row - top as f64, column - left as f64);
        let first = top * self.columns + left;
        let upper = self.heights.get(first..first + 2)?;
        let lower = self.heights.get(first + self.columns..first + self.columns + 2)?;
        let (&[north_west, north_east], &[south_west, south_east]) = (upper, lower) else {
            return None;
        };
        let height = if down == 0.0 && right == 0.0 {
            f64::from(north_west)
        } else {
            let north = f64::from(north_west) * (1.0 - right) + f64::from(north_east) * right;
            let south = f64::from(south_west) * (1.0 - right) + f64::from(south_east) * right;
            north * (1.0 - down) + south * down
        };
        (!height.is_nan()).then_some(height)
    }
}
