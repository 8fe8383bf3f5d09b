//! The values of a tick's reads as one JavaScript string. Making one string and slicing it costs
//! less than making a string for each value.
//!
//! No string is longer than [`PART_BYTES`], except that of a single value. V8 limits the length of
//! a string, and one value that exceeds the limit must not fail the others.
//!
//! Threads: packed on the store thread, turned into a string on the JavaScript thread.
//! `lib/native/reads.ts` unpacks.

use napi::{Env, JsString};
use session_store::{PART_BYTES, Text};

/// First the length of each value in UTF-16 units, then the values. A length is four characters,
/// each a base-256 digit, the least significant first. All four are 255 where there is no value.
pub(crate) enum Packed {
    /// Every value is ASCII.
    Latin1(Vec<u8>),
    Utf16(Vec<u16>),
}

/// In place of a length: there is no value.
const ABSENT: u32 = u32::MAX;

impl Packed {
    /// The values in as few strings as possible, each with how many values it holds.
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
                packed.extend(length_digits(value.as_ref().map(|text| text.as_str().len())));
            }
            for text in texts() {
                packed.extend_from_slice(text.as_bytes());
            }
            return Packed::Latin1(packed);
        }
        let mut packed = Vec::with_capacity(head + texts().map(str::len).sum::<usize>());
        for value in values {
            let units = value.as_ref().map(|text| text.as_str().encode_utf16().count());
            packed.extend(length_digits(units).map(u16::from));
        }
        for text in texts() {
            packed.extend(text.encode_utf16());
        }
        Packed::Utf16(packed)
    }
}

fn length_digits(units: Option<usize>) -> [u8; 4] {
    units.map_or(ABSENT, |units| units as u32).to_le_bytes()
}
