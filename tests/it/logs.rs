//! The log as its readers find it: lines, files, and what must not be in them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use crate::support::{
    AnyPool, Client, Proxy, SOON, Value, bulk, error, ok, original_differs, shared_cluster, simple,
    wait_until, wire,
};

/// The lines of the log of this name, without the one that may not be complete.
fn lines(proxy: &Proxy, name: &str) -> Vec<String> {
    let text = proxy.scratch().read(name);
    let complete = text.rfind('\n').map_or(0, |end| end + 1);
    text[..complete].lines().map(str::to_owned).collect()
}

/// What remains of a line behind date, level and place.
fn message(line: &str) -> &str {
    line.splitn(5, ' ').nth(4).unwrap_or_else(|| panic!("no line: {line}"))
}

#[test]
fn each_request_has_its_line_at_info() {
    let proxy = Proxy::start(&format!(
        "WorkerThreads 1\nLog {{dir}}/predixy.log\nLogInfoSample 1\n{}",
        shared_cluster().conf()
    ));
    proxy.wait_for_servers(shared_cluster().len());
    let mut client = proxy.client();
    assert_eq!(client.line("SET {logs}a value"), ok());
    assert_eq!(client.line("GET {logs}a"), bulk("value"));
    assert_eq!(client.line("INCR {logs}n").number(), 1);
    assert_eq!(client.line("LRANGE {logs}none 0 1"), Value::Array(Vec::new()));
    assert!(client.line("LPUSH {logs}a x").error_text().is_some());
    assert_eq!(client.line("DEL {logs}a {logs}n").number(), 2);
    assert_eq!(client.line("PING"), simple("PONG"));
    // In the words of predixy, so that whoever counts them by key or time can go on.
    let wants = [
        (" set ", " {logs}a ", "Status"),
        (" get ", " {logs}a ", "Str"),
        (" incr ", " {logs}n ", "Int"),
        (" lrange ", " {logs}none ", "Array"),
        (" lpush ", " {logs}a ", "Err"),
        (" del ", " {logs}a ", "Int"),
        (" ping ", "  ", "Status"),
    ];
    for (command, key, kind) in wants {
        let is_it = |line: &String| {
            let rest = message(line);
            rest.starts_with("RESP h 0 c 127.0.0.1:")
                && rest.contains(command)
                && rest.contains(key)
                && rest.contains(&format!(" {kind} t "))
        };
        wait_until(SOON, command, || lines(&proxy, "predixy.log").iter().any(is_it));
    }
    if !crate::support::is_original() {
        // Whoever answers, and whatever.
        let key = ["{logs}l"];
        assert_eq!(client.cmd(&["RPUSH", key[0], "x"]).number(), 1);
        assert_eq!(client.cmd(&["BLPOP", key[0], "0"]).elements().len(), 2);
        assert_eq!(client.line("MULTI"), ok());
        assert_eq!(client.line("DISCARD"), ok());
        for line in ["INFO", "CLIENT LIST", "SLOWLOG GET", "CLUSTER INFO", "HELLO 3", "RESET"] {
            assert_eq!(client.line(line).error_text(), None, "{line}");
        }
        for line in ["NOSUCH", "GET", "WAIT 0 0", "RENAME a b"] {
            assert!(client.line(line).error_text().is_some(), "{line}");
        }
        client.send(wire(&["SUBSCRIBE", "c"]));
        assert_eq!(client.reply().elements()[1], bulk("c"));
        for (command, kind) in [
            ("blpop {logs}l s 127", "Array"),
            ("multi  s None", "Status"),
            ("discard  s None", "Status"),
            ("info  s None", "Str"),
            ("client|list  s None", "Str"),
            ("slowlog|get  s None", "Array"),
            ("cluster|info  s None", "Str"),
            ("hello  s None", "Array"),
            ("reset  s None", "Status"),
            ("  s None", "Err"),
            ("wait  s None", "Err"),
            ("rename  s None", "Err"),
            ("subscribe  s None", "Array"),
        ] {
            wait_until(SOON, command, || {
                let lines = lines(&proxy, "predixy.log");
                let mut rest = lines.iter().map(|line| message(line).splitn(9, ' ').nth(8));
                rest.any(|rest| {
                    rest.is_some_and(|rest| {
                        rest.starts_with(command) && rest.contains(&format!(" {kind} t "))
                    })
                })
            });
        }
    }
    let all = lines(&proxy, "predixy.log");
    let get = all.iter().find(|line| line.contains(" get {logs}a ")).expect("GET");
    let words: Vec<&str> = message(get).split(' ').collect();
    let shape = ["RESP", "h", "0", "c", words[4], words[5], "req", words[7], "get", "{logs}a", "s"];
    assert_eq!(words[..11], shape, "{get}");
    assert!(words[11].starts_with("127.0.0.1:"), "the server: {get}");
    assert_eq!([words[13], words[15], words[16]], ["res", "Str", "t"], "{get}");
    assert!(words.len() == 18 && words[17].parse::<u64>().is_ok(), "{get}");
    assert_eq!(&get[26..29], " I ", "{get}");
}

#[test]
fn of_each_level_every_nth_line_is_written() {
    let proxy = Proxy::start(&format!(
        "WorkerThreads 1\nLog {{dir}}/predixy.log\n{}",
        shared_cluster().conf()
    ));
    let mut client = proxy.client();
    assert_eq!(client.line("CONFIG SET LogInfoSample 10"), ok());
    for _ in 0..100 {
        assert_eq!(client.line("ECHO counted"), bulk("counted"));
    }
    assert_eq!(client.line("CONFIG SET LogInfoSample 0"), ok());
    assert_eq!(client.line("ECHO uncounted"), bulk("uncounted"));
    wait_until(SOON, "the lines", || {
        lines(&proxy, "predixy.log").iter().filter(|line| line.contains(" echo ")).count() == 10
    });
}

#[test]
fn lines_of_json_are_json_whatever_is_in_them() {
    if original_differs("knows one format") {
        return;
    }
    let proxy = Proxy::start(&format!(
        "WorkerThreads 1\nName \"a \\\"quoted\\\" name\"\nLog {{dir}}/predixy.log\nLogFormat json\n\
         LogVerbSample 1\nLogDebugSample 1\nLogInfoSample 1\n{}",
        shared_cluster().conf()
    ));
    let mut client = proxy.client();
    let hostile: Vec<u8> = (0..=255).collect();
    assert_eq!(client.cmd(&[&b"SET"[..], &hostile, b"v"]), ok());
    assert_eq!(client.cmd(&[&b"DEL"[..], &hostile]).number(), 1);
    assert!(
        client.cmd(&[&b"CONFIG"[..], b"SET", b"\"\\\n\x01\xff", b"\"}"]).error_text().is_some()
    );
    client.send(b"*1\r\n$-7\r\n");
    assert!(client.reply().error_text().is_some());
    wait_until(SOON, "the lines", || {
        let text = lines(&proxy, "predixy.log").join("\n");
        text.contains("Protocol error") || text.contains("invalid bulk length")
    });
    let all = lines(&proxy, "predixy.log");
    assert!(all.len() > 5);
    for line in &all {
        let fields = json_object(line).unwrap_or_else(|at| panic!("{line}\nis no JSON at {at}"));
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["time", "level", "source", "message"], "{line}");
    }
    let messages: Vec<String> =
        all.iter().map(|line| json_object(line).expect("JSON").remove(3).1).collect();
    assert!(
        messages.iter().any(|text| text.contains("Name:a \"quoted\" name Workers:1")),
        "{messages:?}"
    );
}

/// The names and values of an object of strings, or where it is none.
fn json_object(line: &str) -> Result<Vec<(String, String)>, usize> {
    let mut rest = line.strip_prefix('{').ok_or(0usize)?;
    let mut fields = Vec::new();
    loop {
        let (name, after) = json_string(rest).ok_or(line.len() - rest.len())?;
        let after = after.strip_prefix(':').ok_or(line.len() - after.len())?;
        let (value, after) = json_string(after).ok_or(line.len() - after.len())?;
        fields.push((name, value));
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after == "}" => return Ok(fields),
            None => return Err(line.len() - after.len()),
        }
    }
}

fn json_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 2..])),
            '\\' => match characters.next()?.1 {
                escaped @ ('"' | '\\' | '/') => value.push(escaped),
                'n' | 'r' | 't' | 'b' | 'f' => value.push(' '),
                'u' => {
                    let digits: String =
                        (0..4).filter_map(|_| Some(characters.next()?.1)).collect();
                    value.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                _ => return None,
            },
            character if (character as u32) < 0x20 => return None,
            character => value.push(character),
        }
    }
    None
}

#[test]
fn no_secret_is_ever_logged() {
    if original_differs("D-27: shows passwords at Debug") {
        return;
    }
    let authority =
        "Authority {\nAuth Sesame {\nMode write\n}\nAuth Abracadabra {\nMode admin\n}\n}\n";
    let samples = "LogVerbSample 1\nLogDebugSample 1\nLogInfoSample 1\nLog {dir}/predixy.log\n";
    let server = crate::support::RedisServer::start_with(&["--requirepass", "Shibboleth"]);
    let groups = crate::support::groups_conf(&[server.address()]);
    let pool = groups.replace("    Databases 4", "    Password Shibboleth\n    Databases 4");
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{samples}{authority}{pool}"));
    let mut client = proxy.client();
    assert!(client.line("AUTH Hocuspocus").error_text().is_some());
    assert_eq!(client.line("AUTH Sesame"), ok());
    assert_eq!(client.line("SET logs:k v"), ok());
    client.send(b"AUTH Hocuspocus\r\n");
    assert!(client.reply().error_text().is_some());
    assert!(client.line("AUTH default Hocuspocus").error_text().is_some());
    assert!(client.line("AUTH Hocuspocus Hocuspocus Hocuspocus").error_text().is_some());
    let _ = client.line("HELLO 3 AUTH default Hocuspocus");
    assert_eq!(client.line("AUTH Abracadabra"), ok());
    assert!(client.line("CONFIG SET Password Presto Nonsense 1").error_text().is_some());
    assert_eq!(client.line("CONFIG SET Password Presto"), ok());
    wait_until(SOON, "the refusal", || proxy.log().contains("refuses new settings"));
    proxy.write_conf(&format!("Include Nonsense\n{authority}{pool}"));
    assert!(client.line("CONFIG RELOAD").error_text().is_some());
    proxy.write_conf(&format!("{samples}{authority}{}", pool.replace("Shibboleth", "Hocuspocus")));
    assert_eq!(client.line("CONFIG RELOAD"), ok());
    let log = || proxy.log();
    wait_until(SOON, "the second refusal", || log().matches("refuses new settings").count() >= 2);
    let all = [proxy.log(), lines(&proxy, "predixy.log").join("\n")].concat();
    assert!(all.contains("auth invalid"));
    let secrets = ["Sesame", "Abracadabra", "Shibboleth", "Hocuspocus", "Presto"];
    for secret in secrets {
        let line = all.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[test]
fn a_line_that_repeats_is_counted() {
    if original_differs("repeats it") {
        return;
    }
    let mut proxy = Proxy::start(&format!("Log {{dir}}/predixy.log\n{}", shared_cluster().conf()));
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.line("CONFIG SET Log x"), error("ERR argument wrong"));
    }
    assert!(proxy.terminate().success());
    let all = lines(&proxy, "predixy.log");
    let refused: Vec<&str> = all
        .iter()
        .map(|line| message(line))
        .filter(|text| text.contains("config set refused"))
        .collect();
    let text = "h 0 config set refused: Log is nothing that can be changed while running";
    // On a slow machine their time may be over in between.
    let told: u64 = refused
        .iter()
        .map(|line| match line.strip_prefix(text).expect("the same line") {
            "" => 1,
            more => {
                let times =
                    more.strip_prefix(" (repeated ").and_then(|more| more.strip_suffix(" times)"));
                times.expect("how often").parse::<u64>().expect("a number")
            }
        })
        .sum();
    assert_eq!(told, 50, "{refused:?}");
    assert!(refused.len() < 10, "{refused:?}");
}

/// Files of the log whose names begin with `stem`, oldest first.
fn files(folder: &Path, stem: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(stem)).collect();
    names.sort();
    names
}

#[test]
fn a_log_is_rotated_by_size_and_its_name_is_a_link() {
    let proxy = Proxy::start(&format!(
        "WorkerThreads 1\nAllowMissLog false\nLog {{dir}}/access.LOG\nLogRotate 1M\nLogInfoSample 1\n{}",
        shared_cluster().conf()
    ));
    let mut client = proxy.client();
    let request = wire(&["ECHO", "x"]).repeat(500);
    let mut count = 0;
    let folder = proxy.scratch().path().to_owned();
    let link = folder.join("access.LOG");
    let first = fs::read_link(&link).expect("a link");
    wait_until(SOON * 3, "another file", || {
        client.send(&request);
        (0..500).for_each(|_| assert_eq!(client.reply(), bulk("x")));
        count += 500;
        // The original takes the link away before it makes another.
        fs::read_link(&link).is_ok_and(|now| now != first)
    });
    // predixy's names: without `.log`, with the time to the second, and relative.
    let now = fs::read_link(&link).expect("a link");
    for name in [&first, &now] {
        let name = name.to_string_lossy();
        let digits = name.strip_prefix("access.").and_then(|rest| rest.strip_suffix(".log"));
        let digits = digits.unwrap_or_else(|| panic!("{name}"));
        assert!(digits.len() == 14 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{name}");
    }
    assert!(first < now);
    let echoes = || -> usize {
        let names = files(&folder, "access.2");
        let texts = names.iter().map(|name| fs::read_to_string(folder.join(name)).expect("a log"));
        texts.map(|text| text.lines().filter(|line| line.contains(" echo ")).count()).sum()
    };
    if !crate::support::is_original() {
        wait_until(SOON, "every line to be in one of the files", || echoes() == count);
        let size = fs::metadata(folder.join(&first)).expect("the first file").len();
        // Files are named by the second; what comes in the same one still goes there.
        assert!(size > 900_000, "{size}");
    }
}

#[test]
fn rotation_may_begin_and_end_while_it_runs() {
    if original_differs("CONFIG SET knows no LogRotate") {
        return;
    }
    let conf = format!("Log {{dir}}/on.log\nLogInfoSample 1\n{}", shared_cluster().conf());
    let proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    let name = proxy.scratch().path().join("on.log");
    assert!(fs::read_link(&name).is_err(), "a file");
    let refused = client.cmd(&["CONFIG", "SET", "LogRotate", "soon"]);
    assert_eq!(refused, error("ERR argument wrong"));
    assert_eq!(client.cmd(&["CONFIG", "SET", "LogRotate", "1d 1M"]), ok());
    assert_eq!(client.line("CONFIG GET LogRotate").elements()[1], bulk("1d 1M"));
    wait_until(SOON, "a link", || fs::read_link(&name).is_ok());
    assert_eq!(client.line("ECHO first"), bulk("first"));
    wait_until(SOON, "a line behind the link", || {
        fs::read_to_string(&name).is_ok_and(|text| text.contains(" echo "))
    });
    assert_eq!(client.cmd(&["CONFIG", "SET", "LogRotate", ""]), ok());
    assert_eq!(client.line("PING"), simple("PONG"));
    wait_until(SOON, "a line in the file of the name", || {
        fs::read_to_string(&name).is_ok_and(|text| text.contains(" ping "))
    });
}

#[test]
fn the_names_of_files_tell_their_time() {
    for (rotation, length) in [("1d", 8), ("2h", 10), ("90m", 10), ("30m", 12)] {
        let proxy = Proxy::start(&format!(
            "Log {{dir}}/access.log\nLogRotate {rotation}\n{}",
            shared_cluster().conf()
        ));
        let link = fs::read_link(proxy.scratch().path().join("access.log")).expect("a link");
        let name = String::from_utf8_lossy(link.as_os_str().as_bytes()).into_owned();
        let digits = name.strip_prefix("access.").and_then(|rest| rest.strip_suffix(".log"));
        assert_eq!(digits.map(str::len), Some(length), "{rotation}: {name}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    if original_differs("waits in the end") {
        return;
    }
    let scratch = crate::support::Scratch::new("fifo");
    let path = scratch.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()));
    // Open for both, so that nobody waits for a reader; and never read.
    let _end = fs::File::options().read(true).write(true).open(&path).expect("the pipe");
    let mut proxy = Proxy::start(&format!(
        "WorkerThreads 1\nLog {}\nLogInfoSample 1\n{}",
        path.display(),
        shared_cluster().conf()
    ));
    let mut client = proxy.client();
    let request = wire(&["ECHO", "x"]).repeat(1000);
    for _ in 0..20 {
        client.send(&request);
        (0..1000).for_each(|_| assert_eq!(client.reply(), bulk("x")));
    }
    assert!(proxy.terminate().success(), "not even the end waits for long");
}

#[test]
fn a_pipe_is_a_log_whether_or_not_somebody_reads_it() {
    if original_differs("waits for a reader before it listens") {
        return;
    }
    let scratch = crate::support::Scratch::new("pipe");
    let path = scratch.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()));
    let mut proxy = Proxy::start(&format!("Log {}\n{}", path.display(), shared_cluster().conf()));
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    // Who comes later reads what was written so far, and what follows.
    let mut reader = std::io::BufReader::new(fs::File::open(&path).expect("the pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).expect("a line");
    assert!(line.contains("predixy listen in"), "{line}");
    drop(reader);
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    assert!(proxy.terminate().success());
}

#[test]
fn what_is_dropped_is_counted() {
    let pool = AnyPool::groups(1, "Log {dir}/predixy.log\nLogInfoSample 1");
    let mut clients: Vec<Client> = (0..4).map(|_| pool.proxy.client()).collect();
    let request = wire(&["ECHO", "x"]).repeat(5000);
    for client in &mut clients {
        client.send(&request);
    }
    for client in &mut clients {
        (0..5000).for_each(|_| assert_eq!(client.reply(), bulk("x")));
    }
    let counted = || -> usize {
        let all = lines(&pool.proxy, "predixy.log");
        let missed = all.iter().filter_map(|line| message(line).strip_prefix("MissLog count "));
        let missed: usize = missed.map(|count| count.parse::<usize>().expect("a number")).sum();
        missed
            + all
                .iter()
                .filter(|line| line.contains("RESP ") || line.contains(" accept c "))
                .count()
    };
    if !crate::support::is_original() {
        // Besides, four clients were accepted, and the one that looked whether it answers.
        wait_until(SOON, "every line to be written or counted", || counted() >= 20_000);
        assert!(counted() <= 20_030, "{}", counted());
    }
}
