//! Text of a file: UTF-8, or UTF-16 as spreadsheets write it.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::error::{Fault, Place, Problem};
use super::lines::Lines;

/// Decodes a text, without its byte order mark. Without a mark, a text is UTF-8, unless one of its
/// first two bytes is 0: a table begins with a character that is one byte in UTF-8.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or(match bytes {
        [0, other, ..] if *other != 0 => (UTF_16BE, 0),
        [other, 0, ..] if *other != 0 => (UTF_16LE, 0),
        _ => (UTF_8, 0),
    });
    let bytes = bytes.get(mark..).unwrap_or_default();
    if encoding == UTF_8 {
        return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let valid = String::from_utf8_lossy(valid);
            Fault::at(Place::Line(Lines::new(&valid).at(valid.len())), Problem::NotUtf8)
        });
    }
    let (text, malformed) = encoding.decode_without_bom_handling(bytes);
    if malformed {
        let place = text.find(char::REPLACEMENT_CHARACTER).unwrap_or_default();
        return Err(Fault::at(Place::Line(Lines::new(&text).at(place)), Problem::NotUtf16));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_removed_and_utf_16_is_decoded() {
        assert_eq!(decode(b"\xef\xbb\xbftypo").unwrap(), "typo");
        let text = "typo\tgröße 大\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (mark, bytes) in [(&b"\xff\xfe"[..], &little), (b"\xfe\xff", &big), (b"", &little), (b"", &big)] {
            assert_eq!(decode(&[mark, bytes].concat()).unwrap(), text, "{mark:?}");
        }
    }

    #[test]
    fn the_line_of_a_wrong_byte_is_named() {
        let fault = decode(b"typo\r\ncaf\xe9\r\n").unwrap_err();
        assert!(matches!((fault.place, fault.problem), (Some(Place::Line(2)), Problem::NotUtf8)));
        let mut bytes: Vec<u8> = "\u{feff}a\nb".encode_utf16().flat_map(u16::to_le_bytes).collect();
        bytes.extend([0x00, 0xd8]);
        let fault = decode(&bytes).unwrap_err();
        assert!(matches!((fault.place, fault.problem), (Some(Place::Line(2)), Problem::NotUtf16)));
    }
}
