//! Kills a process with SIGKILL at every step of every operation that writes or ends sessions, and
//! looks at what it left.
//!
//! # All the places where a crash can make a difference
//! A process keeps nothing that outlives it, so what a crash leaves is what Redis had carried out
//! by then. Every step of every operation goes through `Executor::run` (`src/engine/redis/executor.rs`)
//! and is one command or one script, which Redis carries out whole or, when only half of it
//! arrived, not at all; connecting touches no data. So a crash is named by the number n of a step
//! and by where in `run` it strikes:
//!
//! | moment | fail point | Redis has carried out |
//! |---|---|---|
//! | [`Moment::BeforeSend`] | `redis-before-send` | n - 1 steps |
//! | [`Moment::Sent`] | between the two: the process dies before the answer | n steps |
//! | [`Moment::AfterReply`] | `redis-after-reply` | n steps, and those sent together with it |
//!
//! From the reply to one step until the next is sent, a process only computes. A step added to an
//! operation passes `run` too, and fails the operation's test here until it is listed.
//!
//! # A case
//! There are fresh sessions, and a *late* store that has read them all. This test's program,
//! started once more, runs the operation and kills itself as soon as `MONITOR` shows that the
//! server has carried out what was let through. Then:
//! - the state is exactly that after so many whole steps: every live session in its owner's index,
//!   every key with an expiry;
//! - a new process reads what the state says, and the late store's writes bring nothing back and
//!   change nothing;
//! - the operation, repeated, completes what the crash left, and the next sign-in works and keeps
//!   the limit.
#![cfg(all(unix, feature = "failpoints"))]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, process, thread};

use redis::cmd;
use serde_json::{Value, json};
use session_store::{Code, Command, Config, DeliverPart, Reply, Result, Sessions, Text, open};
use tokio::runtime::{self, Runtime};

use Step::{Adopts, Changes, Drops, Ends, Reads, Revokes, SignsIn, Stores};

// ---- The operations ----

macro_rules! crash_tests {
    ($($(#[$doc:meta])* $name:ident { $($fields:tt)* })*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            survives(stringify!($name), &Operation { $($fields)* ..PLAIN });
        }
    )* };
}

crash_tests! {
    create {
        commands: |scene| vec![scene.create("ann-5")],
        steps: &[SignsIn("ann-5")],
    }

    create_beyond_the_limit {
        limit: Some(2),
        commands: |scene| vec![scene.create("ann-5")],
        steps: &[SignsIn("ann-5"), Reads, Ends(&["ann-1"]), Ends(&["ann-2"]), Ends(&["ann-3"])],
        next: &[SignsIn("ann-9"), Ends(&["ann-4"])],
    }

    set_of_a_new_session_beyond_the_limit {
        limit: Some(3),
        commands: |scene| vec![scene.set("ann-5", 0)],
        steps: &[SignsIn("ann-5"), Reads, Ends(&["ann-1"]), Ends(&["ann-2"])],
        next: &[SignsIn("ann-9"), Ends(&["ann-3"])],
    }

    refresh {
        reads: Some("ann-1"),
        commands: |scene| vec![scene.set("ann-1", 1)],
        steps: &[Reads, Reads, Changes("ann-1")],
    }

    /// A first put tells the writer what lies there.
    refresh_without_a_read {
        commands: |scene| vec![scene.set("ann-1", 1)],
        steps: &[Reads, Changes("ann-1")],
    }

    update {
        commands: |_| vec![Command::Update { token: "ann-1".into(), changes: json!({ "mark": 1 }).to_string() }],
        steps: &[Reads, Reads, Changes("ann-1")],
    }

    set_without_life {
        commands: |scene| vec![Command::Set { key: "ann-1".into(), value: scene.session("ann-1", 0), ttl: Some(0.0), writer: None }],
        steps: &[Ends(&["ann-1"])],
    }

    end {
        commands: |_| vec![Command::Delete { key: "ann-1".into() }],
        steps: &[Ends(&["ann-1"])],
    }

    take {
        commands: |_| vec![Command::Take { key: "ann-1".into() }],
        steps: &[Ends(&["ann-1"]), Reads],
    }

    end_all {
        commands: |scene| vec![Command::EndAll { user: "ann".into(), except: None, now: scene.created_at("ann-5") }],
        steps: &[Revokes("revoked-sessions-before-ann", &["ann-1", "ann-2", "ann-3", "ann-4"])],
    }

    end_all_but_one {
        commands: |_| vec![Command::EndAll { user: "ann".into(), except: Some("ann-2".into()), now: 0 }],
        steps: &[Ends(&["ann-1", "ann-3", "ann-4"])],
    }

    /// Its ends are sent together: a crash may leave any first few of them carried out.
    revoke_before {
        commands: |scene| {
            let before = scene.created_at("ann-4").to_string();
            vec![Command::Set { key: "revoked-sessions-before-ann".into(), value: before, ttl: Some(3600.0), writer: None }]
        },
        steps: &[Stores("revoked-sessions-before-ann"), Reads, Reads, Reads, Ends(&["ann-1"]), Ends(&["ann-2"]), Ends(&["ann-3"])],
    }

    clear {
        commands: |_| vec![Command::Clear],
        steps: &[
            Reads, Reads, Ends(&["ann-1"]), Ends(&["ann-2"]), Ends(&["ann-3"]), Ends(&["ann-4"]), Ends(&["bob-1"]),
        ],
    }

    /// ann's index holds an ended session and a sign-in under way, which must stay; cat's holds one
    /// past its time.
    cleanup {
        prepare: |scene, redis| {
            let soon = scene.now_ms + 60_000;
            let () = cmd("SET").arg("session:ann-3").arg(TOMBSTONE).arg("EX").arg(300).query(redis).unwrap();
            let () = cmd("ZADD").arg("user-sessions:ann").arg(soon).arg("ann-8").query(redis).unwrap();
            let () = cmd("ZADD").arg("user-sessions:cat").arg(1).arg("cat-1").query(redis).unwrap();
            let () = cmd("EXPIRE").arg("user-sessions:cat").arg(300).query(redis).unwrap();
        },
        commands: |_| vec![Command::Cleanup],
        steps: &[Reads, Drops(&["ann-3"]), Reads, Drops(&["cat-1"])],
    }

    first_read_of_a_session_that_another_store_wrote {
        prepare: |scene, redis| {
            let session = scene.session("ann-6", 0);
            let () = cmd("SET").arg("session:ann-6").arg(session).arg("EX").arg(3600).query(redis).unwrap();
        },
        reads: Some("ann-6"),
        steps: &[Reads, Reads, Adopts("ann-6"), Reads],
    }
}

/// What is crashed.
struct Operation {
    /// `maxSessionsPerUser` of its store.
    limit: Option<u32>,
    /// Adds to what lies on Redis.
    prepare: fn(&Scene, &mut redis::Connection),
    /// The key that its process reads first.
    reads: Option<&'static str>,
    /// What its process runs then.
    commands: fn(&Scene) -> Vec<Command>,
    /// What these do, in the order of their sending.
    steps: &'static [Step],
    /// What a sign-in of ann-9 does after the whole of it.
    next: &'static [Step],
}

const PLAIN: Operation = Operation {
    limit: None,
    prepare: |_, _| {},
    reads: None,
    commands: |_| Vec::new(),
    steps: &[],
    next: &[SignsIn("ann-9")],
};

/// What one step does. Session ids are `<user>-<number>`, and the greater number is the newer
/// session.
#[derive(Clone, Copy)]
enum Step {
    /// Nothing that stays.
    Reads,
    SignsIn(&'static str),
    /// Writes the session's mark.
    Changes(&'static str),
    Ends(&'static [&'static str]),
    /// Writes the not-before marker, and ends sessions.
    Revokes(&'static str, &'static [&'static str]),
    /// Takes ids out of an index, whose sessions were dead.
    Drops(&'static [&'static str]),
    /// Indexes a session that another store wrote.
    Adopts(&'static str),
    /// Writes a value that is no session.
    Stores(&'static str),
}

/// The sessions of a case, made from one instant, so that both processes know the same ones.
struct Scene {
    now_ms: i64,
}

impl Scene {
    /// Sessions that are there at the beginning.
    const SIGNED_IN: [&str; 5] = ["ann-1", "ann-2", "ann-3", "ann-4", "bob-1"];

    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Scene { now_ms: since.as_millis() as i64 }
    }

    /// Less than a minute ago: young enough that only a tombstone keeps an ended one from being
    /// created again.
    fn created_at(&self, id: &str) -> i64 {
        let number: i64 = id.split_once('-').unwrap().1.parse().unwrap();
        self.now_ms - 50_000 + number * 1000
    }

    /// A record in Better Auth's shape; the one with the greater mark is the newer.
    fn session(&self, id: &str, mark: i64) -> String {
        let created_at = self.created_at(id);
        let (updated_at, expires_at) = (created_at + mark, created_at + 3_600_000);
        let session = json!({
            "token": id, "userId": owner(id), "mark": mark,
            "createdAt": created_at, "updatedAt": updated_at, "expiresAt": expires_at,
        });
        json!({ "session": session, "user": { "id": owner(id) } }).to_string()
    }

    fn create(&self, id: &str) -> Command {
        Command::Create { token: id.into(), session: self.session(id, 0) }
    }

    fn set(&self, id: &str, mark: i64) -> Command {
        Command::Set {
            key: id.into(),
            value: self.session(id, mark),
            ttl: Some(3600.0),
            writer: None,
        }
    }
}

fn owner(id: &str) -> &str {
    id.split_once('-').unwrap().0
}

// ---- What lies on Redis ----

const TOMBSTONE: &[u8] = b"\xffended";

#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    /// By key, without its prefix.
    keys: BTreeMap<String, Lies>,
    /// Session ids by user.
    indexes: BTreeMap<String, BTreeSet<String>>,
}

/// What lies under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    Live {
        mark: i64,
    },
    /// A live session that another store wrote and this one has not met.
    Foreign,
    /// A tombstone.
    Ended,
    /// No session.
    Other,
}

impl State {
    /// What lies there now. Fails where an invariant does not hold: a live session is in its
    /// owner's index, which outlives it; no session vanishes without a tombstone; every key
    /// expires.
    fn read(redis: &mut redis::Connection) -> Self {
        let mut state = State::default();
        let mut sessions = Vec::new();
        let keys: Vec<String> = cmd("KEYS").arg("*").query(redis).unwrap();
        for key in keys {
            let ttl_ms: i64 = cmd("PTTL").arg(&key).query(redis).unwrap();
            assert!(ttl_ms > 0, "{key} never expires");
            if let Some(user) = key.strip_prefix("user-sessions:") {
                let ids = cmd("ZRANGE").arg(&key).arg(0).arg(-1).query(redis).unwrap();
                state.indexes.insert(user.to_owned(), ids);
                continue;
            }
            let id = key.strip_prefix("session:").expect("a key with a prefix of the store's");
            let lies = Lies::parse(id, &cmd("GET").arg(&key).query::<Vec<u8>>(redis).unwrap());
            if matches!(lies, Lies::Live { .. }) {
                sessions.push((id.to_owned(), ttl_ms));
            }
            state.keys.insert(id.to_owned(), lies);
        }
        for (id, ttl_ms) in sessions {
            let index = state
                .indexes
                .get(owner(&id))
                .unwrap_or_else(|| panic!("{id} is live and its owner has no index"));
            assert!(index.contains(&id), "{id} is live and not in its owner's index");
            let index_ttl_ms: i64 =
                cmd("PTTL").arg(format!("user-sessions:{}", owner(&id))).query(redis).unwrap();
            assert!(index_ttl_ms >= ttl_ms, "the index expires before {id} does");
        }
        for id in Scene::SIGNED_IN {
            assert!(
                state.keys.contains_key(id),
                "{id} is neither live nor ended: a late write could bring it back"
            );
        }
        state
    }

    fn apply(mut self, steps: &[Step]) -> Self {
        for step in steps {
            self.apply_one(*step);
        }
        self
    }

    fn apply_one(&mut self, step: Step) {
        match step {
            Reads => {}
            SignsIn(id) | Adopts(id) => {
                self.keys.insert(id.into(), Lies::Live { mark: 0 });
                self.indexes.entry(owner(id).into()).or_default().insert(id.into());
            }
            Changes(id) => drop(self.keys.insert(id.into(), Lies::Live { mark: 1 })),
            Stores(key) => drop(self.keys.insert(key.into(), Lies::Other)),
            Drops(ids) => ids.iter().for_each(|id| self.unindex(id)),
            Revokes(marker, ids) => {
                self.keys.insert(marker.into(), Lies::Other);
                self.apply_one(Ends(ids));
            }
            Ends(ids) => {
                for id in ids {
                    self.keys.insert((*id).into(), Lies::Ended);
                    self.unindex(id);
                }
            }
        }
    }

    fn unindex(&mut self, id: &str) {
        let index = self.indexes.get_mut(owner(id)).unwrap();
        index.remove(id);
        if index.is_empty() {
            self.indexes.remove(owner(id));
        }
    }

    fn is_live(&self, id: &str) -> bool {
        matches!(self.keys.get(id), Some(Lies::Live { .. }))
    }

    /// The sessions that this store knows, each with whether it is live.
    /// A live session may be older than its owner's not-before marker, which is that of ann-4.
    fn is_readable(&self, id: &str) -> bool {
        let is_older = ["ann-1", "ann-2", "ann-3"].contains(&id);
        self.is_live(id) && !(is_older && self.keys.contains_key("revoked-sessions-before-ann"))
    }

    fn sessions(&self) -> impl Iterator<Item = (&str, bool)> {
        let known = |lies: &Lies| matches!(lies, Lies::Live { .. } | Lies::Ended);
        self.keys
            .iter()
            .filter(move |(_, lies)| known(lies))
            .map(|(id, _)| (id.as_str(), self.is_live(id)))
    }
}

impl Lies {
    fn parse(key: &str, raw: &[u8]) -> Self {
        if raw == TOMBSTONE {
            return Lies::Ended;
        }
        let value: Value = serde_json::from_slice(raw).expect("JSON");
        let session = &value["session"];
        if session["token"] != key {
            return Lies::Other;
        }
        // The space after it marks a record that was indexed.
        match raw.last() {
            Some(b' ') => Lies::Live { mark: session["mark"].as_i64().unwrap() },
            _ => Lies::Foreign,
        }
    }
}

// ---- The process that looks on ----

/// Crashes an operation everywhere. `test` is the name of the calling test, which is what the
/// crashing process runs.
fn survives(test: &str, operation: &Operation) {
    if let Ok(order) = env::var(ORDER) {
        return Victim::run(&order, operation);
    }
    let witness = Witness::new(test, operation);
    witness.check_without_crash();
    for step in 1..=operation.steps.len() {
        for moment in Moment::ALL {
            witness.check_crash(Crash { moment, step });
        }
    }
}

struct Witness<'t> {
    test: &'t str,
    operation: &'t Operation,
    server: Server,
    runtime: Runtime,
}

type Store = Arc<dyn Sessions>;

/// What a key holds.
async fn read(store: &Store, key: &str) -> Result<Option<Text>> {
    let found = Arc::new(Mutex::new(None));
    let own = found.clone();
    let deliver: DeliverPart = Box::new(move |mut part, _| {
        *own.lock().unwrap() = part.values.pop().flatten();
        None
    });
    store.clone().read(key.to_owned(), false, deliver).await?;
    Ok(found.lock().unwrap().take())
}

impl<'t> Witness<'t> {
    fn new(test: &'t str, operation: &'t Operation) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Witness { test, operation, server: Server::start(), runtime }
    }

    /// No crash: it takes the steps that are listed, no more and no fewer. Leaves its scripts
    /// loaded, so that a step is one command from now on.
    fn check_without_crash(&self) {
        println!("{}, no crash", self.test);
        let (scene, _late) = self.set_the_scene();
        let before = self.state();
        let output = self.start_victim(&scene, None);
        assert!(output.status.success(), "it failed: {output:?}");
        assert_eq!(
            reported_steps(&output),
            Some(self.operation.steps.len()),
            "steps taken, steps listed"
        );
        assert_eq!(self.state(), before.apply(self.operation.steps));
    }

    fn check_crash(&self, crash: Crash) {
        println!("{}, crash: {crash:?}", self.test);
        let (scene, late) = self.set_the_scene();
        let before = self.state();

        let output = self.start_victim(&scene, Some(crash));
        let done = self.carried_out(crash, &output);
        let left = before.clone().apply(&self.operation.steps[..done]);
        assert_eq!(self.state(), left, "after {done} steps");
        self.check_reads(&left);
        self.write_late(&late, &scene, &left);

        self.repeat(&scene, &left);
        let whole = before.apply(self.operation.steps).apply(self.operation.next);
        assert_eq!(self.state(), whole, "after it was repeated, and the next sign-in");
        self.check_reads(&whole);
        self.write_late(&late, &scene, &whole);
    }

    /// The sessions of a new case, and a store that has read them.
    fn set_the_scene(&self) -> (Scene, Store) {
        let mut redis = self.server.connect();
        let () = cmd("FLUSHALL").query(&mut redis).unwrap();
        let (scene, late) = (Scene::now(), self.server.store("late", None));
        for id in Scene::SIGNED_IN {
            self.run(&late, scene.create(id)).unwrap();
            self.runtime.block_on(read(&late, id)).unwrap();
        }
        (self.operation.prepare)(&scene, &mut redis);
        (scene, late)
    }

    fn start_victim(&self, scene: &Scene, crash: Option<Crash>) -> Output {
        process::Command::new(env::current_exe().unwrap())
            .args([self.test, "--exact", "--nocapture"])
            .env(ORDER, order(self.server.port, scene, crash))
            .output()
            .unwrap()
    }

    /// How many steps of the operation Redis had carried out when its process was killed.
    fn carried_out(&self, crash: Crash, output: &Output) -> usize {
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGKILL),
            "this point was never reached: {output:?}"
        );
        let done = reported_steps(output).expect("it was killed, and not by itself");
        match crash.moment {
            Moment::BeforeSend => assert_eq!(done, crash.step - 1),
            Moment::Sent => assert_eq!(done, crash.step),
            Moment::AfterReply => assert!(done >= crash.step),
        }
        done
    }

    /// A process that starts now sees the state as it is.
    fn check_reads(&self, state: &State) {
        let store = self.server.store("reader", None);
        for (id, _) in state.sessions() {
            let found = self.runtime.block_on(read(&store, id)).unwrap();
            assert_eq!(found.is_some(), state.is_readable(id), "get of {id}: {found:?}");
        }
        for user in ["ann", "bob"] {
            let Reply::Text(list) = self.run(&store, Command::List { user: user.into() }).unwrap()
            else {
                panic!("a list is a text")
            };
            let listed: Vec<Value> = serde_json::from_str(list.as_str()).unwrap();
            let listed: BTreeSet<_> =
                listed.iter().map(|session| session["token"].as_str().unwrap()).collect();
            let live: BTreeSet<_> = state
                .sessions()
                .map(|(id, _)| id)
                .filter(|id| state.is_readable(id) && owner(id) == user)
                .collect();
            assert_eq!(listed, live, "list of {user}");
        }
    }

    /// A writer that read every session before the crash writes now: nothing comes back, nothing is
    /// undone.
    fn write_late(&self, late: &Store, scene: &Scene, state: &State) {
        for (id, live) in state.sessions() {
            self.run(late, scene.set(id, 0)).unwrap();
            if live {
                continue;
            }
            let created = self.run(late, scene.create(id));
            assert_eq!(created.unwrap_err().code, Code::Revoked, "late create of {id}");
            let updated =
                self.run(late, Command::Update { token: id.into(), changes: "{}".into() });
            assert_eq!(updated.unwrap_err().code, Code::NotFound, "late update of {id}");
        }
        assert_eq!(self.state(), *state, "after late writes");
    }

    /// Another process does the operation again; then ann signs in.
    fn repeat(&self, scene: &Scene, left: &State) {
        let store = self.server.store("repeat", self.operation.limit);
        if let Some(key) = self.operation.reads {
            self.runtime.block_on(read(&store, key)).unwrap();
        }
        for command in (self.operation.commands)(scene) {
            let taken = if let Command::Take { key } = &command { Some(key.clone()) } else { None };
            let reply = self.run(&store, command).unwrap();
            if let Some(key) = taken {
                assert_eq!(
                    matches!(reply, Reply::Text(_)),
                    left.is_live(&key),
                    "taken at most once: {reply:?}"
                );
            }
        }
        self.run(&store, scene.create("ann-9")).unwrap();
    }

    fn run(&self, store: &Store, command: Command) -> Result<Reply> {
        self.runtime.block_on(store.clone().run(command))
    }

    fn state(&self) -> State {
        State::read(&mut self.server.connect())
    }
}

// ---- The process that is killed ----

/// The variable that makes a process of this program a victim: `<port> <scene's ms> [<moment>
/// <step>]`.
const ORDER: &str = "SESSION_STORE_CRASH";

/// What a victim says of itself before the number of steps that Redis has carried out.
const STEPS_REPORTED: &str = "steps carried out: ";

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
struct Crash {
    moment: Moment,
    /// Which step, from 1.
    step: usize,
}

/// Where in a step the process dies (see the top of this file).
#[derive(Clone, Copy, Debug)]
enum Moment {
    BeforeSend,
    Sent,
    AfterReply,
}

impl Moment {
    const ALL: [Moment; 3] = [Moment::BeforeSend, Moment::Sent, Moment::AfterReply];
}

fn order(port: u16, scene: &Scene, crash: Option<Crash>) -> String {
    let crash = crash.map(|Crash { moment, step }| format!("{moment:?} {step}"));
    format!("{port} {} {}", scene.now_ms, crash.unwrap_or_default())
}

fn parse_order(order: &str) -> (u16, Scene, Option<Crash>) {
    let words: Vec<_> = order.split_whitespace().collect();
    let crash = words.get(2).map(|word| Crash {
        moment: Moment::ALL.into_iter().find(|moment| format!("{moment:?}") == *word).unwrap(),
        step: words[3].parse().unwrap(),
    });
    (words[0].parse().unwrap(), Scene { now_ms: words[1].parse().unwrap() }, crash)
}

fn reported_steps(victim: &Output) -> Option<usize> {
    let stderr = String::from_utf8_lossy(&victim.stderr);
    stderr.lines().find_map(|line| line.strip_prefix(STEPS_REPORTED))?.parse().ok()
}

/// The operation, and so the fail points, run on one thread and the connection is driven by
/// another: while a point holds the operation, what it has sent goes out.
struct Victim {
    crash: Option<Crash>,
    sent: AtomicUsize,
    answered: AtomicUsize,
    monitor: Mutex<Monitor>,
}

impl Victim {
    fn run(order: &str, operation: &Operation) {
        let (port, scene, crash) = parse_order(order);
        let victim = Arc::new(Victim {
            crash,
            sent: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            monitor: Mutex::new(Monitor::of(port)),
        });
        victim.arm();
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = store(port, "victim", operation.limit);
        if let Some(key) = operation.reads {
            runtime.block_on(read(&store, key)).unwrap();
        }
        for command in (operation.commands)(&scene) {
            runtime.block_on(store.clone().run(command)).unwrap();
        }
        eprintln!("{STEPS_REPORTED}{}", victim.sent.load(SeqCst));
    }

    fn arm(self: &Arc<Self>) {
        let victim = self.clone();
        fail::cfg_callback("redis-before-send", move || victim.before_send()).unwrap();
        let victim = self.clone();
        fail::cfg_callback("redis-after-reply", move || victim.after_reply()).unwrap();
        if let Some(Crash { moment: Moment::Sent, step }) = self.crash {
            let victim = self.clone();
            thread::spawn(move || victim.die_after(step));
        }
    }

    fn before_send(&self) {
        let step = self.sent.fetch_add(1, SeqCst) + 1;
        match self.crash {
            Some(Crash { moment: Moment::BeforeSend, step: last }) if step == last => {
                self.die_after(last - 1)
            }
            Some(Crash { moment: Moment::Sent, step: last }) if step > last => wait_for_death(),
            _ => {}
        }
    }

    fn after_reply(&self) {
        let step = self.answered.fetch_add(1, SeqCst) + 1;
        match self.crash {
            Some(Crash { moment: Moment::AfterReply, step: last }) if step == last => {
                self.die_after(self.sent.load(SeqCst));
            }
            Some(Crash { moment: Moment::Sent, step: last }) if step == last => wait_for_death(),
            _ => {}
        }
    }

    /// Kills this process as soon as Redis has carried out the steps that were let through.
    fn die_after(&self, steps: usize) {
        self.monitor.lock().unwrap().wait_for(steps);
        eprintln!("{STEPS_REPORTED}{steps}");
        // SAFETY: kill and getpid touch no memory of this process.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        wait_for_death();
    }
}

fn wait_for_death() -> ! {
    loop {
        thread::park();
    }
}

/// The server's own account of its commands. It tells of one in the same turn in which it carries
/// it out.
struct Monitor {
    lines: BufReader<TcpStream>,
    steps: usize,
}

impl Monitor {
    fn of(port: u16) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut monitor = Monitor { lines: BufReader::new(stream), steps: 0 };
        assert_eq!(monitor.line(), "+OK\r\n");
        monitor
    }

    fn wait_for(&mut self, steps: usize) {
        while self.steps < steps {
            self.steps += usize::from(is_step(&self.line()));
        }
    }

    /// When there is none the process ends: the rest of it may wait for a death that never comes.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line);
        if !matches!(read, Ok(1..)) {
            eprintln!("MONITOR tells nothing more: {read:?}");
            process::exit(1);
        }
        line
    }
}

/// Whether a line of MONITOR, `+<time> [<db> <address>] "<COMMAND>" …`, is a step: no set-up of a
/// connection, and nothing that a script called (its address is `lua`). Of a pipeline the command
/// that tells most counts.
fn is_step(line: &str) -> bool {
    let Some((from, command)) = line.split_once("] \"") else { return false };
    let name = command.split('"').next().unwrap_or_default();
    // Whether there are scripts is asked by one that there is not.
    let is_probe = command.contains(&"0".repeat(40));
    !from.ends_with("lua")
        && !is_probe
        && ["EVALSHA", "GET", "MGET", "SET", "SCAN", "SORT", "ZRANGEBYSCORE"].contains(&name)
}

// ---- The server ----

/// A server of this test's own: it ends, and its folder goes, with this value.
struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Server {
    fn start() -> Self {
        let program = server_program();
        // Another process may take a port between its choice and the server's start.
        for _ in 0..5 {
            let mut server = Server::spawn(&program);
            if server.is_up() {
                return server;
            }
        }
        panic!("{} does not start on any port of 127.0.0.1", program.display());
    }

    fn spawn(program: &PathBuf) -> Self {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = env::temp_dir().join(format!("session-store-crash-{}-{port}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let process = process::Command::new(program)
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        Server { process, port, folder }
    }

    /// Waits until this very server answers on its port; false when it has ended.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mine = format!("process_id:{}\r\n", self.process.id());
        while Instant::now() < deadline && self.process.try_wait().unwrap().is_none() {
            let client = redis::Client::open(self.url()).unwrap();
            let info = client
                .get_connection()
                .and_then(|mut redis| cmd("INFO").arg("server").query::<String>(&mut redis));
            if info.is_ok_and(|info| info.contains(&mine)) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn url(&self) -> String {
        url(self.port)
    }

    fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    fn store(&self, name: &str, limit: Option<u32>) -> Store {
        store(self.port, name, limit)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// TEST_REDIS_SERVER, or what the PATH has.
fn server_program() -> PathBuf {
    if let Some(program) = env::var_os("TEST_REDIS_SERVER") {
        return program.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let named = |name| {
        env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
    };
    named("redis-server").or_else(|| named("valkey-server")).expect(
        "this test starts a Redis server of its own: put redis-server or valkey-server on the PATH",
    )
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// A store of this process's; one of the same name and limit is a new one once all handles of the
/// old are gone.
fn store(port: u16, name: &str, limit: Option<u32>) -> Store {
    let mut options = json!({ "url": url(port), "connectionName": name, "commandTimeout": PATIENCE.as_millis() as u64, "nearCache": false });
    if let Some(limit) = limit {
        options["maxSessionsPerUser"] = limit.into();
    }
    open(Config::from_json(&options.to_string()).unwrap()).unwrap()
}
