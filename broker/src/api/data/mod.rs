//! Records in and out.

pub mod current_leader;
pub mod delete_records;
pub mod down_conversion;
pub mod fetch;
pub mod list_offsets;
pub mod offset_for_leader_epoch;
pub mod produce;
