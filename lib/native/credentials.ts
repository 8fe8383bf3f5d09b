/** The application's function for user name and password. The addon requests it at each connection, and again before a password expires. */
import * as native from "#native";

/** User name and password for a login. */
export interface Credentials {
	/** User name (ACL). Default: option `username`. */
	username?: string | undefined;
	/** Password, or a token in its place. */
	password: string;
	/**
	 * When the password expires, in ms since the epoch. After 80 % of the time until then, live connections call the function and log in again.
	 * Default: it does not expire.
	 */
	expiresAt?: number | Date | null | undefined;
}

/** Returns the credentials. The store calls it at each connection, reconnections included, and again before the credentials expire. */
export type CredentialsFunction = () => Credentials | Promise<Credentials>;

/** A smaller number is a date before 1974 in ms. So a time of today in s, passed by mistake, is recognized. */
const MIN_EXPIRES_AT_MS = 1e11;

/** Calls the function and answers a request with its result. The message of its error may hold a secret, so it is not repeated. */
export async function answerCredentials(
	instance: number,
	request: number,
	credentials: CredentialsFunction,
): Promise<void> {
	let result: unknown;
	try {
		result = await credentials();
	} catch (error) {
		const kind = error instanceof Error && /^\w{1,40}$/.test(error.name) ? ` with ${error.name}` : "";
		const problem = `rejected${kind}; its message is omitted, because it may contain a secret`;
		native.rejectCredentials(instance, request, false, problem);
		return;
	}
	const problem = problemOf(result);
	if (problem !== undefined) {
		const message = `must resolve to { username?, password, expiresAt? }; ${problem}`;
		native.rejectCredentials(instance, request, true, message);
		return;
	}
	const { username, password, expiresAt } = result as Credentials;
	const expiresAtMs = expiresAt === null || expiresAt === undefined ? undefined : Number(expiresAt);
	native.answerCredentials(instance, request, password, username || undefined, expiresAtMs);
}

function problemOf(result: unknown): string | undefined {
	if (typeof result !== "object" || result === null) {
		return `it resolved to ${result === null ? "null" : typeof result}`;
	}
	const { username, password, expiresAt } = result as Partial<Credentials>;
	if (typeof password !== "string" || password === "") return "password must be a string that is not empty";
	if (username !== undefined && typeof username !== "string") return "username must be a string";
	if (![username ?? "", password].every((text) => text.isWellFormed())) return "it holds half of a surrogate pair";
	return problemOfExpiry(expiresAt);
}

function problemOfExpiry(expiresAt: unknown): string | undefined {
	if (expiresAt === undefined || expiresAt === null) return undefined;
	const isDate = expiresAt instanceof Date;
	if (!isDate && typeof expiresAt !== "number") {
		return `expiresAt is a ${typeof expiresAt}; give ms since the epoch, or a Date`;
	}
	if (!Number.isFinite(Number(expiresAt))) return `expiresAt is ${isDate ? "an invalid Date" : "no finite number"}`;
	if (Number(expiresAt) >= MIN_EXPIRES_AT_MS) return undefined;
	return "expiresAt lies before 1974; give ms since the epoch, not seconds";
}
