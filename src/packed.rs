//! The values of a tick's reads as one JavaScript string: one string is made and sliced, instead of one made per value.

use session_store::Text;

/// First the length of each value in UTF-16 units, four characters of a base-256 digit each (least first; all 255: there
/// is no value), then the values.
pub(crate) enum Packed {
    /// Every value is ASCII.
    Latin1(Vec<u8>),
    Utf16(Vec<u16>),
}

/// The length that tells of no value.
const ABSENT: u32 = u32::MAX;

impl Packed {
    pub(crate) fn new(values: &[Option<Text>]) -> Self {
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
