//! Who may do what to which keys.
//!
//! An `Authority` is made of the configuration's `Auth` blocks and never changes; a reload makes
//! another, for which `carry_over` finds a client's identity again. It judges identities, rights
//! and keys: it knows no clients, and which rights and keys a request has, others find out.

use std::fmt;
use std::hint::black_box;

use crate::base::order;
use crate::conf::{AuthorityConf, IdentityConf};
use crate::resp::command::{Access, ClusterCommand, Command, Family, KeysError, Rights};

/// The reply to a request that needs a login first.
pub const NO_AUTH: &str = "NOAUTH Authentication required.";

/// The reply to a request that the client's identity does not permit.
pub const DENIED: &str = "ERR auth permission deny";

/// Who is meant when a login names no user.
const DEFAULT_USER: &[u8] = b"default";

/// All identities that there are.
#[derive(Debug)]
pub struct Authority {
    identities: Vec<Identity>,
    /// Who a client is that has not logged in; `None` must log in first.
    default: Option<IdentityId>,
    /// There is no `Authority` block: everybody may do everything.
    open: bool,
}

/// One of the identities of an `Authority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityId(usize);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Allowed,
    /// The client has to log in first: the reply is `NO_AUTH`.
    NoAuth,
    /// The client may not do that: the reply is `DENIED`.
    Denied,
}

/// Why a login failed. The client keeps the identity that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// There is nothing to log in to.
    NotConfigured,
    /// No identity has this user and this password.
    WrongPassword,
}

impl LoginError {
    /// The reply, in the words of Redis.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            LoginError::NotConfigured => {
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?"
            }
            LoginError::WrongPassword => {
                "WRONGPASS invalid username-password pair or user is disabled."
            }
        }
    }
}

#[derive(Debug)]
struct Identity {
    user: Credential,
    /// Its `Auth` block has a `User`.
    is_named: bool,
    password: Credential,
    rights: Rights,
    /// Where it may read; `None` is everywhere.
    readable: Option<Prefixes>,
    /// Where it may write; `None` is everywhere.
    writable: Option<Prefixes>,
}

impl Authority {
    /// The authority of this configuration; without one, everybody may do everything.
    #[must_use]
    pub fn new(conf: Option<&AuthorityConf>) -> Authority {
        let Some(AuthorityConf { identities }) = conf else { return Authority::open() };
        let user = |identity: &IdentityConf| match &identity.user {
            Some(user) => user.as_bytes().to_vec(),
            None => DEFAULT_USER.to_vec(),
        };
        let lengths =
            identities.iter().map(|identity| user(identity).len().max(identity.password.len()));
        let width = lengths.max().unwrap_or(0);
        let nobody =
            |identity: &IdentityConf| identity.user.is_none() && identity.password.is_empty();
        let default = identities.iter().rposition(nobody).map(IdentityId);
        let identities = identities
            .iter()
            .map(|identity| Identity {
                user: Credential::new(&user(identity), width),
                is_named: identity.user.is_some(),
                password: Credential::new(&identity.password, width),
                rights: identity.mode,
                readable: either(&identity.read_key_prefixes, &identity.key_prefixes),
                writable: either(&identity.write_key_prefixes, &identity.key_prefixes),
            })
            .collect();
        Authority { identities, default, open: false }
    }

    fn open() -> Authority {
        let anybody = Identity {
            user: Credential::new(DEFAULT_USER, DEFAULT_USER.len()),
            is_named: false,
            password: Credential::new(b"", DEFAULT_USER.len()),
            rights: Rights::Admin,
            readable: None,
            writable: None,
        };
        Authority { identities: vec![anybody], default: Some(IdentityId(0)), open: true }
    }

    /// Whom `AUTH password` or `AUTH user password` makes of a client.
    ///
    /// How long it takes tells nothing about passwords, nor whether a user exists.
    ///
    /// # Errors
    ///
    /// The client stays who it was, and gets the text of the error.
    pub fn login(&self, user: Option<&[u8]>, password: &[u8]) -> Result<IdentityId, LoginError> {
        if self.open {
            // As Redis does where the default user needs no password.
            return match (user, self.default) {
                (None, _) => Err(LoginError::NotConfigured),
                (Some(DEFAULT_USER), Some(anybody)) => Ok(anybody),
                (Some(_), _) => Err(LoginError::WrongPassword),
            };
        }
        let user = user.unwrap_or(DEFAULT_USER);
        let mut found = Err(LoginError::WrongPassword);
        for (index, identity) in self.identities.iter().enumerate() {
            if identity.user.is(user) & identity.password.is(password) {
                found = Ok(IdentityId(index));
            }
        }
        found
    }

    /// Who a client is of whom others have proven that it is this user: the first that has the name
    /// by its `Auth` block.
    #[must_use]
    pub fn identity_of_user(&self, user: &[u8]) -> Option<IdentityId> {
        let is_meant = |identity: &Identity| identity.is_named && identity.user.is(user);
        self.identities.iter().position(is_meant).map(IdentityId)
    }

    /// The user and the password that make a client this one; none are needed where everybody may
    /// do everything.
    #[must_use]
    pub fn login_of(&self, identity: IdentityId) -> Option<(Vec<u8>, Vec<u8>)> {
        let identity = self.identities.get(identity.0).filter(|_| !self.open)?;
        Some((identity.user.bytes().to_vec(), identity.password.bytes().to_vec()))
    }

    /// Whether everybody may do everything, so that nobody need be asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Who a client is that has not logged in; `None` must log in first.
    #[must_use]
    pub fn default_identity(&self) -> Option<IdentityId> {
        self.default
    }

    /// The user whose name an identity goes by.
    #[must_use]
    pub fn user_of(&self, identity: Option<IdentityId>) -> &[u8] {
        let identity = identity.and_then(|id| self.identities.get(id.0));
        identity.map_or(DEFAULT_USER, |identity| identity.user.bytes())
    }

    /// Who a client is here that had this identity with `old`, before a reload. Who may no longer
    /// log in as it did is as if it had not.
    #[must_use]
    pub fn carry_over(&self, old: &Authority, identity: Option<IdentityId>) -> Option<IdentityId> {
        let known = identity.and_then(|id| old.identities.get(id.0));
        let same = known
            .and_then(|known| self.login(Some(known.user.bytes()), known.password.bytes()).ok());
        same.or(self.default)
    }

    /// Whether this identity may do here what `was` may do with `old`: no more, and no less.
    #[must_use]
    pub fn is_as_before(
        &self,
        identity: Option<IdentityId>,
        old: &Authority,
        was: Option<IdentityId>,
    ) -> bool {
        let now = identity.and_then(|id| self.identities.get(id.0));
        let was = was.and_then(|id| old.identities.get(id.0));
        match (now, was) {
            (Some(now), Some(was)) => now.may_do_what(was),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether a request may go on that needs these rights (`None` is allowed always) and does
    /// this to these keys. Keys are only looked at where they decide.
    pub fn permit<K: AsRef<[u8]>>(
        &self,
        identity: Option<IdentityId>,
        needed: Option<Rights>,
        keys: impl IntoIterator<Item = (K, Access)>,
    ) -> Verdict {
        let Some(needed) = needed else { return Verdict::Allowed };
        let Some(identity) = identity.and_then(|id| self.identities.get(id.0)) else {
            return Verdict::NoAuth;
        };
        let may = identity.rights >= needed
            && (!identity.is_restricted(needed)
                || keys
                    .into_iter()
                    .all(|(key, access)| identity.may_touch(key.as_ref(), access, needed)));
        if may { Verdict::Allowed } else { Verdict::Denied }
    }

    /// Whether there is a user of this name.
    #[must_use]
    pub fn has_user(&self, user: &[u8]) -> bool {
        user == DEFAULT_USER || self.identities.iter().any(|identity| identity.user.is(user))
    }

    /// Whether a whole request may go on: the command, and what it does to its keys.
    ///
    /// # Errors
    ///
    /// Keys decide, and which they are cannot be told.
    pub fn permit_request<'a>(
        &self,
        identity: Option<IdentityId>,
        command: &Command,
        count: usize,
        argument: impl Fn(usize) -> &'a [u8],
    ) -> Result<Verdict, KeysError> {
        let needed = if command.always_allowed() { None } else { Some(command.rights()) };
        let mut keys: Vec<(&[u8], Access)> = Vec::new();
        let mut malformed = Ok(());
        let is_restricted = needed.is_some_and(|needed| self.is_restricted(identity, needed));
        if is_restricted {
            malformed = command.keys().visit(count, &argument, |index, access| {
                keys.push((argument(index as usize), access));
            });
        }
        // What reaches keys without naming them reaches those of others, too.
        let is_blind = is_restricted && keys.is_empty() && reaches_keys(command.family());
        match self.permit(identity, needed, keys) {
            Verdict::NoAuth => Ok(Verdict::NoAuth),
            verdict => {
                malformed?;
                Ok(if is_blind { Verdict::Denied } else { verdict })
            }
        }
    }

    /// Whether keys decide over a request of this identity that needs these rights. If so, one
    /// whose keys cannot be told must not pass.
    #[must_use]
    pub fn is_restricted(&self, identity: Option<IdentityId>, needed: Rights) -> bool {
        let identity = identity.and_then(|id| self.identities.get(id.0));
        identity.is_some_and(|identity| identity.is_restricted(needed))
    }
}

/// Whether a command that names no key may touch keys all the same.
fn reaches_keys(family: Family) -> bool {
    matches!(
        family,
        Family::Keyed
            | Family::Script(_)
            | Family::Scan
            | Family::RandomKey
            | Family::FanOut(_)
            | Family::Undivided
            | Family::Cluster(ClusterCommand::CountKeysInSlot | ClusterCommand::GetKeysInSlot)
    )
}

impl Identity {
    /// Whether it may do the same as another one.
    fn may_do_what(&self, other: &Identity) -> bool {
        self.rights == other.rights
            && self.readable == other.readable
            && self.writable == other.writable
    }

    fn is_restricted(&self, needed: Rights) -> bool {
        needed != Rights::Admin && (self.readable.is_some() || self.writable.is_some())
    }

    fn may_touch(&self, key: &[u8], access: Access, needed: Rights) -> bool {
        match access {
            Access::Read => within(&self.readable, key),
            Access::Write => within(&self.writable, key),
            Access::Name if needed == Rights::Read => within(&self.readable, key),
            Access::Name => within(&self.writable, key),
            Access::Glob => {
                let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
                let end = key.iter().position(is_special).unwrap_or(key.len());
                self.may_touch(&key[..end], Access::Name, needed)
            }
            // Without an asterisk it means no key at all, such as `GET #`.
            Access::Pattern => match key.iter().position(|&byte| byte == b'*') {
                Some(end) => within(&self.readable, &key[..end]),
                None => true,
            },
        }
    }
}

/// A set of prefixes, none of which begins with another.
///
/// What a longer one allows, the shorter one allows as well, so it is not kept. Then only the
/// greatest prefix that is not greater than a key can begin it: whatever lies between a prefix of
/// the key and the key begins with that prefix too.
#[derive(Debug, PartialEq, Eq)]
struct Prefixes(Vec<Box<[u8]>>);

impl Prefixes {
    fn new(prefixes: &[Vec<u8>]) -> Prefixes {
        let mut sorted: Vec<&[u8]> = prefixes.iter().map(Vec::as_slice).collect();
        order::sort(&mut sorted);
        let mut kept: Vec<Box<[u8]>> = Vec::new();
        for prefix in sorted {
            if !kept.last().is_some_and(|shorter| prefix.starts_with(shorter)) {
                kept.push(prefix.into());
            }
        }
        Prefixes(kept)
    }

    fn begin(&self, key: &[u8]) -> bool {
        let not_greater = self.0.partition_point(|prefix| **prefix <= *key);
        self.0[..not_greater].last().is_some_and(|prefix| key.starts_with(prefix))
    }
}

fn within(prefixes: &Option<Prefixes>, key: &[u8]) -> bool {
    prefixes.as_ref().is_none_or(|prefixes| prefixes.begin(key))
}

/// The special prefixes, or else the general ones.
fn either(special: &Option<Vec<Vec<u8>>>, general: &Option<Vec<Vec<u8>>>) -> Option<Prefixes> {
    special.as_deref().or(general.as_deref()).map(Prefixes::new)
}

/// A user or a password, padded so that comparing with any of them takes the same time.
struct Credential {
    padded: Box<[u8]>,
    length: usize,
}

impl Credential {
    fn new(bytes: &[u8], width: usize) -> Credential {
        let mut padded = bytes.to_vec();
        padded.resize(width.max(bytes.len()), 0);
        Credential { padded: padded.into(), length: bytes.len() }
    }

    /// Looks at every byte, wherever the first difference is.
    fn is(&self, attempt: &[u8]) -> bool {
        let mut difference = self.length ^ attempt.len();
        for (index, byte) in self.padded.iter().enumerate() {
            let attempted = attempt.get(index).copied().unwrap_or(0);
            difference = black_box(difference | usize::from(byte ^ attempted));
        }
        difference == 0
    }

    fn bytes(&self) -> &[u8] {
        &self.padded[..self.length]
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credential(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Secret;

    const READ: Option<Rights> = Some(Rights::Read);
    const WRITE: Option<Rights> = Some(Rights::Write);
    const ADMIN: Option<Rights> = Some(Rights::Admin);

    fn auth(user: Option<&str>, password: &[u8], mode: Rights) -> IdentityConf {
        IdentityConf {
            user: user.map(str::to_owned),
            password: Secret::new(password),
            mode,
            key_prefixes: None,
            read_key_prefixes: None,
            write_key_prefixes: None,
        }
    }

    fn authority(identities: Vec<IdentityConf>) -> Authority {
        Authority::new(Some(&AuthorityConf { identities }))
    }

    fn prefixes(list: &[&str]) -> Option<Vec<Vec<u8>>> {
        Some(list.iter().map(|prefix| prefix.as_bytes().to_vec()).collect())
    }

    /// An authority whose default identity may write, with these prefixes.
    fn restricted(all: &[&str], read: &[&str], write: &[&str]) -> Authority {
        let some = |list: &[&str]| if list.is_empty() { None } else { prefixes(list) };
        authority(vec![IdentityConf {
            key_prefixes: some(all),
            read_key_prefixes: some(read),
            write_key_prefixes: some(write),
            ..auth(None, b"", Rights::Write)
        }])
    }

    #[track_caller]
    fn check(
        authority: &Authority,
        needed: Option<Rights>,
        keys: &[(&str, Access)],
        want: Verdict,
    ) {
        assert_eq!(
            authority.permit(authority.default_identity(), needed, keys.iter().copied()),
            want
        );
    }

    const NO_KEYS: [(&str, Access); 0] = [];

    #[test]
    fn without_an_authority_everybody_may_do_everything() {
        let open = Authority::new(None);
        check(&open, ADMIN, &[("any", Access::Write)], Verdict::Allowed);
        assert_eq!(open.login(None, b"secret"), Err(LoginError::NotConfigured));
        assert_eq!(open.login(Some(b"default"), b"secret"), Ok(IdentityId(0)));
        assert_eq!(open.login(Some(b"other"), b"secret"), Err(LoginError::WrongPassword));
    }

    #[test]
    fn whoever_has_no_identity_is_told_to_log_in() {
        let authority = authority(vec![auth(None, b"secret", Rights::Read)]);
        assert_eq!(authority.default_identity(), None);
        check(&authority, READ, &[("k", Access::Read)], Verdict::NoAuth);
        check(&authority, ADMIN, &[], Verdict::NoAuth);
        check(&authority, None, &[], Verdict::Allowed);
    }

    #[test]
    fn a_block_without_password_is_for_those_who_have_not_logged_in() {
        let authority =
            authority(vec![auth(None, b"secret", Rights::Admin), auth(None, b"", Rights::Read)]);
        let default = authority.default_identity();
        assert_eq!(default, authority.login(None, b"").ok());
        assert_eq!(authority.permit(default, READ, NO_KEYS), Verdict::Allowed);
        assert_eq!(authority.permit(default, WRITE, NO_KEYS), Verdict::Denied);
    }

    #[test]
    fn a_mode_includes_those_before_it() {
        for mode in [Rights::Read, Rights::Write, Rights::Admin] {
            let authority = authority(vec![auth(None, b"", mode)]);
            for needed in [Rights::Read, Rights::Write, Rights::Admin] {
                let want = if needed <= mode { Verdict::Allowed } else { Verdict::Denied };
                check(&authority, Some(needed), &[], want);
            }
        }
    }

    #[test]
    fn passwords_are_compared_whole_and_as_bytes() {
        let passwords: [&[u8]; 5] = [b"a", b"a\0", b"a\0b", b"ab", b"much longer than the others"];
        let all = passwords.iter().map(|password| auth(None, password, Rights::Read)).collect();
        let authority = authority(all);
        for (index, password) in passwords.iter().enumerate() {
            assert_eq!(authority.login(None, password), Ok(IdentityId(index)));
        }
        let longer = [passwords[4], b"\0"].concat();
        let wrong: [&[u8]; 6] = [b"", b"b", b"a\0\0", b"abc", &longer, &longer[..20]];
        for attempt in wrong {
            assert_eq!(authority.login(None, attempt), Err(LoginError::WrongPassword));
        }
    }

    #[test]
    fn users_have_passwords_of_their_own() {
        let authority = authority(vec![
            auth(Some("alice"), b"one", Rights::Read),
            auth(Some("bob"), b"two", Rights::Write),
            auth(None, b"three", Rights::Admin),
            auth(Some("default"), b"four", Rights::Read),
        ]);
        let login = |user: Option<&str>, password: &[u8]| {
            authority.login(user.map(str::as_bytes), password).ok().map(|IdentityId(index)| index)
        };
        assert_eq!(login(Some("alice"), b"one"), Some(0));
        assert_eq!(login(Some("bob"), b"two"), Some(1));
        assert_eq!(login(None, b"three"), Some(2));
        // No user is the user `default`, as for Redis.
        assert_eq!(login(Some("default"), b"three"), Some(2));
        assert_eq!(login(None, b"four"), Some(3));
        for (user, password) in [("alice", "two"), ("Bob", "two"), ("carol", "one"), ("", "three")]
        {
            assert_eq!(login(Some(user), password.as_bytes()), None);
        }
        assert_eq!(login(None, b"one"), None);
        assert_eq!(authority.default_identity(), None);
    }

    #[test]
    fn a_user_without_password_is_not_the_default() {
        let authority = authority(vec![auth(Some("alice"), b"", Rights::Read)]);
        assert_eq!(authority.default_identity(), None);
        assert_eq!(authority.login(Some(b"alice"), b""), Ok(IdentityId(0)));
    }

    #[test]
    fn d27_every_key_is_judged() {
        let authority = restricted(&["ok:"], &[], &[]);
        let allowed = [("ok:1", Access::Read), ("ok:2", Access::Read)];
        check(&authority, READ, &allowed, Verdict::Allowed);
        check(
            &authority,
            READ,
            &[("ok:1", Access::Read), ("secret", Access::Read)],
            Verdict::Denied,
        );
        check(
            &authority,
            WRITE,
            &[("ok:1", Access::Write), ("secret", Access::Read)],
            Verdict::Denied,
        );
        check(&authority, WRITE, &[("ok:1", Access::Write), ("o", Access::Write)], Verdict::Denied);
    }

    #[test]
    fn commands_without_keys_are_judged_by_rights_alone() {
        let authority = restricted(&["ok:"], &[], &[]);
        check(&authority, READ, &[], Verdict::Allowed);
        check(&authority, WRITE, &[], Verdict::Allowed);
        check(&authority, ADMIN, &[], Verdict::Denied);
    }

    #[test]
    fn nested_prefixes_do_not_shadow_each_other() {
        let authority = restricted(&["User.a", "User", "User.a.b", "Zoo", ""][..4], &[], &[]);
        for key in ["User", "User.", "User.a", "User.a.b.c", "User.b", "Userz", "Zoo", "Zoo1"] {
            check(&authority, READ, &[(key, Access::Read)], Verdict::Allowed);
        }
        for key in ["", "A", "Use", "user", "V", "Zo", "Zop", "\u{7f}"] {
            check(&authority, READ, &[(key, Access::Read)], Verdict::Denied);
        }
    }

    #[test]
    fn prefixes_agree_with_the_plain_definition() {
        let mut random = crate::base::random::Random::new(7);
        let mut word = |longest: u64| -> Vec<u8> {
            (0..random.below(longest + 1))
                .map(|_| *b"\x00a\xff".get(usize::try_from(random.below(3)).unwrap()).unwrap())
                .collect()
        };
        for _ in 0..2000 {
            let list: Vec<Vec<u8>> = (0..4).map(|_| [word(3), vec![b'a']].concat()).collect();
            let (prefixes, key) = (Prefixes::new(&list), word(5));
            let want = list.iter().any(|prefix| key.starts_with(prefix));
            assert_eq!(prefixes.begin(&key), want, "{list:?} {key:?}");
        }
    }

    #[test]
    fn patterns_of_channels_mean_what_begins_alike() {
        let authority = restricted(&["news."], &[], &[]);
        for pattern in ["news.*", "news.a", "news.", "news.[ab]?", "news.\\*"] {
            check(&authority, WRITE, &[(pattern, Access::Glob)], Verdict::Allowed);
        }
        for pattern in ["*", "news*", "new?.a", "[n]ews.*", "news\\.a", "", "news"] {
            check(&authority, WRITE, &[(pattern, Access::Glob)], Verdict::Denied);
        }
        // What is special in a pattern is not in a prefix.
        let authority = restricted(&["a?c"], &[], &[]);
        check(&authority, WRITE, &[("a?c*", Access::Glob)], Verdict::Denied);
        check(&authority, WRITE, &[("a?cd", Access::Name)], Verdict::Allowed);
    }

    #[test]
    fn an_empty_prefix_is_of_every_key() {
        check(
            &restricted(&["a", "", "b"], &[], &[]),
            READ,
            &[("", Access::Read)],
            Verdict::Allowed,
        );
        check(
            &restricted(&["a", "", "b"], &[], &[]),
            READ,
            &[("c", Access::Read)],
            Verdict::Allowed,
        );
    }

    #[test]
    fn reading_and_writing_have_prefixes_of_their_own() {
        let authority = restricted(&["k"], &["r"], &["w"]);
        for (key, access, want) in [
            ("r", Access::Read, Verdict::Allowed),
            ("r", Access::Write, Verdict::Denied),
            ("w", Access::Read, Verdict::Denied),
            ("w", Access::Write, Verdict::Allowed),
            ("k", Access::Read, Verdict::Denied),
            ("k", Access::Write, Verdict::Denied),
        ] {
            check(&authority, WRITE, &[(key, access)], want);
        }
    }

    #[test]
    fn what_has_no_special_prefixes_follows_the_general_ones() {
        let only_read = restricted(&["k"], &["r"], &[]);
        check(&only_read, READ, &[("r", Access::Read)], Verdict::Allowed);
        check(&only_read, READ, &[("k", Access::Read)], Verdict::Denied);
        check(&only_read, WRITE, &[("k", Access::Write)], Verdict::Allowed);
        let only_write = restricted(&[], &[], &["w"]);
        check(&only_write, READ, &[("any", Access::Read)], Verdict::Allowed);
        check(&only_write, WRITE, &[("any", Access::Write)], Verdict::Denied);
    }

    #[test]
    fn names_are_judged_by_the_rights_that_their_command_needs() {
        let authority = restricted(&[], &["r"], &["w"]);
        check(&authority, WRITE, &[("w:channel", Access::Name)], Verdict::Allowed);
        check(&authority, WRITE, &[("r:channel", Access::Name)], Verdict::Denied);
        check(&authority, READ, &[("r:channel", Access::Name)], Verdict::Allowed);
        check(&authority, READ, &[("w:channel", Access::Name)], Verdict::Denied);
    }

    #[test]
    fn a_pattern_is_judged_by_what_all_its_keys_begin_with() {
        let authority = restricted(&["ok:"], &[], &[]);
        for pattern in ["ok:*", "ok:a*->f", "ok:**", "#", "nosort"] {
            check(&authority, WRITE, &[(pattern, Access::Pattern)], Verdict::Allowed);
        }
        for pattern in ["*", "ok*", "secret*", "secret->*ok:"] {
            check(&authority, WRITE, &[(pattern, Access::Pattern)], Verdict::Denied);
        }
        check(&restricted(&["a*"], &[], &[]), WRITE, &[("a*", Access::Pattern)], Verdict::Denied);
    }

    #[test]
    fn what_needs_admin_is_never_judged_by_keys() {
        let authority = authority(vec![IdentityConf {
            key_prefixes: prefixes(&["ok:"]),
            ..auth(None, b"", Rights::Admin)
        }]);
        check(&authority, ADMIN, &[("any", Access::Write)], Verdict::Allowed);
        check(&authority, WRITE, &[("any", Access::Write)], Verdict::Denied);
        let identity = authority.default_identity();
        assert!(authority.is_restricted(identity, Rights::Write));
        assert!(!authority.is_restricted(identity, Rights::Admin));
        assert!(!Authority::new(None).is_restricted(identity, Rights::Write));
    }

    #[test]
    fn keys_are_not_looked_for_where_they_do_not_decide() {
        let keys = || std::iter::from_fn(|| -> Option<(&str, Access)> { panic!("looked for") });
        let open = Authority::new(None);
        assert_eq!(open.permit(open.default_identity(), WRITE, keys()), Verdict::Allowed);
        assert_eq!(open.permit(None, None, keys()), Verdict::Allowed);
        let reader = restricted(&["ok"], &[], &[]);
        assert_eq!(reader.permit(reader.default_identity(), ADMIN, keys()), Verdict::Denied);
        assert_eq!(reader.permit(None, READ, keys()), Verdict::NoAuth);
    }

    #[test]
    fn an_identity_survives_a_reload_as_long_as_its_password() {
        let old = authority(vec![
            auth(None, b"", Rights::Read),
            auth(None, b"one", Rights::Admin),
            auth(Some("alice"), b"two", Rights::Admin),
        ]);
        let new = authority(vec![
            auth(Some("alice"), b"two", Rights::Write),
            auth(None, b"other", Rights::Admin),
            auth(None, b"", Rights::Read),
        ]);
        let carry = |user: Option<&[u8]>, password: &[u8]| {
            new.carry_over(&old, old.login(user, password).ok())
        };
        assert_eq!(carry(Some(b"alice"), b"two"), Some(IdentityId(0)));
        assert_eq!(carry(None, b"one"), new.default_identity());
        assert_eq!(carry(None, b""), new.default_identity());
        let open = Authority::new(None);
        assert_eq!(open.carry_over(&old, old.login(None, b"one").ok()), open.default_identity());
        let closed = authority(vec![auth(None, b"one", Rights::Read)]);
        assert_eq!(closed.carry_over(&open, open.default_identity()), None);
        assert_eq!(closed.carry_over(&old, old.login(None, b"one").ok()), Some(IdentityId(0)));
        assert_eq!(closed.carry_over(&old, None), None);
    }

    #[test]
    fn secrets_do_not_show() {
        let authority = authority(vec![auth(Some("alice"), b"hunter2", Rights::Read)]);
        let shown = format!("{authority:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }

    #[test]
    fn errors_are_in_the_words_of_redis() {
        let text = LoginError::NotConfigured.text();
        assert!(
            text.ends_with("for the default user. Are you sure your configuration is correct?")
        );
    }
}
