//! Reads 600-byte sessions so many at a time, for counting what a read costs the core:
//! `valgrind --tool=callgrind target/release/examples/reads redis://localhost 512 1000`, once more with 2000 batches; the
//! difference, by the reads that it has more, is the instructions of one.

use session_store::{Command, Config, open};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("arguments: Redis URL, keys in a batch, batches");
    let (url, keys, batches) = (next()?, next()?.parse::<usize>()?, next()?.parse::<usize>()?);
    let config = Config::from_json(&format!(
        r#"{{"url":{url:?},"keyPrefix":"reads:","commandTimeout":60000,"nearCache":false}}"#
    ))
    .map_err(|problems| problems.join("\n"))?;
    let store = open(config);
    let keys: Vec<_> = (0..keys).map(|n| format!("token-{n:026}")).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        for key in &keys {
            let value = "x".repeat(600);
            store.clone().run(Command::Set { key: key.clone(), value, ttl: Some(600.0), read: None }).await?;
        }
        for _ in 0..batches {
            store.clone().read(keys.join("\0")).await?;
        }
        Ok(())
    })
}
