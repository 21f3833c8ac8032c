//! The ground of a pipeline file, as `run` and `locate --pipeline` see it.

use std::path::Path;

use crate::config::place::TerrainSection;
use crate::config::plan;
use crate::flow::pose::HeightDatum;
use crate::geo::Terrain;

/// Reads the terrain of a pipeline; none where it names no file.
pub(crate) fn of(section: &TerrainSection, pipeline: &Path) -> anyhow::Result<Option<Terrain>> {
    if section.files.is_empty() {
        return Ok(None);
    }
    let files: Vec<_> = section
        .files
        .iter()
        .map(|file| plan::beside(pipeline, file))
        .collect();
    Ok(Some(Terrain::open(&files, HeightDatum::Egm2008)?))
}
