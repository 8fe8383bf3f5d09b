//! The whole interface of the core: what the addon calls, and what it gets back.
//!
//! [`crate::open`] gives a store as [`Sessions`]. [`Sessions::read`] reads keys, [`Sessions::run`]
//! carries out every other [`Command`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::NearCacheSettings;
use crate::credentials::{CredentialsProvider, ProviderRegistration};
use crate::error::Result;
use crate::events::EventListener;
use crate::near_cache::{CopyFreshness, Hit};
use crate::read_log::{ReadNumber, ReadWindow};
use crate::value::Stored;

/// An operation, on the tokio runtime that polls it.
pub(crate) type OperationFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Receives one part of the values that are read together, and whether it is the last. What it
/// returns is awaited before the next part is read, so that no more than one part is in memory.
pub type DeliverPart = Box<dyn FnMut(Values, bool) -> Option<oneshot::Receiver<()>> + Send>;

/// A store, whatever its engine. Its connection ends with the last handle.
pub trait Sessions: Send + Sync {
    /// Carries out a command.
    fn run(self: Arc<Self>, command: Command) -> OperationFuture<Reply>;

    /// Reads the values of several keys, separated by NUL. `deliver` gets them in their order, part
    /// by part. `is_trusted`: no stranger chose the keys; other keys are tracked only once they
    /// were seen to be sessions.
    fn read(
        self: Arc<Self>,
        keys: String,
        is_trusted: bool,
        deliver: DeliverPart,
    ) -> OperationFuture<()>;

    /// Passes on the caller's clock (ms since the epoch). A store in this process's memory follows
    /// it.
    fn follow_clock(&self, now_ms: i64);

    /// Says how long sessions live, in ms: a user's not-before marker then lives as long.
    fn expect_session_lifetime(&self, ms: u64);

    /// The value of a key, or its absence; `None`: the near cache does not know.
    fn cached(&self, key: &str) -> Option<Hit>;

    /// For how many ms what [`Sessions::cached`] answered may be answered again, while
    /// [`CopyFreshness`] says that nothing has changed.
    fn fresh_for_ms(&self, key: &str) -> f64;

    /// Memory for a thread that keeps copies of the near cache's answers, and the near cache's
    /// settings. `None`: there is no near cache.
    fn copy_freshness(&self) -> Option<(Arc<CopyFreshness>, NearCacheSettings)>;

    /// The store's state and counters, as JSON.
    fn metrics(&self) -> String;

    /// The events of the store's connection from now on. `None`: it has none.
    fn subscribe(&self) -> Option<EventListener>;

    /// Registers a function that gives user name and password (option `credentials`), until the
    /// registration is dropped. `None`: the store has no connection.
    fn register(&self, provider: Arc<dyn CredentialsProvider>) -> Option<ProviderRegistration>;
}

/// What a writer has read before it writes, and its clock.
#[derive(Debug)]
pub struct WriterContext {
    /// The reads whose answers it has.
    pub reads: ReadWindow,
    /// What [`Sessions::cached`] has just answered for the key, the latest last.
    pub cached: Vec<String>,
    /// How far the writer's clock is ahead of this machine's, in ms. It changes the answer only: a
    /// write that would be dropped because of this machine's clock or the server's, and not by the
    /// writer's, is a `CONFLICT`.
    pub clock_ahead_ms: i64,
}

/// One operation; [`Sessions::read`] reads what keys hold. Keys, tokens and user ids are texts of 1
/// to 4096 bytes without NUL.
#[derive(Debug)]
pub enum Command {
    /// Writes a value. A session record is merged with the stored one; one that was ended stays
    /// ended. Answers [`Reply::UserWritten`], [`Reply::Ignored`] or [`Reply::Nothing`].
    Set {
        /// A session token or any other key of Better Auth's.
        key: String,
        /// The value; its text is kept as it is.
        value: String,
        /// Lifetime in s; a fraction rounds up, 0 and less is a delete, none is for ever. A session
        /// record lives until its own `expiresAt`.
        ttl: Option<f64>,
        /// `None`: what the writer has read is not known.
        writer: Option<WriterContext>,
    },
    /// Deletes a key; ends it if it is a session.
    Delete {
        /// As in [`Command::Set`].
        key: String,
    },
    /// As [`Command::Delete`], and answers the value: [`Reply::Text`] or [`Reply::Nothing`].
    /// At most once.
    Take {
        /// As in [`Command::Set`].
        key: String,
    },
    /// Adds 1 to a counter and answers it: [`Reply::Count`]. At most once.
    Increment {
        /// As in [`Command::Set`].
        key: String,
        /// Lifetime in s of a counter that starts now.
        ttl: f64,
    },
    /// The keys of this store, tombstones left out. Answers [`Reply::Text`], a JSON array.
    ListKeys,
    /// Ends every session and deletes every other key of this store.
    Clear,
    /// Writes a new session; one of the same token and user is replaced.
    Create {
        /// The session's token.
        token: String,
        /// The session: a JSON object with `token`, `userId` and `expiresAt`.
        session: String,
    },
    /// Changes fields of a session. Answers [`Reply::Text`], the record as it is now.
    Update {
        /// The session's token.
        token: String,
        /// The fields to set: a JSON object.
        changes: String,
    },
    /// A user's live sessions, each without the user beside it. Answers [`Reply::Text`], a JSON
    /// array.
    List {
        /// Whose sessions.
        user: String,
    },
    /// Ends a user's sessions. Answers [`Reply::Count`], how many were live.
    EndAll {
        /// Whose sessions.
        user: String,
        /// The token of one that stays. Without it the user's sessions from before `now` are
        /// refused from then on, whether or not they are in the user's index.
        except: Option<String>,
        /// The caller's clock, in ms since the epoch.
        now: i64,
    },
    /// The user halves of a user's live sessions. Answers [`Reply::Text`], to be passed to
    /// [`Command::InstallUser`] after the row was read: a JSON array with an item for each session;
    /// or [`Reply::Nothing`], when there is no session.
    UserHalves {
        /// Whose sessions.
        user: String,
    },
    /// Writes a user's row into those sessions whose user half is as [`Command::UserHalves`] found
    /// it, and differs. Answers [`Reply::Count`], how many were written or had changed meanwhile:
    /// with 0, all of them hold the row.
    InstallUser {
        /// Whose row.
        user: String,
        /// What [`Command::UserHalves`] answered.
        halves: String,
        /// The row: a JSON object.
        row: String,
        /// Whether a row with an older `updatedAt` than the session's copy is written, too.
        as_it_is: bool,
    },
    /// Removes dead entries from every user's index. Answers [`Reply::Count`], how many.
    Cleanup,
    /// Answers when the engine does.
    Ping,
}

/// The values of several keys.
#[derive(Debug)]
pub struct Values {
    /// In the order of the keys; `None` where there is nothing.
    pub values: Vec<Option<Text>>,
    /// The number of this read.
    pub read_number: ReadNumber,
}

/// The answer to a command.
#[derive(Debug)]
pub enum Reply {
    /// Done, or there is no such thing.
    Nothing,
    /// A text; read it with [`Reply::text`].
    Text(Text),
    /// A number.
    Count(i64),
    /// Done: a session was created with a user half, the user half of one changed, or it was not
    /// taken as it was written. The id of the user.
    UserWritten(String),
    /// Nothing was written: there is no such session, and it is too old to be created.
    Ignored,
}

/// A text in an answer.
#[derive(Debug)]
pub struct Text(TextSource);

#[derive(Debug)]
enum TextSource {
    Stored(Stored),
    Composed(String),
}

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            TextSource::Stored(stored) => stored.text(),
            TextSource::Composed(text) => text,
        }
    }
}

impl From<Stored> for Text {
    fn from(stored: Stored) -> Self {
        Text(TextSource::Stored(stored))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(TextSource::Composed(text))
    }
}

impl From<Option<Stored>> for Reply {
    fn from(value: Option<Stored>) -> Self {
        value.map_or(Reply::Nothing, |stored| Reply::Text(stored.into()))
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Reply::Text(text.into())
    }
}
