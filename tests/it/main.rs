//! Integration tests: the binary against real servers, and against a scripted one for what those
//! cannot be made to do. One file per feature; `support` is what they stand on.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops and says why"
)]
#![allow(clippy::cast_possible_truncation, reason = "test data is cut to a byte on purpose")]

mod support;

mod addresses;
mod authority;
mod blocking;
mod chaos;
mod client_command;
mod cluster_emulation;
mod command_command;
mod command_line;
mod command_table;
mod commands_doc;
mod compat_doc;
mod conf;
mod config_command;
mod connection;
mod differential;
mod errors;
mod explain;
mod failover;
mod families;
mod fan_out;
mod faults;
mod giants;
mod health;
mod hot_keys;
mod house;
mod info_sections;
mod info;
mod inline;
mod isolation;
mod logs;
mod long_keys;
mod malformed;
mod max_memory;
mod metrics;
mod monitor;
mod multi_key;
mod order;
mod own_commands;
mod pause;
mod promises_doc;
mod protocol;
mod proxy_protocol;
mod pubsub;
mod pubsub_limits;
mod pubsub_resp3;
mod pubsub_upstream;
mod read_policy;
mod redirect;
mod reload;
mod replies;
mod resharding;
mod resp3;
mod scan;
mod scripts;
mod sentinel_pool;
mod server_commands;
mod shutdown;
mod single_key;
mod slow_clients;
mod slow_log;
mod small_hosts;
mod soak;
mod standalone_pool;
mod streams;
mod timeouts;
mod tools;
mod top;
mod topology;
mod transactions;
mod upgrade;
mod upgrade_pubsub;
mod uploads;
mod user_of_2022;
