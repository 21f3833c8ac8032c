//! SRTM `.hgt`: big-endian 16-bit heights above EGM96, 1201 or 3601 rows and columns, named after its south-west corner.

use crate::flow::pose::HeightDatum;

use super::TerrainError;
use super::tile::{NodeGrid, Tile};

/// Reads a tile from the bytes of a file called `name`, such as `N35E113.hgt`.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Tile, TerrainError> {
    let broken = |what: &'static str| TerrainError::Grid {
        what,
        name: name.to_owned(),
    };
    let (south, west) =
        corner(name).ok_or_else(|| broken("a name unlike N35E113.hgt, which says where it lies"))?;
    let nodes = match bytes.len() {
        2_884_802 => 1201,
        25_934_402 => 3601,
        _ => return Err(broken("neither 1201 × 1201 nor 3601 × 3601 heights of two bytes")),
    };
    let heights = bytes
        .chunks_exact(2)
        .map(|pair| match pair {
            &[high, low] => i16::from_be_bytes([high, low]),
            _ => i16::MIN,
        })
        .map(|height| {
            if height == i16::MIN {
                f32::NAN
            } else {
                f32::from(height)
            }
        })
        .collect();
    let step = 1.0 / (nodes - 1) as f64;
    let grid = NodeGrid {
        north: south + 1.0,
        west,
        step_lat: step,
        step_lon: step,
        rows: nodes,
        columns: nodes,
    };
    Tile::new(name, HeightDatum::Egm96, grid, heights)
}

/// Returns latitude and longitude of the south-west corner that a name tells.
fn corner(name: &str) -> Option<(f64, f64)> {
    let stem = name.rsplit(['/', '\\']).next()?.split('.').next()?;
    let (lat, lon) = (stem.get(0..3)?, stem.get(3..7)?);
    let signed = |text: &str, positive: char, negative: char| {
        let mut characters = text.chars();
        let letter = characters.next()?.to_ascii_uppercase();
        let digits = characters.as_str();
        let whole: u16 = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())??;
        match letter {
            _ if letter == positive => Some(f64::from(whole)),
            _ if letter == negative => Some(-f64::from(whole)),
            _ => None,
        }
    };
    Some((signed(lat, 'N', 'S')?, signed(lon, 'E', 'W')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pose::Wgs84;

    fn made(height: impl Fn(usize, usize) -> i16) -> Vec<u8> {
        (0..1201)
            .flat_map(|row| (0..1201).map(move |column| (row, column)))
            .flat_map(|(row, column)| height(row, column).to_be_bytes())
            .collect()
    }

    #[test]
    fn the_name_says_where_the_tile_lies() {
        assert_eq!(corner("N35E113.hgt"), Some((35.0, 113.0)));
        assert_eq!(corner("/srtm/S07W079.SRTMGL1.hgt"), Some((-7.0, -79.0)));
        assert_eq!(corner("X35E113.hgt"), None);
        assert_eq!(corner("N3"), None);
    }

    #[test]
    fn rows_run_southwards_and_columns_eastwards() {
        let tile = read("N35E113.hgt", &made(|row, column| (row + 2 * column) as i16)).unwrap();
        assert_eq!(tile.datum(), HeightDatum::Egm96);
        let corner = tile
            .between_nodes_m(Wgs84 {
                lat: 36.0,
                lon: 113.0,
            })
            .unwrap();
        assert!(corner.abs() < 1e-6);
        let south_east = tile
            .between_nodes_m(Wgs84 {
                lat: 35.0,
                lon: 114.0,
            })
            .unwrap();
        assert!((south_east - 3600.0).abs() < 1e-6);
        let middle = tile
            .between_nodes_m(Wgs84 {
                lat: 35.5,
                lon: 113.5,
            })
            .unwrap();
        assert!((middle - 1800.0).abs() < 1e-6);
    }

    #[test]
    fn a_hole_has_no_height_and_touches_only_its_four_cells() {
        let tile = read(
            "N35E113.hgt",
            &made(|row, column| if (row, column) == (600, 600) { i16::MIN } else { 90 }),
        )
        .unwrap();
        assert_eq!(tile.holes(), 1);
        assert!(
            tile.between_nodes_m(Wgs84 {
                lat: 35.5001,
                lon: 113.5001
            })
            .is_none()
        );
        assert!(
            tile.between_nodes_m(Wgs84 {
                lat: 35.502,
                lon: 113.502
            })
            .is_some()
        );
    }

    #[test]
    fn a_file_of_another_size_is_refused() {
        let error = read("N35E113.hgt", &[0; 100]).unwrap_err().to_string();
        assert!(error.contains("1201") && error.contains("N35E113.hgt"), "{error}");
    }
}
