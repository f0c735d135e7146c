//! The status as plain text, for terminals: `GET /top`, and `predixy --top`.
//!
//! With `color=1` it is coloured by the few sequences that every terminal knows. Whatever comes
//! from others is shown without a single control character.

use std::fmt::{self, Write as _};

use super::history::History;
use super::http;
use super::page::{Bytes, Count, Micros, Rate, Span, WallClock, is_odd, quantile, state_of};
use super::readiness::{Readiness, Wanted};
use super::snapshot::{ServerView, Snapshot};
use crate::base::order;
use crate::pool::Role;
use crate::proxy::hot_keys::Top;

/// What the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// No line is longer.
    pub columns: usize,
    /// There are no more lines, if it is known.
    pub rows: Option<usize>,
    pub is_coloured: bool,
}

impl Screen {
    /// As a query asks for it.
    pub fn of(query: &str) -> Screen {
        let number = |name| http::parameter(query, name).and_then(|text| text.parse().ok());
        Screen {
            columns: number("width").unwrap_or(100).clamp(40, 400),
            rows: number("height").map(|rows: usize| rows.clamp(5, 500)),
            is_coloured: http::parameter(query, "color") == Some("1"),
        }
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// The text.
pub fn write(snapshot: &Snapshot, history: &History, screen: Screen) -> String {
    let mut text = Text { lines: Vec::new(), screen };
    head(&mut text, snapshot, history);
    servers(&mut text, snapshot, history);
    let keys = (snapshot.hot_keys(), snapshot.big_keys());
    top_keys(&mut text, &keys.0, &keys.1);
    slow(&mut text, snapshot);
    text.finish()
}

fn head(text: &mut Text, snapshot: &Snapshot, history: &History) {
    let totals = snapshot.totals();
    let now = history.now(snapshot.at_us, &totals);
    let readiness = Readiness::of(snapshot, snapshot.is_stopping, Wanted::All);
    let (colour, word) = match (snapshot.is_stopping, readiness.is_ready) {
        (true, _) => (YELLOW, "stopping"),
        (_, true) => (GREEN, "ready"),
        _ if readiness.is_idle(snapshot) => (DIM, "idle"),
        _ => (RED, "not ready"),
    };
    let mut line = text.line();
    line.put(BOLD, format_args!("predixy {}", Plain(snapshot.settings.conf.name.as_bytes())));
    line.put("", format_args!("  "));
    line.put(colour, format_args!("{word}"));
    let up_s = snapshot.uptime_us / 1_000_000;
    let wall_s = snapshot.started_s + i64::try_from(up_s).unwrap_or(0);
    let version = env!("CARGO_PKG_VERSION");
    line.put(DIM, format_args!("  {version}, up {}, {}", Span(up_s), WallClock(wall_s)));
    text.end(line);
    if !readiness.is_ready && !readiness.is_idle(snapshot) {
        for reason in readiness.text.lines().skip(1).take(3) {
            let mut line = text.line();
            line.put(colour, format_args!("  {}", Plain(reason.as_bytes())));
            text.end(line);
        }
    }
    let mut line = text.line();
    line.put(BOLD, format_args!("{}", Rate(now.requests)));
    line.put("", format_args!(" req/s   "));
    line.put(BOLD, format_args!("{}", Count(totals.client_connections)));
    line.put("", format_args!(" clients   "));
    line.put(BOLD, format_args!("{}", snapshot.in_flight()));
    line.put("", format_args!(" in flight   "));
    line.put(BOLD, format_args!("{}/s", Bytes(bytes(now.received))));
    line.put("", format_args!(" in   "));
    line.put(BOLD, format_args!("{}/s", Bytes(bytes(now.sent))));
    line.put("", format_args!(" out   buffers {}", Bytes(snapshot.memory.iter().sum())));
    text.end(line);
    if let Some((name, whole)) = snapshot.latencies.first() {
        let (recent, _) = history.latency(snapshot.at_us, 0, whole);
        if recent.total().count > 0 {
            let [half, most, nearly] = [500, 990, 999].map(|part| quantile(&recent, part));
            let name = Plain(name.as_bytes());
            let mut line = text.line();
            line.put("", format_args!("latency {name}: p50 {half}   p99 {most}   p99.9 {nearly}"));
            text.end(line);
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for looking at")]
fn bytes(number: f64) -> u64 {
    number.max(0.0) as u64
}

fn servers(text: &mut Text, snapshot: &Snapshot, history: &History) {
    text.blank();
    text.title(format_args!(
        "{:<24} {:<7} {:>9} {:>9} {:>6} {:>9} {:>9}  {}",
        "SERVER", "ROLE", "REQ/S", "IN FLIGHT", "LINKS", "IN", "OUT", "GROUP"
    ));
    let mut views: Vec<&ServerView> = snapshot.servers.iter().collect();
    order::sort_by_key(&mut views, |view| {
        let is_replica = view.server.role() != Role::Master;
        (view.server.group().map(|group| group.index()), is_replica, view.server.id())
    });
    for view in views {
        let (server, requests) = (view.server.id().index(), view.totals.requests);
        let rate = history.server_rate(snapshot.at_us, server, requests);
        let colour = match state_of(view).0 {
            "bad" => RED,
            "warn" => YELLOW,
            _ if view.server.role() == Role::Master => CYAN,
            _ => "",
        };
        let role = if view.is_failed { "DOWN" } else { view.server.role().name() };
        let mut line = text.line();
        line.put(colour, format_args!("{:<24}", view.server.address().to_string()));
        line.put(
            "",
            format_args!(
                " {:<7} {:>9} {:>9} {:>6} {:>9} {:>9}  {}",
                role,
                Rate(rate).to_string(),
                view.in_flight,
                view.totals.connections,
                Bytes(view.totals.recv_bytes).to_string(),
                Bytes(view.totals.send_bytes).to_string(),
                Plain(view.server.group_name().as_bytes())
            ),
        );
        text.end(line);
    }
}

fn top_keys(text: &mut Text, hot: &[Top], big: &[Top]) {
    if hot.is_empty() {
        return;
    }
    let half = text.screen.columns / 2 - 1;
    text.blank();
    text.title(format_args!("{:<half$}  {}", "ASKED FOR MOST", "MOVING MOST BYTES", half = half));
    let column = |key: Option<&Top>, figure: &dyn Fn(&Top) -> String| match key {
        None => String::new(),
        Some(key) => {
            let figure = figure(key);
            let room = half.saturating_sub(figure.chars().count() + 1);
            let name: String = Plain(&key.key).to_string().chars().take(room).collect();
            format!("{name:<room$} {figure}")
        }
    };
    for place in 0..hot.len().max(big.len()).min(8) {
        let left = column(hot.get(place), &|key| format!("{}/s", Count(key.per_second)));
        let right = column(big.get(place), &|key| format!("{}/s", Bytes(key.per_second)));
        let mut line = text.line();
        line.put("", format_args!("{left:<half$}  {right}"));
        text.end(line);
    }
}

fn slow(text: &mut Text, snapshot: &Snapshot) {
    let entries = snapshot.slow();
    if entries.is_empty() {
        return;
    }
    text.blank();
    text.title(format_args!("{:>9} {:>9} {:>9}  {}", "AGO", "TOOK", "WAITED", "SLOW REQUEST"));
    let now_s = snapshot.started_s + i64::try_from(snapshot.uptime_us / 1_000_000).unwrap_or(0);
    for entry in &entries {
        let ago_s = u64::try_from(now_s - entry.time_s).unwrap_or(0);
        let mut line = text.line();
        line.put(
            "",
            format_args!(
                "{:>9} {:>9} {:>9} ",
                Span(ago_s).to_string(),
                Micros(entry.total_us).to_string(),
                Micros(entry.queued_us).to_string()
            ),
        );
        for word in snapshot.without_values(entry) {
            line.put("", format_args!(" {}", Plain(&word)));
        }
        line.put(DIM, format_args!("  {}", entry.server_address()));
        text.end(line);
    }
}

/// Lines that fit the screen.
struct Text {
    lines: Vec<String>,
    screen: Screen,
}

/// A line that is being written, and how much of it is left.
struct Line {
    text: String,
    room: usize,
    is_coloured: bool,
}

impl Text {
    fn line(&self) -> Line {
        let Screen { columns, is_coloured, .. } = self.screen;
        Line { text: String::new(), room: columns, is_coloured }
    }

    fn end(&mut self, line: Line) {
        self.lines.push(line.text);
    }

    fn blank(&mut self) {
        self.lines.push(String::new());
    }

    fn title(&mut self, words: fmt::Arguments<'_>) {
        let mut line = self.line();
        line.put(DIM, words);
        self.end(line);
    }

    fn finish(mut self) -> String {
        if let Some(rows) = self.screen.rows {
            self.lines.truncate(rows);
        }
        self.lines.iter().fold(String::new(), |all, line| all + line.trim_end() + "\n")
    }
}

impl Line {
    /// Adds words in a colour, as far as they fit.
    fn put(&mut self, colour: &str, words: fmt::Arguments<'_>) {
        let words = words.to_string();
        let shown: String = words.chars().take(self.room).collect();
        self.room -= shown.chars().count();
        // A String takes everything.
        let _ = match self.is_coloured && !colour.is_empty() && !shown.is_empty() {
            true => write!(self.text, "\x1b[{colour}m{shown}\x1b[0m"),
            false => write!(self.text, "{shown}"),
        };
    }
}

/// Bytes as they can be shown in a terminal.
struct Plain<'a>(&'a [u8]);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match is_odd(character) {
                    true => write!(out, "{}", character.escape_unicode())?,
                    false => out.write_char(character)?,
                }
            }
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_what_the_query_says_within_reason() {
        let want = Screen { columns: 100, rows: None, is_coloured: false };
        assert_eq!(Screen::of(""), want);
        let want = Screen { columns: 132, rows: Some(40), is_coloured: true };
        assert_eq!(Screen::of("width=132&height=40&color=1"), want);
        let want = Screen { columns: 400, rows: Some(5), is_coloured: false };
        assert_eq!(Screen::of("width=999999&height=0&color=yes"), want);
    }

    #[test]
    fn lines_fit_and_nothing_of_others_moves_the_cursor() {
        let screen = Screen { columns: 10, rows: Some(2), is_coloured: true };
        let mut text = Text { lines: Vec::new(), screen };
        for _ in 0..3 {
            let mut line = text.line();
            line.put(BOLD, format_args!("12345"));
            line.put("", format_args!("{}", Plain(b"\x1b[2J\xff")));
            text.end(line);
        }
        assert_eq!(text.finish(), "\x1b[1m12345\x1b[0m\\u{1b\n\x1b[1m12345\x1b[0m\\u{1b\n");
        assert_eq!(Plain(b"a\nb\x1b\xff\xc3\xbc").to_string(), "a\\u{a}b\\u{1b}\\xff\u{fc}");
    }
}
