/** Checks of arguments before they cross the native boundary. Lengths and contents of values are checked behind it. */
import { invalid } from "./error.js";
import { MAX_KEY_BYTES } from "./native/facts.js";
import { clientIn, type StoreOptions } from "./options.js";

/** A store's options, from a URL or from an object. */
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
	if (typeof text !== "string") throw invalid(`${name}: must be a string, not ${kindOf(text)}`);
	return text;
}

/** A text that stays the same when it is written as UTF-8 and read back. */
export function checkText(name: string, text: unknown): string {
	const string = checkString(name, text);
	if (!string.isWellFormed()) throw invalid(`${name}: holds half of a surrogate pair, which cannot be stored`);
	return string;
}

/** A key, token or user id. Checked here in full, because reads cross the native boundary together: one wrong key must not fail the others. */
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
 * Whether a value can be stored under a key: not under one that `checkKey` refuses. Strangers choose keys (cookies, bearer tokens, tokens in
 * links), so reading or ending a key that cannot be stored is no error.
 */
export function isStorable(key: string): boolean {
	return key !== "" && !key.includes("\0") && key.isWellFormed() && !isTooLong(key);
}

function isTooLong(key: string): boolean {
	return key.length > MAX_KEY_BYTES / 3 && Buffer.byteLength(key) > MAX_KEY_BYTES;
}

/** The beginning of Better Auth's list of a user's sessions. The rest is not checked, because it may be long and is not used. */
const SESSION_LIST = /^\s*\[\s*(\]|\{\s*"(token|expiresAt)"\s*:)/;

/** Refuses a value that is not Better Auth's list: a wrapper that encrypts values would make the user's sessions unreadable. */
export function checkSessionList(value: string): void {
	if (SESSION_LIST.test(value) && value.trimEnd().endsWith("]")) return;
	throw invalid(
		"value: active-sessions-<user> must be Better Auth's list of sessions; do not encrypt or transform values on their way to the storage",
	);
}

/** A time to live in s. */
export function checkTtl(ttl: unknown): number {
	if (typeof ttl === "number" && Number.isFinite(ttl)) return ttl;
	throw invalid(`ttl: must be a finite number of seconds, not ${typeof ttl === "number" ? ttl : kindOf(ttl)}`);
}

/** An object as JSON. */
export function checkJson(name: string, object: unknown): string {
	if (typeof object !== "object" || object === null || Array.isArray(object)) {
		throw invalid(`${name}: must be an object, not ${kindOf(object)}`);
	}
	let json: string | undefined;
	try {
		json = JSON.stringify(object);
	} catch {
		throw invalid(`${name}: cannot be written as JSON; it holds itself or a bigint`);
	}
	return checkText(`${name} as JSON`, json);
}

/** A `Date`, or a text or number that denotes one, in ms since the epoch. */
export function checkDate(name: string, date: unknown): number {
	const ms =
		date instanceof Date || typeof date === "string" || typeof date === "number"
			? new Date(date).getTime()
			: Number.NaN;
	if (Number.isNaN(ms)) throw invalid(`${name}: must be a valid date`);
	return ms;
}

function kindOf(value: unknown): string {
	return value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
}
