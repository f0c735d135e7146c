//! Reading the configuration again, while everything goes on.
//!
//! Everything or nothing: a file with a mistake changes nothing, nor does a log that cannot be
//! opened. What is new is published for the handlers to follow, each at the top of its next turn;
//! no connection is closed for it. What only a restart can change stays, and is named.

use std::sync::Arc;

use super::request::ClientId;
use super::settings::Settings;
use super::shared::{Mail, Shared};
use super::{log_settings, replies};
use crate::conf::{Conf, ConfError};
use crate::logger::{Level, Log};
use crate::resp::writer::Sink;
use crate::{log_error, log_notice, log_warn};

/// Reads the file again and goes by it from now on. The log file is opened again in any case, as
/// it may have been moved away.
///
/// # Errors
///
/// What is wrong with the file, which is in the log already. Nothing has changed then.
pub fn reload(shared: &Arc<Shared>, log: &Log) -> Result<(), Vec<ConfError>> {
    let read = shared.settings.load().conf.read_again();
    let outcome = read.and_then(|conf| apply(shared, log, conf).map_err(|error| vec![error]));
    if let Err(errors) = &outcome {
        shared.logger.reopen();
        for error in errors {
            log_error!(log, "reload fail {}", error);
        }
        log_error!(log, "reload fail, nothing has changed");
    }
    outcome
}

/// Goes by `conf` from now on, as far as that is possible without a restart.
///
/// # Errors
///
/// What it asks for cannot be had; nothing has changed.
pub fn apply(shared: &Arc<Shared>, log: &Log, mut conf: Conf) -> Result<(), ConfError> {
    let mut kept = Vec::new();
    let (before, now) = shared.settings.update(|before| {
        kept = conf.keep_what_needs_a_restart(&before.conf);
        shared.logger.change(&log_settings(&conf)).map_err(|error| {
            let path = conf.log.path.as_deref().unwrap_or("stdout".as_ref());
            ConfError::new(None, format!("set log file {} fail {error}", path.display()))
        })?;
        Ok(conf)
    })?;
    take_effect(shared, &before, &now);
    for warning in &now.conf.warnings {
        log_warn!(log, "{}", warning);
    }
    if !kept.is_empty() {
        log_warn!(log, "reload keeps {} until the next start", kept.join(", "));
    }
    log_notice!(log, "reload succ");
    Ok(())
}

/// Tells everybody who keeps something that was made of the settings before.
pub fn take_effect(shared: &Shared, before: &Settings, now: &Settings) {
    let (old, new) = (&before.conf, &now.conf);
    shared.logger.set_format(log_settings(new).format);
    for (level, sample) in Level::ALL.into_iter().zip(new.log.samples) {
        shared.logger.set_sample(level, sample);
    }
    shared.logger.set_allow_miss_log(new.log.allow_miss);
    if !Arc::ptr_eq(&before.monitors, &now.monitors) {
        shared.stats.change_monitors(&now.monitors);
    }
    if new.pool != old.pool || new.data_center != old.data_center {
        shared
            .current
            .update(|topology| Some(topology.reconfigured(&new.pool, new.data_center.as_ref())));
    }
    shared.tell_settings();
}

/// Tells a client how the reload went that it has asked for. When it reads that, all handlers go
/// by what is new.
pub fn answer(
    shared: &Shared,
    handler: usize,
    asker: (ClientId, u32),
    outcome: Result<(), Vec<ConfError>>,
) {
    let mut reply = Vec::new();
    match outcome {
        Ok(()) => reply.put(replies::OK),
        Err(errors) => {
            let first = errors.first().map(ConfError::to_string).unwrap_or_default();
            let more = match errors.len() {
                0 | 1 => String::new(),
                count => format!(" (and {} more, see the log)", count - 1),
            };
            reply.error(&format!("ERR reload: {first}{more}"));
        }
    }
    let Some(neighbour) = shared.handlers.get(handler) else { return };
    neighbour.post(Mail::Run(Box::new(move |handler| {
        handler.answer_when_all_follow(asker, reply);
    })));
}
