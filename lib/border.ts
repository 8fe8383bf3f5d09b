/**
 * The JavaScript half of the border to the native addon: calls go out in one batch per tick, and what has
 * completed comes back in one wake-up.
 */
import * as native from "#native";
import { invalid, SessionStoreError, type SessionStoreErrorCode } from "./error.js";
import { namesServer, type StoreOptions, toJson, withDefaultServer } from "./options.js";

export const Op = native.Op;

/** What a call resolves to. */
type Reply = string | number | null;

interface Waiter {
	resolve(reply: Reply): void;
	reject(error: SessionStoreError): void;
}

/** Number of this module instance at the native side; registered by the first store that is opened. */
let border: number | undefined;
let lastCall = 0;
const waiters = new Map<number, Waiter>();

function settle(): void {
	const done = native.drain(border as number) as unknown[];
	for (let i = 0; i < done.length; i += 3) {
		const id = done[i] as number;
		const code = done[i + 1] as SessionStoreErrorCode | undefined;
		const waiter = waiters.get(id) as Waiter;
		waiters.delete(id);
		if (code === undefined) waiter.resolve(done[i + 2] as Reply);
		else waiter.reject(new SessionStoreError(code, done[i + 2] as string));
	}
}

function flush(): void {
	native.flush(border as number);
}

/** Runs a native function that throws what is wrong with options. */
function checked<T>(use: () => T): T {
	try {
		return use();
	} catch (error) {
		throw invalid((error as Error).message);
	}
}

/** One store's way to the native side. Opened by its first call. */
export class Connection {
	readonly #options: StoreOptions;
	#handle: number | undefined;
	#closed = false;

	/** @throws {SessionStoreError} `INVALID_ARGUMENT`, naming every option that is wrong. */
	constructor(options: StoreOptions) {
		this.#options = options;
		// Checked here, so that a wrong option is found where it is written. The environment may name the server later.
		const complete = namesServer(options) ? options : { ...options, url: "redis://localhost" };
		checked(() => native.check(toJson(complete)));
	}

	/** Makes a call. `n` is NaN when it has no number. */
	call(op: native.Op, a = "", b = "", n = Number.NaN): Promise<Reply> {
		return new Promise((resolve, reject) => {
			const handle = this.#open();
			lastCall = (lastCall + 1) >>> 0;
			waiters.set(lastCall, { resolve, reject });
			if (native.submit(handle, lastCall, op, a, b, n)) queueMicrotask(flush);
		});
	}

	close(): void {
		this.#closed = true;
		if (this.#handle !== undefined) native.close(this.#handle);
		this.#handle = undefined;
	}

	#open(): number {
		if (this.#closed) throw new SessionStoreError("CLOSED", "the store was closed; make a new one");
		if (this.#handle === undefined) {
			const options = withDefaultServer(this.#options);
			if (options === null) {
				throw invalid(
					'no Redis server is named: set the environment variable REDIS_URL (for example redis://localhost:6379) or the option url; url: "memory://" chooses the embedded engine',
				);
			}
			border ??= native.attach(settle);
			const number = border;
			this.#handle = checked(() => native.open(number, toJson(options)));
		}
		return this.#handle;
	}
}
