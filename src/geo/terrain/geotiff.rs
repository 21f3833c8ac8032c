//! `GeoTIFF` terrain: one band of 16-bit integers or 32-bit floats on a grid of latitudes and longitudes, tiled or
//! stripped. Only EPSG:4326 is read: anything else would need a projection library to be read rightly.

use std::io::{Read, Seek};

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use crate::flow::pose::HeightDatum;

use super::TerrainError;
use super::tile::{NodeGrid, Tile};

/// Nodes that a tile may have: a degree at 1 arc-second is 13 million.
const MOST_NODES: u64 = 64_000_000;

const KEY_RASTER_TYPE: u16 = 1025;
const KEY_MODEL_TYPE: u16 = 1024;
const KEY_GEOGRAPHIC_CRS: u16 = 2048;
const KEY_PROJECTED_CRS: u16 = 3072;
const KEY_VERTICAL_CRS: u16 = 4096;
const MODEL_GEOGRAPHIC: u16 = 2;
const RASTER_PIXEL_IS_POINT: u16 = 2;

/// Reads a tile. `assumed` is the datum of heights when the file does not say it (few do).
pub(super) fn read(name: &str, reader: impl Read + Seek, assumed: HeightDatum) -> Result<Tile, TerrainError> {
    let unreadable = |source: tiff::TiffError| TerrainError::Tiff {
        source,
        name: name.to_owned(),
    };
    let broken = |what: &'static str| TerrainError::Grid {
        what,
        name: name.to_owned(),
    };
    let mut limits = Limits::default();
    limits.decoding_buffer_size = 4 * MOST_NODES as usize;
    let mut decoder = Decoder::new(reader).map_err(unreadable)?.with_limits(limits);
    let (columns, rows) = decoder.dimensions().map_err(unreadable)?;
    if u64::from(columns) * u64::from(rows) > MOST_NODES {
        return Err(broken("more than 64 million heights"));
    }
    let keys = GeoKeys::of(&mut decoder).map_err(unreadable)?;
    keys.check_crs(name)?;
    let grid = grid_of(&mut decoder, name, &keys, rows as usize, columns as usize)?;
    let no_data = decoder
        .find_tag(Tag::GdalNodata)
        .map_err(unreadable)?
        .and_then(|value| value.into_string().ok())
        .and_then(|text| text.trim_matches(['\0', ' ']).parse::<f32>().ok());
    let heights = match decoder.read_image().map_err(unreadable)? {
        DecodingResult::I16(heights) => heights
            .into_iter()
            .map(|height| {
                if height == i16::MIN {
                    f32::NAN
                } else {
                    f32::from(height)
                }
            })
            .collect::<Vec<_>>(),
        DecodingResult::F32(heights) => heights,
        _ => {
            return Err(broken(
                "samples that are neither 16-bit integers nor 32-bit floats",
            ));
        }
    };
    let heights = heights
        .into_iter()
        .map(|height| match no_data {
            Some(hole) if height.total_cmp(&hole).is_eq() => f32::NAN,
            _ => height,
        })
        .collect();
    Tile::new(name, keys.datum(name).unwrap_or(assumed), grid, heights)
}

/// The numbers of the `GeoKey` directory that are stored in place.
struct GeoKeys(Vec<(u16, u16)>);

impl GeoKeys {
    fn of<R: Read + Seek>(decoder: &mut Decoder<R>) -> Result<Self, tiff::TiffError> {
        let directory: Vec<u16> = decoder
            .find_tag_unsigned_vec(Tag::GeoKeyDirectoryTag)?
            .unwrap_or_default();
        Ok(Self(
            directory
                .get(4..)
                .unwrap_or_default()
                .chunks_exact(4)
                .filter_map(|entry| match entry {
                    &[key, 0, 1, value] => Some((key, value)),
                    _ => None,
                })
                .collect(),
        ))
    }

    fn value(&self, wanted: u16) -> Option<u16> {
        self.0
            .iter()
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| *value)
    }

    fn check_crs(&self, name: &str) -> Result<(), TerrainError> {
        let found = match (self.value(KEY_PROJECTED_CRS), self.value(KEY_GEOGRAPHIC_CRS)) {
            (Some(projected), _) => format!("EPSG:{projected}"),
            (None, Some(4326)) if matches!(self.value(KEY_MODEL_TYPE), None | Some(MODEL_GEOGRAPHIC)) => {
                return Ok(());
            }
            (None, Some(geographic)) => format!("EPSG:{geographic}"),
            (None, None) => "no coordinate reference system".to_owned(),
        };
        Err(TerrainError::Crs {
            found,
            name: name.to_owned(),
        })
    }

    /// Returns the vertical datum that the keys or a well-known name tell.
    fn datum(&self, name: &str) -> Option<HeightDatum> {
        match self.value(KEY_VERTICAL_CRS) {
            Some(3855) => Some(HeightDatum::Egm2008),
            Some(5773) => Some(HeightDatum::Egm96),
            Some(4979 | 5030) => Some(HeightDatum::Ellipsoid),
            _ => name.contains("Copernicus_DSM").then_some(HeightDatum::Egm2008),
        }
    }
}

fn grid_of<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    name: &str,
    keys: &GeoKeys,
    rows: usize,
    columns: usize,
) -> Result<NodeGrid, TerrainError> {
    let numbers = |decoder: &mut Decoder<R>, tag: Tag| -> Result<Vec<f64>, TerrainError> {
        let value = decoder.find_tag(tag).map_err(|source| TerrainError::Tiff {
            source,
            name: name.to_owned(),
        })?;
        Ok(value
            .and_then(|value| value.into_f64_vec().ok())
            .unwrap_or_default())
    };
    let scale = numbers(decoder, Tag::ModelPixelScaleTag)?;
    let tie = numbers(decoder, Tag::ModelTiepointTag)?;
    let transformation = numbers(decoder, Tag::ModelTransformationTag)?;
    let (step_lon, step_lat, west, north) =
        match (scale.as_slice(), tie.as_slice(), transformation.as_slice()) {
            ([step_lon, step_lat, ..], [column, row, _, lon, lat, ..], _) => (
                *step_lon,
                *step_lat,
                lon - column * step_lon,
                lat + row * step_lat,
            ),
            (_, _, [a, b, _, lon, c, d, _, lat, ..]) if b.abs() < 1e-15 && c.abs() < 1e-15 => {
                (*a, -d, *lon, *lat)
            }
            _ => {
                return Err(TerrainError::Grid {
                    what: "no upright grid: ModelPixelScale with ModelTiepoint is expected",
                    name: name.to_owned(),
                });
            }
        };
    // A pixel that is an area has its height in its middle.
    let middle = if keys.value(KEY_RASTER_TYPE) == Some(RASTER_PIXEL_IS_POINT) {
        0.0
    } else {
        0.5
    };
    Ok(NodeGrid {
        north: north - middle * step_lat,
        west: west + middle * step_lon,
        step_lat,
        step_lon,
        rows,
        columns,
    })
}
