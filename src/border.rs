//! The functions that `lib/` calls, and the per-thread tables behind the numbers it holds.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::{Array, ArrayBuffer, Either3, Env, Function, Null, Object};
use napi::{Error, JsString, JsValue, Result, Status, check_status, sys};
use napi_derive::napi;
use session_store::{
    Code, Command, Config, Hit, Login, Moment, Provider, Question, Read, Registration, Reply, Seen,
    Serving, Sessions, Shared, Take, Values,
};
use tokio::sync::oneshot;

use crate::completions::{Completion, Completions, Outcome, Part};
use crate::packed::Packed;
use crate::runtime::{self, Task};
use crate::waker::Waker;

type Waking = Completions<Box<dyn Fn() + Send + Sync>>;

/// One module instance on one JavaScript thread.
struct Border {
    completions: Arc<Waking>,
    waker: sys::napi_threadsafe_function,
    /// Calls made in this tick, not yet handed to the store thread.
    batch: RefCell<Vec<Task>>,
    /// Calls that JavaScript waits for. While there are any, the process is kept alive.
    pending: Cell<usize>,
    /// What the last wake-up handed out: Better Auth writes a session back in the very run of
    /// microtasks that its reading started.
    seen: Cell<Seen>,
    /// What JavaScript was asked and has not answered, by number.
    questions: RefCell<HashMap<u32, Question>>,
    last_question: Cell<u32>,
}

impl Border {
    /// Counts one more thing that JavaScript waits for.
    fn begin(&self, env: Env) -> Result<()> {
        if self.pending.get() == 0 {
            // SAFETY: on the thread of `env`, whose cleanup hook empties HANDLES before the
            // threadsafe function ends.
            check_status!(unsafe { sys::napi_ref_threadsafe_function(env.raw(), self.waker) })?;
        }
        self.pending.set(self.pending.get() + 1);
        Ok(())
    }

    /// JavaScript waits for so many things no more.
    fn ends(&self, env: Env, ended: usize) -> Result<()> {
        self.pending.set(self.pending.get() - ended);
        if self.pending.get() == 0 && ended > 0 {
            // SAFETY: as in `Border::begin`.
            check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), self.waker) })?;
        }
        Ok(())
    }
}

struct Handle {
    store: Arc<dyn Sessions>,
    border: Rc<Border>,
    /// That this one's function is asked for user name and password. Calls under way keep it, for
    /// they may need a connection.
    asked: Option<Arc<Registration>>,
}

/// Asks the function that was given with a handle.
struct Asking {
    handle: u32,
    completions: Arc<Waking>,
}

impl Asking {
    fn tell(&self, outcome: Outcome) {
        if self.completions.push((EVENT, outcome)) {
            self.completions.wake();
        }
    }
}

impl Provider for Asking {
    fn ask(&self, question: Question) {
        self.tell(Outcome::Asked(self.handle, question));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.tell(Outcome::AsksNoMore(self.handle));
    }
}

/// Keys are shorter than this, most of them.
const KEY_BYTES: usize = 256;

thread_local! {
    static BORDERS: RefCell<Vec<Rc<Border>>> = const { RefCell::new(Vec::new()) };
    static HANDLES: RefCell<Vec<Option<Handle>>> = const { RefCell::new(Vec::new()) };
}

/// What a call does. `a`, `b` and `n` are its arguments.
#[napi]
#[derive(Debug)]
pub enum Op {
    /// `a`: key, `b`: value, `n`: ttl in s (NaN: none).
    Set,
    /// `a`: key.
    Delete,
    /// `a`: key.
    Take,
    /// `a`: key, `n`: ttl in s.
    Increment,
    /// No arguments.
    ListKeys,
    /// No arguments.
    Clear,
    /// `a`: token, `b`: session as JSON.
    Create,
    /// `a`: token, `b`: changes as JSON.
    Update,
    /// `a`: user id.
    List,
    /// `a`: user id, `b`: token of the session that stays (empty: none).
    EndAll,
    /// No arguments.
    Cleanup,
    /// `a`: user id.
    UserHalves,
    /// `a`: user id, `b`: row as JSON, `n`: 1 to write an older row, too, `handed`: what
    /// `UserHalves` answered.
    InstallUser,
    /// No arguments.
    Ping,
}

/// Registers this module instance: `onCompletions` is called when there is something to drain.
/// `resource`: what async hooks are shown in its place. Answers its number.
#[napi(catch_unwind)]
pub fn attach(env: Env, on_completions: Function<(), ()>, resource: Object) -> Result<u32> {
    let waker = Waker::new(env, on_completions, resource)?;
    let raw = waker.raw();
    let completions =
        Arc::new(Completions::new(Box::new(move || waker.wake()) as Box<dyn Fn() + Send + Sync>));
    // Registered after the threadsafe function, so it runs before Node.js tears that down.
    let closing = completions.clone();
    env.add_env_cleanup_hook((), move |()| {
        closing.close();
        HANDLES.take();
        BORDERS.take();
    })?;
    let border = Border {
        completions,
        waker: raw,
        batch: RefCell::default(),
        pending: Cell::new(0),
        seen: Cell::default(),
        questions: RefCell::default(),
        last_question: Cell::new(0),
    };
    BORDERS.with_borrow_mut(|borders| {
        borders.push(Rc::new(border));
        Ok(borders.len() as u32 - 1)
    })
}

/// Throws what is wrong with the options of a store (JSON), one problem a line.
#[napi(catch_unwind)]
pub fn check(options: String) -> Result<()> {
    config(&options).map(drop)
}

/// Trusts the certificates of a PEM text beside the public authorities; see `trust_certificates` of
/// the core. Answers whether all of it could be read.
#[napi(catch_unwind)]
pub fn trust_certificates(pem: String) -> bool {
    session_store::trust_certificates(&pem)
}

/// Opens a store for the options (JSON) and answers its handle. Throws as [`check`] does, and for
/// prefixes that nest in an open store's.
#[napi(catch_unwind)]
pub fn open(border: u32, options: String) -> Result<u32> {
    let store = session_store::open(config(&options)?)
        .map_err(|problem| Error::new(Status::InvalidArg, problem.to_string()))?;
    let handle = Handle { store, border: border_of(border)?, asked: None };
    HANDLES.with_borrow_mut(|handles| {
        handles.push(Some(handle));
        Ok(handles.len() as u32 - 1)
    })
}

/// From now on a store's connections ask this module instance for user name and password, until the
/// handle is released: among what [`drain`] answers. The last that says so is asked.
#[napi(catch_unwind)]
pub fn provide(handle: u32) -> Result<()> {
    HANDLES.with_borrow_mut(|handles| {
        let entry =
            handles.get_mut(handle as usize).and_then(Option::as_mut).ok_or_else(unknown)?;
        let asking = Asking { handle, completions: entry.border.completions.clone() };
        entry.asked = entry.store.register(Arc::new(asking)).map(Arc::new);
        Ok(())
    })
}

/// Answers a question for user name and password. `expires_at`: when the password expires, in ms
/// since the epoch.
#[napi(catch_unwind)]
pub fn answer(
    border: u32,
    question: u32,
    password: String,
    username: Option<String>,
    expires_at: Option<f64>,
) -> Result<()> {
    let question =
        border_of(border)?.questions.borrow_mut().remove(&question).ok_or_else(unknown)?;
    question.answer(Login { username, password, expires_at: expires_at.map(|ms| ms as i64) });
    Ok(())
}

/// Answers that there is none: the function failed, or (`is_wrong`) what it gave is of no use.
/// `what`: without secrets.
#[napi(catch_unwind)]
pub fn refuse(border: u32, question: u32, is_wrong: bool, what: String) -> Result<()> {
    let question =
        border_of(border)?.questions.borrow_mut().remove(&question).ok_or_else(unknown)?;
    question.refuse(if is_wrong { Code::InvalidArgument } else { Code::Auth }, &what);
    Ok(())
}

/// Adds a call to this tick's batch. `handed`: for [`Op::Set`], what the near cache has just handed
/// out under this key, the latest last. `now`: JavaScript's clock, in ms since the epoch.
#[napi(catch_unwind)]
#[allow(
    clippy::too_many_arguments,
    reason = "an object of them would cost more than the call does"
)]
pub fn submit(
    env: Env,
    handle: u32,
    id: u32,
    op: Op,
    a: String,
    b: String,
    n: f64,
    now: f64,
    handed: Option<Vec<String>>,
) -> Result<()> {
    with_handle(handle, |Handle { store, border, asked }| {
        border.begin(env)?;
        store.follow_clock(now as i64);
        let (store, completions, asked) =
            (store.clone(), border.completions.clone(), asked.clone());
        let read = Read {
            seen: border.seen.get(),
            handed: handed.unwrap_or_default(),
            ahead_ms: now as i64 - session_store::system_clock(),
        };
        let command = command(op, a, b, n, now as i64, read);
        border.batch.borrow_mut().push(Box::pin(async move {
            let outcome = runtime::caught(store.run(command)).await;
            drop(asked);
            told(&completions, (id, Outcome::Call(outcome)));
        }));
        Ok(())
    })
}

/// Adds the reads of a store in this tick to its batch. `keys`: one or more, separated by NUL.
/// `is_trusted`: no stranger chose them. `now`: as in [`submit`].
#[napi(catch_unwind)]
pub fn read(
    env: Env,
    handle: u32,
    id: u32,
    keys: String,
    is_trusted: bool,
    now: f64,
) -> Result<()> {
    with_handle(handle, |Handle { store, border, asked }| {
        border.begin(env)?;
        store.follow_clock(now as i64);
        let (store, completions, asked) =
            (store.clone(), border.completions.clone(), asked.clone());
        border.batch.borrow_mut().push(Box::pin(async move {
            let own = completions.clone();
            let mut is_first = true;
            let take: Take = Box::new(move |Values { values, serving }, is_last| {
                let (taken, waits) =
                    if is_last { (None, None) } else { Some(oneshot::channel()).unzip() };
                let is_whole = std::mem::take(&mut is_first) && is_last;
                let part = Part { packed: Packed::parts(&values), is_whole, serving, taken };
                let completion = (id, Outcome::Reads(Ok(part)));
                if is_last {
                    told(&own, completion);
                } else if own.push(completion) {
                    // At once: the turn does not end before JavaScript has taken it.
                    own.wake();
                }
                waits
            });
            let outcome = runtime::caught(store.read(keys, is_trusted, take)).await;
            drop(asked);
            if let Err(error) = outcome {
                told(&completions, (id, Outcome::Reads(Err(error))));
            }
        }));
        Ok(())
    })
}

/// Tells a store how long sessions live, in s: a user's not-before marker then lives as long.
#[napi(catch_unwind)]
pub fn expect_life(handle: u32, seconds: f64) -> Result<()> {
    with_handle(handle, |Handle { store, .. }| {
        store.expect_life((seconds * 1000.0) as u64);
        Ok(())
    })
}

/// Tells this module instance from now on what happens to a store's connection: among what
/// [`drain`] answers.
#[napi(catch_unwind)]
pub fn watch(handle: u32) -> Result<()> {
    with_handle(handle, |Handle { store, border, .. }| {
        let Some(mut listener) = store.listen() else { return Ok(()) };
        let completions = border.completions.clone();
        // A task of its own, because it ends with the store only.
        border.batch.borrow_mut().push(Box::pin(async move {
            runtime::spawn(async move {
                while let Some(event) = listener.next().await
                    && !completions.is_closed()
                {
                    if completions.push((EVENT, Outcome::Event(handle, event))) {
                        completions.wake();
                    }
                }
            });
        }));
        Ok(())
    })
}

/// In place of a call's number.
const EVENT: u32 = 0;

fn told(completions: &Arc<Waking>, completion: Completion) {
    if completions.push(completion) {
        let completions = completions.clone();
        runtime::after_turn(move || completions.wake());
    }
}

/// Hands this tick's batch to the store thread.
#[napi(catch_unwind)]
pub fn flush(env: Env, border: u32) -> Result<()> {
    let border = border_of(border)?;
    runtime::submit(border.batch.take()).or_else(|error| {
        border.ends(env, border.pending.get())?;
        Err(Error::from_reason(format!("no thread can be started: {error}")))
    })
}

/// Everything that has completed, flat: number of the call, code of its error or null, then its
/// answer or the error's message. A `Set` answers the user's id when a session was created or its
/// user half changed, 0 when it was ignored, else null. Reads answer one string (src/packed.rs);
/// or, where that would be too long, an array of how many values follow and their string (null: too
/// long by itself), with false in place of the code while there are more to come. An event has the
/// number 0, the store's handle in place of the code, and JSON; a question for user name and
/// password has its own number in place of the JSON, and null says that this handle is not asked
/// any more.
#[napi(catch_unwind)]
pub fn drain(env: &Env, border: u32) -> Result<Array<'_>> {
    let border = border_of(border)?;
    let completions = border.completions.drain();
    let served = completions.iter().filter_map(|(_, outcome)| match outcome {
        Outcome::Reads(Ok(Part { serving, .. })) => Some(*serving),
        _ => None,
    });
    let seen = border.seen.get();
    border.seen.set(Seen { after: seen.up_to, up_to: served.fold(seen.up_to, Serving::max) });
    let goes_on =
        |outcome: &Outcome| matches!(outcome, Outcome::Reads(Ok(Part { taken: Some(_), .. })));
    let ended =
        completions.iter().filter(|(id, outcome)| *id != EVENT && !goes_on(outcome)).count();
    let mut flat = env.create_array(completions.len() as u32 * 3)?;
    for (i, (id, outcome)) in completions.into_iter().enumerate() {
        let at = i as u32 * 3;
        flat.set(at, id)?;
        match outcome {
            Outcome::Call(Ok(Reply::Nothing)) => flat.set(at + 2, Null)?,
            Outcome::Call(Ok(Reply::Ignored)) => flat.set(at + 2, 0)?,
            Outcome::Call(Ok(Reply::UserWritten(user))) => flat.set(at + 2, user)?,
            Outcome::Call(Ok(Reply::Count(count))) => flat.set(at + 2, count)?,
            Outcome::Call(Ok(Reply::Text(text))) => match js_text(env, text.as_str()) {
                Ok(text) => flat.set(at + 2, text)?,
                Err(_) => {
                    flat.set(at + 1, Code::Limit.as_str())?;
                    flat.set(at + 2, TOO_LONG)?;
                }
            },
            Outcome::Reads(Ok(Part { packed, is_whole, taken, .. })) => {
                if let Some(taken) = taken {
                    flat.set(at + 1, false)?;
                    // The reader may have given up.
                    let _ = taken.send(());
                }
                let mut packed: Vec<_> =
                    packed.into_iter().map(|(count, one)| (count, one.into_js(env).ok())).collect();
                if let [(_, Some(_))] = &packed[..]
                    && is_whole
                {
                    flat.set(at + 2, packed.remove(0).1)?;
                    continue;
                }
                let mut strings = env.create_array(packed.len() as u32 * 2)?;
                for (n, (count, string)) in packed.into_iter().enumerate() {
                    strings.set(n as u32 * 2, count as u32)?;
                    match string {
                        Some(string) => strings.set(n as u32 * 2 + 1, string)?,
                        None => strings.set(n as u32 * 2 + 1, Null)?,
                    }
                }
                flat.set(at + 2, strings)?;
            }
            Outcome::Event(handle, event) => {
                flat.set(at + 1, handle)?;
                flat.set(at + 2, serde_json::to_string(&event).unwrap_or_default())?;
            }
            Outcome::Asked(handle, question) => {
                let number = border.last_question.get().wrapping_add(1);
                border.last_question.set(number);
                border.questions.borrow_mut().insert(number, question);
                flat.set(at + 1, handle)?;
                flat.set(at + 2, number)?;
            }
            Outcome::AsksNoMore(handle) => {
                flat.set(at + 1, handle)?;
                flat.set(at + 2, Null)?;
            }
            Outcome::Call(Err(error)) | Outcome::Reads(Err(error)) => {
                flat.set(at + 1, error.code.as_str())?;
                flat.set(at + 2, error.to_string())?;
            }
        }
    }
    border.ends(*env, ended)?;
    Ok(flat)
}

/// Of an answer that V8 has no string for.
const TOO_LONG: &str = "the answer is too long for a JavaScript string (about 512 MiB)";

/// A JavaScript string; ASCII, which session records mostly are, needs no decoding.
fn js_text<'env>(env: &'env Env, text: &str) -> Result<JsString<'env>> {
    if text.is_ascii() { env.create_string_latin1(text) } else { env.create_string(text) }
}

/// What the near cache knows a key to hold: a text, or null where there is nothing; undefined when
/// it does not know.
#[napi(catch_unwind)]
pub fn cached<'env>(
    env: &'env Env,
    handle: u32,
    key: JsString<'env>,
) -> Result<Either3<JsString<'env>, Null, ()>> {
    let hit = with_handle(handle, |Handle { store, .. }| {
        with_text::<KEY_BYTES, _>(env, &key, |key| store.cached(key))
    })?;
    match hit.as_ref().map(Hit::text) {
        Some(Some(text)) => js_text(env, text).map(Either3::A),
        Some(None) => Ok(Either3::B(Null)),
        None => Ok(Either3::C(())),
    }
}

/// For how many ms what [`cached`] answered may be answered again, while the memory of
/// [`near_cache`] says that nothing has changed.
#[napi(catch_unwind)]
pub fn life(env: &Env, handle: u32, key: JsString) -> Result<f64> {
    with_handle(handle, |Handle { store, .. }| {
        with_text::<KEY_BYTES, _>(env, &key, |key| store.life_ms(key))
    })
}

/// What is needed to keep copies of the near cache's answers.
#[napi(object)]
pub struct NearCache<'env> {
    /// The last sign of life by the monotonic clock of [`clock`] and by the wall clock (two
    /// doubles, in ms), then 32-bit integers: hits of the copies, and how often a key of each
    /// stripe was taken away.
    pub memory: ArrayBuffer<'env>,
    /// How old a sign of life may be, in ms.
    pub max_staleness_ms: f64,
    /// How much the near cache may hold, in bytes.
    pub max_bytes: f64,
}

/// The near cache of a store, if it has one.
#[napi(catch_unwind)]
pub fn near_cache<'env>(env: &'env Env, handle: u32) -> Result<Option<NearCache<'env>>> {
    let Some((shared, settings)) = with_handle(handle, |Handle { store, .. }| Ok(store.shared()))?
    else {
        return Ok(None);
    };
    let address: *mut u8 = Arc::as_ptr(&shared).cast_mut().cast();
    // SAFETY: `shared` is kept until JavaScript has let go of the memory. JavaScript reads it
    // atomically, or in aligned words of 8 bytes, which the platforms of this package do not tear.
    let memory = unsafe {
        ArrayBuffer::from_external(env, address, size_of::<Shared>(), shared, |_, shared| {
            drop(shared)
        })
    }?;
    if memory.as_ptr() != address {
        // A runtime that allows no memory of ours gives a copy, which never changes.
        return Ok(None);
    }
    let max_staleness_ms = settings.max_staleness.as_secs_f64() * 1e3;
    Ok(Some(NearCache { memory, max_staleness_ms, max_bytes: settings.max_bytes as f64 }))
}

/// The monotonic clock of [`near_cache`], in ms.
#[napi(catch_unwind)]
pub fn clock() -> f64 {
    Moment::now().monotonic
}

/// How a store stands, as JSON.
#[napi(catch_unwind)]
pub fn metrics(handle: u32) -> Result<String> {
    with_handle(handle, |Handle { store, .. }| Ok(store.metrics()))
}

/// Uses a JavaScript string, on the stack when it has less than `N` bytes.
pub(crate) fn with_text<const N: usize, T>(
    env: &Env,
    text: &JsString,
    use_it: impl FnOnce(&str) -> T,
) -> Result<T> {
    let mut buffer = [0_u8; N];
    let mut length = 0;
    // SAFETY: `text` lives, and the buffer has the length that is told.
    check_status!(unsafe {
        sys::napi_get_value_string_utf8(
            env.raw(),
            text.raw(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &mut length,
        )
    })?;
    // Whole characters only are written: within four bytes of the end, some may be missing.
    match str::from_utf8(&buffer[..length]) {
        Ok(short) if length < buffer.len() - 4 => Ok(use_it(short)),
        _ => Ok(use_it(&text.into_utf8()?.into_owned()?)),
    }
}

/// Releases a handle. Calls under way end as if nothing had happened; the connection ends with the
/// last handle.
#[napi(catch_unwind)]
pub fn close(handle: u32) {
    let released =
        HANDLES.with_borrow_mut(|handles| handles.get_mut(handle as usize).and_then(Option::take));
    drop(released);
}

fn config(options: &str) -> Result<Config> {
    Config::from_json(options)
        .map_err(|problems| Error::new(Status::InvalidArg, problems.join("\n")))
}

fn with_handle<T>(number: u32, use_it: impl FnOnce(&Handle) -> Result<T>) -> Result<T> {
    HANDLES.with_borrow(|handles| {
        use_it(handles.get(number as usize).and_then(Option::as_ref).ok_or_else(unknown)?)
    })
}

fn border_of(number: u32) -> Result<Rc<Border>> {
    BORDERS.with_borrow(|borders| borders.get(number as usize).cloned()).ok_or_else(unknown)
}

fn unknown() -> Error {
    Error::new(Status::InvalidArg, "no such handle on this thread")
}

fn command(op: Op, a: String, b: String, n: f64, now: i64, read: Read) -> Command {
    match op {
        Op::Set => {
            Command::Set { key: a, value: b, ttl: (!n.is_nan()).then_some(n), read: Some(read) }
        }
        Op::Delete => Command::Delete { key: a },
        Op::Take => Command::Take { key: a },
        Op::Increment => Command::Increment { key: a, ttl: n },
        Op::ListKeys => Command::ListKeys,
        Op::Clear => Command::Clear,
        Op::Create => Command::Create { token: a, session: b },
        Op::Update => Command::Update { token: a, changes: b },
        Op::List => Command::List { user: a },
        Op::EndAll => Command::EndAll { user: a, except: (!b.is_empty()).then_some(b), now },
        Op::Cleanup => Command::Cleanup,
        Op::UserHalves => Command::UserHalves { user: a },
        Op::InstallUser => Command::InstallUser {
            user: a,
            row: b,
            as_it_is: n == 1.0,
            halves: read.handed.into_iter().next().unwrap_or_default(),
        },
        Op::Ping => Command::Ping,
    }
}
