//! Runs blocking work on threads of its own. tokio's `spawn_blocking` panics where the system
//! refuses a thread; here that is an ordinary error.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// "Too many open files", of this process and of the system: the same numbers on Linux and macOS.
const NO_DESCRIPTOR_LEFT: [i32; 2] = [24, 23];

/// Runs `work` on a thread of its own. An error: the system refuses a thread.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, outcome) = oneshot::channel();
    thread::Builder::new().name("session-store-io".into()).spawn(move || {
        // The caller may have given up.
        let _ = sender.send(work());
    })?;
    outcome.await.map_err(io::Error::other)
}

/// The resource that this process has run out of, if that caused the error, and what helps.
pub(crate) fn exhausted_resource(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        _ if error.raw_os_error().is_some_and(|code| NO_DESCRIPTOR_LEFT.contains(&code)) => Some(
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
        run_blocking(|| panic!("on purpose")).await.unwrap_err();
        assert_eq!(run_blocking(|| 7).await.unwrap(), 7);
    }

    #[test]
    fn an_exhausted_resource_is_told_from_other_errors() {
        assert!(
            exhausted_resource(&io::Error::from_raw_os_error(24)).unwrap().contains("ulimit -n")
        );
        assert!(
            exhausted_resource(&io::ErrorKind::WouldBlock.into()).unwrap().contains("ulimit -u")
        );
        assert_eq!(exhausted_resource(&io::ErrorKind::ConnectionRefused.into()), None);
    }
}
