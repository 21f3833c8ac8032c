//! Reads GStreamer's error messages.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::super::error::{IngestError, IngestErrorKind};

/// Returns the first error that waits on the pipeline's bus.
pub(crate) fn first_on_bus(pipeline: &gst::Pipeline, location: &str) -> Option<IngestError> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(from_message(error, location)),
        _ => None,
    }
}

/// Translates an error message.
pub(crate) fn from_message(message: &gst::message::Error, location: &str) -> IngestError {
    let error = message.error();
    let debug = message.debug().map(|text| text.to_string()).unwrap_or_default();
    let kind = kind_of(&error, &debug);
    // The library's own text may repeat the address with its query; only the part before the address is kept.
    let words = error
        .message()
        .split("://")
        .next()
        .unwrap_or_default()
        .trim()
        .trim_end_matches('.');
    let detail = match kind {
        IngestErrorKind::NotFound => "it does not exist".to_owned(),
        IngestErrorKind::NotMedia => "it is no video that this program knows".to_owned(),
        IngestErrorKind::Truncated => {
            "its index is missing, as after a recording that was cut off".to_owned()
        }
        IngestErrorKind::Unauthorised => "the server refused the user or the password".to_owned(),
        IngestErrorKind::Unreachable => "nothing answers there".to_owned(),
        IngestErrorKind::Silent => "the server did not answer in time".to_owned(),
        _ => format!("the library says {words:?}"),
    };
    let element = message
        .src()
        .map(|source| source.name().to_string())
        .unwrap_or_default();
    IngestError::new(kind, location, detail).caused_by(LibraryError {
        element,
        words: words.to_owned(),
    })
}

/// What the library said, without addresses.
#[derive(Debug, thiserror::Error)]
#[error("{element}: {words}")]
struct LibraryError {
    element: String,
    words: String,
}

fn kind_of(error: &gst::glib::Error, debug: &str) -> IngestErrorKind {
    let lower = debug.to_ascii_lowercase();
    if let Some(resource) = error.kind::<gst::ResourceError>() {
        return match resource {
            gst::ResourceError::NotFound
                if lower.contains("failed to connect") || lower.contains("could not resolve") =>
            {
                IngestErrorKind::Unreachable
            }
            gst::ResourceError::NotFound => IngestErrorKind::NotFound,
            gst::ResourceError::NotAuthorized => IngestErrorKind::Unauthorised,
            _ if lower.contains("unauthorized") || lower.contains("(401)") => IngestErrorKind::Unauthorised,
            _ if lower.contains("not found (404)") => IngestErrorKind::NotFound,
            _ if lower.contains("timeout") || lower.contains("timed out") => IngestErrorKind::Silent,
            gst::ResourceError::OpenRead
            | gst::ResourceError::OpenReadWrite
            | gst::ResourceError::OpenWrite => IngestErrorKind::Unreachable,
            gst::ResourceError::Read | gst::ResourceError::Write | gst::ResourceError::Close => {
                IngestErrorKind::Lost
            }
            _ => IngestErrorKind::Other,
        };
    }
    if let Some(stream) = error.kind::<gst::StreamError>() {
        return match stream {
            gst::StreamError::CodecNotFound => IngestErrorKind::UnsupportedCodec,
            gst::StreamError::Demux
                if lower.contains("moov") || lower.contains("incomplete") || lower.contains("truncated") =>
            {
                IngestErrorKind::Truncated
            }
            gst::StreamError::TypeNotFound | gst::StreamError::WrongType | gst::StreamError::Demux => {
                IngestErrorKind::NotMedia
            }
            gst::StreamError::Decode | gst::StreamError::Format => IngestErrorKind::Undecodable,
            _ => IngestErrorKind::Other,
        };
    }
    match error.kind::<gst::CoreError>() {
        Some(gst::CoreError::MissingPlugin) => IngestErrorKind::PluginMissing,
        _ => IngestErrorKind::Other,
    }
}
