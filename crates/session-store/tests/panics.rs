//! A panic in a task of the store is a defect, and must not end the store: the next attempt is made
//! as after a failure.
#![cfg(feature = "failpoints")]

use std::net::TcpListener;

use fail::FailScenario;
use serde_json::{Value, json};
use session_store::{Code, Command, Config, Error, open};

/// The errors of two pings in sequence, while `point` panics once. No server listens on the port.
fn pings_after_a_panic(point: &str, options: impl Fn(u16) -> Value) -> [Error; 2] {
    let scenario = FailScenario::setup();
    fail::cfg(point, "1*panic(on purpose)->off").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = open(Config::from_json(&options(port).to_string()).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ping = || runtime.block_on(store.clone().run(Command::Ping)).unwrap_err();
    let errors = [ping(), ping()];
    scenario.teardown();
    errors
}

fn one_server(port: u16) -> Value {
    json!({ "url": format!("redis://127.0.0.1:{port}") })
}

fn cluster(port: u16) -> Value {
    json!({ "cluster": [{ "host": "127.0.0.1", "port": port }] })
}

#[test]
fn a_panic_in_a_connection_attempt_fails_the_call_and_the_next_attempt_is_made() {
    for (point, options) in
        [("redis-connect", one_server as fn(u16) -> Value), ("redis-ask-cluster", cluster)]
    {
        let [first, second] = pings_after_a_panic(point, options);
        assert_eq!(first.code, Code::Protocol, "{first}");
        assert!(first.to_string().contains("a defect in better-auth-redis-store"), "{first}");
        assert_eq!(second.code, Code::Unavailable, "{second}");
    }
}

#[test]
fn a_panic_in_the_task_that_connects_restarts_it() {
    for (point, options) in
        [("redis-supervise", one_server as fn(u16) -> Value), ("redis-keep-up", cluster)]
    {
        let [first, second] = pings_after_a_panic(point, options);
        assert_eq!(
            (first.code, second.code),
            (Code::Unavailable, Code::Unavailable),
            "{first}, {second}"
        );
    }
}
