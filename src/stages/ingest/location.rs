//! Where a source is to be found: a stream address or a path.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{IngestError, IngestErrorKind};

/// A user and a password. Neither is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Makes credentials from the environment, a file or an address.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }

    /// Returns the user's name, for handing it to the camera only.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password, for handing it to the camera only.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(hidden)")
    }
}

/// Where a source is to be found. Printing it shows neither credentials nor the query, which often carries a token.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// RTSP over TCP, UDP or TLS.
    Rtsp(String),
    /// RTMP push or pull server.
    Rtmp(String),
    /// SRT, caller or listener, carrying an MPEG transport stream.
    Srt(String),
    /// An MPEG transport stream in UDP datagrams, unicast or multicast.
    Udp(String),
    /// An HLS playlist.
    Hls(String),
    /// One media file behind HTTP.
    Http(String),
    /// A file on this machine.
    File(PathBuf),
}

impl Location {
    /// Reads an address or a path, and takes credentials out of it where it carries some.
    pub fn parse(text: &str) -> Result<(Self, Option<Credentials>), IngestError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(IngestError::new(
                IngestErrorKind::BadLocation,
                "",
                "the address is empty",
            ));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok((Self::File(PathBuf::from(text)), None));
        };
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" {
            return Ok((Self::File(PathBuf::from(percent_decoded(rest))), None));
        }
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(authority_end);
        let (credentials, host) = match authority.rsplit_once('@') {
            // A multicast group is written udp://@239.0.0.1:5004 by some programs: an empty user is none.
            Some(("", host)) => (None, host),
            Some((user_and_password, host)) => {
                let (user, password) = user_and_password
                    .split_once(':')
                    .unwrap_or((user_and_password, ""));
                (
                    Some(Credentials::new(percent_decoded(user), percent_decoded(password))),
                    host,
                )
            }
            None => (None, authority),
        };
        let address = format!("{scheme}://{host}{tail}");
        if host.is_empty() && scheme != "srt" && scheme != "udp" {
            return Err(IngestError::new(
                IngestErrorKind::BadLocation,
                &address,
                "there is no host between :// and the path",
            ));
        }
        let path = tail.split(['?', '#']).next().unwrap_or_default();
        let is_playlist = Path::new(path)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("m3u8"));
        let location = match scheme.as_str() {
            "rtsp" | "rtsps" | "rtspt" | "rtspu" => Self::Rtsp(address),
            "rtmp" | "rtmps" => Self::Rtmp(address),
            "srt" => Self::Srt(address),
            "udp" => Self::Udp(address),
            "http" | "https" if is_playlist => Self::Hls(address),
            "http" | "https" => Self::Http(address),
            _ => {
                return Err(IngestError::new(
                    IngestErrorKind::BadLocation,
                    &format!("{scheme}://…"),
                    "expected rtsp, rtsps, rtmp, srt, udp, http, https or a path",
                ));
            }
        };
        Ok((location, credentials))
    }

    /// Returns the whole address for the library that opens it; not for logs.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Rtsp(address)
            | Self::Rtmp(address)
            | Self::Srt(address)
            | Self::Udp(address)
            | Self::Hls(address)
            | Self::Http(address) => address,
            Self::File(path) => path.to_str().unwrap_or_default(),
        }
    }

    /// Says whether this is a file on this machine or behind HTTP, which can be read to its end.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        matches!(self, Self::File(_) | Self::Http(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::File(path) = self {
            return write!(formatter, "{}", path.display());
        }
        match self.address().split_once('?') {
            Some((before, _)) => write!(formatter, "{before}?…"),
            None => formatter.write_str(self.address()),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Location({self})")
    }
}

/// The endings of files that are taken for video when a folder is given.
pub const VIDEO_EXTENSIONS: [&str; 14] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "flv", "h264", "h265",
];

/// Returns the video files of a folder and of the folders in it, sorted by path; an error where there is none.
pub fn recordings_in(folder: &Path) -> Result<Vec<PathBuf>, IngestError> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_path_buf(), 0_u32)];
    while let Some((current, depth)) = folders.pop() {
        let unreadable = |error: std::io::Error| {
            IngestError::new(
                IngestErrorKind::Unreadable,
                &current.display().to_string(),
                "the folder cannot be read",
            )
            .caused_by(error)
        };
        for entry in std::fs::read_dir(&current).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            let path = entry.path();
            // Links to folders are not followed: they may lead in a circle.
            if kind.is_dir() && depth < 16 {
                folders.push((path, depth + 1));
            } else if !kind.is_dir() && has_video_extension(&path) {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        return Err(IngestError::new(
            IngestErrorKind::NotFound,
            &folder.display().to_string(),
            "the folder holds no video file",
        ));
    }
    found.sort();
    Ok(found)
}

fn has_video_extension(path: &Path) -> bool {
    path.extension()
        .and_then(std::ffi::OsStr::to_str)
        .is_some_and(|extension| {
            VIDEO_EXTENSIONS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(extension))
        })
}

/// Undoes percent encoding; a percent sign that is not followed by two hexadecimal digits stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let rest = bytes.as_slice_of_two();
        match (byte, rest) {
            (b'%', Some([high, low])) => {
                decoded.push(high * 16 + low);
                bytes.next();
                bytes.next();
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Looks two hexadecimal digits ahead without taking them.
trait TwoHexDigits {
    fn as_slice_of_two(&self) -> Option<[u8; 2]>;
}

impl TwoHexDigits for std::str::Bytes<'_> {
    fn as_slice_of_two(&self) -> Option<[u8; 2]> {
        let mut ahead = self.clone();
        let mut digit = || u8::try_from(char::from(ahead.next()?).to_digit(16)?).ok();
        Some([digit()?, digit()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Location {
        Location::parse(text).expect("the address is good").0
    }

    #[test]
    fn each_scheme_finds_its_kind() {
        assert!(matches!(parsed("rtsp://10.0.0.7:554/live"), Location::Rtsp(_)));
        assert!(matches!(parsed("RTSPS://camera/live"), Location::Rtsp(_)));
        assert!(matches!(parsed("rtmp://host/app/key"), Location::Rtmp(_)));
        assert!(matches!(parsed("srt://:9000?mode=listener"), Location::Srt(_)));
        assert!(matches!(parsed("udp://@239.1.1.1:5000"), Location::Udp(_)));
        assert!(matches!(
            parsed("https://host/a/live.m3u8?token=1"),
            Location::Hls(_)
        ));
        assert!(matches!(parsed("https://host/a/film.mp4"), Location::Http(_)));
        assert!(matches!(parsed("clips/a b.mp4"), Location::File(_)));
        assert_eq!(
            parsed("file:///tmp/a%20b.mp4"),
            Location::File(PathBuf::from("/tmp/a b.mp4"))
        );
    }

    #[test]
    fn credentials_leave_the_address_and_never_show() {
        let (location, credentials) =
            Location::parse("rtsp://admin:p%40ss%3A1@10.0.0.7/live?token=abc").expect("the address is good");
        let credentials = credentials.expect("the address carries credentials");
        assert_eq!(credentials.user(), "admin");
        assert_eq!(credentials.password(), "p@ss:1");
        let shown = format!("{location} {location:?} {credentials:?}");
        for secret in ["admin", "p@ss", "p%40", "abc"] {
            assert!(!shown.contains(secret), "{secret} shows in {shown}");
        }
        assert_eq!(location.address(), "rtsp://10.0.0.7/live?token=abc");
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_the_choices() {
        let error = Location::parse("gopher://user:secret@x/y").expect_err("nobody speaks gopher");
        assert!(error.to_string().contains("rtsp, rtsps, rtmp, srt, udp"));
        assert!(!error.to_string().contains("secret"));
        assert!(Location::parse("rtsp:///live").is_err());
        assert!(Location::parse("  ").is_err());
    }

    #[test]
    fn a_percent_sign_without_digits_stays() {
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%41"), "%zzA");
        assert_eq!(percent_decoded("%"), "%");
    }
}
