/** What is checked before an argument crosses the border. Lengths and contents are checked behind it. */
import { invalid } from "./error.js";
import { clientIn, type StoreOptions } from "./options.js";

/** A store's options, from a URL or as they are. */
export function checkOptions(options: string | StoreOptions | undefined): StoreOptions {
	if (options === undefined) return {};
	if (typeof options === "string") return { url: options };
	if (typeof options === "object" && options !== null && !Array.isArray(options)) {
		const client = clientIn(options);
		if (client !== undefined) {
			throw invalid(
				`${client}: a Redis client cannot be used, the store has a connection of its own; give it the same server, for example "redis://localhost:6379" or { host, port, password } (docs/options-from-ioredis.md)`,
			);
		}
		return options;
	}
	throw invalid("options: must be a Redis URL or an object of options");
}

export function checkString(name: string, text: unknown): string {
	if (typeof text !== "string") throw invalid(`${name}: must be a string, not ${kind(text)}`);
	return text;
}

/** A text that survives the way to UTF-8 and back. */
export function checkText(name: string, text: unknown): string {
	const string = checkString(name, text);
	if (!string.isWellFormed()) throw invalid(`${name}: holds half of a surrogate pair, which cannot be stored`);
	return string;
}

/** The longest key, in bytes of UTF-8. */
const MAX_KEY_BYTES = 4096;

/** A key, token or user id. Checked here in full, because reads cross the border together: one wrong key must not fail the others. */
export function checkKey(name: string, key: unknown): string {
	const text = checkText(name, key);
	if (text === "") throw invalid(`${name}: must not be empty`);
	if (text.includes("\0")) throw invalid(`${name}: must not hold a NUL character`);
	if (isTooLong(text)) {
		throw invalid(`${name}: has ${Buffer.byteLength(text)} bytes; at most ${MAX_KEY_BYTES} are allowed`);
	}
	return text;
}

/**
 * Whether something can lie under a key: what `checkKey` refuses is never stored. A stranger chooses keys (cookies, bearer tokens, tokens
 * in links), so reading or ending one that cannot be stored is no error.
 */
export function isStorable(key: string): boolean {
	return key !== "" && !key.includes("\0") && key.isWellFormed() && !isTooLong(key);
}

function isTooLong(key: string): boolean {
	return key.length > MAX_KEY_BYTES / 3 && Buffer.byteLength(key) > MAX_KEY_BYTES;
}

/** What the keys of Better Auth's own lists of a user's sessions begin with. */
export const LIST_PREFIX = "active-sessions-";

/** What the keys of the times before which a user's sessions are revoked begin with, in ms since the epoch. */
export const REVOKED_BEFORE = "revoked-sessions-before-";

/** Better Auth's list of a user's sessions, by how it begins and ends: it may be long, and nothing of it is used. */
const LIST = /^\s*\[\s*(\]|\{\s*"(token|expiresAt)"\s*:)/;

/** Refuses what is no list of Better Auth's: a wrapper that encrypts values would make the user's sessions unreadable. */
export function checkList(value: string): void {
	if (LIST.test(value) && value.trimEnd().endsWith("]")) return;
	throw invalid(
		"value: active-sessions-<user> must be Better Auth's list of sessions; do not encrypt or transform values on their way to the storage",
	);
}

/** A life in s. */
export function checkTtl(ttl: unknown): number {
	if (typeof ttl === "number" && Number.isFinite(ttl)) return ttl;
	throw invalid(`ttl: must be a finite number of seconds, not ${typeof ttl === "number" ? ttl : kind(ttl)}`);
}

/** An object as JSON. */
export function checkJson(name: string, object: unknown): string {
	if (typeof object !== "object" || object === null || Array.isArray(object)) {
		throw invalid(`${name}: must be an object, not ${kind(object)}`);
	}
	let json: string | undefined;
	try {
		json = JSON.stringify(object);
	} catch {
		throw invalid(`${name}: cannot be written as JSON; it holds itself or a bigint`);
	}
	return checkText(`${name} as JSON`, json);
}

/** A date, or something that says one, in ms since the epoch. */
export function checkDate(name: string, date: unknown): number {
	const ms =
		date instanceof Date || typeof date === "string" || typeof date === "number"
			? new Date(date).getTime()
			: Number.NaN;
	if (Number.isNaN(ms)) throw invalid(`${name}: must be a valid date`);
	return ms;
}

function kind(value: unknown): string {
	return value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
}
