//! Records on Redis or Valkey, 6.2 or later.

mod arguments;
mod batch;
pub(crate) mod cluster;
pub(crate) mod connection;
mod degraded_answers;
mod executor;
mod failure;
mod index;
mod one_key;
mod ownership;
mod replicas;
mod replies;
mod route;
mod scan;
mod scripts;
pub(crate) mod standalone;
mod tracking;
