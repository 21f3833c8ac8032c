//! A video of the frames that were looked at, with their boxes.

use std::path::{Path, PathBuf};

use super::files::OutputError;
use super::gst::VideoWriter;
use crate::flow::track::JudgedFrame;
use crate::stages::evidence::picture::to_rgb;
use crate::stages::evidence::snapshot::{Annotation, draw};

/// Writes one annotated video.
pub struct Annotator {
    path: PathBuf,
    writer: Option<(VideoWriter, u32, u32)>,
}

impl Annotator {
    /// Begins a video; the file is made with the first frame, which gives it its size.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            writer: None,
        }
    }

    /// Adds a frame; one of another size than the first is left out.
    pub fn add(&mut self, frame: &JudgedFrame) -> Result<(), OutputError> {
        let Some(mut image) = to_rgb(&frame.picture) else {
            return Ok(());
        };
        draw(&mut image, &Annotation::of(frame));
        let failed = |error| OutputError::new("write", &self.path, error);
        let (width, height) = image.dimensions();
        if self.writer.is_none() {
            let writer = VideoWriter::create(&self.path, width, height).map_err(failed)?;
            self.writer = Some((writer, width, height));
        }
        match &mut self.writer {
            Some((writer, first_width, first_height)) if (*first_width, *first_height) == (width, height) => {
                writer.add(&image, frame.meta.pts).map_err(failed)
            }
            _ => Ok(()),
        }
    }

    /// Ends the video.
    pub fn finish(self) -> Result<(), OutputError> {
        let path = self.path;
        self.writer
            .map_or(Ok(()), |(writer, _, _)| writer.finish())
            .map_err(|error| OutputError::new("write", &path, error))
    }
}
