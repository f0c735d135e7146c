//! Commands of the modules that are bundled with servers: JSON, search, time series, and the
//! probabilistic ones.
//!
//! A module checks the number of its arguments itself, so the minimum here is what it takes
//! to find the keys and make sense.

use super::super::specs::*;
use super::super::{Family, Refusal, Rights};
use super::{Row, container, keyless, read, refused, write};
use Family::{AnyServer, Undivided};
use Rights::Read;

/// Reads the search index that is its first argument.
const fn search(name: &'static str, min_args: u32) -> Row {
    read(name, min_args).keys(NAME_1)
}

/// Changes the search index, alias or dictionary that is its first argument.
const fn index(name: &'static str, min_args: u32) -> Row {
    write(name, min_args).keys(NAME_1)
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // JSON.
    write("json.arrappend", 3),
    read("json.arrindex", 4),
    write("json.arrinsert", 5),
    read("json.arrlen", 2),
    write("json.arrpop", 2),
    write("json.arrtrim", 5),
    write("json.clear", 2),
    container("json.debug", &[
        keyless("json.debug|help", 2, Read, AnyServer),
        read("json.debug|memory", 3).keys(READ_2),
    ]),
    write("json.del", 2),
    write("json.forget", 2),
    read("json.get", 2),
    write("json.merge", 4),
    read("json.mget", 3).keys(READ_ALL_BUT_LAST),
    write("json.mset", 4).keys(WRITE_TRIPLES),
    write("json.numincrby", 4),
    write("json.nummultby", 4),
    write("json.numpowby", 4),
    read("json.objkeys", 2),
    read("json.objlen", 2),
    read("json.resp", 2),
    write("json.set", 4),
    write("json.strappend", 3),
    read("json.strlen", 2),
    write("json.toggle", 2),
    read("json.type", 2),

    // Search. An index is no key, but everything said about it must reach one server: in a
    // cluster that server asks the others. A cursor exists only where it was opened, so what
    // opens one goes to a master, as what reads it does.
    index("ft.add", 4).family(Family::Refused(Refusal::OneServer)),
    index("ft.aliasadd", 3).keys(NAME_2),
    index("ft.aliasdel", 2),
    search("ft.aliaslist", 2),
    index("ft.aliasupdate", 3).keys(NAME_2),
    index("ft.alter", 3),
    search("ft.aggregate", 3).at_master(),
    refused("ft.config", 2),
    index("ft.create", 4),
    index("ft._aliasaddifnx", 3).keys(NAME_2),
    index("ft._aliasdelifx", 2),
    index("ft._alterifnx", 3),
    index("ft._createifnx", 4),
    index("ft._dropifx", 2),
    index("ft._dropindexifx", 2),
    container("ft.cursor", &[
        search("ft.cursor|del", 4).keys(NAME_2).at_master().once(),
        search("ft.cursor|gc", 2).keys(NAME_2).at_master().once(),
        search("ft.cursor|profile", 4).keys(NAME_2).at_master().once(),
        search("ft.cursor|read", 4).keys(NAME_2).at_master().once(),
    ]),
    refused("ft.debug", 1),
    index("ft.dictadd", 3),
    index("ft.dictdel", 3),
    search("ft.dictdump", 2),
    index("ft.drop", 2),
    index("ft.dropindex", 2),
    search("ft.explain", 3),
    search("ft.explaincli", 3),
    search("ft.hybrid", 3).at_master(),
    search("ft.info", 2),
    keyless("ft._list", 1, Read, AnyServer),
    search("ft.profile", 4).at_master(),
    search("ft.search", 3),
    search("ft.spellcheck", 3),
    write("ft.sugadd", 4),
    write("ft.sugdel", 3),
    read("ft.sugget", 3),
    read("ft.suglen", 2),
    search("ft.syndump", 2),
    index("ft.synupdate", 4),
    search("ft.tagvals", 3),

    // Time series. What searches them by label would need them all in one place.
    write("ts.add", 4),
    write("ts.alter", 2),
    write("ts.create", 2),
    write("ts.createrule", 6).keys(WRITE_1_2),
    write("ts.decrby", 3),
    write("ts.del", 4),
    write("ts.deleterule", 3).keys(WRITE_1_2),
    read("ts.get", 2),
    write("ts.incrby", 3),
    read("ts.info", 2),
    write("ts.madd", 4).keys(WRITE_TRIPLES),
    keyless("ts.mget", 3, Read, Undivided),
    keyless("ts.mrange", 4, Read, Undivided),
    keyless("ts.mrevrange", 4, Read, Undivided),
    read("ts.nrange", 5).keys(COUNTED_1_READ),
    read("ts.nrevrange", 5).keys(COUNTED_1_READ),
    keyless("ts.queryindex", 2, Read, Undivided),
    keyless("ts.querylabels", 2, Read, Undivided),
    read("ts.range", 4),
    read("ts.read", 3).family(Family::Blocking),
    read("ts.revrange", 4),

    // Bloom filters.
    write("bf.add", 3),
    read("bf.card", 2),
    read("bf.debug", 2),
    read("bf.exists", 3),
    read("bf.info", 2),
    write("bf.insert", 4),
    write("bf.loadchunk", 4),
    write("bf.madd", 3),
    read("bf.mexists", 3),
    write("bf.reserve", 4),
    read("bf.scandump", 3),

    // Cuckoo filters.
    write("cf.add", 3),
    write("cf.addnx", 3),
    // Registered as a read, but it rearranges the filter.
    write("cf.compact", 2),
    read("cf.count", 3),
    read("cf.debug", 2),
    write("cf.del", 3),
    read("cf.exists", 3),
    read("cf.info", 2),
    write("cf.insert", 4),
    write("cf.insertnx", 4),
    write("cf.loadchunk", 4),
    read("cf.mexists", 3),
    write("cf.reserve", 3),
    read("cf.scandump", 3),

    // Count-min sketches.
    write("cms.incrby", 4),
    read("cms.info", 2),
    write("cms.initbydim", 4),
    write("cms.initbyprob", 4),
    write("cms.merge", 4).keys(WRITE_1_COUNTED_2_READ),
    read("cms.query", 3),

    // Most frequent elements.
    write("topk.add", 3),
    read("topk.count", 3),
    write("topk.incrby", 4),
    read("topk.info", 2),
    read("topk.list", 2),
    read("topk.query", 3),
    write("topk.reserve", 3),

    // Quantiles.
    write("tdigest.add", 3),
    read("tdigest.byrank", 3),
    read("tdigest.byrevrank", 3),
    read("tdigest.cdf", 3),
    write("tdigest.create", 2),
    read("tdigest.info", 2),
    read("tdigest.max", 2),
    write("tdigest.merge", 4).keys(WRITE_1_COUNTED_2_READ),
    read("tdigest.min", 2),
    read("tdigest.quantile", 3),
    read("tdigest.rank", 3),
    write("tdigest.reset", 2),
    read("tdigest.revrank", 3),
    read("tdigest.trimmed_mean", 4),
];
