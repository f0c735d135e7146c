//! A configuration file of any bytes: either it is refused and every mistake says what is wrong, or
//! everything that a start makes of it can be made, and its settings can be shown and read again.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use predixy::base::random::Random;
use predixy::conf::setting::{GLOBAL, POOL, Setting};
use predixy::conf::{Conf, ConfError};
use predixy::logger::Logger;
use predixy::pool::Topology;
use predixy::proxy::{memory_bound, share};

fuzz_target!(|text: &[u8]| {
    // It would read files of whoever runs this.
    if text.to_ascii_lowercase().windows(7).any(|word| word == b"include") {
        return;
    }
    match Conf::parse(Path::new("fuzz.conf"), text, &[]) {
        Ok(conf) => use_it(conf),
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            errors.iter().for_each(check_error);
        }
    }
});

fn check_error(error: &ConfError) {
    assert!(!error.message().is_empty());
    assert!(error.to_string().contains(error.message()), "{error}");
    assert!(!error.running_exception().is_empty());
}

fn use_it(conf: Conf) {
    assert!(!conf.binds.is_empty(), "a proxy that cannot be reached");
    check_settings(GLOBAL, &conf);
    check_settings(POOL, &conf.pool.common);
    assert!(!memory_bound::report(&conf, 1, 100).is_empty());
    let topology = Topology::from_conf(&conf.pool, conf.data_center.as_ref());
    let mut random = Random::new(1);
    for key in [&b""[..], b"k", b"12345", b"a{b}c", b"{}", b"\xff\x00"] {
        for is_write in [false, true] {
            // Whoever is chosen is there.
            if let Ok(server) = topology.choose(topology.place(key), is_write, |_| 0, &mut random) {
                assert!(topology.server(server).is_some());
            }
        }
    }
    // A reload with nothing changed.
    let same = topology.reconfigured(&conf.pool, conf.data_center.as_ref());
    assert_eq!(topology.servers().count(), same.servers().count());
    if conf.worker_threads <= 4 {
        assert!(share(conf, Logger::nowhere(), 100).is_ok());
    }
}

/// What CONFIG GET shows, CONFIG SET reads, and it means the same.
fn check_settings<T: Clone>(table: &'static [Setting<T>], holder: &T) {
    for setting in table.iter().filter(|setting| !setting.is_list()) {
        let shown = setting.show(holder);
        let mut again = holder.clone();
        if let Err(why) = setting.set(&mut again, shown.as_bytes()) {
            panic!("{} shows {shown:?}, and says of that: {why}", setting.name);
        }
        assert_eq!(setting.show(&again), shown, "{}", setting.name);
    }
}
