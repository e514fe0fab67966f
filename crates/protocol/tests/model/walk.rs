//! Random walks through worlds that are too large to be walked through whole. The same seed walks
//! the same way.

use std::time::{Duration, Instant};

use stateright::Model;

use crate::{setup::Setup, trace, world::World};

/// Walks for so long, each time to the end, and says how far it came. `Err`: the shortest walk that
/// broke a promise within that time.
#[expect(clippy::disallowed_methods, reason = "walks for so long")]
pub fn walk(setup: &Setup, seed: u64, within: Duration) -> Result<String, String> {
    let (began, mut random) = (Instant::now(), seed);
    let (mut walks, mut steps, mut ended) = (0_u64, 0_u64, 0_u64);
    while began.elapsed() < within {
        let (mut world, mut taken, mut actions) = (World::new(setup), Vec::new(), Vec::new());
        loop {
            actions.clear();
            setup.actions(&world, &mut actions);
            actions.retain(|action| setup.next_state(&world, *action).is_some());
            if actions.is_empty() {
                break;
            }
            let action =
                actions[usize::try_from(next(&mut random) % actions.len() as u64).unwrap_or(0)];
            world.act(setup, action);
            taken.push(action);
            if world.broken_promise(setup).is_some() {
                return Err(format!("seed {seed}, walk {walks}: {}", trace::told(setup, &taken)));
            }
        }
        walks += 1;
        steps += taken.len() as u64;
        ended += u64::from(world.is_at_its_end(setup));
    }
    Ok(format!(
        "{walks} walks of {} steps on average, {ended} to the end of every command; {}",
        steps / walks.max(1),
        setup.bounds()
    ))
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
