//! The status page: all that there is to see, on one page that needs no other.
//!
//! It is whole without JavaScript, which only looks again every other second. Whatever comes from
//! servers, clients and files is escaped where it is written; values are not shown.

use std::fmt::{self, Write as _};

use super::history::{History, Rates};
use super::readiness::{Readiness, Wanted};
use super::snapshot::{ServerView, Snapshot};
use crate::base::order;
use crate::pool::Role;
use crate::proxy::hot_keys::Top;
use crate::proxy::slow_log::Entry;
use crate::stats::Distribution;
use crate::sys::{clock, random};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A word that marks the script of one page as ours.
pub fn nonce() -> String {
    format!("{:016x}{:016x}", random::seed(), random::seed())
}

/// The page.
pub fn write(snapshot: &Snapshot, history: &History, nonce: &str) -> String {
    let mut page = Page(String::with_capacity(32 << 10));
    let title = match &snapshot.settings.conf.name[..] {
        "" => "predixy".to_owned(),
        name => format!("{name} \u{b7} predixy"),
    };
    page.put(format_args!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\
         <title>{}</title><style nonce=\"{nonce}\">{STYLE}</style></head><body><main>",
        Escaped(&title)
    ));
    page.header(snapshot);
    page.tiles(snapshot, history);
    page.put(format_args!("<div class=\"row\">"));
    page.request_rate(snapshot, history);
    page.latency(snapshot, history);
    page.put(format_args!("</div>"));
    page.servers(snapshot, history);
    page.put(format_args!("<div class=\"row\">"));
    page.keys("Asked for most", "HOTKEYS", &snapshot.hot_keys(), |key| {
        format!("{}/s", Count(key.per_second))
    });
    page.keys("Moving most bytes", "BIGKEYS", &snapshot.big_keys(), |key| {
        format!("{}/s, up to {}", Bytes(key.per_second), Bytes(key.largest))
    });
    page.put(format_args!("</div>"));
    page.slow(snapshot);
    page.threads(snapshot);
    page.put(format_args!(
        "<footer><a href=\"/metrics\">metrics</a><a href=\"/readyz\">readyz</a>\
         <a href=\"/healthz\">healthz</a><a href=\"/top\">plain text</a></footer></main>\
         <script nonce=\"{nonce}\">{SCRIPT}</script></body></html>\n"
    ));
    page.0
}

struct Page(String);

impl Page {
    /// A String takes everything.
    fn put(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }

    fn header(&mut self, snapshot: &Snapshot) {
        let readiness = Readiness::of(snapshot, snapshot.is_stopping, Wanted::All);
        let failed = snapshot.servers.iter().filter(|view| view.is_failed).count();
        let (class, word) = if snapshot.is_stopping {
            ("warn", "stopping".to_owned())
        } else if readiness.is_ready && failed == 0 {
            ("", "ready".to_owned())
        } else if readiness.is_ready {
            ("warn", format!("ready, {failed} of {} servers down", snapshot.servers.len()))
        } else if readiness.is_idle(snapshot) {
            ("", "idle".to_owned())
        } else {
            ("bad", "not ready".to_owned())
        };
        let mut lines = readiness.text.lines();
        lines.next();
        let why = lines.collect::<Vec<&str>>().join("; ");
        let name = &snapshot.settings.conf.name;
        self.put(format_args!(
            "<header><h1>predixy <small>{}</small></h1><span class=\"pill {class}\" title=\"{}\">\
             {word}</span><span class=\"meta\">version {} &middot; up {} &middot; {}</span></header>",
            Escaped(name),
            Escaped(&why),
            env!("CARGO_PKG_VERSION"),
            Span(snapshot.uptime_us / 1_000_000),
            WallClock(snapshot.started_s + seconds(snapshot.uptime_us))
        ));
        if class == "bad" {
            self.put(format_args!("<section class=\"card\"><h2>Not ready</h2>"));
            for line in readiness.text.lines().skip(1) {
                self.put(format_args!(
                    "<div><span class=\"dot bad\"></span>{}</div>",
                    Escaped(line)
                ));
            }
            self.put(format_args!("</section>"));
        }
    }

    fn tiles(&mut self, snapshot: &Snapshot, history: &History) {
        let totals = snapshot.totals();
        let now = history.now(snapshot.at_us, &totals);
        let memory: u64 = snapshot.memory.iter().sum();
        let resident = snapshot.usage.map_or(0, |usage| usage.max_resident_bytes);
        let waiting: usize = snapshot.answered().map(|view| view.waiting).sum();
        let slow: u64 = snapshot.answered().map(|view| view.slow_seen).sum();
        let flight = match waiting {
            0 => "in flight".to_owned(),
            waiting => format!("in flight, {} waiting", Count(waiting as u64)),
        };
        let tiles = [
            (Rate(now.requests).to_string(), "requests a second".to_owned()),
            (
                Count(totals.client_connections).to_string(),
                format!("clients of {}", Count(snapshot.settings.clients_max)),
            ),
            (Count(snapshot.in_flight() as u64).to_string(), flight),
            (
                format!("{}/s", Bytes(whole(now.received + now.sent))),
                format!("{} in, {} out", Bytes(whole(now.received)), Bytes(whole(now.sent))),
            ),
            (
                Bytes(memory).to_string(),
                format!("in buffers, {} resident at most", Bytes(resident)),
            ),
            (Count(slow).to_string(), "slow requests".to_owned()),
        ];
        self.put(format_args!("<div class=\"tiles\">"));
        for (figure, what) in tiles {
            self.put(format_args!(
                "<div class=\"card tile\"><b>{figure}</b><span>{what}</span></div>"
            ));
        }
        self.put(format_args!("</div>"));
    }

    fn request_rate(&mut self, snapshot: &Snapshot, history: &History) {
        let rates = history.rates(snapshot.at_us);
        self.put(format_args!("<section class=\"card\"><h2>Requests a second</h2>"));
        if rates.len() < 2 {
            self.put(format_args!(
                "<p class=\"none\">The curve begins in a few seconds.</p></section>"
            ));
            return;
        }
        let most = rates.iter().map(|rates| rates.requests).fold(0.0, f64::max);
        let (top, span_us) = (nice_top(most), nice_span(&rates));
        self.put(format_args!(
            "<div class=\"plot\"><i>{}</i><svg viewBox=\"0 0 1000 100\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} requests a second now, {} at most\">",
            Rate(top),
            Rate(rates.last().map_or(0.0, |last| last.requests)),
            Rate(most)
        ));
        for height in [0, 50, 100] {
            self.put(format_args!(
                "<line class=\"grid\" x1=\"0\" x2=\"1000\" y1=\"{height}\" y2=\"{height}\"/>"
            ));
        }
        let mut path = String::new();
        for point in rates.iter().filter(|point| point.age_us <= span_us) {
            let x = 1000.0 - 1000.0 * share(point.age_us, span_us);
            let y = 100.0 - 100.0 * (point.requests / top).min(1.0);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
        }
        let first = rates.iter().find(|point| point.age_us <= span_us);
        let left = first.map_or(0.0, |point| 1000.0 - 1000.0 * share(point.age_us, span_us));
        let last = rates.last().map_or(0, |point| point.age_us);
        let right = 1000.0 - 1000.0 * share(last, span_us);
        self.put(format_args!(
            "<path class=\"area\" d=\"{path}L{right:.1} 100L{left:.1} 100Z\"/>\
             <path class=\"curve\" d=\"{path}\"/></svg></div>\
             <div class=\"axis\"><span>{} ago</span><span>now</span></div></section>",
            Span(span_us / 1_000_000)
        ));
    }

    fn latency(&mut self, snapshot: &Snapshot, history: &History) {
        let Some((name, whole_time)) = snapshot.latencies.first() else {
            self.put(format_args!(
                "<section class=\"card\"><h2>Latency</h2><p class=\"none\">A <code>LatencyMonitor</code> \
                 block in the configuration shows here how long commands take.</p></section>"
            ));
            return;
        };
        let (recent, span_us) = history.latency(snapshot.at_us, 0, whole_time);
        let when = match span_us {
            0 => "since the start".to_owned(),
            span_us => format!("last {}", Span(span_us.div_ceil(1_000_000))),
        };
        self.put(format_args!(
            "<section class=\"card\"><h2>Latency <b>{}</b>, {when}</h2>",
            Escaped(name)
        ));
        let total = recent.total();
        if total.count == 0 {
            self.put(format_args!("<p class=\"none\">No command was measured.</p></section>"));
            return;
        }
        let bars = bars(&recent);
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
        self.put(format_args!(
            "<div class=\"plot\"><svg viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"how many commands took how long\"><line class=\"grid\" x1=\"0\" x2=\"{}\" y1=\"100\" y2=\"100\"/>",
            bars.len() * 10,
            bars.len() * 10
        ));
        for (place, bar) in bars.iter().enumerate() {
            let height =
                if bar.count == 0 { 0.0 } else { (98.0 * share(bar.count, most)).max(0.8) };
            self.put(format_args!(
                "<rect class=\"bar\" x=\"{}\" y=\"{:.1}\" width=\"8\" height=\"{height:.1}\">\
                 <title>{}: {}</title></rect>",
                place * 10 + 1,
                100.0 - height,
                bar.name(),
                Count(bar.count)
            ));
        }
        self.put(format_args!("</svg></div><div class=\"axis\">"));
        let (first, last) = (bars.first(), bars.last());
        let middle = bars.get(bars.len() / 2).filter(|_| bars.len() > 4);
        for bar in [first, middle, last].into_iter().flatten() {
            self.put(format_args!("<span>{}</span>", bar.name()));
        }
        self.put(format_args!(
            "</div><div class=\"chips\"><span>mean <b>{}</b></span>",
            Micros(total.sum_us / total.count)
        ));
        for (name, thousandths) in [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)] {
            self.put(format_args!("<span>{name} <b>{}</b></span>", quantile(&recent, thousandths)));
        }
        self.put(format_args!(
            "<span><b>{}</b> commands</span></div></section>",
            Count(total.count)
        ));
    }

    fn servers(&mut self, snapshot: &Snapshot, history: &History) {
        self.put(format_args!("<section class=\"card\"><h2>Servers</h2>"));
        if snapshot.servers.is_empty() {
            self.put(format_args!("<p class=\"none\">None is known yet.</p></section>"));
            return;
        }
        let rate = |view: &ServerView| {
            let (server, requests) = (view.server.id().index(), view.totals.requests);
            history.server_rate(snapshot.at_us, server, requests)
        };
        let most = snapshot.servers.iter().map(rate).fold(1e-9, f64::max);
        let has_centers = snapshot.servers.iter().any(|view| !view.center.is_empty());
        let mut views: Vec<&ServerView> = snapshot.servers.iter().collect();
        order::sort_by_key(&mut views, |view| {
            let is_replica = view.server.role() != Role::Master;
            (view.server.group().map(|group| group.index()), is_replica, view.server.id())
        });
        self.put(format_args!(
            "<div class=\"scroll\"><table><thead><tr><th>server</th><th>role</th>\
             <th class=\"wide\">group</th>{}<th class=\"n\">req/s</th><th class=\"load\">load</th>\
             <th class=\"n\">in flight</th><th class=\"n wide\">links</th>\
             <th class=\"n wide\">requests</th><th class=\"n wide\">in</th><th class=\"n wide\">out</th>\
             </tr></thead><tbody>",
            if has_centers { "<th class=\"wide\">data centre</th>" } else { "" }
        ));
        let mut group = None;
        for view in views {
            let is_new = group.replace(view.server.group()) != Some(view.server.group());
            let (dot, state) = state_of(view);
            let role = view.server.role().name();
            let down = if dot == "bad" { " <b>down</b>" } else { "" };
            let name = Escaped(view.server.group_name());
            let center = match has_centers {
                true => format!("<td class=\"wide\">{}</td>", Escaped(&view.center)),
                false => String::new(),
            };
            self.put(format_args!(
                "<tr{}><td class=\"addr\"><span class=\"dot {dot}\" title=\"{state}\"></span><code>{}</code>{down}</td>\
                 <td><span class=\"role {role}\">{role}</span></td>\
                 <td class=\"wide\"><span class=\"gname\" title=\"{name}\">{name}</span></td>{center}\
                 <td class=\"n\">{}</td><td class=\"load\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n wide\">{}</td><td class=\"n wide\">{}</td>\
                 <td class=\"n wide\">{}</td><td class=\"n wide\">{}</td></tr>",
                if is_new { " class=\"group\"" } else { "" },
                Escaped(&view.server.address().to_string()),
                Rate(rate(view)),
                Meter(&[("", 100.0 * rate(view) / most)]),
                Count(view.in_flight as u64),
                Count(view.totals.connections),
                Count(view.totals.requests),
                Bytes(view.totals.recv_bytes),
                Bytes(view.totals.send_bytes)
            ));
        }
        self.put(format_args!("</tbody></table></div></section>"));
    }

    fn keys(&mut self, title: &str, command: &str, keys: &[Top], figure: impl Fn(&Top) -> String) {
        self.put(format_args!("<section class=\"card\"><h2 title=\"{command}\">{title}</h2>"));
        if keys.is_empty() {
            self.put(format_args!("<p class=\"none\">None lately.</p></section>"));
            return;
        }
        let most = keys.iter().map(|key| key.count).max().unwrap_or(1).max(1);
        self.put(format_args!("<ol class=\"keys\">"));
        for key in keys {
            self.put(format_args!(
                "<li><div><code>{}</code><span>{}</span></div>{}</li>",
                Shown(&key.key),
                figure(key),
                Meter(&[("", 100.0 * share(key.count, most))])
            ));
        }
        self.put(format_args!("</ol></section>"));
    }

    fn slow(&mut self, snapshot: &Snapshot) {
        self.put(format_args!("<section class=\"card\"><h2>Slow requests</h2>"));
        let entries = snapshot.slow();
        if entries.is_empty() {
            let limit = match snapshot.settings.conf.slowlog_slower_than_us {
                Some(limit_us) => format!("None took longer than {}.", Micros(limit_us)),
                None => "They are not logged.".to_owned(),
            };
            self.put(format_args!("<p class=\"none\">{limit}</p></section>"));
            return;
        }
        self.put(format_args!(
            "<div class=\"scroll\"><table><thead><tr><th>ago</th><th class=\"n\">took</th>\
             <th class=\"load wide\">waited, at the server</th><th>command</th><th>server</th>\
             <th class=\"wide\">client</th></tr></thead><tbody>"
        ));
        let now_s = snapshot.started_s + seconds(snapshot.uptime_us);
        for entry in &entries {
            self.slow_row(snapshot, entry, now_s);
        }
        self.put(format_args!("</tbody></table></div></section>"));
    }

    fn slow_row(&mut self, snapshot: &Snapshot, entry: &Entry, now_s: i64) {
        let ago_s = u64::try_from(now_s - entry.time_s).unwrap_or(0);
        let queued = 100.0 * share(entry.queued_us, entry.total_us);
        self.put(format_args!(
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"load wide\" \
             title=\"{} before it was sent, {} at the server\">{}</td><td><code>",
            Span(ago_s),
            Micros(entry.total_us),
            Micros(entry.queued_us),
            Micros(entry.server_us()),
            Meter(&[("q", queued), ("", 100.0 - queued)])
        ));
        for word in snapshot.without_values(entry) {
            self.put(format_args!("{} ", Shown(&word)));
        }
        self.put(format_args!(
            "</code></td><td class=\"addr\"><code>{}</code></td><td class=\"wide\"><code>{} {}</code></td></tr>",
            Escaped(&entry.server_address()),
            Escaped(&entry.client_address()),
            Shown(&entry.client_name)
        ));
    }

    fn threads(&mut self, snapshot: &Snapshot) {
        self.put(format_args!(
            "<section class=\"card\"><h2>Threads</h2><div class=\"scroll\"><table><thead><tr>\
             <th>thread</th><th class=\"n\">clients</th><th class=\"n\">requests</th>\
             <th class=\"n\">in flight</th><th class=\"n\">buffers</th></tr></thead><tbody>"
        ));
        for (index, totals) in snapshot.handlers.iter().enumerate() {
            let view = snapshot.views.get(index).and_then(Option::as_ref);
            let flight =
                view.map(|view| view.links.iter().map(|(_, _, count)| count).sum::<usize>());
            let flight =
                flight.map_or("no answer".to_owned(), |flight| Count(flight as u64).to_string());
            self.put(format_args!(
                "<tr><td>{index}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{flight}</td><td class=\"n\">{}</td></tr>",
                Count(totals.client_connections),
                Count(totals.total_requests),
                Bytes(snapshot.memory.get(index).copied().unwrap_or(0))
            ));
        }
        self.put(format_args!("</tbody></table></div></section>"));
    }
}

/// How a server is: a colour, and a word.
pub fn state_of(view: &ServerView) -> (&'static str, &'static str) {
    if view.is_failed {
        ("bad", "down")
    } else if view.server.is_down() {
        ("warn", "said to be down")
    } else {
        ("", "well")
    }
}

/// One bar of the picture of latencies.
struct Bar {
    count: u64,
    /// Its upper end; none for what is longer than all bounds.
    bound_us: Option<u64>,
    /// The last bound, for the bar without one.
    last_us: u64,
}

/// More bars than this cannot be told apart.
const BARS_MAX: usize = 30;

impl Bar {
    fn name(&self) -> String {
        match self.bound_us {
            Some(bound_us) => format!("\u{2264} {}", Micros(bound_us)),
            None => format!("&gt; {}", Micros(self.last_us)),
        }
    }
}

/// The buckets from the first in use to the last, or several in one if there are many.
fn bars(distribution: &Distribution) -> Vec<Bar> {
    let buckets = &distribution.buckets;
    let first = buckets.iter().position(|bucket| bucket.count > 0).unwrap_or(0);
    let last = buckets.iter().rposition(|bucket| bucket.count > 0).unwrap_or(0);
    let (first, end) = (first.saturating_sub(1), (last + 2).min(buckets.len()));
    let step = (end - first).div_ceil(BARS_MAX).max(1);
    let last_us = distribution.bounds_us.last().copied().unwrap_or(0);
    let places: Vec<usize> = (first..end).collect();
    let bar = |places: &[usize]| Bar {
        count: places.iter().map(|place| buckets[*place].count).sum(),
        bound_us: places.last().and_then(|place| distribution.bounds_us.get(*place)).copied(),
        last_us,
    };
    places.chunks(step).map(bar).collect()
}

/// The bound below which so many thousandths of all commands stayed.
pub fn quantile(distribution: &Distribution, thousandths: u64) -> String {
    let total = distribution.total().count;
    let wanted = (u128::from(total) * u128::from(thousandths)).div_ceil(1000);
    let mut count = 0u128;
    for (bucket, bound_us) in distribution.buckets.iter().zip(&distribution.bounds_us) {
        count += u128::from(bucket.count);
        if count >= wanted {
            return format!("\u{2264} {}", Micros(*bound_us));
        }
    }
    let last_us = distribution.bounds_us.last().copied().unwrap_or(0);
    format!("> {}", Micros(last_us))
}

/// A round number that is not less.
fn nice_top(most: f64) -> f64 {
    let mut top = 10.0;
    while top < most {
        for factor in [2.0, 5.0, 10.0] {
            if top * factor >= most {
                return top * factor;
            }
        }
        top *= 10.0;
    }
    top
}

/// How far back the curve goes, in microseconds: a round number of minutes.
fn nice_span(rates: &[Rates]) -> u64 {
    let oldest_us = rates.first().map_or(0, |first| first.age_us);
    let spans = [60_000_000, 120_000_000, 300_000_000];
    spans.into_iter().find(|span_us| oldest_us <= *span_us).unwrap_or(spans[2])
}

#[expect(clippy::cast_precision_loss, reason = "for looking at")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for looking at")]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

fn seconds(us: u64) -> i64 {
    i64::try_from(us / 1_000_000).unwrap_or(i64::MAX)
}

/// A number that is read at a glance.
pub struct Count(pub u64);

impl fmt::Display for Count {
    #[expect(clippy::cast_precision_loss, reason = "for looking at")]
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            small @ 0..10_000 => write!(out, "{small}"),
            count => scaled(out, count as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"], ""),
        }
    }
}

/// How many come in a second.
pub struct Rate(pub f64);

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate if rate < 0.05 => out.write_str("0"),
            rate if rate < 10.0 => write!(out, "{rate:.1}"),
            rate => Count(whole(rate + 0.5)).fmt(out),
        }
    }
}

/// An amount of memory or traffic.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "for looking at")]
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
        scaled(out, self.0 as f64, 1024.0, &units, " ")
    }
}

fn scaled(
    out: &mut fmt::Formatter<'_>,
    mut number: f64,
    step: f64,
    units: &[&str],
    space: &str,
) -> fmt::Result {
    let mut unit = 0;
    while number >= step * 0.9995 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    match unit {
        0 => write!(out, "{number:.0}{space}{}", units[0]),
        _ if number < 99.5 => {
            let digits = format!("{number:.*}", if number < 9.95 { 2 } else { 1 });
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            write!(out, "{digits}{space}{}", units[unit])
        }
        _ => write!(out, "{number:.0}{space}{}", units[unit]),
    }
}

/// How long something took.
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    #[expect(clippy::cast_precision_loss, reason = "for looking at")]
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0 as f64;
        let (number, unit) = match self.0 {
            0..1_000 => (us, "\u{b5}s"),
            1_000..1_000_000 => (us / 1e3, "ms"),
            _ => (us / 1e6, "s"),
        };
        let shown = format!("{number:.2}");
        let shown = match number {
            large if large >= 100.0 => format!("{large:.0}"),
            _ => shown.trim_end_matches('0').trim_end_matches('.').to_owned(),
        };
        write!(out, "{shown} {unit}")
    }
}

/// How long ago something was, in seconds.
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, minutes, hours) = (self.0 % 60, self.0 / 60 % 60, self.0 / 3600 % 24);
        match self.0 {
            0..60 => write!(out, "{seconds} s"),
            60..3600 if seconds == 0 => write!(out, "{minutes} min"),
            60..3600 => write!(out, "{minutes} min {seconds} s"),
            3600..86_400 => write!(out, "{hours} h {minutes} min"),
            _ => write!(out, "{} d {hours} h", self.0 / 86_400),
        }
    }
}

/// A moment, as the clock on the wall of the host shows it.
pub struct WallClock(pub i64);

impl fmt::Display for WallClock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = clock::local_time(self.0);
        write!(out, "{:02}:{:02}:{:02}", time.hour, time.minute, time.second)
    }
}

/// A bar that is filled by these hundredths, each with its class.
struct Meter<'a>(&'a [(&'a str, f64)]);

impl fmt::Display for Meter<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = "<svg class=\"track\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\">";
        out.write_str(head)?;
        let mut left = 0.0;
        for (class, width) in self.0 {
            write!(
                out,
                "<rect class=\"{class}\" x=\"{left:.1}\" width=\"{width:.1}\" height=\"1\"/>"
            )?;
            left += width;
        }
        out.write_str("</svg>")
    }
}

/// Text that means nothing to a browser but itself.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                other if is_odd(other) => write!(out, "{}", other.escape_unicode())?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// The same for bytes that need not be text.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            Escaped(chunk.valid()).fmt(out)?;
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character would not be seen, or would change how others are.
pub fn is_odd(character: char) -> bool {
    let turns = matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    character.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Bucket;

    #[test]
    fn nothing_of_others_is_markup() {
        let shown = Shown(b"<b onclick='x'>&\"\r\n\xff\xc3\xa9").to_string();
        let want = "&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;\\u{d}\\u{a}\\xff\u{e9}";
        assert_eq!(shown, want);
        assert_eq!(Escaped("\u{202e}a\u{1b}[31m").to_string(), "\\u{202e}a\\u{1b}[31m");
    }

    #[test]
    fn figures_are_short() {
        let counts = [0, 9_999, 10_000, 123_456, 99_440_000, 5_000_000_000];
        assert_eq!(
            counts.map(|count| Count(count).to_string()),
            ["0", "9999", "10k", "123k", "99.4M", "5G"]
        );
        let bytes = [0, 1023, 1536, 10 << 20, (1 << 30) - 1, u64::MAX];
        assert_eq!(
            bytes.map(|bytes| Bytes(bytes).to_string()),
            ["0 B", "1023 B", "1.5 KB", "10 MB", "1 GB", "16 EB"]
        );
        assert_eq!([0.01, 3.25, 99.6].map(|rate| Rate(rate).to_string()), ["0", "3.2", "100"]);
        let times = [7, 1_500, 20_000, 123_456, 2_000_000];
        assert_eq!(
            times.map(|us| Micros(us).to_string()),
            ["7 \u{b5}s", "1.5 ms", "20 ms", "123 ms", "2 s"]
        );
        assert_eq!(
            [5, 60, 75, 3_700, 90_000].map(|seconds| Span(seconds).to_string()),
            ["5 s", "1 min", "1 min 15 s", "1 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn the_picture_shows_what_is_in_use() {
        let distribution = |counts: &[u64]| Distribution {
            bounds_us: (1..counts.len() as u64).map(|bound| bound * 100).collect(),
            buckets: counts.iter().map(|&count| Bucket { count, sum_us: 0 }).collect(),
        };
        let shown = |counts: &[u64]| -> Vec<(String, u64)> {
            bars(&distribution(counts)).iter().map(|bar| (bar.name(), bar.count)).collect()
        };
        let want =
            [("\u{2264} 200 \u{b5}s", 0), ("\u{2264} 300 \u{b5}s", 5), ("\u{2264} 400 \u{b5}s", 0)];
        assert_eq!(shown(&[0, 0, 5, 0, 0, 0]), want.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(
            shown(&[0, 3]),
            [("\u{2264} 100 \u{b5}s".to_owned(), 0), ("&gt; 100 \u{b5}s".to_owned(), 3)]
        );
        let many = shown(&[1; 100]);
        assert!(many.len() <= BARS_MAX);
        assert_eq!(many.iter().map(|(_, count)| count).sum::<u64>(), 100);
        let quantiles = [500, 900, 999].map(|part| quantile(&distribution(&[5, 4, 1]), part));
        assert_eq!(quantiles, ["\u{2264} 100 \u{b5}s", "\u{2264} 200 \u{b5}s", "> 200 \u{b5}s"]);
    }

    #[test]
    fn scales_are_round() {
        let tops = [0.0, 10.0, 11.0, 49.0, 51.0, 1234.0].map(nice_top);
        assert_eq!(tops, [10.0, 10.0, 20.0, 50.0, 100.0, 2000.0]);
    }
}
