//! Shell: our broker alone against Apache's: what it advertises, how it starts and ends, and what hostile bytes do.

mod advertised;
mod answers;
mod compaction;
mod compaction_times;
mod directories;
mod directory_spoils;
mod disks;
mod early_stop;
mod exactly_once;
mod expired_producers;
mod group_commands;
mod group_load;
mod group_protocol;
mod hostile;
mod java_versions;
mod lost_disk;
mod old_groups;
mod random_groups;
mod running_log;
mod spoiled;
mod spoils;
mod start_and_stop;
mod transactions;
mod wire;
