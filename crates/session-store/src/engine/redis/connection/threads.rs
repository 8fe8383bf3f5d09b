//! Threads for what blocks. tokio's `spawn_blocking` panics where the system refuses a thread; here
//! that is an ordinary error.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// "Too many open files", of this process and of the system: the same numbers on Linux and macOS.
const NO_DESCRIPTOR: [i32; 2] = [24, 23];

/// Runs `work` on a thread of its own. An error: the system refuses a thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (told, outcome) = oneshot::channel();
    thread::Builder::new().name("session-store-io".into()).spawn(move || {
        // It is no loss that nobody waits any more.
        let _ = told.send(work());
    })?;
    outcome.await.map_err(io::Error::other)
}

/// What this process has run out of, if that is the reason of an error, and what helps.
pub(crate) fn lack(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        _ if error.raw_os_error().is_some_and(|code| NO_DESCRIPTOR.contains(&code)) => Some(
            "this process has no file descriptor left: raise its limit (ulimit -n), or close what is open",
        ),
        io::ErrorKind::WouldBlock => Some(
            "the system refuses this process a thread: raise its limit of processes (ulimit -u, or pids of its container)",
        ),
        io::ErrorKind::OutOfMemory => Some("the system refuses this process memory"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_on_the_thread_is_an_error() {
        blocking(|| panic!("on purpose")).await.unwrap_err();
        assert_eq!(blocking(|| 7).await.unwrap(), 7);
    }

    #[test]
    fn what_is_lacking_is_told_from_what_is_wrong() {
        assert!(lack(&io::Error::from_raw_os_error(24)).unwrap().contains("ulimit -n"));
        assert!(lack(&io::ErrorKind::WouldBlock.into()).unwrap().contains("ulimit -u"));
        assert_eq!(lack(&io::ErrorKind::ConnectionRefused.into()), None);
    }
}
