/** What a gate needs of a storage beyond its public methods. */
import type { AuthWithUsers } from "./user-sync.js";

/** Not enumerable, so that a copy of the storage that changes methods has none of it; the same in all module instances. */
const INTERNALS = Symbol.for("better-auth-redis-store.internals");

export interface StorageInternals {
	/** The storage itself. An object that inherits from it is another one. */
	readonly owner: object;
	/** As `get` of a key that the application signed, but what the near cache knows is answered at once. */
	readTrusted(key: string): string | null | Promise<string | null>;
	/** Writes a warning to the storage's logger, the same one once in `everyMs` at most. */
	warn(line: string, everyMs: number): void;
	/** Whether the option `maxSessionsPerUser` is set. */
	readonly limitsSessions: boolean;
	/** The store may read users' rows by way of this one. */
	bind(auth: AuthWithUsers): void;
	/** Sessions live for so many s. */
	expectLife(seconds: number): void;
}

export function setInternals(storage: object, internals: Omit<StorageInternals, "owner">): void {
	Object.defineProperty(storage, INTERNALS, { value: { ...internals, owner: storage } });
}

/** Of the very storage that `redisStorage` made; `undefined` of any other object. */
export function internalsOf(storage: object | undefined): StorageInternals | undefined {
	const internals = (storage as { [INTERNALS]?: StorageInternals } | undefined)?.[INTERNALS];
	return internals?.owner === storage ? internals : undefined;
}
