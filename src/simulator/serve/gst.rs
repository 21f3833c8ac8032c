//! The RTSP server, and the reading of recordings into memory.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;

use super::{Encoding, Piece, RECORDING_BYTES, Reel, ServeError};
use crate::clock::Clock;
use crate::telemetry::klv::sei::PictureTime;

/// How often a running server looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long nothing may come out of a recording while it is read into memory.
const STUCK: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Serves recordings on 127.0.0.1.
pub struct RtspServer {
    server: rtsp::RTSPServer,
    context: gst::glib::MainContext,
    is_guarded: bool,
    /// Whose time pictures carry; none carry any without.
    stamps: Option<Arc<dyn Clock>>,
    port: u16,
}

impl RtspServer {
    /// Opens a port; 0 takes any free one. With a user and password, clients must give them.
    pub fn bind(port: u16, guard: Option<(&str, &str)>) -> Result<Self, ServeError> {
        gst::init().map_err(|error| ServeError::Library(error.to_string()))?;
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&port.to_string());
        if let Some((user, password)) = guard {
            let auth = rtsp::RTSPAuth::new();
            let token = rtsp::RTSPToken::builder()
                .field(rtsp::RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
                .build();
            auth.add_basic(&rtsp::RTSPAuth::make_basic(user, password), &token);
            server.set_auth(Some(&auth));
        }
        let context = gst::glib::MainContext::new();
        server
            .attach(Some(&context))
            .map_err(|_taken| ServeError::Port { port })?;
        let bound = u16::try_from(server.bound_port()).map_err(|_taken| ServeError::Port { port })?;
        Ok(Self {
            server,
            context,
            is_guarded: guard.is_some(),
            stamps: None,
            port: bound,
        })
    }

    /// Makes every picture that is served from here on say when it was taken (ST 0604).
    #[must_use]
    pub fn stamped(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            stamps: Some(clock),
            ..self
        }
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves a recording under some names, and returns their addresses.
    pub fn serve_file(&self, path: &Path, names: &[String]) -> Result<Vec<String>, ServeError> {
        let reel = Arc::new(load(path)?);
        let mounts = self
            .server
            .mount_points()
            .ok_or_else(|| ServeError::Library("no mount points".to_owned()))?;
        let codec = match reel.encoding {
            Encoding::H264 => "h264",
            Encoding::H265 => "h265",
        };
        let launch = format!(
            "( appsrc name=reel is-live=true format=time ! {codec}parse ! rtp{codec}pay name=pay0 pt=96 config-interval=-1 )"
        );
        Ok(names
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let factory = rtsp::RTSPMediaFactory::new();
                factory.set_launch(&launch);
                factory.set_shared(true);
                if self.is_guarded {
                    let role = gst::Structure::builder("viewer")
                        .field("media.factory.access", true)
                        .field("media.factory.construct", true)
                        .build();
                    factory.add_role_from_structure(&role);
                }
                let begin = reel.begin(number, names.len());
                let reel = Arc::clone(&reel);
                let stamps = self.stamps.clone();
                factory.connect_media_configure(move |_, media| feed(media, &reel, begin, stamps.clone()));
                mounts.add_factory(&format!("/{name}"), factory);
                format!("rtsp://127.0.0.1:{}/{name}", self.port)
            })
            .collect())
    }

    /// Serves until told to stop; the duration given to `stop` is always zero.
    pub fn run(&self, stop: &dyn Fn(Duration) -> bool) {
        // Wakes the loop, so that the stop is seen when no client speaks.
        let tick = gst::glib::timeout_source_new(LOOK_EVERY, None, gst::glib::Priority::DEFAULT, || {
            gst::glib::ControlFlow::Continue
        });
        tick.attach(Some(&self.context));
        while !stop(Duration::ZERO) {
            self.context.iteration(true);
        }
        tick.destroy();
    }
}

/// Sends the reel's pieces as the media asks for them, from a place on; its sinks keep the pace.
fn feed(media: &rtsp::RTSPMedia, reel: &Arc<Reel>, begin: u64, stamps: Option<Arc<dyn Clock>>) {
    let bin = media.element().downcast::<gst::Bin>().ok();
    let source = bin.and_then(|bin| bin.by_name_recurse_up("reel")?.downcast::<gst_app::AppSrc>().ok());
    let Some(source) = source else { return };
    if let Ok(caps) = reel.media_type.parse::<gst::Caps>() {
        source.set_caps(Some(&caps));
    }
    let reel = Arc::clone(reel);
    let origin = reel.piece(begin).map_or(0, |piece| piece.dts);
    let next = AtomicU64::new(begin);
    let started = OnceLock::new();
    source.set_callbacks(
        gst_app::AppSrcCallbacks::builder()
            .need_data(move |source, _| {
                let Some(piece) = reel.piece(next.fetch_add(1, Ordering::Relaxed)) else {
                    return;
                };
                let mut buffer = if let Some(clock) = &stamps {
                    let started = started.get_or_init(|| clock.wall()).as_microsecond();
                    let time = PictureTime {
                        time_us: started.cast_unsigned() + piece.pts.saturating_sub(origin) / 1_000,
                        locked: true,
                        jumped: false,
                    };
                    gst::Buffer::from_slice(reel.with_message(&piece.bytes, time))
                } else {
                    gst::Buffer::from_slice(piece.bytes)
                };
                if let Some(buffer) = buffer.get_mut() {
                    buffer.set_pts(gst::ClockTime::from_nseconds(piece.pts.saturating_sub(origin)));
                    buffer.set_dts(gst::ClockTime::from_nseconds(piece.dts.saturating_sub(origin)));
                    if !piece.is_key {
                        buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
                    }
                }
                // A client that left makes the push fail; the media is then taken down by the server.
                let _gone = source.push_buffer(buffer);
            })
            .build(),
    );
}

/// Reads a recording into memory as byte-stream access units.
fn load(path: &Path) -> Result<Reel, ServeError> {
    let library = |error: gst::glib::BoolError| ServeError::Library(error.to_string());
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("filesrc")
        .property("location", path.to_path_buf())
        .build()
        .map_err(library)?;
    let parsebin = gst::ElementFactory::make("parsebin").build().map_err(library)?;
    let wanted = |codec: &str| {
        gst::Structure::builder(codec)
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build()
    };
    let caps: gst::Caps = ["video/x-h264", "video/x-h265"].into_iter().map(wanted).collect();
    let sink = gst_app::AppSink::builder()
        .caps(&caps)
        .sync(false)
        .max_buffers(64)
        .build();
    pipeline
        .add_many([&source, &parsebin, sink.upcast_ref()])
        .map_err(library)?;
    source.link(&parsebin).map_err(library)?;
    let (weak, target) = (pipeline.downgrade(), sink.clone());
    parsebin.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        // What cannot be joined stays open; the wait below ends with the bus's word on it.
        let _joined = join(&pipeline, pad, &target);
    });
    let outcome = pull_all(path, &pipeline, &sink);
    // A pipeline that cannot be stopped cannot be helped either.
    let _stopped = pipeline.set_state(gst::State::Null);
    outcome
}

fn join(pipeline: &gst::Pipeline, pad: &gst::Pad, sink: &gst_app::AppSink) -> Option<()> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let parser = match caps.structure(0)?.name().as_str() {
        "video/x-h264" => "h264parse",
        "video/x-h265" => "h265parse",
        _ => "",
    };
    let exit = sink.static_pad("sink")?;
    if parser.is_empty() || exit.is_linked() {
        let end = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()
            .ok()?;
        pipeline.add(&end).ok()?;
        end.sync_state_with_parent().ok()?;
        return pad.link(&end.static_pad("sink")?).ok().map(drop);
    }
    let parser = gst::ElementFactory::make(parser)
        .property("config-interval", -1_i32)
        .build()
        .ok()?;
    pipeline.add(&parser).ok()?;
    parser.static_pad("src")?.link(&exit).ok()?;
    parser.sync_state_with_parent().ok()?;
    pad.link(&parser.static_pad("sink")?).ok().map(drop)
}

fn pull_all(path: &Path, pipeline: &gst::Pipeline, sink: &gst_app::AppSink) -> Result<Reel, ServeError> {
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|error| ServeError::file(path, error.to_string()))?;
    let (mut pieces, mut bytes, mut media_type) = (Vec::new(), 0_usize, None);
    let mut waited = gst::ClockTime::ZERO;
    let slice = gst::ClockTime::from_mseconds(100);
    while !sink.is_eos() {
        let Some(sample) = sink.try_pull_sample(slice) else {
            let words = pipeline
                .bus()
                .and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            if let Some(gst::MessageView::Error(error)) = words.as_ref().map(|message| message.view()) {
                return Err(ServeError::file(path, error.error().message().to_owned()));
            }
            waited += slice;
            if waited > STUCK {
                return Err(ServeError::file(
                    path,
                    "no H.264 or H.265 picture comes out of it",
                ));
            }
            continue;
        };
        waited = gst::ClockTime::ZERO;
        let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps()) else {
            continue;
        };
        let map = buffer
            .map_readable()
            .map_err(|error| ServeError::Library(error.to_string()))?;
        let Some(pts) = buffer.pts().or_else(|| buffer.dts()) else {
            continue;
        };
        bytes += map.len();
        if bytes > RECORDING_BYTES {
            return Err(ServeError::file(
                path,
                format!("it is larger than {} MiB", RECORDING_BYTES >> 20),
            ));
        }
        media_type.get_or_insert_with(|| caps.to_string());
        pieces.push(Piece {
            bytes: Arc::from(map.as_slice()),
            pts: pts.nseconds(),
            dts: buffer.dts().unwrap_or(pts).nseconds(),
            is_key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
        });
    }
    let media_type = media_type.ok_or_else(|| ServeError::file(path, "it holds no picture"))?;
    let encoding = if media_type.starts_with("video/x-h265") {
        Encoding::H265
    } else {
        Encoding::H264
    };
    Reel::new(encoding, media_type, pieces).ok_or_else(|| ServeError::file(path, "it holds no picture"))
}
