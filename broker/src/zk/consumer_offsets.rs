//! Shell: offsets of consumer groups in `ZooKeeper`, where version 0 of OffsetCommit and
//! OffsetFetch keeps them: `/consumers/<group>/offsets/<topic>/<partition>` holds the offset as
//! decimal text (`ZkData.ConsumerOffset`).

use bytes::Bytes;
use common::zk::code::ErrorCode;

use crate::zk::error::StoreError;
use crate::zk::store::{ANY_VERSION, ZkStore};

fn path(group_id: &str, topic: &str, partition: i32) -> String {
    format!("/consumers/{group_id}/offsets/{topic}/{partition}")
}

impl ZkStore {
    /// Stores an offset, and makes the nodes above it if they are missing.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn set_consumer_offset(
        &self,
        group_id: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), StoreError> {
        let path = path(group_id, topic, partition);
        let data = Some(Bytes::from(offset.to_string()));
        match self.set(&path, data.clone(), ANY_VERSION).await {
            Err(error) if error.is(ErrorCode::NoNode) => self.create_recursive(&path, data).await,
            result => result.map(|_| ()),
        }
    }

    /// Reads an offset; `None` if there is none.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn consumer_offset(
        &self,
        group_id: &str,
        topic: &str,
        partition: i32,
    ) -> Result<Option<i64>, StoreError> {
        let found = self.get(&path(group_id, topic, partition), false).await?;
        let text = found.and_then(|(data, _)| data);
        let text = text
            .as_deref()
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        Ok(text.and_then(|text| text.parse().ok()))
    }
}
