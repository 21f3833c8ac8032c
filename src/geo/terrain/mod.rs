//! Terrain: how high the ground is, from a plane or from tiles of heights, and where a ray meets it.

mod geotiff;
mod hgt;
mod march;
#[cfg(test)]
mod tests;
mod tile;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::flow::pose::{Height, HeightDatum, Wgs84};

pub use march::{Hit, Miss, Ray, Reach};
pub use tile::{NodeGrid, Tile};

/// A file of terrain may have this many bytes.
const MOST_FILE_BYTES: u64 = 512 << 20;

/// Why terrain cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TerrainError {
    /// The file cannot be read.
    #[error("cannot read terrain from {}", path.display())]
    Read {
        /// What the system said.
        #[source]
        source: std::io::Error,
        /// Which file.
        path: PathBuf,
    },
    /// The file is not a TIFF that can be decoded.
    #[error("cannot decode terrain {name}")]
    Tiff {
        /// What the decoder said.
        #[source]
        source: tiff::TiffError,
        /// Which file.
        name: String,
    },
    /// The file lies on another map.
    #[error(
        "terrain {name} is in {found}, but EPSG:4326 (WGS 84, degrees) is expected: convert it with `gdalwarp -t_srs EPSG:4326`"
    )]
    Crs {
        /// What it says of itself.
        found: String,
        /// Which file.
        name: String,
    },
    /// The heights do not make a grid.
    #[error("terrain {name} has {what}")]
    Grid {
        /// What is wrong.
        what: &'static str,
        /// Which file.
        name: String,
    },
    /// Neither a `GeoTIFF` nor an SRTM file.
    #[error("terrain {} is neither .tif nor .hgt: a GeoTIFF in EPSG:4326 or an SRTM file is expected", path.display())]
    Kind {
        /// Which file.
        path: PathBuf,
    },
    /// Tiles that cannot be joined.
    #[error("terrain tiles {first} and {second} have heights above different datums: use tiles of one kind")]
    MixedDatums {
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
    /// No tile at all.
    #[error("terrain needs at least one tile")]
    Empty,
}

/// How high the ground is.
#[derive(Clone, Debug)]
pub struct Terrain(Shape);

#[derive(Clone, Debug)]
enum Shape {
    Plane(Height),
    Tiles {
        tiles: Vec<Tile>,
        datum: HeightDatum,
        lowest_m: f64,
        highest_m: f64,
        cell_m: f64,
    },
}

impl Terrain {
    /// Makes level ground that follows the Earth's curve at one height.
    #[must_use]
    pub const fn plane(height: Height) -> Self {
        Self(Shape::Plane(height))
    }

    /// Makes level ground at the height of the take-off: what is left when no terrain is given. It errs by the
    /// difference in height between take-off and fire.
    #[must_use]
    pub const fn flat_at_takeoff() -> Self {
        Self::plane(Height::new(0.0, HeightDatum::Takeoff))
    }

    /// Makes level ground at the foot of the camera's mast or below the drone.
    #[must_use]
    pub const fn flat_below_camera() -> Self {
        Self::plane(Height::new(0.0, HeightDatum::Ground))
    }

    /// Joins tiles, all above one datum. Where tiles overlap the first one counts.
    pub fn from_tiles(tiles: Vec<Tile>) -> Result<Self, TerrainError> {
        let first = tiles.first().ok_or(TerrainError::Empty)?;
        let datum = first.datum();
        if let Some(other) = tiles.iter().find(|tile| tile.datum() != datum) {
            return Err(TerrainError::MixedDatums {
                first: first.name().to_owned(),
                second: other.name().to_owned(),
            });
        }
        let lowest_m = tiles
            .iter()
            .map(|tile| tile.height_range_m().0)
            .fold(f64::INFINITY, f64::min);
        let highest_m = tiles
            .iter()
            .map(|tile| tile.height_range_m().1)
            .fold(f64::NEG_INFINITY, f64::max);
        let cell_m = tiles.iter().map(Tile::cell_m).fold(f64::INFINITY, f64::min);
        Ok(Self(Shape::Tiles {
            tiles,
            datum,
            lowest_m,
            highest_m,
            cell_m,
        }))
    }

    /// Reads `.tif`, `.tiff` and `.hgt` files. `assumed` is the datum of a `GeoTIFF` that does not say it; Copernicus
    /// files are known by their name.
    pub fn open(paths: &[PathBuf], assumed: HeightDatum) -> Result<Self, TerrainError> {
        let tiles = paths
            .iter()
            .map(|path| open_tile(path, assumed))
            .collect::<Result<_, _>>()?;
        Self::from_tiles(tiles)
    }

    /// Returns what the heights are measured from.
    #[must_use]
    pub const fn datum(&self) -> HeightDatum {
        match &self.0 {
            Shape::Plane(height) => height.datum,
            Shape::Tiles { datum, .. } => *datum,
        }
    }

    /// Returns whether this is only a level plane.
    #[must_use]
    pub const fn is_plane(&self) -> bool {
        matches!(self.0, Shape::Plane(_))
    }

    /// Returns the tiles; a plane has none.
    #[must_use]
    pub fn tiles(&self) -> &[Tile] {
        match &self.0 {
            Shape::Plane(_) => &[],
            Shape::Tiles { tiles, .. } => tiles,
        }
    }

    /// Returns the height of the ground in metres above [`Self::datum`], or `None` in a hole or off the tiles.
    #[must_use]
    #[inline]
    pub fn height_m(&self, point: Wgs84) -> Option<f64> {
        match &self.0 {
            Shape::Plane(height) => Some(height.metres),
            Shape::Tiles { tiles, .. } => {
                let inside = tiles.iter().find(|tile| tile.holds(point));
                match inside {
                    Some(tile) => tile.between_nodes_m(point),
                    None => across_edge_m(tiles, point),
                }
            }
        }
    }
}

/// Returns the height in the strip between the last nodes of one tile and the first of the next: Copernicus tiles do
/// not share their edges.
fn across_edge_m(tiles: &[Tile], point: Wgs84) -> Option<f64> {
    let tile = tiles.iter().find(|tile| tile.nearly_holds(point))?;
    let grid = tile.grid();
    let (row, column) = tile.cell_of(point);
    let corner = |row: f64, column: f64| {
        let node = Wgs84 {
            lat: grid.north - row * grid.step_lat,
            lon: grid.west + column * grid.step_lon,
        };
        tiles
            .iter()
            .find(|tile| tile.holds(node))
            .and_then(|tile| tile.between_nodes_m(node))
    };
    let (top, left) = (row.floor(), column.floor());
    let (down, right) = (row - top, column - left);
    let north = corner(top, left)? * (1.0 - right) + corner(top, left + 1.0)? * right;
    let south = corner(top + 1.0, left)? * (1.0 - right) + corner(top + 1.0, left + 1.0)? * right;
    Some(north * (1.0 - down) + south * down)
}

fn open_tile(path: &Path, assumed: HeightDatum) -> Result<Tile, TerrainError> {
    let unreadable = |source| TerrainError::Read {
        source,
        path: path.to_owned(),
    };
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let file = File::open(path).map_err(unreadable)?;
    match extension.as_str() {
        "tif" | "tiff" => geotiff::read(&name, BufReader::new(file), assumed),
        "hgt" => {
            let mut bytes = Vec::new();
            file.take(MOST_FILE_BYTES)
                .read_to_end(&mut bytes)
                .map_err(unreadable)?;
            hgt::read(&name, &bytes)
        }
        _ => Err(TerrainError::Kind {
            path: path.to_owned(),
        }),
    }
}
