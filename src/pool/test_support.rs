//! Small configurations for the tests of this layer.

use super::topology::Topology;
use crate::base::address::Address;
use crate::conf::{
    DataCenterConf, DcConf, Distribution, GroupConf, Hash, PoolCommon, PoolConf, PoolKind,
    ReadPolicyConf, RefreshMethod, Secret, ServerConf, StandaloneConf,
};

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// `address` or `password@address`.
pub fn server(text: &str) -> ServerConf {
    let (password, text) = text.split_once('@').unwrap_or(("", text));
    ServerConf { address: address(text), password: Secret::unless_empty(password.as_bytes()) }
}

/// Master and replica priorities, static and dynamic alike.
pub fn common(master: u32, slave: u32) -> PoolCommon {
    PoolCommon {
        master_read_priority: master,
        static_slave_read_priority: slave,
        dynamic_slave_read_priority: slave,
        password: Some(Secret::new(b"pool")),
        ..PoolCommon::default()
    }
}

pub fn cluster_conf(seeds: &[&str]) -> PoolConf {
    let servers = seeds.iter().map(|seed| server(seed)).collect();
    PoolConf { common: common(50, 0), kind: PoolKind::Cluster { servers } }
}

pub fn cluster(seeds: &[&str]) -> Topology {
    Topology::from_conf(&cluster_conf(seeds), None)
}

pub fn standalone() -> StandaloneConf {
    StandaloneConf {
        refresh: RefreshMethod::Fixed,
        distribution: Some(Distribution::Modula),
        hash: Some(Hash::Crc16),
        hash_tag: None,
        sentinels: Vec::new(),
        sentinel_password: None,
        groups: Vec::new(),
    }
}

pub fn group(name: &str, servers: &[&str]) -> GroupConf {
    let servers = servers.iter().map(|text| server(text)).collect();
    GroupConf { name: name.to_owned(), servers }
}

pub fn fixed_conf(groups: &[(&str, &[&str])]) -> PoolConf {
    let groups = groups.iter().map(|(name, servers)| group(name, servers)).collect();
    let kind = PoolKind::Standalone(StandaloneConf { groups, ..standalone() });
    PoolConf { common: common(50, 50), kind }
}

pub fn fixed(groups: &[(&str, &[&str])]) -> Topology {
    Topology::from_conf(&fixed_conf(groups), None)
}

/// Groups `g0` and so on, with what the file lists for them, behind two Sentinels.
pub fn sentinel_conf(groups: &[&[&str]]) -> PoolConf {
    let groups = groups.iter().enumerate();
    let conf = StandaloneConf {
        refresh: RefreshMethod::Sentinel,
        sentinels: vec![server("10.9.0.1:26379"), server("own@10.9.0.2:26379")],
        sentinel_password: Some(Secret::new(b"guard")),
        groups: groups.map(|(index, servers)| group(&format!("g{index}"), servers)).collect(),
        ..standalone()
    };
    PoolConf { common: common(50, 60), kind: PoolKind::Standalone(conf) }
}

/// Centres with one prefix each; the first is ours, and wants to read as `(priority, weight)`.
pub fn centers(centers: &[(&str, &str, u32, u32)]) -> DataCenterConf {
    let policy = centers.iter().enumerate().map(|(center, (_, _, priority, weight))| {
        ReadPolicyConf { center, priority: *priority, weight: *weight }
    });
    let read_policy: Vec<_> = policy.collect();
    let centers = centers.iter().map(|(name, prefix, _, _)| DcConf {
        name: (*name).to_owned(),
        address_prefixes: vec![(*prefix).to_owned()],
        read_policy: read_policy.clone(),
    });
    DataCenterConf { local: 0, centers: centers.collect() }
}

/// A seed for a random test, another one each time; show it where the test can fail.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let given = std::env::var("PREDIXY_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish())
}

/// Pearson's statistic: how far counts are from what was expected.
pub fn chi_square(counts: &[u64], shares: &[u64]) -> f64 {
    let float = |number: u64| f64::from(u32::try_from(number).unwrap());
    let (all, total) = (float(counts.iter().sum()), float(shares.iter().sum()));
    let terms = counts.iter().zip(shares).map(|(count, share)| {
        let expected = all * float(*share) / total;
        (float(*count) - expected).powi(2) / expected
    });
    terms.sum()
}
