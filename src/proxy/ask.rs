//! One question over a connection of its own, answered within a time: for the parts of the program
//! that run without handlers, `--explain` and `--top`.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use crate::base::address::Address;
use crate::sys::resolver::Resolver;
use crate::sys::{self, Endpoint, Multiplexor, Progress, Socket, Token, clock};

/// Nobody has more to say.
const ANSWER_MAX: usize = 16 << 20;

/// Sends `question` to `address` and returns what comes back until `is_complete` says so, or the
/// other side closes. All of that within `timeout_us`.
///
/// # Errors
///
/// It could not be reached, or did not answer in time.
pub fn ask(
    address: &Address,
    question: &[u8],
    timeout_us: u64,
    is_complete: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let deadline_us = clock::monotonic_us().saturating_add(timeout_us);
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for endpoint in endpoints(address, timeout_us)? {
        result = talk(&endpoint, question, deadline_us, &is_complete);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn endpoints(address: &Address, timeout_us: u64) -> io::Result<Vec<Endpoint>> {
    match address {
        Address::Ip(address) => Ok(vec![Endpoint::Ip(*address)]),
        Address::Unix(path) => Ok(vec![Endpoint::Unix(path.clone())]),
        Address::Host { name, port } => {
            let (sender, answer) = mpsc::channel::<io::Result<Vec<SocketAddr>>>();
            // Whoever has waited long enough no longer listens.
            let tell = Box::new(move |addresses| drop(sender.send(addresses)));
            Resolver::new().resolve(name, *port, tell);
            let addresses = answer.recv_timeout(Duration::from_micros(timeout_us));
            let addresses = addresses.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            Ok(addresses.into_iter().map(Endpoint::Ip).collect())
        }
    }
}

fn talk(
    endpoint: &Endpoint,
    question: &[u8],
    deadline_us: u64,
    is_complete: &impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let socket = sys::connect(endpoint)?;
    let multiplexor = Multiplexor::new()?;
    multiplexor.add(&socket, Token(0))?;
    let (mut events, mut is_connected) = (Vec::new(), false);
    let (mut sent, mut answer) = (0, Vec::new());
    loop {
        let left_us = deadline_us.saturating_sub(clock::monotonic_us());
        if left_us == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        multiplexor.wait(&mut events, Some(left_us))?;
        for event in &events {
            if !is_connected && (event.writable || event.hang_up) {
                socket.connect_error()?;
                is_connected = true;
            }
        }
        if !is_connected {
            continue;
        }
        while sent < question.len() {
            match socket.write(&question[sent..])? {
                Progress::Moved(length) => sent += length,
                Progress::WouldBlock => break,
                Progress::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        if read_on(&socket, &mut answer)? || is_complete(&answer) {
            return Ok(answer);
        }
        if answer.len() > ANSWER_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer has no end"));
        }
    }
}

/// Reads what has come. True when the other side has closed.
fn read_on(socket: &Socket, answer: &mut Vec<u8>) -> io::Result<bool> {
    let mut room = [0; 16 << 10];
    while answer.len() <= ANSWER_MAX {
        match socket.read(&mut room)? {
            Progress::Moved(length) => answer.extend_from_slice(&room[..length]),
            Progress::WouldBlock => return Ok(false),
            Progress::Closed => return Ok(true),
        }
    }
    Ok(false)
}
