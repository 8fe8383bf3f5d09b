/** The error that this package throws and rejects with. */

/**
 * The code of an error, to branch on. docs/errors.md has the same table.
 *
 * | code | meaning |
 * |---|---|
 * | `UNAVAILABLE` | Redis cannot be reached, went away before it answered, or refuses commands for now (`BUSY`, `NOREPLICAS`, `MISCONF`, a quota). Temporary |
 * | `TIMEOUT` | the server was silent for `commandTimeout`. A write may or may not have been carried out. Temporary |
 * | `AUTH` | Redis refused the login, or the user lacks a permission |
 * | `TLS` | the TLS handshake failed, or a certificate cannot be used |
 * | `READONLY` | the server is a replica; connect to its primary |
 * | `OUT_OF_MEMORY` | Redis is at `maxmemory`. Reads and sign-outs still work |
 * | `INVALID_ARGUMENT` | an option or an argument is wrong; nothing was written |
 * | `NOT_FOUND` | there is no such session |
 * | `REVOKED` | the session was ended and cannot be written again |
 * | `CONFLICT` | write rejected: the token belongs to another user or another application, the key holds no counter, or a clock is wrong |
 * | `LIMIT` | a value is larger than `maxValueBytes`. Nothing was written, and the live session that it was to change has ended |
 * | `CLOSED` | the store was closed |
 * | `PROTOCOL` | the server is not Redis 6.2 or later, or Valkey; or this package has a defect |
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

/**
 * A failure of a store. Its message says how to mend the problem. It holds no token, key, value, user id or password.
 *
 * @example
 * ```ts
 * try {
 *   await storage.get(key);
 * } catch (error) {
 *   if (error instanceof SessionStoreError && error.code === "UNAVAILABLE") return new Response(null, { status: 503 });
 *   throw error;
 * }
 * ```
 */
export class SessionStoreError extends Error {
	override readonly name = "SessionStoreError";

	constructor(
		/** The kind of failure, to branch on. */
		readonly code: SessionStoreErrorCode,
		message: string,
	) {
		super(message);
	}
}

/** An `INVALID_ARGUMENT` error. */
export function invalid(message: string): SessionStoreError {
	return new SessionStoreError("INVALID_ARGUMENT", message);
}
