/** Events of a store's connection: passed to listeners, and written as lines to a logger. */
import { invalid } from "../error.js";
import { EVENT_NAMES } from "./facts.js";

/**
 * An event of a store's connection:
 *
 * - `ready`: the connection is up.
 * - `down`: the connection was lost, or an attempt failed.
 * - `reconnecting`: another attempt begins.
 * - `failover`: another server is the primary.
 * - `degraded`: the connection is up, but something is missing: the near cache, WAIT, a login that can be renewed, or a `maxmemory-policy` that
 *   keeps sessions. Also when the server answers slowly (option `slowMs`) or its memory is full, each at most once in 30 s.
 * - `underReplicated`: a session was ended, and fewer replicas than `revoke.waitReplicas` acknowledged it in time.
 */
export type StoreEvent = "ready" | "down" | "reconnecting" | "failover" | "degraded" | "underReplicated";

/** Called with the server or the reason, as a sentence without secrets. */
export type StoreListener = (reason: string) => void;

/** Receives log lines, for example `console`. */
export interface StoreLogger {
	info(line: string): void;
	warn(line: string): void;
}

/** An event as the addon sends it. */
export interface EventMessage {
	event: StoreEvent;
	reason: string;
	/** Number of the event, unique in the process. */
	number: number;
	/** Number of the connection that it happened to: a store has one connection for each server. */
	connection: number;
}

/** Ends that too few replicas acknowledged give at most one line per interval, in ms. */
const UNDER_REPLICATED_EVERY_MS = 1000;

/** The default interval of the same warning, in ms. */
const WARNING_EVERY_MS = 60_000;

/** The beginning of each line. */
const PREFIX = "[better-auth-redis-store]";

/** The logged events, shared by all module instances of this thread, because each of them gets the events of the same connections. */
interface Logged {
	/** The numbers of the latest events. */
	numbers: Set<number>;
	/** The connections that are down, each with whether a reconnection was logged. */
	down: Map<number, boolean>;
}

const LOGGED = Symbol.for("better-auth-redis-store.written");
const globals = globalThis as { [LOGGED]?: Logged };
const MAX_NUMBERS = 256;

function sharedLog(): Logged {
	globals[LOGGED] ??= { numbers: new Set(), down: new Map() };
	return globals[LOGGED];
}

/** Notes that an event is logged. Returns whether it was not before. */
function noteLogged(number: number): boolean {
	const { numbers } = sharedLog();
	if (numbers.has(number)) return false;
	numbers.add(number);
	const [oldest] = numbers;
	if (numbers.size > MAX_NUMBERS && oldest !== undefined) numbers.delete(oldest);
	return true;
}

/** The listeners of one store, and its logger. */
export class StoreEvents {
	readonly #listeners = new Map<StoreEvent, Set<StoreListener>>();
	readonly #logger: StoreLogger | false;
	#underReplicatedAt = Number.NEGATIVE_INFINITY;
	/** When each warning was last written, by this thread's monotonic clock in ms. */
	readonly #warned = new Map<string, number>();

	/** @throws {SessionStoreError} `INVALID_ARGUMENT` when `logger` has no functions `info` and `warn`. */
	constructor(logger: StoreLogger | false | undefined) {
		const isLogger = typeof logger === "object" && logger !== null && [logger.info, logger.warn].every(isFunction);
		if (logger !== undefined && logger !== false && !isLogger) {
			throw invalid("logger: must be false or an object with the functions info and warn");
		}
		this.#logger = logger ?? console;
	}

	/**
	 * Adds a listener of an event. Returns a function that removes it.
	 *
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` for an unknown event, or a listener that is not a function.
	 */
	on(event: StoreEvent, listener: StoreListener): () => void {
		if (!EVENT_NAMES.includes(event)) throw invalid(`event: must be one of ${EVENT_NAMES.join(", ")}`);
		if (!isFunction(listener)) throw invalid("listener: must be a function");
		const listeners = this.#listeners.get(event) ?? new Set();
		this.#listeners.set(event, listeners.add(listener));
		return () => listeners.delete(listener);
	}

	/** Logs an event and passes it to its listeners. */
	dispatch(message: EventMessage): void {
		this.#log(message);
		for (const listener of this.#listeners.get(message.event) ?? []) {
			try {
				listener(message.reason);
			} catch (error) {
				throwLater(error);
			}
		}
	}

	/** Logs a warning about something else than the connection, the same one at most once per interval. */
	warn(line: string, intervalMs = WARNING_EVERY_MS): void {
		const now = performance.now();
		const last = this.#warned.get(line);
		if (this.#logger === false || (last !== undefined && now - last < intervalMs)) return;
		this.#warned.set(line, now);
		this.#write("warn", line);
	}

	#write(level: "info" | "warn", line: string): void {
		try {
			if (this.#logger) this.#logger[level](`${PREFIX} ${line}`);
		} catch (error) {
			throwLater(error);
		}
	}

	#log(message: EventMessage): void {
		const { event, reason, number } = message;
		if (this.#logger === false || !this.#noteNews(message) || !noteLogged(number)) return;
		this.#write(event === "ready" ? "info" : "warn", `${event}: ${reason}`);
	}

	/** Notes an event. Returns whether it is worth a line. Of an outage that is its beginning, the first reconnection, and its end. */
	#noteNews({ event, connection }: EventMessage): boolean {
		const { down } = sharedLog();
		switch (event) {
			case "down":
				down.set(connection, false);
				return true;
			case "reconnecting": {
				const isFirst = down.get(connection) !== true;
				down.set(connection, true);
				return isFirst;
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

/** Reports a failure of the application's listener or logger as an uncaught error of its own. The calling code goes on. */
function throwLater(error: unknown): void {
	queueMicrotask(() => {
		throw error;
	});
}

function isFunction(value: unknown): boolean {
	return typeof value === "function";
}
