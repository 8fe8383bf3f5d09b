//! Each option and each form of URL: what it is taken for, and what is said when it is wrong.

mod every_option;
mod near_cache;
mod outages;
mod prefixes;
mod problems;
mod secrets;
mod servers;
mod support;
mod tls;
mod urls;
