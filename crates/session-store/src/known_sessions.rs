//! Which keys were seen to be sessions, by a read or a write of this process.
//!
//! A server keeps each tracked key in a table until the key changes. Strangers choose keys, in
//! cookies and bearer tokens, and most of theirs never change because they do not exist. So only
//! keys in here are read with tracking.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What the table takes, in bytes: 4 a key.
const BYTES: usize = 1024 * 1024;

/// How many keys a bucket holds. It is a line of the processor's cache.
const BUCKET: usize = 16;

const BUCKETS: usize = BYTES / size_of::<AtomicU32>() / BUCKET;

/// A table of fixed size. In a full bucket the key that came first makes room: that key's next read
/// is like its first one.
pub(crate) struct KnownSessions(Box<[[AtomicU32; BUCKET]]>);

impl KnownSessions {
    pub(crate) fn new() -> Self {
        KnownSessions((0..BUCKETS).map(|_| Default::default()).collect())
    }

    /// Of 2^28 keys that are not in the table, one is taken for another that is.
    pub(crate) fn contains(&self, hash: u64) -> bool {
        let (bucket, fingerprint) = self.place(hash);
        bucket.iter().any(|entry| entry.load(Relaxed) == fingerprint)
    }

    pub(crate) fn insert(&self, hash: u64) {
        let (bucket, mut fingerprint) = self.place(hash);
        // Another thread may insert at the same time: what is lost then is inserted at its next
        // read.
        for entry in bucket {
            let before = entry.swap(fingerprint, Relaxed);
            if before == fingerprint || before == 0 {
                return;
            }
            fingerprint = before;
        }
    }

    fn place(&self, hash: u64) -> (&[AtomicU32; BUCKET], u32) {
        // 0 is a free entry.
        (&self.0[hash as usize % BUCKETS], ((hash >> 32) as u32).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::hash_of;

    #[test]
    fn the_table_has_its_size_and_forgets_the_oldest() {
        let table = KnownSessions::new();
        assert_eq!(size_of_val(&*table.0), BYTES);
        let capacity = BUCKETS * BUCKET;
        for n in 0..4 * capacity {
            assert!(n > 1000 || !table.contains(hash_of(n)));
            table.insert(hash_of(n));
            assert!(table.contains(hash_of(n)));
        }
        assert!(!table.contains(hash_of(0)));
        let kept = (3 * capacity..4 * capacity).filter(|n| table.contains(hash_of(*n))).count();
        assert!(kept > capacity * 3 / 4, "{kept} of {capacity}");
    }

    #[test]
    fn a_key_that_comes_again_takes_no_second_place() {
        let table = KnownSessions::new();
        (0..100).for_each(|_| table.insert(7 << 32));
        assert_eq!(table.0[0].iter().filter(|entry| entry.load(Relaxed) != 0).count(), 1);
    }
}
