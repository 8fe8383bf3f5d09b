/** What happens to a store's connection: told to listeners, and as a line to a logger. */
import { invalid } from "../error.js";

/**
 * - `ready`: the connection is up.
 * - `down`: it was lost, or could not be made.
 * - `reconnecting`: another attempt to make it begins.
 * - `failover`: another server is the primary.
 * - `degraded`: it is up, but something is missing: the near cache, WAIT, a login that could be renewed, or a `maxmemory-policy` that keeps what sessions need; or it answers
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

/** An event, as the native side tells it. */
export interface Told {
	event: StoreEvent;
	reason: string;
	/** Of the event: one for each, in the whole process. */
	number: number;
	/** Of the connection that it happened to: a store has one for each server. */
	connection: number;
}

const EVENTS: readonly StoreEvent[] = ["ready", "down", "reconnecting", "failover", "degraded", "underReplicated"];

/** Ends that too few replicas acknowledged give at most one line in so many ms. */
const UNDER_REPLICATED_EVERY_MS = 1000;

/** The same warning at most once in so many ms. */
const WARNING_EVERY_MS = 60_000;

/** What begins each line. */
const PREFIX = "[better-auth-redis-store]";

/** What was written, for all module instances of this thread: each of them hears of the same connections. */
interface Written {
	/** The numbers of the latest events. */
	numbers: Set<number>;
	/** The connections that are down, each with whether it was written that it is made again. */
	down: Map<number, boolean>;
}

const WRITTEN = Symbol.for("better-auth-redis-store.written");
const shared = globalThis as { [WRITTEN]?: Written };
const NUMBERS_KEPT = 256;

function allWritten(): Written {
	shared[WRITTEN] ??= { numbers: new Set(), down: new Map() };
	return shared[WRITTEN];
}

/** Whether an event was written already, which it is from now on. */
function wasWritten(number: number): boolean {
	const { numbers } = allWritten();
	if (numbers.has(number)) return true;
	numbers.add(number);
	const [oldest] = numbers;
	if (numbers.size > NUMBERS_KEPT && oldest !== undefined) numbers.delete(oldest);
	return false;
}

/** The listeners of one store, and its logger. */
export class StoreEvents {
	readonly #listeners = new Map<StoreEvent, Set<StoreListener>>();
	readonly #logger: StoreLogger | false;
	#underReplicatedAt = Number.NEGATIVE_INFINITY;
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

	tell(told: Told): void {
		const { event, reason } = told;
		this.#log(told);
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
		this.#write("warn", line);
	}

	/** A logger that throws ends nothing of ours. */
	#write(level: "info" | "warn", line: string): void {
		try {
			if (this.#logger) this.#logger[level](`${PREFIX} ${line}`);
		} catch (error) {
			queueMicrotask(() => {
				throw error;
			});
		}
	}

	#log(told: Told): void {
		const { event, reason, number } = told;
		if (this.#logger === false || !this.#isNews(told) || wasWritten(number)) return;
		this.#write(event === "ready" ? "info" : "warn", `${event}: ${reason}`);
	}

	/** Of an outage: its beginning, that a connection is made again, and its end. Everything else that happens is news. */
	#isNews({ event, connection }: Told): boolean {
		const { down } = allWritten();
		switch (event) {
			case "down":
				down.set(connection, false);
				return true;
			case "reconnecting": {
				const isNews = down.get(connection) !== true;
				down.set(connection, true);
				return isNews;
			}
			case "ready":
				return down.delete(connection);
			case "underReplicated": {
				const now = performance.now();
				if (now - this.#underReplicatedAt < UNDER_REPLICATED_EVERY_MS) return false;
				this.#underReplicatedAt = now;
				return true;
			}
			default:
				return true;
		}
	}
}

function isFunction(value: unknown): boolean {
	return typeof value === "function";
}
