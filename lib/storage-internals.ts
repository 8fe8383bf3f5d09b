/** The methods of a storage that only a gate uses. */
import type { AuthWithUsers } from "./user-sync.js";

/** Not enumerable, so that a copy of the storage with changed methods does not have it. The same in all module instances. */
const INTERNALS = Symbol.for("better-auth-redis-store.internals");

export interface StorageInternals {
	/** The storage itself. An object that inherits from it is another one. */
	readonly owner: object;
	/** As `get` of a key that the application signed, but without a promise when the near cache holds the value. */
	readTrusted(key: string): string | null | Promise<string | null>;
	/** Writes a warning to the storage's logger, the same one at most once per interval, in ms. */
	warn(line: string, intervalMs: number): void;
	/** Whether the option `maxSessionsPerUser` is set. */
	readonly limitsSessions: boolean;
	/** Lets the storage read users' rows through this Better Auth. */
	bind(auth: AuthWithUsers): void;
	/** Sets how long sessions live, in s. */
	setSessionLife(seconds: number): void;
}

export function setInternals(storage: object, internals: Omit<StorageInternals, "owner">): void {
	Object.defineProperty(storage, INTERNALS, { value: { ...internals, owner: storage } });
}

/** Of the very storage that `redisStorage` made; `undefined` of any other object. */
export function internalsOf(storage: object | undefined): StorageInternals | undefined {
	const internals = (storage as { [INTERNALS]?: StorageInternals } | undefined)?.[INTERNALS];
	return internals?.owner === storage ? internals : undefined;
}
