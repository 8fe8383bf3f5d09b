/** User name and password by a function, which the native side asks at each connection, and again before a password expires. */
import * as native from "#native";

/** What to log in with. */
export interface Credentials {
	/** User name (ACL). Default: option `username`. */
	username?: string | undefined;
	/** Password, or a token that stands for one. */
	password: string;
	/**
	 * When the password expires, in ms since the epoch. Live connections then ask the function again and log in again, when 80 % of the time
	 * until then is over. Default: it does not expire.
	 */
	expiresAt?: number | Date | null | undefined;
}

/** Is asked at each connection, also when one was lost, and again before what it gave expires. */
export type CredentialsFunction = () => Credentials | Promise<Credentials>;

/** Asks a function, and hands on what it resolves to. What it says when it fails may hold a secret, so it is not repeated. */
export async function ask(border: number, question: number, credentials: CredentialsFunction): Promise<void> {
	let given: unknown;
	try {
		given = await credentials();
	} catch (error) {
		const kind = error instanceof Error && /^\w{1,40}$/.test(error.name) ? ` with ${error.name}` : "";
		native.refuse(border, question, false, `rejected${kind}; what it says is not repeated here, it may hold a secret`);
		return;
	}
	const problem = problemOf(given);
	if (problem !== undefined) {
		native.refuse(border, question, true, `must resolve to { username?, password, expiresAt? }; ${problem}`);
		return;
	}
	const { username, password, expiresAt } = given as Credentials;
	const expiry = expiresAt === null || expiresAt === undefined ? undefined : Number(expiresAt);
	native.answer(border, question, password, username || undefined, expiry);
}

function problemOf(given: unknown): string | undefined {
	if (typeof given !== "object" || given === null) return `it resolved to ${given === null ? "null" : typeof given}`;
	const { username, password, expiresAt } = given as Partial<Credentials>;
	if (typeof password !== "string" || password === "") return "password is no string, or empty";
	if (username !== undefined && typeof username !== "string") return "username is no string";
	if (![username ?? "", password].every((text) => text.isWellFormed())) return "it holds half of a surrogate pair";
	return problemOfExpiry(expiresAt);
}

/** Before this, a number of ms lies in 1973 or earlier; a number of s in our days is below it. */
const LEAST_EXPIRY = 1e11;

function problemOfExpiry(expiresAt: unknown): string | undefined {
	if (expiresAt === undefined || expiresAt === null) return undefined;
	const isDate = expiresAt instanceof Date;
	if (!isDate && typeof expiresAt !== "number") {
		return `expiresAt is a ${typeof expiresAt}; give ms since the epoch, or a Date`;
	}
	if (!Number.isFinite(Number(expiresAt))) return `expiresAt is ${isDate ? "an invalid Date" : "no finite number"}`;
	if (Number(expiresAt) >= LEAST_EXPIRY) return undefined;
	return "expiresAt lies before 1974; give ms since the epoch, not seconds";
}
