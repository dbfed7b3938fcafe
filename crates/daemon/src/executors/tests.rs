//! What holds for every order, whatever its action.

use super::*;
use mainstay_model::{StopHow, Time};
use mainstay_store::Store;
use std::time::Duration;
use tokio::time::timeout;

async fn executors(directory: &std::path::Path) -> (Executors, mpsc::Receiver<Input>) {
    let store = Store::open(&directory.join("mainstay.db")).await.unwrap();
    let (memory, _) = Memory::open(store, Time(0)).await.unwrap();
    let (_, spec) = watch::channel(Arc::new(ClusterSpec::default()));
    let tools = Tools {
        clock: Clock::start(Time(0)),
        memory,
        links: Links::default(),
        spec,
        pictures: directory.join("incidents"),
        hook_turns: HookTurns::default(),
        die_at: None,
    };
    let (outcomes, received) = mpsc::channel(16);
    (Executors::new(tools, outcomes), received)
}

fn order(executors: &Executors, id: u64, epoch: u64) -> Order {
    let action = Action::Stop { workload: "web-1".into(), host: "h1".into(), how: StopHow::Force };
    let deadline = executors.tools.clock.now() + mainstay_model::Span::secs(10);
    Order { id: ActionId(id), epoch: Epoch(epoch), action, deadline }
}

async fn outcome(received: &mut mpsc::Receiver<Input>) -> (ActionId, Outcome) {
    match timeout(Duration::from_secs(300), received.recv()).await.unwrap().unwrap() {
        Input::Outcome { id, outcome } => (id, outcome),
        other => panic!("{other:?}"),
    }
}

fn kind(outcome: &Outcome) -> FailureKind {
    match outcome {
        Outcome::Failed { error } => error.kind,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable_and_the_same_order_twice_has_one_answer() {
    let directory = tempfile::tempdir().unwrap();
    let (mut executors, mut received) = executors(directory.path()).await;
    executors.dispatch(order(&executors, 1, 3));
    let first = outcome(&mut received).await;
    assert_eq!((first.0, kind(&first.1)), (ActionId(1), FailureKind::Unreachable));
    executors.dispatch(order(&executors, 1, 3));
    assert_eq!(outcome(&mut received).await, first);
}

/// The scenario: the process stood still with this order in its hands, and another controller took over meanwhile.
#[tokio::test]
async fn nothing_is_done_once_another_controller_has_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let (mut executors, mut received) = executors(directory.path()).await;
    std::fs::remove_file(directory.path().join("mainstay.db.lock")).unwrap();
    let _newer = Store::open(&directory.path().join("mainstay.db")).await.unwrap();
    executors.dispatch(order(&executors, 1, 3));
    let (_, refused) = outcome(&mut received).await;
    assert_eq!(kind(&refused), FailureKind::OldEpoch);
    assert!(refused.to_string().contains("took over"), "{refused}");
}

#[tokio::test]
async fn an_order_of_an_older_term_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut executors, mut received) = executors(directory.path()).await;
    executors.dispatch(order(&executors, 2, 4));
    outcome(&mut received).await;
    executors.dispatch(order(&executors, 1, 3));
    let (id, refused) = outcome(&mut received).await;
    assert_eq!((id, kind(&refused)), (ActionId(1), FailureKind::OldEpoch));
}
