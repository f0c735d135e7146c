//! What only a restart can change: when the file is read again it stays as it is.

use std::mem;

use super::Conf;
use super::pool_conf::{PoolConf, PoolKind, RefreshMethod, StandaloneConf};
use super::setting::{Change, GLOBAL};

impl Conf {
    /// Takes from `old` what cannot change while the proxy runs, and names what the file has
    /// changed of that.
    pub fn keep_what_needs_a_restart(&mut self, old: &Conf) -> Vec<&'static str> {
        let settings = GLOBAL.iter().filter(|setting| setting.change == Change::Restart);
        let changed = settings.filter(|setting| setting.show(old) != setting.show(self));
        let mut kept: Vec<&'static str> = changed.map(|setting| setting.name).collect();
        self.binds.clone_from(&old.binds);
        self.worker_threads = old.worker_threads;
        self.buf_size = old.buf_size;
        self.metrics_bind.clone_from(&old.metrics_bind);
        self.unix_socket_perm = old.unix_socket_perm;
        self.unix_socket_group.clone_from(&old.unix_socket_group);
        self.user.clone_from(&old.user);
        keep_in_pool(&mut self.pool, &old.pool, &mut kept);
        kept
    }
}

fn keep_in_pool(new: &mut PoolConf, old: &PoolConf, kept: &mut Vec<&'static str>) {
    if name_of(&new.kind) != name_of(&old.kind) {
        // What stands in a block of another kind says nothing about this one.
        kept.push(name_of(&old.kind));
        new.clone_from(old);
        return;
    }
    let databases = &mut new.common.databases;
    if mem::replace(databases, old.common.databases) != old.common.databases {
        kept.push("Databases");
    }
    if let (PoolKind::Standalone(new), PoolKind::Standalone(old)) = (&mut new.kind, &old.kind)
        // With one group nothing was ever distributed.
        && old.groups.len() > 1
    {
        keep_distribution(new, old, kept);
    }
}

fn keep_distribution(new: &mut StandaloneConf, old: &StandaloneConf, kept: &mut Vec<&'static str>) {
    let changed = [
        ("Distribution", new.distribution != old.distribution && new.distribution.is_some()),
        ("Hash", new.hash != old.hash && new.hash.is_some()),
        ("HashTag", new.hash_tag != old.hash_tag),
    ];
    kept.extend(changed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name));
    new.distribution = old.distribution;
    new.hash = old.hash;
    new.hash_tag = old.hash_tag;
}

/// The block that makes such a pool.
fn name_of(kind: &PoolKind) -> &'static str {
    match kind {
        PoolKind::Cluster { .. } => "ClusterServerPool",
        PoolKind::Standalone(conf) => match conf.refresh {
            RefreshMethod::Fixed => "StandaloneServerPool",
            RefreshMethod::Sentinel => "SentinelServerPool",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn conf(text: &str) -> Conf {
        Conf::parse(Path::new("/c"), text.as_bytes(), &[]).unwrap()
    }

    const CLUSTER: &str = "ClusterServerPool {\nServers {\n+ a:1\n}\n}\n";

    fn groups(more: &str, names: &[&str]) -> String {
        let group = |name: &&str| format!("Group {name} {{\n+ {name}:1\n}}\n");
        let groups: String = names.iter().map(group).collect();
        format!("StandaloneServerPool {{\nRefreshMethod fixed\n{more}\n{groups}}}\n")
    }

    /// What is kept of `old` when the file says `new`, and what is in force then.
    #[track_caller]
    fn check(old: &str, new: &str, want: &[&str]) -> Conf {
        let (old, mut new) = (conf(old), conf(new));
        assert_eq!(new.keep_what_needs_a_restart(&old), want);
        for setting in GLOBAL.iter().filter(|setting| setting.change == Change::Restart) {
            assert_eq!(setting.show(&new), setting.show(&old), "{}", setting.name);
        }
        assert_eq!(new.keep_what_needs_a_restart(&old), [""; 0], "it is in force, so it is kept");
        new
    }

    #[test]
    fn every_setting_that_needs_a_restart_is_kept_and_named() {
        let all = "Bind b:2\nWorkerThreads 3\nBufSize 8192\nMetricsBind c:3\nUnixSocketPerm 770\nUnixSocketGroup g\nUser u\nName x\nMaxMemory 1G\n";
        let restart = GLOBAL.iter().filter(|setting| setting.change == Change::Restart);
        let want: Vec<&str> = restart.map(|setting| setting.name).collect();
        let new = check(CLUSTER, &format!("{all}{CLUSTER}"), &want);
        assert_eq!((new.name.as_str(), new.max_memory), ("x", 1 << 30));
        check(CLUSTER, CLUSTER, &[]);
    }

    #[test]
    fn another_kind_of_pool_is_not_taken_at_all() {
        let other = groups("ServerTimeout 9", &["a"]);
        let new = check(CLUSTER, &other, &["ClusterServerPool"]);
        assert_eq!(new.pool, conf(CLUSTER).pool);
        check(&other, CLUSTER, &["StandaloneServerPool"]);
    }

    #[test]
    fn how_keys_are_distributed_is_kept_and_groups_are_not() {
        let old = groups("Hash crc16\nDistribution modula\nDatabases 3", &["a", "b"]);
        let line = "Hash atol\nDistribution random\nHashTag {}\nDatabases 4\nServerTimeout 1";
        let want = ["Databases", "Distribution", "Hash", "HashTag"];
        let new = check(&old, &groups(line, &["b", "c", "d"]), &want);
        assert_eq!((new.pool.common.databases, new.pool.common.server_timeout_us), (3, 1_000_000));
        let PoolKind::Standalone(pool) = new.pool.kind else { panic!("the kind has changed") };
        assert_eq!(pool.groups.len(), 3);
        // One group alone knows no distribution yet.
        check(&groups("", &["a"]), &groups("Hash atol\nDistribution modula", &["a", "b"]), &[]);
        check(&groups("Hash atol\nDistribution modula", &["a", "b"]), &groups("", &["b"]), &[]);
    }
}
