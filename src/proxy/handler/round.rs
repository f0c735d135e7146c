//! Questions that every handler has to answer before a client gets its reply.
//!
//! No handler reads another's state. Whoever needs to know what all of them have sends the
//! question round: each answers in its own thread, and when all have, the one that asked makes
//! the reply. The client's place in line waits meanwhile, as for any other reply.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::request::ClientId;
use super::super::shared::{Mail, Shared};
use super::Handler;

/// What is done with all the answers, which come in no particular order.
type Finish<T> = Box<dyn FnOnce(&mut Handler, Vec<T>) + Send>;

/// One question that goes round.
struct Round<T: Send + 'static> {
    shared: Arc<Shared>,
    asker: usize,
    answers: Mutex<Vec<T>>,
    finish: Mutex<Option<Finish<T>>>,
}

impl Handler {
    /// Has `ask` called by every handler, then `finish` by this one; what that returns is the
    /// reply to request `sequence` of `client`.
    ///
    /// A handler that has stopped does not answer; while the proxy is stopping only this one does.
    pub(super) fn ask_all<T: Send + 'static>(
        &mut self,
        (client, sequence): (ClientId, u32),
        ask: impl Fn(&mut Handler) -> T + Send + Sync + 'static,
        finish: impl FnOnce(&mut Handler, Vec<T>) -> Vec<u8> + Send + 'static,
    ) {
        let command = self.clients.get(client).and_then(|client| client.command);
        self.ask_round(ask, move |handler, answers| {
            let reply = finish(handler, answers);
            if handler.is_logged {
                handler.log_own_reply(client, sequence, command, &reply);
            }
            handler.answer(client, sequence, &reply);
        });
    }

    /// The same for what does not make the reply at once: `finish` sees to it.
    pub(super) fn ask_round<T: Send + 'static>(
        &mut self,
        ask: impl Fn(&mut Handler) -> T + Send + Sync + 'static,
        finish: impl FnOnce(&mut Handler, Vec<T>) + Send + 'static,
    ) {
        let own = ask(self);
        if self.shared.handlers.len() == 1 || self.shared.is_stopping() {
            return finish(self, vec![own]);
        }
        let round = Arc::new(Round {
            shared: Arc::clone(&self.shared),
            asker: self.index,
            answers: Mutex::new(vec![own]),
            finish: Mutex::new(Some(Box::new(finish) as Finish<T>)),
        });
        let ask = Arc::new(ask);
        for (index, neighbour) in self.shared.handlers.iter().enumerate() {
            if index == self.index {
                continue;
            }
            let (round, ask) = (Arc::clone(&round), Arc::clone(&ask));
            neighbour.post(Mail::Run(Box::new(move |handler| {
                let answer = ask(handler);
                round.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
            })));
        }
    }
}

/// The last one to let go has brought the last answer.
impl<T: Send + 'static> Drop for Round<T> {
    fn drop(&mut self) {
        let answers = mem::take(self.answers.get_mut().unwrap_or_else(PoisonError::into_inner));
        let finish = self.finish.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(finish) = finish {
            let run = move |handler: &mut Handler| finish(handler, answers);
            self.shared.handlers[self.asker].post(Mail::Run(Box::new(run)));
        }
    }
}
