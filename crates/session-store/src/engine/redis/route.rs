//! Which server a key lies on: trait [`Route`], and the route to a single primary.

use std::future::{Future, ready};
use std::time::Duration;

use ::redis::RedisError;

use super::connection::link::Link;
use super::connection::supervisor::Supervisor;
use super::failure;
use crate::error::Result;

/// A server, and a live connection to it.
#[derive(Clone)]
pub(super) struct ServerLink {
    pub(super) server: Supervisor,
    pub(super) link: Link,
}

/// Which server a key lies on.
pub(super) trait Route: Send + Sync + 'static {
    /// The server that holds a key of Redis, once there is a connection to it.
    fn link_for(&self, key: &str) -> impl Future<Output = Result<ServerLink>> + Send;

    /// The server to ask after `from` has refused because the key lies elsewhere. `None`:
    /// [`Route::link_for`] knows it now.
    fn follow_redirect(
        &self,
        from: &ServerLink,
        refusal: &RedisError,
    ) -> impl Future<Output = Result<Option<ServerLink>>> + Send;

    /// The servers that hold keys, once they are known.
    fn primaries(&self) -> impl Future<Output = Result<Vec<Supervisor>>> + Send;

    /// Waits until it is known which server holds a key.
    fn wait_until_known(&self) -> impl Future<Output = Result<()>> + Send {
        ready(Ok(()))
    }

    /// Which of several servers holds a key, as far as is known.
    fn server_number(&self, _key: &str) -> Option<u16> {
        None
    }

    /// How long an operation waits for a server that is down.
    fn fail_fast(&self) -> Duration;

    /// Why there is no connection, as the end of a sentence. `None`: there is one.
    fn missing_link_reason(&self) -> Option<String> {
        None
    }
}

/// Every key lies on the one primary.
impl Route for Supervisor {
    async fn link_for(&self, _key: &str) -> Result<ServerLink> {
        Ok(ServerLink { link: self.wait_for_link().await?, server: self.clone() })
    }

    async fn follow_redirect(
        &self,
        _from: &ServerLink,
        refusal: &RedisError,
    ) -> Result<Option<ServerLink>> {
        Err(failure::error(refusal, self.address()))
    }

    async fn primaries(&self) -> Result<Vec<Supervisor>> {
        Ok(vec![self.clone()])
    }

    fn fail_fast(&self) -> Duration {
        self.fail_fast_after()
    }

    fn missing_link_reason(&self) -> Option<String> {
        self.why_no_link()
    }
}
