use super::*;
use crate::model::ids::Source;

fn create(bytes: usize) -> Instruction {
    Instruction::create("a", Source::Scheduler, "x".repeat(bytes))
}

#[tokio::test]
async fn instructions_come_out_in_the_order_they_came_in() {
    let queue = Queue::default();
    queue.push(create(1)).unwrap();
    queue
        .push(Instruction::destroy("a", Source::Scheduler))
        .unwrap();
    queue.close();
    assert_eq!(queue.pop().await, Some(create(1)));
    assert_eq!(
        queue.pop().await,
        Some(Instruction::destroy("a", Source::Scheduler))
    );
    assert_eq!(queue.pop().await, None);
}

#[tokio::test]
async fn a_destroy_finds_room_where_a_create_does_not() {
    let queue = Queue::default();
    for _ in 0..MAX_WAITING {
        queue.push(create(1)).unwrap();
    }
    assert_eq!(queue.push(create(1)), Err(create(1)));
    queue
        .push(Instruction::destroy("a", Source::Scheduler))
        .unwrap();
    queue.pop().await.unwrap();
    queue.pop().await.unwrap();
    queue.push(create(1)).unwrap();
}

#[tokio::test]
async fn waiting_definitions_are_bounded_in_bytes() {
    let queue = Queue::default();
    let big = 256 << 10;
    let fit = MAX_BYTES / (big + 1);
    for _ in 0..fit {
        queue.push(create(big)).unwrap();
    }
    assert!(queue.push(create(big)).is_err());
    queue.pop().await.unwrap();
    queue.push(create(big)).unwrap();
}

#[tokio::test]
async fn destroys_are_bounded_too() {
    let queue = Queue::default();
    for _ in 0..MAX_WITH_DESTROYS {
        queue
            .push(Instruction::destroy("a", Source::Scheduler))
            .unwrap();
    }
    assert!(
        queue
            .push(Instruction::destroy("a", Source::Scheduler))
            .is_err()
    );
}

#[tokio::test]
async fn a_closed_queue_takes_nothing() {
    let queue = Queue::default();
    queue.close();
    assert!(queue.push(create(1)).is_err());
    assert_eq!(queue.pop().await, None);
}
