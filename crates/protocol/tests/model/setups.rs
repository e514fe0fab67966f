//! The worlds that are walked through whole.

use crate::{
    setup::{Fault, Sent, Setup},
    world::small::Does,
};

/// A create that is sent twice and a change, and a process that dies.
pub fn two_commands() -> Setup {
    let commands = vec![Sent::new(0, 1, Does::Create(2)).times(2), Sent::new(1, 1, Does::Add)];
    Setup { crashes: 1, ..Setup::calm(commands, 7) }
}

/// The log reports one thing wrongly, or loses it.
pub fn faulty() -> Setup {
    let commands = vec![Sent::new(0, 1, Does::Create(2)), Sent::new(1, 1, Does::Add)];
    Setup { faults: 1, fences: 3, ..Setup::calm(commands, 7) }
}

/// Two owners, three fences, three commands on two aggregates, one of two events, a crash, and a
/// log that does one thing wrongly.
pub fn three_fences(kinds: &'static [Fault]) -> Setup {
    Setup { starts: 2, faults: 1, kinds, ..three_owners() }
}

/// The same with a third owner after the crash, and a log that does nothing wrongly.
pub fn three_owners() -> Setup {
    let commands = vec![
        Sent::new(0, 1, Does::Create(2)).told_new(),
        Sent::new(1, 1, Does::Add).expecting(&[2]).told_new(),
        Sent::new(2, 2, Does::Create(1)).told_new(),
    ];
    Setup {
        starts: 3,
        fences: 3,
        crashes: 1,
        clocks: [2, 1, 3, 3, 3, 3],
        ..Setup::calm(commands, 8)
    }
}

/// `snapshots` moves on and falls back; what it has is evicted at once, and loaded again.
pub fn evicting() -> Setup {
    let commands =
        vec![Sent::new(0, 1, Does::Create(1)).times(2), Sent::new(1, 1, Does::Add).if_it_exists()];
    Setup { snapshots: 1, falls: 1, hears: true, ..Setup::calm(commands, 5) }
}

/// The same where loads fail, and an owner stops in the middle.
pub fn stopping() -> Setup {
    let commands =
        vec![Sent::new(0, 1, Does::Create(1)).times(2), Sent::new(1, 1, Does::Nothing).minted()];
    Setup { snapshots: 1, hears: true, stops: 1, load_failures: 1, ..Setup::calm(commands, 6) }
}

/// `If-Match`: two changes that expect the same version, and one that expects a version that is yet
/// to come.
pub fn expecting() -> Setup {
    let commands = vec![
        Sent::new(0, 1, Does::Create(1)).told_new(),
        Sent::new(1, 1, Does::Add).expecting(&[1]).told_new(),
        Sent::new(2, 1, Does::Add).expecting(&[1, 2]).told_new(),
    ];
    Setup::calm(commands, 6)
}

/// The same with three fences, two snapshots, and one that falls back.
pub fn evicting_with_three_fences() -> Setup {
    Setup { fences: 3, snapshots: 2, log_records: 6, ..evicting() }
}

/// A second process dies, and a third takes over.
pub fn command_queue_and_two_crashes() -> Setup {
    Setup { starts: 3, fences: 3, crashes: 2, log_records: 8, ..command_queue() }
}

/// The same with a command that is sent synchronously, too.
pub fn both_ways_and_two_crashes() -> Setup {
    Setup { starts: 3, fences: 3, crashes: 2, log_records: 8, ..both_ways() }
}

/// Two queued commands. The first needs a look-up, so that the second overtakes it.
pub fn command_queue() -> Setup {
    let commands = vec![
        Sent::new(0, 1, Does::Create(1)).times(0),
        Sent::new(1, 2, Does::Create(1)).times(0).told_new(),
    ];
    Setup { command_queue: vec![0, 1], crashes: 1, ..Setup::calm(commands, 6) }
}

/// A command that lies in the command queue twice, and is sent synchronously, too.
pub fn both_ways() -> Setup {
    let commands = vec![Sent::new(0, 1, Does::Create(1))];
    Setup { command_queue: vec![0, 0], crashes: 1, ..Setup::calm(commands, 6) }
}

/// Two queued commands, one of them with the key of one that is sent synchronously.
pub fn command_queue_and_caller() -> Setup {
    let commands = vec![
        Sent::new(0, 1, Does::Create(2)),
        Sent::new(1, 2, Does::Create(1)).times(0).told_new(),
    ];
    Setup { command_queue: vec![0, 1], crashes: 1, ..Setup::calm(commands, 7) }
}

/// A log that says that it took what it did not take. No promise can be kept; but the owner
/// notices, and ends.
pub fn lying() -> Setup {
    let commands = vec![
        Sent::new(0, 1, Does::Create(1)).told_new(),
        Sent::new(1, 2, Does::Create(1)).told_new(),
    ];
    Setup {
        starts: 1,
        fences: 2,
        faults: 2,
        kinds: &[Fault::Lie, Fault::Lost],
        ..Setup::calm(commands, 6)
    }
}

/// Larger than can be walked through: for random walks.
pub fn everything() -> Setup {
    let commands = vec![
        Sent::new(0, 1, Does::Create(2)).times(3),
        Sent::new(0, 1, Does::Create(1)).otherwise(7),
        Sent::new(1, 1, Does::Add).expecting(&[2]).times(2),
        Sent::new(2, 2, Does::Create(1)).told_new().times(2).behind(1),
        Sent::new(3, 2, Does::Nothing).minted(),
        Sent::new(4, 2, Does::Add).if_it_exists().told_fresh().times(2),
        Sent::new(5, 1, Does::Add).expecting(&[3]).times(2),
        Sent::new(6, 2, Does::Create(1)).minted(),
    ];
    Setup {
        command_queue: vec![2, 3, 5, 0],
        starts: 6,
        fences: 8,
        crashes: 2,
        stops: 2,
        faults: 4,
        snapshots: 4,
        falls: 1,
        load_failures: 2,
        ticks: 3,
        clocks: [3, 1, 4, 1, 5, 2],
        hears: true,
        ..Setup::calm(commands, 24)
    }
}
