/** What happens to a store's connection: told to listeners, and as a line to a logger. */
import { invalid } from "./error.js";

/**
 * - `ready`: the connection is up.
 * - `down`: it was lost, or could not be made.
 * - `reconnecting`: another attempt to make it begins.
 * - `failover`: another server is the primary.
 * - `degraded`: it is up, but something is missing: the near cache, WAIT, or a `maxmemory-policy` that keeps what sessions need; or it answers
 *   slowly (option `slowMs`), or its memory is full: each at most once in 30 s.
 * - `underReplicated`: an end was carried out, and fewer replicas than `revoke.waitReplicas` acknowledged it in time.
 */
export type StoreEvent = "ready" | "down" | "reconnecting" | "failover" | "degraded" | "underReplicated";

/** Is told which server, or why: a sentence that holds no secret. */
export type StoreListener = (reason: string) => void;

/** Takes lines. `console` is one. */
export interface StoreLogger {
	info(line: string): void;
	warn(line: string): void;
}

const EVENTS: readonly StoreEvent[] = ["ready", "down", "reconnecting", "failover", "degraded", "underReplicated"];

/** At most one line in so many ms. */
const LINE_EVERY_MS = 1000;

/** The same warning at most once in so many ms. */
const WARNING_EVERY_MS = 60_000;

/** When the last line was written: once for all module instances, because each of them may have a store of the same server. */
const LAST_LINE = Symbol.for("better-auth-redis-store.lastLine");
const shared = globalThis as { [LAST_LINE]?: number };

/** The listeners of one store, and its logger. */
export class StoreEvents {
	readonly #listeners = new Map<StoreEvent, Set<StoreListener>>();
	readonly #logger: StoreLogger | false;
	/** Whether the last that was heard is that it is down: then its return is news. */
	#isDown = false;
	/** When each warning was last written, by this thread's monotonic clock in ms. */
	readonly #warned = new Map<string, number>();

	/** @throws {SessionStoreError} `INVALID_ARGUMENT` when the logger is none. */
	constructor(logger: StoreLogger | false | undefined) {
		const isLogger = typeof logger === "object" && logger !== null && [logger.info, logger.warn].every(isFunction);
		if (logger !== undefined && logger !== false && !isLogger) {
			throw invalid("logger: must be false or an object with the functions info and warn");
		}
		this.#logger = logger ?? console;
	}

	/**
	 * Listens to an event. Returns a function that ends it.
	 *
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` when there is no such event, or the listener is no function.
	 */
	on(event: StoreEvent, listener: StoreListener): () => void {
		if (!EVENTS.includes(event)) throw invalid(`event: must be one of ${EVENTS.join(", ")}`);
		if (!isFunction(listener)) throw invalid("listener: must be a function");
		const listeners = this.#listeners.get(event) ?? new Set();
		this.#listeners.set(event, listeners.add(listener));
		return () => listeners.delete(listener);
	}

	tell(event: StoreEvent, reason: string): void {
		this.#log(event, reason);
		for (const listener of this.#listeners.get(event) ?? []) {
			try {
				listener(reason);
			} catch (error) {
				// It is the listener's own failure, and nothing of ours may end by it.
				queueMicrotask(() => {
					throw error;
				});
			}
		}
	}

	/** Writes a warning about something else than the connection, once in `everyMs` at most. */
	warn(line: string, everyMs = WARNING_EVERY_MS): void {
		const now = performance.now();
		const last = this.#warned.get(line);
		if (this.#logger === false || (last !== undefined && now - last < everyMs)) return;
		this.#warned.set(line, now);
		try {
			this.#logger.warn(`better-auth-redis-store: ${line}`);
		} catch (error) {
			queueMicrotask(() => {
				throw error;
			});
		}
	}

	#log(event: StoreEvent, reason: string): void {
		const isNews = event !== "ready" || this.#isDown;
		if (event === "down") this.#isDown = true;
		if (event === "ready") this.#isDown = false;
		const now = performance.now();
		if (this.#logger === false || !isNews || now - (shared[LAST_LINE] ?? Number.NEGATIVE_INFINITY) < LINE_EVERY_MS)
			return;
		shared[LAST_LINE] = now;
		this.#logger[event === "ready" ? "info" : "warn"](`better-auth-redis-store: ${event}: ${reason}`);
	}
}

function isFunction(value: unknown): boolean {
	return typeof value === "function";
}
