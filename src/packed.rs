//! The values of a tick's reads as one JavaScript string: one string is made and sliced, instead of
//! one made per value.
//!
//! No string is longer than [`PART_BYTES`], but for that of one value: V8 has a longest string, and
//! one value that exceeds it must not take others along.

use napi::{Env, JsString};
use session_store::{PART_BYTES, Text};

/// First the length of each value in UTF-16 units, four characters of a base-256 digit each (least
/// first; all 255: there is no value), then the values.
pub(crate) enum Packed {
    /// Every value is ASCII.
    Latin1(Vec<u8>),
    Utf16(Vec<u16>),
}

/// The length that tells of no value.
const ABSENT: u32 = u32::MAX;

impl Packed {
    /// The values in as few strings as may be, each with how many values it holds.
    pub(crate) fn parts(values: &[Option<Text>]) -> Vec<(usize, Self)> {
        let size = |value: &Option<Text>| value.as_ref().map_or(0, |text| text.as_str().len());
        let (mut parts, mut begin, mut bytes) = (Vec::with_capacity(1), 0, 0);
        for (at, value) in values.iter().enumerate() {
            if bytes + size(value) > PART_BYTES && at > begin {
                parts.push((at - begin, Packed::new(&values[begin..at])));
                (begin, bytes) = (at, 0);
            }
            bytes += size(value);
        }
        parts.push((values.len() - begin, Packed::new(&values[begin..])));
        parts
    }

    pub(crate) fn into_js<'env>(self, env: &'env Env) -> napi::Result<JsString<'env>> {
        match self {
            Packed::Latin1(text) => env.create_string_latin1(text),
            Packed::Utf16(text) => env.create_string_utf16(text),
        }
    }

    fn new(values: &[Option<Text>]) -> Self {
        let texts = || values.iter().flatten().map(Text::as_str);
        let head = values.len() * 4;
        if texts().all(str::is_ascii) {
            let mut packed = Vec::with_capacity(head + texts().map(str::len).sum::<usize>());
            for value in values {
                packed.extend(length(value.as_ref().map(|text| text.as_str().len())));
            }
            for text in texts() {
                packed.extend_from_slice(text.as_bytes());
            }
            return Packed::Latin1(packed);
        }
        let mut packed = Vec::with_capacity(head + texts().map(str::len).sum::<usize>());
        for value in values {
            let units = value.as_ref().map(|text| text.as_str().encode_utf16().count());
            packed.extend(length(units).map(u16::from));
        }
        for text in texts() {
            packed.extend(text.encode_utf16());
        }
        Packed::Utf16(packed)
    }
}

fn length(units: Option<usize>) -> [u8; 4] {
    units.map_or(ABSENT, |units| units as u32).to_le_bytes()
}
