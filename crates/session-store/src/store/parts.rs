//! How many values are read together: no more than fit into one part, so that memory and waiting
//! times are bounded whatever their number and length.

use super::state::Store;
use crate::engine::Engine;
use crate::error::Result;
use crate::keys::{LIST_PREFIX, MARKER_PREFIX};
use crate::read_log::Asked;

/// How much is read together at most, in bytes. A value that is larger is read alone.
pub const PART_BYTES: usize = 32 * 1024 * 1024;

/// So many keys are read together without a look at how long their values are.
pub(super) const UNMEASURED: usize = 4;

/// The most records that are read ahead, or listed together.
pub(super) const READ_AHEAD: usize = 1000;

impl<E: Engine> Store<E> {
    /// How many of the keys to read together, after one another.
    pub(super) async fn parts(&self, asked: &[Asked<'_>]) -> Result<Vec<usize>> {
        Ok(parts_of(&self.lengths(asked).await?, PART_BYTES))
    }

    /// As [`Store::parts`], of so many bytes at most.
    pub(super) async fn parts_within(&self, keys: &[&str], most: usize) -> Result<Vec<usize>> {
        Ok(parts_of(&self.lengths(&self.read_log.look_up(keys)).await?, most))
    }

    /// How long the values are, in bytes: as far as is known, else as the engine tells.
    async fn lengths(&self, asked: &[Asked<'_>]) -> Result<Vec<usize>> {
        // What this store makes by itself is short: a number, or a list of tokens.
        let is_short = |key: &str| key.starts_with(MARKER_PREFIX) || key.starts_with(LIST_PREFIX);
        let known = |asked: &Asked<'_>| {
            asked
                .length
                .or_else(|| self.lengths.get(&asked.hash))
                .or(is_short(asked.key).then_some(0))
        };
        let mut lengths: Vec<_> = asked.iter().map(known).collect();
        let unknown: Vec<_> = (0..asked.len()).filter(|at| lengths[*at].is_none()).collect();
        if unknown.len() > UNMEASURED {
            self.settled().await?;
            let keys: Vec<_> = unknown.iter().map(|at| asked[*at].key).collect();
            for (at, length) in unknown.into_iter().zip(self.engine.lengths(&keys).await?) {
                lengths[at] = Some(length);
            }
        }
        Ok(lengths.into_iter().map(Option::unwrap_or_default).collect())
    }
}

/// How many values of these lengths come to `most` at a time; one that is longer comes alone.
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
