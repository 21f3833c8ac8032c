//! Looks whether an MP4 or MOV file has its index, before a library is asked.
//!
//! GStreamer's parser sometimes swallows the demuxer's complaint about a missing index and then waits for ever.

use std::io::{Read, Seek, SeekFrom};

/// What the boxes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// The file has an index, or is no MP4.
    PresentOrForeign,
    /// The file is an MP4 whose index is missing, as after a recording that was cut off.
    Missing,
}

/// The most boxes looked at: a recording in fragments has an index at its beginning.
const BOXES: u32 = 1_000;

/// Walks the boxes of a file from its beginning.
pub(crate) fn index_of(file: &mut (impl Read + Seek)) -> std::io::Result<Index> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut at = 0_u64;
    for number in 0..BOXES {
        if length.saturating_sub(at) < 8 {
            return Ok(if number == 0 {
                Index::PresentOrForeign
            } else {
                Index::Missing
            });
        }
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0_u8; 8];
        file.read_exact(&mut header)?;
        let [a, b, c, d, kind @ ..] = header;
        let is_first_of_mp4 = matches!(
            &kind,
            b"ftyp" | b"wide" | b"mdat" | b"moov" | b"free" | b"skip" | b"pnot"
        );
        if number == 0 && !is_first_of_mp4 {
            return Ok(Index::PresentOrForeign);
        }
        if &kind == b"moov" {
            return Ok(Index::PresentOrForeign);
        }
        let size = match u32::from_be_bytes([a, b, c, d]) {
            // To the end of the file.
            0 => return Ok(Index::Missing),
            1 => {
                let mut large = [0_u8; 8];
                if length.saturating_sub(at) < 16 {
                    return Ok(Index::Missing);
                }
                file.read_exact(&mut large)?;
                u64::from_be_bytes(large)
            }
            size => u64::from(size),
        };
        if size < 8 {
            // Damaged: the library may know better.
            return Ok(Index::PresentOrForeign);
        }
        at = at.saturating_add(size);
    }
    Ok(Index::PresentOrForeign)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn boxed(kind: [u8; 4], content: usize) -> Vec<u8> {
        let size = u32::try_from(content + 8).expect("a small box");
        [&size.to_be_bytes()[..], &kind, &vec![0; content]].concat()
    }

    fn index(bytes: Vec<u8>) -> Index {
        index_of(&mut Cursor::new(bytes)).expect("memory can be read")
    }

    #[test]
    fn an_index_at_either_end_is_found_and_a_missing_one_is_missed() {
        let (kind, content, moov) = (boxed(*b"ftyp", 16), boxed(*b"mdat", 1000), boxed(*b"moov", 50));
        assert_eq!(
            index([kind.clone(), moov.clone(), content.clone()].concat()),
            Index::PresentOrForeign
        );
        assert_eq!(
            index([kind.clone(), content.clone(), moov].concat()),
            Index::PresentOrForeign
        );
        assert_eq!(index([kind.clone(), content.clone()].concat()), Index::Missing);
        assert_eq!(index([kind, content[..500].to_vec()].concat()), Index::Missing);
    }

    #[test]
    fn other_files_are_left_to_the_library() {
        assert_eq!(
            index(b"\x1a\x45\xdf\xa3 matroska".to_vec()),
            Index::PresentOrForeign
        );
        assert_eq!(index(b"x".to_vec()), Index::PresentOrForeign);
        assert_eq!(index(Vec::new()), Index::PresentOrForeign);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            index([boxed(*b"ftyp", 4), bytes].concat());
        }
    }
}
