//! What the operator sees of a category's commands. Made once: a look-up by labels costs as much as
//! parsing a small command.

use metrics::{Counter, Histogram, counter, histogram};
use parking_lot::RwLock;

pub struct Figures {
    category: &'static str,
    /// By what came of it, as they first come: a bounded set.
    commands: RwLock<Vec<(&'static str, Counter)>>,
    pub(super) acknowledged: Histogram,
}

impl Figures {
    pub fn new(category: &'static str) -> Self {
        Self {
            category,
            commands: RwLock::default(),
            acknowledged: histogram!("highwater_command_ack_seconds", "category" => category),
        }
    }

    pub(super) fn count(&self, outcome: &'static str) {
        let commands = self.commands.read();
        if let Some((_, commands)) = commands.iter().find(|(known, _)| *known == outcome) {
            return commands.increment(1);
        }
        drop(commands);
        let commands =
            counter!("highwater_commands_total", "category" => self.category, "outcome" => outcome);
        commands.increment(1);
        self.commands.write().push((outcome, commands));
    }
}
