//! Which principal asks, and what only it may see. Authentication is off in this release: every
//! caller that asks is `anonymous`, as is every caller that sends commands.

use highwater_runtime::identity::DeploymentKeys;
use uuid::Uuid;

/// As the command side calls every caller.
const ANONYMOUS: &str = "anonymous";

/// Tells who issued a command by the pseudonym in its records, which only the deployment keys can
/// make.
#[derive(Clone, Debug)]
pub struct Viewers {
    anonymous: Option<Uuid>,
}

impl Viewers {
    pub fn new(keys: Option<&DeploymentKeys>) -> Self {
        Self { anonymous: keys.map(|keys| keys.actor_id(ANONYMOUS)) }
    }

    /// Whether the caller is the one that issued it. The one place that decides it. Without the
    /// keys callers cannot be told apart; nor need they be, while every caller is the same
    /// principal.
    pub fn may_see(&self, issuer: Option<Uuid>) -> bool {
        match (self.anonymous, issuer) {
            (Some(asking), Some(issuer)) => asking == issuer,
            (None, _) | (_, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_principal_issued_is_not_seen() -> Result<(), highwater_runtime::identity::Error>
    {
        let keys = DeploymentKeys::parse(
            "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        )?;
        let viewers = Viewers::new(Some(&keys));
        assert!(viewers.may_see(Some(keys.actor_id("anonymous"))));
        assert!(!viewers.may_see(Some(keys.actor_id("process"))));
        assert!(Viewers::new(None).may_see(Some(Uuid::nil())));
        Ok(())
    }
}
