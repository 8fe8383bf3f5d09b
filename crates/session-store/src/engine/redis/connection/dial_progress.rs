//! How far an attempt to connect has come, and which addresses it has tried.
//!
//! An attempt that runs out of time reports the step that it waited for.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::threads;
use crate::sync::Mutex;

/// A step of an attempt to connect, in their order.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum DialStep {
    ResolveName,
    Connect,
    TlsHandshake,
    FetchCredentials,
    Login,
}

const STEPS: [DialStep; 5] = [
    DialStep::ResolveName,
    DialStep::Connect,
    DialStep::TlsHandshake,
    DialStep::FetchCredentials,
    DialStep::Login,
];

impl DialStep {
    /// What has not happened yet, for a sentence that goes on from "Redis at …".
    pub(crate) fn pending_text(self) -> &'static str {
        match self {
            DialStep::ResolveName => "its host name was not resolved",
            DialStep::Connect => {
                "the server did not reply; check its address, its machine and the firewalls between"
            }
            DialStep::TlsHandshake => {
                "the server did not reply to the TLS handshake; check that this port expects TLS"
            }
            DialStep::FetchCredentials => "the function of option credentials did not resolve",
            DialStep::Login => "the server accepted the connection but did not reply",
        }
    }
}

/// Addresses at which nothing accepted a connection.
pub(crate) enum RefusedTarget {
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

/// The progress of one attempt to connect.
pub(crate) struct DialProgress {
    step: AtomicU8,
    /// Where nothing accepted the connection.
    refused: Mutex<Option<RefusedTarget>>,
    addresses: Mutex<TriedAddresses>,
}

/// Which of a host name's addresses were tried.
#[derive(Default)]
struct TriedAddresses {
    /// Those that accepted a connection.
    tried: Vec<SocketAddr>,
    /// Whether the name has others.
    are_more: bool,
}

impl DialProgress {
    pub(crate) fn new() -> Self {
        DialProgress {
            step: AtomicU8::new(DialStep::ResolveName as u8),
            refused: Mutex::default(),
            addresses: Mutex::default(),
        }
    }

    pub(crate) fn enter(&self, step: DialStep) {
        self.step.store(step as u8, Relaxed);
    }

    pub(crate) fn step(&self) -> DialStep {
        STEPS[usize::from(self.step.load(Relaxed))]
    }

    /// Where nothing accepted the connection, since the last call of this.
    pub(crate) fn take_refused_target(&self) -> Option<RefusedTarget> {
        self.refused.lock().take()
    }

    /// Passes on how opening a connection ended. Remembers a failure's target, unless this process
    /// lacks a resource.
    pub(crate) fn remember_refusal<T>(
        &self,
        target: impl FnOnce() -> RefusedTarget,
        opened: io::Result<T>,
    ) -> io::Result<T> {
        if let Err(error) = &opened
            && threads::exhausted_resource(error).is_none()
        {
            *self.refused.lock() = Some(target());
        }
        opened
    }

    /// Whether the host name has addresses that were not tried.
    pub(crate) fn has_untried_address(&self) -> bool {
        self.addresses().are_more
    }

    /// Whether one of the host name's addresses accepted a connection.
    pub(crate) fn has_tried_address(&self) -> bool {
        !self.addresses().tried.is_empty()
    }

    /// Allows the next connection to go to any of the addresses.
    pub(crate) fn forget_tried_addresses(&self) {
        *self.addresses() = TriedAddresses::default();
    }

    /// Starts another round over the addresses of a name: those that were not tried, or all if all
    /// were.
    pub(crate) fn select_untried(&self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut addresses = self.addresses();
        addresses.are_more = false;
        let untried: Vec<_> =
            found.iter().filter(|address| !addresses.tried.contains(address)).copied().collect();
        if untried.is_empty() {
            addresses.tried.clear();
            return found;
        }
        untried
    }

    /// Records that one of the addresses that were found accepted a connection.
    pub(crate) fn record_tried(&self, address: SocketAddr, found: &[SocketAddr]) {
        let mut addresses = self.addresses();
        let is_new = !addresses.tried.contains(&address);
        addresses.tried.push(address);
        addresses.are_more = is_new && found.iter().any(|other| !addresses.tried.contains(other));
    }

    fn addresses(&self) -> MutexGuard<'_, TriedAddresses> {
        self.addresses.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_a_name_is_tried_before_one_is_tried_again() {
        let all: Vec<SocketAddr> = (1..=3).map(|n| ([127, 0, 0, n], 6379).into()).collect();
        let progress = DialProgress::new();
        assert!(!progress.has_untried_address());
        for tried in [1, 0, 2] {
            let untried = progress.select_untried(all.clone());
            assert!(untried.contains(&all[tried]));
            progress.record_tried(all[tried], &untried);
            assert_eq!(progress.has_untried_address(), tried != 2);
        }
        assert_eq!(progress.select_untried(all.clone()), all);
        progress.record_tried(all[0], &all);
        progress.forget_tried_addresses();
        assert!(!progress.has_untried_address());
        // The others are silent: one that was tried before is no reason to go on.
        progress.record_tried(all[0], &all);
        assert!(progress.has_untried_address());
        progress.record_tried(all[0], &all);
        assert!(!progress.has_untried_address());
        progress.forget_tried_addresses();
        assert_eq!(progress.select_untried(all.clone()), all);
    }
}
