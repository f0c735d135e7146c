//! Answers of real clusters to CLUSTER NODES, for the tests.
