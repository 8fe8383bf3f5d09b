//! Does an operation so many times at once, for counting what it costs the core: `valgrind
//! --tool=callgrind target/release/examples/load reads redis://localhost 512 1000`, once more with
//! 2000 batches; the difference, by the operations that it has more, is the instructions of one.

use std::sync::Arc;

use session_store::{Command, Config, Result, Sessions, open};
use tokio::task::JoinSet;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments.next().ok_or("arguments: reads or sign-ins, Redis URL, how many at once, batches")
    };
    let (operation, url, at_once, batches) = (next()?, next()?, next()?.parse()?, next()?.parse()?);
    let config = Config::from_json(&format!(
        r#"{{"url":{url:?},"keyPrefix":"load:","userPrefix":"load-users:","commandTimeout":60000,"nearCache":false}}"#
    ))
    .map_err(|problems| problems.join("\n"))?;
    let store = open(config)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match operation.as_str() {
            "reads" => reads(store, at_once, batches).await?,
            "sign-ins" => sign_ins(store, at_once, batches).await,
            _ => return Err(format!("{operation}: must be reads or sign-ins").into()),
        }
        Ok(())
    })
}

/// Reads of values of 600 bytes, together as those of one tick are.
async fn reads(store: Arc<dyn Sessions>, at_once: usize, batches: usize) -> Result<()> {
    let keys: Vec<_> = (0..at_once).map(|n| format!("token-{n:026}")).collect();
    for key in &keys {
        let set = Command::Set {
            key: key.clone(),
            value: "x".repeat(600),
            ttl: Some(600.0),
            writer: None,
        };
        store.clone().run(set).await?;
    }
    for _ in 0..batches {
        store.clone().read(keys.join("\0"), false, Box::new(|_, _| None)).await?;
    }
    Ok(())
}

/// What Better Auth does with the store when a user signs in: counts, looks at the list of
/// sessions, writes the new one.
async fn sign_ins(store: Arc<dyn Sessions>, at_once: usize, batches: usize) {
    let mut clients = JoinSet::new();
    for client in 0..at_once {
        let store = store.clone();
        clients.spawn(async move {
            for n in 0..batches {
                sign_in(&store, &format!("{client:016}{n:016}")).await.expect("Redis answers");
            }
        });
    }
    clients.join_all().await;
}

async fn sign_in(store: &Arc<dyn Sessions>, token: &str) -> Result<()> {
    store
        .clone()
        .run(Command::Increment { key: format!("{token}|/sign-in/email"), ttl: 10.0 })
        .await?;
    store.clone().read(format!("active-sessions-{token}"), false, Box::new(|_, _| None)).await?;
    let filling = "x".repeat(380);
    let value = format!(
        r#"{{"session":{{"token":"{token}","userId":"{token}","expiresAt":"2099-01-01T00:00:00.000Z"}},"user":{{"id":"{filling}"}}}}"#
    );
    store.clone().run(Command::Create { token: token.to_owned(), session: value }).await.map(drop)
}
