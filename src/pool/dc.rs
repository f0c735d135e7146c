//! Data centres: which one a server is in, and how much ours wants to read from it.
//!
//! Knows addresses as text, because the file gives prefixes of text. It draws nothing: the draw
//! by weight is where the candidates are, in `server_group`.

use std::net::SocketAddr;

use crate::base::address::Address;
use crate::conf::DataCenterConf;

/// The data centres of a configuration, seen from ours; empty where the file defines none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataCenters {
    centers: Vec<Center>,
}

/// One data centre.
#[derive(Clone, Debug, PartialEq)]
struct Center {
    name: String,
    address_prefixes: Vec<String>,
    wish: Wish,
}

/// How much our data centre wants to read from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The highest is read from; 0 never.
    pub priority: u32,
    /// The share among centres of the same priority; 0 is none.
    pub weight: u32,
}

impl DataCenters {
    /// What the file says. Only the read policy of the local centre is ever used.
    #[must_use]
    pub fn new(conf: Option<&DataCenterConf>) -> DataCenters {
        let Some(conf) = conf else { return DataCenters::default() };
        let policy = conf.centers.get(conf.local).map_or(&[][..], |local| &local.read_policy);
        let wish = |center: usize| {
            let line = policy.iter().find(|line| line.center == center);
            line.map_or(Wish::default(), |line| Wish {
                priority: line.priority,
                weight: line.weight,
            })
        };
        let centers = conf.centers.iter().enumerate().map(|(index, center)| Center {
            name: center.name.clone(),
            address_prefixes: center.address_prefixes.clone(),
            wish: wish(index),
        });
        DataCenters { centers: centers.collect() }
    }

    /// Whether reads are chosen by data centre at all.
    #[must_use]
    pub fn are_used(&self) -> bool {
        !self.centers.is_empty()
    }

    /// The centre with the longest prefix of this address.
    #[must_use]
    pub fn of(&self, address: &Address) -> Option<usize> {
        if !self.are_used() {
            return None;
        }
        let text = address.to_string();
        // predixy writes IPv6 without brackets, and so do files that were made for it.
        let bare = match address {
            Address::Ip(SocketAddr::V6(v6)) => format!("{}:{}", v6.ip(), v6.port()),
            _ => text.clone(),
        };
        let mut best: Option<(usize, usize)> = None;
        for (index, center) in self.centers.iter().enumerate() {
            for prefix in &center.address_prefixes {
                let matches = text.starts_with(prefix) || bare.starts_with(prefix);
                if matches && best.is_none_or(|(length, _)| prefix.len() > length) {
                    best = Some((prefix.len(), index));
                }
            }
        }
        best.map(|(_, index)| index)
    }

    /// The name of a centre.
    #[must_use]
    pub fn name(&self, center: usize) -> Option<&str> {
        self.centers.get(center).map(|center| center.name.as_str())
    }

    /// How much ours wants to read from it.
    #[must_use]
    pub fn wish(&self, center: usize) -> Wish {
        self.centers.get(center).map_or(Wish::default(), |center| center.wish)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{address, centers};
    use super::*;

    #[test]
    fn the_longest_prefix_counts() {
        let conf =
            centers(&[("bj", "10.1", 1, 1), ("sh", "10.", 1, 1), ("gz", "10.1.2.3:7", 1, 1)]);
        let centers = DataCenters::new(Some(&conf));
        for (text, want) in [
            ("10.1.9.9:6379", Some("bj")),
            ("10.2.9.9:6379", Some("sh")),
            ("10.1.2.3:7000", Some("gz")),
            ("10.1.2.3:6379", Some("bj")),
            ("11.0.0.1:10", None),
            ("210.1.0.1:10", None),
        ] {
            let got = centers.of(&address(text)).and_then(|center| centers.name(center));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn ipv6_matches_with_and_without_brackets() {
        let conf = centers(&[("a", "2001:db8:1:", 1, 1), ("b", "[2001:db8:2:", 1, 1)]);
        let centers = DataCenters::new(Some(&conf));
        assert_eq!(centers.of(&address("[2001:db8:1::5]:6379")), Some(0));
        assert_eq!(centers.of(&address("2001:db8:2::5:6379")), Some(1));
    }

    #[test]
    fn without_centres_nothing_is_in_one() {
        let centers = DataCenters::new(None);
        assert!(!centers.are_used());
        assert_eq!(centers.of(&address("10.1.2.3:7000")), None);
        assert_eq!(centers.name(0), None);
    }

    #[test]
    fn only_the_policy_of_the_local_centre_is_used() {
        let mut conf = centers(&[("bj", "10.1", 50, 1), ("sh", "10.2", 20, 5)]);
        conf.centers[1].read_policy.clear();
        let wishes = DataCenters::new(Some(&conf));
        assert_eq!(wishes.wish(1), Wish { priority: 20, weight: 5 });
        conf.local = 1;
        let wishes = DataCenters::new(Some(&conf));
        assert_eq!(wishes.wish(1), Wish { priority: 0, weight: 0 }, "it does not list itself");
        assert_eq!(wishes.wish(7), Wish::default());
    }
}
