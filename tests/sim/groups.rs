//! Groups of a master and its replicas that know nothing of each other. Which key belongs to which
//! group is the proxy's business; here it is checked.

use super::cluster::tag_of;
use super::model::{Model, Standing};
use super::plan::Plan;
use super::wire;

/// All groups, in the order of the configuration.
pub struct Groups {
    pub all: Vec<Group>,
}

/// One group.
pub struct Group {
    pub name: String,
    pub members: Vec<usize>,
    /// Who is it, as all will know in the end.
    pub master: usize,
    /// How often that has changed.
    pub epoch: u64,
}

impl Groups {
    pub fn new(plan: &Plan) -> Groups {
        let group = |master: usize| Group {
            name: format!("shard{master}"),
            members: (0..plan.members())
                .filter(|node| *node == master || plan.replicas_of(master).contains(node))
                .collect(),
            master,
            epoch: 1,
        };
        Groups { all: (0..plan.masters).map(group).collect() }
    }

    /// The group of a key.
    pub fn group_of(&self, key: &[u8]) -> &Group {
        &self.all[self.index_of(key)]
    }

    fn index_of(&self, key: &[u8]) -> usize {
        usize::from(crc16::State::<crc16::XMODEM>::calculate(tag_of(key))) % self.all.len()
    }

    /// The group that a server belongs to.
    pub fn group_with(&self, node: usize) -> usize {
        self.all.iter().position(|group| group.members.contains(&node)).unwrap_or(0)
    }
}

/// The database of a key, which is a part of its name.
pub fn database_of(key: &[u8]) -> u32 {
    let tag = String::from_utf8_lossy(tag_of(key)).into_owned();
    tag.rsplit_once('d').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

impl Model {
    /// What keeps a server from executing a request.
    pub fn refer_by_group(
        &self,
        node: usize,
        standing: Standing,
        keys: &[&[u8]],
        writes: bool,
    ) -> Option<Vec<u8>> {
        let groups = self.groups();
        for key in keys {
            let group = groups.group_of(key);
            assert!(
                group.members.contains(&node),
                "a key of {} came to another group: {}",
                group.name,
                wire::shown(key)
            );
            assert_eq!(
                standing.database,
                database_of(key),
                "the wrong database for {}",
                wire::shown(key)
            );
        }
        match self.data.master_of(node) {
            Some(_) if writes => {
                Some(b"-READONLY You can't write against a read only replica.\r\n".to_vec())
            }
            Some(_) => self.master_down(node),
            None => None,
        }
    }

    /// Makes a replica the master of a group. What it does not have is lost, and so is what the
    /// old master writes until it is told.
    pub fn promote_in_group(&mut self, group: usize, heir: usize) {
        let old = self.groups().all[group].master;
        self.data.take_over(old, heir, |_| true);
        let group = &mut self.groups_mut().all[group];
        group.master = heir;
        group.epoch += 1;
    }

    /// Tells a server of a group whom to follow.
    pub fn demote_in_group(&mut self, node: usize) {
        let groups = self.groups();
        let master = groups.all[groups.group_with(node)].master;
        if node != master && self.data.master_of(node) != Some(master) {
            self.data.follow(node, master, self.sync_us);
        }
    }

    pub fn settle_groups(&mut self) {
        for node in 0..self.nodes.len() {
            self.demote_in_group(node);
        }
        self.sentinels_learn_all();
    }
}
