//! How many values are read together: no more than fit into one part, so that memory and waiting
//! times are bounded whatever their number and length.

use super::state::Store;
use crate::engine::Engine;
use crate::error::Result;
use crate::keys::{NOT_BEFORE_PREFIX, SESSION_LIST_PREFIX};
use crate::read_log::KeyToRead;

/// How many bytes are read together at most. A larger value is read alone.
pub const PART_BYTES: usize = 32 * 1024 * 1024;

/// How many keys of unknown length are read together at most without asking for their lengths.
pub(super) const UNMEASURED: usize = 4;

/// The most records that are read ahead, or listed together.
pub(super) const READ_AHEAD: usize = 1000;

impl<E: Engine> Store<E> {
    /// How many keys each part holds, in the order of the keys.
    pub(super) async fn parts(&self, keys: &[KeyToRead<'_>]) -> Result<Vec<usize>> {
        Ok(parts_of(&self.lengths(keys).await?, PART_BYTES))
    }

    /// As [`Store::parts`], of so many bytes at most.
    pub(super) async fn parts_within(&self, keys: &[&str], most: usize) -> Result<Vec<usize>> {
        Ok(parts_of(&self.lengths(&self.read_log.look_up(keys)).await?, most))
    }

    /// The lengths of the values in bytes: those that are known, and the engine's answer for the
    /// others.
    async fn lengths(&self, keys: &[KeyToRead<'_>]) -> Result<Vec<usize>> {
        // Markers and lists are short: a number, or a list of tokens.
        let is_short =
            |key: &str| key.starts_with(NOT_BEFORE_PREFIX) || key.starts_with(SESSION_LIST_PREFIX);
        let known = |key: &KeyToRead<'_>| {
            key.length.or_else(|| self.lengths.get(&key.hash)).or(is_short(key.key).then_some(0))
        };
        let mut lengths: Vec<_> = keys.iter().map(known).collect();
        let unknown: Vec<_> = (0..keys.len()).filter(|at| lengths[*at].is_none()).collect();
        if unknown.len() > UNMEASURED {
            self.wait_for_pending_ends().await?;
            let unknown_keys: Vec<_> = unknown.iter().map(|at| keys[*at].key).collect();
            let found = self.engine.lengths(&unknown_keys).await?;
            for (at, length) in unknown.into_iter().zip(found) {
                lengths[at] = Some(length);
            }
        }
        Ok(lengths.into_iter().map(Option::unwrap_or_default).collect())
    }
}

/// How many values of these lengths each part of `most` bytes holds. A longer value is a part of
/// its own.
fn parts_of(lengths: &[usize], most: usize) -> Vec<usize> {
    let (mut parts, mut bytes) = (vec![0], 0);
    for length in lengths {
        if bytes + length > most && parts.last() != Some(&0) {
            parts.push(0);
            bytes = 0;
        }
        bytes += length;
        *parts.last_mut().expect("there is one") += 1;
    }
    parts
}
