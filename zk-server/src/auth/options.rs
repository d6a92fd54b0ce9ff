//! Pure: whom the server believes.

use crate::auth::schemes::Schemes;

/// Settings of authentication.
#[derive(Clone, Debug, Default)]
pub struct AuthOptions {
    /// The schemes that are registered.
    pub schemes: Schemes,
    /// `user:digest` of the super user.
    pub super_digest: Option<String>,
}
