//! The `predixy` command: arguments in, exit code out; the only place that prints or exits.

fn main() {}
