/** The one error that this package throws or rejects with. */

/**
 * What went wrong, to branch on:
 *
 * | code | meaning |
 * |---|---|
 * | `UNAVAILABLE` | Redis cannot be reached, or went away before it answered |
 * | `TIMEOUT` | the server was silent for `commandTimeout`; a write may or may not have been carried out |
 * | `AUTH` | Redis refused the user name or password, or the user lacks a permission |
 * | `TLS` | the TLS handshake failed, or a certificate cannot be used |
 * | `READONLY` | the server is a read-only replica |
 * | `OUT_OF_MEMORY` | Redis is at `maxmemory` and evicts nothing |
 * | `INVALID_ARGUMENT` | an option or an argument is wrong; nothing was written |
 * | `NOT_FOUND` | there is no such session |
 * | `REVOKED` | the session of this token was ended; it cannot be written any more |
 * | `CONFLICT` | write rejected: the token belongs to another user or another application, or a clock is wrong |
 * | `LIMIT` | a value is larger than `maxValueBytes`; the live session that it was to change has ended |
 * | `CLOSED` | the store was closed |
 * | `PROTOCOL` | the server is not a Redis of a supported version, or this package has a defect |
 */
export type SessionStoreErrorCode =
	| "UNAVAILABLE"
	| "TIMEOUT"
	| "AUTH"
	| "TLS"
	| "READONLY"
	| "OUT_OF_MEMORY"
	| "INVALID_ARGUMENT"
	| "NOT_FOUND"
	| "REVOKED"
	| "CONFLICT"
	| "LIMIT"
	| "CLOSED"
	| "PROTOCOL";

/** A failure of a store. Its message says what to do and holds no token, key, value, user id or password. */
export class SessionStoreError extends Error {
	override readonly name = "SessionStoreError";

	constructor(
		/** What went wrong, to branch on. */
		readonly code: SessionStoreErrorCode,
		message: string,
	) {
		super(message);
	}
}

/** The error for an argument that cannot be accepted. */
export function invalid(message: string): SessionStoreError {
	return new SessionStoreError("INVALID_ARGUMENT", message);
}
