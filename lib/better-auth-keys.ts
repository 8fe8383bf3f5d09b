/** The families of Better Auth's keys that this package treats in a special way. */

/** What the keys of Better Auth's own lists of a user's sessions begin with. */
export const SESSION_LIST_PREFIX = "active-sessions-";

/** What the keys of not-before markers begin with: a user's sessions from before that time, in ms since the epoch, are ended. */
export const NOT_BEFORE_PREFIX = "revoked-sessions-before-";
