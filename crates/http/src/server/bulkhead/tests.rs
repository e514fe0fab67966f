use std::net::{IpAddr, Ipv4Addr};

use super::*;
use highwater_runtime::clock::CountingIds;

fn bulkhead(limit: usize, waiting: usize) -> Bulkhead {
    with_share(limit, waiting, Share::MOST)
}

fn with_share(limit: usize, waiting: usize, share: Share) -> Bulkhead {
    let limits = Limits {
        limit,
        floor: 1,
        latency: None,
        waiting,
        waits_for: Duration::from_secs(1),
        share,
        retry_after: Duration::from_secs(1),
    };
    Bulkhead::new("tests", limits, Arc::new(CountingIds::default()))
}

/// Addresses that differ.
fn peer(number: u8) -> Peer {
    Peer::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)))
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_requests_wait_their_turn_and_beyond_that_they_are_refused()
-> Result<(), Problem> {
    let bulkhead = bulkhead(1, 2);
    let inside = bulkhead.enter(peer(1)).await?;
    let mut first = polled(bulkhead.enter(peer(2)));
    let mut second = polled(bulkhead.enter(peer(3)));
    assert!(first.is_waiting() && second.is_waiting());
    let refused = bulkhead.enter(peer(4)).await.err();
    assert_eq!(
        refused.map(|problem| (problem.status().as_u16(), problem.code().to_owned())),
        Some((503, "overloaded".to_owned()))
    );
    drop(inside);
    let inside = first.permit().await?;
    assert!(second.is_waiting() && bulkhead.inside() == 1);
    drop(inside);
    drop(second.permit().await?);
    assert_eq!(bulkhead.inside(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused_and_who_goes_away_is_passed() -> Result<(), Problem> {
    let bulkhead = bulkhead(1, 2);
    let inside = bulkhead.enter(peer(1)).await?;
    let begun = Instant::now();
    assert!(bulkhead.enter(peer(2)).await.is_err());
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    let mut gone = polled(bulkhead.enter(peer(2)));
    let mut stays = polled(bulkhead.enter(peer(3)));
    assert!(gone.is_waiting() && stays.is_waiting());
    drop(gone);
    // The room of the one that went is there again.
    let mut next = polled(bulkhead.enter(peer(4)));
    assert!(next.is_waiting());
    drop(inside);
    let inside = stays.permit().await?;
    drop((next, inside));
    assert_eq!(bulkhead.inside(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slot_on_its_way_to_one_that_goes_away_goes_to_the_next() -> Result<(), Problem> {
    let bulkhead = bulkhead(1, 2);
    let inside = bulkhead.enter(peer(1)).await?;
    let (mut gone, mut stays) = (polled(bulkhead.enter(peer(2))), polled(bulkhead.enter(peer(3))));
    assert!(gone.is_waiting() && stays.is_waiting());
    drop(inside);
    // It has the slot, and was never polled again.
    drop(gone);
    drop(stays.permit().await?);
    assert_eq!(bulkhead.inside(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_peer_has_at_most_its_share() -> Result<(), Problem> {
    let bulkhead = bulkhead(4, 4);
    let mut inside = Vec::new();
    for _ in 0..3 {
        inside.push(bulkhead.enter(peer(1)).await?);
    }
    let mut waiting = [(); 3].map(|()| polled(bulkhead.enter(peer(1))));
    assert!(waiting.iter_mut().all(Waits::is_waiting));
    // At once: there is room to wait, and not for this one.
    assert!(!polled(bulkhead.enter(peer(1))).is_waiting());
    // The places that it may not have are for others, who pass those that wait.
    let other = bulkhead.enter(peer(2)).await?;
    let mut next = polled(bulkhead.enter(peer(3)));
    assert!(next.is_waiting());
    drop(other);
    let other = next.permit().await?;
    assert!(waiting.iter_mut().all(Waits::is_waiting));
    drop(inside);
    let [first, second, third] = waiting;
    drop((first.permit().await?, second.permit().await?, third.permit().await?, other));
    // All is given back.
    assert!(bulkhead.0.lock().peers.is_empty() && bulkhead.inside() == 0);
    drop(bulkhead.enter(peer(1)).await?);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_given_back_goes_to_what_has_waited_longest_of_whatever_peer()
-> Result<(), Problem> {
    let bulkhead = bulkhead(4, 4);
    let mut inside = vec![
        bulkhead.enter(peer(1)).await?,
        bulkhead.enter(peer(1)).await?,
        bulkhead.enter(peer(1)).await?,
    ];
    let other = bulkhead.enter(peer(2)).await?;
    let (mut first, mut second) =
        (polled(bulkhead.enter(peer(1))), polled(bulkhead.enter(peer(2))));
    assert!(first.is_waiting() && second.is_waiting());
    inside.pop();
    let first = first.permit().await?;
    assert!(second.is_waiting());
    drop(other);
    drop((first, second.permit().await?, inside));
    assert_eq!(bulkhead.inside(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_share_of_all_is_all_places_and_all_of_the_queue()
-> Result<(), Box<dyn std::error::Error>> {
    let bulkhead = with_share(4, 4, Share::try_from(100)?);
    let mut inside = Vec::new();
    for _ in 0..4 {
        inside.push(bulkhead.enter(peer(1)).await.map_err(|problem| problem.code().to_owned())?);
    }
    let mut waiting = [(); 4].map(|()| polled(bulkhead.enter(peer(1))));
    assert!(waiting.iter_mut().all(Waits::is_waiting));
    assert!(!polled(bulkhead.enter(peer(1))).is_waiting());
    drop((inside, waiting));
    assert!(bulkhead.0.lock().peers.is_empty() && bulkhead.inside() == 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_waits_in_a_queue_that_is_full() -> Result<(), Problem> {
    let bulkhead = bulkhead(1, 0);
    let inside = bulkhead.enter(peer(1)).await?;
    assert!(bulkhead.enter(peer(1)).await.is_err());
    let Entry::Queued(turn) = bulkhead.ask_again(peer(1)) else { panic!("there is no room") };
    drop(inside);
    drop(turn.await?);
    assert_eq!(bulkhead.inside(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_limit_follows_latency_and_wakes_those_who_wait_when_it_grows() -> Result<(), Problem> {
    let limits =
        Limits { floor: 4, latency: Some(Duration::from_millis(100)), ..bulkhead(8, 8).0.limits };
    let bulkhead = Bulkhead::new("tests", limits, Arc::new(CountingIds::default()));
    let answers = async |took: u64| {
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(50)).await;
            bulkhead.answered(Instant::now(), Duration::from_millis(took));
        }
    };
    answers(300).await;
    assert_eq!(bulkhead.0.lock().limit, 6);
    answers(300).await;
    assert_eq!(bulkhead.0.lock().limit, 4);
    let mut inside = Vec::new();
    for number in 0..4 {
        inside.push(bulkhead.enter(peer(number)).await?);
    }
    let mut waits = polled(bulkhead.enter(peer(9)));
    assert!(waits.is_waiting());
    answers(10).await;
    inside.push(waits.permit().await?);
    assert_eq!(bulkhead.inside(), 5);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_gives_its_place_to_who_asks_after_a_moment()
-> Result<(), Problem> {
    let bulkhead = bulkhead(2, 0);
    let unsent =
        [bulkhead.enter(peer(1)).await?.sending(), bulkhead.enter(peer(2)).await?.sending()];
    assert!(bulkhead.enter(peer(3)).await.is_err());
    tokio::time::advance(SENT_WITHIN).await;
    let inside = [bulkhead.enter(peer(3)).await?, bulkhead.enter(peer(4)).await?];
    // They have nothing to give back any more, and those inside work on.
    drop(unsent);
    assert!(bulkhead.inside() == 2 && bulkhead.enter(peer(5)).await.is_err());
    tokio::time::advance(SENT_WITHIN).await;
    assert!(bulkhead.enter(peer(5)).await.is_err());
    drop(inside);
    // One that is sent in time gives it back itself.
    drop(bulkhead.enter(peer(1)).await?.sending());
    let state = bulkhead.0.lock();
    assert!(state.inside == 0 && state.peers.is_empty() && state.sending.since.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_ends_behind_an_answer_that_stands_still_is_not_kept_for_longer_than_a_moment()
-> Result<(), Problem> {
    let bulkhead = bulkhead(1_000, 0);
    let stands_still = bulkhead.enter(peer(1)).await?.sending();
    for _ in 0..10_000 {
        drop(bulkhead.enter(peer(2)).await?.sending());
        tokio::time::advance(SENT_WITHIN / 100).await;
        let kept = bulkhead.0.lock().sending.since.len();
        assert!(kept <= 101, "{kept} answers");
    }
    assert_eq!(
        bulkhead.inside(),
        0,
        "the place of an answer that stands still is not taken from it"
    );
    drop(stands_still);
    assert_eq!((bulkhead.inside(), bulkhead.0.lock().peers.len()), (0, 0));
    Ok(())
}

/// A request that may have to wait, polled by hand.
struct Waits<F>(std::pin::Pin<Box<F>>);

fn polled<F: Future<Output = Result<Permit, Problem>>>(enter: F) -> Waits<F> {
    Waits(Box::pin(enter))
}

impl<F: Future<Output = Result<Permit, Problem>>> Waits<F> {
    fn is_waiting(&mut self) -> bool {
        futures_util::FutureExt::now_or_never(self.0.as_mut()).is_none()
    }

    async fn permit(self) -> Result<Permit, Problem> {
        self.0.await
    }
}
