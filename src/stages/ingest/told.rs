//! What a connection tells once and not with every frame: its decoder, and whether the camera's clock is wrong.

use std::ops::ControlFlow;

use super::drive::Ingested;
use super::reader::Reader;
use super::stats::IngestStats;

/// What was told of a source so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    decoder: Option<String>,
    is_clock_wrong: bool,
}

impl Told {
    /// Tells what is new, at a frame.
    pub(super) fn look(
        &mut self,
        reader: &dyn Reader,
        stats: &IngestStats,
        emit: &mut dyn FnMut(Ingested) -> ControlFlow<()>,
    ) {
        // One look per frame at a name would cost an allocation; the decoder does not change within a connection, and a
        // new one announces itself by the first frame.
        if self.decoder.is_none() {
            self.decoder = reader.decoder();
            if let Some(name) = self.decoder.clone() {
                // A pipeline that closes says so at the frame that follows.
                let _closing = emit(Ingested::Decoder(name));
            }
        }
        if let Some(offset) = reader.clock_offset() {
            stats.clock(offset.offset_s);
            if offset.alarm != self.is_clock_wrong {
                self.is_clock_wrong = offset.alarm;
                let _closing = emit(Ingested::Clock(offset));
            }
        }
    }
}
