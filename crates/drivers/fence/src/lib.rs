//! Driver for the ClusterLabs fence-agents family.
