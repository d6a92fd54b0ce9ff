//! Shell: does in `ZooKeeper` what the controller's machine asks for.

use std::collections::BTreeSet;

use crate::controller::effects::{Answer, Question};
use crate::zk::cluster::Office;
use crate::zk::error::StoreError;
use crate::zk::store::ZkStore;
use crate::zk::znodes::StateWrite;

/// Does in `ZooKeeper` what the machine asks for. What fails without the office being lost is an
/// answer too, so that the machine can go on.
pub(super) async fn answer(
    store: &ZkStore,
    office: Office,
    unclean_default: bool,
    question: Question,
) -> Result<Answer, StoreError> {
    let version = office.epoch_version;
    let states = |result: Result<Vec<StateWrite>, StoreError>, count: usize| {
        let failed = |error: StoreError| vec![StateWrite::Failed(error.to_string()); count];
        Ok(Answer::States(tolerate(result)?.unwrap_or_else(failed)))
    };
    let done = |result: Result<(), StoreError>| {
        if let Err(error) = tolerate(result)? {
            tracing::error!(%error, "write of the controller failed");
        }
        Ok(Answer::Done)
    };
    match question {
        Question::CreateStates(new) => states(store.create_states(version, &new).await, new.len()),
        Question::UpdateStates(new) => states(
            store.update_states(version, office.epoch, &new).await,
            new.len(),
        ),
        Question::UncleanTopics(topics) => {
            let topics: Vec<String> = topics.into_iter().collect();
            let configs = tolerate(store.entity_configs("topics", &topics).await)?;
            let allowed = |config: &[(String, String)]| {
                let set = config
                    .iter()
                    .find(|(key, _)| key == "unclean.leader.election.enable");
                set.map_or(unclean_default, |(_, value)| {
                    value.eq_ignore_ascii_case("true")
                })
            };
            let allowed = match configs {
                Ok(configs) => topics.into_iter().zip(configs).filter(|(_, c)| allowed(c)),
                Err(error) => {
                    tracing::error!(%error, "cannot read topic configs");
                    return Ok(Answer::UncleanTopics(BTreeSet::new()));
                }
            };
            Ok(Answer::UncleanTopics(
                allowed.map(|(topic, _)| topic).collect(),
            ))
        }
        Question::DeleteTopic(topic) => done(store.delete_topic(version, &topic).await),
        Question::DropDeletions(topics) => done(store.drop_deletions(version, &topics).await),
        Question::WriteAssignment(topic, assignment) => done(
            store
                .set_assignment_as_controller(version, &topic, &assignment)
                .await,
        ),
        Question::RemovePreferredElection => done(store.remove_preferred_election(version).await),
    }
}

/// Passes on only the errors that end the term.
fn tolerate<T>(result: Result<T, StoreError>) -> Result<Result<T, StoreError>, StoreError> {
    match result {
        Err(error) if matches!(error, StoreError::ControllerMoved) || error.is_session_over() => {
            Err(error)
        }
        result => Ok(result),
    }
}
