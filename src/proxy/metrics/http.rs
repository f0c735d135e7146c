//! The little of HTTP/1.1 that is needed: one GET or HEAD for each connection.
//!
//! The head of a request is read to its end and, but for its first line, ignored. Bytes in, bytes
//! out; it knows no sockets.

/// What a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The path, without what follows a question mark.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// Only the head of the reply is wanted.
    pub is_head: bool,
    /// What is wrong with it, if anything is.
    pub status: Status,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    HeadTooLarge,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
        }
    }

    /// What a person is told.
    pub fn explanation(self) -> &'static str {
        match self {
            Status::BadRequest => "this is no HTTP request\n",
            Status::MethodNotAllowed => "only GET and HEAD are allowed\n",
            Status::HeadTooLarge => "the head of the request is longer than 8192 bytes\n",
            Status::Ok | Status::NotFound | Status::Unavailable => "",
        }
    }
}

/// What is sent back.
#[derive(Clone, Debug)]
pub struct Body {
    kind: &'static str,
    text: String,
    more_headers: String,
}

/// Of a request no more than this, in bytes, may come.
const HEAD_MAX: usize = 8 << 10;

/// The paths, for those who have asked for another one.
pub const WHAT_THERE_IS: &str = "there are /, /metrics, /healthz, /readyz and /top\n";

impl Body {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Body {
        let kind = "text/plain; charset=utf-8";
        Body { kind, text: text.into(), more_headers: String::new() }
    }

    /// Text for Prometheus.
    pub fn metrics(text: String) -> Body {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        Body { kind, text, more_headers: String::new() }
    }

    /// A page, of which only what bears `nonce` is executed, and which loads nothing but itself.
    pub fn page(text: String, nonce: &str) -> Body {
        let more_headers = format!(
            "Content-Security-Policy: default-src 'none'; style-src 'nonce-{nonce}'; \
             script-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n"
        );
        Body { kind: "text/html; charset=utf-8", text, more_headers }
    }
}

/// The request that `head` holds, once it is complete or cannot become one.
pub fn parse(head: &[u8]) -> Option<Request> {
    let wrong = |status| Some(Request { status, ..Request::default() });
    let line_end = head.iter().position(|byte| *byte == b'\n');
    let is_complete = head.windows(2).any(|pair| pair == b"\n\n")
        || head.windows(4).any(|four| four == b"\r\n\r\n");
    let Some(line_end) = line_end.filter(|_| is_complete) else {
        // What does not begin with a method need not be waited for.
        let is_odd = head.iter().take(8).take_while(|byte| **byte != b' ');
        let is_odd = is_odd.clone().any(|byte| !byte.is_ascii_uppercase());
        return match (is_odd, head.len() > HEAD_MAX) {
            (true, _) => wrong(Status::BadRequest),
            (_, true) => wrong(Status::HeadTooLarge),
            _ => None,
        };
    };
    if head.len() > HEAD_MAX {
        return wrong(Status::HeadTooLarge);
    }
    let line = std::str::from_utf8(&head[..line_end]).unwrap_or_default().trim_end();
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return wrong(Status::BadRequest);
    };
    if !version.starts_with("HTTP/1.") {
        return wrong(Status::BadRequest);
    }
    // A proxy may send the whole address.
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let status = match method {
        "GET" | "HEAD" if path.starts_with('/') => Status::Ok,
        "GET" | "HEAD" => Status::BadRequest,
        _ => Status::MethodNotAllowed,
    };
    let (path, query) = (path.to_owned(), query.to_owned());
    Some(Request { path, query, is_head: method == "HEAD", status })
}

/// The value of a parameter in what follows the question mark.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The whole reply, after which the connection is closed.
pub fn reply(status: Status, body: &Body, is_head: bool) -> Vec<u8> {
    let allow = if status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    let mut reply = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{}{allow}Connection: close\r\n\r\n",
        status.line(),
        body.kind,
        body.text.len(),
        body.more_headers
    );
    if !is_head {
        reply.push_str(&body.text);
    }
    reply.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, want: Option<(&str, &str, bool)>) {
        let want = want.map(|(path, query, is_head)| Request {
            path: path.into(),
            query: query.into(),
            is_head,
            status: Status::Ok,
        });
        assert_eq!(parse(head.as_bytes()), want, "{head:?}");
    }

    #[track_caller]
    fn check_wrong(head: &[u8], want: Status) {
        assert_eq!(parse(head).map(|request| request.status), Some(want), "{head:?}");
    }

    #[test]
    fn a_request_is_complete_with_its_empty_line() {
        let whole = "GET /metrics?x=1&y=2 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        for length in 0..whole.len() {
            check(&whole[..length], None);
        }
        check(whole, Some(("/metrics", "x=1&y=2", false)));
        check("HEAD / HTTP/1.0\n\n", Some(("/", "", true)));
        check("GET http://a:1/healthz HTTP/1.1\r\n\r\n", Some(("/healthz", "", false)));
        check("GET http://a HTTP/1.1\r\n\r\n", Some(("/", "", false)));
    }

    #[test]
    fn what_is_wrong_is_told() {
        check_wrong(b"POST / HTTP/1.1\r\n\r\n", Status::MethodNotAllowed);
        check_wrong(b"GET /\r\n\r\n", Status::BadRequest);
        check_wrong(b"GET / HTTP/2.0\r\n\r\n", Status::BadRequest);
        check_wrong(b"GET metrics HTTP/1.1\r\n\r\n", Status::BadRequest);
        check_wrong(b"GET / a HTTP/1.1\r\n\r\n", Status::BadRequest);
        check_wrong(b"\r\n\r\n", Status::BadRequest);
        // TLS, and Redis.
        check_wrong(b"\x16\x03\x01\x02", Status::BadRequest);
        check_wrong(b"*1\r\n$4\r\nPING\r\n", Status::BadRequest);
        let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; HEAD_MAX]].concat();
        check_wrong(&long, Status::HeadTooLarge);
        check_wrong(&[&long[..], b"\r\n\r\n"].concat(), Status::HeadTooLarge);
    }

    #[test]
    fn parameters_are_found_by_name() {
        assert_eq!(parameter("width=80&color=1", "color"), Some("1"));
        assert_eq!(parameter("width=80&color=", "color"), Some(""));
        assert_eq!(parameter("colors=1&x", "color"), None);
    }

    #[test]
    fn a_reply_says_how_long_it_is_and_closes() {
        let body = Body::text("abc");
        let reply = |is_head| String::from_utf8(super::reply(Status::Ok, &body, is_head)).unwrap();
        assert!(reply(false).starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(reply(false).contains("\r\nContent-Length: 3\r\n"));
        assert!(reply(false).ends_with("\r\nConnection: close\r\n\r\nabc"));
        assert!(reply(true).ends_with("\r\n\r\n"));
    }
}
