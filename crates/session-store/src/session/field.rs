//! The member names that Better Auth and the guide give to a session's own data.

pub(super) const SESSION: &str = "session";
pub(super) const USER: &str = "user";
pub(super) const TOKEN: &str = "token";
pub(super) const USER_ID: &str = "userId";
pub(super) const CREATED_AT: &str = "createdAt";
pub(super) const UPDATED_AT: &str = "updatedAt";
pub(super) const EXPIRES_AT: &str = "expiresAt";
pub(super) const IMPERSONATED_BY: &str = "impersonatedBy";
pub(super) const TWO_FACTOR_ENABLED: &str = "twoFactorEnabled";
