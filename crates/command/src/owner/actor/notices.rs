//! What lasts on a partition and is said once, whichever actor meets it.

use highwater_runtime::resilience::Once;

pub struct Notices {
    /// The partition is not served here, though it should be.
    pub ownerless: Once,
    /// The log takes no records at all.
    pub(super) sending: Once,
    /// The log refuses single records.
    pub(super) refused: Once,
    pub(super) reading: Once,
    pub(super) loading: Once,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            ownerless: Once::new("owner-none"),
            sending: Once::new("owner-append"),
            refused: Once::new("owner-refused"),
            reading: Once::new("owner-reader"),
            loading: Once::new("owner-snapshots"),
        }
    }
}
