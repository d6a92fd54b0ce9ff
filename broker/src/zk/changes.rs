//! Shell: notifications of changed configs, as every broker follows them
//! (`common/ZkNodeChangeNotificationListener.scala`).
//!
//! `/config/changes` has one sequential node for each change, with the path of the entity. They are
//! handled in order, each once per life of the process; whoever handles one reads the whole entity
//! again. Nodes older than 15 minutes are deleted by whoever sees them.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::zk::error::StoreError;
use crate::zk::paths;
use crate::zk::store::{StoreEvent, ZkStore, now_ms};
use crate::zk::znodes;

/// Age at which notifications are deleted, in ms.
const EXPIRATION_MS: i64 = 15 * 60 * 1000;

/// Changes are handled until this is dropped.
#[derive(Debug)]
pub struct ConfigChanges {
    task: JoinHandle<()>,
}

impl Drop for ConfigChanges {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ConfigChanges {
    /// Handles the notifications that are there, then goes on in the background. `apply` gets the
    /// entity type (`topics`, `brokers`, `clients`, `users`, `ips`), the rest of the entity's path
    /// (a topic, a broker id, `<default>`, `<user>/clients/<client>`), and the entity's overrides.
    ///
    /// # Errors
    /// When `ZooKeeper` refuses or the session is over.
    pub async fn start<F>(store: Arc<ZkStore>, apply: F) -> Result<Self, StoreError>
    where
        F: Fn(&str, &str, Vec<(String, String)>) + Send + Sync + 'static,
    {
        let mut events = store.subscribe();
        let mut last = -1;
        handle(&store, &mut last, &apply).await?;
        let task = tokio::spawn(async move { follow(&store, &mut events, last, apply).await });
        Ok(Self { task })
    }
}

async fn follow<F>(
    store: &ZkStore,
    events: &mut mpsc::UnboundedReceiver<StoreEvent>,
    mut last: i64,
    apply: F,
) where
    F: Fn(&str, &str, Vec<(String, String)>) + Send + Sync,
{
    while let Some(event) = events.recv().await {
        let is_news = match &event {
            StoreEvent::Node { path, .. } => path == paths::CONFIG_CHANGES,
            StoreEvent::Renewed => true,
            StoreEvent::Expired(_) => false,
        };
        drop(event);
        if is_news && let Err(error) = handle(store, &mut last, &apply).await {
            tracing::error!(%error, "cannot handle config changes");
        }
    }
}

/// Handles all notifications after `last`, leaves a watch, and deletes those that are too old.
async fn handle<F>(store: &ZkStore, last: &mut i64, apply: &F) -> Result<(), StoreError>
where
    F: Fn(&str, &str, Vec<(String, String)>),
{
    let children = store.children(paths::CONFIG_CHANGES, true).await?;
    let number = |child: &String| {
        child
            .strip_prefix(paths::CONFIG_CHANGE_PREFIX)?
            .parse::<i64>()
            .ok()
    };
    let mut numbered: Vec<(i64, String)> = children
        .iter()
        .filter_map(|child| Some((number(child)?, child.clone())))
        .collect();
    numbered.sort_unstable();
    let now = now_ms();
    for (number, child) in numbered {
        let path = format!("{}/{child}", paths::CONFIG_CHANGES);
        let Some((data, stat)) = store.get(&path, false).await? else {
            continue;
        };
        if number > *last {
            match znodes::decode_config_change(&data.unwrap_or_default()) {
                Ok(entity) => apply_change(store, &entity, apply).await?,
                Err(error) => tracing::error!(%error, path, "cannot read config change"),
            }
            *last = number;
        }
        if now - stat.ctime > EXPIRATION_MS {
            store.delete(&path).await?;
        }
    }
    Ok(())
}

async fn apply_change<F>(store: &ZkStore, entity: &str, apply: &F) -> Result<(), StoreError>
where
    F: Fn(&str, &str, Vec<(String, String)>),
{
    let Some((entity_type, name)) = entity.split_once('/') else {
        return Ok(());
    };
    let config = store.entity_config(entity_type, name).await?;
    tracing::info!(entity, "config changed");
    apply(entity_type, name, config);
    Ok(())
}
