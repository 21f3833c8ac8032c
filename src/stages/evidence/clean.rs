//! The frame as it was, for training: nothing is drawn in, what was called fire in it stands in the file's comment.
//!
//! Boxes and picture are one file, so that a backup, a retention rule or a copy never has one without the other.

use serde::{Deserialize, Serialize};

use super::picture::to_rgb;
use super::snapshot::encode;
use crate::flow::detection::{BBox, Class};
use crate::flow::frame::Picture;

/// Something that was called fire.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// What it looks like.
    pub class: Class,
    /// Where, in pixels of the picture.
    #[serde(rename = "box")]
    pub bbox: BBox,
}

/// What the comment says.
#[derive(Debug, Serialize, Deserialize)]
struct Comment {
    emberwatch_seen: Vec<Seen>,
}

/// The marker of a comment segment (ITU-T T.81, B.2.4.5), …
const COMMENT: u8 = 0xFE;
/// … of the start of the image …
const START: [u8; 2] = [0xFF, 0xD8];
/// … and of the first scan, after which come pixels.
const SCAN: u8 = 0xDA;
/// A segment's length is two bytes and counts itself.
const LONGEST: usize = 65_533;

/// Returns the frame at source size as JPEG with what was seen in it; `None` where the picture cannot be read.
#[must_use]
pub fn clean_jpeg(picture: &Picture, seen: &[Seen]) -> Option<Vec<u8>> {
    let jpeg = encode(&to_rgb(picture)?)?;
    let comment = serde_json::to_vec(&Comment {
        emberwatch_seen: seen.to_vec(),
    })
    .ok()
    .filter(|comment| comment.len() <= LONGEST)?;
    let length = u16::try_from(comment.len() + 2).ok()?.to_be_bytes();
    let rest = jpeg.strip_prefix(&START)?;
    Some([&START, &[0xFF, COMMENT], &length, comment.as_slice(), rest].concat())
}

/// Reads what was seen in a frame out of its file; none where it does not say.
#[must_use]
pub fn seen_in(jpeg: &[u8]) -> Option<Vec<Seen>> {
    let mut rest = jpeg.strip_prefix(&START)?;
    loop {
        let (head, after) = rest.split_at_checked(4)?;
        let [0xFF, marker, high, low] = *head else {
            return None;
        };
        if marker == SCAN {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([high, low])).checked_sub(2)?;
        let (body, next) = after.split_at_checked(length)?;
        if marker == COMMENT
            && let Ok(comment) = serde_json::from_slice::<Comment>(body)
        {
            return Some(comment.emberwatch_seen);
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::frame::{ColourMatrix, ColourRange, PixelFormat, PlanarBuffer};

    fn grey() -> Picture {
        Picture {
            format: PixelFormat::Nv12,
            width: 64,
            height: 48,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(vec![
                (vec![60; 64 * 48], 64),
                (vec![128; 64 * 24], 64),
            ])),
        }
    }

    #[test]
    fn a_clean_frame_says_what_was_seen_and_shows_nothing_of_it() {
        let seen = [Seen {
            class: Class::Smoke,
            bbox: BBox::new(8.0, 6.5, 24.0, 18.0),
        }];
        let jpeg = clean_jpeg(&grey(), &seen).unwrap();
        assert_eq!(seen_in(&jpeg).unwrap(), seen);
        let image = image::load_from_memory(&jpeg).unwrap().to_luma8();
        let first = image.get_pixel(0, 0).0[0];
        assert!(image.pixels().all(|pixel| pixel.0[0].abs_diff(first) <= 1));
    }

    #[test]
    fn a_file_that_says_nothing_or_is_cut_anywhere_gives_nothing() {
        let jpeg = clean_jpeg(&grey(), &[]).unwrap();
        assert_eq!(seen_in(&jpeg), Some(vec![]));
        let comment_ends = 6 + usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]])) - 2;
        for length in 0..comment_ends {
            assert_eq!(seen_in(&jpeg[..length]), None, "{length}");
        }
        let plain = encode(&to_rgb(&grey()).unwrap()).unwrap();
        assert_eq!(seen_in(&plain), None);
        assert_eq!(seen_in(b"\x89PNG"), None);
    }
}
