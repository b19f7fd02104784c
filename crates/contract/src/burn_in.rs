//! Asking for a burn-in: `POST /v1/nodes/REF/burn-in` carries a [`BurnInRequest`] and gives a
//! [`ReimageReply`](crate::operator_api::ReimageReply).

use serde::{Deserialize, Serialize};

/// The longest burn-in; the session in the ramdisk lasts two hours.
pub const BURN_IN_MINUTES_MAX: u32 = 60;

/// Let a node work under load in the ramdisk, compare it with its like, and write nothing to its disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurnInRequest {
    /// For how long, 1 to [`BURN_IN_MINUTES_MAX`].
    pub minutes: u32,
}
